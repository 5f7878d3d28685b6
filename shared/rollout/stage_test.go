package rollout_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rollout/rollouttest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestMemoryStore(t *testing.T) { rollouttest.Run(t, rollouttest.New(orgtest.NewMemory())) }

// everyOrg exists, but for those named "gone".
type everyOrg struct{}

func (everyOrg) Org(_ context.Context, id string) (org.Org, error) {
	switch id {
	case "gone":
		return org.Org{}, fault.New(fault.NotFound, "", "")
	case "down":
		return org.Org{}, fault.New(fault.Unavailable, "", "")
	}
	return org.Org{ID: id}, nil
}

// stages has two channels, of which the first one's column is green if the build's
// rows can be.
func stages(t *testing.T) (*rollout.Service, *rollouttest.Memory) {
	t.Helper()
	m := rollouttest.New(orgtest.NewMemory())
	s := &rollout.Service{Store: m, Matrix: perfect(), Channels: []taxonomy.Channel{taxonomy.Slack, "nowhere"}, Orgs: everyOrg{}, Proof: proofs{}}
	if err := s.Matrix.Promotable(taxonomy.Slack); err != nil {
		t.Fatal(err)
	}
	return s, m
}

// proofs fail for organisations that begin with "bad".
type proofs struct{}

func (proofs) Shows(_ context.Context, _, id string) (string, error) {
	if strings.HasPrefix(id, "bad") {
		return "shows nothing", nil
	}
	if id == "broken" {
		return "", fault.New(fault.Unavailable, "", "")
	}
	return "", nil
}

func by(n string) audit.Op {
	return audit.Op{Actor: "operator:k", ID: n, At: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)}
}

// TestAdmits: the whole table of who a stage is for.
func TestAdmits(t *testing.T) {
	s, _ := stages(t)
	for _, c := range []struct {
		subject string
		stage   taxonomy.RolloutStage
		orgs    []string
		want    string // of a, b and the operator
	}{
		{"slack", rollout.Off, nil, ""},
		{"slack", rollout.Off, []string{"a"}, ""},
		{"slack", rollout.Canary, []string{"a"}, "a operator"},
		{"slack", rollout.Canary, nil, "operator"},
		{"slack", rollout.On, nil, "a b operator"},
		{"slack", "", []string{"a"}, ""},
		{"slack", "ON", []string{"a"}, ""},
		{"nowhere", rollout.On, nil, "operator"},
		{"nowhere", rollout.On, []string{"a"}, "a operator"}, // its column is not green in this build
		{"nowhere", rollout.Canary, []string{"a"}, "a operator"},
		{rollout.AIConnections, rollout.On, nil, "a b operator"},
		{rollout.CreditLedger, rollout.Canary, []string{"b"}, "b operator"},
		{rollout.CreditLedger, rollout.Off, []string{"b"}, ""},
	} {
		var got []string
		for _, id := range []string{"a", "b", org.Operator} {
			if s.Admits(rollout.Record{Subject: c.subject, Stage: c.stage, Orgs: c.orgs, Version: 1}, id) {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s %v: %v, want %s", c.subject, c.stage, c.orgs, got, c.want)
		}
	}
}

// TestAdmitFailsClosed: no subject, no store, no stage: nobody.
func TestAdmitFailsClosed(t *testing.T) {
	s, m := stages(t)
	ctx := t.Context()
	want := func(subject, id string, code fault.Code) {
		t.Helper()
		if err := s.Admit(ctx, subject, id); fault.CodeOf(err) != code {
			t.Errorf("%s for %s: %v, want %s", subject, id, err, code)
		}
	}
	want("slack", "a", "")
	want("nowhere", "a", fault.Conflict) // never set, not green
	want("telegram", "a", fault.NotFound)
	want("", "a", fault.NotFound)
	want(rollout.CreditLedger, "a", "")
	if err := m.PutStage(ctx, rollout.Record{Subject: "nowhere", Stage: rollout.On}, 0, by("x").Row(org.Operator, "x", "x")); err != nil {
		t.Fatal(err)
	}
	want("nowhere", "a", fault.Conflict)
	s.Matrix = rollout.File{}
	want("slack", "a", fault.Conflict)
	s.Store = down{}
	want("slack", "a", fault.Unavailable)
	if _, err := s.List(ctx); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
}

type down struct{}

func (down) Stage(context.Context, string) (rollout.Record, error) {
	return rollout.Record{Stage: rollout.On, Version: 1}, fault.New(fault.Unavailable, "", "")
}
func (down) Stages(context.Context) ([]rollout.Record, error) {
	return nil, fault.New(fault.Unavailable, "", "")
}
func (down) PutStage(context.Context, rollout.Record, int64, audit.Row) error {
	return fault.New(fault.Unavailable, "", "")
}

// TestProofOfTheCanary: every organisation has to show that it works; what cannot be
// read is no proof.
func TestProofOfTheCanary(t *testing.T) {
	s, _ := stages(t)
	ctx := t.Context()
	if _, _, err := s.Rollback(ctx, by("r"), rollout.Retreat{Subject: rollout.AIConnections, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		orgs []string
		code fault.Code
	}{{[]string{"a", "bad1"}, fault.Conflict}, {[]string{"bad1"}, fault.Conflict}, {[]string{"a", "broken"}, fault.Unavailable}, {[]string{"a", "b"}, ""}} {
		n := string(rune('0' + i))
		if _, _, err := s.Promote(ctx, by("c"+n), rollout.Promotion{Subject: rollout.AIConnections, Stage: rollout.Canary, Orgs: c.orgs}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Promote(ctx, by("o"+n), rollout.Promotion{Subject: rollout.AIConnections, Stage: rollout.On}); fault.CodeOf(err) != c.code {
			t.Errorf("%v: %v", c.orgs, err)
		}
	}
	var many []string
	for i := range rollout.MaxCanary + 1 {
		many = append(many, "o"+strings.Repeat("x", i))
	}
	for n, code := range map[int]fault.Code{rollout.MaxCanary: "", rollout.MaxCanary + 1: fault.InvalidRequest} {
		if _, _, err := s.Promote(ctx, by("many"), rollout.Promotion{Subject: "nowhere", Stage: rollout.Canary, Orgs: many[:n]}); fault.CodeOf(err) != code {
			t.Errorf("%d organisations: %v", n, err)
		}
	}
	for id, code := range map[string]fault.Code{"gone": fault.InvalidRequest, "down": fault.Unavailable} {
		if _, _, err := s.Promote(ctx, by(id), rollout.Promotion{Subject: "nowhere", Stage: rollout.Canary, Orgs: []string{id}}); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestConcurrentChanges: of two changes of what both have read one is made.
func TestConcurrentChanges(t *testing.T) {
	s, _ := stages(t)
	ctx := t.Context()
	results := make(chan error, 8)
	for i := range cap(results) {
		go func() {
			seen := int64(0)
			_, _, err := s.Promote(ctx, by("p"+string(rune('0'+i))), rollout.Promotion{Subject: "nowhere", Stage: rollout.Canary, Orgs: []string{"o" + string(rune('0'+i))}, Version: &seen})
			results <- err
		}()
	}
	done := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			done++
		case fault.CodeOf(err) != fault.Conflict:
			t.Error(err)
		}
	}
	if r, err := s.Get(ctx, "nowhere"); done != 1 || err != nil || r.Version != 1 || len(r.Orgs) != 1 {
		t.Errorf("%d made it: %+v %v", done, r, err)
	}
}

// TestUndo: the printed commands lead back, from every change that can be made.
func TestUndo(t *testing.T) {
	rec := func(stage taxonomy.RolloutStage, orgs ...string) rollout.Record {
		return rollout.Record{Subject: "s", Stage: stage, Orgs: orgs}
	}
	for _, c := range []struct {
		before, after rollout.Record
		want          []string
	}{
		{rec(rollout.Off), rec(rollout.Canary, "a"), []string{"rollout rollback s --reason WHY --to off"}},
		{rec(rollout.Canary, "a"), rec(rollout.Canary, "a", "b"), []string{"rollout promote s --stage canary --org-ids a"}},
		{rec(rollout.Canary, "a"), rec(rollout.On, "a"), []string{"rollout rollback s --reason WHY --to canary"}},
		{rec(rollout.On, "a", "b"), rec(rollout.Canary, "a", "b"), []string{"rollout promote s --stage on"}},
		{rec(rollout.On, "a"), rec(rollout.Off), []string{"rollout promote s --stage canary --org-ids a", "rollout promote s --stage on"}},
		{rec(rollout.On), rec(rollout.Off), []string{"rollout promote s --stage canary --org-ids ORG", "rollout promote s --stage on"}},
		{rec(rollout.Canary, "a"), rec(rollout.Off), []string{"rollout promote s --stage canary --org-ids a"}},
		{rec(rollout.On, "a"), rec(rollout.On, "a"), nil},
	} {
		if got := rollout.Undo(c.before, c.after); !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: %q, want %q", c.before.Stage, c.after.Stage, got, c.want)
		}
	}
}

type kept struct {
	connections []connection.Connection
	counter     legacytokens.Counter
	err         error
}

func (k kept) Connections(context.Context, string) ([]connection.Connection, error) {
	return k.connections, k.err
}

func (k kept) Counter(context.Context, string) (legacytokens.Counter, error) { return k.counter, k.err }

// TestEvidence: what an organisation shows.
func TestEvidence(t *testing.T) {
	good := connection.Connection{Enabled: true, Status: connection.Active, Health: connection.Health{Status: connection.Healthy}}
	with := func(f func(*connection.Connection)) kept {
		c := good
		f(&c)
		return kept{connections: []connection.Connection{c}}
	}
	cut := legacytokens.Counter{Mode: org.LedgerCredit, Cutover: time.Unix(1, 0)}
	draining := cut
	draining.Mode = org.LedgerDraining
	for name, c := range map[string]struct {
		subject string
		kept    kept
		want    string
	}{
		"a good connection": {rollout.AIConnections, kept{connections: []connection.Connection{{}, good}}, ""},
		"no connection":     {rollout.AIConnections, kept{}, "no enabled connection"},
		"disabled":          {rollout.AIConnections, with(func(c *connection.Connection) { c.Enabled = false }), "no enabled connection"},
		"revoked":           {rollout.AIConnections, with(func(c *connection.Connection) { c.Status = connection.Revoked }), "no enabled connection"},
		"never probed":      {rollout.AIConnections, with(func(c *connection.Connection) { c.Health.Status = connection.Unknown }), "no enabled connection"},
		"refused":           {rollout.AIConnections, with(func(c *connection.Connection) { c.Health.Status = connection.Failed }), "no enabled connection"},
		"cut over":          {rollout.CreditLedger, kept{counter: cut}, ""},
		"draining":          {rollout.CreditLedger, kept{counter: draining}, "draining"},
		"never had one":     {rollout.CreditLedger, kept{counter: legacytokens.Counter{Mode: org.LedgerCredit}}, "not been cut over"},
	} {
		why, err := rollout.Evidence{Connections: c.kept, Counters: c.kept}.Shows(t.Context(), c.subject, "o")
		if err != nil || (why == "") != (c.want == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s: %q %v", name, why, err)
		}
	}
	for _, subject := range []string{rollout.AIConnections, rollout.CreditLedger, "slack"} {
		if _, err := (rollout.Evidence{Connections: kept{err: errors.New("x")}, Counters: kept{err: errors.New("x")}}).Shows(t.Context(), subject, "o"); err == nil {
			t.Errorf("%s: proof without reading", subject)
		}
	}
}
