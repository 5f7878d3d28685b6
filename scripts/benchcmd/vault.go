package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// vaultRow is what opening a credential costs.
type vaultRow struct {
	Reveal []goRow      `json:"reveal"`
	Calls  []keyCallRow `json:"key_service_calls"`
}

// keyCallRow counts calls to the key service while requests open credentials. A
// credential may cost one call per environment and life of a data key in its
// cache.
type keyCallRow struct {
	Phase        string  `json:"phase"`
	Clients      int     `json:"clients"`
	Requests     int     `json:"requests"`
	Credentials  int     `json:"credentials"`
	Environments int     `json:"environments"`
	Calls        int     `json:"calls"`
	Per1000      float64 `json:"calls_per_1000_requests"`
	Bound        int     `json:"bound"`
}

func vaultSuite() goSuite {
	return goSuite{"./shared/vault", "^Benchmark(OpenRaw|RevealCached|RevealUncached)$",
		map[string]string{"RevealCached": "OpenRaw", "RevealUncached": "OpenRaw"}}
}

const (
	vaultOrgs = 8 // organisations, each with one credential of its own
	// keyLife is longer than any data key stays in a cache: 300 s and 10 % (package
	// vault).
	keyLife = 331 * time.Second
)

// vaultCosts runs the benchmarks of the vault, and counts calls to the key
// service of real function processes: over fresh credentials, with all data keys
// warm, and once more after the clock has passed their life.
func vaultCosts(ctx context.Context, o options, p plan, w *world, r *report) (err error) {
	r.Vault = &vaultRow{}
	if r.Vault.Reveal, err = vaultSuite().run(ctx, o, p); err != nil {
		return err
	}
	if err := w.enrol(ctx, vaultOrgs); err != nil {
		return err
	}
	defer func() { _ = w.shiftClock(context.WithoutCancel(ctx), 0) }()
	var ahead time.Duration
	for _, clients := range []int{1, 8} {
		for _, phase := range []string{"first use", "warm", "after the data keys' life"} {
			calls := p.reveals
			if phase != "warm" {
				// Nothing is in a cache any more when a phase begins with a shift.
				if ahead += keyLife; w.shiftClock(ctx, ahead) != nil {
					return fmt.Errorf("the stack's clock cannot be shifted")
				}
			}
			if phase == "first use" {
				calls = vaultOrgs * clients
			}
			row, err := w.keyCalls(ctx, phase, clients, calls)
			if err != nil {
				return err
			}
			if clients == 1 && phase == "warm" && row.Calls > 0 {
				err = fmt.Errorf("%d calls to the key service with every data key warm", row.Calls)
			} else if row.Calls > row.Bound {
				err = fmt.Errorf("%s: %d calls to the key service, at most one per credential, environment and life of a data key: %d", phase, row.Calls, row.Bound)
			}
			r.Vault.Calls = append(r.Vault.Calls, row)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// keyCalls makes requests over all credentials in turn and counts.
func (w *world) keyCalls(ctx context.Context, phase string, clients, calls int) (keyCallRow, error) {
	row := keyCallRow{Phase: phase, Clients: clients, Requests: calls, Credentials: vaultOrgs}
	var requests [][]byte
	for _, t := range w.tenants[:vaultOrgs] {
		requests = append(requests, chatRequest(w.ready.InvokeURL, t.key, modelOwn, false))
	}
	before, err := w.keyCallCount(ctx)
	if err != nil {
		return row, err
	}
	res, err := rig.Load(ctx, rig.Spec{Addr: host(w.ready.InvokeURL), Requests: requests, Clients: clients, MaxCalls: calls, Timeout: callTimeout})
	if err != nil {
		return row, err
	}
	for i, n := range res.OK {
		w.tenants[i].served += n
	}
	if res.Failed() > 0 {
		return row, fmt.Errorf("%s: %d of %d calls failed: %v", phase, res.Failed(), res.Calls, res.Errors)
	}
	after, err := w.keyCallCount(ctx)
	if err != nil {
		return row, err
	}
	if row.Environments, err = w.environments(ctx); err != nil {
		return row, err
	}
	row.Calls, row.Per1000 = after-before, round2(1000*float64(after-before)/float64(calls))
	row.Bound = vaultOrgs * min(clients, row.Environments)
	return row, nil
}

func (w *world) keyCallCount(ctx context.Context) (int, error) {
	var out struct{ Calls int }
	err := stack.Client{Base: w.ready.KeyCallsURL}.Call(ctx, http.MethodGet, "/", nil, &out)
	return out.Calls, err
}

// environments is how many processes of the model function are running.
func (w *world) environments(ctx context.Context) (int, error) {
	pids, err := w.operator.Processes(ctx, functionName, "")
	return len(pids), err
}

func (w *world) shiftClock(ctx context.Context, ahead time.Duration) error {
	return w.operator.Call(ctx, http.MethodPost, "/_local/clock", map[string]any{"offset_seconds": int(ahead.Seconds())}, nil)
}

func (r *report) printVault(out io.Writer) {
	if r.Vault == nil {
		return
	}
	rows := [][]string{{"", "ns/op", "x raw AES-GCM open", "B/op", "allocs/op"}}
	for _, g := range r.Vault.Reveal {
		rows = append(rows, []string{g.Name, spread(g.Nanoseconds), ratio(g.OfBase), number(g.Bytes), number(g.Allocs)})
	}
	grid(out, "opening a credential in the process, key service in memory", rows)
	rows = [][]string{{"", "clients", "requests", "credentials", "environments", "calls", "per 1000 requests", "at most"}}
	for _, c := range r.Vault.Calls {
		rows = append(rows, []string{c.Phase, strconv.Itoa(c.Clients), strconv.Itoa(c.Requests), strconv.Itoa(c.Credentials), strconv.Itoa(c.Environments),
			strconv.Itoa(c.Calls), number(c.Per1000), strconv.Itoa(c.Bound)})
	}
	grid(out, "calls to the key service by function processes, counted at the local key service (at most one per credential, environment and life of a data key)", rows)
}
