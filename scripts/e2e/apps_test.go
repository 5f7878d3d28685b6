package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// admitSomebody rolls a channel out, so that an app of the platform can be activated: for
// an organisation of its own, where the stage is not "on".
func admitSomebody(t *testing.T, provider string) {
	t.Helper()
	must(t, stack.Admit(t.Context(), operator(), provider, newTenant(t, "free", 0).ID))
}

// TestPlatformApp: one app of the operator serves two organisations; each event
// goes to the organisation of its workspace and is answered with that one's token.
// An unknown workspace is acknowledged and recorded, and neither kind of app is
// reached with the other's secret (rows 22 and 23 of the matrix).
func TestPlatformApp(t *testing.T) {
	n := serial.Add(1)
	appID, secret := fmt.Sprintf("A%08d", n), fmt.Sprintf("%sapp%04d", signingSecret, n)
	var app struct{ ID, State string }
	op := operator()
	admitSomebody(t, "slack")
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps", map[string]any{"provider": "slack", "config": map[string]any{"app_id": appID},
		"secrets": map[string]any{"signing_secret": secret}}, &app))
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps/"+app.ID+"/activate", map[string]any{}, nil))
	var spaces []*workspace
	for i := range 2 {
		n := serial.Add(1)
		w := &workspace{tenant: newTenant(t, "enterprise", 1_000_000), team: fmt.Sprintf("T%08d", n), secret: secret, token: fmt.Sprintf("%s-%04d", botToken, n)}
		var agent, install struct{ ID, State string }
		w.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent)
		in := map[string]any{"provider": "slack", "mode": "platform", "app": app.ID, "secrets": map[string]any{"bot_token": w.token},
			"config": map[string]any{"team_id": w.team, "bot_user_id": "U0BOT"}}
		if i == 0 { // an organisation cannot say which workspace is its own
			a, err := tryPost(t.Context(), world.BaseURL+"/api/orgs/"+w.ID+"/installs", w.admin.Key, in)
			if err != nil || a.Status != http.StatusForbidden {
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		}
		w.operatorCall(http.MethodPost, "/installs", in, &install)
		w.install = install.ID
		w.call(http.MethodPost, "/bindings", map[string]any{"install_id": install.ID, "selector": map[string]any{}, "agent_id": agent.ID}, nil)
		must(t, stack.Admit(t.Context(), op, "slack", w.ID))
		w.call(http.MethodPost, "/installs/"+install.ID+"/activate", map[string]any{}, nil)
		spaces = append(spaces, w)
	}
	at := func(e event) event {
		e.path = "/webhooks/slack/" + app.ID
		e.body = []byte(strings.ReplaceAll(string(e.body), `"api_app_id":"A`+spaces[0].team[1:], `"api_app_id":"`+appID))
		e.body = []byte(strings.ReplaceAll(string(e.body), `"api_app_id":"A`+spaces[1].team[1:], `"api_app_id":"`+appID))
		return e
	}
	for i, w := range spaces {
		if a := at(w.message("Ev1", fmt.Sprintf("hello from %d", i), "1760000001.000100")).send(t); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	for i, w := range spaces {
		eventually(t, "the reply is posted", func() bool { return len(w.posts()) == 1 })
		if got := w.posts()[0].Text; got != fmt.Sprintf("You said: hello from %d", i) {
			t.Errorf("%d: %q", i, got)
		}
		w.settled()
		w.consistent()
	}
	stranger := at(spaces[0].message("Ev9", "hello", "1760000009.000100"))
	stranger.body = []byte(strings.ReplaceAll(string(stranger.body), spaces[0].team, "T99999999"))
	if a := stranger.send(t); a.Status != http.StatusOK {
		t.Errorf("unknown workspace: %d %s", a.Status, a.Body)
	}
	var seen struct {
		Items []struct {
			EventID string `json:"event_id"`
			Outcome string
			Code    string `json:"audit_code"`
		}
	}
	must(t, op.Call(t.Context(), http.MethodGet, "/api/operator/apps/"+app.ID+"/deliveries", nil, &seen))
	if len(seen.Items) != 1 || seen.Items[0].Code != "hook.unbound" || seen.Items[0].EventID != "Ev9" {
		t.Errorf("%+v", seen)
	}
	own := newWorkspace(t)
	crossed := at(spaces[0].message("Ev3", "hello", "1760000003.000100"))
	crossed.secret = own.secret
	mine := own.message("Ev4", "hello", "1760000004.000100")
	mine.secret = secret
	direct := at(spaces[0].message("Ev5", "hello", "1760000005.000100"))
	direct.path = "/webhooks/slack/" + spaces[0].install
	for name, e := range map[string]event{"own app's secret at the platform's app": crossed, "the platform's secret at an own app": mine, "the install's own path": direct} {
		if a := e.send(t); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}
