package e2e

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// TestSixtyFourEqualCalls sends one call 64 times while the vendor thinks, to
// several invoke processes whose clocks go wrong by two minutes either way, then
// lets the sweep of an hour later give the hold up. The vendor is asked once and
// the answer it gives after all is charged once.
func TestSixtyFourEqualCalls(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	url := world.BaseURL + "/v1/chat/completions"
	const prompt = "sixty-four equal calls"
	body := chatBody(simChat, prompt, false)
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	defer shift(t, 0)
	// The prices of this test are a moment old: a clock that lags must not lag
	// behind them.
	const start = 5 * time.Minute
	shift(t, start)
	first := make(chan answer, 1)
	go func() {
		a, err := tryPost(context.Background(), url, x.Key, body, "Idempotency-Key", "equal")
		if err != nil {
			t.Error(err)
		}
		first <- a
	}()
	<-barrier.Reached()

	processes := map[int]bool{}
	for _, pid := range busy(t, "invoke") {
		processes[pid] = true
	}
	var refused atomic.Int64
	var seen sync.Mutex
	// A call that is let through waits for the vendor like the first one.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, offset := range []time.Duration{0, -2 * time.Minute, 2 * time.Minute} {
		shift(t, start+offset)
		var group sync.WaitGroup
		for range 21 {
			group.Go(func() {
				a, err := tryPost(ctx, url, x.Key, body, "Idempotency-Key", "equal")
				if err != nil || a.Status != http.StatusConflict || a.code() != "idempotency_in_progress" && a.code() != "idempotency_completed" {
					t.Errorf("clock %v: %v %d %s", offset, err, a.Status, a.Body)
					return
				}
				refused.Add(1)
				pids := busy(t, "invoke")
				seen.Lock()
				defer seen.Unlock()
				for _, pid := range pids {
					processes[pid] = true
				}
			})
		}
		group.Wait()
	}
	if refused.Load() != 63 || len(processes) < 2 {
		t.Errorf("%d of 63 refused, %d invoke processes", refused.Load(), len(processes))
	}

	shift(t, 0)
	sweep(t, time.Hour)
	if c := x.credits(); c.Held != 0 {
		t.Errorf("%d held after the hold was given up", c.Held)
	}
	if a := post(t, url, x.Key, body, "Idempotency-Key", "equal"); a.Status != http.StatusConflict {
		t.Errorf("after the hold was given up: %d %s", a.Status, a.Body)
	}
	barrier.Release()
	if a := <-first; a.Status != http.StatusOK {
		t.Errorf("the call itself: %d %s", a.Status, a.Body)
	}
	eventually(t, "the late answer is charged", func() bool { return x.credits().Posted < 10_000_000 })
	x.consistent()
	calls, usage := 0, 0
	for _, c := range vendor.Calls() {
		if c.Prompt == prompt {
			calls++
		}
	}
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			usage++
		}
	}
	if calls != 1 || usage != 1 {
		t.Errorf("%d vendor calls, %d usage entries", calls, usage)
	}
}
