package connection_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/fault"
)

// TestHealthAfterAProbe is the whole table: rows are what was known, columns what
// was seen.
func TestHealthAfterAProbe(t *testing.T) {
	verdicts := []connection.Verdict{connection.Accepted, connection.Refused, connection.Listed, connection.NoCheck, connection.Undecided}
	const ok, failed, unknown, unverified = connection.Healthy, connection.Failed, connection.Unknown, connection.Unverified
	for was, want := range map[connection.HealthStatus][]connection.HealthStatus{
		ok:         {ok, failed, ok, unknown, unknown},
		unknown:    {ok, failed, ok, unknown, unknown},
		failed:     {ok, failed, failed, failed, failed},
		unverified: {ok, failed, unverified, unknown, unverified},
	} {
		for i, v := range verdicts {
			h := connection.Health{Status: was, Reason: "before", CheckedAt: at.Add(-time.Hour), Since: at.Add(-2 * time.Hour), ModelCount: 3, VoiceCount: 4}
			s := connection.Seen{Probe: connection.TestAuth, Verdict: v, At: at, HTTPStatus: 7, LatencyMS: 8}
			if v != connection.Accepted && v != connection.Listed {
				s.Reason = "now"
			}
			got := h.After(s)
			if got.Status != want[i] || got.CheckedAt != at || got.HTTPStatus != 7 || got.LatencyMS != 8 || got.Probe != connection.TestAuth ||
				got.ModelCount != 3 || got.VoiceCount != 4 {
				t.Errorf("%s after %s: %+v, want %s", was, v, got, want[i])
			}
			since := at
			if got.Status == was {
				since = at.Add(-2 * time.Hour)
			}
			if got.Since != since {
				t.Errorf("%s after %s: since %v", was, v, got.Since)
			}
			reason := s.Reason
			switch {
			case got.Status == failed && v != connection.Refused, got.Status == unverified && s.Reason == "":
				reason = "before"
			}
			if got.Reason != reason {
				t.Errorf("%s after %s: reason %q, want %q", was, v, got.Reason, reason)
			}
		}
	}
	counted := connection.Health{ModelCount: 3, VoiceCount: 4}
	if got := counted.After(connection.Seen{Probe: connection.ListModels, Verdict: connection.Listed}); got.ModelCount != 0 || got.VoiceCount != 4 {
		t.Errorf("an empty list: %+v", got)
	}
}

func TestNextProbe(t *testing.T) {
	base := connection.Connection{Status: connection.Active, Enabled: true, CreatedAt: at.Add(-time.Hour)}
	for name, c := range map[string]struct {
		change func(*connection.Connection)
		want   time.Time
	}{
		"never probed": {func(*connection.Connection) {}, at.Add(-time.Hour)},
		"ok": {func(c *connection.Connection) {
			c.Health = connection.Health{Status: connection.Healthy, CheckedAt: at}
		}, at.Add(24 * time.Hour)},
		"unknown": {func(c *connection.Connection) {
			c.Health = connection.Health{Status: connection.Unknown, CheckedAt: at}
		}, at.Add(24 * time.Hour)},
		"failed": {func(c *connection.Connection) {
			c.Health = connection.Health{Status: connection.Failed, CheckedAt: at}
		}, at.Add(15 * time.Minute)},
		"unverified": {func(c *connection.Connection) {
			c.Health = connection.Health{Status: connection.Unverified, CheckedAt: at, Since: at.Add(-time.Hour + 1)}
		}, at.Add(30 * time.Second)},
		"unverified for long": {func(c *connection.Connection) {
			c.Health = connection.Health{Status: connection.Unverified, CheckedAt: at, Since: at.Add(-time.Hour)}
		}, at.Add(15 * time.Minute)},
		"off":     {func(c *connection.Connection) { c.Enabled = false }, time.Time{}},
		"revoked": {func(c *connection.Connection) { c.Status = connection.Revoked }, time.Time{}},
	} {
		x := base
		c.change(&x)
		got, ok := x.NextProbe()
		if ok == c.want.IsZero() || !got.Equal(c.want) {
			t.Errorf("%s: %v %v, want %v", name, got, ok, c.want)
		}
	}
}

// TestRecordGivesUp: endless conflicts end, and a store that is down is an error.
func TestRecordGivesUp(t *testing.T) {
	m := connectiontest.NewMemory(nil)
	c := connection.Connection{ID: "c", Org: "o", Status: connection.Active, Version: 1}
	if err := m.CreateConnection(t.Context(), c, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []fault.Code{fault.Conflict, fault.Unavailable} {
		n := 0
		m.Before = func(string) error { n++; return fault.New(code, "t", "always") }
		err := connection.Record(t.Context(), m, c, connection.Seen{Verdict: connection.Accepted, At: at})
		if fault.CodeOf(err) != code || n > 5 || n < 1 {
			t.Errorf("%s: %v after %d writes", code, err, n)
		}
	}
}
