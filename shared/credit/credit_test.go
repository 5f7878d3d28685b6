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

func TestBurnDown(t *testing.T) {
	p := func(id string, kind taxonomy.GrantKind, amount Micro, minute int) Posting {
		return Posting{ID: id, Kind: kind, Amount: amount, At: t0.Add(time.Duration(minute) * time.Minute)}
	}
	postings := []Posting{p("p", taxonomy.Purchased, 100, 0), p("b", taxonomy.Gifted, 10, 5), p("a", taxonomy.Gifted, 10, 5),
		p("early", taxonomy.Gifted, 10, 1), p("d", taxonomy.Daily, 20, 0), p("claw", taxonomy.Purchased, -30, 0), p("m", taxonomy.Monthly, 5, 0)}
	grants, byKind, ok := BurnDown(postings, 155-67)
	if !ok {
		t.Fatal("refused")
	}
	want := map[string]Micro{"early": 0, "a": 0, "b": 0, "d": 0, "m": 0, "p": 88}
	order := ""
	for _, g := range grants {
		order += g.ID + " "
		if g.Remaining != want[g.ID] {
			t.Errorf("%s: %d left, want %d", g.ID, g.Remaining, want[g.ID])
		}
	}
	if order != "early a b d m p " {
		t.Errorf("order: %s", order)
	}
	if byKind[taxonomy.Purchased] != 88 || byKind[taxonomy.Gifted] != 0 {
		t.Errorf("by kind: %v", byKind)
	}
	if _, byKind, _ = BurnDown(postings, -7); byKind[taxonomy.Purchased] != -7 {
		t.Errorf("overdrawn: %v", byKind)
	}
	if _, _, ok := BurnDown(postings, 156); ok {
		t.Error("a balance above its grants was accepted")
	}
}

func TestBurnDownSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var postings []Posting
		var granted Micro
		for i, n := range rapid.SliceOf(rapid.Int64Range(-1000, 1000)).Draw(t, "amounts") {
			kind := taxonomy.GrantKinds()[rapid.IntRange(0, 3).Draw(t, "kind")]
			postings = append(postings, Posting{ID: string(rune('a' + i)), Kind: kind, Amount: Micro(n), At: t0})
			granted += max(Micro(n), 0)
		}
		posted := granted - Micro(rapid.Int64Range(0, 5000).Draw(t, "spent"))
		grants, byKind, ok := BurnDown(postings, posted)
		var sum, left Micro
		for _, v := range byKind {
			sum += v
		}
		seenUnspent := false
		for _, g := range grants {
			if g.Remaining < 0 || g.Remaining > g.Amount || seenUnspent && g.Remaining != g.Amount {
				t.Fatalf("grant %+v", g)
			}
			seenUnspent = seenUnspent || g.Remaining > 0
			left += g.Remaining
		}
		if !ok || sum != posted || posted >= 0 && left != posted {
			t.Fatalf("kinds %d, left %d, posted %d", sum, left, posted)
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

func (s *scripted) EachEntry(context.Context, string, time.Time, func(Entry)) error { return nil }
func (s *scripted) Holds(context.Context, string) ([]Open, error)                   { return nil, nil }
func (s *scripted) Postings(context.Context, string) ([]Posting, error) {
	return []Posting{{Amount: 100, Kind: taxonomy.Gifted}}, nil
}

// TestReconcileSuspicion: one difference is a suspect, three equal ones are a
// mismatch, and reads around a change do not count.
func TestReconcileSuspicion(t *testing.T) {
	account := func(held Micro, version int64) Account {
		return Account{Org: "o", Held: held, Available: -held, Version: version, Opened: t0}
	}
	// audit reads the account three times: before, for the months, after.
	torn := []Account{account(5, 1), account(5, 1), account(5, 1), account(5, 2), account(5, 2), account(0, 3), account(0, 4), account(0, 4), account(0, 4)}
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
