package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// rounds is how often each kill is repeated.
func rounds() int {
	if os.Getenv("LATCHKEY_SOAK") != "" {
		return 20
	}
	return 3
}

// busy returns the process ids of a function's busy environments.
func busy(t testing.TB, name string) []int {
	t.Helper()
	pids, err := operator().Processes(t.Context(), name, "busy")
	must(t, err)
	return pids
}

// killBusy kills every busy process of a function, once there is one, and returns when
// the host knows that they ended: one that was between two calls would be given the next.
func killBusy(t testing.TB, name string) {
	t.Helper()
	var pids []int
	eventually(t, name+" is busy", func() bool { pids = busy(t, name); return len(pids) > 0 })
	for _, pid := range pids {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	eventually(t, name+" has ended", func() bool {
		left, err := operator().Processes(t.Context(), name, "")
		must(t, err)
		return !slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(left, pid) })
	})
}

func fault(t testing.TB, f map[string]any) {
	t.Helper()
	if a := local(t, "/faults", f); a.Status > 299 {
		t.Fatalf("fault: %d %s", a.Status, a.Body)
	}
}

func clearFaults(t testing.TB) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodDelete, world.BaseURL+"/_local/faults", nil)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	_ = resp.Body.Close()
}

// killPoint is one place where the invoke process dies.
type killPoint struct {
	name   string
	stream bool
	// arm prepares the place; the returned function waits until the call is
	// there.
	arm func(t *testing.T) (wait, release func())
	// vendorCalls is how many calls the vendor must have seen, charged whether
	// the attempt is charged after the sweep.
	vendorCalls int
	charged     bool
}

func barrierAt(p mockvendor.Point) func(*testing.T) (func(), func()) {
	return func(t *testing.T) (func(), func()) {
		b := vendor.Hold(p)
		return func() {
			select {
			case <-b.Reached():
			case <-time.After(time.Minute):
				t.Fatalf("nobody reached %s", p)
			}
		}, b.Release
	}
}

// commitAndHang lets a write of a function commit, loses its answer, and holds
// the repetitions that follow: a client gives a try up after some seconds, and a slow
// machine must not let the next one through.
func commitAndHang(t testing.TB, function, operation string) (wait func()) {
	t.Helper()
	fault(t, map[string]any{"service": "dynamodb", "operation": operation, "function": function, "error": "timeout_after_commit", "count": 1})
	fault(t, map[string]any{"service": "dynamodb", "operation": operation, "function": function, "count": 1, "delay_ms": 60_000})
	fault(t, map[string]any{"service": "dynamodb", "operation": operation, "function": function, "count": 50, "delay_ms": 60_000})
	return func() {
		eventually(t, operation+" of "+function+" committed and is being repeated", func() bool {
			resp, err := http.Get(world.BaseURL + "/_local/faults")
			must(t, err)
			defer resp.Body.Close()
			var list struct{ Items []map[string]any }
			must(t, json.NewDecoder(resp.Body).Decode(&list))
			return len(list.Items) <= 1
		})
	}
}

func afterCommit(operation string) func(*testing.T) (func(), func()) {
	return func(t *testing.T) (func(), func()) {
		return commitAndHang(t, "invoke", operation), func() { clearFaults(t) }
	}
}

var killPoints = []killPoint{
	{"after reserve", false, afterCommit("TransactWriteItems"), 0, false},
	{"before the answer", false, barrierAt(mockvendor.BeforeHeaders), 1, false},
	{"mid-stream", true, barrierAt(mockvendor.AfterChunk), 1, false},
	{"after the last byte", true, barrierAt(mockvendor.BeforeUsage), 1, false},
	{"after usage is recorded", false, afterCommit("UpdateItem"), 1, true},
}

func TestKillInvoke(t *testing.T) {
	for _, p := range killPoints {
		t.Run(p.name, func(t *testing.T) {
			x := newTenant(t, "free", 10_000_000)
			for range rounds() {
				killInvokeOnce(t, x, p)
			}
			x.consistent()
		})
	}
}

func killInvokeOnce(t *testing.T, x *tenant, p killPoint) {
	t.Helper()
	key := "kill-" + strconv.FormatInt(serial.Add(1), 10)
	prompt := "kill " + key
	wait, release := p.arm(t)
	defer release()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Whether the client gets an error or half an answer does not matter here.
		_, _ = tryPost(context.Background(), world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, prompt, p.stream), "Idempotency-Key", key)
	}()
	wait()
	killBusy(t, "invoke")
	release()
	<-done
	// The same key again must not reach the vendor: the outcome of the first
	// attempt is not known yet.
	again := post(t, world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, prompt, p.stream), "Idempotency-Key", key)
	if again.Status != http.StatusConflict {
		t.Errorf("%s: repeated call answered %d %s", p.name, again.Status, again.Body)
	}
	sweep(t, time.Hour)
	x.settled()
	usage := 0
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			usage++
		}
	}
	if want := x.charges + map[bool]int{true: 1}[p.charged]; usage != want {
		t.Errorf("%s: %d usage entries, want %d", p.name, usage, want)
	}
	x.charges = usage
	calls := 0
	for _, c := range vendor.Calls() {
		if c.Prompt == prompt {
			calls++
		}
	}
	if calls != p.vendorCalls {
		t.Errorf("%s: the vendor saw %d calls, want %d", p.name, calls, p.vendorCalls)
	}
}

// TestKillSettle kills settle after its transaction committed and before it
// could answer the stream poller, so that the batch is delivered again.
func TestKillSettle(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	for i := range rounds() {
		wait := commitAndHang(t, "settle", "TransactWriteItems")
		a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprintf("settle %d", i), false))
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		wait()
		killBusy(t, "settle")
		clearFaults(t)
		x.settled()
	}
	x.consistent()
	usage := 0
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			usage++
		}
	}
	if usage != rounds() {
		t.Errorf("%d usage entries for %d requests", usage, rounds())
	}
	var rows struct {
		Items []struct {
			Requests int64
			Cost     int64
		}
	}
	eventually(t, "usage is projected", func() bool {
		x.call(http.MethodGet, "/usage", nil, &rows)
		var n int64
		for _, r := range rows.Items {
			n += r.Requests
		}
		return n == int64(rounds())
	})
}

// TestCrashOutput makes a process print everything it has on its stacks while a
// key is in use; TestZNoSecretLeaks reads the result.
func TestCrashOutput(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	x.connect(byokKey+"Q", nil)
	for _, model := range []string{simChat, "openai_compatible/own"} {
		barrier := vendor.Hold(mockvendor.BeforeHeaders)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = tryPost(context.Background(), world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(model, "crash output", false))
		}()
		<-barrier.Reached()
		for _, pid := range busy(t, "invoke") {
			must(t, syscall.Kill(pid, syscall.SIGQUIT))
		}
		<-done
		barrier.Release()
	}
	sweep(t, time.Hour)
	x.consistent()
	b, err := os.ReadFile(filepath.Join(world.LogDir, "invoke.log"))
	must(t, err)
	if !strings.Contains(string(b), "goroutine ") {
		t.Error("the process printed no stacks")
	}
}
