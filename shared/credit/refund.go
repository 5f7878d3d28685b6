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
	// micro-credits.
	Cumulative Micro
	Now        time.Time
}

// Refunded is what a refund came to. Delta is what this call took, 0 if it
// was recorded before or a later one was; Total is what has been taken back of
// the grant under all references.
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
// the grant was. What is given again (a dispute that was won) is an adjustment.
// Errors: invalid_request; not_found if there is no such grant (yet: deliver the
// notice again); ledger_unavailable, after which the call may be repeated.
func (l *Ledger) Refund(ctx context.Context, r RefundRequest) (Refunded, error) {
	const op = "credit.Refund"
	switch {
	case !table.ValidID(r.Org):
		return Refunded{}, invalid(op, "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	case r.Reference == "" || len(r.Reference) > maxIdempotencyKey:
		return Refunded{}, invalid(op, "reference", "a reference of 1 to 256 characters is needed")
	case r.Cumulative <= 0 || r.Cumulative > billing.MaxAmount:
		return Refunded{}, invalid(op, "cumulative", "a refund must be between 1 and 1,000,000,000,000,000 micro-credits")
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
		out, err := planRefund(r, acc, upTo(postings, acc.Seq))
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

// planRefund computes what a refund takes from what is recorded.
func planRefund(r RefundRequest, acc Account, postings []Posting) (Refunded, error) {
	var grant *Posting
	var total, recorded Micro
	ref := shortHash(r.Reference)
	for i, p := range postings {
		switch {
		case p.ID == r.Grant && p.Origin == GrantEntry:
			grant = &postings[i]
		case p.Of == r.Grant && p.Ref != "":
			total -= p.Amount
			if p.Ref == ref {
				recorded -= p.Amount
			}
		}
	}
	if grant == nil {
		return Refunded{}, fault.New(fault.NotFound, "credit.Refund", "there is no such grant")
	}
	delta := min(r.Cumulative-recorded, grant.Amount-total)
	if delta <= 0 {
		return Refunded{Total: total}, nil
	}
	return Refunded{Delta: delta, Total: total + delta, Posting: Posting{
		// The figure it leads to makes the id: the same notice is the same posting.
		ID:  "r_" + shortHash(r.Org, r.Grant, r.Reference, strconv.FormatInt(int64(recorded+delta), 10)),
		Org: r.Org, Origin: AdjustmentEntry, Kind: grant.Kind, Amount: -delta, At: r.Now.UTC().Truncate(time.Millisecond),
		Of: r.Grant, Ref: ref, Seq: acc.Seq + 1}}, nil
}
