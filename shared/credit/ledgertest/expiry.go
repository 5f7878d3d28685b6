package ledgertest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func (e *env) grant(kind taxonomy.GrantKind, amount credit.Micro, key string, ends time.Duration, roll credit.Rollover) credit.Posting {
	e.t.Helper()
	g := credit.GrantRequest{Org: "org", Kind: kind, Amount: amount, IdempotencyKey: key, Now: e.now(), Rollover: roll}
	if ends > 0 {
		g.ExpiresAt = e.now().Add(ends)
	}
	p, err := e.clean.Grant(e.ctx, g)
	must(e.t, err)
	return p
}

// left maps the amounts and remainders of the grants that are not used up.
func (e *env) left() map[credit.Micro]credit.Micro {
	e.t.Helper()
	grants, err := e.clean.Grants(e.ctx, "org")
	must(e.t, err)
	out := map[credit.Micro]credit.Micro{}
	for _, g := range grants {
		if g.Remaining > 0 {
			out[g.Amount] = g.Remaining
		}
	}
	return out
}

func (e *env) wantLeft(want map[credit.Micro]credit.Micro) {
	e.t.Helper()
	got := e.left()
	if len(got) != len(want) {
		e.t.Fatalf("left %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			e.t.Fatalf("left %v, want %v", got, want)
		}
	}
}

func (e *env) expireGrants(want int) {
	e.t.Helper()
	n, err := e.ledger.ExpireGrants(e.ctx, e.now())
	must(e.t, err)
	if n != want {
		e.t.Fatalf("%d grants ended, want %d", n, want)
	}
}

func (e *env) spend(amount credit.Micro) {
	e.t.Helper()
	e.used("org", amount, amount)
	e.clean.Settle(e.ctx, e.drain(), e.now())
}

func (e *env) sound() {
	e.t.Helper()
	rep, err := e.clean.Reconcile(e.ctx, "org", e.now())
	must(e.t, err)
	if !rep.OK {
		e.t.Fatalf("reconcile: %+v", rep)
	}
}

// expiry: what is left of a grant is taken off at its end, once, and until that
// has happened nothing is reserved.
func expiry(t *testing.T, e *env) {
	e.fund("org", 100)
	e.spend(40) // before the gift: it does not come out of it
	g := e.grant(taxonomy.Gifted, 30, "gift", time.Hour, credit.Rollover{})
	e.grant(taxonomy.Gifted, 7, "longer", 2*time.Hour, credit.Rollover{})
	if again := e.grant(taxonomy.Gifted, 30, "gift", time.Hour, credit.Rollover{}); again != g {
		t.Fatalf("again: %+v, want %+v", again, g)
	}
	_, err := e.ledger.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 30, IdempotencyKey: "gift", Now: e.now(), ExpiresAt: e.now().Add(2 * time.Hour)})
	wantCode(t, err, fault.IdempotencyConflict)
	e.spend(12)
	e.wantLeft(map[credit.Micro]credit.Micro{100: 60, 30: 18, 7: 7})
	e.pass(time.Hour - time.Millisecond)
	e.expireGrants(0)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 1))
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(0)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.pass(time.Millisecond)
	_, err = e.ledger.Reserve(e.ctx, e.request("org", 1))
	wantCode(t, err, fault.LedgerUnavailable)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1}, Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 1})
	e.expireGrants(1)
	e.expireGrants(0)
	e.wantBalance("org", 67, 0)
	e.wantLeft(map[credit.Micro]credit.Micro{100: 60, 7: 7})
	last := e.entries("org")[0]
	if last.Kind != credit.ExpiryEntry || last.Amount != -18 || len(last.Legs) != 2 || last.Legs[1] != (credit.Leg{Account: credit.AccountBreakage, Amount: 18}) {
		t.Fatalf("entry: %+v", last)
	}
	_, err = e.ledger.Reserve(e.ctx, e.request("org", 67))
	must(t, err)
	e.sound()
}

// expiryOfHeld: what a call reserved before the end stays capturable; what it
// leaves ends with it.
func expiryOfHeld(t *testing.T, e *env) {
	e.fund("org", 100)
	e.grant(taxonomy.Gifted, 30, "gift", time.Hour, credit.Rollover{})
	e.pass(time.Hour - time.Second)
	h := e.hold(20)
	e.pass(2 * time.Second)
	e.expireGrants(1)
	e.wantBalance("org", 120, 20)
	e.wantLeft(map[credit.Micro]credit.Micro{100: 100, 30: 20})
	e.expireGrants(0) // not before a minute
	later := e.hold(50)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(15)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.pass(time.Minute)
	// The later call has no share of what the earlier one left.
	e.expireGrants(1)
	e.wantBalance("org", 100, 50)
	e.wantLeft(map[credit.Micro]credit.Micro{100: 100})
	must(t, e.ledger.Used(e.ctx, later, e.outcome(50)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 50, 0)
	e.pass(time.Minute)
	e.expireGrants(0)
	e.sound()
}

func (e *env) hold(amount credit.Micro) credit.Hold {
	e.t.Helper()
	r := e.request("org", amount)
	r.Expires = e.now().Add(time.Hour)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(e.t, err)
	return h
}

// expiryRace: sweeps at once over a bad network take a grant off once.
func expiryRace(t *testing.T, e *env) {
	e.fund("org", 100)
	for _, key := range []string{"a", "b", "c"} {
		e.grant(taxonomy.Daily, 10, key, time.Hour, credit.Rollover{})
	}
	calls := []credit.Hold{e.hold(15), e.hold(3)}
	e.pass(time.Hour)
	e.Faults.Random(5, 20, 60, 60, 20)
	var steps atomic.Int64
	parallel(6, func(n int) {
		if n < len(calls) {
			if err := e.clean.Used(e.ctx, calls[n], e.outcome(2)); err != nil {
				t.Error(err)
			}
		}
		got, _ := e.ledger.ExpireGrants(e.ctx, e.now())
		steps.Add(int64(got))
	})
	e.Faults.Script()
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.pass(time.Minute)
	_, err := e.ledger.ExpireGrants(e.ctx, e.now())
	must(t, err)
	e.pass(time.Minute)
	e.expireGrants(0)
	e.wantBalance("org", 100, 0)
	e.wantLeft(map[credit.Micro]credit.Micro{100: 100})
	e.sound()
}

// rollover: the next period's grant is what was left, within bounds, once; missed
// periods are caught up.
func rollover(t *testing.T, e *env) {
	e.fund("org", 1)
	g := e.grant(taxonomy.Daily, 50, "allowance", 0, credit.Rollover{Min: 20, Max: 40})
	if want := time.Date(2026, 3, 16, 0, 0, 0, 0, time.UTC); !g.ExpiresAt.Equal(want) {
		t.Fatalf("ends %v", g.ExpiresAt)
	}
	e.spend(5)
	e.pass(12 * time.Hour)
	parallel(3, func(int) { _, _ = e.ledger.ExpireGrants(e.ctx, e.now()) })
	e.expireGrants(0)
	e.wantBalance("org", 41, 0)
	e.wantLeft(map[credit.Micro]credit.Micro{1: 1, 40: 40})
	e.spend(35)
	e.pass(24 * time.Hour)
	e.expireGrants(1)
	e.wantBalance("org", 21, 0)
	e.spend(21)
	e.pass(3 * 24 * time.Hour)
	e.expireGrants(3)
	e.wantBalance("org", 20, 0)
	e.sound()
	m := e.grant(taxonomy.Monthly, 9, "monthly", 0, credit.Rollover{Max: 40})
	if want := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC); !m.ExpiresAt.Equal(want) {
		t.Fatalf("ends %v", m.ExpiresAt)
	}
}

// rolloverOfHeld: a grant that calls still hold when it ends is renewed once.
func rolloverOfHeld(t *testing.T, e *env) {
	e.fund("org", 1)
	e.grant(taxonomy.Daily, 50, "allowance", 0, credit.Rollover{Max: 40})
	e.pass(12*time.Hour - time.Second)
	h := e.hold(20)
	e.pass(time.Second)
	e.expireGrants(1)
	e.wantBalance("org", 51, 20)
	e.wantLeft(map[credit.Micro]credit.Micro{1: 1, 30: 30, 50: 20})
	must(t, e.ledger.Used(e.ctx, h, e.outcome(5)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.pass(time.Minute)
	e.expireGrants(1)
	e.wantBalance("org", 31, 0)
	e.pass(time.Minute)
	e.expireGrants(0)
	e.sound()
}

// staleEnd: what was computed from a balance that has moved is not written.
func staleEnd(t *testing.T, e *env) {
	e.fund("org", 100)
	g := e.grant(taxonomy.Gifted, 30, "gift", time.Hour, credit.Rollover{})
	h := e.hold(10)
	acc, err := e.clean.Balance(e.ctx, "org")
	must(t, err)
	end := credit.GrantEnd{Grant: g, Account: acc.Account, Expiry: &credit.Posting{ID: "x_1", Org: "org", Origin: credit.ExpiryEntry,
		Kind: g.Kind, Amount: -20, At: e.now(), Of: g.ID, Seq: acc.Seq + 1, Base: acc.Posted}}
	must(t, e.clean.Used(e.ctx, h, e.outcome(10)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	if ok, err := e.Store.End(e.ctx, end); ok || err != nil {
		t.Fatalf("a stale end was written: %v %v", ok, err)
	}
	e.wantBalance("org", 120, 0)
}
