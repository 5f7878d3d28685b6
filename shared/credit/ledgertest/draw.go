package ledgertest

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// offer opens an agency with credits and an offer of version 1.
func (e *env) offer(id string, funds, clientCap, totalCap credit.Micro) agency.Terms {
	e.t.Helper()
	e.fund(id, funds)
	o := agency.Offer{Agency: id, Version: 1, Active: true, Tier: taxonomy.Agency,
		Policy: agency.Policy{Mode: agency.Always, ClientPerDay: int64(clientCap), TotalPerDay: int64(totalCap)}}
	e.SetOffer(e.t, o)
	return agency.Client{Offer: o}.Terms(id, func(taxonomy.Tier) bool { return true })
}

func (e *env) draw(client string, terms agency.Terms, hold credit.Micro) credit.ReserveRequest {
	r := e.request(client, hold)
	r.Draw, r.Rule = credit.NewDraw(terms, e.now()), "P7a"
	return r
}

// wantDrawn compares the counters of a day.
func (e *env) wantDrawn(id string, at time.Time, total int64, clients map[string]int64) {
	e.t.Helper()
	var names []string
	for c := range clients {
		names = append(names, c)
	}
	sum, each, err := e.Drawn(e.t, id, agency.Day(at), names)
	must(e.t, err)
	if sum != total {
		e.t.Fatalf("%d drawn from %s, want %d", sum, id, total)
	}
	for c, n := range clients {
		if each[c] != n {
			e.t.Fatalf("%d drawn by %s, want %d", each[c], c, n)
		}
	}
}

func (e *env) wantReconciled(orgs ...string) {
	e.t.Helper()
	for _, org := range orgs {
		rep, err := e.clean.Reconcile(e.ctx, org, e.now())
		must(e.t, err)
		if !rep.OK {
			e.t.Fatalf("%s: %+v", org, rep)
		}
	}
}

// drawn: the agency's balance holds and pays, the client's is not touched; both
// have an entry and a usage row.
func drawn(t *testing.T, e *env) {
	terms := e.offer("agency", 1000, 100, 150)
	e.fund("client", 7)
	r := e.draw("client", terms, 60)
	h, err := e.ledger.Reserve(e.ctx, r)
	must(t, err)
	e.wantBalance("agency", 1000, 60)
	e.wantBalance("client", 7, 0)
	e.wantDrawn("agency", e.now(), 60, map[string]int64{"client": 60})
	if holds, err := e.clean.Holds(e.ctx, "agency"); err != nil || len(holds) != 1 || holds[0].Org != "client" || holds[0].Hold != 60 {
		t.Fatalf("agency's holds: %+v %v", holds, err)
	}
	if holds, err := e.clean.Holds(e.ctx, "client"); err != nil || len(holds) != 0 {
		t.Fatalf("client's holds: %+v %v", holds, err)
	}
	e.wantReconciled("agency", "client")
	// The same call again, by its owner, is the same hold.
	if again, err := e.ledger.Reserve(e.ctx, r); err != nil || again.Draw == nil || *again.Draw != *h.Draw || again.Shard != h.Shard {
		t.Fatalf("again: %+v %v", again, err)
	}
	must(t, e.ledger.Used(e.ctx, h, e.outcome(42)))
	used := e.drain()
	for range 2 { // delivered twice
		e.ledger.Settle(e.ctx, used, e.now())
	}
	e.wantBalance("agency", 958, 0)
	e.wantBalance("client", 7, 0)
	e.wantDrawn("agency", e.now(), 42, map[string]int64{"client": 42})
	v := e.wantState(h, credit.Settled)
	if v.Cost != 42 || v.Attempts[0].Agency != "agency" || v.Attempts[0].Rule != "P7a" {
		t.Fatalf("request: %+v", v)
	}
	var list []credit.Entry
	for _, want := range []credit.Entry{{Org: "agency", Client: "client", Amount: -42}, {Org: "client", Agency: "agency", Paid: 42}} {
		got := e.entries(want.Org)[0]
		if got.Kind != credit.UsageEntry || got.Request != h.Request || got.Client != want.Client || got.Agency != want.Agency || got.Amount != want.Amount ||
			got.Paid != want.Paid || got.Usage != used[0].Usage || (got.Agent == "") != (want.Client != "") || (got.Key == "") != (want.Client != "") {
			t.Fatalf("entry of %s: %+v", want.Org, got)
		}
		list = append(list, got)
	}
	for range 2 {
		e.ledger.Project(e.ctx, list, e.now())
	}
	e.wantDrawRows()
	e.wantReconciled("agency", "client")
}

func (e *env) wantDrawRows() {
	e.t.Helper()
	day := e.now().Format(time.DateOnly)
	for org, want := range map[string]credit.UsageRow{"agency": {Client: "client", Cost: 42}, "client": {Paid: 42}} {
		rows, err := e.clean.Usage(e.ctx, org, day, day, []string{"client"})
		must(e.t, err)
		if len(rows) != 1 || rows[0].Client != want.Client || rows[0].Cost != want.Cost || rows[0].Paid != want.Paid || rows[0].Requests != 1 {
			e.t.Fatalf("rows of %s: %+v", org, rows)
		}
	}
}

// drawCaps: of any number of parallel requests as many pass as both caps leave
// room for.
func drawCaps(t *testing.T, e *env) {
	terms := e.offer("agency", 10_000, 70, 100)
	clients := []string{"one", "two"}
	for _, c := range clients {
		e.fund(c, 0)
	}
	var passed [2]atomic.Int64
	parallel(20, func(i int) {
		switch _, err := e.reserve(e.draw(clients[i%2], terms, 10)); fault.CodeOf(err) {
		case "":
			passed[i%2].Add(1)
		case fault.InsufficientCredits:
			if !strings.Contains(err.Error(), "cap of the day") {
				t.Errorf("refused for another reason: %v", err)
			}
		default:
			t.Errorf("reserve: %v", err)
		}
	})
	one, two := passed[0].Load(), passed[1].Load()
	if one+two != 10 || one > 7 || two > 7 {
		t.Fatalf("%d and %d passed", one, two)
	}
	e.wantBalance("agency", 10_000, 100)
	e.wantDrawn("agency", e.now(), 100, map[string]int64{"one": 10 * one, "two": 10 * two})
	// The next day has caps of its own.
	e.pass(12 * time.Hour)
	_, err := e.ledger.Reserve(e.ctx, e.draw("one", terms, 70))
	must(t, err)
	_, err = e.ledger.Reserve(e.ctx, e.draw("one", terms, 1))
	wantCode(t, err, fault.InsufficientCredits)
	_, err = e.ledger.Reserve(e.ctx, e.draw("two", terms, 71)) // never, on any day
	wantCode(t, err, fault.InsufficientCredits)
	_, err = e.ledger.Reserve(e.ctx, e.draw("two", terms, 30))
	must(t, err)
}

// drawOffer: what was decided by an offer that does not apply leaves nothing.
func drawOffer(t *testing.T, e *env) {
	terms := e.offer("agency", 1000, 100, 100)
	e.fund("client", 0)
	refused := func(what string, terms agency.Terms, want agency.Offer) {
		t.Helper()
		r := e.draw("client", terms, 10)
		_, err := e.ledger.Reserve(e.ctx, r)
		var changed *agency.Changed
		if !errors.As(err, &changed) || changed.Now != want || fault.CodeOf(err) != fault.LedgerUnavailable {
			t.Fatalf("%s: %v %+v", what, err, changed)
		}
		_, err = e.clean.Request(e.ctx, "client", r.Request)
		wantCode(t, err, fault.NotFound)
	}
	newer := agency.Offer{Agency: "agency", Version: 2, Active: true, Tier: taxonomy.Agency, Policy: agency.Policy{Mode: agency.WhenEmpty, ClientPerDay: 5, TotalPerDay: 6}, Shards: 4}
	e.SetOffer(t, newer)
	refused("older", terms, newer)
	newer.Active = false
	e.SetOffer(t, newer)
	terms.Version = 2
	refused("suspended", terms, newer)
	terms.Agency = "nobody"
	refused("no offer", terms, agency.Offer{Agency: "nobody"})
	e.wantBalance("agency", 1000, 0)
	e.wantDrawn("agency", e.now(), 0, map[string]int64{"client": 0})
}

// drawShort: a client hears that its agency cannot pay, not what the agency has.
func drawShort(t *testing.T, e *env) {
	terms := e.offer("agency", 31337, 1<<40, 1<<40)
	e.fund("client", 1_000_000)
	_, err := e.ledger.Reserve(e.ctx, e.draw("client", terms, 31338))
	wantCode(t, err, fault.InsufficientCredits)
	if strings.Contains(err.Error(), "31337") {
		t.Fatalf("the agency's balance shows: %v", err)
	}
	terms.Agency, terms.Version = "unopened", 1
	e.SetOffer(t, agency.Offer{Agency: "unopened", Version: 1, Active: true})
	_, err = e.ledger.Reserve(e.ctx, e.draw("client", terms, 1))
	wantCode(t, err, fault.InsufficientCredits)
	e.wantBalance("client", 1_000_000, 0)
	r := e.draw("client", terms, 1)
	r.Draw.Agency = "client"
	_, err = e.ledger.Reserve(e.ctx, r)
	wantCode(t, err, fault.InvalidRequest)
}

// drawEnds: what a caller that died held is given back to balance and caps; usage
// that comes later is charged to both; a checkpoint is charged.
func drawEnds(t *testing.T, e *env) {
	terms := e.offer("agency", 1000, 100, 100)
	e.fund("client", 0)
	day := e.now()
	late, err := e.ledger.Reserve(e.ctx, e.draw("client", terms, 60))
	must(t, err)
	kept, err := e.ledger.Reserve(e.ctx, e.draw("client", terms, 40))
	must(t, err)
	must(t, e.ledger.Checkpoint(e.ctx, kept, e.outcome(11).Usage, 11))
	_, err = e.ledger.Reserve(e.ctx, e.draw("client", terms, 1))
	wantCode(t, err, fault.InsufficientCredits)
	e.pass(13 * time.Hour) // the end comes on another day
	rep, err := e.ledger.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	if rep.Expired != 1 || rep.Settled != 1 || !rep.Complete {
		t.Fatalf("sweep: %+v", rep)
	}
	e.wantBalance("agency", 989, 0)
	e.wantDrawn("agency", day, 11, map[string]int64{"client": 11})
	e.wantDrawn("agency", e.now(), 0, map[string]int64{"client": 0})
	must(t, e.ledger.Used(e.ctx, late, e.outcome(70)))
	if holds, err := e.clean.Holds(e.ctx, "agency"); err != nil || len(holds) != 1 {
		t.Fatalf("late usage is not seen by the sweep: %+v %v", holds, err)
	}
	rep, err = e.ledger.SettleStale(e.ctx, e.now().Add(2*time.Minute), credit.StaleAfter)
	must(t, err)
	if rep.Settled != 1 {
		t.Fatalf("late: %+v", rep)
	}
	e.wantState(late, credit.SettledLate)
	e.wantBalance("agency", 919, 0)
	e.wantDrawn("agency", day, 81, map[string]int64{"client": 81})
	e.wantBalance("client", 0, 0)
	e.wantReconciled("agency", "client")
	// A refused call costs nothing and gives its room back.
	h, err := e.ledger.Reserve(e.ctx, e.draw("client", terms, 100))
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, credit.Outcome{Kind: credit.Refused, At: e.now(), Usage: e.outcome(0).Usage}))
	e.ledger.Settle(e.ctx, e.drain(), e.now())
	e.wantState(h, credit.Released)
	e.wantDrawn("agency", e.now(), 0, map[string]int64{"client": 0})
	// One that costs more than it held is recorded, and fills the cap for the next.
	h, err = e.ledger.Reserve(e.ctx, e.draw("client", terms, 10))
	must(t, err)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(120)))
	e.ledger.Settle(e.ctx, e.drain(), e.now())
	e.wantDrawn("agency", e.now(), 120, map[string]int64{"client": 120})
	_, err = e.ledger.Reserve(e.ctx, e.draw("client", terms, 1))
	wantCode(t, err, fault.InsufficientCredits)
	e.wantReconciled("agency", "client")
}

// drawExtend: an extension counts, and is refused by the caps as by the balance.
func drawExtend(t *testing.T, e *env) {
	terms := e.offer("agency", 90, 100, 80)
	e.fund("client", 0)
	h, err := e.ledger.Reserve(e.ctx, e.draw("client", terms, 20))
	must(t, err)
	h, err = e.ledger.Extend(e.ctx, h, 50, e.now())
	must(t, err)
	e.wantBalance("agency", 90, 70)
	e.wantDrawn("agency", e.now(), 70, map[string]int64{"client": 70})
	_, err = e.ledger.Extend(e.ctx, h, 11, e.now())
	wantCode(t, err, fault.InsufficientCredits)
	e.wantBalance("agency", 90, 70)
	// A running call goes on by the caps it began with, unless its agency is suspended.
	o := agency.Offer{Agency: "agency", Version: 2, Active: true, Policy: agency.Policy{Mode: agency.Off}}
	e.SetOffer(t, o)
	h, err = e.ledger.Extend(e.ctx, h, 1, e.now())
	must(t, err)
	o.Version, o.Active = 3, false
	e.SetOffer(t, o)
	_, err = e.ledger.Extend(e.ctx, h, 1, e.now())
	wantCode(t, err, fault.InsufficientCredits)
	must(t, e.ledger.Used(e.ctx, h, e.outcome(65)))
	e.ledger.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("agency", 25, 0)
	e.wantDrawn("agency", e.now(), 65, map[string]int64{"client": 65})
}

// drawStorm: many calls of several clients over a bad network, settled in batches
// that are delivered in pieces and again, beside the agency's own: balances,
// counters and entries come out equal.
func drawStorm(t *testing.T, e *env) {
	terms := e.offer("agency", 100_000, 10_000, 10_000)
	clients := []string{"one", "two", "agency"}
	e.fund("one", 0)
	e.fund("two", 0)
	e.Faults.Random(31, 30, 60, 60, 20)
	var spent [3]atomic.Int64
	parallel(6, func(n int) {
		for i := range 15 {
			who := (n + i) % 3
			r := e.draw(clients[who], terms, 30)
			if who == 2 {
				r.Draw = nil
			}
			h, err := e.ledger.Reserve(e.ctx, r)
			if err != nil {
				continue // unknown or refused: the sweep ends it
			}
			if amount := credit.Micro(i * 4 % 31); e.ledger.Used(e.ctx, h, e.outcome(amount)) == nil {
				spent[who].Add(int64(amount))
			}
		}
	})
	used := e.drain()
	parallel(3, func(n int) {
		mine := append([]credit.Used{}, used...)
		NewDice(uint64(n)).Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		e.ledger.Settle(e.ctx, mine, e.now())
	})
	e.Faults.Script()
	e.pass(5 * time.Minute)
	_, err := e.clean.Sweep(e.ctx, e.now(), 0, 0)
	must(t, err)
	var cost [3]int64
	ids := map[string]bool{}
	for _, x := range e.entries("agency") {
		if x.Kind != credit.UsageEntry {
			continue
		}
		key := x.Client + "/" + x.Request + "/" + strconv.Itoa(x.Attempt)
		if ids[key] {
			t.Fatalf("two entries for %s", key)
		}
		ids[key] = true
		for i, c := range clients {
			if x.Client == c || x.Client == "" && i == 2 {
				cost[i] -= int64(x.Amount)
			}
		}
	}
	for i, c := range clients {
		if cost[i] < spent[i].Load() {
			t.Fatalf("%s was told of %d, entries have %d", c, spent[i].Load(), cost[i])
		}
		var paid int64
		for _, x := range e.entries(c) {
			paid += int64(x.Paid)
		}
		if i < 2 && paid != cost[i] {
			t.Fatalf("%s: %d paid for by its own entries, %d by the agency's", c, paid, cost[i])
		}
	}
	e.wantBalance("agency", 100_000-credit.Micro(cost[0]+cost[1]+cost[2]), 0)
	e.wantDrawn("agency", start, cost[0]+cost[1], map[string]int64{"one": cost[0], "two": cost[1]})
	e.wantReconciled("agency", "one", "two")
}
