package deliveries

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// deliver plays a plan and checks what came of it; log is told how far it is.
func deliver(ctx context.Context, w *world, seed uint64, s size, log func(format string, args ...any)) (*run, error) {
	p, err := newPlan(ctx, w, seed, s)
	if err != nil {
		return nil, err
	}
	r := &run{w: w, p: p}
	defer r.tell(ctx, log)()
	if err := r.play(ctx); err != nil {
		// What is lost is said first; that the run did not end follows from it.
		r.wrong("%v", err)
		r.stuck()
	}
	return r, r.check(ctx)
}

// tell says every ten seconds how far the run is, until the returned function is
// called.
func (r *run) tell(ctx context.Context, log func(format string, args ...any)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Second):
			}
			visible, inFlight := r.w.backlog()
			log("%4.0f s: wave %d of %d, %d requests, %d deliveries of the queue, %d waiting, %d in work, %d replies, %d + %d killed, %d frozen", time.Since(began).Seconds(),
				r.at.Load(), 3*r.p.size.cycles, r.c.requests.Load(), r.w.received.Load(), visible, inFlight, len(r.w.vendor.Posts()),
				r.c.turnKills.Load(), r.c.webhookKills.Load(), r.c.frozen.Load())
		}
	}()
	return func() { cancel(); <-done }
}

// stuck says what the queue still holds, for who looks for the reason.
func (r *run) stuck() {
	for _, q := range r.w.Queues.Queues() {
		if !q.FIFO || q.DLQFor != "" {
			continue
		}
		held, _ := r.w.Queues.Messages(q.Name, 0)
		for _, m := range held {
			if m.Receives > 0 {
				r.wrong("%s is %s after %d receptions", words.FindString(m.Body), m.State, m.Receives)
			}
		}
	}
}

// TestDeliveries: duplicates, overtaking, killed and frozen processes and failing
// vendors; every accepted message has one turn and at most one visible reply, in
// order, charged once. LATCHKEY_SOAK=1 makes 10,000 deliveries,
// LATCHKEY_TEST_DELIVERIES another number.
func TestDeliveries(t *testing.T) {
	ctx := t.Context()
	w, err := start(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	s, seed := plain, uint64(1)
	if soak() {
		s = soaked
	}
	if v := os.Getenv("LATCHKEY_TEST_DELIVERIES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < plain.deliveries {
			t.Fatalf("LATCHKEY_TEST_DELIVERIES=%s: a number of at least %d", v, plain.deliveries)
		}
		s = long(n)
	}
	if v := os.Getenv("LATCHKEY_TEST_SEED"); v != "" {
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	r, err := deliver(ctx, w, seed, s, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range r.broken {
		if i == 40 {
			t.Errorf("and %d more", len(r.broken)-i)
			break
		}
		t.Error(x)
	}
	t.Log(r.report(time.Since(began)))
}

// report is what a run did, for people.
func (r *run) report(took time.Duration) string {
	c := &r.c
	var b strings.Builder
	fmt.Fprintf(&b, "%d conversations, clocks moved by %v, %.0f s", len(r.p.talks), r.shifted, took.Seconds())
	for _, x := range []struct {
		what string
		n    int
	}{
		{"requests of vendors", int(c.requests.Load())},
		{"repeats of the plan", r.p.size.deliveries - len(r.p.events)},
		{"requests of messages that had been accepted", int(c.repeats.Load())},
		{"retries after a request that failed", int(c.retries.Load())},
		{"requests without a 2xx", int(c.refused.Load())},
		{"webhook processes killed", int(c.webhookKills.Load())},
		{"turn processes killed", int(c.turnKills.Load())},
		{"turn processes frozen while others took over", int(c.frozen.Load())},
		{"webhook processes asleep for five minutes", int(c.asleep.Load())},
		{"faults of queue and dedupe store planned", int(c.enqueueFaults.Load())},
		{"messages accepted", c.accepted},
		{"messages that their vendor gave up", int(c.givenUp.Load())},
		{"of them taken all the same", c.taken},
		{"messages received more than once", r.w.receivedAgain()},
		{"pairs of messages that overtook each other", int(c.overtaken.Load())},
		{"messages whose model was asked more than once", c.repeated},
		{"replies that people saw", c.visible},
		{"outbox: sent", c.sent},
		{"outbox: unknown", c.unknown},
		{"of them seen", c.visibleUnknown},
		{"outbox: failed", c.failed},
		{"violations", len(r.broken)},
	} {
		fmt.Fprintf(&b, "\n%8d  %s", x.n, x.what)
	}
	for _, what := range slices.Sorted(maps.Keys(r.w.vendor.met)) {
		fmt.Fprintf(&b, "\n%8d  sends: %s", r.w.vendor.met[what], what)
	}
	return b.String()
}
