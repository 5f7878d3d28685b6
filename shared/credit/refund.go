package credit

import (
	"context"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// GrantID is the id of the grant that an idempotency key made or will make.
func GrantID(org, idempotencyKey string) string { return "g_" + shortHash(org, idempotencyKey) }

// RefundRequest takes back what was paid for a grant.
type RefundRequest struct {
	Org string
	// Grant is the grant that was paid for, see [GrantID].
	Grant string
	// Reference names what is refunded at the payment provider: a charge, or a
	// dispute. Each has a cumulative amount of its own.
	Reference string
	// Cumulative is all that has been refunded under the reference so far, in
	// micro-credits; [Ledger.Reinstate] does not look at it.
	Cumulative Micro
	Now        time.Time
}

// Refunded is what a refund came to. Delta is what this call took, 0 if it
// was recorded before or a later one was, below 0 for what it gave again; Total is
// what has been taken back of the grant under all references.
type Refunded struct {
	Posting Posting
	Delta   Micro
	Total   Micro
}

// refundTries bounds the tries against other postings of the organisation.
const refundTries = 16

// Refund records that Cumulative of a payment has been given back: it takes the
// difference to what is recorded under the reference from the grant, and from
// the others where that has been spent, down to below zero. Notices may come
// twice, at once and in any order; a smaller figure than the recorded one is an
// older notice and takes nothing. Together the references never take more than
// the grant was; a reference that was reinstated takes nothing any more. Errors: invalid_request; not_found if there is no such grant (yet: deliver the
// notice again); ledger_unavailable, after which the call may be repeated.
func (l *Ledger) Refund(ctx context.Context, r RefundRequest) (Refunded, error) {
	const op = "credit.Refund"
	if r.Cumulative <= 0 || r.Cumulative > billing.MaxAmount {
		return Refunded{}, invalid(op, "cumulative", "a refund must be between 1 and 1,000,000,000,000,000 micro-credits")
	}
	return l.refund(ctx, op, r, planRefund)
}

// Reinstate gives back what was taken under a reference, for good: a dispute that
// was won. It comes as credit of the grant's kind that does not end. It may come
// twice and at once with others; where nothing was taken it does nothing. Errors:
// as [Ledger.Refund].
func (l *Ledger) Reinstate(ctx context.Context, r RefundRequest) (Refunded, error) {
	return l.refund(ctx, "credit.Reinstate", r, planReinstate)
}

func (l *Ledger) refund(ctx context.Context, op string, r RefundRequest, plan func(RefundRequest, Account, []Posting) (Refunded, error)) (Refunded, error) {
	switch {
	case !table.ValidID(r.Org):
		return Refunded{}, invalid(op, "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	case r.Reference == "" || len(r.Reference) > maxIdempotencyKey:
		return Refunded{}, invalid(op, "reference", "a reference of 1 to 256 characters is needed")
	case r.Now.IsZero():
		return Refunded{}, invalid(op, "at", "the refund has no time")
	}
	for try := range refundTries {
		if try > 0 {
			if err := l.wait(ctx, time.Duration(try)*5*time.Millisecond); err != nil {
				break
			}
		}
		acc, err := l.store.Account(ctx, r.Org)
		if err != nil {
			return Refunded{}, err
		}
		postings, err := l.store.Postings(ctx, r.Org)
		if err != nil {
			return Refunded{}, err
		}
		out, err := plan(r, acc, upTo(postings, acc.Seq))
		if err != nil || out.Delta == 0 {
			return out, err
		}
		// Whoever posts in between takes the number, and this is computed again.
		if _, err = l.store.Post(ctx, out.Posting, nil); err == nil {
			return out, nil
		}
		if fault.CodeOf(err) != fault.Conflict && fault.CodeOf(err) != fault.IdempotencyConflict {
			return Refunded{}, err
		}
	}
	return Refunded{}, fault.New(fault.LedgerUnavailable, op, "the balance is changing, try again")
}

// taken is what is recorded about a grant that was paid for.
type taken struct {
	grant *Posting
	// total is under all references, recorded under the one asked for; given says
	// that the latter was reinstated.
	total, recorded Micro
	given           bool
}

func takenOf(r RefundRequest, postings []Posting) (t taken, err error) {
	ref := shortHash(r.Reference)
	for i, p := range postings {
		switch {
		case p.ID == r.Grant && p.Origin == GrantEntry:
			t.grant = &postings[i]
		case p.Of == r.Grant && p.Ref != "":
			t.total -= p.Amount
			if p.Ref == ref {
				t.recorded -= p.Amount
				t.given = t.given || p.Amount > 0
			}
		}
	}
	if t.grant == nil {
		return t, fault.New(fault.NotFound, "credit.Refund", "there is no such grant")
	}
	return t, nil
}

// posting is the next one of the organisation; figure makes its id, so that the
// same notice is the same posting.
func (t taken) posting(r RefundRequest, acc Account, amount Micro, figure string) Refunded {
	return Refunded{Delta: -amount, Total: t.total - amount, Posting: Posting{
		ID:  "r_" + shortHash(r.Org, r.Grant, r.Reference, figure),
		Org: r.Org, Origin: AdjustmentEntry, Kind: t.grant.Kind, Amount: amount, At: r.Now.UTC().Truncate(time.Millisecond),
		Of: r.Grant, Ref: shortHash(r.Reference), Seq: acc.Seq + 1}}
}

// planRefund computes what a refund takes from what is recorded.
func planRefund(r RefundRequest, acc Account, postings []Posting) (Refunded, error) {
	t, err := takenOf(r, postings)
	if err != nil {
		return Refunded{}, err
	}
	delta := min(r.Cumulative-t.recorded, t.grant.Amount-t.total)
	if delta <= 0 || t.given {
		return Refunded{Total: t.total}, nil
	}
	return t.posting(r, acc, -delta, strconv.FormatInt(int64(t.recorded+delta), 10)), nil
}

// planReinstate computes what a reinstatement gives again.
func planReinstate(r RefundRequest, acc Account, postings []Posting) (Refunded, error) {
	t, err := takenOf(r, postings)
	if err != nil || t.recorded <= 0 {
		return Refunded{Total: t.total}, err
	}
	return t.posting(r, acc, t.recorded, "reinstated"), nil
}
