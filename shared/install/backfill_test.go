package install_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

func (e *env) backfill(apply bool, rows ...install.Old) string {
	e.Helper()
	got, err := e.s.Backfill(e.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Enterprise}, org.Tiers{}, rows, apply)
	if err != nil {
		e.Fatal(err)
	}
	var out []string
	for k, b := range got {
		text := b.ID + " " + string(b.Outcome)
		if b.ID != rows[k].ID || b.Outcome == install.Refused && b.Reason == "" || b.Outcome == install.Made && b.Binding == "" {
			e.Fatalf("%+v", b)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func old(id, provider, channel string) install.Old {
	return install.Old{ID: id, Provider: provider, Channel: channel, AgentID: "ag1"}
}

// TestBackfill: a dry run changes nothing and says what the run then does; a second
// run changes nothing; what is made is a draft.
func TestBackfill(t *testing.T) {
	e := newEnv(t)
	rows := []install.Old{old("a", "slack", "C1"), old("b", "slack", "C2"), old("c", "slack", ""), old("d", "telegram", ""), old("e", "slack", "C1")}
	const want = "a made, b made, c made, d made, e there"
	before := len(e.store.Rows)
	if got := e.backfill(false, rows...); got != want || len(e.store.Rows) != before {
		t.Fatalf("%s; %d rows, %d before", got, len(e.store.Rows), before)
	}
	if got := e.backfill(true, rows...); got != want {
		t.Fatal(got)
	}
	id := install.BackfillID("o1", taxonomy.Slack)
	i, bindings, err := e.store.Install(t.Context(), id)
	if err != nil || i.State != install.Draft || i.Org != "o1" || len(bindings) != 3 || len(i.Secrets) != 0 || len(i.Claims) != 0 {
		t.Fatalf("%+v %v %v", i, bindings, err)
	}
	for _, b := range bindings {
		if b.AgentID != "ag1" || b.Selector != (install.Selector{Channel: b.Selector.Channel}) {
			t.Errorf("%+v", b)
		}
	}
	made := len(e.store.Rows)
	if got := made - before; got != 6 { // two installs, four bindings
		t.Errorf("%d audit rows", got)
	}
	for _, apply := range []bool{false, true} {
		if got := e.backfill(apply, rows...); got != "a there, b there, c there, d there, e there" || len(e.store.Rows) != made {
			t.Errorf("%s, %d rows, %d before", got, len(e.store.Rows), made)
		}
	}
	// The draft gets its settings and secrets and is used on, beside another install.
	if _, err := e.s.Update(t.Context(), e.op(), "o1", id, install.Patch{Config: webhook.Config{"app_id": {"A1"}, "team_id": {"T1"}},
		Secrets: map[string][]secret.Text{"signing_secret": {secret.FromString("signing secret one")}, "bot_token": {secret.FromString("xoxb-one")}}}); err != nil {
		t.Fatal(err)
	}
	e.made("i1")
	if got := e.backfill(true, append(rows, old("f", "slack", "C9"))...); got != "a there, b there, c there, d there, e there, f made" {
		t.Error(got)
	}
	if i, _, _ := e.store.Install(t.Context(), id); i.State != install.Verifying {
		t.Errorf("state %s", i.State)
	}
	if _, err := e.s.Revoke(t.Context(), e.op(), "o1", id); err != nil {
		t.Fatal(err)
	}
	if got := e.backfill(true, rows[:2]...); got != "a refused, b refused" {
		t.Error(got)
	}
}

// TestBackfillRefusesWhatIsAmbiguous: nothing is guessed, and what is refused leaves
// nothing.
func TestBackfillRefusesWhatIsAmbiguous(t *testing.T) {
	e := newEnv(t)
	other := func(o install.Old, f func(*install.Old)) install.Old { f(&o); return o }
	before := len(e.store.Rows)
	for name, c := range map[string]struct {
		rows []install.Old
		want string
	}{
		"unknown provider":       {[]install.Old{old("a", "manychat", "C1")}, "a refused"},
		"no provider":            {[]install.Old{old("a", "", "C1")}, "a refused"},
		"a newer one":            {[]install.Old{other(old("a", "slack", "C1"), func(o *install.Old) { o.Newer = true })}, "a refused"},
		"platform fallback":      {[]install.Old{other(old("a", "slack", "C1"), func(o *install.Old) { o.Fallback = true })}, "a refused"},
		"no such agent":          {[]install.Old{other(old("a", "slack", "C1"), func(o *install.Old) { o.AgentID = "x" })}, "a refused"},
		"no such persona":        {[]install.Old{other(old("a", "slack", "C1"), func(o *install.Old) { o.PersonaID = "x" })}, "a refused"},
		"a channel in two ways":  {[]install.Old{old("a", "slack", "C1"), other(old("b", "slack", "C1"), func(o *install.Old) { o.PersonaID = "p1" })}, "a refused, b refused"},
		"everything in two ways": {[]install.Old{old("a", "slack", ""), other(old("b", "slack", ""), func(o *install.Old) { o.PersonaID = "p1" })}, "a refused, b refused"},
		"two ways, one twice":    {[]install.Old{old("a", "slack", "C1"), other(old("b", "slack", "C1"), func(o *install.Old) { o.PersonaID = "p1" }), old("c", "slack", "C1")}, "a refused, b refused, c refused"},
		"a bad channel":          {[]install.Old{old("a", "slack", "C\n1")}, "a refused"},
	} {
		for _, apply := range []bool{false, true} {
			if got := e.backfill(apply, c.rows...); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
	if len(e.store.Rows) != before {
		t.Errorf("a refusal left %d rows", len(e.store.Rows)-before)
	}
	// One live install is the one; two are not.
	e.made("i1")
	if got := e.backfill(true, old("a", "slack", "C1")); got != "a made" {
		t.Error(got)
	}
	if _, bs, _ := e.store.Install(t.Context(), "i1"); len(bs) != 1 {
		t.Errorf("%v", bs)
	}
	if got := e.backfill(true, old("a", "slack", "C1"), other(old("b", "slack", "C1"), func(o *install.Old) { o.PersonaID = "p1" })); got != "a there, b refused" {
		t.Error(got)
	}
	e.made("i2")
	if got := e.backfill(true, old("c", "slack", "C2")); got != "c refused" {
		t.Error(got)
	}
	var many []install.Old
	for n := range install.MaxBackfill + 1 {
		many = append(many, old(fmt.Sprint("r", n), "slack", "C1"))
	}
	for name, rows := range map[string][]install.Old{"none": nil, "too many": many, "an id twice": {old("a", "slack", "C1"), old("a", "slack", "C2")}, "a bad id": {old("a#b", "slack", "C1")}} {
		if _, err := e.s.Backfill(t.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Enterprise}, org.Tiers{}, rows, false); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := e.s.Backfill(t.Context(), e.op(), org.Org{ID: "o2", Tier: taxonomy.Free}, org.Tiers{}, []install.Old{old("a", "slack", "C1")}, true)
	if err != nil || got[0].Outcome != install.Refused || !strings.Contains(got[0].Reason, "tier") {
		t.Errorf("%+v %v", got, err)
	}
}
