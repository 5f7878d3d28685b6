package gateway_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// embedRig is the vendor's embeddings: it cannot be given the field "odd".
type embedRig struct{ r *rig }

func (e embedRig) Uncarried(q *model.EmbedRequest) []string {
	if q.Extra["odd"] != nil {
		return []string{"odd"}
	}
	return nil
}

func (e embedRig) Embed(_ context.Context, c model.EmbedCall) (*model.EmbedResult, error) {
	key := ""
	_ = c.Key.Use(func(b []byte) error { key = string(b); return nil })
	e.r.note("embed %s key=%s user=%q extra=%v", c.Request.Model, key, c.Request.User, slices.Sorted(maps.Keys(c.Request.Extra)))
	if len(e.r.script) > 0 {
		s := e.r.script[0]
		e.r.script = e.r.script[1:]
		if err, ok := s.(error); ok {
			return nil, err
		}
		return s.(*model.EmbedResult), nil
	}
	return &model.EmbedResult{Vectors: make([][]float32, c.Request.Len()), Usage: model.Usage{Input: 40, Source: model.UsageProvider}}, nil
}

func (r *rig) embed(q gateway.Query, m *model.EmbedRequest) (*gateway.Embedded, error) {
	r.t.Helper()
	g := r.gateway()
	e, err := g.Embed(r.t.Context(), r.caller(g), q, m)
	if err == nil {
		check(r.t, e.Commit(r.t.Context()))
	}
	return e, err
}

func texts(name string, inputs ...string) *model.EmbedRequest {
	return &model.EmbedRequest{Model: name, Inputs: inputs}
}

// TestEmbedNeedsNoPriceForOutput: there is none.
func TestEmbedNeedsNoPriceForOutput(t *testing.T) {
	r := newRig(t)
	_, err := r.embed(gateway.Query{}, texts("openrouter/vectors", "a"))
	check(t, err)
	if r.used[0].Amount != 40 || r.used[0].Estimated {
		t.Errorf("%+v", r.used[0])
	}
}

func TestEmbedOnThePlatform(t *testing.T) {
	r := newRig(t)
	m := texts("openrouter/m", "hello")
	m.User, m.Extra = "alice", map[string]json.RawMessage{"models": json.RawMessage(`[]`), "odd": json.RawMessage(`1`), "input_type": json.RawMessage(`"query"`)}
	e, err := r.embed(gateway.Query{}, m)
	check(t, err)
	if len(r.log) != 3 || r.log[0] != "reserve 1 platform P7 hold=true" || !strings.HasPrefix(r.log[1], "embed m key=platform-key user=") ||
		strings.Contains(r.log[1], "alice") || strings.Contains(r.log[1], `user=""`) || !strings.HasSuffix(r.log[1], "extra=[input_type]") || r.log[2] != "used 1 completed" {
		t.Errorf("%q", r.log)
	}
	if u := r.used[0]; u.Amount != 40 || u.Estimated || u.Usage.InputTokens != 40 || u.Usage.OutputTokens != 0 {
		t.Errorf("%+v", u)
	}
	if i := e.Info(); !slices.Equal(i.Dropped, []string{"models", "odd"}) || i.Model != "openrouter/m" || i.Source != taxonomy.Platform {
		t.Errorf("%+v", i)
	}
	if m.User != "alice" || len(m.Extra) != 3 {
		t.Error("the client's request was changed")
	}
}

// TestEmbedUsageIsEstimated: texts by their bytes, token arrays exactly.
func TestEmbedUsageIsEstimated(t *testing.T) {
	for _, c := range []struct {
		m    *model.EmbedRequest
		want int64
	}{{texts("openrouter/m", "12345678", "1"), 3}, {&model.EmbedRequest{Model: "openrouter/m", Tokens: [][]int64{{1, 2, 3}, {4}}}, 4}} {
		r := newRig(t)
		r.script = []any{&model.EmbedResult{Vectors: [][]float32{{1}, {2}}}}
		e, err := r.embed(gateway.Query{}, c.m)
		check(t, err)
		if u := r.used[0]; u.Usage.InputTokens != c.want || !u.Estimated || u.Usage.Source != billing.Estimated || e.Result.Usage.Source != model.UsageEstimated || int64(u.Amount) != c.want {
			t.Errorf("%+v", u)
		}
	}
}

// TestEmbedNeverChangesTheModel: neither the organisation's fallbacks nor an
// agent's model may answer, whatever fails; connections of the same model may.
func TestEmbedNeverChangesTheModel(t *testing.T) {
	r := newRig(t)
	r.store.config.Settings.Fallback = []string{"openrouter/second"}
	r.store.config.Settings.DefaultModel = "openrouter/second"
	r.store.config.Settings.Aliases = map[string]string{"vectors": "openrouter/m"}
	r.script = []any{vendorFault(fault.ProviderError)}
	_, err := r.embed(gateway.Query{Agent: "helper"}, texts("vectors", "a"))
	wantCode(t, err, fault.ProviderError)
	r.wantLog("reserve 1 platform P7 hold=true", `embed m key=platform-key user="" extra=[]`, "used 1 refused")
	for _, name := range []string{"", "auto", "no-such-alias"} {
		_, err = r.embed(gateway.Query{Agent: "helper"}, texts(name, "a"))
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "model" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(r.log) != 3 || r.store.config.Settings.Fallback == nil || r.store.config.Agents[0].Model == "" {
		t.Errorf("%q, settings %+v", r.log, r.store.config)
	}

	r = newRig(t)
	r.store.config.Settings.Fallback = []string{"openrouter/second"}
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Priority = 1 })
	r.connect("c2", "https://vendor.example", func(c *connection.Connection) { c.Priority = 2 })
	r.script = []any{vendorFault(fault.ProviderRateLimited)}
	e, err := r.embed(gateway.Query{}, texts("openrouter/m", "a"))
	check(t, err)
	r.wantLog("reserve 1 byok P5 hold=false", `embed m key=own-key-of-c1-0123456789 user="" extra=[]`, "used 1 refused", "cool c1 0 30s",
		"reserve 2 byok P5 hold=false", `embed m key=own-key-of-c2-0123456789 user="" extra=[]`, "used 2 completed")
	if e.Info().FallbackHeader() != "openrouter/m:provider_rate_limited" || r.used[1].Amount != 0 {
		t.Errorf("%+v", e.Info())
	}
}

// TestEmbedStrict: a candidate that would not be given everything is refused
// before anything is reserved, and another one may serve.
func TestEmbedStrict(t *testing.T) {
	r := newRig(t)
	m := texts("openrouter/m", "a")
	m.Extra = map[string]json.RawMessage{"models": json.RawMessage(`[]`), "bad\nname,": json.RawMessage(`1`)}
	_, err := r.embed(gateway.Query{Strict: true}, m)
	if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "bad?name?" || !strings.Contains(f.Message, "bad?name?, models: leave that out") {
		t.Errorf("%v", err)
	}
	r.wantLog()
	// On an own key the vendor is given both.
	r.connect("c1", "https://vendor.example", nil)
	_, err = r.embed(gateway.Query{Strict: true}, m)
	check(t, err)
	m.Extra["odd"] = json.RawMessage(`1`)
	r.log = nil
	_, err = r.embed(gateway.Query{Strict: true}, m)
	if f := fault.As(err); f == nil || f.Param != "odd" {
		t.Errorf("%v", err)
	}
	r.wantLog()
}

func TestEmbedDenials(t *testing.T) {
	r := newRig(t)
	_, err := r.embed(gateway.Query{}, texts("openrouter/unpriced", "a"))
	wantCode(t, err, fault.PriceMissing)
	_, err = r.embed(gateway.Query{}, texts("bedrock/some.model", "a"))
	wantCode(t, err, fault.InvalidRequest)
	r.store.config.Org.Status = org.Suspended
	_, err = r.embed(gateway.Query{}, texts("openrouter/m", "a"))
	wantCode(t, err, fault.ScopeMissing)
	r.wantLog()
}
