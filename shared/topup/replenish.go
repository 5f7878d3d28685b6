package topup

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

// Replenish is the standing order of an organisation to buy credits when few are
// left, and where it stands.
type Replenish struct {
	Org     string
	Enabled bool
	// Threshold is what may be left at most for a payment to begin; Amount is
	// bought then, MonthlyCap at most in a calendar month (UTC).
	Threshold, Amount, MonthlyCap billing.Micro

	// Month is the one that Spent and Serial belong to. Spent is paid or under way,
	// in cents; Serial numbers the payments that were begun.
	Month  string
	Spent  int64
	Serial int64
	// Current is the top-up under way, empty if none: there is never a second one.
	// It was begun at Begun, with this Customer and Method of the vendor's.
	Current          string
	Begun            time.Time
	Customer, Method string
	// Failures counts the failed payments since the last success; none is begun
	// before NotBefore.
	Failures  int
	NotBefore time.Time
	// Reason is why the last payment failed, or why it was switched off.
	Reason Reason
	// Rev counts the writes of the record, 0: never written.
	Rev int64
}

// Reason says why nothing is bought.
type Reason string

// Reasons. They are shown; the vendor's own text never is.
const (
	NoReason Reason = ""
	Declined Reason = "declined"
	// NoMethod: none is saved, or the saved one is gone at the vendor's; a checkout
	// with save_payment_method saves one.
	NoMethod Reason = "no_payment_method"
	// Unknown: the vendor never told the end of a payment. It may have succeeded.
	Unknown  Reason = "unknown_outcome"
	CapIsMet Reason = "monthly_cap"
)

const (
	// askAgain is how long the vendor is asked for the same payment. It forgets
	// the key after a day (docs.stripe.com/api/idempotent_requests, 2026-11-22).
	askAgain = 20 * time.Hour
	// awaitEnd is how long the end of a payment is waited for: its messages are
	// repeated for three days (docs.stripe.com/webhooks, 2026-11-22).
	awaitEnd = 4 * 24 * time.Hour
	// maxFailures in a row switch the order off.
	maxFailures = 4
)

// pause is how long nothing is begun after failed payments in a row.
func pause(failures int) time.Duration {
	switch failures {
	case 1:
		return time.Hour
	case 2:
		return 6 * time.Hour
	}
	return 24 * time.Hour
}

// Changes are what is written together with a standing order; absent parts are
// nil.
type Changes struct {
	TopUp *TopUp
	Event *outbox.Event
	Row   *audit.Row
}

// ReplenishStore keeps standing orders; shared/dynamo implements it.
type ReplenishStore interface {
	// Replenish reads consistently; one that was never written is zero.
	Replenish(ctx context.Context, org string) (Replenish, error)
	// WriteReplenish replaces revision r.Rev-1 and makes the changes in the same
	// transaction; conflict if the order, or the top-up, changed.
	WriteReplenish(ctx context.Context, r Replenish, c Changes) error
}

// Charge is a payment without the customer.
type Charge struct {
	TopUp, Org       string
	Cents            int64
	Customer, Method string
	Metadata         map[string]string
}

// Charged is what the vendor says about a payment at once. The credits come with
// its message.
type Charged struct {
	Intent string
	// Declined says that it failed, for good; otherwise it succeeded or is still
	// on its way.
	Declined bool
	// NoMethod says that it failed, for good, because the means of payment is gone at
	// the vendor's: the customer has to save one again.
	NoMethod bool
}

// Charger pays without the customer; shared/stripe implements it. The same top-up
// is paid once, however often it is asked for within a day. Errors: unavailable, also
// for what only the platform can mend; nothing is known of the payment then.
type Charger interface {
	Charge(ctx context.Context, c Charge) (Charged, error)
}

// Balances tells what an organisation has left.
type Balances interface {
	Balance(ctx context.Context, org string) (credit.BalanceView, error)
}

// Replenisher runs standing orders. All fields are required. Safe for concurrent
// use.
type Replenisher struct {
	Sales    *Service
	Store    ReplenishStore
	Balances Balances
	Charger  Charger
	Stage    string
}

// Settings are what a customer decides.
type Settings struct {
	Enabled                       bool
	Threshold, Amount, MonthlyCap billing.Micro
}

func (s Settings) check() error {
	const op = "topup.Replenish"
	bad := func(param, message string) error {
		return fault.New(fault.InvalidRequest, op, message).WithParam(param)
	}
	switch {
	case s.Amount < MinAmount || s.Amount > MaxAmount || s.Amount%PerCent != 0:
		return bad("amount", "amount must be between 5,000,000 and 10,000,000,000 micro-credits (5 to 10,000 USD) in whole cents of 10,000")
	case s.Threshold < 0 || s.Threshold > MaxAmount:
		return bad("threshold", "threshold must be between 0 and 10,000,000,000 micro-credits")
	case s.MonthlyCap < s.Amount || s.MonthlyCap > maxCap:
		return bad("monthly_cap", "monthly_cap must be at least amount and at most 1,000,000,000,000 micro-credits")
	}
	return nil
}

// maxCap bounds what a month may cost: a million dollars.
const maxCap billing.Micro = 1_000_000 * 1_000_000

// Set stores what a customer decided, and begins anew after failures. A payment
// under way goes on. Errors: invalid_request; conflict if no means of payment was
// saved, or if the order is changing; ledger_unavailable.
func (s *Replenisher) Set(ctx context.Context, org string, o Settings, op audit.Op, now time.Time) (Replenish, error) {
	const name = "topup.SetReplenish"
	if err := o.check(); err != nil {
		return Replenish{}, err
	}
	if o.Enabled {
		p, err := s.Sales.Payers.Payer(ctx, org)
		if err != nil {
			return Replenish{}, err
		}
		if p.Customer == "" || p.Method == "" {
			return Replenish{}, fault.New(fault.Conflict, name, "no means of payment is saved; buy credits once with billing/checkout and save_payment_method")
		}
	}
	for range applyRounds {
		r, err := s.Store.Replenish(ctx, org)
		if err != nil {
			return Replenish{}, err
		}
		r.Org, r.Enabled, r.Threshold, r.Amount, r.MonthlyCap = org, o.Enabled, o.Threshold, o.Amount, o.MonthlyCap
		r.Failures, r.NotBefore, r.Reason = 0, now.UTC().Truncate(time.Millisecond), NoReason
		r.Rev++
		row := op.Row(org, "replenish.update", org, "enabled", strconv.FormatBool(o.Enabled), "threshold", strconv.FormatInt(int64(o.Threshold), 10),
			"amount", strconv.FormatInt(int64(o.Amount), 10), "monthly_cap", strconv.FormatInt(int64(o.MonthlyCap), 10))
		if err := s.Store.WriteReplenish(ctx, r, Changes{Row: &row}); fault.CodeOf(err) != fault.Conflict {
			return r, err
		}
	}
	return Replenish{}, fault.New(fault.Conflict, name, "the standing order is changing, try again")
}

// Get reads a standing order; one that was never set is zero.
func (s *Replenisher) Get(ctx context.Context, org string) (Replenish, error) {
	return s.Store.Replenish(ctx, org)
}

// Step says what [Replenisher.Run] did.
type Step string

// Steps.
const (
	Idle     Step = "idle"  // off, enough left, or to wait
	Lost     Step = "lost"  // somebody else is at it
	Begun    Step = "begun" // asked the vendor; its message brings the credits
	Waits    Step = "waits" // the vendor has not told the end of a payment
	Finished Step = "finished"
	Failing  Step = "failed"
	Capped   Step = "capped"
	Off      Step = "switched_off"
)

// Run takes one step of an organisation's standing order: it looks after the
// payment under way, or begins one if few credits are left. It may be called at
// any time, also many times at once. Errors: those of the stores and unavailable
// if the vendor did not answer, after which the next run asks for the same payment
// again.
func (s *Replenisher) Run(ctx context.Context, org string, now time.Time) (Step, error) {
	now = now.UTC().Truncate(time.Millisecond)
	if !table.ValidID(org) || now.IsZero() {
		return "", fault.New(fault.InvalidRequest, "topup.Run", "an organisation and a time are needed")
	}
	// The order is read before the balance: who begins a payment holds that the
	// order has not changed since, so that no payment can have come in between.
	r, err := s.Store.Replenish(ctx, org)
	switch {
	case err != nil:
		return "", err
	case r.Current != "":
		return s.follow(ctx, r, now)
	case !r.Enabled || now.Before(r.NotBefore):
		return Idle, nil
	}
	b, err := s.Balances.Balance(ctx, org)
	if err != nil {
		return "", err
	}
	if b.Posted-b.Held > r.Threshold {
		return Idle, nil
	}
	return s.begin(ctx, r, now)
}

// MonthOf names the calendar month (UTC) that a cap counts.
func MonthOf(t time.Time) string { return t.UTC().Format("200601") }

// begin writes the payment before the vendor hears of it.
func (s *Replenisher) begin(ctx context.Context, r Replenish, now time.Time) (Step, error) {
	if month := MonthOf(now); r.Month != month {
		r.Month, r.Spent, r.Serial = month, 0, 0
	}
	cents := int64(r.Amount / PerCent)
	if billing.Micro(r.Spent+cents)*PerCent > r.MonthlyCap {
		return s.capped(ctx, r, now)
	}
	payer, err := s.Sales.Payers.Payer(ctx, r.Org)
	if err != nil {
		return "", err
	}
	if payer.Customer == "" || payer.Method == "" {
		return s.off(ctx, r, NoMethod, nil, now)
	}
	terms, err := s.Sales.Terms(ctx, r.Org)
	if err != nil {
		return "", err
	}
	r.Serial++
	r.Spent += cents
	// The vendor takes a repeated request only with the same words: the terms stay
	// those of the first one.
	t := TopUp{ID: chargeID(r.Org, r.Month, r.Serial), Org: r.Org, State: Pending, Cents: cents, Terms: terms, Created: now, Rev: 1}
	r.Current, r.Begun, r.Customer, r.Method = t.ID, now, payer.Customer, payer.Method
	r.Rev++
	if err := s.Store.WriteReplenish(ctx, r, Changes{TopUp: &t}); err != nil {
		if fault.CodeOf(err) == fault.Conflict {
			return Lost, nil
		}
		return "", err
	}
	return s.charge(ctx, r, t, now)
}

// chargeID names the payment of an organisation, month and number: the key that
// makes it one at the vendor, too.
func chargeID(org, month string, serial int64) string {
	sum := sha256.Sum256([]byte(org + "|" + month + "|" + strconv.FormatInt(serial, 10)))
	return "rp_" + month + "_" + base64.RawURLEncoding.EncodeToString(sum[:15])
}

// follow looks after the payment under way.
func (s *Replenisher) follow(ctx context.Context, r Replenish, now time.Time) (Step, error) {
	t, err := s.Sales.Store.TopUp(ctx, r.Current)
	if err != nil {
		return "", err
	}
	switch {
	case t.State == Paid:
		return s.finish(ctx, r, t, now)
	case t.State == Failed:
		return s.failed(ctx, r, t, nil, Declined, now)
	case t.Intent == "" && now.Sub(r.Begun) < askAgain:
		return s.charge(ctx, r, t, now)
	case t.Intent != "" && now.Sub(r.Begun) < awaitEnd:
		return Waits, nil
	}
	// Asking again could pay twice.
	return s.off(ctx, r, Unknown, nil, now)
}

// charge asks the vendor, for the same payment however often it is called.
func (s *Replenisher) charge(ctx context.Context, r Replenish, t TopUp, now time.Time) (Step, error) {
	c, err := s.Charger.Charge(ctx, Charge{TopUp: t.ID, Org: t.Org, Cents: t.Cents, Customer: r.Customer, Method: r.Method, Metadata: t.Terms})
	if err != nil {
		// No error is the customer's: a wrong key or request of ours must not look like a
		// refused card, nor switch orders off.
		return "", err
	}
	next := t
	next.Rev++
	if c.Declined || c.NoMethod {
		next.State = Failed
		why := Declined
		if c.NoMethod {
			why = NoMethod
		}
		return s.failed(ctx, r, next, &next, why, now)
	}
	next.Intent = c.Intent
	// The vendor's message may have been faster; it names the payment, too.
	if err := s.Sales.Store.WriteTopUp(ctx, next); err != nil && fault.CodeOf(err) != fault.Conflict {
		return "", err
	}
	return Begun, nil
}

// finish ends a payment only when the ledger has it: before, too few credits would
// still be seen, and bought again.
func (s *Replenisher) finish(ctx context.Context, r Replenish, t TopUp, now time.Time) (Step, error) {
	if !t.Posted {
		if err := s.Sales.post(ctx, t, now); err != nil {
			return "", err
		}
		if _, err := s.Sales.posted(ctx, t); err != nil {
			return "", err
		}
	}
	r.Current, r.Failures, r.Reason, r.NotBefore = "", 0, NoReason, now
	return s.end(ctx, r, Changes{}, Finished)
}

// failed ends a payment that failed; write is its record if that does not say so
// yet.
func (s *Replenisher) failed(ctx context.Context, r Replenish, t TopUp, write *TopUp, why Reason, now time.Time) (Step, error) {
	r.Failures++
	r.Spent -= t.Cents
	if r.Failures >= maxFailures {
		return s.off(ctx, r, why, write, now)
	}
	r.Current, r.Reason, r.NotBefore = "", why, now.Add(pause(r.Failures))
	ev := s.event(r, now)
	return s.end(ctx, r, Changes{TopUp: write, Event: &ev}, Failing)
}

func (s *Replenisher) off(ctx context.Context, r Replenish, why Reason, t *TopUp, now time.Time) (Step, error) {
	r.Enabled, r.Current, r.Reason = false, "", why
	ev := s.event(r, now)
	return s.end(ctx, r, Changes{TopUp: t, Event: &ev}, Off)
}

// capped waits for the next month.
func (s *Replenisher) capped(ctx context.Context, r Replenish, now time.Time) (Step, error) {
	r.Reason, r.NotBefore = CapIsMet, time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	ev := s.event(r, now)
	return s.end(ctx, r, Changes{Event: &ev}, Capped)
}

func (s *Replenisher) end(ctx context.Context, r Replenish, c Changes, step Step) (Step, error) {
	r.Rev++
	err := s.Store.WriteReplenish(ctx, r, c)
	if fault.CodeOf(err) == fault.Conflict {
		return Lost, nil
	}
	return step, err
}

func (s *Replenisher) event(r Replenish, now time.Time) outbox.Event {
	return outbox.ReplenishEvent(s.Stage, outbox.Replenish{Org: r.Org, At: now, Reason: string(r.Reason), Enabled: r.Enabled, Failures: r.Failures,
		Retry: r.NotBefore, Serial: r.Rev + 1})
}
