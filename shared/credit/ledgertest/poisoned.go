package ledgertest

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// sweeps runs a sweep and checks what it says about poison.
func (e *env) sweeps(found, healed, left int) credit.SweepReport {
	e.t.Helper()
	r, err := e.ledger.Sweep(e.ctx, e.now(), 0, 0)
	must(e.t, err)
	if len(r.Found) != found || r.Healed != healed || r.Left != left || !r.Complete {
		e.t.Fatalf("sweep: %+v, want %d found, %d healed, %d left", r, found, healed, left)
	}
	return r
}

// poisonHeals: what cannot be processed is found, shown with its hold, tried once
// an hour or when somebody asks for it, and forgotten when it has ended.
func poisonHeals(t *testing.T, e *env) {
	e.fund("org", 1000)
	bad := e.used("org", 10, 3)
	fine := e.used("org", 10, 4)
	key := table.Request("org", bad.Request, 1)
	e.SetHold(t, key, -5) // nobody can read that
	e.Changes(t)          // and the stream loses both
	e.pass(2 * time.Minute)
	r := e.sweeps(1, 0, 1)
	if p := r.Found[0]; p.PK != key.PK || p.SK != key.SK || p.Reason != credit.Unreadable || p.Org() != "org" || r.Settled != 1 {
		t.Fatalf("found: %+v", r)
	}
	e.wantState(fine, credit.Settled)
	holds, err := e.clean.Holds(e.ctx, "org")
	must(t, err)
	if len(holds) != 1 || holds[0].Request != bad.Request || holds[0].Hold != -5 || holds[0].State != credit.UsedState || holds[0].Poison != credit.Unreadable {
		t.Fatalf("holds: %+v", holds)
	}
	e.pass(time.Minute)
	e.sweeps(0, 0, 1)
	id := e.poison(1)[0].ID()
	if n, err := e.clean.RetryPoison(e.ctx, id); n != 1 || err != nil {
		t.Fatalf("retry: %d %v", n, err)
	}
	e.sweeps(0, 0, 1)
	if p := e.poison(1)[0]; p.Tries != 2 || !p.At.Equal(e.now()) || !p.First.Equal(e.now().Add(-time.Minute)) || !p.Next.Equal(e.now().Add(time.Hour)) {
		t.Fatalf("record: %+v", p)
	}
	_, err = e.clean.RetryPoison(e.ctx, "p_other")
	wantCode(t, err, fault.NotFound)
	e.SetHold(t, key, 10)
	e.sweeps(0, 0, 1)
	e.pass(time.Hour)
	if r := e.sweeps(0, 1, 0); r.Settled != 1 {
		t.Fatalf("healed: %+v", r)
	}
	e.poison(0)
	e.wantState(bad, credit.Settled)
	e.wantBalance("org", 993, 0)
	if n, err := e.clean.RetryPoison(e.ctx, ""); n != 0 || err != nil {
		t.Fatalf("nothing to retry: %d %v", n, err)
	}
}

// poison lists the records and checks their number.
func (e *env) poison(n int) []credit.Poison {
	e.t.Helper()
	list, err := e.clean.Poisoned(e.ctx)
	must(e.t, err)
	if len(list) != n {
		e.t.Fatalf("poison: %+v, want %d", list, n)
	}
	return list
}

// poisonKinds: holds that cannot be given back, entries and items that are not
// there; one that somebody else ended is forgotten, too.
func poisonKinds(t *testing.T, e *env) {
	e.fund("org", 1000)
	h, err := e.clean.Reserve(e.ctx, e.request("org", 10))
	must(t, err)
	key := table.Request("org", h.Request, 1)
	e.SetHold(t, key, 5000)
	e.pass(2 * time.Minute)
	if r := e.sweeps(1, 0, 1); r.Found[0].Reason != "balance_refused" || r.Expired != 0 {
		t.Fatalf("%+v", r)
	}
	e.pass(2 * time.Hour)
	e.sweeps(0, 0, 1) // tried, in vain
	if p := e.poison(1)[0]; p.Tries != 2 || p.Reason != "balance_refused" {
		t.Fatalf("%+v", p)
	}
	e.SetHold(t, key, 10)
	e.pass(2 * time.Hour)
	if r := e.sweeps(0, 1, 0); r.Expired != 1 {
		t.Fatalf("%+v", r)
	}
	e.wantBalance("org", 1000, 0)

	h = e.used("org", 10, 4)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	entry := e.entries("org")[0]
	place, missing, ended := entry.Place(), table.Request("org", "nobody", 1), table.Request("org", h.Request, 1)
	for _, k := range []table.Key{place, missing, ended, {PK: "unknown", SK: "unknown"}} {
		must(t, e.clean.Poison(e.ctx, credit.Poison{PK: k.PK, SK: k.SK, Reason: "test", At: e.now()}))
	}
	e.pass(time.Hour)
	if r := e.sweeps(0, 2, 2); r.Poisoned != 2 {
		t.Fatalf("%+v", r)
	}
	rows, err := e.clean.Usage(e.ctx, "org", "2026-03-01", "2026-03-31", nil)
	must(t, err)
	if len(rows) != 1 || rows[0].Cost != 4 {
		t.Fatalf("the entry was not projected: %+v", rows)
	}
	for _, p := range e.poison(2) {
		if p.Org() != map[string]string{missing.PK: "org"}[p.PK] {
			t.Fatalf("%+v belongs to %q", p, p.Org())
		}
	}
}

// unbilled: a call that died without usage is counted with what it held, until its
// usage comes after all; one with a checkpoint, or that was never dispatched, is
// not.
func unbilled(t *testing.T, e *env) {
	e.fund("org", 1000)
	var holds []credit.Hold
	for range 3 {
		h, err := e.clean.Reserve(e.ctx, e.request("org", 40))
		must(t, err)
		holds = append(holds, h)
	}
	must(t, e.clean.Checkpoint(e.ctx, holds[2], e.outcome(5).Usage, 5))
	e.pass(2 * time.Minute)
	if r := e.sweeps(0, 0, 0); r.Expired != 2 || r.Unbilled != 2 || r.UnbilledAtMost != 80 || r.Settled != 1 {
		t.Fatalf("%+v", r)
	}
	want := func(calls, late int) {
		t.Helper()
		r, err := e.clean.Unbilled(e.ctx, e.now())
		must(t, err)
		if len(r.Calls) != calls || r.AtMost != credit.Micro(40*calls) || r.Late != late || r.Cut {
			t.Fatalf("%+v", r)
		}
		for _, c := range r.Calls {
			if c.Org != "org" || c.Attempt != 1 || c.State != credit.Expired || c.Provider != "prov" || !c.At.Equal(e.now()) {
				t.Fatalf("%+v", c)
			}
		}
	}
	want(2, 0)
	must(t, e.clean.Used(e.ctx, holds[0], e.outcome(7)))
	want(1, 1)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	want(1, 1)
	if r, err := e.clean.Unbilled(e.ctx, e.now().AddDate(0, 1, 0)); err != nil || len(r.Calls) != 0 {
		t.Fatalf("next month: %+v %v", r, err)
	}
}

// poisonDismissed: what can never be settled is dismissed once, with a reason and its
// audit row, stays listed with its hold and is not counted any more; should it heal
// after all, it is forgotten.
func poisonDismissed(t *testing.T, e *env) {
	e.fund("org", 1000)
	bad, other := e.used("org", 10, 3), e.used("org", 10, 3)
	for _, h := range []credit.Hold{bad, other} {
		e.SetHold(t, table.Request("org", h.Request, 1), -5)
	}
	e.Changes(t)
	e.pass(2 * time.Minute)
	e.sweeps(2, 0, 2)
	id := credit.Poison{PK: table.Request("org", bad.Request, 1).PK, SK: "REQ"}.ID()
	row := func(n string) audit.Row {
		return audit.Op{Actor: "operator:k1", ID: "dismiss" + n, At: e.now()}.Row("operator", "poison.dismiss", id, "reason", "refunded by hand")
	}
	for _, note := range []string{"", "  ", "über", strings.Repeat("x", 201)} {
		_, err := e.clean.DismissPoison(e.ctx, id, note, row("0"))
		wantCode(t, err, fault.InvalidRequest)
	}
	_, err := e.clean.DismissPoison(e.ctx, "p_other", "x", row("0"))
	wantCode(t, err, fault.NotFound)
	p, err := e.clean.DismissPoison(e.ctx, id, " refunded by hand ", row("1"))
	must(t, err)
	_, err = e.clean.DismissPoison(e.ctx, id, "again", row("2"))
	wantCode(t, err, fault.Conflict)
	p.Dismissed = time.Time{}
	wantCode(t, e.Clean.Dismiss(e.ctx, p, row("3")), fault.Conflict)
	p.SK = "REQ#7"
	wantCode(t, e.Clean.Dismiss(e.ctx, p, row("4")), fault.NotFound)
	e.sweeps(0, 0, 1)
	e.pass(2 * time.Hour)
	e.sweeps(0, 0, 1) // tried, and recorded again
	for _, p := range e.poison(2) {
		if dismissed := p.ID() == id; dismissed != (p.Note == "refunded by hand" && p.By == "operator:k1" && !p.Dismissed.IsZero()) || p.Tries != 2 {
			t.Fatalf("%+v", p)
		}
	}
	if holds, err := e.clean.Holds(e.ctx, "org"); err != nil || len(holds) != 2 {
		t.Fatalf("holds: %+v %v", holds, err)
	}
	e.SetHold(t, table.Request("org", bad.Request, 1), 10)
	e.pass(2 * time.Hour)
	e.sweeps(0, 1, 1)
	e.poison(1)
}
