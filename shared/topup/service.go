package topup

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Service sells credits. All fields are required. Safe for concurrent use.
type Service struct {
	Store  Store
	Payers PayerStore
	Ledger Ledger
	Vendor Vendor
	// Terms writes an organisation's commercial policy for the metadata of its
	// payments: at most 40 keys of 40 bytes, values of 500 (docs.stripe.com/metadata,
	// 2026-11-22, less our own).
	Terms func(ctx context.Context, org string) (map[string]string, error)
	NewID func(time.Time) string
	// ReturnURL is where the vendor sends the customer back to.
	ReturnURL string
}

// Order asks for a top-up.
type Order struct {
	Org    string
	Amount billing.Micro
	// SaveMethod keeps the means of payment for payments without the customer.
	SaveMethod bool
	Op         audit.Op
	Now        time.Time
}

// Started is a top-up that waits for its payment at URL.
type Started struct {
	TopUp
	URL string
}

// Start records a top-up and opens its checkout. An error after the record was
// written leaves a pending top-up that nobody can pay. Errors: invalid_request;
// unavailable, after which it may be tried again.
func (s *Service) Start(ctx context.Context, o Order) (Started, error) {
	const op = "topup.Start"
	if o.Amount < MinAmount || o.Amount > MaxAmount || o.Amount%PerCent != 0 {
		return Started{}, fault.New(fault.InvalidRequest, op,
			"amount must be between 5,000,000 and 10,000,000,000 micro-credits (5 to 10,000 USD) in whole cents of 10,000").WithParam("amount")
	}
	if !table.ValidID(o.Org) || !o.Op.Valid() || o.Now.IsZero() {
		return Started{}, fault.New(fault.Internal, op, "internal error, try again later")
	}
	payer, err := s.Payers.Payer(ctx, o.Org)
	if err != nil {
		return Started{}, err
	}
	terms, err := s.Terms(ctx, o.Org)
	if err != nil {
		return Started{}, err
	}
	t := TopUp{ID: s.NewID(o.Now), Org: o.Org, State: Pending, Cents: int64(o.Amount / PerCent), Terms: terms, Created: o.Now.UTC().Truncate(time.Millisecond), Rev: 1}
	row := o.Op.Row(o.Org, "topup.create", t.ID, "amount", strconv.FormatInt(int64(o.Amount), 10))
	if err := s.Store.CreateTopUp(ctx, t, row); err != nil {
		return Started{}, err
	}
	session, err := s.Vendor.Checkout(ctx, Checkout{TopUp: t.ID, Org: t.Org, Cents: t.Cents, ReturnURL: s.ReturnURL,
		Customer: payer.Customer, SaveMethod: o.SaveMethod, Metadata: t.Terms})
	if err != nil {
		return Started{}, err
	}
	t.Session, t.Rev = session.ID, t.Rev+1
	if err := s.Store.WriteTopUp(ctx, t); err != nil {
		return Started{}, err
	}
	return Started{TopUp: t, URL: session.URL}, nil
}

// applyRounds bounds how often a notice meets another one about its top-up. Each
// round lost means that another notice has made progress.
const applyRounds = 32

// Apply brings the ledger to what a notice says. It returns an error only if the
// vendor must send the notice again: unavailable, ledger_unavailable, internal.
func (s *Service) Apply(ctx context.Context, n Notice, now time.Time) (TopUp, Outcome, error) {
	if n.Kind == OtherNotice {
		return TopUp{}, Ignored, nil
	}
	id, err := s.owner(ctx, n)
	if err != nil || id == "" {
		return TopUp{}, Ignored, err
	}
	for range applyRounds {
		t, err := s.Store.TopUp(ctx, id)
		if fault.CodeOf(err) == fault.NotFound {
			return TopUp{}, Ignored, nil
		}
		if err != nil {
			return TopUp{}, "", err
		}
		next, ok := t.after(n, now)
		if !ok {
			return t, Refused, nil
		}
		if next.Rev != t.Rev {
			err := s.Store.WriteTopUp(ctx, next)
			if fault.CodeOf(err) == fault.Conflict {
				continue
			}
			if err != nil {
				return TopUp{}, "", err
			}
		}
		if !next.Posted {
			if err := s.post(ctx, next, now); err != nil {
				return TopUp{}, "", err
			}
			if next, err = s.posted(ctx, next); err != nil {
				return TopUp{}, "", err
			}
		}
		return next, Applied, s.remember(ctx, next.Org, n)
	}
	return TopUp{}, "", fault.New(fault.Unavailable, "topup.Apply", "the top-up is changing, try again")
}

// Portal opens the vendor's page of the organisation. Errors: conflict before the
// first payment, unavailable.
func (s *Service) Portal(ctx context.Context, org string) (string, error) {
	payer, err := s.Payers.Payer(ctx, org)
	if err != nil {
		return "", err
	}
	if payer.Customer == "" {
		return "", fault.New(fault.Conflict, "topup.Portal", "this organisation has not paid yet; buy credits first, with billing/checkout")
	}
	return s.Vendor.Portal(ctx, payer.Customer, s.ReturnURL)
}

// remember keeps who paid, and with what. The first customer stays, because the
// vendor's portal shows one; the means of payment is the latest.
func (s *Service) remember(ctx context.Context, org string, n Notice) error {
	if n.Kind != PaidNotice || n.Customer == "" {
		return nil
	}
	for range applyRounds {
		p, err := s.Payers.Payer(ctx, org)
		if err != nil {
			return err
		}
		next := p
		if next.Customer == "" {
			next.Customer = n.Customer
		}
		if next.Customer == n.Customer && n.Method != "" {
			next.Method = n.Method
		}
		if next == p {
			return nil
		}
		next.Rev++
		if err = s.Payers.WritePayer(ctx, next); fault.CodeOf(err) != fault.Conflict {
			return err
		}
	}
	return fault.New(fault.Unavailable, "topup.remember", "the payer is changing, try again")
}

// owner finds the top-up that a notice is about. What the vendor repeats of our
// id is taken where our own index does not know the object yet, which is so for
// whatever comes before the first notice that names session and payment alike.
func (s *Service) owner(ctx context.Context, n Notice) (string, error) {
	for _, object := range []string{n.Session, n.Intent} {
		if object == "" {
			continue
		}
		id, err := s.Store.Owner(ctx, object)
		if err == nil || fault.CodeOf(err) != fault.NotFound {
			return id, err
		}
	}
	if table.ValidID(n.TopUp) {
		return n.TopUp, nil
	}
	if n.Dispute == "" || n.Intent == "" {
		return "", nil
	}
	// A dispute does not repeat our id; its payment does.
	id, err := s.Vendor.IntentTopUp(ctx, n.Intent)
	if err != nil || !table.ValidID(id) {
		return "", err
	}
	return id, nil
}

// after is the record after a notice; its revision is the same if the notice
// tells nothing new. It is false if the notice contradicts the record.
func (t TopUp) after(n Notice, now time.Time) (TopUp, bool) {
	if n.Currency != Currency || n.Session != "" && n.Session != t.Session || n.Intent != "" && t.Intent != "" && n.Intent != t.Intent {
		return t, false
	}
	next := t
	changed := n.Intent != "" && t.Intent == ""
	if changed {
		next.Intent = n.Intent
	}
	if n.Kind == PaidNotice || n.Kind == RefundedNotice {
		if n.Cents <= 0 || n.Cents > int64(MaxAmount/PerCent) || t.PaidCents != 0 && n.Cents != t.PaidCents {
			return t, false
		}
		if t.State != Paid {
			next.State, next.PaidCents, next.PaidAt, changed = Paid, n.Cents, now.UTC().Truncate(time.Millisecond), true
		}
	}
	switch n.Kind {
	case FailedNotice:
		// A payment that has happened cannot fail any more; a card that was refused
		// in a checkout is not its end.
		if t.State == Pending && (n.Session != "" || t.Session == "") {
			next.State, changed = Failed, true
		}
	case RefundedNotice:
		if n.Refunded <= 0 || n.Refunded > next.PaidCents {
			return t, false
		}
		if n.Refunded > t.Refunded {
			next.Refunded, changed = n.Refunded, true
		}
	case WithdrawnNotice, ReinstatedNotice:
		var ok, more bool
		if next.Disputes, more, ok = disputed(t, n); !ok {
			return t, false
		}
		changed = changed || more
	}
	if changed {
		next.Rev++
		next.Posted = false
	}
	return next, len(next.Disputes) <= maxDisputes
}

// maxDisputes bounds what a record remembers; a charge has one, seldom a few.
const maxDisputes = 20

// disputed adds a notice of a dispute. The money is first taken, whatever
// arrives first, so a reinstatement alone never adds credits.
func disputed(t TopUp, n Notice) (list []Dispute, changed, ok bool) {
	if n.Dispute == "" || n.Cents <= 0 || n.Cents > max(t.Cents, t.PaidCents) {
		return nil, false, false
	}
	list = slices.Clone(t.Disputes)
	i := slices.IndexFunc(list, func(d Dispute) bool { return d.ID == n.Dispute })
	if i < 0 {
		return append(list, Dispute{ID: n.Dispute, Cents: n.Cents, Reinstated: n.Kind == ReinstatedNotice}), true, true
	}
	if n.Kind == ReinstatedNotice && !list[i].Reinstated {
		list[i].Reinstated = true
		return list, true, true
	}
	return list, false, true
}

// post makes the ledger agree with the record. Every posting has a key of its
// own, so those that were made before change nothing.
func (s *Service) post(ctx context.Context, t TopUp, now time.Time) error {
	if t.State != Paid {
		return nil // there is nothing to take from
	}
	key := "topup/" + t.ID
	_, err := s.Ledger.Grant(ctx, credit.GrantRequest{Org: t.Org, Kind: taxonomy.Purchased, Amount: billing.Micro(t.PaidCents) * PerCent,
		IdempotencyKey: key, Now: now})
	if err != nil {
		return err
	}
	r := credit.RefundRequest{Org: t.Org, Grant: credit.GrantID(t.Org, key), Now: now}
	// Disputes first: what one gives again, a refund may take.
	for _, d := range t.Disputes {
		r.Reference, r.Cumulative = "dispute/"+d.ID, billing.Micro(d.Cents)*PerCent
		if _, err := s.Ledger.Refund(ctx, r); err != nil {
			return err
		}
		if d.Reinstated {
			if _, err := s.Ledger.Reinstate(ctx, r); err != nil {
				return err
			}
		}
	}
	if t.Refunded > 0 {
		r.Reference, r.Cumulative = "refund", billing.Micro(t.Refunded)*PerCent
		_, err = s.Ledger.Refund(ctx, r)
	}
	return err
}

// posted marks the record, unless it says more by now: then whoever wrote that
// posts it.
func (s *Service) posted(ctx context.Context, t TopUp) (TopUp, error) {
	marked := t
	marked.Posted, marked.Rev = true, t.Rev+1
	err := s.Store.WriteTopUp(ctx, marked)
	if fault.CodeOf(err) == fault.Conflict {
		return t, nil
	}
	return marked, err
}
