package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// world is everything that runs during a measurement.
type world struct {
	data                   string
	upstream, floor, stack *rig.Child
	upstreamURL, floorURL  string
	ready                  stackReady
	operator               stack.Client
	binaries, base         string // folder of the functions, file of the least function

	tenants []*tenant
	idle    cost // per second, at rest
}

// tenant is one organisation with a key, credits and a connection of its own.
type tenant struct {
	id, key string
	admin   stack.Client
	granted int64
	// served counts the calls that the load generator saw succeed.
	served int
}

// orgCredits are given to each organisation, in micro-credits: more than any
// run can use.
const orgCredits = 1_000_000_000

func start(ctx context.Context, o options) (*world, error) {
	data, err := os.MkdirTemp("", "latchkey-bench")
	if err != nil {
		return nil, err
	}
	w := &world{data: data, binaries: o.binaries}
	if err := w.start(ctx, o); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *world) start(ctx context.Context, o options) (err error) {
	say("building and starting the stack")
	var a address
	if w.upstream, err = rig.Spawn(ctx, os.Stderr, &a, "role", roleUpstream); err != nil {
		return err
	}
	w.upstreamURL = a.URL
	if w.floor, err = rig.Spawn(ctx, os.Stderr, &a, "role", roleFloor, w.upstreamURL); err != nil {
		return err
	}
	w.floorURL = a.URL
	w.stack, err = rig.Spawn(ctx, os.Stderr, &w.ready, "role", roleStack, "--root", o.root, "--data", w.data, "--vendor", w.upstreamURL, "--binaries", o.binaries)
	if err != nil {
		return err
	}
	if w.binaries == "" {
		w.binaries = filepath.Join(o.root, "build", "local")
	}
	w.base = filepath.Join(w.data, baseFunction)
	if err := goBuild(ctx, o.root, runtime.GOARCH, w.base, basePackage); err != nil {
		return err
	}
	w.operator = stack.Client{Base: w.ready.BaseURL, Key: w.ready.OperatorKey}
	return nil
}

// stop ends every process and removes the data.
func (w *world) stop() error {
	var errs []error
	for _, c := range []*rig.Child{w.stack, w.floor, w.upstream} {
		if c != nil {
			errs = append(errs, c.Stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(w.data))...)
}

// enrol creates organisations until there are n.
func (w *world) enrol(ctx context.Context, n int) error {
	first := len(w.tenants)
	w.tenants = append(w.tenants, make([]*tenant, max(0, n-first))...)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := first; i < n; i++ {
		group.Go(func() (err error) {
			w.tenants[i], err = w.newTenant(gctx, i)
			return err
		})
	}
	return group.Wait()
}

func (w *world) newTenant(ctx context.Context, n int) (*tenant, error) {
	var created struct{ ID string }
	if err := w.operator.Call(ctx, http.MethodPost, "/api/orgs", map[string]any{"name": fmt.Sprintf("Bench %d", n), "tier": "enterprise"}, &created); err != nil {
		return nil, err
	}
	base := "/api/orgs/" + created.ID
	var key struct{ Key string }
	if err := w.operator.Call(ctx, http.MethodPost, base+"/keys", map[string]any{"name": "bench", "scopes": []string{"invoke", "admin", "read"}}, &key); err != nil {
		return nil, err
	}
	if err := w.operator.Call(ctx, http.MethodPost, base+"/grants", map[string]any{"kind": "gifted", "amount": orgCredits, "idempotency_key": "bench"}, nil); err != nil {
		return nil, err
	}
	t := &tenant{id: created.ID, key: key.Key, admin: stack.Client{Base: w.ready.BaseURL, Key: key.Key}, granted: orgCredits}
	return t, t.admin.Call(ctx, http.MethodPost, base+"/connections", map[string]any{"provider": "openai_compatible", "label": "own",
		"api_key": "sk-bench-own-" + created.ID, "base_url": w.upstreamURL + "/v1", "billing_source": "byok"}, nil)
}

// The models name who pays: the platform's provider, or the own connection.
const (
	modelPlatform = "openrouter/sim-chat"
	modelOwn      = "openai_compatible/sim-chat"
	modelVendor   = "sim-chat"
	chatPath      = "/v1/chat/completions"
)

// chatBody is a chat request.
func chatBody(model string, stream bool) string {
	const ask = "Describe in one short paragraph what a measurement of a gateway has to include, and what it must leave out, so that two readings can be compared."
	return fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":256,"messages":[{"role":"system","content":"You answer briefly."},{"role":"user","content":%q}]}`,
		model, stream, ask)
}

// chatRequest renders a chat request as it goes over the wire.
func chatRequest(base, key, model string, stream bool) []byte {
	return rig.Request(host(base), chatPath, key, []byte(chatBody(model, stream)))
}

func host(base string) string { return strings.TrimPrefix(base, "http://") }

// cost is what the processes have used, by part.
type cost struct {
	function, settle, front, engine, floor time.Duration
}

const functionName = "invoke"

func (w *world) cost() map[int]rig.Process {
	all := map[int]rig.Process{}
	for _, p := range rig.Processes(w.stack.PID()) {
		all[p.PID] = p
	}
	for _, pid := range []int{w.stack.PID(), w.floor.PID()} {
		all[pid] = rig.Process{PID: pid, CPU: rig.CPU(pid)}
	}
	return all
}

// since is what was used between two readings. A function's process that began
// in between counts whole.
func (w *world) since(before, after map[int]rig.Process) cost {
	var c cost
	for pid, p := range after {
		used := p.CPU - before[pid].CPU
		switch {
		case pid == w.stack.PID():
			c.front += used
		case pid == w.floor.PID():
			c.floor += used
		case p.Name == functionName:
			c.function += used
		case p.Name == "java":
			c.engine += used
		default:
			c.settle += used
		}
	}
	return c
}

func (c cost) whole() time.Duration { return c.function + c.settle + c.front + c.engine + c.floor }

// less takes off what is used at rest, which the pollers of streams and queues
// use whether or not there are calls.
func (c cost) less(idle cost, over time.Duration) cost {
	rest := func(used, perSecond time.Duration) time.Duration {
		return max(0, used-time.Duration(over.Seconds()*float64(perSecond)))
	}
	c.front, c.engine, c.settle = rest(c.front, idle.front), rest(c.engine, idle.engine), rest(c.settle, idle.settle)
	return c
}

// restTime is how long the stack is watched at rest.
const restTime = 2 * time.Second

// rest measures what the stack uses without calls.
func (w *world) rest(ctx context.Context) {
	w.quiet(ctx)
	before, began := w.cost(), time.Now()
	select {
	case <-ctx.Done():
		return
	case <-time.After(restTime):
	}
	used, over := w.since(before, w.cost()), time.Since(began).Seconds()
	each := func(d time.Duration) time.Duration { return time.Duration(float64(d) / over) }
	w.idle = cost{front: each(used.front), engine: each(used.engine), settle: each(used.settle)}
}

const (
	quietProbe  = 60 * time.Millisecond
	quietProbes = 50
	quietShare  = 0.2 // of one core
)

// quiet waits until settlement has caught up, so that one slice's work is not
// counted in the next; it gives up after a few seconds.
func (w *world) quiet(ctx context.Context) {
	before, at := w.cost(), time.Now()
	for range quietProbes {
		select {
		case <-ctx.Done():
			return
		case <-time.After(quietProbe):
		}
		after, now := w.cost(), time.Now()
		if used := w.since(before, after).whole(); float64(used) < quietShare*float64(now.Sub(at)) {
			return
		}
		before, at = after, now
	}
}
