package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

// Sweeper is what the handler needs of the ledger.
type Sweeper interface {
	Sweep(ctx context.Context, now time.Time, start, budget int) (credit.SweepReport, error)
	ExpireGrants(ctx context.Context, now time.Time) (int, error)
	CloseMonths(ctx context.Context, now time.Time) (credit.CloseReport, error)
}

// Prober hands over the connections whose keys are due to be checked.
type Prober interface {
	Run(ctx context.Context, now time.Time) (int, error)
}

// Handler ends what was abandoned and starts what is due.
type Handler struct {
	Ledger Sweeper
	Probes Prober
	// Rotations is woken first: it takes little, and a busy ledger may use up all
	// of the time.
	Rotations interface {
		Wake(ctx context.Context, now time.Time)
	}
	// Replenish hands standing orders to buy credits to the function that sells.
	Replenish interface {
		Wake(ctx context.Context, now time.Time)
	}
	// Drains ends the drains of legacy token counters.
	Drains interface {
		Finish(ctx context.Context, now time.Time) (int, error)
	}
	// Approvals expires calls that nobody approved, and sends decisions on that were
	// not sent.
	Approvals interface {
		Finish(ctx context.Context, now time.Time) (int, error)
	}
	// Events tells what was found, and sends what the event bus did not take before.
	Events interface {
		Send(ctx context.Context, events []outbox.Event) error
		Flush(ctx context.Context, budget int) (sent int, left bool, err error)
	}
	Stage string
	Log   *slog.Logger
}

// Answer is the result of one run.
type Answer struct {
	Expired       int `json:"expired"`
	Settled       int `json:"settled"`
	Released      int `json:"released"`
	GrantsExpired int `json:"grants_expired"`
	Probes        int `json:"probes"`
	MonthsClosed  int `json:"months_closed"`
	Unbilled      int `json:"unbilled"`
	Poison        int `json:"poison"`
	Drained       int `json:"drained"`
	Approvals     int `json:"approvals"`
}

const (
	// sweepBudget bounds the open requests that one run looks at.
	sweepBudget = 20_000
	// eventBudget bounds the kept events that one run sends.
	eventBudget = 1000
	// sweepReserve is kept of the function's time for the answer.
	sweepReserve = 5 * time.Second
)

// Handle runs one sweep at the time of the scheduled event. A run that ends
// early is continued by the next one, which starts elsewhere; what a killed run
// did stays done. Two runs at once do the same work without harm.
func (h *Handler) Handle(ctx context.Context, ev events.CloudWatchEvent) (Answer, error) {
	const op = "sweep.Handle"
	if ev.Time.Unix() <= 0 {
		return Answer{}, fault.New(fault.InvalidRequest, op, "the event has no time")
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-sweepReserve))
		defer cancel()
	}
	h.Rotations.Wake(ctx, ev.Time.UTC())
	// Before the holds: an organisation whose grant has ended is refused until it
	// is folded.
	ended, endErr := h.Ledger.ExpireGrants(ctx, ev.Time.UTC())
	if endErr != nil {
		h.Log.ErrorContext(ctx, "grants not expired", "code", string(fault.CodeOf(endErr)), "op", fault.As(endErr).Op)
	}
	r, err := h.Ledger.Sweep(ctx, ev.Time.UTC(), startOf(ev.Time), sweepBudget)
	if err == nil {
		err = endErr
	}
	a := Answer{Expired: r.Expired, Settled: r.Settled, Released: r.Released, GrantsExpired: ended,
		Unbilled: r.Unbilled, Poison: r.Left}
	h.Log.InfoContext(ctx, "swept", "expired", r.Expired, "settled", r.Settled, "released", r.Released,
		"undecided", r.Undecided, "poison", r.Left, "healed", r.Healed, "reshaped", r.Reshaped, "complete", r.Complete,
		"unbilled", r.Unbilled, "unbilled_at_most", int64(r.UnbilledAtMost))
	h.tell(ctx, r.Found)
	var probeErr error
	if a.Probes, probeErr = h.Probes.Run(ctx, ev.Time.UTC()); probeErr != nil {
		// The ledger's result must not be lost over it; the next run tries again.
		h.Log.ErrorContext(ctx, "probes not handed over", "code", string(fault.CodeOf(probeErr)), "op", fault.As(probeErr).Op)
	}
	h.flush(ctx)
	var waitErr error
	if a.Approvals, waitErr = h.Approvals.Finish(ctx, ev.Time.UTC()); waitErr != nil {
		h.Log.ErrorContext(ctx, "decisions not sent on", "code", string(fault.CodeOf(waitErr)), "op", fault.As(waitErr).Op)
	}
	h.Replenish.Wake(ctx, ev.Time.UTC())
	var drainErr error
	if a.Drained, drainErr = h.Drains.Finish(ctx, ev.Time.UTC()); drainErr != nil {
		h.Log.ErrorContext(ctx, "drains not ended", "code", string(fault.CodeOf(drainErr)), "op", fault.As(drainErr).Op)
	}
	// Last: it can take what is left of the time.
	a.MonthsClosed = h.close(ctx, ev.Time.UTC())
	// Out of time is not a failure: the next run goes on.
	if err != nil && ctx.Err() == nil {
		return a, err
	}
	return a, nil
}

// close closes months and reviews organisations. What fails is tried again by a later
// run and never fails this one.
func (h *Handler) close(ctx context.Context, now time.Time) int {
	r, err := h.Ledger.CloseMonths(ctx, now)
	switch {
	case err != nil && ctx.Err() == nil:
		h.Log.ErrorContext(ctx, "months not closed", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
	case r.Failed > 0:
		h.Log.ErrorContext(ctx, "some months not closed", "closed", r.Closed, "waiting", r.Waiting, "failed", r.Failed)
	case r.Closed+r.Waiting > 0:
		h.Log.InfoContext(ctx, "months closed", "closed", r.Closed, "waiting", r.Waiting)
	}
	if r.Reviewed+r.Caught+r.Restless > 0 {
		h.Log.InfoContext(ctx, "organisations reviewed", "reviewed", r.Reviewed, "caught", r.Caught, "restless", r.Restless)
	}
	for _, m := range r.Mismatches {
		h.Log.ErrorContext(ctx, "reconcile mismatch", "org", m.Org, "kind", m.What)
	}
	return r.Closed
}

// tell tells of poison. What can be neither sent nor kept is told when the item is
// met again.
func (h *Handler) tell(ctx context.Context, found []credit.Poison) {
	if len(found) == 0 {
		return
	}
	events := make([]outbox.Event, len(found))
	for i, p := range found {
		h.Log.ErrorContext(ctx, "sweep_poison", "reason", p.Reason)
		events[i] = outbox.AnomalyEvent(h.Stage, p)
	}
	if err := h.Events.Send(ctx, events); err != nil {
		h.Log.ErrorContext(ctx, "events neither sent nor kept", "events", len(events), "code", string(fault.CodeOf(err)))
	}
}

// flush sends kept events. Those that stay are logged as an error; they never
// fail the run.
func (h *Handler) flush(ctx context.Context) {
	sent, left, err := h.Events.Flush(ctx, eventBudget)
	switch {
	case err != nil:
		h.Log.ErrorContext(ctx, "kept events not read", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
	case left:
		h.Log.ErrorContext(ctx, "events wait for the bus", "events", sent)
	case sent > 0:
		h.Log.InfoContext(ctx, "kept events sent", "events", sent)
	}
}

const startStep = 37

// startOf spreads the starting points of successive runs over the partitions, so
// that runs that never get through all of them still reach each.
func startOf(t time.Time) int {
	// The step has no divisor in common with their number.
	return int(t.Unix() / 60 * startStep % int64(len(table.AllHoldBuckets())))
}
