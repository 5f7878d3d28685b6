package credit

import (
	"context"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func posted(ps ...Posting) []Posting {
	for i := range ps {
		ps[i].Seq = int64(i + 1)
		if ps[i].At.IsZero() {
			ps[i].At = t0.Add(time.Duration(i) * time.Minute)
		}
	}
	return ps
}

// TestFoldOrder: kinds in spending order, then the earlier end, none last, then
// the earlier grant, then the id.
func TestFoldOrder(t *testing.T) {
	g := func(id string, kind taxonomy.GrantKind, minute, ends int) Posting {
		p := Posting{ID: id, Kind: kind, Amount: 10, At: t0.Add(time.Duration(minute) * time.Minute)}
		if ends > 0 {
			p.ExpiresAt = t0.Add(time.Duration(ends) * time.Hour)
		}
		return p
	}
	ps := posted(g("p", taxonomy.Purchased, 0, 1), g("late", taxonomy.Gifted, 0, 9), g("never", taxonomy.Gifted, 0, 0), g("b", taxonomy.Gifted, 5, 2),
		g("a", taxonomy.Gifted, 5, 2), g("old", taxonomy.Gifted, 1, 2), g("d", taxonomy.Daily, 0, 0), g("m", taxonomy.Monthly, 0, 1))
	for i := range ps {
		ps[i].Base = Micro(10 * i)
	}
	f, ok := Fold(ps, 80-25)
	order := ""
	for _, g := range f.Grants {
		order += g.ID + " "
	}
	if want := "old a b late never d m p "; !ok || order != want {
		t.Fatalf("%v, order %q, want %q", ok, order, want)
	}
	if f.Grants[0].Remaining != 0 || f.Grants[1].Remaining != 0 || f.Grants[2].Remaining != 5 || f.Grants[3].Remaining != 10 {
		t.Errorf("left: %+v", f.Grants)
	}
	if _, ok := Fold(ps, 81); ok {
		t.Error("a balance above its postings was accepted")
	}
	if f, _ := Fold(ps, -7); f.Overage != 7 || f.ByKind()[taxonomy.Purchased] != -7 {
		t.Errorf("overdrawn: %+v", f)
	}
}

// TestFoldTime: a grant takes what is spent after it, not what was before; what
// was overdrawn before it, it makes good.
func TestFoldTime(t *testing.T) {
	ps := posted(Posting{ID: "p", Kind: taxonomy.Purchased, Amount: 100},
		Posting{ID: "d", Kind: taxonomy.Daily, Amount: 10, Base: 50},
		Posting{ID: "claw", Kind: taxonomy.Purchased, Amount: -58, Base: 57},
		Posting{ID: "g", Kind: taxonomy.Gifted, Amount: 5, Base: -4})
	left := func(n int, posted Micro) map[string]Micro {
		t.Helper()
		f, ok := Fold(ps[:n], posted)
		if !ok {
			t.Fatal("refused")
		}
		out := map[string]Micro{"over": f.Overage}
		for _, g := range f.Grants {
			out[g.ID] = g.Remaining
		}
		return out
	}
	for i, c := range []struct {
		n      int
		posted Micro
		want   map[string]Micro
	}{
		{2, 60, map[string]Micro{"p": 50, "d": 10, "over": 0}},
		{2, 57, map[string]Micro{"p": 50, "d": 7, "over": 0}},
		{3, -1, map[string]Micro{"p": 0, "d": 0, "over": 1}},
		{4, 1, map[string]Micro{"p": 0, "d": 0, "g": 1, "over": 0}},
	} {
		got := left(c.n, c.posted)
		for k, v := range c.want {
			if got[k] != v {
				t.Errorf("%d: %s is %d, want %d (%v)", i, k, got[k], v, got)
			}
		}
	}
	// Taking from one grant leaves the others alone as long as it has enough.
	ps = posted(Posting{ID: "a", Kind: taxonomy.Purchased, Amount: 10}, Posting{ID: "b", Kind: taxonomy.Purchased, Amount: 10, Base: 10},
		Posting{ID: "r", Kind: taxonomy.Purchased, Amount: -12, Base: 20, Of: "b"})
	if got := left(3, 8); got["a"] != 8 || got["b"] != 0 {
		t.Errorf("taken: %v", got)
	}
}

// TestFoldReplay plays random histories against a model that takes every single
// spending as it comes: the fold of what is stored finds the same remainders at
// every point, whatever else was folded before (I14).
func TestFoldReplay(t *testing.T) {
	kinds := taxonomy.GrantKinds()
	rapid.Check(t, func(t *rapid.T) {
		var model Folded
		var stored []Posting
		var balance Micro
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			amount := Micro(rapid.Int64Range(1, 50).Draw(t, "amount"))
			p := Posting{ID: "g" + string(rune('a'+i)), Kind: kinds[rapid.IntRange(0, 3).Draw(t, "kind")], Amount: amount,
				At: t0.Add(time.Duration(i) * time.Minute), Seq: int64(len(stored) + 1), Base: balance}
			switch what := rapid.SampledFrom([]string{"grant", "expiring", "spend", "spend", "adjust", "take"}).Draw(t, "what"); what {
			case "spend":
				model.spend(amount)
				balance -= amount
			case "adjust":
				p.Amount = -amount
				stored, balance = append(stored, p), balance-amount
				model.spend(amount)
			case "take":
				if len(model.Grants) == 0 {
					continue
				}
				g := rapid.SampledFrom(model.Grants).Draw(t, "grant")
				p.Amount, p.Of = -min(amount, g.Remaining), g.ID
				if p.Amount == 0 {
					continue
				}
				stored, balance = append(stored, p), balance+p.Amount
				model.take(g.ID, -p.Amount)
			default:
				if what == "expiring" {
					p.ExpiresAt = t0.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "ends")) * time.Hour)
				}
				stored, balance = append(stored, p), balance+amount
				model.add(p)
			}
			f, ok := Fold(stored, balance)
			var left, kinds Micro
			for i, g := range f.Grants {
				if left += g.Remaining; g != model.Grants[i] || g.Remaining < 0 || g.Remaining > g.Amount {
					t.Fatalf("step %d: %+v, want %+v", i, g, model.Grants[i])
				}
			}
			for _, v := range f.ByKind() {
				kinds += v
			}
			if !ok || f.Overage != model.Overage || left-f.Overage != balance || kinds != balance {
				t.Fatalf("left %d over %d kinds %d, posted %d, want over %d", left, f.Overage, kinds, balance, model.Overage)
			}
		}
	})
}

func TestEntries(t *testing.T) {
	u := Used{Org: "o", Request: "r", Attempt: 2, Amount: 9, Kind: Completed, At: t0}
	e, ok := u.Entry()
	if !ok || e.Amount != -9 || e.Legs[0].Amount+e.Legs[1].Amount != 0 || e.Legs[0].Account != AccountOrg {
		t.Errorf("usage: %+v", e)
	}
	ids := map[string]bool{EntryID("o", "r", 1, UsageEntry): true}
	for _, other := range []string{EntryID("o", "r", 2, UsageEntry), EntryID("o2", "r", 1, UsageEntry), EntryID("o", "r2", 1, UsageEntry),
		EntryID("o", "r", 1, GrantEntry), EntryID("or", "", 1, UsageEntry)} {
		if ids[other] {
			t.Errorf("id %s twice", other)
		}
		ids[other] = true
	}
	if _, ok := (Used{Kind: Refused}).Entry(); ok {
		t.Error("a refused call has an entry")
	}
	for want, u := range map[State]Used{Released: {Kind: Refused, Expired: true}, SettledLate: {Kind: Partial, Expired: true}, Settled: {Kind: Partial}} {
		if u.Final() != want {
			t.Errorf("%+v: %s", u, u.Final())
		}
	}
	for _, origin := range []EntryKind{GrantEntry, AdjustmentEntry} {
		e := Posting{ID: "g", Org: "o", Origin: origin, Kind: taxonomy.Gifted, Amount: 5, At: t0}.Entry()
		if e.Kind != origin || e.Amount != 5 || e.Legs[0].Amount+e.Legs[1].Amount != 0 || e.Legs[1].Account == AccountRevenue {
			t.Errorf("posting: %+v", e)
		}
	}
}

func TestClip(t *testing.T) {
	if got := clip("ab\x00\ncé"+strings.Repeat("x", 100), 6); got != "abcxxx" {
		t.Errorf("%q", got)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("RSMwMDAxNzY3MjI1NjAwMDAjcmVxMSMxI3VzYWdl")
	f.Fuzz(func(t *testing.T, s string) {
		if at, sk, err := parseCursor(s); err == nil && (at.IsZero() || sk == "") {
			t.Fatalf("%q gives %v %q", s, at, sk)
		} else if err != nil && fault.CodeOf(err) != fault.InvalidRequest {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// scripted answers one audit after another.
type scripted struct {
	Store
	accounts []Account
	reads    int
}

func (s *scripted) Account(context.Context, string) (Account, error) {
	a := s.accounts[min(s.reads, len(s.accounts)-1)]
	s.reads++
	return a, nil
}

func (s *scripted) Journal(context.Context, string, time.Time, int, string, int) ([]Entry, error) {
	return nil, nil
}
func (s *scripted) Openings(context.Context, string, int) ([]Opening, error) { return nil, nil }
func (s *scripted) Holds(context.Context, string) ([]Open, error)            { return nil, nil }
func (s *scripted) Postings(context.Context, string) ([]Posting, error) {
	return []Posting{{Amount: 100, Kind: taxonomy.Gifted}}, nil
}

// TestReconcileSuspicion: one difference is a suspect, three equal ones are a
// mismatch, and reads around a change do not count.
func TestReconcileSuspicion(t *testing.T) {
	account := func(held Micro, version int64) Account {
		return Account{Org: "o", Held: held, Available: -held, Version: version, Opened: t0}
	}
	// audit reads the account twice: before and after.
	torn := []Account{account(5, 1), account(5, 1), account(5, 2), account(0, 3), account(0, 4), account(0, 4)}
	for name, c := range map[string]struct {
		accounts []Account
		ok       bool
		pauses   int
		code     fault.Code
	}{
		"clean":     {[]Account{account(0, 1)}, true, 0, ""},
		"torn once": {torn, true, 2, ""},
		"real":      {[]Account{account(5, 1)}, false, 2, ""},
	} {
		pauses := 0
		l := New(&scripted{accounts: c.accounts}, Options{Wait: func(context.Context, time.Duration) error { pauses++; return nil }})
		rep, err := l.Reconcile(t.Context(), "o", t0)
		if fault.CodeOf(err) != c.code || rep.OK != c.ok || pauses != c.pauses {
			t.Errorf("%s: %+v %v after %d pauses", name, rep, err, pauses)
		}
	}
	restless := make([]Account, 0, 300)
	for i := range int64(300) {
		restless = append(restless, account(5, i))
	}
	l := New(&scripted{accounts: restless}, Options{Wait: func(context.Context, time.Duration) error { return nil }})
	if _, err := l.Reconcile(t.Context(), "o", t0); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Errorf("restless: %v", err)
	}
}
