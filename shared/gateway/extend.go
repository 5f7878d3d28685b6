package gateway

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/route"
)

const (
	// firstTokens of output are what the hold of a stream covers at its beginning;
	// it grows by extendTokens, or by lastTokens where so much cannot be had.
	firstTokens  = 2048
	extendTokens = 4096
	lastTokens   = 1024
	// extendAgain is how long a refused extension is not tried again.
	extendAgain = 5 * time.Second
)

// errNotAsked stands for an extension whose end is unknown.
var errNotAsked = fault.New(fault.LedgerUnavailable, "gateway.extend", "the credit ledger cannot be reached, try again")

// sized is what an attempt reserves: hold at its beginning, ceiling is what the
// request may cost as far as it is known before the call.
type sized struct {
	hold, ceiling billing.Micro
	maxOutput     int64
}

// estimate is what is reserved for a call: its price on platform credits, its fee on
// the organisation's own means where that is held. A fee that is not held needs no
// price; one that is held is so as a whole.
func (s *service[T]) estimate(book *billing.Book, cand route.Candidate, row registry.Row, d billing.Decision, e billing.Expected) (sized, error) {
	switch {
	case d.Metered():
		return s.size(book, cand, row, e)
	case d.Fee.Held:
		fee, err := d.Fee.Estimate(book, string(cand.Provider), cand.Model, e)
		return sized{hold: fee, ceiling: fee}, err
	}
	return sized{}, nil
}

// size prices what a candidate may use. An answer whose output is seen is reserved
// for in parts, any other as a whole.
func (s *service[T]) size(book *billing.Book, cand route.Candidate, row registry.Row, e billing.Expected) (sized, error) {
	hold, maxOutput, err := billing.Estimate(book, string(cand.Provider), cand.Model, e)
	z := sized{hold: hold, ceiling: hold, maxOutput: maxOutput}
	if err != nil || !s.seen(row) || maxOutput <= firstTokens {
		return z, err
	}
	e.MaxOutput = firstTokens
	z.hold, _, err = billing.Estimate(book, string(cand.Provider), cand.Model, e)
	return z, err
}

// seen says that the output of the answer can be counted as it arrives. A model
// that thinks, or was asked to, may show little of what it is paid for.
func (s *service[T]) seen(row registry.Row) bool { return s.inParts && row.Reasoning != registry.Yes }

// extension is a write that raises the hold while the answer goes on.
type extension struct {
	done   chan struct{}
	cancel context.CancelFunc
	// Written before done is closed.
	hold credit.Hold
	err  error
}

// growth is how the hold of a running stream is raised. At most one extension is
// in flight.
type growth struct {
	// on says that the hold may not cover the whole answer.
	on        bool
	maxOutput int64
	running   *extension
	refusal   error
	again     time.Time // after a refusal
}

// cover keeps the hold ahead of what has been used. From four fifths of the hold
// on an extension is asked for beside the stream; only a usage that costs more
// than is held waits for its answer. The error says why no more is held than what
// u costs: insufficient_credits or what else the ledger said. Nothing that costs
// more than the hold may be handed on then.
//
// An answer that outgrows everything its request may cost is not stopped: its
// vendor sends what nobody asked for, and an estimate costs at most the hold.
func (m *Meter) cover(ctx context.Context, u billing.Usage) error {
	if !m.grow.on || m.hold.Amount == 0 {
		return nil
	}
	amount, known := m.price(u)
	if !known {
		return nil
	}
	m.extended(false)
	for {
		if amount > m.hold.Amount-m.hold.Amount/5 {
			m.extend(ctx, u, amount)
		}
		switch {
		case amount <= m.hold.Amount:
			return nil
		case m.grow.running == nil:
			return m.grow.refusal
		}
		m.extended(true)
	}
}

// extend asks for the next part of what the answer may still cost, unless that is
// being done, was just refused, or nothing is missing.
func (m *Meter) extend(ctx context.Context, u billing.Usage, amount billing.Micro) {
	now := m.a.c.now()
	if m.grow.running != nil || m.grow.refusal != nil && now.Before(m.grow.again) {
		return
	}
	missing := m.withOutput(u, m.grow.maxOutput) - m.hold.Amount
	if missing <= 0 {
		m.grow.refusal = nil
		return
	}
	step := func(tokens int64) billing.Micro {
		return min(missing, max(m.withOutput(u, u.OutputTokens+tokens)-amount, amount-m.hold.Amount, 1))
	}
	ectx, cancel := detached(ctx)
	x := &extension{done: make(chan struct{}), cancel: cancel, hold: m.hold, err: errNotAsked}
	full, part := step(extendTokens), step(lastTokens)
	m.grow.running = x
	go func() {
		defer close(x.done)
		ledger, old := m.a.g.o.Ledger, x.hold
		x.hold, x.err = ledger.Extend(ectx, old, full, now)
		if part < full && fault.CodeOf(x.err) == fault.InsufficientCredits {
			x.hold, x.err = ledger.Extend(ectx, old, part, now)
		}
	}()
}

// withOutput is what a usage would cost with so many tokens of output.
func (m *Meter) withOutput(u billing.Usage, tokens int64) billing.Micro {
	u.OutputTokens = tokens
	amount, _ := m.price(u)
	return amount
}

// extended takes over an extension that has ended, or waits for it.
func (m *Meter) extended(wait bool) {
	x := m.grow.running
	if x == nil {
		return
	}
	if !wait {
		select {
		case <-x.done:
		default:
			return
		}
	}
	<-x.done
	x.cancel()
	m.grow.running, m.grow.refusal = nil, x.err
	if x.err == nil && x.hold.Amount <= m.hold.Amount {
		m.grow.refusal = errNotAsked // or a caller would ask for ever
	}
	if m.grow.refusal != nil {
		m.grow.again = m.a.c.now().Add(extendAgain)
		return
	}
	m.hold = x.hold
}

// join ends what is written beside the stream: nothing outlives the invocation. An
// extension that is given up raises the hold or does not; the attempt says which.
func (m *Meter) join() {
	if x := m.grow.running; x != nil {
		x.cancel()
		m.extended(true)
	}
	if m.saved.running != nil {
		m.saved.cancel()
		m.checkpointed()
	}
}
