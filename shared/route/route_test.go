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
		c.Cooldown = connection.Cooldown{Failures: 1, Until: now.Add(time.Minute)}
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
		{"model list of a connection", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{other}, "openrouter/x@platform(preferred)"},
		{"rate limited is the last resort of its source", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{limited},
			"openrouter/x@lim(cooldown_last_resort) openrouter/x@platform(preferred)"},
		{"rate limited waits while another byok is there", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{limited, first},
			"openrouter/x@a(preferred) openrouter/x@platform(preferred) -openrouter/x@lim(cooldown)"},
		{"a refused key is no last resort", Request{Model: "openrouter/x"}, org.Settings{}, []connection.Connection{refused},
			"openrouter/x@platform(preferred) -openrouter/x@ref(cooldown)"},
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
