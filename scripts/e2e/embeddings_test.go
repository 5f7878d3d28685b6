package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const simEmbed = "openrouter/sim-embed"

type embedded struct {
	Object string
	Model  string
	Data   []struct {
		Index     int
		Embedding []float32
	}
	Usage struct {
		Prompt int    `json:"prompt_tokens"`
		Source string `json:"billing_source"`
	}
}

func (x *tenant) embed(body map[string]any, headers ...string) (answer, embedded) {
	x.t.Helper()
	a := post(x.t, world.BaseURL+"/v1/embeddings", x.Key, body, headers...)
	var out embedded
	if a.Status == http.StatusOK {
		must(x.t, json.Unmarshal(a.Body, &out))
	}
	return a, out
}

// embedCalls are the journalled embeddings of a model for one prompt.
func embedCalls(prompt string) (out []mockvendor.Call) {
	for _, c := range vendor.Calls() {
		if c.Path == "/v1/embeddings" && c.Prompt == prompt {
			out = append(out, c)
		}
	}
	return out
}

// TestEmbeddingsOnCredits: the charge is exactly the reported tokens at the
// book's price, and nothing stays held.
func TestEmbeddingsOnCredits(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	text := strings.Repeat("money for vectors ", 500)
	a, got := x.embed(map[string]any{"model": simEmbed, "input": []string{text, "b"}, "user": "end-user-7"})
	if a.Status != http.StatusOK || got.Object != "list" || got.Model != simEmbed || len(got.Data) != 2 || got.Data[1].Index != 1 ||
		!slices.Equal(got.Data[1].Embedding, mockvendor.Embedding("b", mockvendor.EmbedDimensions)) {
		t.Fatalf("%d %.300s", a.Status, a.Body)
	}
	for name, want := range map[string]string{"x-latchkey-provider": "openrouter", "x-latchkey-model": simEmbed, "x-latchkey-connection": "",
		"x-latchkey-billing-source": "platform", "x-latchkey-fallback": "", "x-latchkey-model-status": "unverified"} {
		if a.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, a.Header.Get(name), want)
		}
	}
	calls := embedCalls(text + "\nb")
	if len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(platformKey) || calls[0].InputTokens != got.Usage.Prompt || got.Usage.Source != "platform" {
		t.Fatalf("%+v, usage %+v", calls, got.Usage)
	}
	// 0.02 USD per million tokens, rounded up once to a micro-credit.
	want := (int64(got.Usage.Prompt)*20_000 + 999_999) / 1_000_000
	c := x.settled()
	if want < 40 || c.Held != 0 || c.Posted != 1_000_000-want {
		t.Errorf("want a charge of %d: %+v", want, c)
	}
	id := a.Header.Get("x-request-id")
	found := false
	for _, e := range x.entries() {
		if e.RequestID == id {
			found = e.Kind == "usage" && e.Amount == -want && e.BillingSource == "platform" && !e.Estimated
		}
	}
	if !found {
		t.Errorf("no entry of %d for %s: %+v", -want, id, x.entries())
	}
	x.consistent()
}

// TestEmbeddingsRefused: what is refused never reaches the vendor and charges
// nothing.
func TestEmbeddingsRefused(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	calls := len(vendor.Calls())
	for name, c := range map[string]struct {
		body   map[string]any
		status int
		code   string
		param  string
	}{
		"no model":        {map[string]any{"input": "a"}, 400, "invalid_request", "model"},
		"auto":            {map[string]any{"model": "auto", "input": "a"}, 400, "invalid_request", "model"},
		"no input":        {map[string]any{"model": simEmbed}, 400, "invalid_request", "input"},
		"empty text":      {map[string]any{"model": simEmbed, "input": []string{"a", ""}}, 400, "invalid_request", "input"},
		"format":          {map[string]any{"model": simEmbed, "input": "a", "encoding_format": "hex"}, 400, "invalid_request", "encoding_format"},
		"dimensions":      {map[string]any{"model": simEmbed, "input": "a", "dimensions": 0}, 400, "invalid_request", "dimensions"},
		"no price":        {map[string]any{"model": "openrouter/nobody-priced-this", "input": "a"}, 503, "price_missing", ""},
		"no embeddings":   {map[string]any{"model": "groq/some-model", "input": "a"}, 400, "invalid_request", "model"},
		"unknown vendor":  {map[string]any{"model": "nobody/some-model", "input": "a"}, 400, "invalid_request", "model"},
		"vendor's option": {map[string]any{"model": simEmbed, "input": "a", "provider_options": map[string]any{"nobody": map[string]any{}}}, 400, "invalid_request", "provider_options"},
	} {
		a, _ := x.embed(c.body)
		var e struct {
			Error struct{ Code, Param, Type string }
		}
		must(t, json.Unmarshal(a.Body, &e))
		if a.Status != c.status || e.Error.Code != c.code || e.Error.Param != c.param || e.Error.Type == "" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if a := post(t, world.BaseURL+"/v1/embeddings", "lk_nobody_k_x", map[string]any{"model": simEmbed, "input": "a"}); a.Status != http.StatusUnauthorized || a.code() != "gateway_auth" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if len(vendor.Calls()) != calls {
		t.Error("the vendor was called")
	}
	poor := newTenant(t, "free", 1)
	if a, _ := poor.embed(map[string]any{"model": simEmbed, "input": strings.Repeat("too dear ", 2000)}); a.Status != http.StatusPaymentRequired || a.code() != "insufficient_credits" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if c := x.settled(); c.Posted != 1_000_000 {
		t.Errorf("charged: %+v", c)
	}
	x.consistent()
	poor.consistent()
}

// TestEmbeddingsIdempotencyKey: the same vectors again, one call, one charge.
func TestEmbeddingsIdempotencyKey(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	body := map[string]any{"model": simEmbed, "input": "the same key", "encoding_format": "base64"}
	first, _ := x.embed(map[string]any{"model": simEmbed, "input": "the same key"}, "Idempotency-Key", "one")
	again, _ := x.embed(map[string]any{"model": simEmbed, "input": "the same key"}, "Idempotency-Key", "one")
	if first.Status != http.StatusOK || again.Status != http.StatusOK || string(first.Body) != string(again.Body) || again.Header.Get("x-latchkey-replayed") != "true" ||
		again.Header.Get("x-latchkey-billing-source") != "platform" || again.Header.Get("x-request-id") != first.Header.Get("x-request-id") {
		t.Errorf("%d, then %d %s %v", first.Status, again.Status, again.Body, again.Header)
	}
	if other := post(t, world.BaseURL+"/v1/embeddings", x.Key, body, "Idempotency-Key", "one"); other.Status != http.StatusConflict || other.code() != "idempotency_conflict" {
		t.Errorf("%d %s", other.Status, other.Body)
	}
	if calls := embedCalls("the same key"); len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
	x.consistent()
	usage := 0
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			usage++
		}
	}
	if usage != 1 {
		t.Errorf("%d entries", usage)
	}
}

// TestEmbeddingsOnOwnKeys: another connection of the same model answers when one
// fails; a configured fallback to another model never does.
func TestEmbeddingsOnOwnKeys(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	first := x.connect(byokKey+"G1", map[string]any{"label": "first", "priority": 1, "base_url": vendorURL + "/echo/503/v1"})
	second := x.connect(byokKey+"G2", map[string]any{"label": "second", "priority": 2})
	x.call(http.MethodPut, "/settings", map[string]any{"fallback": []string{simEmbed}}, nil)
	a, got := x.embed(map[string]any{"model": "openai_compatible/mine", "input": "on my key", "x_field": 1})
	if a.Status != http.StatusOK || len(got.Data) != 1 || a.Header.Get("x-latchkey-connection") != second.ID || got.Usage.Source == "platform" ||
		a.Header.Get("x-latchkey-fallback") != "openai_compatible/mine:provider_overloaded" || a.Header.Get("x-latchkey-dropped") != "" {
		t.Fatalf("%d %s %v", a.Status, a.Body, a.Header)
	}
	x.call(http.MethodPatch, "/connections/"+second.ID, map[string]any{"enabled": false}, nil)
	a, _ = x.embed(map[string]any{"model": "openai_compatible/mine", "input": "nowhere to go"}, "x-latchkey-connection", first.ID)
	if a.Status == http.StatusOK || len(embedCalls("nowhere to go")) != 0 {
		t.Errorf("another model answered: %d %s", a.Status, a.Body)
	}
	if c := x.settled(); c.Posted != 1_000_000 {
		t.Errorf("own keys were charged: %+v", c)
	}
	x.consistent()
}

// TestEmbeddingsDropped: on platform credits only harmless fields are passed on.
func TestEmbeddingsDropped(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	a, _ := x.embed(map[string]any{"model": simEmbed, "input": "a", "input_type": "query", "provider": map[string]any{"order": []string{"x"}}, "models": []string{"y"}})
	if a.Status != http.StatusOK || a.Header.Get("x-latchkey-dropped") != "models, provider" {
		t.Errorf("%d %s %v", a.Status, a.Body, fmt.Sprint(a.Header))
	}
	x.consistent()
}
