package admin

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// modelsAt reads a list to its end, by name.
func (w *world) modelsAt(key, query string) map[string]map[string]any {
	w.Helper()
	out := map[string]map[string]any{}
	for cursor := ""; ; {
		page := w.must("GET", "/api/models?limit=60"+query+cursor, key, "", 200)
		for _, item := range page["items"].([]any) {
			m := item.(map[string]any)
			name := m["model"].(string)
			if out[name] != nil {
				w.Errorf("%s is listed twice", name)
			}
			out[name] = m
		}
		next, more := page["next_cursor"].(string)
		if !more {
			return out
		}
		cursor = "&cursor=" + next
	}
}

func TestModels(t *testing.T) {
	w := newWorld(t)
	w.must("POST", "/api/operator/prices", operatorKey, `{"activate":true,"rows":[
		{"provider":"openrouter","model":"openai/gpt-4o","meter":"input_text","rate_pico":2500000,"source":"a page","source_date":"2026-11-21"},
		{"provider":"openrouter","model":"openai/gpt-4o","meter":"input_text","rate_pico":5000000,"tier_from":200000,"source":"a page","source_date":"2026-11-21"},
		{"provider":"openrouter","model":"~odd name+1","meter":"request","rate_pico":1,"min_units":2,"source":"s","source_date":"2026-11-21"},
		{"provider":"openai","model":"gpt-4o","meter":"input_text","rate_pico":1,"source":"s","source_date":"2026-11-21"},
		{"provider":"deepgram","model":"nova","meter":"audio_second_in","rate_pico":1,"source":"s","source_date":"2026-11-21"}]}`, 201)
	all := w.modelsAt(readKey, "")
	curated := len(registry.Rows(taxonomy.OpenRouter)) + len(registry.Rows(taxonomy.OpenAI))
	if len(all) != curated+1 {
		t.Errorf("%d models, want %d: what no provider here serves is not shown", len(all), curated+1)
	}
	m := all["openrouter/openai/gpt-4o"]
	rates, _ := m["rates"].([]any)
	if m["status"] != "unverified" || m["enabled"] != true || m["price_version"] == "" || m["context_tokens"] != 128000.0 || len(rates) != 2 ||
		rates[1].(map[string]any)["tier_from"] != 200000.0 || rates[1].(map[string]any)["rate_pico"] != 5000000.0 || m["source_date"] != "2026-07-02" {
		t.Errorf("%v", m)
	}
	// Its price alone does not make it the platform's.
	if m := all["openai/gpt-4o"]; m["enabled"] != false || len(m["rates"].([]any)) != 1 || m["price_version"] == nil {
		t.Errorf("%v", m)
	}
	if m := all["openai/o3-mini"]; m["enabled"] != false || m["price_version"] != nil || !slices.Contains(m["lacks"].([]any), any("vision")) || m["reasoning"] != true {
		t.Errorf("%v", m)
	}
	// Nothing is known of it, so nothing is said.
	if m := all["openrouter/~odd name+1"]; m == nil || m["enabled"] != true || len(m["capabilities"].([]any))+len(m["lacks"].([]any)) != 0 || m["reasoning"] != nil || m["source"] != nil {
		t.Errorf("%v", m)
	}
	if got := w.modelsAt(adminKey, "&provider=openai"); len(got) != len(registry.Rows(taxonomy.OpenAI)) {
		t.Errorf("%d of one provider", len(got))
	}
	w.refused(w.do("GET", "/api/models?provider=nobody", readKey, ""), 400, fault.InvalidRequest, "provider")
	w.refused(w.do("GET", "/api/models", invokeKey, ""), 403, fault.ScopeMissing, "")
}

// TestModelsOfAConnection: what its vendor listed for the key that it has now.
func TestModelsOfAConnection(t *testing.T) {
	w := newWorld(t)
	c := connection.Connection{ID: "c1", Org: "acme", Provider: taxonomy.OpenRouter, Status: connection.Active, Enabled: true, Fingerprint: "f1", Version: 1}
	if err := w.conns.CreateConnection(t.Context(), c, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if got := w.modelsAt(readKey, "&connection=c1"); len(got) != 0 {
		t.Errorf("never listed: %v", got)
	}
	set := func(fingerprint string, at time.Time, models ...connection.Offered) {
		if err := w.conns.SetOffers(t.Context(), connection.Offers{Org: "acme", Connection: "c1", Fingerprint: fingerprint, At: at, Models: models}); err != nil {
			t.Fatal(err)
		}
	}
	set("f1", w.now, connection.Offered{Model: "openai/gpt-4o", ContextTokens: 99, MaxOutputTokens: 9}, connection.Offered{Model: "new/model"})
	got := w.modelsAt(readKey, "&connection=c1")
	if len(got) != 2 || got["openrouter/openai/gpt-4o"]["context_tokens"] != 99.0 || got["openrouter/openai/gpt-4o"]["max_output_tokens"] != 9.0 ||
		got["openrouter/new/model"]["context_tokens"] != 0.0 {
		t.Errorf("%v", got)
	}
	if got := w.modelsAt(operatorKey, "&connection=c1&org_id=acme"); len(got) != 2 {
		t.Errorf("the operator sees %v", got)
	}
	// The models it is limited to are all that it serves.
	limited := c
	limited.Models, limited.Version = []string{"openrouter/openai/gpt-4o", "unlisted"}, 2
	if err := w.conns.UpdateConnection(t.Context(), c, limited, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if got := w.modelsAt(readKey, "&connection=c1"); len(got) != 2 || got["openrouter/unlisted"] == nil || got["openrouter/openai/gpt-4o"]["context_tokens"] != 99.0 {
		t.Errorf("%v", got)
	}
	// A list of another key is not this one's.
	limited.Models, limited.Version = nil, 3
	stored, _ := w.conns.Connection(t.Context(), "acme", "c1")
	if err := w.conns.UpdateConnection(t.Context(), stored, limited, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	set("f2", w.now.Add(time.Second), connection.Offered{Model: "x"})
	if got := w.modelsAt(readKey, "&connection=c1"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for _, c := range []struct {
		key, query string
		status     int
		code       fault.Code
		param      string
	}{
		{operatorKey, "?connection=c1", 400, fault.InvalidRequest, "org_id"},
		{readKey, "?connection=c1&org_id=other", 404, fault.NotFound, ""},
		{readKey, "?connection=c1&org_id=a/b", 404, fault.NotFound, ""},
		{otherKey, "?connection=c1", 404, fault.NotFound, ""},
		{readKey, "?connection=a/b", 400, fault.InvalidRequest, "connection"},
		{readKey, "?connection=c2", 404, fault.NotFound, ""},
	} {
		w.refused(w.do("GET", "/api/models"+c.query, c.key, ""), c.status, c.code, c.param)
	}
}
