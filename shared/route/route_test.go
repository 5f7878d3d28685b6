package route

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func conn(id string, p taxonomy.Provider, source taxonomy.BillingSource, change func(*connection.Connection)) connection.Connection {
	c := connection.Connection{ID: id, Provider: p, Enabled: true, Status: connection.Active, BillingSource: source, CreatedAt: now}
	if change != nil {
		change(&c)
	}
	return c
}

func providers(p taxonomy.Provider) ([]taxonomy.Capability, bool) {
	switch p {
	case taxonomy.OpenRouter:
		return []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools}, true
	case taxonomy.OpenAICompatible:
		return []taxonomy.Capability{taxonomy.CapText}, true
	}
	return nil, false
}

func show(r Result) string {
	var out []string
	for _, c := range r.Candidates {
		id := "platform"
		if c.Connection != nil {
			id = c.Connection.ID
		}
		out = append(out, fmt.Sprintf("%s@%s(%s)", c.Name(), id, c.Reason))
	}
	for _, c := range r.Excluded {
		id := "platform"
		if c.Connection != nil {
			id = c.Connection.ID
		}
		out = append(out, fmt.Sprintf("-%s@%s(%s)", c.Name(), id, c.Reason))
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	first := conn("a", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Priority = 1 })
	second := conn("b", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Priority = 2 })
	off := conn("off", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Enabled = false })
	limited := conn("lim", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Cooldown.Until = now.Add(time.Minute) })
	refused := conn("ref", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) {
		c.Cooldown = connection.Cooldown{Failures: 1, Until: now.Add(time.Minute), Refused: true}
	})
	down := conn("down", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) {
		c.Cooldown = connection.Cooldown{Failures: 3, Until: now.Add(time.Minute)}
	})
	private := conn("priv", taxonomy.OpenAICompatible, taxonomy.Private, nil)
	other := conn("other", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Models = []string{"y"} })

	cases := []struct {
		name     string
		request  Request
		settings org.Settings
		conns    []connection.Connection
		want     string
	}{
		{"explicit model over connections by priority, then platform", Request{Model: "openrouter/x"}, org.Settings{},
			[]connection.Connection{second, first}, "openrouter/x@a(preferred) openrouter/x@b(preferred) openrouter/x@platform(preferred)"},
		{"fallbacks by name follow, no repeats", Request{Model: "openrouter/x", Fallback: []string{"openrouter/z", "openrouter/x"}},
			org.Settings{Fallback: []string{"openrouter/z"}}, nil, "openrouter/x@platform(preferred) openrouter/z@platform(safe_fallback)"},
		{"alias", Request{Model: "fast"}, org.Settings{Aliases: map[string]string{"fast": "openrouter/x"}}, nil, "openrouter/x@platform(preferred)"},
		{"auto takes the default and the pool", Request{Model: "auto"}, org.Settings{DefaultModel: "openrouter/d", EnabledModels: []string{"openrouter/e"}}, nil,
			"openrouter/d@platform(org_default) openrouter/e@platform(org_enabled_pool)"},
		{"disabled connection is named", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{off},
			"openrouter/x@platform(preferred) -openrouter/x@off(disabled)"},
		{"model list of a connection", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{other},
			"openrouter/x@platform(preferred) -openrouter/@other(model_not_listed)"},
		{"rate limited is the last resort of its source", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{limited},
			"openrouter/x@lim(cooldown_last_resort) openrouter/x@platform(preferred)"},
		{"rate limited waits while another byok is there", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{limited, first},
			"openrouter/x@a(preferred) openrouter/x@platform(preferred) -openrouter/x@lim(cooldown)"},
		{"a refused key is no last resort", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{refused},
			"openrouter/x@platform(preferred) -openrouter/x@ref(cooldown)"},
		{"repeated 5xx are no refusal", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{down},
			"openrouter/x@down(cooldown_last_resort) openrouter/x@platform(preferred)"},
		{"a last resort waits for what is usable", Request{Model: "openai_compatible/m", Fallback: []string{"openrouter/x"}}, org.Settings{}, []connection.Connection{limited, private},
			"openai_compatible/m@priv(preferred) openrouter/x@lim(cooldown_last_resort) openai_compatible/m@platform(preferred) openrouter/x@platform(safe_fallback)"},
		{"connections of other vendors are named", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{private},
			"openrouter/x@platform(preferred) -openai_compatible/@priv(other_provider)"},
		{"forced connection", Request{Model: "openrouter/x", Connection: "b"}, org.Settings{}, []connection.Connection{first, second},
			"openrouter/x@b(preferred) -openrouter/x@a(other_connection_requested) -openrouter/x@platform(other_connection_requested)"},
		{"local only keeps private", Request{Model: "openai_compatible/m"}, org.Settings{PrivacyMode: org.PrivacyLocalOnly}, []connection.Connection{private},
			"openai_compatible/m@priv(preferred) -openai_compatible/m@platform(privacy_mode_blocked)"},
		{"unknown adapter", Request{Model: "mistral/m"}, org.Settings{}, nil, "-mistral/m@platform(provider_unavailable)"},
		{"capability", Request{Model: "openai_compatible/m", Needs: []taxonomy.Capability{taxonomy.CapTools}}, org.Settings{}, nil,
			"-openai_compatible/m@platform(capability_unsupported)"},
		{"input alias of a provider", Request{Model: "ollama/m"}, org.Settings{}, nil, "openai_compatible/m@platform(preferred)"},
	}
	for _, c := range cases {
		got, err := Plan(Inputs{Request: c.request, Settings: c.settings, Connections: c.conns, Provider: providers, Now: now})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if show(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, show(got), c.want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		request Request
		param   string
	}{
		{Request{Model: "gpt"}, "model"},
		{Request{Model: "nobody/gpt"}, "model"},
		{Request{}, "model"},
		{Request{Model: "openrouter/x", Connection: "missing"}, "connection"},
		{Request{Model: "openrouter/x", Connection: "a#b"}, "connection"},
	} {
		_, err := Plan(Inputs{Request: c.request, Provider: providers, Now: now})
		if fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != c.param {
			t.Errorf("%+v: %v", c.request, err)
		}
	}
}

// matrix is an organisation that uses everything that routing has.
func matrix() org.Settings {
	return org.Settings{DefaultModel: "openrouter/default", EnabledModels: []string{"openrouter/pool", "openrouter/default"}, Fallback: []string{"openrouter/safe"},
		Aliases: map[string]string{"fast": "openrouter/quick"},
		Routing: org.Routing{"general": {"text": {"openrouter/talk"}, "vision": {"openrouter/eyes"}}, "tooling": {"text": {"openrouter/tools", "openrouter/talk"}}}}
}

func able(p taxonomy.Provider) ([]taxonomy.Capability, bool) {
	return taxonomy.Capabilities(), p == taxonomy.OpenRouter || p == taxonomy.OpenAICompatible
}

// facts: talk takes text only, quick has no tools, pool is gold, talk is bronze.
func facts(_ taxonomy.Provider, name string) Facts {
	switch name {
	case "talk":
		return Facts{Lacks: []taxonomy.Capability{taxonomy.CapVision, taxonomy.CapAudioIn}, Tier: org.QualityBronze}
	case "quick":
		return Facts{Lacks: []taxonomy.Capability{taxonomy.CapTools}}
	case "pool":
		return Facts{Tier: org.QualityGold}
	}
	return Facts{}
}

func brief(r Result) string {
	var out []string
	for _, c := range r.Candidates {
		out = append(out, fmt.Sprintf("%s(%s,%s)", c.Model, c.Reason, c.Origin))
	}
	for _, e := range r.Excluded {
		out = append(out, fmt.Sprintf("-%s(%s)", e.Candidate.Model, e.Reason))
	}
	return strings.Join(out, " ")
}

func TestMatrix(t *testing.T) {
	const rest = " default(org_default,settings) pool(org_enabled_pool,settings) safe(safe_fallback,settings)"
	vision := []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision}
	for _, c := range []struct {
		name    string
		request Request
		change  func(*org.Settings)
		want    string
	}{
		{"auto, general", Request{Modality: taxonomy.ModalText}, nil, "talk(preferred,matrix)" + rest},
		{"the intent has a cell", Request{Model: "auto", Intent: taxonomy.Tooling, Modality: taxonomy.ModalText}, nil,
			"tools(preferred,matrix) talk(preferred,matrix)" + rest},
		{"an intent without a cell takes general's", Request{Intent: taxonomy.Support, Modality: taxonomy.ModalText}, nil, "talk(preferred,matrix)" + rest},
		{"the same for a modality of the intent", Request{Intent: taxonomy.Tooling, Modality: taxonomy.ModalVision, Needs: vision}, nil, "eyes(preferred,matrix)" + rest},
		{"a modality takes no other's cell", Request{Modality: taxonomy.ModalAudioIn}, nil, rest[1:]},
		{"speech has no cell", Request{}, nil, rest[1:]},
		{"an alias goes first", Request{Model: "fast", Modality: taxonomy.ModalText}, nil, "quick(preferred,alias) talk(preferred,matrix)" + rest},
		{"an agent's model and chain go first", Request{Model: "openrouter/mine", Agent: true, Fallback: []string{"fast", "openrouter/pool"}, Modality: taxonomy.ModalText}, nil,
			"mine(preferred,agent) quick(safe_fallback,agent) pool(safe_fallback,agent) talk(preferred,matrix) default(org_default,settings) safe(safe_fallback,settings)"},
		{"a chain without a model comes last", Request{Fallback: []string{"openrouter/mine"}, Modality: taxonomy.ModalText}, nil,
			"talk(preferred,matrix) default(org_default,settings) pool(org_enabled_pool,settings) mine(safe_fallback,agent) safe(safe_fallback,settings)"},
		{"explicit has no matrix", Request{Model: "openrouter/mine", Intent: taxonomy.Tooling, Modality: taxonomy.ModalText}, nil, "mine(preferred,request) safe(safe_fallback,settings)"},
		{"explicit with an agent's chain", Request{Model: "openrouter/mine", Fallback: []string{"gone"}, Modality: taxonomy.ModalText}, nil,
			"mine(preferred,request) safe(safe_fallback,settings) -gone(alias_unknown)"},
		{"vision excludes a model for text", Request{Model: "openrouter/talk", Modality: taxonomy.ModalVision, Needs: vision}, nil,
			"safe(safe_fallback,settings) -talk(modality_unsupported)"},
		{"audio too", Request{Model: "openrouter/talk", Modality: taxonomy.ModalAudioIn, Needs: []taxonomy.Capability{taxonomy.CapAudioIn}}, nil,
			"safe(safe_fallback,settings) -talk(modality_unsupported)"},
		{"tooling excludes a model without tools", Request{Model: "fast", Intent: taxonomy.Tooling, Modality: taxonomy.ModalText}, nil,
			"tools(preferred,matrix) talk(preferred,matrix)" + rest + " -quick(intent_unsupported)"},
		{"tools in the request", Request{Model: "openrouter/quick", Needs: []taxonomy.Capability{taxonomy.CapTools}, Modality: taxonomy.ModalText}, nil,
			"safe(safe_fallback,settings) -quick(capability_unsupported)"},
		{"a floor excludes what is below and what nobody rated", Request{Modality: taxonomy.ModalText}, func(s *org.Settings) { s.QualityFloor = org.QualitySilver },
			"pool(org_enabled_pool,settings) -talk(quality_tier_blocked) -default(quality_tier_blocked) -safe(quality_tier_blocked)"},
		{"the floor itself passes", Request{Model: "openrouter/talk", Modality: taxonomy.ModalText}, func(s *org.Settings) { s.QualityFloor = org.QualityBronze },
			"talk(preferred,request) -safe(quality_tier_blocked)"},
		{"an explicit model is below the floor like any other", Request{Model: "openrouter/mine", Modality: taxonomy.ModalText}, func(s *org.Settings) { s.QualityFloor, s.Fallback = org.QualityBronze, nil },
			"-mine(quality_tier_blocked)"},
	} {
		s := matrix()
		if c.change != nil {
			c.change(&s)
		}
		got, err := Plan(Inputs{Request: c.request, Settings: s, Provider: able, Facts: facts, Now: now})
		if err != nil || brief(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, brief(got), c.want)
		}
	}
}

func TestPrivacy(t *testing.T) {
	own := conn("own", taxonomy.OpenRouter, taxonomy.BYOK, nil)
	near := conn("near", taxonomy.OpenAICompatible, taxonomy.Private, func(c *connection.Connection) { c.Models = []string{"llama"} })
	for mode, want := range map[org.PrivacyMode]string{
		org.PrivacyOff: "openrouter/x@own(org_default) openrouter/x@platform(org_default) openrouter/y@own(safe_fallback) openrouter/y@platform(safe_fallback)" +
			" -openai_compatible/@near(other_provider)",
		org.PrivacyPreferLocal: "openai_compatible/llama@near(local_connector_pool) openrouter/x@own(org_default) openrouter/x@platform(org_default)" +
			" openai_compatible/llama@platform(local_connector_pool) openrouter/y@own(safe_fallback) openrouter/y@platform(safe_fallback)",
		org.PrivacyLocalOnly: "openai_compatible/llama@near(local_connector_pool) -openrouter/x@own(privacy_mode_blocked) -openrouter/x@platform(privacy_mode_blocked)" +
			" -openai_compatible/llama@platform(privacy_mode_blocked) -openrouter/y@own(privacy_mode_blocked) -openrouter/y@platform(privacy_mode_blocked)",
	} {
		got, err := Plan(Inputs{Request: Request{Modality: taxonomy.ModalText}, Settings: org.Settings{DefaultModel: "openrouter/x", Fallback: []string{"openrouter/y"}, PrivacyMode: mode},
			Connections: []connection.Connection{own, near}, Provider: able, Now: now})
		if err != nil || show(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", mode, err, show(got), want)
		}
	}
}

func TestSessionPin(t *testing.T) {
	a := conn("a", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Priority = 1 })
	b := conn("b", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Priority = 2 })
	near := conn("near", taxonomy.OpenAICompatible, taxonomy.Private, nil)
	cooling := b
	cooling.Cooldown.Until = now.Add(time.Minute)
	for _, c := range []struct {
		name  string
		pin   Pin
		mode  org.PrivacyMode
		conns []connection.Connection
		first string
	}{
		{"another connection of the same model", Pin{"openrouter/x", "b"}, "", []connection.Connection{a, b}, "openrouter/x@b(session_pinned) openrouter/x@a(preferred)"},
		{"a fallback model", Pin{"openrouter/y", "a"}, "", []connection.Connection{a}, "openrouter/y@a(session_pinned) openrouter/x@a(preferred)"},
		{"the platform, without own keys", Pin{"openrouter/y", ""}, "", nil, "openrouter/y@platform(session_pinned) openrouter/x@platform(preferred)"},
		{"the platform never goes before an own key", Pin{"openrouter/y", ""}, "", []connection.Connection{a}, "openrouter/x@a(preferred) openrouter/x@platform(preferred)"},
		{"a connection that rests", Pin{"openrouter/x", "b"}, "", []connection.Connection{a, cooling}, "openrouter/x@a(preferred) openrouter/x@platform(preferred)"},
		{"a last resort stays one", Pin{"openrouter/x", "b"}, "", []connection.Connection{cooling}, "openrouter/x@b(cooldown_last_resort) openrouter/x@platform(preferred)"},
		{"a model that nothing names any more", Pin{"openrouter/z", "a"}, "", []connection.Connection{a}, "openrouter/x@a(preferred) openrouter/x@platform(preferred)"},
		{"a connection that is gone", Pin{"openrouter/x", "c"}, "", []connection.Connection{a}, "openrouter/x@a(preferred) openrouter/x@platform(preferred)"},
		{"private goes first under prefer_local", Pin{"openrouter/y", "a"}, org.PrivacyPreferLocal, []connection.Connection{a, near},
			"openai_compatible/m@near(safe_fallback) openrouter/y@a(session_pinned)"},
	} {
		got, err := Plan(Inputs{Request: Request{Model: "openrouter/x", Fallback: []string{"openrouter/y", "openai_compatible/m"}, Agent: true, Modality: taxonomy.ModalText, Pin: c.pin},
			Settings: org.Settings{PrivacyMode: c.mode}, Connections: c.conns, Provider: able, Now: now})
		if err != nil || !strings.HasPrefix(show(got), c.first) {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, show(got), c.first)
		}
	}
}

// TestReasonsAreFrozen: clients read these words.
func TestReasonsAreFrozen(t *testing.T) {
	const frozen = "session_pinned preferred org_default org_enabled_pool local_connector_pool safe_fallback cooldown_last_resort provider_unavailable alias_unknown " +
		"modality_unsupported intent_unsupported capability_unsupported quality_tier_blocked privacy_mode_blocked other_connection_requested other_provider " +
		"model_not_listed candidate_limit revoked disabled unhealthy unverified cooldown"
	var got []string
	for _, r := range Reasons() {
		got = append(got, string(r))
	}
	if strings.Join(got, " ") != frozen {
		t.Errorf("%s", strings.Join(got, " "))
	}
}

// TestCandidateLimit: what is beyond the limit is said, not dropped.
func TestCandidateLimit(t *testing.T) {
	s := org.Settings{DefaultModel: "openrouter/m0"}
	for i := range 20 {
		s.EnabledModels = append(s.EnabledModels, fmt.Sprintf("openrouter/m%d", i))
	}
	got, err := Plan(Inputs{Settings: s, Provider: able, Now: now})
	if err != nil || len(got.Candidates) != 16 || len(got.Excluded) != 4 || got.Excluded[3].Reason != TooMany || got.Excluded[3].Candidate.Model != "m19" {
		t.Fatalf("%v %d %+v", err, len(got.Candidates), got.Excluded)
	}
}
