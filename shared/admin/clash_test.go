package admin

import (
	"fmt"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestClashesAreRecorded: what stands in another's way is written into the refused
// organisation's rows, and nothing into the other's.
func TestClashesAreRecorded(t *testing.T) {
	w := newWorld(t)
	w.populate()
	refusals := func(org string) (out []string) {
		rows, _, err := w.rows.Audit(t.Context(), org, "", 100, w.now)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Outcome == audit.Refused {
				out = append(out, r.Action+" "+r.Target+" "+r.Code)
			}
		}
		slices.Sort(out)
		return out
	}
	install := func(app, token string) {
		t.Helper()
		if resp := w.do("POST", "/api/orgs/acme/installs", adminKey, fmt.Sprintf(`{"provider":%q,"config":{"app_id":%q,"team_id":"T1"},"secrets":{"signing_secret":%q,"bot_token":%q}}`,
			taxonomy.Slack, app, w.canary(), token)); resp.Status != 201 && resp.Status != 409 {
			t.Fatalf("%d %s", resp.Status, resp.Body)
		}
	}
	token := "xoxb-" + w.canary()
	install("A7", token)
	install("A8", token)
	install("A7", "xoxb-"+w.canary())
	w.refused(w.do("POST", "/api/orgs/acme/bindings", adminKey, `{"install_id":"`+w.ids["installs"]+`","selector":{},"agent_id":"`+w.ids["agents"]+`"}`), 409, fault.Conflict, "selector")
	want := []string{"binding.ambiguous " + w.ids["installs"] + " conflict", "install.tenant_in_use  conflict", "install.token_in_use  conflict"}
	if got := refusals("acme"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := refusals("other"); len(got) != 0 {
		t.Errorf("the other organisation has %q", got)
	}
}
