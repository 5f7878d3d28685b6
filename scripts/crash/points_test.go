package crash

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// kill point: one place where a process dies, and what must come of it.
type killPoint struct {
	name string
	// run makes n trials, whose requests carry what must have come of them at rest.
	run func(ctx context.Context, s *seed, p killPoint, n int) error
}

// killPoints are the crash points of the settlement design, in its numbering.
var killPoints = []killPoint{
	{"C1 before the reserve", diesBeforeReserve},
	{"C2 reserved, answer lost", diesAfterReserve},
	{"C3 dispatched, vendor not called", diesBeforeCall},
	{"C4 vendor called, nothing came", diesBeforeAnswer},
	{"C5 mid-stream", diesMidStream},
	{"C5 mid-stream after a checkpoint", diesAfterCheckpoint},
	{"C6 answered, usage not recorded", diesBeforeUsed},
	{"C7 usage recorded, answer lost", diesAfterUsed},
	{"C7 settle after its transaction", settleDies},
	{"C8 settled, client not answered", diesAfterSettle},
	{"C9 expired, then used", expiresFirst},
	{"C9 sweep dies after expiring", sweepDies},
	{"C9 sweep meets settle", sweepMeetsSettle},
}

// words is a text of n words.
func words(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }

// started sends a request in the background.
func (a *ask) started(ctx context.Context) <-chan reply {
	a.direct()
	done := make(chan reply, 1)
	go func() { done <- a.send(ctx) }()
	return done
}

// killCallers kills every busy invoke process.
func (s *seed) killCallers(ctx context.Context, point string) {
	s.danger.Add(1)
	s.kill(ctx, point, "invoke")
	s.danger.Add(1)
}

// kill kills every busy process of a function.
func (s *seed) kill(ctx context.Context, point, function string) {
	n, err := s.w.kill(ctx, function)
	s.count("kills: "+point, n)
	if err != nil {
		s.broken("harness", "%s: killed %d of %s: %v", point, n, function, err)
	}
	if function == "settle" {
		s.hurt.Add(int64(n))
	}
}

// refusedAgain sends the request once more: its first outcome is unknown, so that
// nobody may call the vendor again.
func (s *seed) refusedAgain(ctx context.Context, a *ask) {
	r := a.send(ctx)
	ok := r.status == http.StatusConflict && (r.code == "idempotency_in_progress" || r.code == "idempotency_completed") ||
		r.status == http.StatusOK && r.replayed
	if !ok {
		s.broken("I8", "%s: repeated call answered %d %s %v", a.prompt, r.status, r.code, r.err)
	}
}

// atFault kills the caller of a request at a fault of the table.
func (s *seed) atFault(ctx context.Context, a *ask, p killPoint, faults []map[string]any) error {
	s.idle(ctx)
	if err := s.arm(ctx, faults); err != nil {
		return err
	}
	done := a.started(ctx)
	s.met(ctx, p)
	s.killCallers(ctx, p.name)
	<-done
	return s.w.clearFaults(ctx)
}

// idle waits until no caller works any more: a client has its answer before its
// usage is recorded, and what is left of one request must not meet the next one's
// faults.
func (s *seed) idle(ctx context.Context) {
	if s.w.until(ctx, func() bool { pids, err := s.w.busy(ctx, "invoke"); return err == nil && len(pids) == 0 }) != nil {
		s.broken("harness", "callers never came to rest")
	}
}

// spare holds later tries of an operation, so that a machine that is too slow to
// kill at once does not let one through: the ledger gives a try three seconds. It
// is the one fault that is left when a place is reached.
func spare(service, function, operation string) map[string]any {
	return map[string]any{"service": service, "operation": operation, "function": function, "count": 50, "delay_ms": 60_000}
}

// held holds the next call of an operation, and its repetitions.
func held(service, function, operation string) []map[string]any {
	return []map[string]any{
		{"service": service, "operation": operation, "function": function, "count": 1, "delay_ms": 60_000},
		spare(service, function, operation),
	}
}

// lostAnswer lets an operation of a function commit, loses the answer, and holds
// the repetition.
func lostAnswer(function, operation string) []map[string]any {
	return append([]map[string]any{
		{"service": "dynamodb", "operation": operation, "function": function, "error": "timeout_after_commit", "count": 1},
	}, held("dynamodb", function, operation)...)
}

// arm sets faults, of which the last is a spare.
func (s *seed) arm(ctx context.Context, faults []map[string]any) error {
	for _, f := range faults {
		if err := s.w.fault(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// met waits until the armed faults but the spare have been met.
func (s *seed) met(ctx context.Context, p killPoint) {
	if s.w.until(ctx, func() bool { n := s.w.faultsLeft(ctx); return n == 0 || n == 1 }) != nil {
		s.broken("harness", "%s was not reached", p.name)
	}
}

func diesBeforeReserve(ctx context.Context, s *seed, p killPoint, n int) error {
	for range n {
		a := s.newAsk(s.rich, p.name)
		a.expect = &expectation{calls: 1, charged: true, states: "SETTLED"}
		if err := s.atFault(ctx, a, p, held("dynamodb", "invoke", "TransactWriteItems")); err != nil {
			return err
		}
		// Nothing was reserved: the repetition is the first call.
		if r := a.send(ctx); r.status != http.StatusOK || r.replayed {
			s.broken("C1", "%s: repeated call answered %d %s %v", a.prompt, r.status, r.code, r.err)
		}
	}
	return nil
}

func diesAfterReserve(ctx context.Context, s *seed, p killPoint, n int) error {
	for range n {
		a := s.newAsk(s.rich, p.name)
		a.expect = &expectation{states: "EXPIRED"}
		if err := s.atFault(ctx, a, p, lostAnswer("invoke", "TransactWriteItems")); err != nil {
			return err
		}
		s.refusedAgain(ctx, a)
	}
	return nil
}

func diesBeforeCall(ctx context.Context, s *seed, p killPoint, n int) error {
	for range n {
		a := s.newAsk(s.own, p.name)
		a.expect = &expectation{states: "EXPIRED"}
		if err := s.atFault(ctx, a, p, held("kms", "invoke", "Decrypt")); err != nil {
			return err
		}
		s.refusedAgain(ctx, a)
	}
	return nil
}

// atBarrier kills the callers of n requests together, when all have arrived.
func (s *seed) atBarrier(ctx context.Context, p killPoint, n int, point mockvendor.Point, make func(*ask)) error {
	b := mockvendor.NewBarrier(point)
	defer b.Release()
	var asks []*ask
	var done []<-chan reply
	for range n {
		a := s.newAsk(s.rich, p.name)
		a.script.Barrier = b
		make(a)
		asks, done = append(asks, a), append(done, a.started(ctx))
	}
	s.arrived(ctx, b, n, p)
	for _, a := range asks {
		// What the vendor sent must have come through, or less was lost than meant.
		if s.w.until(ctx, func() bool { return int(a.seen.Load()) >= a.script.At }) != nil {
			s.broken("harness", "%s: the client read %d of %d parts", a.prompt, a.seen.Load(), a.script.At)
		}
	}
	s.killCallers(ctx, p.name)
	b.Release()
	for _, d := range done {
		<-d
	}
	for _, a := range asks {
		s.refusedAgain(ctx, a)
	}
	return nil
}

func (s *seed) arrived(ctx context.Context, b *mockvendor.Barrier, n int, p killPoint) {
	late := time.After(s.w.patience)
	for range n {
		select {
		case <-b.Reached():
		case <-late:
			s.broken("harness", "%s was not reached", p.name)
			return
		case <-ctx.Done():
			return
		}
	}
}

func diesBeforeAnswer(ctx context.Context, s *seed, p killPoint, n int) error {
	return s.atBarrier(ctx, p, n, mockvendor.BeforeHeaders, func(a *ask) {
		a.stream = s.dice.IntN(2) == 0
		a.expect = &expectation{calls: 1, states: "EXPIRED"}
	})
}

func diesMidStream(ctx context.Context, s *seed, p killPoint, n int) error {
	return s.atBarrier(ctx, p, n, mockvendor.AfterChunk, func(a *ask) {
		a.stream, a.script.Text, a.script.At = true, words(20), 1+s.dice.IntN(15)
		a.expect = &expectation{calls: 1, states: "EXPIRED"}
	})
}

func diesAfterCheckpoint(ctx context.Context, s *seed, p killPoint, n int) error {
	return s.atBarrier(ctx, p, n, mockvendor.AfterChunk, func(a *ask) {
		// 20 parts of 300 tokens: a checkpoint stands after 2,000 of them.
		a.stream, a.max, a.script.Text, a.script.Chunks, a.script.At = true, 8000, strings.Repeat("abcd", 6000), 20, 12+s.dice.IntN(7)
		a.expect = &expectation{calls: 1, charged: true, estimated: true, states: "SETTLED"}
	})
}

func diesBeforeUsed(ctx context.Context, s *seed, p killPoint, n int) error {
	for i := range n {
		a := s.newAsk(s.rich, p.name)
		a.stream = i%2 == 1
		a.expect = &expectation{calls: 1, states: "EXPIRED"}
		if err := s.atFault(ctx, a, p, held("dynamodb", "invoke", "UpdateItem")); err != nil {
			return err
		}
		s.refusedAgain(ctx, a)
	}
	return nil
}

func diesAfterUsed(ctx context.Context, s *seed, p killPoint, n int) error {
	for i := range n {
		a := s.newAsk(s.rich, p.name)
		a.stream = i%2 == 1
		a.expect = &expectation{calls: 1, charged: true, states: "SETTLED"}
		if err := s.atFault(ctx, a, p, lostAnswer("invoke", "UpdateItem")); err != nil {
			return err
		}
		s.refusedAgain(ctx, a)
	}
	return nil
}

// settleDies kills settle between its transaction and its answer, so that the
// stream delivers the batch again.
func settleDies(ctx context.Context, s *seed, p killPoint, n int) error {
	for range n {
		a := s.newAsk(s.rich, p.name)
		a.expect = &expectation{calls: 1, charged: true, states: "SETTLED"}
		if err := s.arm(ctx, lostAnswer("settle", "TransactWriteItems")); err != nil {
			return err
		}
		<-a.started(ctx)
		s.met(ctx, p)
		s.kill(ctx, p.name, "settle")
		if err := s.w.clearFaults(ctx); err != nil {
			return err
		}
	}
	return nil
}

// diesAfterSettle kills the caller when its usage has been settled and its client
// has no answer.
func diesAfterSettle(ctx context.Context, s *seed, p killPoint, n int) error {
	for range n {
		a := s.newAsk(s.quiet, p.name)
		a.expect = &expectation{calls: 1, charged: true, states: "SETTLED"}
		s.idle(ctx)
		before, err := s.quiet.entries(ctx)
		if err != nil {
			return err
		}
		if err := s.arm(ctx, lostAnswer("invoke", "UpdateItem")); err != nil {
			return err
		}
		done := a.started(ctx)
		err = s.w.until(ctx, func() bool {
			now, err := s.quiet.entries(ctx)
			return err == nil && len(now) > len(before)
		})
		if err != nil {
			s.broken("harness", "%s was not reached", p.name)
		}
		s.killCallers(ctx, p.name)
		<-done
		if err := s.w.clearFaults(ctx); err != nil {
			return err
		}
		s.refusedAgain(ctx, a)
	}
	return nil
}

// waiting starts n requests of the quiet organisation that wait at the vendor.
func (s *seed) waiting(ctx context.Context, p killPoint, n int, states string) (release func(), err error) {
	b := mockvendor.NewBarrier(mockvendor.BeforeUsage)
	var done []<-chan reply
	for i := range n {
		a := s.newAsk(s.quiet, p.name)
		a.stream, a.script.Barrier = i%2 == 1, b
		a.expect = &expectation{calls: 1, charged: true, states: states}
		done = append(done, a.started(ctx))
	}
	s.arrived(ctx, b, n, p)
	return func() {
		b.Release()
		for _, d := range done {
			if r := <-d; r.status != http.StatusOK || !r.whole {
				s.broken("F14", "%s: the late answer was %d %s %v", p.name, r.status, r.code, r.err)
			}
		}
	}, nil
}

func (s *seed) nothingHeld(ctx context.Context, o *org, why string) {
	err := s.w.until(ctx, func() bool { c, err := o.credits(ctx); return err == nil && c.Held == 0 })
	if err != nil {
		s.broken("I10", "%s: the holds of %s never ended", why, o.id)
	}
}

// expiresFirst lets the sweep end holds whose calls are still running; their
// usage is charged late, once.
func expiresFirst(ctx context.Context, s *seed, p killPoint, n int) error {
	release, err := s.waiting(ctx, p, n, "SETTLED_LATE")
	if err != nil {
		return err
	}
	defer release()
	r, err := s.w.sweep(ctx, time.Hour)
	if err == nil && r.Expired < n {
		s.broken("I10", "%s: the sweep expired %d of %d", p.name, r.Expired, n)
	}
	s.count("late after the sweep", n)
	s.nothingHeld(ctx, s.quiet, p.name)
	return err
}

// sweepDies kills the sweep after it expired a hold.
func sweepDies(ctx context.Context, s *seed, p killPoint, n int) error {
	if err := s.bringToRest(ctx); err != nil {
		return err
	}
	release, err := s.waiting(ctx, p, n, "SETTLED_LATE")
	if err != nil {
		return err
	}
	defer release()
	for range n {
		if err := s.arm(ctx, lostAnswer("sweep", "TransactWriteItems")); err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.w.sweep(ctx, time.Hour)
		}()
		s.met(ctx, p)
		s.kill(ctx, p.name, "sweep")
		<-done
		if err := s.w.clearFaults(ctx); err != nil {
			return err
		}
	}
	// Two of them at once finish what was left.
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { _, _ = s.w.sweep(ctx, time.Hour) })
	}
	both.Wait()
	s.nothingHeld(ctx, s.quiet, p.name)
	return nil
}

// sweepMeetsSettle holds the sweep's transaction that expires a hold until the
// request has been used and settled: it must be refused. A second request, not due
// yet, keeps credit held, so that the balance alone would not refuse it.
func sweepMeetsSettle(ctx context.Context, s *seed, p killPoint, n int) error {
	if err := s.bringToRest(ctx); err != nil {
		return err
	}
	for range n {
		first := mockvendor.NewBarrier(mockvendor.BeforeUsage)
		a := s.newAsk(s.quiet, p.name)
		a.script.Barrier, a.expect = first, &expectation{calls: 1, charged: true, states: "SETTLED"}
		answered := a.started(ctx)
		s.arrived(ctx, first, 1, p)
		other, err := s.notDue(ctx, p)
		if err != nil {
			return err
		}
		if err := s.arm(ctx, held("dynamodb", "sweep", "TransactWriteItems")); err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = s.w.sweep(ctx, time.Hour)
		}()
		s.met(ctx, p)
		first.Release()
		r := <-answered
		err = s.w.until(ctx, func() bool {
			v, found, err := s.quiet.request(ctx, r.id)
			return err == nil && found && v.State == "SETTLED"
		})
		if err != nil {
			s.broken("F13", "%s: %s was not settled", p.name, r.id)
		}
		err = s.w.clearFaults(ctx)
		<-done
		other()
		if err != nil {
			return err
		}
	}
	return nil
}

// notDue starts a request whose hold is taken by a clock that is ahead.
func (s *seed) notDue(ctx context.Context, p killPoint) (release func(), err error) {
	if err := s.w.local(ctx, "/clock", map[string]any{"offset_seconds": 7200}, nil); err != nil {
		return nil, err
	}
	b := mockvendor.NewBarrier(mockvendor.BeforeUsage)
	a := s.newAsk(s.quiet, p.name+" not due")
	a.max, a.script.Barrier, a.expect = 400, b, &expectation{calls: 1, charged: true, states: "SETTLED"}
	done := a.started(ctx)
	s.arrived(ctx, b, 1, p)
	return func() { b.Release(); <-done }, s.w.local(ctx, "/clock", map[string]any{"offset_seconds": 0}, nil)
}
