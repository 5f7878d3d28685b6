package ledgertest

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// split gives an account n shards and spreads its credit over them. Somebody else's
// measurement or posting between the read and the write is a conflict, and is tried
// again, as the sweep and settlement do with their next look.
func (e *env) split(org string, n int) credit.Account {
	e.t.Helper()
	for {
		a, err := e.Clean.Account(e.ctx, org)
		must(e.t, err)
		if len(a.Shards) >= n {
			ok, err := e.Clean.Measure(e.ctx, a, credit.Load{Reserves: a.Reserves(), At: e.now(), InUse: n})
			must(e.t, err)
			if !ok {
				continue
			}
			must(e.t, e.Clean.Publish(e.ctx, org, n))
			must(e.t, e.Clean.Spread(e.ctx, a, n))
			a, err = e.Clean.Account(e.ctx, org)
			must(e.t, err)
			return a
		}
		if err := e.Clean.Split(e.ctx, a, min(n, len(a.Shards)+64), credit.Load{At: e.now().Add(-time.Hour)}); fault.CodeOf(err) != fault.Conflict && fault.CodeOf(err) != fault.LedgerUnavailable {
			must(e.t, err)
		}
	}
}

// wantShards checks that moves sum to 0 and that each shard adds up.
func (e *env) wantShards(org string) credit.Account {
	e.t.Helper()
	a, err := e.Clean.Account(e.ctx, org)
	must(e.t, err)
	var moved credit.Micro
	for i, s := range a.Shards {
		line := credit.Micro(0)
		if i == 0 {
			line = a.CreditLine
		}
		if s.Available != s.Posted-s.Held+line+s.Moved || s.Held < 0 {
			e.t.Fatalf("shard %d of %s: %+v", i, org, s)
		}
		moved += s.Moved
	}
	if moved != 0 {
		e.t.Fatalf("moves of %s sum to %d", org, moved)
	}
	return a
}

// exactFundsSharded: of 100 parallel requests on funds for 10, spread over S
// shards that may each hold less than one hold, exactly 10 pass.
func exactFundsSharded(t *testing.T, e *env) {
	for _, shards := range []int{1, 2, 8, 128} {
		callers := 100
		if shards > 8 {
			callers = 20 // the local engine reads a hundred items in tens of milliseconds
		}
		org := "org" + strconv.Itoa(shards)
		e.fund(org, 1005)
		a := e.split(org, shards)
		if len(a.Shards) != shards || a.Posted != 1005 || a.Available != 1005 {
			t.Fatalf("split in %d: %+v", shards, a)
		}
		var ok, refused atomic.Int64
		parallel(callers, func(i int) {
			r := e.request(org, 100)
			r.Shards = []int{shards, 0, 1, 4}[i%4] // callers may know an older number
			switch _, err := e.reserve(r); fault.CodeOf(err) {
			case "":
				ok.Add(1)
			case fault.InsufficientCredits:
				refused.Add(1)
			default:
				t.Errorf("%d shards: reserve: %v", shards, err)
			}
		})
		if ok.Load() != 10 || int(refused.Load()) != callers-10 {
			t.Fatalf("%d shards: %d succeeded, %d refused", shards, ok.Load(), refused.Load())
		}
		e.wantBalance(org, 1005, 1000)
		e.wantShards(org)
	}
}

// shardLifecycle: holds keep their shard over a split and a merge; what one shard
// lacks is taken from others, also for an extension; sums never change.
func shardLifecycle(t *testing.T, e *env) {
	e.fund("org", 1000)
	before, err := e.clean.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	e.split("org", 4)
	shards := map[int]bool{}
	var holds []credit.Hold
	for range 12 {
		r := e.request("org", 50)
		r.Shards = 4
		h, err := e.ledger.Reserve(e.ctx, r)
		must(t, err)
		shards[h.Shard] = true
		holds = append(holds, h)
	}
	if len(shards) < 2 {
		t.Fatalf("twelve requests used shards %v", shards)
	}
	e.wantBalance("org", 1000, 700)
	holds[0], err = e.ledger.Extend(e.ctx, holds[0], 290, e.now())
	must(t, err)
	_, err = e.ledger.Extend(e.ctx, holds[1], 11, e.now())
	wantCode(t, err, fault.InsufficientCredits)
	e.wantBalance("org", 1000, 990)
	a := e.wantShards("org")
	must(t, e.Clean.Spread(e.ctx, a, 1)) // nothing that is held can move
	e.wantShards("org")
	must(t, e.ledger.Used(e.ctx, before, e.outcome(60)))
	for i, h := range holds {
		must(t, e.ledger.Used(e.ctx, h, e.outcome(credit.Micro(i))))
	}
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 13 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 1000-60-66, 0)
	must(t, e.Clean.Spread(e.ctx, e.wantShards("org"), 1))
	if a = e.wantShards("org"); a.Shards[0].Available != 874 || a.Shards[3].Available != 0 {
		t.Fatalf("merged: %+v", a.Shards)
	}
	rep, err := e.clean.Reconcile(e.ctx, "org", e.now())
	must(t, err)
	if !rep.OK {
		t.Fatalf("reconcile: %+v", rep)
	}
	staleSpread(t, e)
	shardedDebt(t, e)
}

// staleSpread: a spread by a stale picture takes nothing that was reserved since;
// a clawback is everybody's, and a split by a stale picture is refused.
func staleSpread(t *testing.T, e *env) {
	// A spread by a stale picture takes nothing that was reserved since.
	a := e.split("org", 4)
	r := e.request("org", 874)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	must(t, e.Clean.Spread(e.ctx, a, 1))
	for i, s := range e.wantShards("org").Shards {
		if s.Available < 0 {
			t.Fatalf("shard %d: %+v", i, s)
		}
	}
	must(t, e.ledger.Used(e.ctx, h, credit.Outcome{Kind: credit.Refused, At: e.now()}))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	// A grant is spread, a clawback is gathered, a debt on one shard is everybody's
	// after the next spread.
	_, err = e.clean.Adjust(e.ctx, credit.GrantRequest{Org: "org", Kind: "purchased", Amount: -870, IdempotencyKey: "claw", Now: e.now()})
	must(t, err)
	r = e.request("org", 5)
	r.Shards = 4
	_, err = e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.InsufficientCredits)
	r.Hold = 4
	_, err = e.ledger.Reserve(e.ctx, r)
	must(t, err)
	e.wantShards("org")
	// Splitting by a stale picture is refused.
	a, err = e.Clean.Account(e.ctx, "org")
	must(t, err)
	stale := a
	stale.Shards = stale.Shards[:1]
	wantCode(t, e.Clean.Split(e.ctx, stale, 8, credit.Load{At: e.now()}), fault.Conflict)
}

// reshape: load makes shards, idleness takes them back, funds bound them.
func reshape(t *testing.T, e *env) {
	e.fund("org", 1_000_000)
	sweepOnce := func() credit.SweepReport {
		t.Helper()
		rep, err := e.clean.Sweep(e.ctx, e.now(), 0, 0)
		must(t, err)
		return rep
	}
	load := func(n int) {
		t.Helper()
		parallel(8, func(i int) {
			for j := i; j < n; j += 8 {
				r := e.request("org", 10)
				r.Expires = r.Now.Add(time.Hour)
				if _, err := e.clean.Reserve(e.ctx, r); err != nil {
					t.Errorf("reserve: %v", err)
				}
			}
		})
	}
	load(10)
	if rep := sweepOnce(); rep.Reshaped != 0 {
		t.Fatalf("without a measurement: %+v", rep)
	}
	load(68) // in 4 seconds: 17 a second need 4 shards
	e.pass(4 * time.Second)
	if rep := sweepOnce(); rep.Reshaped != 1 {
		t.Fatalf("under load: %+v", rep)
	}
	a := e.wantShards("org")
	if len(a.Shards) != 4 || a.Load.InUse != 4 {
		t.Fatalf("%d shards, %d in use", len(a.Shards), a.Load.InUse)
	}
	for i, s := range a.Shards {
		if s.Available < 200_000 {
			t.Fatalf("shard %d has %d", i, s.Available)
		}
	}
	e.pass(time.Minute)
	if rep := sweepOnce(); rep.Reshaped != 1 {
		t.Fatalf("at rest: %+v", rep)
	}
	if a = e.wantShards("org"); len(a.Shards) != 4 || a.Load.InUse != 1 || a.Shards[2].Available != 0 {
		t.Fatalf("at rest: %+v in use %d", a.Shards, a.Load.InUse)
	}
	e.wantBalance("org", 1_000_000, 780)
}

// shardedExpiry: credit that lies on other shards ends, too, every shard waits for
// it, and none longer than home.
func shardedExpiry(t *testing.T, e *env) {
	e.fund("org", 10)
	e.split("org", 4)
	_, err := e.clean.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: "gifted", Amount: 400, IdempotencyKey: "gift", ExpiresAt: e.now().Add(time.Hour), Now: e.now()})
	must(t, err)
	for i, s := range e.wantShards("org").Shards {
		if s.Due.IsZero() || i > 0 && s.Available < 50 {
			t.Fatalf("shard %d: %+v", i, s)
		}
	}
	reserve := func(amount credit.Micro, want fault.Code) {
		t.Helper()
		r := e.request("org", amount)
		r.Shards = 4
		_, err := e.ledger.Reserve(e.ctx, r)
		wantCode(t, err, want)
	}
	reserve(1, "")
	e.pass(time.Hour)
	for range 8 {
		reserve(1, fault.LedgerUnavailable)
	}
	// The credit is brought home before it ends: were it the other way round, a
	// move that is lost would leave ended credit on the others.
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Lost, Skip: 1, Count: 1})
	n, err := e.ledger.ExpireGrants(e.ctx, e.now())
	must(t, err)
	e.Faults.Script()
	for i, s := range e.wantShards("org").Shards {
		if s.Available < 0 {
			t.Fatalf("shard %d: %+v", i, s)
		}
	}
	if n == 0 {
		t.Fatal("nothing ended")
	}
	e.wantBalance("org", 11, 1)
	for range 9 {
		reserve(1, "")
	}
	reserve(2, fault.InsufficientCredits)
	e.wantShards("org")
	rep, err := e.clean.Reconcile(e.ctx, "org", e.now())
	must(t, err)
	if !rep.OK {
		t.Fatalf("reconcile: %+v", rep)
	}
}

// shardedDebt: what one shard's settlement took beyond its credit is owed by all:
// no other shard may reserve it, without waiting for a sweep.
func shardedDebt(t *testing.T, e *env) {
	e.fund("debt", 1000)
	e.split("debt", 4)
	r := e.request("debt", 10)
	r.Shards = 4
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(900)))
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	for i, s := range e.wantShards("debt").Shards {
		if s.Available < 0 {
			t.Errorf("shard %d is left with %d", i, s.Available)
		}
	}
	for _, c := range []struct {
		hold credit.Micro
		want fault.Code
	}{{101, fault.InsufficientCredits}, {100, ""}, {1, fault.InsufficientCredits}} {
		r := e.request("debt", c.hold)
		r.Shards = 4
		_, err := e.ledger.Reserve(e.ctx, r)
		wantCode(t, err, c.want)
	}
	e.wantBalance("debt", 100, 100)
	e.wantShards("debt")
}
