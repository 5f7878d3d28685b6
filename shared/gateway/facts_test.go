package gateway_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// wordy is text of n different words of 16 bytes.
func wordy(n int) string {
	var b strings.Builder
	for i := range n {
		for j := range 15 {
			b.WriteByte("abcdefghijklmnopqrstuvwxyz"[(i+3*j)%26])
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func TestRequestBeyondTheContext(t *testing.T) {
	const known = "openrouter/openai/gpt-4o" // 128,000 tokens
	over := wordy(128_001)
	for _, c := range []struct {
		name, model string
		request     model.Request
		refused     bool
	}{
		{"just fits", known, model.Request{Messages: user(over[16:])}, false},
		{"surely too long", known, model.Request{Messages: user(over)}, true},
		{"in a tool's result", known, model.Request{Messages: []model.Message{
			{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartToolCall, Call: &model.ToolCall{ID: "c", Name: "f", Args: "{}"}}}},
			{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: "c", Parts: []model.Part{model.Text(over)}}}}}}}, true},
		{"one byte may be repeated in a token", known, model.Request{Messages: user(strings.Repeat(" ", 4<<20))}, false},
		{"a field may have the vendor cut it", known, model.Request{Messages: user(over), Extra: map[string]json.RawMessage{"transforms": json.RawMessage(`["middle-out"]`)}}, false},
		{"nothing is known of the model", "openrouter/m", model.Request{Messages: user(over)}, false},
		{"thinking is not counted", known, model.Request{Messages: append(user("x"), model.Message{Role: model.RoleAssistant,
			Parts: []model.Part{{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Data: over}}, model.Text("y")}})}, false},
	} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", nil)
		c.request.Model = c.model
		_, err := r.complete(gateway.Query{}, &c.request)
		if f := fault.As(err); c.refused && (f == nil || f.Code != fault.ContextLengthExceeded || f.Param != "messages" || !strings.Contains(f.Message, "128000 tokens") || len(r.calls) != 0) ||
			!c.refused && err != nil {
			t.Errorf("%s: %v after %d calls", c.name, err, len(r.calls))
		}
		if c.refused && strings.Contains(strings.Join(r.log, " "), "reserve") {
			t.Errorf("%s: something was reserved: %v", c.name, r.log)
		}
	}
}

func user(text string) []model.Message {
	return []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text(text)}}}
}

// TestAssumedOutput: where the request states no limit, none above the model's is
// sent; a stated one is the client's.
func TestAssumedOutput(t *testing.T) {
	for _, c := range []struct {
		model  string
		stated int
		want   int
	}{
		{"gpt-4o", 0, billing.DefaultMaxOutput}, // writes 16,384
		{"gpt-4-turbo", 0, 4096},
		{"gpt-4-turbo", 5000, 5000},
		{"gpt-99", 0, billing.DefaultMaxOutput},
	} {
		r := newRig(t)
		r.platform[taxonomy.OpenAI] = r.platform[taxonomy.OpenRouter]
		for _, m := range []billing.Meter{billing.InputText, billing.OutputText} {
			row := price(c.model, m, 1)
			row.Provider = string(taxonomy.OpenAI)
			r.prices = append(r.prices, row)
		}
		if _, err := r.complete(gateway.Query{}, &model.Request{Model: "openai/" + c.model, Messages: user("hi"), MaxOutputTokens: c.stated}); err != nil {
			t.Errorf("%s: %v", c.model, err)
			continue
		}
		if got := r.calls[0].Request.MaxOutputTokens; got != c.want {
			t.Errorf("%s: sent %d, want %d", c.model, got, c.want)
		}
	}
}

type offers []connection.Offers

func (o offers) Offers(context.Context, string) ([]connection.Offers, error) { return o, nil }

func TestModelsOfACaller(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Fingerprint = "f1" })
	r.connect("c2", "https://vendor.example", func(c *connection.Connection) { c.Models, c.Fingerprint = []string{"openrouter/only"}, "f2" })
	r.connect("c3", "https://vendor.example", func(c *connection.Connection) { c.Enabled = false })
	r.store.config.Settings.Aliases = map[string]string{"fast": "openrouter/m"}
	list := func(id, fingerprint string, models ...connection.Offered) connection.Offers {
		return connection.Offers{Org: "acme", Connection: id, Fingerprint: fingerprint, Models: models}
	}
	r.offers = offers{
		list("c1", "f1", connection.Offered{Model: "openai/gpt-4o", ContextTokens: 99}, connection.Offered{Model: "new/one", MaxOutputTokens: 7}),
		list("c2", "f2", connection.Offered{Model: "only", ContextTokens: 5}, connection.Offered{Model: "not-served"}),
		list("c2", "old", connection.Offered{Model: "only", ContextTokens: 6}),
		list("c3", "", connection.Offered{Model: "off"}),
	}
	g := r.gateway()
	got, err := g.Models(t.Context(), r.caller(g))
	check(t, err)
	byName := map[string]gateway.Listed{}
	var names []string
	for _, m := range got {
		names = append(names, m.Name)
		byName[m.Name] = m
	}
	want := []string{"fast", "openrouter/agent-model", "openrouter/m", "openrouter/new/one", "openrouter/only", "openrouter/openai/gpt-4o", "openrouter/second", "openrouter/vectors"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("%v\nwant %v", names, want)
	}
	if m := byName["openrouter/openai/gpt-4o"]; m.ContextTokens != 99 || m.InputTokens != 99 || m.MaxOutputTokens != 16384 || m.Released.Year() != 2024 ||
		!reflect.DeepEqual(m.Capabilities, []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapTools, taxonomy.CapJSON}) {
		t.Errorf("%+v", m)
	}
	if m := byName["openrouter/new/one"]; m.ContextTokens != 0 || m.MaxOutputTokens != 7 || m.Capabilities != nil || !m.Released.IsZero() {
		t.Errorf("%+v", m)
	}
	if byName["openrouter/only"].ContextTokens != 5 {
		t.Errorf("%+v", byName["openrouter/only"])
	}
}
