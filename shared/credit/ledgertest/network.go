package ledgertest

import (
	"testing"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// lostAnswers: a reserve whose answers were lost is found by reading; one that
// never arrived is not there, and the vendor is not called.
func lostAnswers(t *testing.T, e *env) {
	e.fund("org", 1000)
	for _, count := range []int{1, 2, 3} {
		e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: count})
		h, err := e.ledger.Reserve(e.ctx, e.request("org", 10))
		must(t, err)
		e.wantState(h, credit.Dispatched)
	}
	e.wantBalance("org", 1000, 30)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Lost, Count: 100})
	r := e.request("org", 10)
	_, err := e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.LedgerUnavailable)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Throttle, Count: 100})
	_, err = e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.LedgerUnavailable)
	e.Faults.Script()
	_, err = e.clean.Request(e.ctx, "org", r.Request)
	wantCode(t, err, fault.NotFound)
	// Executed, unanswered, and unreadable: unknown, so not called.
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 100}, Rule{Op: "GetItem", Kind: Lost, Count: 100})
	r = e.request("org", 10)
	_, err = e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.LedgerUnavailable)
	e.Faults.Script()
	e.wantBalance("org", 1000, 40) // ended by the sweep
	e.pass(2 * 60_000_000_000)
	_, err = e.clean.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	e.wantBalance("org", 1000, 0)
}

// refusalAfterSilence: an insufficient that follows an unanswered try is only
// believed after reading the attempt.
func refusalAfterSilence(t *testing.T, e *env) {
	e.fund("org", 10)
	refuse := Rule{Op: "TransactWriteItems", Kind: Cancel, Count: 1, Reasons: []string{"None", "None", "ConditionalCheckFailed"}}
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1}, refuse)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 10))
	must(t, err)
	e.wantState(h, credit.Dispatched)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Lost, Count: 1}, refuse)
	_, err = e.ledger.Reserve(e.ctx, e.request("org", 10))
	wantCode(t, err, fault.InsufficientCredits)
	e.wantBalance("org", 10, 10)
}

// conflicts are retried by hand: the SDK does not list them.
func conflicts(t *testing.T, e *env) {
	e.fund("org", 100)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 3})
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 10))
	must(t, err)
	e.Faults.Script(Rule{Op: "UpdateItem", Kind: Conflict, Count: 2})
	must(t, e.ledger.Checkpoint(e.ctx, h, e.outcome(1).Usage, 1))
	e.Faults.Script(Rule{Op: "UpdateItem", Kind: Conflict, Count: 3}, Rule{Op: "UpdateItem", Kind: Throttle, Count: 1},
		Rule{Op: "UpdateItem", Kind: Broken, Count: 1}, Rule{Op: "UpdateItem", Kind: Lost, Count: 1})
	must(t, e.ledger.Used(e.ctx, h, e.outcome(4)))
	e.Faults.Script(Rule{Op: "UpdateItem", Kind: Conflict, Count: 100})
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(4)), fault.LedgerUnavailable)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 3}, Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1})
	if rep := e.ledger.Settle(e.ctx, e.drain(), e.now()); rep.Settled+rep.Done != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 96, 0)
}

// settleUndecided: without a definite answer nothing is claimed, and the next
// delivery finishes it.
func settleUndecided(t *testing.T, e *env) {
	e.fund("org", 100)
	e.used("org", 10, 3)
	e.used("org", 10, 4)
	used := e.drain()
	for _, kind := range []Kind{Conflict, Throttle, Lost} {
		e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: kind, Count: 100})
		if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Undecided != 2 {
			t.Fatalf("kind %d: %+v", kind, rep)
		}
	}
	e.wantBalance("org", 100, 20)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 100})
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Undecided != 2 {
		t.Fatalf("answers lost: %+v", rep)
	}
	e.Faults.Script()
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Undecided != 0 || rep.Poisoned != 0 {
		t.Fatalf("again: %+v", rep)
	}
	e.wantBalance("org", 93, 0)
	if n := e.usageEntries("org"); n != 2 {
		t.Fatalf("%d usage entries", n)
	}
}
