package ledgertest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// april is the end of the month in which a run begins.
var april = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

// at moves the clock of the run.
func (e *env) at(t time.Time) { e.millis.Store(t.Sub(start).Milliseconds()) }

// closes runs the closing and checks what it says.
func (e *env) closes(closed, waiting int) {
	e.t.Helper()
	r, err := e.clean.CloseMonths(e.ctx, e.now())
	must(e.t, err)
	if r.Closed != closed || r.Waiting != waiting || r.Failed != 0 || len(r.Mismatches) != 0 {
		e.t.Fatalf("at %v closed %+v, want %d, waiting %d", e.now(), r, closed, waiting)
	}
}

func (e *env) opening(org string, month time.Time) credit.Opening {
	e.t.Helper()
	list, err := e.Clean.Openings(e.ctx, org, 0)
	must(e.t, err)
	for _, o := range list {
		if o.Month.Equal(month) && o.Place == "" {
			return o
		}
	}
	return credit.Opening{}
}

// agrees compares the balance with the entries both ways.
func (e *env) agrees(org string) (shallow, deep int) {
	e.t.Helper()
	a, err := e.clean.Reconcile(e.ctx, org, e.now())
	must(e.t, err)
	b, err := e.clean.ReconcileDeep(e.ctx, org, e.now())
	must(e.t, err)
	if !a.OK || !b.OK {
		e.t.Fatalf("%s: %+v, deeply %+v", org, a, b)
	}
	return a.Checked, b.Checked
}

// closing: a month is closed once its attempts have ended; what comes for it later
// belongs to the month it is written in; reconciling begins at the opening.
func closing(t *testing.T, e *env) {
	e.fund("org", 1000)
	e.used("org", 10, 3)
	running, err := e.clean.Reserve(e.ctx, e.request("org", 50))
	must(t, err)
	r := e.request("org", 0)
	r.Source = taxonomy.BYOK
	own, err := e.clean.Reserve(e.ctx, r)
	must(t, err)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.at(april.Add(time.Hour - time.Second))
	e.closes(0, 0)
	e.at(april.Add(time.Hour))
	e.closes(0, 1) // two attempts are open
	e.closes(0, 0) // and it is not looked at every minute
	for _, h := range []credit.Hold{running, own} {
		o := e.outcome(7)
		if h.Amount == 0 {
			o.Amount = 0
		}
		o.At = april.Add(-time.Minute) // by a clock that lags
		must(t, e.clean.Used(e.ctx, h, o))
	}
	e.pass(closeLook)
	e.closes(0, 1) // USED is open, too
	// The day is over: it is closed all the same, and what is left moves.
	e.at(april.Add(25*time.Hour + time.Minute))
	e.closes(0, 1)
	// Also if the sweep died before it put the rest off.
	must(t, e.Clean.CloseNext(e.ctx, "org", e.now()))
	e.closes(0, 1)
	if o := e.opening("org", april); !o.Month.IsZero() {
		t.Fatalf("added up at once: %+v", o)
	}
	used := e.drain()
	if rep := e.ledger.Settle(e.ctx, used, e.now()); rep.Settled != 2 {
		t.Fatalf("settle: %+v", rep)
	}
	for _, x := range e.entries("org")[:2] {
		if !x.At.Equal(e.now()) || !x.UsedAt.Equal(april.Add(-time.Minute)) {
			t.Fatalf("late entry at %v, used at %v", x.At, x.UsedAt)
		}
	}
	if rep := e.ledger.Settle(e.ctx, used, e.now().Add(time.Second)); rep.Settled+rep.Done != 2 {
		t.Fatalf("again: %+v", rep)
	}
	e.pass(closeRest)
	e.closes(1, 0)
	if o := e.opening("org", april); o.Sum != 997 || o.Entries != 2 {
		t.Fatalf("opening: %+v", o)
	}
	e.wantBalance("org", 990, 0)
	if shallow, deep := e.agrees("org"); shallow != 2 || deep != 4 {
		t.Fatalf("checked %d, deeply %d", shallow, deep)
	}
	e.closes(0, 0)
	e.intoClosed("org")
}

// intoClosed tries to get something into a month that is closed.
func (e *env) intoClosed(org string) {
	t := e.t
	t.Helper()
	a, err := e.Clean.Account(e.ctx, org)
	must(t, err)
	must(t, e.Clean.Split(e.ctx, a, 3, credit.Load{At: e.now(), InUse: 3}))
	if a, err = e.Clean.Account(e.ctx, org); err != nil || !a.Shards[2].Closed.Equal(april) {
		t.Fatalf("a shard that was added takes entries from %+v on: %v", a.Shards, err)
	}
	// A grant by a clock that lags.
	p, err := e.clean.Grant(e.ctx, credit.GrantRequest{Org: org, Kind: taxonomy.Gifted, Amount: 5, IdempotencyKey: "late", Now: april.Add(-time.Second)})
	must(t, err)
	if !p.At.Equal(april) {
		t.Fatalf("granted at %v", p.At)
	}
	e.agrees(org)
	// What gets into a closed month behind the ledger's back is found by going deep.
	e.ForgeEntry(t, credit.Entry{ID: "forged", Org: org, Kind: credit.UsageEntry, At: april.Add(-time.Hour), Amount: -7, Request: "forged", Attempt: 1,
		Legs: []credit.Leg{{Account: credit.AccountOrg, Amount: -7}, {Account: credit.AccountRevenue, Amount: 7}}})
	if rep, err := e.clean.Reconcile(e.ctx, org, e.now()); err != nil || !rep.OK {
		t.Fatalf("%+v %v", rep, err)
	}
	rep, err := e.clean.ReconcileDeep(e.ctx, org, e.now())
	must(t, err)
	want := []credit.Mismatch{{Org: org, What: "opening 2026-04", Want: 990, Got: 997}, {Org: org, What: "posted", Want: 988, Got: 995}}
	if len(rep.Mismatches) != 2 || rep.Mismatches[0] != want[0] || rep.Mismatches[1] != want[1] {
		t.Fatalf("%+v", rep)
	}
}

const (
	closeLook = 10 * time.Minute
	closeRest = 5 * time.Minute
)

// closingRace: sweeps close months while callers, settlement, grants and new
// shards go on around the boundary; nothing gets into a closed month.
func closingRace(t *testing.T, e *env) {
	e.fund("org", 100_000)
	a, err := e.Clean.Account(e.ctx, "org")
	must(t, err)
	_, err = e.Clean.Measure(e.ctx, a, credit.Load{At: e.now(), InUse: 1})
	must(t, err)
	e.at(april.Add(-2 * time.Minute))
	var late atomic.Int64
	e.Faults.Random(7, 20, 20, 30, 0)
	// Each round is ten minutes; the first ones lie before the end of the month.
	for round := range 12 {
		parallel(6, func(i int) {
			switch i {
			case 0, 1:
				if _, err := e.ledger.CloseMonths(e.ctx, e.now()); err != nil && fault.CodeOf(err) != fault.LedgerUnavailable {
					t.Errorf("close: %v", err)
				}
			case 2:
				if round == 7 {
					if a, err := e.ledger.Balance(e.ctx, "org"); err == nil {
						_ = e.Clean.Split(e.ctx, a.Account, 4, credit.Load{At: e.now(), InUse: 4})
					}
				}
				_, _ = e.ledger.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 10, IdempotencyKey: "g" + strconv.Itoa(round),
					Now: e.now().Add(-2 * time.Minute)})
			default:
				for range 4 {
					e.lags(round > 7, i == 5, late.Add(1)%3 == 0)
				}
				e.ledger.Settle(e.ctx, e.drain(), e.now().Add(time.Duration(i-4)*2*time.Minute))
			}
		})
		e.pass(10 * time.Minute)
	}
	e.Faults.Script()
	e.at(april.Add(26 * time.Hour))
	for range 4 {
		_, err := e.clean.Sweep(e.ctx, e.now(), 0, 0)
		must(t, err)
		_, err = e.clean.CloseMonths(e.ctx, e.now())
		must(t, err)
		e.pass(closeLook)
	}
	o := e.opening("org", april)
	if o.Month.IsZero() {
		t.Fatal("the month was never closed")
	}
	n, moved := 0, 0
	var sum credit.Micro
	for _, x := range e.entries("org") {
		if x.At.Before(april) {
			n, sum = n+1, sum+x.Amount
		}
		if !x.UsedAt.IsZero() {
			moved++
		}
	}
	if o.Entries != n || o.Sum != sum || moved == 0 {
		t.Fatalf("opening %+v, %d entries before it with a sum of %d, %d moved", o, n, sum, moved)
	}
	e.agrees("org")
}

// lags is a call on four shards or one, on an own key or not, that may report by a
// clock that lags by hours.
func (e *env) lags(sharded, own, lag bool) {
	r, o := e.request("org", 20), e.outcome(3)
	if r.Shards = 1; sharded {
		r.Shards = 4
	}
	if own {
		r.Source, r.Hold, o.Amount = taxonomy.BYOK, 0, 0
	}
	h, err := e.ledger.Reserve(e.ctx, r)
	if err != nil {
		return
	}
	if lag {
		h.Created, o.At = april.Add(-3*time.Minute), april.Add(-time.Minute)
	}
	_ = e.ledger.Used(e.ctx, h, o)
}

// dying is a store that fails for good after some writes of a closing, the last of
// which may have been made.
type dying struct {
	credit.Store
	left  int
	after bool
}

func (d *dying) dies(write func() error) error {
	if d.left--; d.left >= 0 {
		return write()
	}
	if d.after && d.left == -1 {
		_ = write()
	}
	return fault.New(fault.LedgerUnavailable, "ledgertest", "killed")
}

func (d *dying) CloseNext(ctx context.Context, org string, at time.Time) error {
	return d.dies(func() error { return d.Store.CloseNext(ctx, org, at) })
}

func (d *dying) Fence(ctx context.Context, a credit.Account, month, now time.Time) error {
	return d.dies(func() error { return d.Store.Fence(ctx, a, month, now) })
}

func (d *dying) SetOpening(ctx context.Context, o credit.Opening) error {
	return d.dies(func() error { return d.Store.SetOpening(ctx, o) })
}

// closingKilled: a closing that dies at any of its writes is brought to its end by
// the next one, with the same opening.
func closingKilled(t *testing.T, e *env) {
	for i := range 3 {
		org := "org" + strconv.Itoa(i)
		e.fund(org, 1000)
		e.used(org, 10, credit.Micro(i))
	}
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.at(time.Date(2026, 7, 2, 3, 0, 0, 0, time.UTC)) // three months are over
	for n := range 40 {
		_, _ = credit.New(&dying{Store: e.Clean, left: n % 7, after: n%2 == 0}, credit.Options{}).CloseMonths(e.ctx, e.now())
		e.pass(time.Minute)
	}
	for range 3 {
		_, err := e.clean.CloseMonths(e.ctx, e.now())
		must(t, err)
		e.pass(closeLook)
	}
	for i := range 3 {
		org := "org" + strconv.Itoa(i)
		list, err := e.Clean.Openings(e.ctx, org, 0)
		must(t, err)
		if len(list) != 4 { // April to July
			t.Fatalf("%s: %+v", org, list)
		}
		for _, o := range list {
			if o.Sum != credit.Micro(1000-i) || o.Place != "" {
				t.Fatalf("%s: %+v", org, o)
			}
		}
		if shallow, deep := e.agrees(org); shallow != 0 || deep != 2 {
			t.Fatalf("checked %d, deeply %d", shallow, deep)
		}
	}
	// One that says something else does not replace an opening, nor does a draft.
	o := e.opening("org1", april)
	wrong := o
	wrong.Sum++
	wantCode(t, e.Clean.SetOpening(e.ctx, wrong), fault.Internal)
	wrong.Place = "3|E#x"
	must(t, e.Clean.SetOpening(e.ctx, wrong))
	if now := e.opening("org1", april); now.Sum != o.Sum {
		t.Fatalf("replaced: %+v", now)
	}
}

// closingPoison: an attempt that cannot be settled delays the closing by a day at
// most; repaired, it is charged in the month of its repair.
func closingPoison(t *testing.T, e *env) {
	e.fund("org", 1000)
	e.at(april.Add(-time.Hour))
	h := e.used("org", 10, 4)
	e.SetHold(t, table.Request("org", h.Request, 1), 5000)
	if rep := e.clean.Settle(e.ctx, e.drain(), e.now()); rep.Poisoned != 1 {
		t.Fatalf("settle: %+v", rep)
	}
	e.at(april.Add(2 * time.Hour))
	e.closes(0, 1)
	e.at(april.Add(25 * time.Hour))
	e.closes(0, 1)
	e.pass(closeRest)
	// The damaged request does not keep the month open, and the balance that is
	// added up at its closing says so.
	closed, err := e.clean.CloseMonths(e.ctx, e.now())
	must(t, err)
	if closed.Closed != 1 || closed.Waiting != 0 || len(closed.Mismatches) != 1 || closed.Mismatches[0] != (credit.Mismatch{Org: "org", What: "held", Want: 5000, Got: 10}) {
		t.Fatalf("closed %+v", closed)
	}
	e.SetHold(t, table.Request("org", h.Request, 1), 10)
	rep, err := e.clean.SettleStale(e.ctx, e.now(), credit.StaleAfter)
	must(t, err)
	if rep.Settled != 1 {
		t.Fatalf("repaired: %+v", rep)
	}
	if x := e.entries("org")[0]; !x.At.Equal(e.now()) || !x.UsedAt.Equal(april.Add(-time.Hour)) {
		t.Fatalf("entry: %+v", x)
	}
	e.wantBalance("org", 996, 0)
	if shallow, deep := e.agrees("org"); shallow != 1 || deep != 2 {
		t.Fatalf("checked %d, deeply %d", shallow, deep)
	}
}

// closingDrawn: where an agency pays for a client, either's closed month moves both
// entries.
func closingDrawn(t *testing.T, e *env) {
	terms := e.offer("agency", 1000, 100, 150)
	e.fund("client", 7)
	e.at(april.Add(-time.Hour))
	var holds []credit.Hold
	for range 2 {
		h, err := e.clean.Reserve(e.ctx, e.draw("client", terms, 20))
		must(t, err)
		holds = append(holds, h)
	}
	settles := func(h credit.Hold) {
		t.Helper()
		o := e.outcome(6)
		o.At = april.Add(-time.Minute)
		must(t, e.clean.Used(e.ctx, h, o))
		if rep := e.ledger.Settle(e.ctx, e.drain(), e.now()); rep.Settled != 1 {
			t.Fatalf("settle: %+v", rep)
		}
		for org, amount := range map[string]credit.Micro{"agency": -6, "client": 0} {
			if x := e.entries(org)[0]; x.Amount != amount || !x.At.Equal(e.now()) || !x.UsedAt.Equal(april.Add(-time.Minute)) {
				t.Fatalf("%s: %+v", org, x)
			}
		}
	}
	// The client's month alone is shut.
	e.at(april.Add(2 * time.Hour))
	a, err := e.Clean.Account(e.ctx, "client")
	must(t, err)
	must(t, e.Clean.Fence(e.ctx, a, april, e.now()))
	settles(holds[0])
	// Both are.
	e.at(april.Add(26 * time.Hour))
	_, err = e.clean.CloseMonths(e.ctx, e.now())
	must(t, err)
	settles(holds[1])
	e.pass(closeRest)
	_, err = e.clean.CloseMonths(e.ctx, e.now())
	must(t, err)
	for org, sum := range map[string]credit.Micro{"agency": 1000, "client": 7} {
		if o := e.opening(org, april); o.Sum != sum || o.Entries != 1 {
			t.Fatalf("%s: %+v", org, o)
		}
		if shallow, deep := e.agrees(org); shallow != 2 || deep != 3 {
			t.Fatalf("%s: checked %d, deeply %d", org, shallow, deep)
		}
	}
	e.wantBalance("agency", 988, 0)
}
