package admin

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestOrganisations(t *testing.T) {
	w := newWorld(t)
	o := w.must("POST", "/api/orgs", operatorKey, `{"name":"Ümlaut & Co","tier":"free"}`, 201)
	if o["tier"] != "free" || o["status"] != "active" || o["settings_version"] != 0.0 || o["ledger_mode"] != "credit" {
		t.Errorf("%v", o)
	}
	w.must("PATCH", "/api/orgs/acme", adminKey, `{"name":"New name"}`, 200)
	for body, param := range map[string]string{`{"tier":"free"}`: "name", `{"name":"x","tier":"gold"}`: "tier", `{"name":" x","tier":"free"}`: "name",
		`{"name":"x","tier":"free","limits":{"budget":{"amount":1}}}`: "limits.budget.period",
		`{"name":"x","tier":"free","parent_org_id":"ghost"}`:          "parent_org_id"} {
		w.refused(w.do("POST", "/api/orgs", operatorKey, body), 400, fault.InvalidRequest, param)
	}
	w.refused(w.do("PATCH", "/api/orgs/acme", adminKey, `{"tier":"enterprise"}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("PATCH", "/api/orgs/acme", adminKey, `{"status":"active"}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("GET", "/api/orgs/operator", operatorKey, ""), 404, fault.NotFound, "")
	w.refused(w.do("POST", "/api/orgs/operator/keys", operatorKey, `{"name":"x","scopes":["admin"]}`), 404, fault.NotFound, "")
	w.refused(w.do("POST", "/api/orgs/operator/keys", adminKey, `{"name":"x","scopes":["admin"]}`), 404, fault.NotFound, "")
}

func TestSettingsResource(t *testing.T) {
	w := newWorld(t)
	s := w.must("GET", "/api/orgs/acme/settings", adminKey, "", 200)
	if s["billing_preference"] != "byok_preferred" || s["allow_platform_fallback"] != false || s["version"] != 0.0 || s["privacy_mode"] != "off" {
		t.Errorf("defaults %v", s)
	}
	put := w.must("PUT", "/api/orgs/acme/settings", adminKey, `{"default_model":"google/x","routing":{"general":{"text":"xai/y"}},"allow_platform_fallback":true}`, 200)
	got := w.must("GET", "/api/orgs/acme/settings", readKey, "", 200)
	if !reflect.DeepEqual(put, got) || got["default_model"] != "gemini/x" || got["version"] != 1.0 ||
		!reflect.DeepEqual(got["routing"], object{"general": object{"text": []any{"grok/y"}}}) {
		t.Errorf("%v\n%v", put, got)
	}
	if o := w.must("GET", "/api/orgs/acme", readKey, "", 200); o["settings_version"] != 1.0 {
		t.Errorf("the organisation says version %v", o["settings_version"])
	}
	// What was read can be put back, and then nobody else's change is lost.
	w.must("PUT", "/api/orgs/acme/settings", adminKey, `{"version":1}`, 200)
	w.refused(w.do("PUT", "/api/orgs/acme/settings", adminKey, `{"version":1}`), 409, fault.Conflict, "")
	w.refused(w.do("PUT", "/api/orgs/acme/settings", adminKey, `{"billing_preference":"always"}`), 400, fault.InvalidRequest, "billing_preference")
}

func TestTiersResource(t *testing.T) {
	w := newWorld(t)
	w.must("PATCH", "/api/orgs/acme", operatorKey, `{"tier":"pro"}`, 200)
	body := fmt.Sprintf(`{"provider":%q,"api_key":%q}`, taxonomy.OpenRouter, w.canary())
	resp := w.do("POST", "/api/orgs/acme/connections", adminKey, body)
	w.refused(resp, 403, fault.BillingDenied, "")
	if !strings.Contains(string(resp.Body), "agency or enterprise") {
		t.Errorf("%s does not say which tier has it", resp.Body)
	}
	w.refused(w.do("POST", "/api/orgs/acme/installs", adminKey, fmt.Sprintf(`{"provider":%q}`, taxonomy.Slack)), 403, fault.BillingDenied, "")
	tiers := w.must("PUT", "/api/operator/tiers", operatorKey, `{"pro":{"byok":true}}`, 200)
	if !reflect.DeepEqual(tiers, w.must("GET", "/api/operator/tiers", operatorKey, "", 200)) ||
		!reflect.DeepEqual(tiers["pro"], object{"byok": true, "byoa": false, "agency": false}) ||
		!reflect.DeepEqual(tiers["agency"], object{"byok": true, "byoa": true, "agency": true}) {
		t.Errorf("%v", tiers)
	}
	w.must("POST", "/api/orgs/acme/connections", adminKey, body, 201)
	w.refused(w.do("PUT", "/api/operator/tiers", operatorKey, `{"gold":{}}`), 400, fault.InvalidRequest, "tier")
	w.refused(w.do("PUT", "/api/operator/tiers", operatorKey, `{"pro":{"magic":true}}`), 400, fault.InvalidRequest, "pro.magic")
}

func TestConnectionsResource(t *testing.T) {
	w := newWorld(t)
	key := w.canary()
	c := w.must("POST", "/api/orgs/acme/connections", adminKey, fmt.Sprintf(`{"provider":%q,"label":"Main","api_key":%q}`, taxonomy.OpenRouter, key), 201)
	if c["hint"] != key[len(key)-4:] || c["fingerprint"] == "" || c["billing_source"] != "byok" || c["allow_platform_fallback"] != false ||
		c["enabled"] != true || c["health"].(object)["status"] != "ok" || c["warnings"] != nil || c["usable"] != true || c["has_key"] != true ||
		c["capabilities"].(object)["text"] != true || c["capabilities"].(object)["audio_in"] != false {
		t.Errorf("%v", c)
	}
	id := "/api/orgs/acme/connections/" + c["id"].(string)
	w.refused(w.do("POST", "/api/orgs/acme/connections", adminKey, fmt.Sprintf(`{"provider":%q,"api_key":%q}`, taxonomy.OpenRouter, key)), 409, fault.Conflict, "api_key")
	w.refused(w.do("PATCH", id, adminKey, `{"base_url":"https://elsewhere.example"}`), 400, fault.InvalidRequest, "api_key")
	w.refused(w.do("PATCH", id, adminKey, `{"api_key":"sk-o...`+c["hint"].(string)+`"}`), 400, fault.InvalidRequest, "api_key")
	w.refused(w.do("POST", id+"/rotate", adminKey, `{}`), 400, fault.InvalidRequest, "api_key")
	w.refused(w.do("POST", id+"/rotate", adminKey, `{"api_key":""}`), 400, fault.InvalidRequest, "api_key")
	p := w.must("PATCH", id, adminKey, `{"label":"L2","enabled":false,"models":["a"]}`, 200)
	if p["label"] != "L2" || p["usable"] != false || p["unusable_reason"] != "disabled" || p["hint"] != c["hint"] || p["version"] != 2.0 {
		t.Errorf("%v", p)
	}
	r := w.must("POST", id+"/revoke", adminKey, "", 200)
	if r["status"] != "revoked" || r["has_key"] != false || r["unusable_reason"] != "revoked" {
		t.Errorf("%v", r)
	}
	w.refused(w.do("POST", id+"/rotate", adminKey, `{"api_key":"`+w.canary()+`"}`), 409, fault.Conflict, "")
	w.must("DELETE", id, adminKey, "", 204)
	w.refused(w.do("GET", id, adminKey, ""), 404, fault.NotFound, "")
	local := w.must("POST", "/api/orgs/acme/connections", adminKey, `{"provider":"ollama","base_url":"https://l.example"}`, 201)
	if local["provider"] != string(taxonomy.OpenAICompatible) || local["has_key"] != false || local["billing_source"] != "private" || local["fingerprint"] != "" {
		t.Errorf("%v", local)
	}
	w.refused(w.do("POST", id+"/test", adminKey, `{"probe":"test_auth"}`), 404, fault.NotFound, "")
}

func TestInstallsResource(t *testing.T) {
	w := newWorld(t)
	w.populate()
	id := "/api/orgs/acme/installs/" + w.ids["installs"]
	i := w.must("GET", id, adminKey, "", 200)
	if i["state"] != "verifying" || i["mode"] != "byoa" || i["callback_url"] != "https://latchkey.example/webhooks/"+string(taxonomy.Slack)+"/"+w.ids["installs"] {
		t.Errorf("%v", i)
	}
	if s := w.must("POST", id+"/activate", adminKey, "", 200); s["state"] != "active" {
		t.Errorf("%v", s)
	}
	w.refused(w.do("POST", id+"/activate", adminKey, `{"now":true}`), 400, fault.InvalidRequest, "now")
	w.must("POST", id+"/suspend", adminKey, "", 200)
	w.refused(w.do("POST", id+"/activate", adminKey, ""), 409, fault.Conflict, "")
	w.refused(w.do("POST", "/api/orgs/acme/installs", adminKey, fmt.Sprintf(`{"provider":%q,"secrets":{"signing_secret":""}}`, taxonomy.Slack)),
		400, fault.InvalidRequest, "secrets.signing_secret")
	w.refused(w.do("POST", "/api/orgs/acme/installs", adminKey, fmt.Sprintf(`{"provider":%q,"secrets":{"signing_secret":7}}`, taxonomy.Slack)),
		400, fault.InvalidRequest, "")
	w.refused(w.do("POST", "/api/orgs/acme/bindings", adminKey, `{"install_id":"`+w.ids["installs"]+`","selector":{},"agent_id":"`+w.ids["agents"]+`"}`),
		409, fault.Conflict, "selector")
	w.refused(w.do("POST", "/api/orgs/acme/bindings", adminKey, `{"install_id":"a#b","agent_id":"x"}`), 400, fault.InvalidRequest, "install_id")
	w.refused(w.do("GET", "/api/orgs/acme/deliveries", adminKey, ""), 400, fault.InvalidRequest, "install")
	w.refused(w.do("GET", "/api/orgs/acme/deliveries?install=a%23b", adminKey, ""), 404, fault.NotFound, "")
	setup := w.must("GET", id+"/setup", adminKey, "", 200)
	if len(setup["checklist"].([]any)) == 0 || !strings.Contains(fmt.Sprint(setup["callback_urls"]), w.ids["installs"]) {
		t.Errorf("%v", setup)
	}
	if b := w.must("GET", "/api/orgs/acme/bindings?install="+w.ids["installs"], adminKey, "", 200); len(b["items"].([]any)) != 1 {
		t.Errorf("%v", b)
	}
}

func TestCreditsResource(t *testing.T) {
	w := newWorld(t)
	w.refused(w.do("POST", "/api/orgs/acme/grants", adminKey, `{"kind":"gifted","amount":1,"idempotency_key":"a"}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("POST", "/api/orgs/acme/grants", operatorKey, `{"kind":"gifted","amount":1.5,"idempotency_key":"a"}`), 400, fault.InvalidRequest, "amount")
	w.refused(w.do("POST", "/api/orgs/acme/grants", operatorKey, `{"kind":"gifted","amount":1}`), 400, fault.InvalidRequest, "idempotency_key")
	g := w.must("POST", "/api/orgs/acme/grants", operatorKey, `{"kind":"gifted","amount":9007199254740993,"idempotency_key":"a"}`, 201)
	if fmt.Sprint(g["kind"]) != "gifted" || w.ledger.postings["acmeg_a"].Amount != 9007199254740993 {
		t.Errorf("%v, %v", g, w.ledger.postings)
	}
	resp := w.do("GET", "/api/orgs/acme/credits", billingKey, "")
	if !strings.Contains(string(resp.Body), `"posted":9007199254740993`) || !strings.Contains(string(resp.Body), `"expires_at":null`) {
		t.Errorf("%s", resp.Body)
	}
	row := w.rows.Rows()[len(w.rows.Rows())-1]
	if row.Action != "grant.create" || row.Detail["amount"] != "9007199254740993" || !strings.HasPrefix(row.Actor, "operator:") {
		t.Errorf("%+v", row)
	}
	u := w.must("GET", "/api/orgs/acme/usage?from=2026-11-01T23:00:00-05:00&to=2026-11-20&group_by=day,agent_id,billing_source", billingKey, "", 200)
	first := u["items"].([]any)[0].(object)
	if !reflect.DeepEqual(first["key"], object{"day": "2026-11-02", "agent_id": "day+agent+source", "billing_source": "platform"}) || first["audio_seconds"] != 61.25 {
		t.Errorf("%v", first)
	}
	w.refused(w.do("GET", "/api/orgs/acme/usage?group_by=colour", billingKey, ""), 400, fault.InvalidRequest, "group_by")
	w.refused(w.do("GET", "/api/orgs/acme/usage?from=yesterday", billingKey, ""), 400, fault.InvalidRequest, "from")
	entries := w.must("GET", "/api/orgs/acme/entries", billingKey, "", 200)["items"].([]any)
	usage, grant := entries[0].(object), entries[1].(object)
	if usage["request_id"] != "r1" || usage["posting_id"] != nil || grant["request_id"] != nil || grant["posting_id"] != "g_1" || grant["usage"] != nil {
		t.Errorf("%v", entries)
	}
	w.ledger.mismatch = true
	all := w.must("POST", "/api/operator/reconcile", operatorKey, "", 200)
	if all["ok"] != false || all["checked"] != 4.0 || len(all["mismatches"].([]any)) != 2 {
		t.Errorf("%v", all)
	}
	w.refused(w.do("POST", "/api/operator/reconcile", operatorKey, `{"org_id":"ghost"}`), 404, fault.NotFound, "")
	if deep := w.must("POST", "/api/operator/reconcile", operatorKey, `{"org_id":"acme","deep":true}`, 200); deep["checked"] != 12.0 {
		t.Errorf("%v", deep)
	}
	bad := w.must("GET", "/api/operator/poison?limit=1", operatorKey, "", 200)
	one := bad["items"].([]any)[0].(object)
	if one["org_id"] != "acme" || one["reason"] != "projection_refused" || one["next_at"] != nil || bad["next_cursor"] == nil {
		t.Errorf("%v", bad)
	}
	bad = w.must("GET", "/api/operator/poison?cursor="+bad["next_cursor"].(string), operatorKey, "", 200)
	two := bad["items"].([]any)[0].(object)
	if len(bad["items"].([]any)) != 1 || two["reason"] != "balance_refused" || two["tries"] != 2.0 || two["next_at"] != "2026-11-21T14:00:00Z" {
		t.Errorf("%v", bad)
	}
	for body, want := range map[string]float64{"": 2, `{"id":"` + one["id"].(string) + `"}`: 1} {
		if got := w.must("POST", "/api/operator/poison/retry", operatorKey, body, 200); got["retried"] != want {
			t.Errorf("%s: %v", body, got)
		}
	}
	w.refused(w.do("POST", "/api/operator/poison/retry", operatorKey, `{"id":"p_none"}`), 404, fault.NotFound, "")
	w.refused(w.do("POST", "/api/operator/poison/retry", operatorKey, `{"id":"x"}`), 400, fault.InvalidRequest, "id")
	gone := w.must("POST", "/api/operator/poison/dismiss", operatorKey, `{"id":"`+one["id"].(string)+`","reason":"refunded by hand"}`, 200)
	if gone["id"] != one["id"] || gone["dismissed_at"] == nil || gone["dismissed_by"] == "" || gone["dismissal"] != "refunded by hand" || one["dismissed_at"] != nil {
		t.Errorf("%v", gone)
	}
	w.refused(w.do("POST", "/api/operator/poison/dismiss", operatorKey, `{"id":"p_none","reason":"x"}`), 404, fault.NotFound, "")
	w.refused(w.do("POST", "/api/operator/poison/dismiss", operatorKey, `{"reason":"x"}`), 400, fault.InvalidRequest, "id")
	again := w.must("POST", "/api/operator/rebuild-usage", operatorKey, "", 200)
	if again["complete"] != true || again["progress"] != nil || again["finished"] != 2.0 {
		t.Errorf("%v", again)
	}
	dead := w.must("GET", "/api/operator/unbilled?month=2026-10", operatorKey, "", 200)
	newest := dead["items"].([]any)[0].(object)
	if dead["month"] != "2026-10" || dead["requests"] != 2.0 || dead["at_most"] != 10.0 || dead["late"] != 1.0 || dead["complete"] != true || newest["request_id"] != "r2" || newest["hold"] != 5.0 {
		t.Errorf("%v", dead)
	}
	w.refused(w.do("GET", "/api/operator/unbilled?month=October", operatorKey, ""), 400, fault.InvalidRequest, "month")
}

func TestPricesResource(t *testing.T) {
	w := newWorld(t)
	first := w.must("POST", "/api/operator/prices", operatorKey, prices, 201)
	if first["active"] != true || first["row_count"] != 1.0 {
		t.Errorf("%v", first)
	}
	second := w.must("POST", "/api/operator/prices", operatorKey, strings.Replace(prices, `,"activate":true`, "", 1), 201)
	if second["active"] != false {
		t.Errorf("%v", second)
	}
	path := "/api/operator/prices/" + second["version"].(string)
	if a := w.must("POST", path+"/activate", operatorKey, "", 200); a["active"] != true {
		t.Errorf("%v", a)
	}
	if b := w.must("GET", path, operatorKey, "", 200); len(b["rows"].([]any)) != 1 {
		t.Errorf("%v", b)
	}
	w.refused(w.do("POST", "/api/operator/prices/nope/activate", operatorKey, ""), 404, fault.NotFound, "")
	w.refused(w.do("POST", "/api/operator/prices", operatorKey, strings.Replace(prices, "openrouter", "nobody", 1)), 400, fault.InvalidRequest, "rows.provider")
	w.refused(w.do("POST", "/api/operator/prices", operatorKey, strings.Replace(prices, "input_text", "moonlight", 1)), 400, fault.InvalidRequest, "meter")
}
