package crash

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// equalCalls sends one call with one key n times at once: one vendor call, one
// entry.
func (s *seed) equalCalls(ctx context.Context, n int) error {
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	a := s.newAsk(s.rich, fmt.Sprintf("%d equal calls", n))
	a.script.Barrier, a.expect = b, &expectation{calls: 1, charged: true, states: "SETTLED"}
	a.direct()
	var good, refused atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			switch r := a.send(ctx); {
			case r.status == http.StatusOK:
				good.Add(1)
			case r.code == "idempotency_in_progress":
				refused.Add(1)
			default:
				s.broken("F9", "%s: %d %s %v", a.prompt, r.status, r.code, r.err)
			}
		})
	}
	_ = s.w.until(ctx, func() bool { return refused.Load() == int64(n-1) })
	b.Release()
	all.Wait()
	if good.Load() != 1 || refused.Load() != int64(n-1) {
		s.broken("F9", "%s: %d answered, %d refused", a.prompt, good.Load(), refused.Load())
	}
	return nil
}

// fill is a prompt whose hold does not depend on its number.
func (s *seed) fill(o *org, point string, i int) *ask {
	a := s.newAsk(o, point)
	a.prompt = fmt.Sprintf("%s:%06d: %s %04d", s.name, s.serial, point, i)
	return a
}

// fundsForTen sends n calls at once on funds for ten holds, on so many balance
// shards: exactly ten succeed.
func (s *seed) fundsForTen(ctx context.Context, n, shards int) error {
	point := fmt.Sprintf("funds for ten, %d shards", shards)
	o, err := s.newOrg(ctx, "free", 100_000_000)
	if err != nil {
		return err
	}
	hold, err := s.holdOf(ctx, o, point)
	if err == nil && shards > 1 {
		err = s.shard(ctx, o, point, shards)
	}
	if err != nil {
		return err
	}
	if err := s.w.until(ctx, func() bool { c, err := o.credits(ctx); return err == nil && c.Held == 0 }); err != nil {
		return fmt.Errorf("%s: %w", point, err)
	}
	c, err := o.credits(ctx)
	if err != nil {
		return err
	}
	if err := s.w.operator.Call(ctx, http.MethodPost, "/api/orgs/"+o.id+"/adjustments",
		map[string]any{"kind": "gifted", "amount": 10*hold - c.Posted, "idempotency_key": "to ten"}, nil); err != nil {
		return err
	}
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	var good, refused atomic.Int64
	var all sync.WaitGroup
	for i := range n {
		a := s.fill(o, point, i)
		a.script.Barrier = b
		a.direct()
		all.Go(func() {
			switch r := a.send(ctx); {
			case r.status == http.StatusOK:
				good.Add(1)
			case r.code == "insufficient_credits":
				refused.Add(1)
			default:
				s.broken("F18", "%s: %d %s %v", a.prompt, r.status, r.code, r.err)
			}
		})
	}
	_ = s.w.until(ctx, func() bool { return refused.Load() >= int64(n-10) })
	b.Release()
	all.Wait()
	if good.Load() != 10 || refused.Load() != int64(n-10) {
		s.broken("F18", "%s: %d granted, %d refused of %d", point, good.Load(), refused.Load(), n)
	}
	s.count(point+", granted", int(good.Load()))
	return nil
}

// holdOf is what one call of an organisation holds.
func (s *seed) holdOf(ctx context.Context, o *org, point string) (int64, error) {
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	defer b.Release()
	a := s.fill(o, point, 0)
	a.script.Barrier = b
	done := a.started(ctx)
	s.arrived(ctx, b, 1, killPoint{name: point})
	c, err := o.credits(ctx)
	b.Release()
	<-done
	if err == nil && c.Held == 0 {
		err = fmt.Errorf("%s: a running call holds nothing", point)
	}
	return c.Held, err
}

// shard makes the sweep see so much load that the organisation gets its shards:
// two measurements a second apart, and eight holds open at both.
func (s *seed) shard(ctx context.Context, o *org, point string, shards int) error {
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	var open []<-chan reply
	for range 8 {
		a := s.newAsk(o, point+", open")
		a.script.Barrier = b
		open = append(open, a.started(ctx))
	}
	s.arrived(ctx, b, 8, killPoint{name: point})
	at := time.Now()
	if _, err := s.w.sweepAt(ctx, at); err != nil {
		return err
	}
	// More than 8 a second for each shard of half as many.
	var all sync.WaitGroup
	for range shards*4 + 1 {
		a := s.newAsk(o, point+", load")
		a.direct()
		all.Go(func() { a.send(ctx) })
	}
	all.Wait()
	if _, err := s.w.sweepAt(ctx, at.Add(time.Second)); err != nil {
		return err
	}
	s.count("organisations sharded", 1)
	// With eight holds open while the number changes (F33).
	b.Release()
	for _, d := range open {
		if r := <-d; r.status != http.StatusOK {
			s.broken("F33", "%s: %d %s %v", point, r.status, r.code, r.err)
		}
	}
	return nil
}

// keyRevoked revokes an own key while a call runs on it: that one ends on it, the
// next is refused and reaches nobody (F28).
func (s *seed) keyRevoked(ctx context.Context) error {
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	defer b.Release()
	a := s.newAsk(s.own, "F28 key revoked")
	a.script.Barrier, a.expect = b, &expectation{calls: 1, charged: true, states: "SETTLED"}
	done := a.started(ctx)
	s.arrived(ctx, b, 1, killPoint{name: a.point})
	if err := s.own.call(ctx, http.MethodPost, "/connections/"+s.own.conn+"/revoke", nil, nil); err != nil {
		return err
	}
	next := s.newAsk(s.own, "F28 next")
	next.direct()
	if r := next.send(ctx); r.code != "byok_unavailable" || len(next.calls()) != 0 {
		s.broken("F28", "after the key was revoked: %d %s %v, %d calls", r.status, r.code, r.err, len(next.calls()))
	}
	b.Release()
	if r := <-done; r.status != http.StatusOK {
		s.broken("F28", "the call on the key: %d %s %v", r.status, r.code, r.err)
	}
	return s.own.connect(ctx)
}

// fallbackRemoved takes the fallback out of the settings while the first candidate
// is asked: the plan of the request stands, with a decision and a hold of its own
// for each attempt (F29).
func (s *seed) fallbackRemoved(ctx context.Context) error {
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	defer b.Release()
	settings := func(fallback ...string) error {
		return s.spare.call(ctx, http.MethodPut, "/settings", map[string]any{"fallback": append([]string{}, fallback...)}, nil)
	}
	if err := settings(ownModel); err != nil {
		return err
	}
	a := s.newAsk(s.spare, "F29 fallback removed")
	a.script = mockvendor.Script{Barrier: b, Status: http.StatusTooManyRequests, Only: mockvendor.Hash(platformKeys["openrouter"]), RetryAfter: "1", Body: "{}"}
	a.expect = &expectation{calls: 2, charged: true, states: "SETTLED"}
	done := a.started(ctx)
	s.arrived(ctx, b, 1, killPoint{name: a.point})
	if err := settings(); err != nil {
		return err
	}
	b.Release()
	if r := <-done; r.status != http.StatusOK {
		s.broken("F29", "%d %s %v", r.status, r.code, r.err)
	}
	return nil
}

// deadlines lets n calls reach the function's time limit at each of three places
// at once: waiting for the vendor, in a stream, and reading the configuration, where
// the host kills the process.
func (s *seed) deadlines(ctx context.Context, n int) error {
	silent, midway := mockvendor.NewBarrier(mockvendor.BeforeHeaders), mockvendor.NewBarrier(mockvendor.AfterChunk)
	defer silent.Release()
	defer midway.Release()
	var done []<-chan reply
	for range n {
		a := s.newAsk(s.rich, "C10 no answer")
		a.script.Barrier, a.expect = silent, &expectation{calls: 1, states: "RELEASED"}
		done = append(done, a.started(ctx))
		a = s.newAsk(s.rich, "C10 stream stops")
		a.stream, a.script.Text, a.script.Chunks, a.script.At = true, strings.Repeat("abcd", 100), 10, 5
		a.script.Barrier, a.expect = midway, &expectation{calls: 1, charged: true, estimated: true, states: "SETTLED"}
		done = append(done, a.started(ctx))
	}
	s.arrived(ctx, silent, n, killPoint{name: "C10"})
	s.arrived(ctx, midway, n, killPoint{name: "C10"})
	var killed []*ask
	for range n {
		a := s.newAsk(s.rich, "C10 killed by the host")
		a.expect = &expectation{calls: 1, charged: true, states: "SETTLED"}
		if err := s.w.fault(ctx, held("dynamodb", "invoke", "BatchGetItem")[0]); err != nil {
			return err
		}
		killed, done = append(killed, a), append(done, a.started(ctx))
	}
	for _, d := range done {
		<-d
	}
	if err := s.w.clearFaults(ctx); err != nil {
		return err
	}
	for _, a := range killed {
		if r := a.send(ctx); r.status != http.StatusOK || r.replayed {
			s.broken("C10", "%s: repeated call answered %d %s %v", a.prompt, r.status, r.code, r.err)
		}
	}
	return nil
}
