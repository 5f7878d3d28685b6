package ledgertest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// lateUsage: an overdue hold is given back once; usage that comes later is
// recorded all the same, and may take the balance below zero.
func lateUsage(t *testing.T, e *env) {
	e.fund("org", 100)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	rep, err := e.ledger.Sweep(e.ctx, e.now().Add(59*time.Second), 0, 0)
	must(t, err)
	if rep.Expired != 0 || !rep.Complete {
		t.Fatalf("too early: %+v", rep)
	}
	e.pass(61 * time.Second)
	rep, err = e.ledger.ExpireDue(e.ctx, e.now())
	must(t, err)
	if rep.Expired != 1 {
		t.Fatalf("expire: %+v", rep)
	}
	e.wantState(h, credit.Expired)
	e.wantBalance("org", 100, 0)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(130)))
	used := e.drain()
	if len(used) != 1 || !used[0].Expired || used[0].Hold != 0 {
		t.Fatalf("stream: %+v", used)
	}
	// The stream loses it: the sweep sees it again after a minute.
	if rep, err = e.ledger.Sweep(e.ctx, e.now().Add(30*time.Second), 0, 0); err != nil || rep.Settled != 0 {
		t.Fatalf("stale too early: %+v %v", rep, err)
	}
	if rep, err = e.ledger.SettleStale(e.ctx, e.now().Add(61*time.Second), credit.StaleAfter); err != nil || rep.Settled != 1 {
		t.Fatalf("stale: %+v %v", rep, err)
	}
	e.wantState(h, credit.SettledLate)
	e.wantBalance("org", -30, 0)
	if r := e.ledger.Settle(e.ctx, used, e.now()); r.Done+r.Late != 1 {
		t.Fatalf("settled again: %+v", r)
	}
	if list := e.entries("org"); !list[0].Late || list[0].Amount != -130 {
		t.Fatalf("entry: %+v", list[0])
	}
	// Expiry of a call that held nothing leaves its mark, too.
	r := e.request("org", 0)
	r.Source = taxonomy.BYOK
	h, err = e.ledger.Reserve(e.ctx, r)
	must(t, err)
	e.pass(2 * time.Minute)
	_, err = e.ledger.ExpireDue(e.ctx, e.now())
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(0)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantState(h, credit.SettledLate)
}

// checkpoint: a call that died is charged what it had stored, marked estimated.
func checkpoint(t *testing.T, e *env) {
	e.fund("org", 1000)
	h, err := e.ledger.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	u := e.outcome(20).Usage
	must(t, e.ledger.Checkpoint(e.ctx, h, e.outcome(9).Usage, 9))
	must(t, e.ledger.Checkpoint(e.ctx, h, u, 20))
	wantCode(t, e.ledger.Checkpoint(e.ctx, h, u, 19), fault.Conflict)
	stranger := h
	stranger.Owner = "stranger"
	wantCode(t, e.ledger.Checkpoint(e.ctx, stranger, u, 30), fault.Conflict)
	e.pass(2 * time.Minute)
	rep, err := e.ledger.Sweep(e.ctx, e.now(), 5, 0)
	must(t, err)
	if rep.Settled != 1 || rep.Expired != 0 {
		t.Fatalf("sweep: %+v", rep)
	}
	v := e.wantState(h, credit.Settled)
	if a := v.Attempts[0]; a.Amount != 20 || !a.Estimated || a.Kind != credit.Partial || a.Usage != u {
		t.Fatalf("attempt: %+v", a)
	}
	e.wantBalance("org", 980, 0)
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(25)), fault.Conflict)
	if list := e.entries("org"); !list[0].Estimated {
		t.Fatalf("entry: %+v", list[0])
	}
}

// sweepConditions: between a sweep's read and its write anything can happen.
func sweepConditions(t *testing.T, e *env) {
	e.fund("org", 1000)
	h, err := e.clean.Reserve(e.ctx, e.request("org", 100))
	must(t, err)
	later := e.now().Add(2 * time.Minute)
	find := func() credit.Open {
		t.Helper()
		holds, err := e.clean.Holds(e.ctx, "org")
		must(t, err)
		if len(holds) != 1 {
			t.Fatalf("holds: %+v", holds)
		}
		return holds[0]
	}
	refuse := func(what string, ok bool, err error) {
		t.Helper()
		must(t, err)
		if ok {
			t.Fatalf("%s went through", what)
		}
	}
	seen := find()
	ok, err := e.Store.Expire(e.ctx, seen, e.now())
	refuse("expiry before its time", ok, err)
	must(t, e.clean.Checkpoint(e.ctx, h, e.outcome(5).Usage, 5))
	ok, err = e.Store.Expire(e.ctx, seen, later)
	refuse("expiry over a new checkpoint", ok, err)
	seen = find()
	_, ok, err = e.Store.UseCheckpoint(e.ctx, seen, e.now())
	refuse("checkpoint before its time", ok, err)
	must(t, e.clean.Checkpoint(e.ctx, h, e.outcome(9).Usage, 9))
	_, ok, err = e.Store.UseCheckpoint(e.ctx, seen, later)
	refuse("an older checkpoint", ok, err)
	seen = find()
	must(t, e.clean.Used(e.ctx, h, e.outcome(11)))
	_, ok, err = e.Store.UseCheckpoint(e.ctx, seen, later)
	refuse("a checkpoint over usage", ok, err)
	ok, err = e.Store.Expire(e.ctx, seen, later)
	refuse("expiry over usage", ok, err)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("org", 989, 0)
}

// sweepRace: sweeps, settlements and late callers at once end each hold once.
func sweepRace(t *testing.T, e *env) {
	e.fund("org", 1000)
	holds := make([]credit.Hold, 12)
	for i := range holds {
		h, err := e.clean.Reserve(e.ctx, e.request("org", 10))
		must(t, err)
		holds[i] = h
		if i%3 == 0 {
			must(t, e.clean.Checkpoint(e.ctx, h, e.outcome(2).Usage, 2))
		}
	}
	e.pass(2 * time.Minute)
	var expired, late atomic.Int64
	parallel(3+len(holds), func(i int) {
		if i < 3 {
			rep, err := e.ledger.Sweep(e.ctx, e.now(), i*20, 0)
			if err != nil {
				t.Errorf("sweep: %v", err)
			}
			expired.Add(int64(rep.Expired))
			return
		}
		if e.ledger.Used(e.ctx, holds[i-3], e.outcome(5)) == nil {
			late.Add(1)
		}
	})
	parallel(2, func(int) {
		if _, err := e.ledger.Sweep(e.ctx, e.now().Add(2*time.Minute), 0, 0); err != nil {
			t.Errorf("sweep: %v", err)
		}
	})
	b, err := e.clean.Balance(e.ctx, "org")
	must(t, err)
	spent := 1000 - b.Posted
	n := int64(e.usageEntries("org"))
	// Every late report that was accepted is charged 5, every other checkpoint 2.
	if want := credit.Micro(5*late.Load() + 2*(n-late.Load())); b.Held != 0 || b.Available != b.Posted || spent != want {
		t.Fatalf("balance %+v, %d late, %d entries", b.Account, late.Load(), n)
	}
	if len(holds)-int(expired.Load()) < 0 {
		t.Fatalf("%d of %d holds expired", expired.Load(), len(holds))
	}
}

// settleBatches: duplicated, overlapping and shuffled batches, by two consumers.
func settleBatches(t *testing.T, e *env) {
	e.fund("a", 10_000)
	e.fund("b", 10_000)
	for i := range 24 {
		e.used([]string{"a", "b"}[i%2], 20, credit.Micro(i))
	}
	used := e.drain()
	if len(used) != 24 {
		t.Fatalf("%d on the stream", len(used))
	}
	parallel(2, func(n int) {
		dice := NewDice(uint64(n) + 3)
		mine := append(append([]credit.Used{}, used...), used[:9]...)
		dice.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for len(mine) > 0 {
			k := min(len(mine), 7)
			rep := e.ledger.Settle(e.ctx, mine[:k], e.now())
			poisoned := rep.Poisoned
			for try := 0; try < 20 && rep.Undecided > 0; try++ { // the stream delivers what was not decided again
				rep = e.ledger.Settle(e.ctx, mine[:k], e.now())
				poisoned += rep.Poisoned
			}
			if poisoned+rep.Undecided > 0 || len(rep.Verdicts) != k {
				t.Errorf("settle: %+v", rep)
			}
			mine = mine[k:]
		}
	})
	e.wantBalance("a", 10_000-132, 0) // 0+2+...+22
	e.wantBalance("b", 10_000-144, 0)
	if n := e.usageEntries("a") + e.usageEntries("b"); n != 24 {
		t.Fatalf("%d usage entries", n)
	}
	rep := e.ledger.Settle(e.ctx, append(used, used...), e.now())
	if rep.Done != 48 {
		t.Fatalf("again: %+v", rep)
	}
	// More than one transaction can hold.
	e.fund("big", 10_000)
	for range 60 {
		e.used("big", 10, 1)
	}
	if rep := e.ledger.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 60 {
		t.Fatalf("big: %+v", rep)
	}
	e.wantBalance("big", 9_940, 0)
}

// staleImage: the stored hold and amount win over those delivered.
func staleImage(t *testing.T, e *env) {
	e.fund("org", 1000)
	e.used("org", 10, 3)
	e.used("org", 10, 4)
	used := e.drain()
	used[0].Hold, used[0].Amount = 999, 1
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Settled != 2 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 993, 0)
	e.used("org", 10, 5)
	used = e.drain()
	used[0].Hold, used[0].Amount = 0, 0 // would go without the balance
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Settled != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 988, 0)
}

// poison: bad members never hold up their batch, are recorded, and rest.
func poison(t *testing.T, e *env) {
	e.fund("org", 1000)
	var holds []credit.Hold
	for range 8 {
		holds = append(holds, e.used("org", 10, 2))
	}
	running, err := e.clean.Reserve(e.ctx, e.request("org", 10))
	must(t, err)
	used := e.drain()
	forged, _ := used[2].Entry()
	forged.Amount = 0
	e.ForgeEntry(t, forged)
	e.SetHold(t, table.Request("org", holds[5].Request, 1), 5000)
	batch := append([]credit.Used{}, used...)
	batch[5].Hold = 5000
	missing := used[0]
	missing.Request = "never-existed"
	notUsed := used[0]
	notUsed.Request = running.Request
	batch = append(batch, missing, notUsed)
	rep := e.ledger.Settle(e.ctx, batch, e.now())
	if rep.Settled != 6 || rep.Poisoned != 4 {
		t.Fatalf("settle: %+v", rep)
	}
	want := map[int]string{2: "entry_exists", 5: "balance_refused", 8: "request_missing", 9: "not_used"}
	for i, v := range rep.Verdicts {
		if (v.Result == credit.Poisoned) != (want[i] != "") || v.Reason != want[i] {
			t.Fatalf("verdict %d: %+v", i, v)
		}
	}
	e.wantState(holds[2], credit.UsedState)
	e.wantBalance("org", 988, 30) // two poisoned, one running
	list, err := e.Clean.Poisoned(e.ctx)
	must(t, err)
	if len(list) != 4 {
		t.Fatalf("poison: %+v", list)
	}
	// The sweep leaves it alone for an hour, then tries again.
	if rep, err := e.ledger.SettleStale(e.ctx, e.now().Add(10*time.Minute), credit.StaleAfter); err != nil || rep.Poisoned != 0 || rep.Left != 4 {
		t.Fatalf("resting: %+v %v", rep, err)
	}
	e.SetHold(t, table.Request("org", holds[5].Request, 1), 10)
	e.pass(2 * time.Hour)
	rep2, err := e.ledger.SettleStale(e.ctx, e.now(), credit.StaleAfter)
	// The repaired one and the one that was running: its hold is overdue.
	if err != nil || rep2.Settled != 1 || rep2.Poisoned != 2 || rep2.Healed != 2 || rep2.Left != 2 || rep2.Expired != 1 {
		t.Fatalf("repaired: %+v %v", rep2, err)
	}
	e.wantBalance("org", 986, 10)
}
