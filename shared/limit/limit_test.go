package limit_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/limit/limittest"
)

var noon = time.Date(2026, 11, 30, 12, 0, 15, 0, time.UTC)

// claim is a first attempt of a request of one key.
func claim(s *limittest.Store, l limit.Limits, id string, at time.Time) limit.Claim {
	subject := limit.Subject{Org: "acme", Key: "k1"}
	return limit.Claim{Subject: subject, Limits: l, Seen: s.State(subject), At: at, Now: at, First: true, Slot: id, Until: at.Add(time.Minute)}
}

func refusal(t *testing.T, err error, kind limit.Kind, retryAfter time.Duration, retryable bool) *limit.Refusal {
	t.Helper()
	f := fault.As(err)
	var r *limit.Refusal
	if f == nil || f.Code != fault.RateLimited || !errors.As(err, &r) || r.Kind != kind {
		t.Fatalf("%v, want a refusal by %s", err, kind)
	}
	if f.RetryAfter != retryAfter || f.Retryable() != retryable {
		t.Errorf("%s: retry after %s, retryable %v; want %s, %v", kind, f.RetryAfter, f.Retryable(), retryAfter, retryable)
	}
	return r
}

func TestRequestsPerMinute(t *testing.T) {
	var s limittest.Store
	l := limit.Limits{RequestsPerMinute: 2}
	for i := range 2 {
		if err := s.Claim([]limit.Claim{claim(&s, l, fmt.Sprint(i), noon)}); err != nil {
			t.Fatal(err)
		}
	}
	c := claim(&s, l, "c", noon)
	r := refusal(t, c.Check(), limit.Requests, 45*time.Second, true)
	if r.Limit != 2 || r.Remaining != 0 || r.Reset != 45*time.Second {
		t.Errorf("%+v", r)
	}
	// A later attempt of an admitted request is not counted again.
	c.First = false
	if err := c.Check(); err != nil || !c.Change().Empty() {
		t.Errorf("%v %+v", err, c.Change())
	}
	next := claim(&s, l, "d", noon.Add(45*time.Second))
	if err := s.Claim([]limit.Claim{next}); err != nil {
		t.Errorf("the next minute: %v", err)
	}
}

func TestTokensPerMinute(t *testing.T) {
	var s limittest.Store
	l := limit.Limits{TokensPerMinute: 1000}
	c := claim(&s, l, "a", noon)
	c.Tokens = 1001
	if f := fault.As(c.Check()); !strings.Contains(f.Message, "1001") || !strings.Contains(f.Message, "output limit") {
		t.Errorf("%v", f)
	}
	refusal(t, c.Check(), limit.Tokens, 0, false)
	if s.Claim([]limit.Claim{c}) == nil {
		t.Error("the write admitted what the check refuses")
	}
	c.Tokens = 700
	if err := s.Claim([]limit.Claim{c}); err != nil {
		t.Fatal(err)
	}
	d := claim(&s, l, "b", noon)
	d.Tokens = 301
	r := refusal(t, d.Check(), limit.Tokens, 45*time.Second, true)
	if r.Remaining != 300 {
		t.Errorf("%+v", r)
	}
	// 700 were reserved, 100 used.
	_ = s.FinishLimit(t.Context(), c.Finish(noon.Add(time.Second), 100, 0))
	d.Seen = s.State(d.Subject)
	d.Tokens = 900
	if err := s.Claim([]limit.Claim{d}); err != nil {
		t.Error(err)
	}
	if ch := c.Finish(noon.Add(time.Minute), 100, 0); !ch.Empty() {
		t.Errorf("a minute that has passed was corrected: %+v", ch)
	}
}

func TestConcurrent(t *testing.T) {
	var s limittest.Store
	l := limit.Limits{Concurrent: 2}
	a, b := claim(&s, l, "a", noon), claim(&s, l, "b", noon)
	for _, c := range []limit.Claim{a, b} {
		if err := s.Claim([]limit.Claim{c}); err != nil {
			t.Fatal(err)
		}
	}
	c := claim(&s, l, "c", noon)
	refusal(t, c.Check(), limit.Concurrent, time.Second, true)
	end := a.Finish(noon, 5, 5)
	for range 2 { // a slot is freed once
		_ = s.FinishLimit(t.Context(), end)
	}
	if st := s.State(a.Subject); st.Counters["c"] != 1 || len(st.Slots) != 1 {
		t.Errorf("%+v", st)
	}
	if err := s.Claim([]limit.Claim{c}); err != nil {
		t.Error(err)
	}
	// Slots of requests that died.
	late := noon.Add(time.Minute + time.Second)
	d, e, f := claim(&s, l, "d", late), claim(&s, l, "e", late), claim(&s, l, "f", late)
	for i, x := range []limit.Claim{d, e} {
		if err := s.Claim([]limit.Claim{x}); err != nil {
			t.Error(i, err)
		}
	}
	refusal(t, s.Claim([]limit.Claim{f}), limit.Concurrent, time.Second, true)
	// A dead one that comes back frees nothing that is not its own.
	_ = s.FinishLimit(t.Context(), c.Finish(late, 0, 0))
	if st := s.State(a.Subject); st.Counters["c"] != 2 || len(st.Slots) != 2 {
		t.Errorf("%+v", st)
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		period    limit.Period
		wait      time.Duration
		retryable bool
		next      time.Time
	}{
		{limit.Day, 11*time.Hour + 59*time.Minute + 45*time.Second, true, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{limit.Month, 11*time.Hour + 59*time.Minute + 45*time.Second, true, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{limit.Total, 0, false, time.Time{}},
	} {
		var s limittest.Store
		l := limit.Limits{Budget: limit.Budget{Amount: 1000, Period: c.period}}
		a := claim(&s, l, "a", noon)
		a.Spend = 990
		b := claim(&s, l, "b", noon)
		b.Spend = 500
		for _, x := range []limit.Claim{a, b} {
			if err := s.Claim([]limit.Claim{x}); err != nil {
				t.Fatal(err)
			}
		}
		d := claim(&s, l, "d", noon)
		d.Spend = 1
		refusal(t, d.Check(), limit.Spending, c.wait, c.retryable)
		// What costs nothing is not stopped.
		d.Spend = 0
		if err := d.Check(); err != nil {
			t.Error(err)
		}
		// The holds become charges: 300 + 690 leave room for one more.
		_ = s.FinishLimit(t.Context(), a.Finish(noon, 0, 300))
		_ = s.FinishLimit(t.Context(), b.Finish(noon, 0, 690))
		d = claim(&s, l, "d", noon)
		d.Spend = 900
		if err := s.Claim([]limit.Claim{d}); err != nil {
			t.Error(err)
		}
		_ = s.FinishLimit(t.Context(), d.Finish(noon, 0, 10))
		e := claim(&s, l, "e", noon.Add(time.Hour))
		e.Spend = 1
		refusal(t, s.Claim([]limit.Claim{e}), limit.Spending, max(c.wait-time.Hour, 0), c.retryable)
		if c.next.IsZero() {
			continue
		}
		e = claim(&s, l, "e", c.next)
		e.Spend = 1
		if err := s.Claim([]limit.Claim{e}); err != nil {
			t.Errorf("the next %s: %v", c.period, err)
		}
		if st := s.State(e.Subject); len(st.Counters) != 1 {
			t.Errorf("old windows stay: %v", st.Counters)
		}
	}
}

// TestLaterAttempt: another candidate replaces what the first one reserved.
func TestLaterAttempt(t *testing.T) {
	var s limittest.Store
	l := limit.Limits{TokensPerMinute: 1000, Concurrent: 1, RequestsPerMinute: 1, Budget: limit.Budget{Amount: 100, Period: limit.Total}}
	a := claim(&s, l, "a", noon)
	a.Tokens, a.Spend = 1000, 120
	if err := s.Claim([]limit.Claim{a}); err != nil {
		t.Fatal(err)
	}
	for _, spend := range []int64{150, 0} {
		b := a
		b.Seen, b.First, b.HeldTokens, b.HeldSpend, b.Spend = s.State(a.Subject), false, a.Tokens, a.Spend, spend
		if err := errors.Join(b.Check(), s.Claim([]limit.Claim{b})); err != nil {
			t.Fatal(err)
		}
		if got := s.State(a.Subject).Counters["bt"]; got != spend {
			t.Errorf("budget counts %d, want %d", got, spend)
		}
		a = b
	}
	_ = s.FinishLimit(t.Context(), a.Finish(noon, 10, 0))
	st := s.State(a.Subject)
	if st.Counters["bt"] != 0 || st.Counters["c"] != 0 || len(st.Slots) != 0 {
		t.Errorf("%+v", st)
	}
}

// TestOldWindowsAreDropped: the minute before stays, for callers whose clock is
// behind.
func TestOldWindowsAreDropped(t *testing.T) {
	var s limittest.Store
	l := limit.Limits{RequestsPerMinute: 5, TokensPerMinute: 50}
	for i := range 4 {
		c := claim(&s, l, "a", noon.Add(time.Duration(i)*time.Minute))
		c.Tokens = 1
		if err := s.Claim([]limit.Claim{c}); err != nil {
			t.Fatal(err)
		}
	}
	m := noon.Unix()/60 + 3
	want := map[string]int64{fmt.Sprint("r", m): 1, fmt.Sprint("t", m): 1, fmt.Sprint("r", m-1): 1, fmt.Sprint("t", m-1): 1}
	if got := s.State(limit.Subject{Org: "acme", Key: "k1"}).Counters; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestStandings(t *testing.T) {
	var s limittest.Store
	key := claim(&s, limit.Limits{RequestsPerMinute: 10, TokensPerMinute: 500}, "a", noon)
	org := claim(&s, limit.Limits{RequestsPerMinute: 5}, "a", noon)
	key.Tokens = 100
	requests, tokens := limit.Standings([]limit.Claim{key, org})
	if *requests != (limit.Standing{Limit: 5, Remaining: 4, Reset: 45 * time.Second}) || *tokens != (limit.Standing{Limit: 500, Remaining: 400, Reset: 45 * time.Second}) {
		t.Errorf("%+v %+v", requests, tokens)
	}
	if r, k := limit.Standings(nil); r != nil || k != nil {
		t.Error("standings without limits")
	}
}

func TestCheckLimits(t *testing.T) {
	for _, l := range []limit.Limits{{RequestsPerMinute: -1}, {TokensPerMinute: 1 << 53}, {Concurrent: limit.MaxConcurrent + 1},
		{Budget: limit.Budget{Amount: 1}}, {Budget: limit.Budget{Period: limit.Day}}, {Budget: limit.Budget{Amount: 1, Period: "week"}}, {Budget: limit.Budget{Amount: -1, Period: limit.Day}}} {
		if f := fault.As(l.Check()); f == nil || f.Code != fault.InvalidRequest || f.Param != "limits" {
			t.Errorf("%+v: %v", l, f)
		}
	}
	for _, l := range []limit.Limits{{}, {RequestsPerMinute: 1, TokensPerMinute: 1, Concurrent: limit.MaxConcurrent, Budget: limit.Budget{Amount: 1, Period: limit.Total}}} {
		if err := l.Check(); err != nil {
			t.Error(err)
		}
	}
}

// TestInvariants plays random requests of a subject and checks what the package
// promises, whatever has been seen when.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s limittest.Store
		l := limit.Limits{RequestsPerMinute: rapid.Int64Range(0, 4).Draw(t, "rpm"), TokensPerMinute: rapid.Int64Range(0, 300).Draw(t, "tpm"),
			Concurrent: rapid.Int64Range(0, 3).Draw(t, "concurrent")}
		if rapid.Bool().Draw(t, "budget") {
			l.Budget = limit.Budget{Amount: rapid.Int64Range(1, 300).Draw(t, "amount"), Period: rapid.SampledFrom([]limit.Period{limit.Day, limit.Month, limit.Total}).Draw(t, "period")}
		}
		now, serial := noon, 0
		var old limit.State // what a slow caller has seen
		admitted, running := map[int64]int64{}, map[string]limit.Claim{}
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds")) * time.Second)
			},
			"look": func(*rapid.T) { old = s.State(limit.Subject{Org: "acme", Key: "k1"}) },
			"ask": func(t *rapid.T) {
				serial++
				c := claim(&s, l, fmt.Sprint("r", serial), now)
				c.Tokens, c.Spend = rapid.Int64Range(0, 100).Draw(t, "tokens"), rapid.Int64Range(0, 100).Draw(t, "hold")
				if rapid.Bool().Draw(t, "slow") {
					c.Seen = old
				}
				if err := s.Claim([]limit.Claim{c}); err != nil {
					var r *limit.Refusal
					if !errors.As(err, &r) {
						t.Fatal(err)
					}
					return
				}
				admitted[now.Unix()/60]++
				running[c.Slot] = c
			},
			"end": func(t *rapid.T) {
				for id, c := range running {
					_ = s.FinishLimit(t.Context(), c.Finish(now, rapid.Int64Range(0, c.Tokens).Draw(t, "used"), rapid.Int64Range(0, c.Spend).Draw(t, "charged")))
					delete(running, id)
					break
				}
			},
			"": func(t *rapid.T) {
				if l.RequestsPerMinute > 0 && admitted[now.Unix()/60] > l.RequestsPerMinute {
					t.Fatalf("%d requests in a minute", admitted[now.Unix()/60])
				}
				st := s.State(limit.Subject{Org: "acme", Key: "k1"})
				if st.Counters["c"] != int64(len(st.Slots)) || l.Concurrent > 0 && int64(len(st.Slots)) > l.Concurrent {
					t.Fatalf("%d slots, counted %d", len(st.Slots), st.Counters["c"])
				}
				live := int64(0)
				for _, c := range running {
					if !c.Until.Before(now) {
						live++
					}
				}
				if l.Concurrent > 0 && live > l.Concurrent {
					t.Fatalf("%d requests run", live)
				}
				for name, n := range st.Counters {
					if n < 0 || name[0] == 't' && n > l.TokensPerMinute || name[0] == 'b' && n > l.Budget.Amount+99 {
						t.Fatalf("%s is %d", name, n)
					}
				}
			},
		})
	})
}
