package alert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// memory is a store for one organisation, and its account.
type memory struct {
	level Level
	told  []Alert
	posts credit.Micro
	line  credit.Micro
	none  bool
	err   error
	late  func() // runs between the read and the write of a check
}

func (m *memory) Account(context.Context, string) (credit.Account, error) {
	if m.none {
		return credit.Account{}, fault.New(fault.NotFound, "t", "none")
	}
	return credit.Account{Posted: m.posts, CreditLine: m.line}, m.err
}

func (m *memory) Level(context.Context, string) (Level, error) { return m.level, nil }

func (m *memory) Raise(_ context.Context, _ string, at time.Time, amount credit.Micro) error {
	if at.After(m.level.At) {
		m.level = Level{At: at, Amount: amount, Absolute: m.level.Absolute}
	}
	return nil
}

func (m *memory) Tell(_ context.Context, l Level, a Alert, _ outbox.Event) (bool, error) {
	if m.late != nil {
		m.late()
	}
	if !l.At.Equal(m.level.At) || m.level.Told && a.Limit >= m.level.Lowest {
		return false, nil
	}
	m.level.Told, m.level.Lowest = true, a.Limit
	m.told = append(m.told, a)
	return true, nil
}

var t0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func (m *memory) spend(t *testing.T, left credit.Micro) string {
	t.Helper()
	before := len(m.told)
	m.posts = left
	fresh, failed := (&Watch{Store: m, Accounts: m}).Check(t.Context(), []credit.Entry{{Org: "acme", Kind: credit.UsageEntry, Amount: -1}}, t0)
	if len(failed) > 0 || len(fresh) != len(m.told)-before {
		t.Fatalf("%d events for %d alerts: %v", len(fresh), len(m.told)-before, failed)
	}
	if len(fresh) == 0 {
		return ""
	}
	a := m.told[len(m.told)-1]
	if want := map[bool]string{true: outbox.TypeExhausted, false: outbox.TypeLow}[a.Threshold == Exhausted]; fresh[0].ID != a.ID || fresh[0].Type != want {
		t.Fatalf("%+v of %+v", fresh[0], a)
	}
	return a.Threshold
}

func (m *memory) topUp(t *testing.T, day int, balance credit.Micro) {
	t.Helper()
	m.posts = balance
	e := credit.Entry{Org: "acme", Kind: credit.GrantEntry, Amount: 1, At: t0.AddDate(0, 0, day)}
	if fresh, failed := (&Watch{Store: m, Accounts: m}).Check(t.Context(), []credit.Entry{e}, t0); len(fresh)+len(failed) > 0 {
		t.Fatalf("%v %v", fresh, failed)
	}
}

// TestLadder: each limit once between two top-ups, of several only the lowest,
// nothing more while the balance moves around one.
func TestLadder(t *testing.T) {
	m := &memory{}
	m.topUp(t, 1, 1000)
	for i, c := range []struct {
		left credit.Micro
		want string
	}{
		{999, ""}, {501, ""}, {500, "50%"}, {500, ""}, {499, ""}, {505, ""}, {500, ""}, {201, ""}, {199, "20%"}, {51, ""}, {50, "5%"}, {60, ""}, {1, ""},
		{0, Exhausted}, {-5, Exhausted + "?"}, {-6, Exhausted + "?"}, {300, ""},
	} {
		want := c.want
		if want == Exhausted+"?" {
			want = ""
		}
		if got := m.spend(t, c.left); got != want {
			t.Errorf("step %d, %d left: told %q, want %q", i, c.left, got, want)
		}
	}
	m.topUp(t, 2, 800)
	m.topUp(t, 1, 9999) // delivered again, late
	if m.level.Amount != 800 || m.level.Told {
		t.Fatalf("%+v", m.level)
	}
	for _, c := range []struct {
		left credit.Micro
		want string
	}{{401, ""}, {30, "5%"}, {100, ""}, {300, ""}, {-1, Exhausted}} {
		if got := m.spend(t, c.left); got != c.want {
			t.Errorf("second period, %d left: told %q, want %q", c.left, got, c.want)
		}
	}
	ids := map[string]bool{}
	for _, a := range m.told {
		ids[a.ID] = true
	}
	if len(m.told) != 6 || len(ids) != 6 {
		t.Errorf("%d alerts with %d ids", len(m.told), len(ids))
	}
}

// TestOwnLimit: the organisation's amount is one more limit, also without a
// top-up, and the credit line moves only the end.
func TestOwnLimit(t *testing.T) {
	m := &memory{level: Level{Absolute: 300}, line: 50}
	for _, c := range []struct {
		left credit.Micro
		want string
	}{{301, ""}, {300, Absolute}, {250, ""}, {0, ""}, {-49, ""}, {-50, Exhausted}, {-60, ""}} {
		if got := m.spend(t, c.left); got != c.want {
			t.Errorf("%d left: told %q, want %q", c.left, got, c.want)
		}
	}
	m.topUp(t, 3, 1000)
	for _, c := range []struct {
		left credit.Micro
		want string
	}{{400, "50%"}, {290, Absolute}, {150, "20%"}} {
		if got := m.spend(t, c.left); got != c.want {
			t.Errorf("%d of 1000 left: told %q, want %q", c.left, got, c.want)
		}
	}
}

// TestCheckLeaves: what does not move a balance is not looked at; a top-up
// between read and write wins; failures name their organisation.
func TestCheckLeaves(t *testing.T) {
	m := &memory{err: errors.New("down")}
	w := &Watch{Store: m, Accounts: m}
	if fresh, failed := w.Check(t.Context(), []credit.Entry{{Org: "acme", Kind: credit.UsageEntry}}, t0); len(fresh)+len(failed) > 0 {
		t.Errorf("free usage: %v %v", fresh, failed)
	}
	if _, failed := w.Check(t.Context(), []credit.Entry{{Org: "acme", Amount: -1}, {Org: "acme", Amount: 5, Kind: credit.UsageEntry}}, t0); len(failed) != 1 || failed["acme"] == nil {
		t.Errorf("down: %v", failed)
	}
	m.err, m.none = nil, true
	if got := m.spend(t, 0); got != "" {
		t.Errorf("without an account: %q", got)
	}
	m = &memory{level: Level{At: t0, Amount: 100}}
	m.late = func() { m.level = Level{At: t0.Add(time.Hour), Amount: 500} }
	if got := m.spend(t, 1); got != "" || len(m.told) != 0 {
		t.Errorf("a top-up came meanwhile: %q", got)
	}
	for _, amount := range []credit.Micro{math.MaxInt64, math.MaxInt64/100 + 7, billing.MaxAmount, 101, 99, 1} {
		l := Level{Amount: amount}
		for _, left := range []credit.Micro{1, amount / 2, amount} {
			if name, limit, ok := l.reached(left, 0); ok && (limit < left || limit > amount/2) {
				t.Errorf("%d of %d: %s at %d", left, amount, name, limit)
			}
		}
	}
	for amount, ok := range map[credit.Micro]bool{0: true, billing.MaxAmount: true, -1: false, billing.MaxAmount + 1: false} {
		if err := CheckAbsolute(amount); (err == nil) != ok {
			t.Errorf("%d: %v", amount, fmt.Sprint(err))
		}
	}
}
