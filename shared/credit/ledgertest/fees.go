package ledgertest

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// feeRequest is a reserve of a call on an own key that costs a fee.
func (e *env) feeRequest(org string, hold credit.Micro, free int64) credit.ReserveRequest {
	r := e.request(org, hold)
	r.Source, r.Rule, r.Fee = taxonomy.BYOK, billing.RuleBYOKRequired, billing.Fee{Flat: 5, Free: free, Held: hold > 0}
	return r
}

// ownUsed reserves and reports a call on an own key.
func (e *env) ownUsed(org string, hold, fee credit.Micro, free int64) credit.Hold {
	e.t.Helper()
	h, err := e.clean.Reserve(e.ctx, e.feeRequest(org, hold, free))
	must(e.t, err)
	must(e.t, e.clean.Used(e.ctx, h, e.outcome(fee)))
	return h
}

// fees adds up the fee entries of an organisation.
func (e *env) fees(org string) (n int, sum credit.Micro) {
	e.t.Helper()
	for _, x := range e.entries(org) {
		if x.Kind == credit.FeeEntry {
			n, sum = n+1, sum-x.Amount
		}
	}
	return n, sum
}

func (e *env) wantFree(org string, want int64) {
	e.t.Helper()
	got, err := e.clean.FreeUsed(e.ctx, org, e.now())
	must(e.t, err)
	if got != want {
		e.t.Fatalf("%d requests of the allowance of %s are counted, want %d", got, org, want)
	}
}

// ownKeyFee: a fee is held, charged in an entry of its own beside the usage, and
// never more than was stated before the call.
func ownKeyFee(t *testing.T, e *env) {
	e.fund("org", 100)
	h := e.ownUsed("org", 40, 25, 0)
	e.wantBalance("org", 100, 40)
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.wantBalance("org", 75, 0)
	if v := e.wantState(h, credit.Settled); v.Cost != 25 {
		t.Fatalf("the request cost %d", v.Cost)
	}
	kinds := map[credit.EntryKind]credit.Entry{}
	for _, x := range e.entries("org") {
		kinds[x.Kind] = x
	}
	usage, fee := kinds[credit.UsageEntry], kinds[credit.FeeEntry]
	if usage.Amount != 0 || usage.Usage.InputTokens != 10 || usage.Source != taxonomy.BYOK {
		t.Fatalf("usage entry: %+v", usage)
	}
	if fee.Amount != -25 || len(fee.Legs) != 2 || fee.Legs[0] != (credit.Leg{Account: credit.AccountOrg, Amount: -25}) ||
		fee.Legs[1] != (credit.Leg{Account: credit.AccountFee, Amount: 25}) || fee.Request != h.Request || fee.Source != taxonomy.BYOK || fee.ID == usage.ID {
		t.Fatalf("fee entry: %+v", fee)
	}
	list := e.entries("org")
	if rep := e.clean.Project(e.ctx, list, e.now()); rep.Projected != 2 {
		t.Fatalf("project: %+v", rep)
	}
	e.clean.Project(e.ctx, list, e.now())
	rows, err := e.clean.Usage(e.ctx, "org", "2026-03-01", "2026-03-31", nil)
	must(t, err)
	if len(rows) != 1 || rows[0].Requests != 1 || rows[0].Cost != 25 || rows[0].Usage.InputTokens != 10 {
		t.Fatalf("usage rows: %+v", rows)
	}

	// Without enough credit nobody is called; without a fee nothing can be charged.
	_, err = e.ledger.Reserve(e.ctx, e.feeRequest("org", 76, 0))
	wantCode(t, err, fault.InsufficientCredits)
	plain := e.feeRequest("org", 0, 0)
	plain.Fee = billing.Fee{}
	h, err = e.ledger.Reserve(e.ctx, plain)
	must(t, err)
	wantCode(t, e.ledger.Used(e.ctx, h, e.outcome(1)), fault.InvalidRequest)
	wantCode(t, e.ledger.Checkpoint(e.ctx, h, e.outcome(1).Usage, 1), fault.InvalidRequest)
	plain = e.feeRequest("org", 1, 0)
	plain.Fee = billing.Fee{}
	_, err = e.ledger.Reserve(e.ctx, plain)
	wantCode(t, err, fault.InvalidRequest)
	platform := e.request("org", 1)
	platform.Fee.Flat = 1
	_, err = e.ledger.Reserve(e.ctx, platform)
	wantCode(t, err, fault.InvalidRequest)

	// A ledger that is told a fee where none was agreed to does not take it.
	forged := h
	forged.Unmetered = false
	must(t, e.ledger.Used(e.ctx, forged, e.outcome(7)))
	_, err = e.clean.Sweep(e.ctx, e.now().Add(2*time.Minute), 0, 0)
	must(t, err)
	e.wantBalance("org", 75, 0)
	e.wantState(h, credit.UsedState)
}

// freeAllowance: of many parallel calls exactly those beyond the allowance are
// charged, over shards, batches of any cut, repeated by two consumers; refused calls
// do not count.
func freeAllowance(t *testing.T, e *env) {
	const calls, free, fee = 45, 20, 5
	e.fund("org", 1000)
	e.split("org", 4)
	parallel(8, func(w int) {
		for i := w; i < calls; i += 8 {
			r := e.feeRequest("org", []credit.Micro{0, fee}[i%2], free)
			r.Shards = 4
			h, err := e.clean.Reserve(e.ctx, r)
			if err != nil {
				t.Error(err)
				return
			}
			o := e.outcome(fee)
			if i%9 == 8 {
				o.Amount, o.Kind = 0, credit.Refused
			}
			if err := e.clean.Used(e.ctx, h, o); err != nil {
				t.Error(err)
			}
		}
	})
	used := e.drain()
	if len(used) != calls {
		t.Fatalf("%d on the stream", len(used))
	}
	parallel(2, func(n int) {
		dice := NewDice(uint64(n) + 5)
		mine := append(append([]credit.Used{}, used...), used[:9]...)
		dice.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for len(mine) > 0 {
			k := min(len(mine), 1+dice.Below(9))
			for rep := e.ledger.Settle(e.ctx, mine[:k], e.now()); rep.Undecided > 0; {
				rep = e.ledger.Settle(e.ctx, mine[:k], e.now())
			}
			mine = mine[k:]
		}
	})
	served := calls - calls/9
	n, sum := e.fees("org")
	if n != served-free || sum != credit.Micro(served-free)*fee {
		t.Fatalf("%d fees of %d together, want %d", n, sum, served-free)
	}
	e.wantFree("org", free)
	e.wantBalance("org", 1000-sum, 0)
	e.wantShards("org")
	waived := 0
	for _, u := range used {
		v, err := e.clean.Request(e.ctx, "org", u.Request)
		must(t, err)
		if v.Attempts[0].Waived {
			waived++
			if v.Cost != 0 {
				t.Fatalf("a waived request cost %d", v.Cost)
			}
		}
	}
	if waived != free {
		t.Fatalf("%d waived, want %d", waived, free)
	}
	if rep := e.clean.Settle(e.ctx, used, e.now()); rep.Poisoned+rep.Undecided > 0 {
		t.Fatalf("again: %+v", rep)
	}
	e.wantFree("org", free)
	e.wantBalance("org", 1000-sum, 0)
}

// feeBatches: more attempts with fees than one transaction can hold.
func feeBatches(t *testing.T, e *env) {
	// All charged: three items each.
	e.fund("big", 10_000)
	for range 70 {
		e.ownUsed("big", 10, 3, 0)
	}
	if rep := e.ledger.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 70 {
		t.Fatalf("big: %+v", rep)
	}
	e.wantBalance("big", 10_000-210, 0)
	// The largest batch that counts: all free, and none beyond.
	for range 70 {
		e.ownUsed("big", 0, 3, 60)
	}
	if rep := e.ledger.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 70 {
		t.Fatalf("free: %+v", rep)
	}
	e.wantBalance("big", 10_000-210-30, 0)
	e.wantFree("big", 60)
}

// allowanceOfMonth: a call belongs to the month in which it was admitted, and each
// to the allowance that was agreed to then.
func allowanceOfMonth(t *testing.T, e *env) {
	e.fund("org", 1000)
	march := e.now()
	e.ownUsed("org", 0, 5, 2)
	late, err := e.clean.Reserve(e.ctx, e.feeRequest("org", 0, 2))
	must(t, err)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantFree("org", 1)
	e.pass(20 * 24 * time.Hour) // April
	e.wantFree("org", 0)
	e.ownUsed("org", 0, 5, 1)
	must(t, e.clean.Used(e.ctx, late, e.outcome(5)))
	e.ownUsed("org", 5, 5, 1)
	e.ownUsed("org", 5, 7, 2) // a larger allowance since
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 4 {
		t.Fatalf("settle: %+v", rep)
	}
	if n, err := e.clean.FreeUsed(e.ctx, "org", march); err != nil || n != 2 {
		t.Fatalf("March: %d %v", n, err)
	}
	e.wantFree("org", 2)
	e.wantBalance("org", 995, 0)
}

// lateFee: a fee is charged late, too, and by the sweep at a checkpoint.
func lateFee(t *testing.T, e *env) {
	e.fund("org", 100)
	h, err := e.clean.Reserve(e.ctx, e.feeRequest("org", 30, 0))
	must(t, err)
	e.pass(2 * time.Minute)
	_, err = e.clean.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	e.wantBalance("org", 100, 0)
	must(t, e.clean.Used(e.ctx, h, e.outcome(20)))
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantState(h, credit.SettledLate)
	e.wantBalance("org", 80, 0)
	died, err := e.clean.Reserve(e.ctx, e.feeRequest("org", 30, 1))
	must(t, err)
	must(t, e.clean.Checkpoint(e.ctx, died, e.outcome(9).Usage, 9))
	second, err := e.clean.Reserve(e.ctx, e.feeRequest("org", 30, 1))
	must(t, err)
	must(t, e.clean.Checkpoint(e.ctx, second, e.outcome(9).Usage, 9))
	e.pass(2 * time.Minute)
	_, err = e.clean.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	e.wantBalance("org", 71, 0)
	e.wantFree("org", 1)
}
