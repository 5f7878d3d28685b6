package ledgertest

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// extendTwice: a caller that was not told of its extension asks again and gets
// it, once; a hold of another owner and a smaller one are never taken for it.
func extendTwice(t *testing.T, e *env) {
	e.fund("org", 100)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 40))
	must(t, err)
	_, err = e.clean.Extend(e.ctx, h, 30, e.now()) // the answer was lost
	must(t, err)
	e.pass(time.Second)
	grown, err := e.ledger.Extend(e.ctx, h, 60, e.now())
	must(t, err)
	if grown.Amount != 70 || grown.Shard != h.Shard {
		t.Fatalf("the hold is %+v", grown)
	}
	e.wantBalance("org", 100, 70)
	stranger := h
	stranger.Owner = "stranger"
	_, err = e.ledger.Extend(e.ctx, stranger, 10, e.now())
	wantCode(t, err, fault.Conflict)
	larger := grown
	larger.Amount = 80
	_, err = e.ledger.Extend(e.ctx, larger, 10, e.now())
	wantCode(t, err, fault.Conflict)
	must(t, e.ledger.Used(e.ctx, grown, e.outcome(65)))
	_, err = e.ledger.Extend(e.ctx, h, 10, e.now())
	wantCode(t, err, fault.Conflict)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 35, 0)
	if a := e.wantState(grown, credit.Settled).Attempts[0]; a.Hold != 70 {
		t.Fatalf("the attempt is said to have held %d", a.Hold)
	}
}

// extendRace: holds grow while others are settled, expire, are reported late, and
// while the balance gets more shards and fewer. Each ends once, with what it had
// last; nothing stays held, and no more is held than there is.
func extendRace(t *testing.T, e *env) {
	e.fund("org", 2000)
	holds := make([]credit.Hold, 16)
	for i := range holds {
		r := e.request("org", 20)
		if i%4 == 3 {
			r.Expires = e.now().Add(time.Second) // overdue in a moment
		}
		h, err := e.clean.Reserve(e.ctx, r)
		must(t, err)
		holds[i] = h
	}
	e.pass(2 * time.Second)
	parallel(len(holds)+3, func(i int) {
		switch {
		case i == len(holds):
			e.split("org", 4)
		case i == len(holds)+1:
			for range 4 {
				if _, err := e.ledger.Sweep(e.ctx, e.now(), 0, 0); err != nil && fault.CodeOf(err) != fault.LedgerUnavailable {
					t.Errorf("sweep: %v", err)
				}
			}
		case i == len(holds)+2:
			for range 4 {
				if a, err := e.Store.Account(e.ctx, "org"); err == nil {
					_ = e.Store.Spread(e.ctx, a, 1+len(a.Shards)/2)
				}
			}
		default:
			e.grow(t, &holds[i], i%2 == 0)
		}
	})
	if a := e.wantShards("org"); a.Held > a.Posted {
		t.Fatalf("%d held of %d", a.Held, a.Posted)
	}
	e.pass(2 * time.Minute)
	for _, h := range holds { // some late
		switch err := e.ledger.Used(e.ctx, h, e.outcome(10)); fault.CodeOf(err) {
		case "", fault.Conflict:
		default:
			t.Errorf("used: %v", err)
		}
	}
	_, err := e.ledger.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 2000-10*credit.Micro(len(holds)), 0)
	e.wantShards("org")
	rep, err := e.clean.Reconcile(e.ctx, "org", e.now())
	must(t, err)
	if !rep.OK {
		t.Fatalf("reconcile: %+v", rep)
	}
}

// grow extends a hold some times and, if it ends here, reports it.
func (e *env) grow(t *testing.T, h *credit.Hold, ends bool) {
	for range 4 {
		grown, err := e.ledger.Extend(e.ctx, *h, 25, e.now())
		switch fault.CodeOf(err) {
		case "":
			if grown.Amount != h.Amount+25 || grown.Shard != h.Shard {
				t.Errorf("extended to %+v from %+v", grown, *h)
			}
			*h = grown
		case fault.Conflict: // expired
			return
		case fault.LedgerUnavailable: // a stream asks again later
		default:
			t.Errorf("extend: %v", err)
		}
	}
	if ends {
		must(t, e.ledger.Used(e.ctx, *h, e.outcome(10)))
		e.clean.Settle(e.ctx, e.drain(), e.now())
	}
}

// extendAcrossExpiry: from the end of a grant until it is folded nothing more is
// held, not for running calls either; what they hold stays, and grows again
// afterwards from what is left.
func extendAcrossExpiry(t *testing.T, e *env) {
	e.fund("org", 30)
	_, err := e.clean.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Daily, Amount: 100, IdempotencyKey: "day",
		ExpiresAt: e.now().Add(time.Minute), Now: e.now()})
	must(t, err)
	r := e.request("org", 80)
	r.Expires = e.now().Add(time.Hour)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	e.pass(2 * time.Minute)
	same, err := e.ledger.Extend(e.ctx, h, 10, e.now())
	wantCode(t, err, fault.LedgerUnavailable)
	if same != h {
		t.Fatalf("a refused extension changed the hold: %+v", same)
	}
	e.expireGrants(1)
	h, err = e.ledger.Extend(e.ctx, h, 30, e.now())
	must(t, err)
	_, err = e.ledger.Extend(e.ctx, h, 1, e.now())
	wantCode(t, err, fault.InsufficientCredits)
	e.wantBalance("org", 110, 110)
}
