package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/model"
)

// What is read of an answer after its client has left. More than that is cut off
// and charged by our estimate.
const (
	drainFor    = 30 * time.Second
	drainTokens = 4000
)

// reasonLeft is the reason of an outcome nobody was there for.
const reasonLeft = "client_closed"

// callContext is the context of a vendor's call. It ends early enough to record
// what the call cost. A client that leaves ends it at once or, where the answer is
// billed anyway, after a while: until then the vendor may say what it was.
//
// A function URL does not tell of clients that leave: "streamed responses are not
// interrupted or stopped when the invoking client connection is broken" (Lambda
// developer guide, response streaming, read 2026-11), so that there the answer is
// read to its end.
func (a *attempts) callContext(ctx context.Context, drain bool) (context.Context, context.CancelFunc) {
	var callCtx context.Context
	var cancel context.CancelFunc
	if deadline, ok := ctx.Deadline(); ok {
		callCtx, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(-recordMargin))
	} else {
		callCtx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	}
	var mu sync.Mutex
	stopTimer := func() bool { return true }
	stay := context.AfterFunc(ctx, func() {
		if !drain {
			cancel()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if callCtx.Err() == nil {
			stopTimer = a.g.o.Later(drainFor, cancel)
		}
	})
	return callCtx, func() {
		stay()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		stopTimer()
	}
}

// Abandon ends the answer of a client that has left, and returns when that is
// done. Where closing the connection stops the vendor's work, what was produced is
// charged by our estimate. Elsewhere the answer is read on, at most 30 seconds and
// 4,000 tokens and never beyond what is held, so that the vendor's own count is
// charged if it comes; without a hold nothing is charged, and the same is recorded.
func (s *ChatStream) Abandon() {
	defer s.Close()
	if s.finished || s.meter.cancelStops {
		return
	}
	// Whoever ends this process now still has to pay for what was delivered.
	s.meter.save(s.ctx, s.current())
	// Close may be called from another goroutine to interrupt Next.
	stop := s.meter.a.g.o.Later(drainFor, func() { _ = s.stream.Close() })
	defer stop()
	for most := s.bytes + drainTokens*bytesPerToken; s.bytes <= most; {
		ev, err := s.stream.Next()
		if err != nil {
			s.broke(err, reasonLeft)
			return
		}
		if s.take(&ev) && s.meter.beyond(s.current()) {
			return
		}
		if ev.Kind == model.EventEnd {
			s.finish(Outcome{Reason: reasonLeft})
			return
		}
	}
}

// beyond reports whether a usage costs more than is held.
func (m *Meter) beyond(u billing.Usage) bool {
	m.extended(false)
	amount, known := m.price(u)
	return known && amount > m.hold.Amount
}

// Abandon is [ChatStream.Abandon] for a transcription. What is sent decides what
// it costs, or the count at its end.
func (s *TextStream) Abandon() {
	defer s.Close()
	stop := s.meter.a.g.o.Later(drainFor, func() { _ = s.stream.Close() })
	defer stop()
	for !s.finished {
		_, _ = s.next(reasonLeft)
	}
}
