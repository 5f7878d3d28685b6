package connection_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestMemoryStore(t *testing.T) {
	connectiontest.Run(t, func(*testing.T) connectiontest.Store { return connectiontest.NewMemory(nil) })
}

func TestCooldownArithmetic(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		name     string
		failures int64
		status   int
		after    time.Duration
		want     int64
		rest     time.Duration
	}{
		{"429 without Retry-After", 0, 429, 0, 0, 30 * s},
		{"429 with Retry-After", 3, 429, 7 * s, 3, 7 * s},
		{"429 with a long Retry-After", 0, 429, 5 * time.Hour, 0, 60 * m},
		{"429 with a negative Retry-After", 0, 429, -s, 0, 30 * s},
		{"first 401", 0, 401, 0, 1, 5 * m},
		{"first 402", 0, 402, 0, 1, 5 * m},
		{"first 403", 0, 403, 0, 1, 5 * m},
		{"401 ignores Retry-After", 0, 401, s, 1, 5 * m},
		{"second 401", 1, 401, 0, 2, 10 * m},
		{"third 401", 2, 401, 0, 3, 20 * m},
		{"fourth 401", 3, 401, 0, 4, 40 * m},
		{"fifth 401 reaches the cap", 4, 401, 0, 5, 60 * m},
		{"never above the cap", 1 << 40, 401, 0, 1<<40 + 1, 60 * m},
		{"first 500 does not cool", 0, 500, 0, 1, 0},
		{"second 503", 1, 503, 0, 2, 5 * m},
		{"third 502", 2, 502, 0, 3, 10 * m},
		{"first timeout does not cool", 0, 0, 0, 1, 0},
		{"second timeout", 1, 0, 0, 2, 5 * m},
		{"400 says nothing about the connection", 2, 400, s, 2, 0},
		{"404", 0, 404, 0, 0, 0},
		{"200", 4, 200, 0, 4, 0},
	} {
		got := connection.Cooldown{Failures: c.failures}.After(c.status, c.after, at)
		want := connection.Cooldown{Failures: c.want, Refused: c.status >= 401 && c.status <= 403}
		if c.rest > 0 {
			want.Until = at.Add(c.rest)
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
	long := connection.Cooldown{Failures: 1, Until: at.Add(time.Hour)}
	if got := long.After(429, time.Second, at); got.Until != long.Until {
		t.Errorf("a running cooldown was shortened to %v", got.Until)
	}
}

// TestCooldownRemembersARefusedKey: what decides about the last resort is the
// failure that the rest is for, not the first one and not the count.
func TestCooldownRemembersARefusedKey(t *testing.T) {
	for _, c := range []struct {
		name     string
		statuses []int // one a second, -1 = two hours pass
		want     bool
	}{
		{"refused", []int{401}, true},
		{"no quota", []int{402}, true},
		{"rate limited", []int{429}, false},
		{"repeated 5xx", []int{500, 503, 502}, false},
		{"no answer", []int{0, 0, 0}, false},
		{"a limit during the rest of a refused key", []int{403, 429}, true},
		{"refused during the rest of a limit", []int{429, 401}, true},
		{"refused once, hours ago", []int{401, -1, 429}, false},
		{"refused once, hours ago, then down", []int{401, -1, 500}, false},
		{"a bad request says nothing", []int{401, 400}, true},
	} {
		var got connection.Cooldown
		now := at
		for _, s := range c.statuses {
			if now = now.Add(time.Second); s < 0 {
				now = now.Add(2 * time.Hour)
				continue
			}
			got = got.After(s, 0, now)
		}
		if got.Refused != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if got := (connection.Cooldown{}).After(429, time.Hour, at).After(401, 0, at); !got.Refused || got.Until != at.Add(time.Hour) {
		t.Errorf("refused during a longer rest: %+v", got)
	}
}

func TestCooldownNeverShortensNorExceedsTheCap(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c, now := connection.Cooldown{}, at
		for range rapid.IntRange(1, 20).Draw(r, "calls") {
			status := rapid.SampledFrom([]int{0, 200, 400, 401, 402, 403, 404, 429, 500, 503}).Draw(r, "status")
			now = now.Add(time.Duration(rapid.IntRange(0, 7200).Draw(r, "wait")) * time.Second)
			next := c.After(status, time.Duration(rapid.IntRange(-1, 9000).Draw(r, "after"))*time.Second, now)
			if next.Until.Before(c.Until) || next.Until.Sub(now) > time.Hour && next.Until != c.Until || next.Failures < c.Failures {
				r.Fatalf("%+v after %d became %+v", c, status, next)
			}
			c = next
		}
	})
}

func TestUsable(t *testing.T) {
	ok := connection.Connection{Status: connection.Active, Enabled: true, Health: connection.Health{Status: connection.Unknown}}
	for name, c := range map[string]struct {
		change func(*connection.Connection)
		want   connection.Reason
	}{
		"usable":           {func(*connection.Connection) {}, connection.IsUsable},
		"revoked":          {func(c *connection.Connection) { c.Status, c.Enabled = connection.Revoked, false }, connection.IsRevoked},
		"no status":        {func(c *connection.Connection) { c.Status = "" }, connection.IsRevoked},
		"off":              {func(c *connection.Connection) { c.Enabled = false }, connection.IsOff},
		"failed probe":     {func(c *connection.Connection) { c.Health.Status = connection.Failed }, connection.IsFailed},
		"unverified":       {func(c *connection.Connection) { c.Health.Status = connection.Unverified }, connection.IsUnverified},
		"cooling":          {func(c *connection.Connection) { c.Cooldown.Until = at.Add(time.Second) }, connection.IsCooling},
		"cooled to an end": {func(c *connection.Connection) { c.Cooldown.Until = at }, connection.IsUsable},
	} {
		x := ok
		c.change(&x)
		if got := connection.Usable(x, at); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestForModelOrdersAndFilters(t *testing.T) {
	mk := func(id string, p taxonomy.Provider, prio int64, age time.Duration, models ...string) connection.Connection {
		return connection.Connection{ID: id, Provider: p, Priority: prio, CreatedAt: at.Add(-age), Models: models}
	}
	conns := []connection.Connection{
		mk("e", "openrouter", 1, 0), mk("d", "openrouter", 1, time.Hour), mk("c", "openrouter", 1, time.Hour),
		mk("b", "openrouter", 0, 0, "x/y"), mk("a", "openrouter", 0, 0, "openrouter/x/z"), mk("other", "openai_compatible", 0, 0),
	}
	ids := func(cs []connection.Connection) (out string) {
		for _, c := range cs {
			out += c.ID
		}
		return out
	}
	for model, want := range map[string]string{"x/y": "bcde", "x/z": "acde", "q": "cde", "": "abcde"} {
		if got := ids(connection.ForModel(conns, "openrouter", model)); got != want {
			t.Errorf("%q: %s, want %s", model, got, want)
		}
	}
	slices.Reverse(conns)
	if got := ids(connection.ForModel(conns, "openrouter", "x/y")); got != "bcde" {
		t.Errorf("the order depends on the input: %s", got)
	}
	if connection.ForModel(conns, "anthropic", "x") != nil {
		t.Error("another provider's connection was offered")
	}
}

// TestNoFailureIsLost lets another call's failure in between the read and the
// write of the first.
func TestNoFailureIsLost(t *testing.T) {
	m := connectiontest.NewMemory(nil)
	if err := m.CreateConnection(t.Context(), connection.Connection{ID: "c", Org: "o", Version: 1}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	races := 3
	m.Before = func(string) error {
		if races > 0 {
			races--
			return connection.Cool(t.Context(), m, "o", "c", 403, 0, at)
		}
		return nil
	}
	if err := connection.Cool(t.Context(), m, "o", "c", 401, 0, at); err != nil {
		t.Fatal(err)
	}
	c, _ := m.Connection(t.Context(), "o", "c")
	if want := (connection.Cooldown{Failures: 4, Until: at.Add(40 * time.Minute), Refused: true}); c.Cooldown != want {
		t.Fatalf("%+v, want %+v", c.Cooldown, want)
	}
	m.Before = func(string) error { return fault.New(fault.Conflict, "t", "always") }
	if err := connection.Cool(t.Context(), m, "o", "c", 401, 0, at); fault.CodeOf(err) != fault.Conflict {
		t.Fatalf("endless conflicts ended with %v", err)
	}
}
