package ledgertest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func lifecycle(t *testing.T, e *env) {
	e.fund("org", 1000)
	r := e.request("org", 100)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	e.wantBalance("org", 1000, 100)
	v := e.wantState(h, credit.Dispatched)
	if a := v.Attempts[0]; a.Rule != r.Rule || a.DecisionHash != r.DecisionHash || string(a.Decision) != string(r.Decision) || a.PriceVersion != "p1" {
		t.Fatalf("decision record: %+v", a)
	}
	holds, err := e.clean.Holds(e.ctx, "org")
	must(t, err)
	if len(holds) != 1 || holds[0].Hold != 100 || !holds[0].Expires.Equal(r.Expires) {
		t.Fatalf("holds: %+v", holds)
	}
	o := e.outcome(42)
	o.Usage = billing.Usage{InputTokens: 10, CachedInputTokens: 4, OutputTokens: 5, AudioMillis: 1500, Source: billing.FromProvider}
	must(t, e.ledger.Used(e.ctx, h, o))
	e.wantBalance("org", 1000, 100) // the caller never touches the balance again
	used := e.drain()
	if len(used) != 1 || used[0].Amount != 42 || used[0].Hold != 100 || used[0].Usage != o.Usage {
		t.Fatalf("stream: %+v", used)
	}
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Settled != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 958, 0)
	v = e.wantState(h, credit.Settled)
	if v.Cost != 42 || v.Usage != o.Usage || v.Agent != "agent1" {
		t.Fatalf("request: %+v", v)
	}
	first := e.entries("org")[0]
	if first.Request != h.Request || first.Amount != -42 || first.Usage != o.Usage || first.PriceVersion != "p1" || first.Late || first.Source != taxonomy.Platform {
		t.Fatalf("entry: %+v", first)
	}
	if holds, _ := e.clean.Holds(e.ctx, "org"); len(holds) != 0 {
		t.Fatalf("hold left: %+v", holds)
	}
}

func insufficient(t *testing.T, e *env) {
	e.fund("org", 99)
	r := e.request("org", 100)
	_, err := e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.InsufficientCredits)
	_, err = e.clean.Request(e.ctx, "org", r.Request)
	wantCode(t, err, fault.NotFound)
	e.wantBalance("org", 99, 0)
	// The same request may come again once there are funds.
	_, err = e.clean.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 1, IdempotencyKey: "more", Now: e.now()})
	must(t, err)
	_, err = e.ledger.Reserve(e.ctx, r)
	must(t, err)
	_, err = e.ledger.Reserve(e.ctx, e.request("nobody", 1))
	wantCode(t, err, fault.InsufficientCredits)
	for _, bad := range []func(*credit.ReserveRequest){
		func(r *credit.ReserveRequest) { r.Hold = -1 },
		func(r *credit.ReserveRequest) { r.Hold = billing.MaxAmount + 1 },
		func(r *credit.ReserveRequest) { r.Org = "a#b" },
		func(r *credit.ReserveRequest) { r.Attempt = 0 },
		func(r *credit.ReserveRequest) { r.Owner = "" },
		func(r *credit.ReserveRequest) { r.Expires = r.Now },
		func(r *credit.ReserveRequest) { r.Source = taxonomy.BYOK }, // with a hold
		func(r *credit.ReserveRequest) { r.Source = "other" },
	} {
		r := e.request("org", 1)
		bad(&r)
		_, err := e.ledger.Reserve(e.ctx, r)
		wantCode(t, err, fault.InvalidRequest)
	}
}

func exactFunds(t *testing.T, e *env) {
	e.fund("org", 105)
	var ok, refused atomic.Int64
	parallel(40, func(int) {
		switch _, err := e.reserve(e.request("org", 10)); fault.CodeOf(err) {
		case "":
			ok.Add(1)
		case fault.InsufficientCredits:
			refused.Add(1)
		default:
			t.Errorf("reserve: %v", err)
		}
	})
	if ok.Load() != 10 || refused.Load() != 30 {
		t.Fatalf("%d succeeded, %d refused", ok.Load(), refused.Load())
	}
	e.wantBalance("org", 105, 100)
}

// oneOwner lets many callers race for one key over a bad network: the vendor is
// called once.
func oneOwner(t *testing.T, e *env) {
	e.fund("org", 10_000)
	e.Faults.Random(7, 50, 100, 50, 20)
	for round := range 4 {
		r := e.request("org", 10)
		var owners atomic.Int64
		parallel(16, func(i int) {
			mine := r
			mine.Owner = r.Owner + "-" + string(rune('a'+i))
			switch _, err := e.ledger.Reserve(e.ctx, mine); fault.CodeOf(err) {
			case "":
				owners.Add(1)
			case fault.IdempotencyInProgress, fault.LedgerUnavailable:
			default:
				t.Errorf("reserve: %v", err)
			}
		})
		// None is possible: the winner may have had no answer to the end.
		if owners.Load() > 1 {
			t.Fatalf("round %d: %d owners", round, owners.Load())
		}
	}
	e.Faults.Script()
	if held := e.heldByRequests("org"); held > 40 {
		t.Fatalf("%d held for four requests of 10", held)
	}
}

func (e *env) heldByRequests(org string) (sum credit.Micro) {
	holds, err := e.clean.Holds(e.ctx, org)
	must(e.t, err)
	for _, h := range holds {
		sum += h.Hold
	}
	return sum
}

func idempotency(t *testing.T, e *env) {
	e.fund("org", 1000)
	r := e.request("org", 10)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	again := func(change func(*credit.ReserveRequest)) *fault.Error {
		other := r
		other.Owner, other.Now = "somebody-else", e.now()
		other.Expires = other.Now.Add(time.Minute)
		if change != nil {
			change(&other)
		}
		_, err := e.ledger.Reserve(e.ctx, other)
		if err == nil {
			t.Fatal("a second owner was let in")
		}
		return fault.As(err)
	}
	if f := again(nil); f.Code != fault.IdempotencyInProgress || f.RetryAfter != time.Second || f.RequestID != r.Request {
		t.Fatalf("running: %+v", f)
	}
	if f := again(func(r *credit.ReserveRequest) { r.Fingerprint[0] = 9 }); f.Code != fault.IdempotencyConflict {
		t.Fatalf("other body: %+v", f)
	}
	if f := again(func(r *credit.ReserveRequest) { r.Idempotent = false }); f.Code != fault.Conflict {
		t.Fatalf("no idempotency key: %+v", f)
	}
	must(t, e.ledger.Used(e.ctx, h, e.outcome(5)))
	for _, state := range []credit.State{credit.UsedState, credit.Settled} {
		f := again(nil)
		var ex *credit.Existing
		if f.Code != fault.IdempotencyCompleted || f.RequestID != r.Request || !errors.As(f, &ex) || ex.State != state || ex.Kind != credit.Completed {
			t.Fatalf("finished: %+v %+v", f, ex)
		}
		e.clean.Settle(e.ctx, e.drain(), e.now())
	}
	e.wantBalance("org", 995, 0)
}

func laterAttempts(t *testing.T, e *env) {
	e.fund("org", 100)
	r := e.request("org", 30)
	h1, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h1, credit.Outcome{Kind: credit.Refused, Status: 429, Reason: "rate_limited", At: e.now()}))
	stranger := r
	stranger.Attempt, stranger.Owner = 2, "stranger"
	_, err = e.ledger.Reserve(e.ctx, stranger)
	wantCode(t, err, fault.IdempotencyInProgress)
	r2 := r
	r2.Attempt, r2.Model = 2, "vendor/other"
	h2, err := e.ledger.Reserve(e.ctx, r2)
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h2, e.outcome(12)))
	rep := e.clean.Settle(e.ctx, e.drain(), e.now())
	if rep.Settled != 1 || rep.Released != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	v := e.wantState(h2, credit.Settled)
	if len(v.Attempts) != 2 || v.Attempts[0].State != credit.Released || v.Attempts[0].Reason != "rate_limited" || v.Cost != 12 {
		t.Fatalf("attempts: %+v", v.Attempts)
	}
	e.wantBalance("org", 88, 0)
	if n := e.usageEntries("org"); n != 1 {
		t.Fatalf("%d usage entries", n)
	}
}

func usedOnce(t *testing.T, e *env) {
	e.fund("org", 1000)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	stranger := h
	stranger.Owner = "stranger"
	wantCode(t, e.ledger.Used(e.ctx, stranger, e.outcome(1)), fault.Conflict)
	e.Faults.Script(Rule{Op: "UpdateItem", Kind: AnswerLost, Count: 1})
	must(t, e.ledger.Used(e.ctx, h, e.outcome(7))) // own lost answer recognised
	must(t, e.ledger.Used(e.ctx, h, e.outcome(7)))
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(8)), fault.Conflict)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	must(t, e.ledger.Used(e.ctx, h, e.outcome(7)))
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(8)), fault.Conflict)
	missing := h
	missing.Request = "missing"
	wantCode(t, e.ledger.Used(e.ctx, missing, e.outcome(7)), fault.Conflict)
	bad := e.outcome(1)
	bad.Kind = credit.Refused
	wantCode(t, e.ledger.Used(e.ctx, h, bad), fault.InvalidRequest)
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(-1)), fault.InvalidRequest)
	e.wantBalance("org", 993, 0)
}

func refused(t *testing.T, e *env) {
	e.fund("org", 1000)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, credit.Outcome{Kind: credit.Refused, At: e.now()}))
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Released != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantState(h, credit.Released)
	e.wantBalance("org", 1000, 0)
	if n := e.usageEntries("org"); n != 0 {
		t.Fatalf("%d usage entries", n)
	}
}

// ownKey: byok and private record usage and move nothing.
func ownKey(t *testing.T, e *env) {
	for _, source := range []taxonomy.BillingSource{taxonomy.BYOK, taxonomy.Private} {
		r := e.request("poor", 0)
		r.Source = source
		h, err := e.ledger.Reserve(e.ctx, r)
		must(t, err)
		must(t, e.ledger.Used(e.ctx, h, e.outcome(0)))
	}
	must(t, e.clean.OpenAccount(e.ctx, "poor", e.now()))
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 2 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("poor", 0, 0)
	list := e.entries("poor")
	if len(list) != 2 || list[0].Amount != 0 || list[0].Usage.InputTokens != 10 || list[0].Source == taxonomy.Platform {
		t.Fatalf("entries: %+v", list)
	}
}

func extend(t *testing.T, e *env) {
	e.fund("org", 100)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 40))
	must(t, err)
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1})
	h, err = e.ledger.Extend(e.ctx, h, 50, e.now())
	must(t, err)
	e.wantBalance("org", 100, 90)
	same, err := e.ledger.Extend(e.ctx, h, 11, e.now())
	wantCode(t, err, fault.InsufficientCredits)
	if same != h {
		t.Fatalf("a refused extension changed the hold: %+v", same)
	}
	must(t, e.ledger.Used(e.ctx, h, e.outcome(85)))
	_, err = e.ledger.Extend(e.ctx, h, 1, e.now())
	wantCode(t, err, fault.Conflict)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 15, 0)
}

func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
