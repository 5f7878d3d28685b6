package gateway_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestIntentChoosesTheModel(t *testing.T) {
	for intent, want := range map[taxonomy.Intent]string{"": "m", taxonomy.General: "m", taxonomy.Support: "second", taxonomy.Content: "m"} {
		r := newRig(t)
		r.store.config.Settings.DefaultModel = "openrouter/agent-model"
		r.store.config.Settings.Routing = org.Routing{"general": {"text": {"openrouter/m"}}, "support": {"text": {"openrouter/second"}}}
		a, err := r.complete(gateway.Query{Intent: intent}, ask("auto"))
		check(t, err)
		if got := a.Info().Model; got != "openrouter/"+want {
			t.Errorf("%q went to %s", intent, got)
		}
	}
}

// TestWhyNobodyServes: a plan without candidates is explained by what was asked
// for, and nothing is reserved.
func TestWhyNobodyServes(t *testing.T) {
	image := ask("openrouter/m")
	image.Messages[0].Parts = append(image.Messages[0].Parts, model.Part{Kind: model.PartImage, Media: &model.Media{URL: "https://x.example/a.png"}})
	for _, c := range []struct {
		name    string
		query   gateway.Query
		request *model.Request
		change  func(*rig)
		code    fault.Code
		param   string
		says    string
	}{
		{"quality", gateway.Query{}, ask("openrouter/m"), func(r *rig) { r.store.config.Settings.QualityFloor = org.QualityBronze }, fault.ModelNotEnabled, "model", "quality_floor"},
		{"privacy", gateway.Query{}, ask("openrouter/m"), func(r *rig) { r.store.config.Settings.PrivacyMode = org.PrivacyLocalOnly }, fault.ModelNotEnabled, "model", "local_only"},
		{"privacy, with a public key", gateway.Query{}, ask("openrouter/m"), func(r *rig) {
			r.store.config.Settings.PrivacyMode = org.PrivacyLocalOnly
			r.connect("c1", "https://vendor.example", nil)
		}, fault.ModelNotEnabled, "model", "local_only"},
		{"privacy, the private one is off", gateway.Query{}, ask("openrouter/m"), func(r *rig) {
			r.store.config.Settings.PrivacyMode = org.PrivacyLocalOnly
			r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.BillingSource, c.Enabled = taxonomy.Private, false })
		}, fault.BYOKUnavailable, "", "(disabled)"},
		{"tooling without json", gateway.Query{Intent: taxonomy.Tooling}, ask("openrouter/m"), nil, fault.InvalidRequest, "x-latchkey-intent", "tools and JSON"},
		{"vision", gateway.Query{}, image, nil, fault.UnsupportedMedia, "model", "can take"},
		{"vision, with a key", gateway.Query{}, image, func(r *rig) { r.connect("c1", "https://vendor.example", nil) }, fault.UnsupportedMedia, "model", "can take"},
		{"another vendor's key explains nothing", gateway.Query{}, ask("grok/x"), func(r *rig) { r.connect("c1", "https://vendor.example", nil) }, fault.ModelNotEnabled, "model", "no provider"},
	} {
		r := newRig(t)
		if c.change != nil {
			c.change(r)
		}
		_, err := r.complete(c.query, c.request)
		if f := fault.As(err); f == nil || f.Code != c.code || f.Param != c.param || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		r.wantLog()
	}
}

// TestLegacyDefaults: temperature and limit of an older record go with requests
// over OpenRouter that state none, and the hold is sized for the limit.
func TestLegacyDefaults(t *testing.T) {
	half := 0.5
	for _, c := range []struct {
		name        string
		change      func(*model.Request)
		temperature float64
		output      int
	}{
		{"none stated", nil, 0.7, 300},
		{"its own", func(m *model.Request) { m.Sampling.Temperature, m.MaxOutputTokens = &half, 20 }, 0.5, 20},
	} {
		r := newRig(t)
		s, err := org.ParseLegacy([]byte(`{"llm":{"model":"m","temperature":0.7,"maxTokens":300}}`))
		check(t, err)
		r.store.config.Settings = s
		m := ask("auto")
		if c.change != nil {
			c.change(m)
		}
		before := *m
		_, err = r.complete(gateway.Query{}, m)
		check(t, err)
		if got := r.calls[0].Request; got.Sampling.Temperature == nil || *got.Sampling.Temperature != c.temperature || got.MaxOutputTokens != c.output {
			t.Errorf("%s: %+v", c.name, got)
		}
		if m.Sampling.Temperature != before.Sampling.Temperature || m.MaxOutputTokens != before.MaxOutputTokens {
			t.Errorf("%s: the client's request was changed", c.name)
		}
	}
	elsewhere := newRig(t)
	s, err := org.ParseLegacy([]byte(`{"llm":{"temperature":0.7,"maxTokens":300}}`))
	check(t, err)
	elsewhere.store.config.Settings = s
	elsewhere.connect("c1", "https://own.example", func(c *connection.Connection) {
		c.Provider, c.BaseURL, c.BillingSource = taxonomy.OpenAICompatible, "https://own.example/v1", taxonomy.Private
	})
	_, err = elsewhere.complete(gateway.Query{}, ask("openai_compatible/llama"))
	check(t, err)
	if got := elsewhere.calls[0].Request; got.Sampling.Temperature != nil || got.MaxOutputTokens != 0 {
		t.Errorf("an own endpoint got the defaults of OpenRouter's models: %+v", got)
	}
	r := newRig(t)
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if r.calls[0].Request.Sampling.Temperature != nil {
		t.Error("a temperature from nowhere")
	}
}

// TestPinnedSession: the session's connection goes first, and a fallback to the
// platform is not remembered against an own key.
func TestPinnedSession(t *testing.T) {
	for pin, want := range map[route.Pin]string{{}: "c1", {Model: "openrouter/m", Connection: "c2"}: "c2", {Model: "openrouter/m"}: "c1"} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Priority, c.AllowPlatformFallback = 1, true })
		r.connect("c2", "https://vendor.example", func(c *connection.Connection) { c.Priority, c.AllowPlatformFallback = 2, true })
		r.store.config.Settings.AllowPlatformFallback = true
		a, err := r.complete(gateway.Query{Pin: pin}, ask("openrouter/m"))
		check(t, err)
		if got := a.Info().Connection; got != want {
			t.Errorf("%+v: served by %q", pin, got)
		}
	}
}

// TestExplainIsWhatACallDoes compares the plan that is shown with the call that
// follows, in many organisations, and that showing it touched nothing.
func TestExplainIsWhatACallDoes(t *testing.T) {
	matrix := func(r *rig) {
		r.store.config.Settings.DefaultModel = "openrouter/second"
		r.store.config.Settings.Routing = org.Routing{"support": {"text": {"openrouter/m"}}}
	}
	own := func(change func(*connection.Connection)) func(*rig) {
		return func(r *rig) { r.connect("c1", "https://vendor.example", change) }
	}
	for _, c := range []struct {
		name    string
		change  func(*rig)
		ask     gateway.Question
		chosen  string // model@connection rule, or the code
		reasons string
	}{
		{"default", matrix, gateway.Question{}, "openrouter/second@ P7", "org_default"},
		{"intent", matrix, gateway.Question{Intent: taxonomy.Support}, "openrouter/m@ P7", "preferred org_default"},
		{"own key first", own(nil), gateway.Question{Model: "openrouter/m"}, "openrouter/m@c1 P5", "preferred preferred!billing_denied"},
		{"own key off", own(func(c *connection.Connection) { c.Enabled = false }), gateway.Question{Model: "openrouter/m"}, "byok_unavailable", "preferred!byok_unavailable"},
		{"own key allows the platform", func(r *rig) {
			own(func(c *connection.Connection) { c.Enabled, c.AllowPlatformFallback = false, true })(r)
			r.store.config.Settings.AllowPlatformFallback = true
		}, gateway.Question{Model: "openrouter/m"}, "openrouter/m@ P6", "preferred"},
		{"no price", nil, gateway.Question{Model: "openrouter/free"}, "price_missing", "preferred!price_missing"},
		{"an agent", nil, gateway.Question{Agent: "helper"}, "openrouter/agent-model@ P7", "preferred safe_fallback"},
		{"vision", nil, gateway.Question{Model: "openrouter/m", Modality: taxonomy.ModalVision}, "unsupported_media", ""},
		{"json", nil, gateway.Question{Model: "openrouter/m", Needs: []taxonomy.Capability{taxonomy.CapJSON}}, "unsupported_media", ""},
		{"a platform without the provider", func(r *rig) { r.platform = map[taxonomy.Provider]config.PlatformCredential{} }, gateway.Question{Model: "openrouter/m"}, "model_not_enabled", "preferred!model_not_enabled"},
		{"not served", nil, gateway.Question{Model: "bedrock/x"}, "invalid_request", "preferred!invalid_request"},
	} {
		r := newRig(t)
		if c.change != nil {
			c.change(r)
		}
		x, err := r.gateway().Explain(t.Context(), "acme", c.ask, r.now)
		check(t, err)
		r.wantLog()
		var reasons []string
		for _, w := range x.Candidates {
			word := string(w.Reason)
			if w.Err != nil {
				word += "!" + string(w.Err.Code)
			}
			reasons = append(reasons, word)
		}
		said := ""
		if x.Chosen >= 0 {
			w := x.Candidates[x.Chosen]
			id := ""
			if w.Connection != nil {
				id = w.Connection.ID
			}
			said = w.Name() + "@" + id + " " + w.Decision.Rule
		} else {
			said = string(x.Refusal.Code)
		}
		if said != c.chosen || strings.Join(reasons, " ") != c.reasons {
			t.Errorf("%s: chosen %q, reasons %q", c.name, said, reasons)
		}
		m := ask(c.ask.Model)
		if c.ask.Modality == taxonomy.ModalVision {
			m.Messages[0].Parts = append(m.Messages[0].Parts, model.Part{Kind: model.PartImage, Media: &model.Media{URL: "https://x.example/a.png"}})
		}
		if slices.Contains(c.ask.Needs, taxonomy.CapJSON) {
			m.Output.Kind = model.OutputJSONObject
		}
		a, err := r.complete(gateway.Query{Intent: c.ask.Intent, Agent: c.ask.Agent}, m)
		did := string(fault.CodeOf(err))
		if err == nil {
			i := a.Info()
			did = i.Model + "@" + i.Connection + " " + i.Rule
		}
		if did != said {
			t.Errorf("%s: the call did %q, the explanation said %q", c.name, did, said)
		}
	}
}

// TestRegistryFactsExclude: what the registry documents that a model lacks leaves
// it out where the request needs it.
func TestRegistryFactsExclude(t *testing.T) {
	var blind registry.Row
	for _, row := range registry.Rows(taxonomy.OpenRouter) {
		if row.Can(taxonomy.CapTools) == registry.No && row.Can(taxonomy.CapText) == registry.Yes {
			blind = row
		}
	}
	if blind.Model == "" {
		t.Fatal("the registry has no such model any more")
	}
	r := newRig(t)
	m := ask(blind.Name())
	m.Tools = []model.Tool{{Name: "f"}}
	_, err := r.complete(gateway.Query{}, m)
	wantCode(t, err, fault.UnsupportedMedia)
	x, err := r.gateway().Explain(t.Context(), "acme", gateway.Question{Model: blind.Name(), Needs: []taxonomy.Capability{taxonomy.CapTools}}, r.now)
	check(t, err)
	if len(x.Excluded) != 1 || x.Excluded[0].Reason != route.CapabilityMissing {
		t.Errorf("%+v", x.Excluded)
	}
	r.wantLog()
	if x, err = r.gateway().Explain(t.Context(), "acme", gateway.Question{Model: blind.Name()}, r.now); err != nil || len(x.Candidates) != 1 {
		t.Errorf("without tools: %+v %v", x, err)
	}
}

func TestExplainRefuses(t *testing.T) {
	r := newRig(t)
	for want, q := range map[string]gateway.Question{"model": {Model: "gpt"}, "agent": {Agent: "nobody"}} {
		_, err := r.gateway().Explain(t.Context(), "acme", q, r.now)
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	r.store.config.Org.Status = org.Suspended
	_, err := r.gateway().Explain(t.Context(), "acme", gateway.Question{Model: "openrouter/m"}, r.now.Add(time.Second))
	wantCode(t, err, fault.ScopeMissing)
}
