package gateway

import (
	"context"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Info is what a client learns about how its request was served.
type Info struct {
	RequestID  string
	Provider   taxonomy.Provider
	Model      string // provider/model
	Connection string // empty for the platform
	Source     taxonomy.BillingSource
	Rule       string
	// Fallback lists the candidates that did not serve, as candidate:reason.
	Fallback []string
	// Dropped names the fields of the request that the vendor was not given, sorted.
	Dropped []string
	// RequestsLeft and TokensLeft are what is left of limits per minute, nil
	// without such limits.
	RequestsLeft, TokensLeft *limit.Standing
	// Overhead is our own time until now: everything but the vendor's.
	Overhead time.Duration
}

// Meter records what one attempt used, and holds more where an answer turns out
// to need it. It belongs to one goroutine.
type Meter struct {
	a          *attempts
	cand       route.Candidate
	hold       credit.Hold
	decision   billing.Decision
	reservedAt time.Time
	attempt    int
	upstream   time.Duration
	cancel     context.CancelFunc
	done       bool
	dropped    []string

	saved checkpoints
	grow  growth
	// cancelStops says that nothing is to be charged for what the vendor would have
	// sent after its connection was closed.
	cancelStops bool
}

// Info describes the attempt so far.
func (m *Meter) Info() Info {
	i := about(m.cand, m.decision)
	i.RequestID, i.Fallback, i.Dropped, i.Overhead = m.a.request, m.a.tried, shown(m.dropped), m.a.c.now().Sub(m.a.c.started)-m.upstream
	i.RequestsLeft, i.TokensLeft = m.a.limits.standings()
	return i
}

// FallbackHeader joins Fallback for the response header.
func (i Info) FallbackHeader() string { return strings.Join(i.Fallback, ", ") }

// cost prices a usage. What the platform does not pay for costs its fee, if there is
// one. A meter that turned out to have no price after the call costs the whole hold:
// that is what the caller agreed to, and it is marked as estimated.
func (m *Meter) cost(u billing.Usage) (amount billing.Micro, known bool) {
	if !m.decision.Metered() {
		return m.fee(u)
	}
	amount, known = m.price(u)
	if !known {
		return m.hold.Amount, false
	}
	return m.agreed(amount, u.Source == billing.Estimated), true
}

// fee is what a call on the organisation's own means costs, if the month's allowance
// does not cover it; settlement knows. Where nothing was held, nothing was agreed to
// that an estimate or a missing price could charge.
func (m *Meter) fee(u billing.Usage) (amount billing.Micro, known bool) {
	f := m.decision.Fee
	if !f.Due() {
		return 0, true
	}
	amount, err := f.Of(m.a.c.book, string(m.cand.Provider), m.cand.Model, u)
	if err != nil {
		return m.hold.Amount, !f.Held
	}
	return m.agreed(amount, u.Source == billing.Estimated && f.BPS > 0), true
}

// spent is the outcome as it counts against budgets: without a fee that the month's
// allowance is expected to cover.
func (m *Meter) spent(o credit.Outcome) credit.Outcome {
	if !m.decision.Metered() && !m.decision.Fee.Held {
		o.Amount = 0
	}
	return o
}

// price is what a usage costs by the book of the request, however much is held;
// known is false if something in it has no price.
func (m *Meter) price(u billing.Usage) (amount billing.Micro, known bool) {
	if !m.decision.Metered() {
		return 0, true
	}
	amount, err := billing.Cost(m.a.c.book, string(m.cand.Provider), m.cand.Model, u)
	return amount, err == nil
}

// refuse ends an attempt for which the vendor did no work.
func (m *Meter) refuse(ctx context.Context, cause error) {
	m.record(ctx, credit.Outcome{Kind: credit.Refused, Usage: billing.Usage{Source: billing.NoUsage},
		Status: fault.CodeOf(cause).Status(), Reason: string(fault.CodeOf(cause))})
}

// Outcome is a finished call that waits to be recorded.
type Outcome struct {
	Usage             billing.Usage
	Partial           bool
	ProviderRequestID string
	Reason            string
}

// outcome prices a finished call.
func (m *Meter) outcome(o Outcome) credit.Outcome {
	kind := credit.Completed
	if o.Partial {
		kind = credit.Partial
	}
	amount, known := m.cost(o.Usage)
	reason := o.Reason
	if !known {
		reason = string(fault.PriceMissing)
	}
	return credit.Outcome{Kind: kind, Usage: o.Usage, Amount: amount, Estimated: !known || o.Usage.Source != billing.FromProvider,
		ProviderRequestID: o.ProviderRequestID, Status: 200, Reason: reason}
}

// Finish records a finished call, once. It outlives ctx. The error is
// ledger_unavailable or conflict; the answer is the client's all the same.
func (m *Meter) Finish(ctx context.Context, o Outcome) error {
	if m.done {
		return nil
	}
	m.join()
	return m.record(ctx, m.outcome(o))
}

func (m *Meter) record(ctx context.Context, o credit.Outcome) error {
	if m.done {
		return nil
	}
	m.done = true
	if m.cancel != nil {
		defer m.cancel()
	}
	o.At = m.a.c.now()
	rctx, cancel := detached(ctx)
	defer cancel()
	if o.Kind != credit.Refused { // then the next candidate takes the limits over
		defer m.a.limits.finish(m.spent(o))()
	}
	err := m.used(rctx, o)
	if err != nil {
		m.a.g.o.OnUnrecorded(m.a.c.Org, m.a.request, m.attempt, fault.CodeOf(err))
	}
	if o.Kind == credit.Completed && m.cand.Connection != nil {
		// A failure here leaves a cooldown that ends by itself.
		_ = connection.Recover(rctx, m.a.g.o.Cooldown, *m.cand.Connection)
	}
	return err
}

// Pending is a finished call that has not been recorded yet, in a form that can
// be stored: whoever holds it may record it again, with the same effect.
type Pending struct {
	Hold    credit.Hold    `json:"hold"`
	Outcome credit.Outcome `json:"outcome"`
}

// pending prices the call now and leaves recording it to [Gateway.Commit].
func (m *Meter) pending(o Outcome) Pending {
	m.done = true
	if m.cancel != nil {
		m.cancel()
	}
	out := m.outcome(o)
	out.At = m.a.c.now()
	m.a.limits.finish(m.spent(out))()
	return Pending{Hold: m.hold, Outcome: out}
}

// Commit records a pending call. Repeating it is success; it fails with conflict
// if another outcome was recorded first, and with ledger_unavailable.
func (g *Gateway) Commit(ctx context.Context, p Pending) error {
	return g.o.Ledger.Used(ctx, p.Hold, p.Outcome)
}

// billable converts a model's disjoint usage to the ledger's totals.
func billable(u model.Usage) billing.Usage {
	b := billing.Usage{
		InputTokens: u.InputTotal(), CachedInputTokens: u.CachedRead, CacheWriteTokens: u.CacheWrite5m + u.CacheWrite1h,
		OutputTokens: u.OutputTotal(), ReasoningTokens: u.Reasoning,
		CacheWrite1hTokens: u.CacheWrite1h, InputAudioTokens: u.InputAudio, OutputAudioTokens: u.OutputAudio,
		InputImageTokens: u.InputImage, OutputImageTokens: u.OutputImage, Requests: 1,
	}
	switch u.Source {
	case model.UsageProvider:
		b.Source = billing.FromProvider
	case model.UsageEstimated:
		b.Source = billing.Estimated
	default:
		b.Source = billing.NoUsage
	}
	return b
}
