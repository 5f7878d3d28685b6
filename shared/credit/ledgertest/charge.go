package ledgertest

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// actions is a price book with two actions, at 3 and 0 micro-credits.
func (e *env) actions(version string, rate int64) *billing.Book {
	e.t.Helper()
	row := billing.Row{Provider: credit.ActionProvider, Model: "export", Meter: billing.Request, RatePico: rate, Source: "test", SourceDate: "2026-11-22"}
	free := row
	free.Model, free.RatePico = "free", 0
	b, err := billing.NewBook(version, start, []billing.Row{row, free})
	must(e.t, err)
	return b
}

// charge: an action is charged once per key, at the price it was first charged
// at, never beyond what is available, and finished by whoever comes again.
func charge(t *testing.T, e *env) {
	e.fund("org", 100)
	book := e.actions("p1", 3_000_000)
	c := credit.ChargeRequest{Org: "org", Action: "export", Count: 4, IdempotencyKey: "k", Book: book, Agent: "agent1", Now: e.now()}
	e.Faults.Random(3, 10, 80, 60, 10)
	var done atomic.Int64
	parallel(8, func(int) {
		out, err := e.ledger.Charge(e.ctx, c)
		switch {
		case err == nil && out.Amount == 12:
			done.Add(1)
		case fault.CodeOf(err) != fault.LedgerUnavailable:
			t.Errorf("charge: %+v %v", out, err)
		}
	})
	e.Faults.Script()
	out, err := e.ledger.Charge(e.ctx, c)
	must(t, err)
	if out.Amount != 12 || done.Load() == 0 {
		t.Fatalf("charged %+v, %d times in parallel", out, done.Load())
	}
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 88, 0)
	c.Book = e.actions("p2", 9_000_000)
	if out, err = e.ledger.Charge(e.ctx, c); err != nil || out.Amount != 12 || !out.Repeated {
		t.Fatalf("at another price: %+v %v", out, err)
	}
	list := e.entries("org")
	x := list[slices.IndexFunc(list, func(x credit.Entry) bool { return x.Kind == credit.UsageEntry })]
	if x.Amount != -12 || x.PriceVersion != "p1" || x.Model != "export" || x.Usage.Requests != 4 || x.Late || x.Estimated {
		t.Fatalf("entry: %+v", x)
	}
	if n := e.usageEntries("org"); n != 1 {
		t.Fatalf("%d entries", n)
	}
	for code, change := range map[fault.Code]func(*credit.ChargeRequest){
		fault.IdempotencyConflict: func(c *credit.ChargeRequest) { c.Count = 5 },
		fault.PriceMissing:        func(c *credit.ChargeRequest) { c.Action = "other" },
		fault.InsufficientCredits: func(c *credit.ChargeRequest) { c.IdempotencyKey, c.Count = "much", 100 },
		fault.InvalidRequest:      func(c *credit.ChargeRequest) { c.Count = 0 },
	} {
		bad := c
		change(&bad)
		_, err := e.ledger.Charge(e.ctx, bad)
		wantCode(t, err, code)
	}
	e.wantBalance("org", 88, 0)
	free := c
	free.Action, free.IdempotencyKey = "free", "f"
	out, err = e.ledger.Charge(e.ctx, free)
	must(t, err)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	if out.Amount != 0 || e.usageEntries("org") != 2 {
		t.Fatalf("free: %+v", out)
	}
	e.sound()
}

// lateCharge: a charge whose caller died after its reserve is finished by the
// next call, at the price of its reserve, also after the sweep has given the hold back.
func lateCharge(t *testing.T, e *env) {
	e.fund("org", 100)
	for i, swept := range []bool{false, true} {
		c := credit.ChargeRequest{Org: "org", Action: "export", Count: 1, IdempotencyKey: "k" + string(rune('a'+i)), Book: e.actions("p1", 3_000_000), Now: e.now()}
		e.Faults.Script(Rule{Op: "UpdateItem", Kind: Lost, Count: 50})
		_, err := e.ledger.Charge(e.ctx, c)
		wantCode(t, err, fault.LedgerUnavailable)
		e.Faults.Script()
		if swept {
			e.pass(3 * time.Minute)
			_, err = e.ledger.ExpireDue(e.ctx, e.now())
			must(t, err)
			e.wantBalance("org", 97, 0)
		}
		c.Now, c.Book = e.now(), e.actions("p2", 9_000_000)
		out, err := e.ledger.Charge(e.ctx, c)
		must(t, err)
		if out.Amount != 3 {
			t.Fatalf("charged %+v", out)
		}
		e.clean.Settle(e.ctx, e.drain(), e.now())
		e.wantBalance("org", credit.Micro(97-3*i), 0)
	}
	e.sound()
}

// authorized: what is held for an action ends once, charged or given back,
// whichever comes first, also where an agency pays and after the hold's life.
func authorized(t *testing.T, e *env) {
	terms := e.offer("agency", 100, 50, 50)
	e.fund("client", 0)
	book := e.actions("p1", 3_000_000)
	authorize := func(key string) credit.Authorized {
		t.Helper()
		c := credit.ChargeRequest{Org: "client", Action: "export", Count: 4, IdempotencyKey: key, Book: book, Now: e.now(), Life: 5 * time.Minute,
			Rule: billing.RuleSharedAction, DecisionHash: "hash", Decision: []byte("{}"), Draw: credit.NewDraw(terms, e.now())}
		a, err := e.ledger.Authorize(e.ctx, c)
		must(t, err)
		again, err := e.ledger.Authorize(e.ctx, c)
		must(t, err)
		if again.Hold.Amount != a.Hold.Amount || again.Hold.Draw == nil || again.Hold.Draw.Agency != "agency" || again.Ended {
			t.Fatalf("again: %+v, first %+v", again, a)
		}
		return a
	}
	a := authorize("a")
	e.wantBalance("agency", 100, 12)
	e.wantDrawn("agency", e.now(), 12, map[string]int64{"client": 12})
	v := e.wantState(a.Hold, credit.Dispatched)
	if x := v.Attempts[0]; x.Rule != "PAa" || x.DecisionHash != "hash" || string(x.Decision) != "{}" || x.Agency != "agency" {
		t.Fatalf("record: %+v", x)
	}
	must(t, e.ledger.Capture(e.ctx, a, e.now()))
	must(t, e.ledger.Capture(e.ctx, a, e.now()))
	wantCode(t, e.ledger.Release(e.ctx, a, e.now()), fault.Conflict)
	b := authorize("b")
	must(t, e.ledger.Release(e.ctx, b, e.now()))
	wantCode(t, e.ledger.Capture(e.ctx, b, e.now()), fault.Conflict)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantState(b.Hold, credit.Released)
	e.wantBalance("agency", 88, 0)
	e.wantDrawn("agency", e.now(), 12, map[string]int64{"client": 12})
	c := authorize("c")
	e.pass(4 * time.Minute)
	if rep, err := e.ledger.ExpireDue(e.ctx, e.now()); err != nil || rep.Expired != 0 {
		t.Fatalf("it outlived two minutes: %+v %v", rep, err)
	}
	e.pass(2 * time.Minute)
	_, err := e.ledger.ExpireDue(e.ctx, e.now())
	must(t, err)
	e.wantBalance("agency", 88, 0)
	must(t, e.ledger.Capture(e.ctx, c, e.now()))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("agency", 76, 0)
	e.wantDrawn("agency", e.now(), 24, map[string]int64{"client": 24})
	e.wantReconciled("agency", "client")
}
