package ledgertest

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func (e *env) refund(ref string, cumulative credit.Micro) (credit.Refunded, error) {
	return e.ledger.Refund(e.ctx, credit.RefundRequest{Org: "org", Grant: credit.GrantID("org", "paid"), Reference: ref, Cumulative: cumulative, Now: e.now()})
}

func (e *env) wantRefund(ref string, cumulative, delta, total credit.Micro) {
	e.t.Helper()
	r, err := e.refund(ref, cumulative)
	must(e.t, err)
	if r.Delta != delta || r.Total != total || (delta != 0) != (r.Posting.Amount == -delta && r.Posting.ID != "") {
		e.t.Fatalf("refund %s %d: %+v, want %d of %d", ref, cumulative, r, delta, total)
	}
}

// refunds: the cumulative amount counts, not the notice.
func refunds(t *testing.T, e *env) {
	e.fund("org", 100)
	_, err := e.refund("ch_1", 10)
	wantCode(t, err, fault.NotFound)
	e.grant(taxonomy.Purchased, 50, "paid", 0, credit.Rollover{})
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1}, Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 1})
	e.wantRefund("ch_1", 20, 20, 20)
	e.wantRefund("ch_1", 20, 0, 20) // twice
	e.wantRefund("ch_1", 10, 0, 20) // late
	e.wantRefund("ch_1", 30, 10, 30)
	// It comes out of the grant that was paid for, not out of an older one.
	e.wantLeft(map[credit.Micro]credit.Micro{100: 100, 50: 20})
	e.wantRefund("dp_1", 50, 20, 50) // never more than was paid
	e.wantRefund("dp_2", 1, 0, 50)
	e.wantBalance("org", 100, 0)
	for _, x := range e.entries("org")[:3] {
		if x.Kind != credit.AdjustmentEntry || x.Legs[1] != (credit.Leg{Account: credit.AccountRefund, Amount: -x.Amount}) {
			t.Fatalf("entry: %+v", x)
		}
	}
	e.sound()
	for _, bad := range []credit.RefundRequest{
		{Org: "a#b", Grant: "g", Reference: "r", Cumulative: 1, Now: e.now()},
		{Org: "org", Grant: "g", Cumulative: 1, Now: e.now()},
		{Org: "org", Grant: "g", Reference: "r", Now: e.now()},
		{Org: "org", Grant: "g", Reference: "r", Cumulative: -1, Now: e.now()},
		{Org: "org", Grant: "g", Reference: "r", Cumulative: billing.MaxAmount + 1, Now: e.now()},
		{Org: "org", Grant: "g", Reference: "r", Cumulative: 1},
	} {
		_, err := e.ledger.Refund(e.ctx, bad)
		wantCode(t, err, fault.InvalidRequest)
	}
}

// refundRace: notices in any order, at once and over a bad network, among other
// postings, come to the highest figure; what was spent already is owed.
func refundRace(t *testing.T, e *env) {
	must(t, e.clean.OpenAccount(e.ctx, "org", e.now()))
	e.grant(taxonomy.Purchased, 1000, "paid", 0, credit.Rollover{})
	e.spend(400)
	e.Faults.Random(9, 20, 50, 50, 20)
	parallel(8, func(n int) {
		if n%4 == 3 {
			_, _ = e.ledger.Adjust(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 1, IdempotencyKey: "one", Now: e.now()})
		}
		for _, cumulative := range []credit.Micro{credit.Micro(100 * (n + 1)), 300, 200} {
			if _, err := e.refund("ch_1", cumulative); err != nil && fault.CodeOf(err) != fault.LedgerUnavailable {
				t.Errorf("refund: %v", err)
			}
		}
	})
	e.Faults.Script()
	_, err := e.ledger.Adjust(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 1, IdempotencyKey: "one", Now: e.now()})
	must(t, err)
	r, err := e.refund("ch_1", 800)
	must(t, err)
	if r.Total != 800 {
		t.Fatalf("total: %+v", r)
	}
	e.wantBalance("org", 1000-400-800+1, 0)
	_, err = e.ledger.Reserve(e.ctx, e.request("org", 1))
	wantCode(t, err, fault.InsufficientCredits)
	e.sound()
}

// reinstatements: what a dispute took comes back once, whatever comes late, and a
// refund may take it then.
func reinstatements(t *testing.T, e *env) {
	must(t, e.clean.OpenAccount(e.ctx, "org", e.now()))
	request := func(ref string) credit.RefundRequest {
		return credit.RefundRequest{Org: "org", Grant: credit.GrantID("org", "paid"), Reference: ref, Now: e.now()}
	}
	_, err := e.ledger.Reinstate(e.ctx, request("dp_1"))
	wantCode(t, err, fault.NotFound)
	e.grant(taxonomy.Purchased, 50, "paid", 0, credit.Rollover{})
	give := func(ref string, delta, total credit.Micro) {
		t.Helper()
		r, err := e.ledger.Reinstate(e.ctx, request(ref))
		must(t, err)
		if r.Delta != delta || r.Total != total {
			t.Fatalf("reinstating %s: %+v, want %d of %d", ref, r, delta, total)
		}
	}
	give("dp_1", 0, 0) // nothing was taken
	e.wantRefund("dp_1", 40, 40, 40)
	e.wantRefund("ch_1", 30, 10, 50) // no more than was paid
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1}, Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 1})
	give("dp_1", -40, 10)
	give("dp_1", 0, 10)              // twice
	e.wantRefund("dp_1", 40, 0, 10)  // late
	e.wantRefund("ch_1", 30, 20, 30) // told again
	e.wantRefund("dp_2", 50, 20, 50)
	give("dp_2", -20, 30)
	e.wantBalance("org", 20, 0)
	x := e.entries("org")[0]
	if x.Kind != credit.AdjustmentEntry || x.Amount != 20 || x.Legs[1] != (credit.Leg{Account: credit.AccountRefund, Amount: -20}) {
		t.Fatalf("entry: %+v", x)
	}
	e.wantRefund("dp_3", 50, 20, 50)
	parallel(8, func(n int) {
		if n%2 == 0 {
			_, _ = e.ledger.Reinstate(e.ctx, request("dp_3"))
		} else {
			_, _ = e.refund("dp_3", 50)
		}
	})
	give("dp_3", 0, 30)
	e.wantBalance("org", 20, 0)
	e.sound()
	_, err = e.ledger.Reinstate(e.ctx, credit.RefundRequest{Org: "org", Grant: "g", Now: e.now()})
	wantCode(t, err, fault.InvalidRequest)
}

// creditLine: calls reserve down to the line and no further; lowering it below
// what is held takes nothing from running calls.
func creditLine(t *testing.T, e *env) {
	e.fund("org", 10)
	op := audit.Op{ID: "op1", Actor: "operator:k1", At: e.now()}
	if !op.Valid() {
		t.Fatalf("operation: %+v", op)
	}
	wantCode(t, e.ledger.SetCreditLine(e.ctx, "org", -1, op), fault.InvalidRequest)
	wantCode(t, e.ledger.SetCreditLine(e.ctx, "org", billing.MaxAmount+1, op), fault.InvalidRequest)
	wantCode(t, e.ledger.SetCreditLine(e.ctx, "org", 1, audit.Op{}), fault.Internal)
	must(t, e.ledger.SetCreditLine(e.ctx, "org", 20, op))
	_, err := e.ledger.Reserve(e.ctx, e.request("org", 31))
	wantCode(t, err, fault.InsufficientCredits)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 30))
	must(t, err)
	_, err = e.ledger.Reserve(e.ctx, e.request("org", 1))
	wantCode(t, err, fault.InsufficientCredits)
	op.ID, op.At = "op2", op.At.Add(time.Second)
	must(t, e.ledger.SetCreditLine(e.ctx, "org", 5, op))
	must(t, e.ledger.Used(e.ctx, h, e.outcome(30)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	b, err := e.clean.Balance(e.ctx, "org")
	must(t, err)
	if b.Posted != -20 || b.Available != -15 || b.CreditLine != 5 || b.ByKind[taxonomy.Purchased] != -20 {
		t.Fatalf("balance: %+v", b)
	}
	e.sound()
}
