package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/mutate"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// The platform's keys, one per provider, so that the vendor's journal tells which
// attempt a call belongs to.
var platformKeys = map[string]string{"openrouter": "sk-platform-crash-one", "openai_compatible": "sk-platform-crash-two"}

// invokeTimeout is Lambda's limit of invoke. The long run waits until it is reached:
// there it is long for a call, and no longer.
func invokeTimeout() time.Duration {
	if soak() {
		return 25 * time.Second
	}
	return 5 * time.Minute
}

// patience bounds every wait for something that other processes do. It is no
// expectation of speed.
const patience = 90 * time.Second

// world is a running stack with its vendor.
type world struct {
	*stack.Stack
	vendor    *mockvendor.Server
	vendorURL string
	operator  stack.Client
	stop      func()
	patience  time.Duration
	failed    int // batches at the failure destination that were delivered by hand

	mu sync.Mutex
	// batches is what the stream delivered to settle.
	batches [][]json.RawMessage
	// rates are pico-USD per input and output token by price version.
	rates map[string][2]int64
}

func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// start brings a stack up with the functions in the folder functions, or with
// those of the source.
func start(ctx context.Context, functions string) (*world, error) {
	dir, err := os.MkdirTemp("", "latchkey-crash")
	if err != nil {
		return nil, err
	}
	if functions == "" {
		functions = filepath.Join(dir, "functions")
		if err = os.Mkdir(functions, 0o700); err == nil {
			err = mutate.Copy(ctx, root(), functions)
		}
		if err != nil {
			_ = os.RemoveAll(dir)
			return nil, err
		}
	}
	w := &world{vendor: mockvendor.New(), rates: map[string][2]int64{}, patience: patience}
	l, err := mockvendor.Listen(w.vendor)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	w.stop = func() {
		if w.Stack != nil {
			_ = w.Stack.Stop()
		}
		l.Close()
		_ = os.RemoveAll(dir)
	}
	w.vendorURL = l.URL
	env := map[string]string{"LATCHKEY_ENDPOINT_ALLOW": strings.TrimPrefix(l.URL, "http://")}
	for provider, key := range platformKeys {
		name := "LATCHKEY_PLATFORM_" + strings.ToUpper(provider)
		env[name+"_KEY"], env[name+"_BASE_URL"] = key, l.URL+"/v1"
	}
	w.Stack, err = stack.Start(ctx, stack.Options{Root: root(), Data: dir, InMemory: true, Env: env, Binaries: functions, SkipBuild: true,
		Timeouts: map[string]time.Duration{"invoke": invokeTimeout()}, OnDelivery: w.delivered})
	if err == nil {
		var seeded stack.Seeded
		seeded, err = w.Seed(ctx, false)
		w.operator = stack.Client{Base: w.BaseURL, Key: seeded.OperatorKey}
	}
	if err == nil {
		// Whole micro-credits per token: every charge is exact, so that rounding of
		// anything but integers shows.
		err = w.price(ctx, 3_000_000, 11_000_000)
	}
	if err == nil {
		// Sweeps are made by the harness, at times of its choice.
		err = w.local(ctx, "/schedule/pause", nil, nil)
	}
	if err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

// price posts and activates the rates of the harness' model, for both providers.
func (w *world) price(ctx context.Context, input, output int64) error {
	var rows []map[string]any
	for provider := range platformKeys {
		for meter, rate := range map[string]int64{"input_text": input, "output_text": output} {
			rows = append(rows, map[string]any{"provider": provider, "model": "crash", "meter": meter, "rate_pico": rate,
				"source": "crash harness", "source_date": "2026-11-22"})
		}
	}
	var made struct{ Version string }
	if err := w.operator.Call(ctx, http.MethodPost, "/api/operator/prices", map[string]any{"rows": rows, "activate": true}, &made); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rates[made.Version] = [2]int64{input, output}
	return nil
}

// cost is what tokens cost by a price version, in micro-credits, rounded up once.
func (w *world) cost(version string, input, output int64) (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.rates[version]
	return (input*r[0] + output*r[1] + 999_999) / 1_000_000, ok
}

func (w *world) delivered(function string, event []byte) {
	if function != "settle" {
		return
	}
	var e struct{ Records []json.RawMessage }
	if json.Unmarshal(event, &e) != nil || len(e.Records) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batches = append(w.batches, e.Records)
}

// records is everything that settle was delivered since a batch, in order.
func (w *world) records(since int) (out []json.RawMessage, next int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.batches[since:] {
		out = append(out, b...)
	}
	return out, len(w.batches)
}

// local calls one of the stack's own endpoints.
func (w *world) local(ctx context.Context, path string, in, out any) error {
	if in == nil {
		in = map[string]any{}
	}
	return stack.Client{Base: w.BaseURL}.Call(ctx, http.MethodPost, "/_local"+path, in, out)
}

func (w *world) fault(ctx context.Context, f map[string]any) error {
	return w.local(ctx, "/faults", f, nil)
}

func (w *world) clearFaults(ctx context.Context) error {
	return stack.Client{Base: w.BaseURL}.Call(ctx, http.MethodDelete, "/_local/faults", nil, nil)
}

// faultsLeft counts the faults that nothing has met yet.
func (w *world) faultsLeft(ctx context.Context) int {
	var list struct{ Items []json.RawMessage }
	if err := (stack.Client{Base: w.BaseURL}).Call(ctx, http.MethodGet, "/_local/faults", nil, &list); err != nil {
		return -1
	}
	return len(list.Items)
}

// busy lists the process ids of a function's environments that run a call.
func (w *world) busy(ctx context.Context, function string) ([]int, error) {
	return stack.Client{Base: w.BaseURL}.Processes(ctx, function, "busy")
}

// kill ends the busy processes of a function and waits until they are gone.
func (w *world) kill(ctx context.Context, function string) (int, error) {
	pids, err := w.busy(ctx, function)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(pids), w.until(ctx, func() bool {
		left, err := stack.Client{Base: w.BaseURL}.Processes(ctx, function, "")
		return err == nil && !slices.ContainsFunc(left, func(pid int) bool { return slices.Contains(pids, pid) })
	})
}

var errNever = errors.New("never happened")

// until polls a condition that other processes bring about.
func (w *world) until(ctx context.Context, ok func() bool) error {
	for deadline := time.Now().Add(w.patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errNever
}

// swept is what a sweep answers.
type swept struct{ Expired, Settled, Released int }

// sweep runs the sweeper at a shifted time.
func (w *world) sweep(ctx context.Context, offset time.Duration) (swept, error) {
	return w.sweepAt(ctx, time.Now().Add(offset))
}

func (w *world) sweepAt(ctx context.Context, at time.Time) (swept, error) {
	var s swept
	err := w.local(ctx, "/invoke/sweep", map[string]any{"time": at.UTC().Format(time.RFC3339), "source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}}, &s)
	return s, err
}

// reply is what a client got.
type reply struct {
	status   int
	code, id string
	replayed bool
	// whole says that the answer came to its end.
	whole bool
	err   error
}

// post sends a chat call. leave above 0 makes the client go away after so many
// events of a stream; seen, if set, counts them.
func (w *world) post(ctx context.Context, key, idempotency string, body any, leave int, seen *atomic.Int64) reply {
	b, err := json.Marshal(body)
	if err != nil {
		return reply{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.FunctionURLs["invoke"]+"/v1/chat/completions", bytes.NewReader(b))
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	if idempotency != "" {
		req.Header.Set("Idempotency-Key", idempotency)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, id: resp.Header.Get("x-request-id"), replayed: resp.Header.Get("x-latchkey-replayed") == "true"}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		r.whole, r.err = readEvents(resp.Body, leave, seen)
		return r
	}
	text, err := io.ReadAll(resp.Body)
	r.whole, r.err = err == nil, err
	var e struct {
		Error struct {
			Code      string
			RequestID string `json:"request_id"`
		}
	}
	if r.status > 299 && json.Unmarshal(text, &e) == nil {
		if r.code = e.Error.Code; e.Error.RequestID != "" {
			r.id = e.Error.RequestID
		}
	}
	if r.status > 299 && r.code == "" {
		r.id = "" // the host's answer for a process that died
	}
	return r
}

var errLeft = errors.New("the client left")

// readEvents reads a stream to its end, or leaves.
func readEvents(body io.Reader, leave int, seen *atomic.Int64) (whole bool, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "data: {\"error\"") {
			return false, fmt.Errorf("error event: %.200s", line)
		}
		if line == "data: [DONE]" {
			whole = true
		}
		if strings.HasPrefix(line, "data:") {
			if seen != nil {
				seen.Add(1)
			}
			if n++; leave > 0 && n >= leave {
				return false, errLeft
			}
		}
	}
	return whole, lines.Err()
}
