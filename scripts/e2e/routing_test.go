package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

type explained struct {
	Intent, Modality string
	Candidates       []struct {
		Chosen     bool
		Model      string
		Connection string `json:"connection_id"`
		Reason     string
		Refused    string
	}
	Exclusions []struct {
		Model, Reason string
		Connection    string `json:"connection_id"`
	}
	Billing struct {
		Allowed      bool
		Source, Rule string
	}
}

// explain asks for the plan and checks that the call that follows does what it
// says, down to the candidates that are passed over.
func (x *tenant) explain(question, chat map[string]any, headers ...string) (explained, answer) {
	x.t.Helper()
	vendor.Reset()
	var e explained
	x.call(http.MethodPost, "/routes/explain", question, &e)
	if n := len(vendor.Calls()); n != 0 {
		x.t.Errorf("explaining made %d calls", n)
	}
	got := post(x.t, world.BaseURL+"/v1/chat/completions", x.Key, chat, headers...)
	if got.Status != http.StatusOK {
		x.t.Fatalf("%d %s", got.Status, got.Body)
	}
	passed := ""
	for _, c := range e.Candidates {
		if !c.Chosen {
			if passed != "" {
				passed += ", "
			}
			passed += c.Model + ":" + c.Refused
			continue
		}
		for header, want := range map[string]string{"x-latchkey-model": c.Model, "x-latchkey-connection": c.Connection, "x-latchkey-fallback": passed,
			"x-latchkey-billing-source": e.Billing.Source, "x-latchkey-billing-rule": e.Billing.Rule} {
			if v := got.Header.Get(header); v != want {
				x.t.Errorf("%s is %q, explained as %q", header, v, want)
			}
		}
		return e, got
	}
	x.t.Errorf("nothing is chosen: %+v", e)
	return e, got
}

// TestRoutingMatrix: the intent's cell decides, a request with an image leaves
// out a model for text, and the explanation is what the call does.
func TestRoutingMatrix(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	c := x.connect(byokKey+"R", nil)
	x.call(http.MethodPut, "/settings", map[string]any{
		"default_model": "openai_compatible/plain", "aliases": map[string]any{"fast": "openai_compatible/quick"},
		"routing": map[string]any{
			"general": map[string]any{"text": "openai_compatible/talk", "vision": []string{"openai/gpt-3.5-turbo", "openai_compatible/eyes"}},
			"tooling": map[string]any{"text": []string{"openai/gpt-3.5-turbo", "openai_compatible/tools"}}}}, nil)
	for _, r := range []struct{ model, intent, serves string }{
		{"auto", "", "talk"}, {"auto", "general", "talk"}, {"auto", "support", "talk"}, {"auto", "tooling", "tools"}, {"fast", "tooling", "quick"},
		{"openai_compatible/named", "tooling", "named"},
	} {
		var headers []string
		if r.intent != "" {
			headers = []string{"x-latchkey-intent", r.intent}
		}
		_, got := x.explain(map[string]any{"model": r.model, "intent": r.intent}, chatBody(r.model, "hello", false), headers...)
		if m := got.Header.Get("x-latchkey-model"); m != "openai_compatible/"+r.serves || got.Header.Get("x-latchkey-connection") != c.ID {
			t.Errorf("%s for %q went to %s", r.model, r.intent, m)
		}
	}
	image := chatBody("auto", "", false)
	image["messages"] = []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "what is it?"},
		map[string]any{"type": "image_url", "image_url": map[string]any{"url": "data:image/png;base64,iVBORw0KGgo="}}}}}
	e, got := x.explain(map[string]any{"modality": "vision"}, image)
	if got.Header.Get("x-latchkey-model") != "openai_compatible/eyes" || e.Modality != "vision" || len(e.Exclusions) == 0 ||
		e.Exclusions[0].Model != "openai/gpt-3.5-turbo" || e.Exclusions[0].Reason != "modality_unsupported" {
		t.Errorf("%s %+v", got.Header.Get("x-latchkey-model"), e)
	}
	bad := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("auto", "hello", false), "x-latchkey-intent", "chat")
	if bad.Status != http.StatusBadRequest || bad.code() != "invalid_request" {
		t.Errorf("%d %s", bad.Status, bad.Body)
	}
}

// TestLegacySettingsRoute: an organisation with an older record keeps its order of
// keys, and the record comes back as it was sent.
func TestLegacySettingsRoute(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	ids := map[string]string{}
	for _, label := range []string{"legacy_openrouter_key", "slow", "quick"} {
		ids[label] = x.connect(byokKey+label, map[string]any{"provider": "openrouter", "label": label}).ID
	}
	record := map[string]any{"settingsContractVersion": "openrouter_v1", "billingMode": "byok", "monthlyBudgetUsd": 20.5, "llm": map[string]any{
		"provider": "openrouter", "model": "acme/model", "temperature": 0.25, "maxTokens": 321.0,
		"authProfiles": []any{map[string]any{"profileId": "slow", "enabled": true, "priority": 20.0}, map[string]any{"profileId": "quick", "enabled": true, "priority": 10.0}}}}
	var put, back map[string]any
	x.call(http.MethodPut, "/settings", record, &put)
	x.call(http.MethodGet, "/settings", nil, &back)
	if !reflect.DeepEqual(put, record) || !reflect.DeepEqual(back, record) {
		t.Errorf("%v\n%v", put, back)
	}
	chat := chatBody("auto", "hello", false)
	delete(chat, "max_tokens")
	e, got := x.explain(map[string]any{}, chat)
	var order []string
	for _, c := range e.Candidates {
		order = append(order, c.Connection)
	}
	if want := []string{ids["quick"], ids["slow"], ids["legacy_openrouter_key"], ""}; !reflect.DeepEqual(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if last := e.Candidates[3]; last.Refused != "billing_denied" {
		t.Errorf("the platform: %+v", last)
	}
	calls := vendor.Calls()
	if len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(byokKey+"quick") || calls[0].Model != "acme/model" || got.Header.Get("x-latchkey-model") != "openrouter/acme/model" {
		t.Errorf("the vendor saw %+v", calls)
	}
	b, err := json.Marshal(map[string]any{"llm": map[string]any{"openrouterApiKey": byokKey + "never"}})
	must(t, err)
	refused := x.admin.Call(t.Context(), http.MethodPut, "/api/orgs/"+x.ID+"/settings", json.RawMessage(b), nil)
	if statusOf(refused) != http.StatusBadRequest || bytes.Contains([]byte(refused.Error()), []byte(byokKey)) {
		t.Errorf("%v", refused)
	}
}
