package admin

import (
	"fmt"
	"strings"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/integrationtest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// example is one successful call of a route by the operator.
type example struct {
	path string
	body string
}

// examples has one call for every route, "METHOD pattern". A route without an
// example fails TestEveryRoute.
func examples(w *world) map[string]example {
	// path fills the parameters of a pattern with what the world has.
	path := func(pattern string) string {
		kind := strings.Split(strings.TrimPrefix(strings.TrimPrefix(pattern, base+"/"), "/api/operator/"), "/")[0]
		return strings.NewReplacer("{org}", "acme", "{id}", w.ids[kind], "{version}", w.ids["version"]).Replace(pattern)
	}
	out := map[string]example{}
	add := func(method, pattern, query, body string) {
		out[method+" "+pattern] = example{path(pattern) + query, body}
	}
	get := func(patterns ...string) {
		for _, p := range patterns {
			add("GET", p, "", "")
		}
	}
	get("/api/health", "/api/openapi.json", "/api/catalog", "/api/models", "/api/orgs", base, base+"/keys", base+"/settings", base+"/agents", base+"/agents/{id}", base+"/tools", base+"/tools/{id}", base+"/audit",
		base+"/connections", base+"/connections/{id}", base+"/installs", base+"/installs/{id}", base+"/installs/{id}/setup", base+"/bindings",
		base+"/bindings/{id}", base+"/approvals", base+"/approvals/{id}", base+"/sessions", base+"/sessions/{id}", base+"/sessions/{id}/messages", base+"/turns/{id}", base+"/credits",
		base+"/entries", base+"/holds", base+"/legacy-tokens", base+"/legacy-tokens/parity", base+"/alerts", base+"/alerts/settings", base+"/requests/{id}", base+"/billing", base+"/billing/replenish", "/api/operator/billing", "/api/operator/tiers", "/api/operator/prices", "/api/operator/prices/{version}",
		"/api/operator/audit", "/api/operator/audit/verify", "/api/operator/poison", "/api/operator/unbilled", base+"/audit/verify", base+"/integrations", base+"/integrations/{id}",
		"/api/operator/rotations", "/api/operator/rotations/{id}", "/api/operator/payments",
		"/api/operator/apps", "/api/operator/apps/{id}", "/api/operator/apps/{id}/deliveries")
	add("GET", base+"/deliveries", "?install="+w.ids["installs"], "")
	add("GET", base+"/usage", "?from=2026-11-01&to=2026-11-21&group_by=model,agent", "")

	add("POST", "/api/orgs", "", `{"name":"New","tier":"free","limits":{"requests_per_minute":60}}`)
	add("PATCH", base, "", `{"name":"Renamed","tier":"agency","status":"active","limits":{"concurrent":5}}`)
	add("POST", base+"/keys", "", `{"name":"CI","scopes":["invoke","read"],"agent_id":"`+w.ids["agents"]+`","expires_at":"2027-01-01T00:00:00Z","limits":{"requests_per_minute":60,"tokens_per_minute":100000,"concurrent":5,"budget":{"amount":5000000,"period":"month"}}}`)
	add("DELETE", base+"/keys/{id}", "", "")
	add("PUT", base+"/settings", "", `{"default_model":"openrouter/m","enabled_models":["openrouter/m"],"fallback":[],"routing":{"general":{"text":"openrouter/m"}},`+
		`"aliases":{"Fast":"openrouter/m"},"privacy_mode":"off","quality_floor":"gold","billing_preference":"byok_required","allow_platform_fallback":true,"version":0}`)
	add("POST", base+"/routes/explain", "", `{"model":"auto","agent":"`+w.ids["agents"]+`","intent":"tooling","modality":"vision","capabilities":["tools","json"]}`)
	add("POST", base+"/agents", "", `{"name":"B","instructions":"be kind","personas":[{"id":"p","name":"P","instructions":"x","voice":"v"}],"model":"openrouter/m","fallback":["openrouter/n"],"tools":["t"],"voice":"v","history_tokens":8000,"handoff":{"enabled":true,"note":"One moment.","resume_after_minutes":60}}`)
	add("PATCH", base+"/agents/{id}", "", `{"name":"C"}`)
	add("DELETE", base+"/agents/{id}", "", "")

	add("POST", base+"/tools", "", `{"name":"cancel","description":"Cancels an order","url":"https://shop.example/orders/{id}/cancel?dry={dry}","method":"POST","parameters":{"type":"object","properties":{"id":{"type":"string"},"dry":{"type":"boolean"},"why":{"type":"string"}},"required":["id","dry"]},`+
		`"headers":{"Authorization":"Bearer `+w.canary()+`"},"timeout_seconds":5,"max_bytes":4096,"integrity":"signed","approval":"required","approval_hours":2,"action":"tool_cancel"}`)
	add("POST", base+"/approvals/{id}", "", `{"decision":"approve","reason":"as agreed"}`)
	add("POST", base+"/sessions/{id}/handoff", "", `{"reason":"a refund"}`)
	add("POST", base+"/sessions/{id}/messages", "", `{"text":"I am on it.","idempotency_key":"k3"}`)
	add("POST", base+"/sessions/{id}/resume", "", "")
	add("PATCH", base+"/tools/{id}", "", `{"description":"Finds an order","timeout_seconds":3}`)
	add("DELETE", base+"/tools/{id}", "", "")

	add("POST", base+"/connections", "", `{"provider":"openai-compatible","label":"Own","base_url":"https://llm.example/v1","api_key":"`+w.canary()+
		`","priority":3,"enabled":true,"models":["m"],"billing_source":"private","allow_platform_fallback":true,"default_voice_id":"v"}`)
	add("PATCH", base+"/connections/{id}", "", `{"label":"New","api_key":"`+w.canary()+`","base_url":"https://eu.example/v1"}`)
	add("POST", base+"/connections/{id}/rotate", "", `{"api_key":"`+w.canary()+`","overlap_seconds":60}`)
	add("POST", base+"/connections/{id}/rotate/rollback", "", "")
	add("POST", base+"/connections/{id}/test", "", `{"probe":"list_models"}`)
	add("POST", base+"/connections/{id}/revoke", "", "")
	add("DELETE", base+"/connections/{id}", "", "")

	add("POST", base+"/installs", "", fmt.Sprintf(`{"provider":%q,"mode":"byoa","label":"Two","config":{"app_id":"A2","team_id":["T2"]},"secrets":{"signing_secret":%q,"bot_token":["xoxb-%s"]},"public_url":"https://x.example/"}`,
		taxonomy.Slack, w.canary(), w.canary()))
	add("POST", base+"/installs/consent", "", fmt.Sprintf(`{"provider":%q,"app":"app_1"}`, taxonomy.Slack))
	add("POST", base+"/installs/import", "", `{"rows":[{"id":"old1","provider":"telegram","channel":"42","agentId":"`+w.ids["agents"]+`","personaId":"p1","connectionId":"","accountId":"","installationId":"","profileId":"","profileType":"","allowPlatformFallback":false}],"apply":true,"dry_run":false}`)
	add("PATCH", base+"/installs/{id}", "", `{"label":"Renamed","config":{"bot_user_id":"U1"}}`)
	add("DELETE", base+"/installs/{id}", "", "")
	for _, action := range []string{"activate", "suspend", "revoke"} {
		add("POST", base+"/installs/{id}/"+action, "", "{}")
	}
	add("POST", base+"/installs/{id}/resume", "", "")
	add("POST", base+"/installs/{id}/rotate", "", `{"name":"signing_secret","value":"`+w.canary()+`","retire_at":"2026-11-21T18:00:00Z"}`)
	add("POST", base+"/installs/{id}/rotate/finish", "", `{"name":"signing_secret"}`)
	add("POST", "/api/operator/apps", "", fmt.Sprintf(`{"provider":%q,"label":"Ours","config":{"app_id":"A8"},"secrets":{"signing_secret":%q}}`, taxonomy.Slack, w.canary()))
	add("PATCH", "/api/operator/apps/{id}", "", `{"label":"Renamed"}`)
	for _, action := range []string{"activate", "suspend", "resume", "revoke"} {
		add("POST", "/api/operator/apps/{id}/"+action, "", "")
	}
	add("POST", "/api/operator/apps/{id}/rotate", "", `{"name":"signing_secret","value":"`+w.canary()+`","retire_at":"2026-11-21T18:00:00Z"}`)
	add("POST", "/api/operator/apps/{id}/rotate/finish", "", `{"name":"signing_secret"}`)
	add("POST", base+"/bindings", "", `{"install_id":"`+w.ids["installs"]+`","selector":{"team":"T1","channel":"C1","mention":true},"agent_id":"`+w.ids["agents"]+`","persona_id":"p1"}`)
	add("PATCH", base+"/bindings/{id}", "", `{"persona_id":"p1"}`)
	add("DELETE", base+"/bindings/{id}", "", "")

	add("POST", base+"/integrations", "", `{"provider":"smtp","label":"Mail","fields":{"user":"`+w.canary()+`","password":"`+w.canary()+`"},"reusable_refresh":true}`)
	add("POST", base+"/integrations/import", "", `{"rows":[{"id":"old1","provider":"hubspot","label":"CRM","fields":{"accessToken":{"shape":"legacy_plaintext","value":"`+w.canary()+
		`"},"refreshToken":{"shape":"legacy_plaintext","value_base64":"AAEC"}}},{"id":"old2","provider":"smtp","value":"`+w.canary()+`","reusable_refresh":true}]}`)
	add("POST", base+"/integrations/migrate", "", `{"to":"dual_read","dry_run":true}`)
	add("DELETE", base+"/integrations/{id}", "", "")
	add("POST", base+"/integrations/{id}/mode", "", `{"mode":"new_only"}`)
	add("POST", base+"/integrations/{id}/purge", "", "")
	add("PUT", "/api/operator/legacy-key", "", `{"key":"`+integrationtest.KeyText+`"}`)

	add("PUT", base+"/credits", "", `{"credit_line":500}`)
	add("POST", base+"/grants", "", `{"kind":"purchased","amount":1000000,"idempotency_key":"k1"}`)
	add("POST", base+"/adjustments", "", `{"kind":"gifted","amount":-5,"idempotency_key":"k2"}`)
	add("PUT", base+"/legacy-tokens", "", `{"limit_tokens":1000,"rate_pico":2000000,"rounding":100,"rates":[{"model":"*","input_pico":1,"output_pico":2}]}`)
	add("POST", base+"/legacy-tokens/import", "", `{"rows":[{"id":"r1","periodStart":1772323200000,"periodEnd":1772409600000,"requestCount":3,"inputTokens":2,"outputTokens":3,"totalTokens":5,"costInCents":1.25,"requestType":"chat","provider":"openrouter","model":"prov/m","success":true}]}`)
	add("PUT", base+"/alerts/settings", "", `{"low_balance":1000000}`)
	add("PUT", base+"/billing", "", `{"ledger_mode":"legacy","model":"flat_platform_fee","flat_fee":20000,"endpoint_fee":500,"free_requests_per_month":1000}`)
	add("PUT", "/api/operator/billing", "", `{"enterprise":{"model":"optional_surcharge","surcharge_bps":500},"agency":{"inherit":true}}`)
	add("GET", base+"/sharing", "", "")
	add("GET", base+"/sharing/clients", "", "")
	add("PUT", base+"/sharing", "", `{"mode":"shared_when_empty","client_per_day":1000000,"total_per_day":5000000}`)
	add("POST", base+"/sharing/renew", "", `{"cursor":""}`)
	out["PUT "+base+"/sharing/clients/{id}"] = example{"/api/orgs/acme/sharing/clients/client1", `{"mode":"shared_always","per_day":250000}`}
	add("POST", base+"/billing/checkout", "", `{"amount":10000000,"save_payment_method":true}`)
	add("POST", base+"/billing/portal", "", "")
	add("PUT", base+"/billing/replenish", "", `{"enabled":true,"threshold":2000000,"amount":10000000,"monthly_cap":50000000}`)
	out["GET /api/rollout"] = example{"/api/rollout", ""}
	out["POST /api/rollout/{subject}/promote"] = example{"/api/rollout/" + string(redChannel) + "/promote", `{"stage":"canary","org_ids":["acme"],"version":0}`}
	out["POST /api/rollout/{subject}/rollback"] = example{"/api/rollout/ai_connections/rollback", `{"reason":"too early","to":"off","version":0}`}
	out["POST /api/rollout/{subject}/enforce"] = example{"/api/rollout/" + string(redChannel) + "/enforce", `{"cursor":""}`}
	add("PUT", "/api/operator/payments", "", `{"api_key":"`+w.canary()+`","webhook_secret":"`+w.canary()+`","overlap_seconds":60}`)
	add("POST", "/api/operator/payments/finish", "", "")
	add("PUT", "/api/operator/tiers", "", `{"pro":{"byok":true}}`)
	add("POST", "/api/operator/prices", "", strings.Replace(prices, `"rate_pico":1`, `"rate_pico":2,"tier_from":0,"min_units":1`, 1))
	add("POST", "/api/operator/prices/{version}/activate", "", "")
	add("POST", "/api/operator/reconcile", "", `{"org_id":"acme","deep":true}`)
	add("POST", "/api/operator/poison/retry", "", `{"id":""}`)
	add("POST", "/api/operator/poison/dismiss", "", `{"id":"`+credit.Poison{PK: "R#acme#r1", SK: "REQ"}.ID()+`","reason":"refunded by hand"}`)
	add("POST", "/api/operator/rebuild-usage", "", `{"org_id":"acme","cursor":""}`)
	add("POST", "/api/operator/rotations", "", `{"kind":"kek","to":"`+w.kek.Keys()[1]+`","rate":10}`)
	add("POST", "/api/operator/rotations/{id}/rollback", "", "{}")
	return out
}

// prepare brings the world into the state that a route's example needs.
func (w *world) prepare(name string) {
	if name == "POST "+base+"/connections/{id}/rotate/rollback" {
		w.must("POST", "/api/orgs/acme/connections/"+w.ids["connections"]+"/rotate", adminKey, `{"api_key":"`+w.canary()+`"}`, 200)
	}
	if name == "PUT "+base+"/legacy-tokens" || name == "POST "+base+"/legacy-tokens/import" {
		w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"legacy"}`, 200)
	}
	if name == "POST /api/operator/payments/finish" {
		for range 2 {
			w.must("PUT", "/api/operator/payments", operatorKey, `{"webhook_secret":"`+w.canary()+`"}`, 200)
		}
	}
	if name == "PUT "+base+"/sharing" {
		w.must("PATCH", "/api/orgs/acme", operatorKey, `{"tier":"agency"}`, 200)
	}
	if name == "POST "+base+"/sharing/renew" || name == "GET "+base+"/sharing/clients" || name == "PUT "+base+"/sharing/clients/{id}" {
		w.must("PATCH", "/api/orgs/acme", operatorKey, `{"tier":"agency"}`, 200)
		w.must("PUT", "/api/orgs/acme/sharing", adminKey, `{"mode":"shared_always","client_per_day":1,"total_per_day":2}`, 200)
		// A client from before its agency shared anything.
		w.rows.Adopt(org.Org{ID: "client1", Name: "Client", ParentID: "acme", Tier: taxonomy.Free, Status: org.Active, Version: 1})
	}
	if name == "POST "+base+"/installs/{id}/resume" {
		w.must("POST", "/api/orgs/acme/installs/"+w.ids["installs"]+"/suspend", adminKey, "", 200)
	}
	if name == "POST /api/operator/apps/{id}/resume" {
		w.must("POST", "/api/operator/apps/"+w.ids["apps"]+"/suspend", operatorKey, "", 200)
	}
	if name == "POST "+base+"/sessions/{id}/messages" || name == "POST "+base+"/sessions/{id}/resume" {
		w.must("POST", "/api/orgs/acme/sessions/"+w.ids["sessions"]+"/handoff", adminKey, "{}", 200)
	}
	if name == "POST "+base+"/integrations/{id}/purge" {
		w.verified(w.ids["integrations"])
	}
}

// verified gives an integration a legacy copy whose new one was verified a week
// ago.
func (w *world) verified(id string) {
	i, err := w.integrations.Integration(w.Context(), "acme", id)
	if err != nil {
		w.Fatal(err)
	}
	next := i.Next("verified", w.now)
	next.New.VerifiedAt = w.now.Add(-integration.Verified)
	next.Legacy = integration.LegacyHead{Rev: i.Rev, Hash: "h", Shapes: map[string]integration.Shape{integration.Payload: integration.ShapeCipher}}
	if err := w.integrations.WriteIntegration(w.Context(), integration.Change{Next: &next, Legacy: &integration.LegacyCopy{Rev: i.Rev}}); err != nil {
		w.Fatal(err)
	}
}
