package admin

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	routing "github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// fakeRoutes answers with one of everything, or with the model as the plan's name.
type fakeRoutes struct{}

func (fakeRoutes) Explain(_ context.Context, org string, q gateway.Question, _ time.Time) (gateway.Explained, error) {
	own := routing.Candidate{Provider: taxonomy.OpenRouter, Model: "m", Connection: &connection.Connection{ID: "c1"}, Source: taxonomy.BYOK, Reason: routing.Preferred, Origin: routing.FromMatrix}
	platform := routing.Candidate{Provider: taxonomy.OpenRouter, Model: "m", Source: taxonomy.Platform, Reason: routing.Preferred, Origin: routing.FromMatrix}
	refused := fault.New(fault.BillingDenied, "t", "no")
	x := gateway.Explained{Intent: q.Intent, Modality: q.Modality, Chosen: 0,
		Candidates: []gateway.Weighed{
			{Candidate: own, Decision: billing.Decision{Allowed: true, Source: taxonomy.BYOK, Rule: "P5", Reason: "llm_byok_unmetered"}},
			{Candidate: platform, Decision: billing.Decision{Rule: "P9", Reason: "platform_fallback_not_allowed"}, Err: refused}},
		Excluded: []routing.Excluded{{Candidate: platform, Reason: routing.QualityBlocked},
			{Candidate: routing.Candidate{Provider: taxonomy.OpenRouter, Connection: own.Connection, Source: taxonomy.BYOK}, Reason: routing.OtherProvider}}}
	switch q.Model {
	case "nobody":
		x.Candidates, x.Chosen, x.Refusal = x.Candidates[1:], -1, refused
	case "none":
		x.Candidates, x.Chosen, x.Refusal = nil, -1, fault.New(fault.ModelNotEnabled, "t", "nothing left")
	}
	if q.Agent == "ghost" || org != "acme" {
		return x, fault.New(fault.InvalidRequest, "t", "there is no such agent").WithParam("agent")
	}
	return x, nil
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	const path = "/api/orgs/acme/routes/explain"
	got := w.must("POST", path, readKey, `{"intent":"tooling","modality":"text"}`, 200)
	want := object{"intent": "tooling", "modality": "text",
		"billing": object{"allowed": true, "source": "byok", "rule": "P5", "reason": "llm_byok_unmetered"},
		"candidates": []any{
			object{"chosen": true, "model": "openrouter/m", "connection_id": "c1", "billing_source": "byok", "reason": "preferred", "origin": "matrix",
				"billing": object{"allowed": true, "source": "byok", "rule": "P5", "reason": "llm_byok_unmetered"}},
			object{"chosen": false, "model": "openrouter/m", "billing_source": "platform", "reason": "preferred", "origin": "matrix", "refused": "billing_denied",
				"billing": object{"allowed": false, "rule": "P9", "reason": "platform_fallback_not_allowed"}}},
		"exclusions": []any{object{"model": "openrouter/m", "billing_source": "platform", "reason": "quality_tier_blocked"},
			object{"connection_id": "c1", "billing_source": "byok", "reason": "other_provider"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if got := w.must("POST", path, readKey, `{"model":"nobody"}`, 200); got["candidates"].([]any)[0].(object)["chosen"] != false || got["billing"].(object)["rule"] != "P9" ||
		!reflect.DeepEqual(got["refusal"], object{"code": "billing_denied", "message": "no"}) {
		t.Errorf("%v", got)
	}
	if got := w.must("POST", path, readKey, `{"model":"none"}`, 200); got["billing"] != nil || got["refusal"].(object)["code"] != "model_not_enabled" || len(got["candidates"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
	for body, param := range map[string]string{`{"intent":"chat"}`: "intent", `{"modality":"smell"}`: "modality", `{"capabilities":["fly"]}`: "capabilities",
		`{"agent":"ghost"}`: "agent", `{"models":"x"}`: "models"} {
		w.refused(w.do("POST", path, adminKey, body), 400, fault.InvalidRequest, param)
	}
	w.refused(w.do("POST", path, invokeKey, `{}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("POST", path, otherKey, `{}`), 404, fault.NotFound, "")
}

// TestLegacySettingsResource: an older record is served back as it came, and
// never with a key.
func TestLegacySettingsResource(t *testing.T) {
	w := newWorld(t)
	const path = "/api/orgs/acme/settings"
	const record = `{"settingsContractVersion":"openrouter_v1","billingMode":"byok","llm":{"provider":"openrouter","model":"a/b","temperature":0.70,` +
		`"authProfiles":[{"profileId":"p","label":"A & <b>","enabled":true,"cooldownUntil":1.763726460e12}]},"monthlyBudgetUsd":50.50}`
	put := w.do("PUT", path, adminKey, record)
	if put.Status != 200 || string(put.Body) != record {
		t.Errorf("%d %s", put.Status, put.Body)
	}
	if got := w.do("GET", path, readKey, ""); got.Status != 200 || string(got.Body) != record {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if o := w.must("GET", "/api/orgs/acme", readKey, "", 200); o["settings_version"] != 1.0 {
		t.Errorf("the organisation says version %v", o["settings_version"])
	}
	w.must("PUT", path, adminKey, `{"llm":{"model":"a/c"}}`, 200)
	for body, param := range map[string]string{
		`{"llm":{"openrouterApiKey":"CANARY"}}`:                                                   "llm.openrouterApiKey",
		`{"llm":{"authProfiles":[{"profileId":"a","enabled":true,"openrouterApiKey":"CANARY"}]}}`: "llm.authProfiles[0].openrouterApiKey",
		`{"llm":{"openrouterApiKey":"CANARY","openrouterApiKey":""}}`:                             "llm.openrouterApiKey",
		`{"llm":{"OpenrouterApiKey":"CANARY"}}`:                                                   "llm.OpenrouterApiKey",
		`{"llm":{"key":"CANARY"}}`:                                                                "llm.key",
		`{"llm":{},"default_model":"openrouter/x"}`:                                               "default_model",
		`{"llm":{},"version":1}`:                                                                  "version",
		`{"settingsContractVersion":"provider_agnostic_v1"}`:                                      "settingsContractVersion",
	} {
		resp := w.do("PUT", path, adminKey, body)
		w.refused(resp, 400, fault.InvalidRequest, param)
		if strings.Contains(string(resp.Body), "CANARY") {
			t.Errorf("%s", resp.Body)
		}
	}
	if got := w.do("GET", path, readKey, ""); string(got.Body) != `{"llm":{"model":"a/c"}}` {
		t.Errorf("%s", got.Body)
	}
	// Settings of today replace the record.
	if got := w.must("PUT", path, adminKey, `{"default_model":"openrouter/a/b"}`, 200); got["default_model"] != "openrouter/a/b" || got["version"] != 3.0 {
		t.Errorf("%v", got)
	}
}
