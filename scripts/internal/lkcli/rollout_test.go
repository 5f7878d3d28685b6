package lkcli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestRolloutCommands: status, promote and rollback against the real API; what takes
// a change back is printed.
func TestRolloutCommands(t *testing.T) {
	d := deploy(t)
	if r := d.run("", "rollout", "status"); r.code != ExitDone || !strings.Contains(r.out, "credit_ledger") || !strings.Contains(r.out, "slack") {
		t.Fatalf("%+v", r)
	}
	r := d.run("", "rollout", "rollback", "slack", "--reason", "twice")
	if r.code != ExitDone || !strings.Contains(r.out, "lk rollout promote slack --stage canary --org-ids ORG") || !strings.Contains(r.errOut+r.out, "lk rollout enforce") {
		t.Errorf("%+v", r)
	}
	if r := d.run("", "rollout", "promote", "slack", "--stage", "on"); r.code != ExitRefused || !strings.Contains(r.errOut, "canary") {
		t.Errorf("%+v", r)
	}
	if r := d.run("", "rollout", "enforce", "slack", "--json"); r.code != ExitDone || !strings.Contains(r.out, `"subject":"slack"`) {
		t.Errorf("%+v", r)
	}
	if r := d.run("", "rollout", "rollback", "slack"); r.code != ExitUsage {
		t.Errorf("%+v", r)
	}
}

// TestEnforceGoesOnToTheEnd: every page is asked for, and an interrupted run says
// where to go on.
func TestEnforceGoesOnToTheEnd(t *testing.T) {
	var cursors []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Cursor string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		cursors = append(cursors, in.Cursor)
		next := map[string]string{"": "o25", "o25": "o50", "o50": ""}[in.Cursor]
		if r.URL.Path != "/api/rollout/slack/enforce" || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		_, _ = fmt.Fprintf(w, `{"subject":"slack","checked":25,"suspended":[{"org_id":"o","install_id":"i%s"}],"next":%q}`, in.Cursor, next)
	}))
	defer s.Close()
	env := map[string]string{"LATCHKEY_URL": s.URL, "LATCHKEY_KEY": "lk_operator_k_secretsecretsecretsecret"}
	r := lk(t, "", env, "rollout", "enforce", "slack", "--json")
	var out enforced
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || r.code != ExitDone || out.Checked != 75 || len(out.Suspended) != 3 || out.Next != "" || !slices.Equal(cursors, []string{"", "o25", "o50"}) {
		t.Errorf("%+v %v", r, cursors)
	}
	cursors = nil
	if r := lk(t, "", env, "rollout", "enforce", "slack", "--cursor", "o50"); r.code != ExitDone || !slices.Equal(cursors, []string{"o50"}) {
		t.Errorf("%+v %v", r, cursors)
	}
	if r := lk(t, "", env, "rollout", "enforce", "a/b"); r.code != ExitUsage {
		t.Errorf("%+v", r)
	}
}

// TestMigrateInstalls: the rows of a file go to the organisation of --org, and a
// refused one is exit code 1.
func TestMigrateInstalls(t *testing.T) {
	d := deploy(t)
	var made struct{ ID string }
	if r := d.run("", "org", "create", "--name", "Acme", "--tier", "enterprise", "--json"); json.Unmarshal([]byte(r.out), &made) != nil || r.code != ExitDone {
		t.Fatalf("%+v", r)
	}
	var agent struct{ ID string }
	if r := d.run("", "agent", "create", "--org", made.ID, "--name", "A", "--json"); json.Unmarshal([]byte(r.out), &agent) != nil || r.code != ExitDone {
		t.Fatalf("%+v", r)
	}
	rows := `[{"id":"old1","provider":"slack","agentId":"` + agent.ID + `"}]`
	for how, want := range map[string]int{"--dry-run": ExitDone, "--apply": ExitDone} {
		if r := d.run(rows, "migrate", "installs", "--org", made.ID, "-", how); r.code != want || !strings.Contains(r.out, "mig-") {
			t.Errorf("%s: %+v", how, r)
		}
	}
	if r := d.run(strings.Replace(rows, agent.ID, "nobody", 1), "migrate", "installs", "--org", made.ID, "-", "--apply"); r.code != ExitRefused || !strings.Contains(r.out, "refused") {
		t.Errorf("%+v", r)
	}
	if r := d.run(rows, "migrate", "installs", "--org", made.ID, "-"); r.code != ExitRefused || !strings.Contains(r.errOut, "dry_run or apply") {
		t.Errorf("%+v", r)
	}
}
