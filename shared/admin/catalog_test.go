package admin

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestCatalog(t *testing.T) {
	w := newWorld(t)
	byID := map[string]object{}
	cursor, pages := "", 0
	for {
		page := w.must("GET", "/api/catalog?limit=2"+cursor, adminKey, "", 200)
		for _, x := range page["items"].([]any) {
			x := x.(object)
			byID[x["kind"].(string)+"/"+x["id"].(string)] = x
		}
		pages++
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	offered := slices.DeleteFunc(slices.Clone(w.api.s.Fields.Manifests()), func(m credential.Manifest) bool { return m.Kind == credential.Payment || m.Kind == credential.Tool })
	if len(offered) == len(w.api.s.Fields.Manifests()) || byID["payment/"+stripe.ID] != nil {
		t.Error("the payment vendor is offered to organisations")
	}
	if manifests := offered; len(byID) != len(manifests) || pages != (len(manifests)+1)/2 {
		t.Errorf("%d entries on %d pages, %d manifests", len(byID), pages, len(manifests))
	}
	fields := func(id string) map[string]object {
		out := map[string]object{}
		for _, f := range byID[id]["fields"].([]any) {
			out[f.(object)["name"].(string)] = f.(object)
		}
		return out
	}
	vendor := byID["provider/"+string(taxonomy.OpenRouter)]
	if !reflect.DeepEqual(vendor["classes"], []any{"ai_key"}) || vendor["capabilities"].(object)["audio_in"] != true ||
		!reflect.DeepEqual(vendor["base_url"], object{"default": "https://openrouter.ai/api/v1", "required": false, "hosts": []any{"openrouter.ai"}}) {
		t.Errorf("%v", vendor)
	}
	if f := fields("provider/" + string(taxonomy.OpenRouter))["api_key"]; !reflect.DeepEqual(f, object{"name": "api_key", "label": "API key", "class": "ai_key",
		"sensitivity": "secret", "required": true, "list": false, "form": "token", "hint": "last4", "min_bytes": 16.0, "max_bytes": 512.0,
		"help": "Usually starts with sk-or-"}) {
		t.Errorf("%v", f)
	}
	tenant := byID["provider/"+string(taxonomy.OpenAICompatible)]
	if !reflect.DeepEqual(tenant["base_url"], object{"required": true, "hosts": []any{}}) ||
		fields("provider/" + string(taxonomy.OpenAICompatible))["base_url"]["required"] != true ||
		fields("provider/" + string(taxonomy.OpenAICompatible))["api_key"]["required"] != false {
		t.Errorf("%v", tenant)
	}
	app := fields("channel/" + string(taxonomy.Slack))
	if app["signing_secret"]["hint"] != "none" || app["signing_secret"]["class"] != "channel_verify" || app["bot_token"]["hint"] != "last4" ||
		app["team_id"]["sensitivity"] != "public" || app["team_id"]["class"] != nil || byID["channel/"+string(taxonomy.Slack)]["capabilities"] != nil {
		t.Errorf("%v", app)
	}
	if any := fields("integration/any"); any["refresh_token"]["hint"] != "none" || any["refresh_token"]["class"] != "integration" {
		t.Errorf("%v", any)
	}
}

// narrow replaces the declarations by ones that let less out.
func (w *world) narrow(ms ...credential.Manifest) {
	w.Helper()
	r, err := credential.New(ms...)
	if err != nil {
		w.Fatal(err)
	}
	w.api.s.Fields = r
}

// TestDeclarationsDecideWhatIsShown: what a connection stored is shown if, and
// only if, its provider's declaration says so now.
func TestDeclarationsDecideWhatIsShown(t *testing.T) {
	w := newWorld(t)
	key := "sk-or-0123456789" + w.canary()
	id := w.must("POST", "/api/orgs/acme/connections", adminKey, `{"provider":"openrouter","api_key":"`+key+`","base_url":"https://openrouter.ai/api/v1","default_voice_id":"v1"}`, 201)["id"].(string)
	see := func() string {
		one := w.must("GET", "/api/orgs/acme/connections/"+id, adminKey, "", 200)
		many := w.must("GET", "/api/orgs/acme/connections", adminKey, "", 200)["items"].([]any)[0].(object)
		a, b := fmt.Sprint(one["hint"], one["base_url"], one["default_voice_id"]), fmt.Sprint(many["hint"], many["base_url"], many["default_voice_id"])
		if a != b {
			t.Errorf("one shows %s, the list %s", a, b)
		}
		return a
	}
	manifest := func(hint credential.HintRule, rest credential.Sensitivity) credential.Manifest {
		return credential.Manifest{Kind: credential.Provider, ID: string(taxonomy.OpenRouter), Title: "V", Fields: []credential.FieldSpec{
			{Field: "api_key", Class: taxonomy.AIKey, Hint: hint}, {Field: "base_url", Sensitivity: rest}, {Field: "default_voice_id", Sensitivity: rest}}}
	}
	last := key[len(key)-4:]
	if got := see(); got != last+" https://openrouter.ai/api/v1 v1" && got != last+"https://openrouter.ai/api/v1v1" {
		t.Errorf("built in: %s", got)
	}
	w.narrow(manifest(credential.Last4, credential.Internal))
	if got := see(); !strings.HasPrefix(got, last) || strings.Contains(got, "https") || strings.Contains(got, "v1") {
		t.Errorf("internal: %s", got)
	}
	w.narrow(manifest(credential.NoHint, credential.Public))
	if got := see(); strings.HasPrefix(got, last) || !strings.Contains(got, "https") {
		t.Errorf("without a hint: %s", got)
	}
	w.narrow()
	if got := see(); strings.Contains(got, last) || strings.Contains(got, "https") || strings.Contains(got, "v1") {
		t.Errorf("undeclared: %s", got)
	}
	w.narrow(manifest(credential.Last4, credential.Internal))
	items := w.must("GET", "/api/catalog", adminKey, "", 200)["items"].([]any)
	if fields := items[0].(object)["fields"].([]any); len(items) != 1 || len(fields) != 1 {
		t.Errorf("internal fields are listed: %v", items)
	}
}

// TestMasksAreRefused: what a form or a log shows in place of a secret is never
// saved over the secret, wherever one goes in.
func TestMasksAreRefused(t *testing.T) {
	w := newWorld(t)
	w.populate()
	connection, app := "/api/orgs/acme/connections", "/api/orgs/acme/installs"
	before := w.changes()
	for _, mask := range []string{"****************wxyz", "••••••••wxyz", "[redacted]", "[secret]", "sk-or-0123456789...", "…wxyz", "xxxxxxxxxxxxxxxxxxxx"} {
		for _, c := range []struct{ method, path, body, param string }{
			{"POST", connection, `{"provider":"openrouter","api_key":%q}`, "api_key"},
			{"PATCH", connection + "/" + w.ids["connections"], `{"api_key":%q}`, "api_key"},
			{"POST", connection + "/" + w.ids["connections"] + "/rotate", `{"api_key":%q}`, "api_key"},
			{"POST", app, `{"provider":"slack","secrets":{"signing_secret":%q}}`, "secrets.signing_secret"},
			{"POST", app, `{"provider":"slack","config":{"app_id":"A9","team_id":"T9"},"secrets":{"signing_secret":"a-good-signing-secret","bot_token":[%q]}}`, "secrets.bot_token"},
			{"POST", app + "/" + w.ids["installs"] + "/rotate", `{"name":"signing_secret","value":%q}`, "value"},
			{"POST", app + "/" + w.ids["installs"] + "/rotate", `{"name":"bot_token","value":%q}`, "value"},
		} {
			resp := w.do(c.method, c.path, adminKey, fmt.Sprintf(c.body, mask))
			w.refused(resp, 400, fault.InvalidRequest, c.param)
			if !strings.Contains(string(resp.Body), "masked") || strings.Contains(string(resp.Body), mask) {
				t.Errorf("%s %s with %s: %s", c.method, c.path, mask, resp.Body)
			}
		}
	}
	if n := w.changes() - before; n != 0 {
		t.Errorf("%d changes were written", n)
	}
	heads, err := w.vault.Heads(t.Context(), "acme")
	if err != nil || len(heads) != 5 {
		t.Errorf("%d credentials are stored, want 5: a refused request sealed something (%v)", len(heads), err)
	}
}
