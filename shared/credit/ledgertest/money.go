package ledgertest

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func grants(t *testing.T, e *env) {
	must(t, e.ledger.OpenAccount(e.ctx, "org", e.now()))
	must(t, e.ledger.OpenAccount(e.ctx, "org", e.now().Add(time.Hour)))
	g := credit.GrantRequest{Org: "org", Kind: taxonomy.Purchased, Amount: 500, IdempotencyKey: "k1", Now: e.now()}
	e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: AnswerLost, Count: 1}, Rule{Op: "TransactWriteItems", Kind: Conflict, Count: 1})
	first, err := e.ledger.Grant(e.ctx, g)
	must(t, err)
	parallel(6, func(int) {
		later := g
		later.Now = e.now().Add(time.Hour)
		if again, err := e.ledger.Grant(e.ctx, later); err != nil || again != first {
			t.Errorf("again: %+v %v", again, err)
		}
	})
	e.wantBalance("org", 500, 0)
	other := g
	other.Amount = 501
	_, err = e.ledger.Grant(e.ctx, other)
	wantCode(t, err, fault.IdempotencyConflict)
	for _, bad := range []func(*credit.GrantRequest){
		func(g *credit.GrantRequest) { g.Amount = 0 },
		func(g *credit.GrantRequest) { g.Amount = -1 },
		func(g *credit.GrantRequest) { g.Amount = billing.MaxAmount + 1 },
		func(g *credit.GrantRequest) { g.Kind = "other" },
		func(g *credit.GrantRequest) { g.IdempotencyKey = "" },
		func(g *credit.GrantRequest) { g.ExpiresAt = e.now() },
		func(g *credit.GrantRequest) { g.ExpiresAt = e.now().AddDate(11, 0, 0) },
		func(g *credit.GrantRequest) { g.Rollover = credit.Rollover{Max: 5} }, // purchased
		func(g *credit.GrantRequest) { g.Kind, g.Rollover = taxonomy.Daily, credit.Rollover{Min: 5, Max: 4} },
	} {
		b := g
		b.IdempotencyKey = "bad"
		bad(&b)
		_, err := e.ledger.Grant(e.ctx, b)
		wantCode(t, err, fault.InvalidRequest)
	}
	// Spending goes by kind, then age: gifted before purchased.
	_, err = e.ledger.Grant(e.ctx, credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 30, IdempotencyKey: "k2", Now: e.now().Add(time.Minute)})
	must(t, err)
	e.used("org", 100, 50)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	b, err := e.clean.Balance(e.ctx, "org")
	must(t, err)
	if len(b.Grants) != 2 || b.Grants[0].Kind != taxonomy.Gifted || b.Grants[0].Remaining != 0 || b.Grants[1].Remaining != 480 || b.ByKind[taxonomy.Purchased] != 480 {
		t.Fatalf("grants: %+v %v", b.Grants, b.ByKind)
	}
	// A grant opens a missing account.
	_, err = e.ledger.Grant(e.ctx, credit.GrantRequest{Org: "new", Kind: taxonomy.Daily, Amount: 1, IdempotencyKey: "k", Now: e.now()})
	must(t, err)
	e.wantBalance("new", 1, 0)
}

func adjustments(t *testing.T, e *env) {
	e.fund("org", 100)
	a := credit.GrantRequest{Org: "org", Kind: taxonomy.Purchased, Amount: -130, IdempotencyKey: "claw", Now: e.now()}
	for range 2 {
		_, err := e.ledger.Adjust(e.ctx, a)
		must(t, err)
		a.Now = a.Now.Add(time.Minute)
	}
	e.wantBalance("org", -30, 0)
	_, err := e.ledger.Reserve(e.ctx, e.request("org", 1))
	wantCode(t, err, fault.InsufficientCredits)
	a = credit.GrantRequest{Org: "org", Kind: taxonomy.Gifted, Amount: 50, IdempotencyKey: "sorry", Now: e.now()}
	_, err = e.ledger.Adjust(e.ctx, a)
	must(t, err)
	e.wantBalance("org", 20, 0)
	a.Amount, a.IdempotencyKey = 0, "zero"
	_, err = e.ledger.Adjust(e.ctx, a)
	wantCode(t, err, fault.InvalidRequest)
	for _, x := range e.entries("org") {
		if x.Request != "" && x.Kind == credit.AdjustmentEntry && x.Attempt != 0 {
			t.Fatalf("entry: %+v", x)
		}
	}
}

// entries pages through months, newest first, without loss.
func entries(t *testing.T, e *env) {
	e.fund("org", 1_000_000)
	for range 3 {
		for range 6 {
			e.used("org", 10, 1)
			e.pass(time.Second)
		}
		e.clean.Settle(e.ctx, e.drain(), e.now())
		e.pass(40 * 24 * time.Hour)
	}
	seen := map[string]bool{}
	list := e.entries("org")
	for i, x := range list {
		if seen[x.ID] || i > 0 && x.SortKey() >= list[i-1].SortKey() {
			t.Fatalf("entry %d out of order or repeated", i)
		}
		seen[x.ID] = true
	}
	if len(list) != 19 {
		t.Fatalf("%d entries", len(list))
	}
	for _, cursor := range []string{"x", "!!", "RSN4", "RSMxMjMjYSMxI3VzYWdl"} {
		_, _, err := e.clean.Entries(e.ctx, "org", cursor, 5, e.now())
		wantCode(t, err, fault.InvalidRequest)
	}
	if none, next, err := e.clean.Entries(e.ctx, "nobody", "", 5, e.now()); err != nil || next != "" || len(none) != 0 {
		t.Fatalf("nobody: %v %q %v", none, next, err)
	}
}

// projection: repeated, overlapping and concurrent projections equal a replay.
func projection(t *testing.T, e *env) {
	e.fund("org", 10_000)
	for i := range 14 {
		r := e.request("org", 20)
		r.Model = []string{"vendor/a", "vendor/b#c"}[i%2]
		h, err := e.clean.Reserve(e.ctx, r)
		must(t, err)
		must(t, e.clean.Used(e.ctx, h, e.outcome(credit.Micro(i+1))))
	}
	e.clean.Settle(e.ctx, e.drain(), e.now())
	list := e.entries("org")
	e.Faults.Random(11, 30, 80, 80, 20)
	parallel(3, func(n int) {
		dice := NewDice(uint64(n))
		mine := append([]credit.Entry{}, list...)
		dice.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		for i := 0; i < len(mine); i += 3 {
			e.ledger.Project(e.ctx, mine[i:min(i+5, len(mine))], e.now())
		}
	})
	e.Faults.Script()
	if rep := e.ledger.Project(e.ctx, append(list, list...), e.now()); rep.Undecided+rep.Poisoned > 0 {
		t.Fatalf("project: %+v", rep)
	}
	e.wantUsage("org", list)
	day := e.now().Format(time.DateOnly)
	all, err := e.clean.Usage(e.ctx, "org", day, day, nil)
	must(t, err)
	if len(all) != 1 || all[0].Requests != 14 || all[0].Cost != 105 || all[0].Usage.InputTokens != 140 {
		t.Fatalf("sum: %+v", all)
	}
	for _, bad := range [][3]string{{"x", day, ""}, {day, "2026-01-01", ""}, {day, day, "org"}} {
		by := []string{bad[2]}
		if bad[2] == "" {
			by = nil
		}
		_, err := e.clean.Usage(e.ctx, "org", bad[0], bad[1], by)
		wantCode(t, err, fault.InvalidRequest)
	}
}

// wantUsage compares the usage rows with a replay of the entries.
func (e *env) wantUsage(org string, list []credit.Entry) {
	e.t.Helper()
	want := map[string]credit.UsageRow{}
	for _, x := range list {
		if !x.Kind.OfRequest() {
			continue
		}
		row := credit.RowOf(x)
		if have, ok := want[row.Key().SK]; ok {
			have.Add(row)
			row = have
		}
		want[row.Key().SK] = row
	}
	got, err := e.clean.Usage(e.ctx, org, "2026-01-01", "2026-12-31", []string{"day", "provider", "model", "agent", "source"})
	must(e.t, err)
	if len(got) != len(want) {
		e.t.Fatalf("%d usage rows, want %d", len(got), len(want))
	}
	for _, row := range got {
		w := want[row.Key().SK]
		w.Usage.Source = row.Usage.Source // rows do not keep it
		if row != w {
			e.t.Fatalf("usage row %+v, want %+v", row, w)
		}
	}
}

func reconcile(t *testing.T, e *env) {
	e.fund("org", 1000)
	e.used("org", 10, 3)
	open := e.used("org", 10, 4)
	e.clean.Settle(e.ctx, e.drain()[:1], e.now())
	rep, err := e.clean.Reconcile(e.ctx, "org", e.now())
	must(t, err)
	if !rep.OK || rep.Checked != 3 {
		t.Fatalf("report: %+v", rep)
	}
	forged := credit.Entry{ID: "forged", Org: "org", Kind: credit.UsageEntry, At: e.now(), Amount: -7, Request: "forged", Attempt: 1,
		Legs: []credit.Leg{{Account: credit.AccountOrg, Amount: -7}, {Account: credit.AccountRevenue, Amount: 6}}}
	e.ForgeEntry(t, forged)
	e.SetHold(t, tableRequest(open), 11)
	rep, err = e.clean.Reconcile(e.ctx, "org", e.now())
	must(t, err)
	want := []credit.Mismatch{{Org: "org", What: "posted", Want: 990, Got: 997}, {Org: "org", What: "held", Want: 11, Got: 10},
		{Org: "org", What: "legs", Want: 0, Got: 1}}
	if rep.OK || len(rep.Mismatches) != 3 || rep.Mismatches[0] != want[0] || rep.Mismatches[1] != want[1] || rep.Mismatches[2] != want[2] {
		t.Fatalf("report: %+v", rep)
	}
	if rep, err := e.clean.Reconcile(e.ctx, "nobody", e.now()); err != nil || !rep.OK {
		t.Fatalf("nobody: %+v %v", rep, err)
	}
}
