package agent_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
)

type store map[string]agent.Agent

func (s store) Agent(_ context.Context, org, id string) (agent.Agent, error) {
	a, ok := s[org+"/"+id]
	if !ok {
		return a, fault.New(fault.NotFound, "", "")
	}
	return a, nil
}

func (s store) Agents(_ context.Context, org string) ([]agent.Agent, error) {
	var out []agent.Agent
	for _, a := range s {
		if a.Org == org {
			out = append(out, a)
		}
	}
	return out, nil
}

func (s store) CreateAgent(_ context.Context, a agent.Agent, _ audit.Row) error {
	s[a.Org+"/"+a.ID] = a
	return nil
}

func (s store) UpdateAgent(_ context.Context, _, next agent.Agent, _ audit.Row) error {
	s[next.Org+"/"+next.ID] = next
	return nil
}

func (s store) DeleteAgent(_ context.Context, old agent.Agent, _ audit.Row) error {
	delete(s, old.Org+"/"+old.ID)
	return nil
}

func TestService(t *testing.T) {
	s := &agent.Service{Store: store{}}
	op := audit.Op{Actor: "key:k", ID: "op", At: time.Unix(1772600767, 0)}
	p := func(s string) *string { return &s }
	n := func(v int64) *int64 { return &v }
	long := strings.Repeat("x", 33<<10)
	ps := func(v ...agent.Persona) *[]agent.Persona { return &v }
	for name, c := range map[string]struct {
		patch agent.Patch
		param string
	}{
		"no name":           {agent.Patch{}, "name"},
		"blank name":        {agent.Patch{Name: p(" ")}, "name"},
		"long instructions": {agent.Patch{Name: p("N"), Instructions: &long}, "instructions"},
		"not text":          {agent.Patch{Name: p("N"), Instructions: p("\xff")}, "instructions"},
		"model":             {agent.Patch{Name: p("N"), Model: p("a b")}, "model"},
		"fallback":          {agent.Patch{Name: p("N"), Fallback: &[]string{""}}, "fallback"},
		"model's provider":  {agent.Patch{Name: p("N"), Model: p("nobody/x")}, "model"},
		"fallback provider": {agent.Patch{Name: p("N"), Fallback: &[]string{"fast", "nobody/x"}}, "fallback"},
		"tools":             {agent.Patch{Name: p("N"), Tools: &[]string{"a b"}}, "tools"},
		"history":           {agent.Patch{Name: p("N"), HistoryTokens: n(499)}, "history_tokens"},
		"history, most":     {agent.Patch{Name: p("N"), HistoryTokens: n(200_001)}, "history_tokens"},
		"note":              {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{Note: strings.Repeat("x", 1001)}}, "handoff.note"},
		"blank note":        {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{Note: " "}}, "handoff.note"},
		"control in a note": {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{Note: "a\x00"}}, "handoff.note"},
		"resume":            {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{ResumeAfter: -time.Minute}}, "handoff.resume_after_minutes"},
		"resume, most":      {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{ResumeAfter: 43_201 * time.Minute}}, "handoff.resume_after_minutes"},
		"resume, seconds":   {agent.Patch{Name: p("N"), Handoff: &agent.Handoff{ResumeAfter: time.Second}}, "handoff.resume_after_minutes"},
		"a tool handoff":    {agent.Patch{Name: p("N"), Tools: &[]string{"handoff"}, Handoff: &agent.Handoff{Enabled: true}}, "tools"},
		"persona id":        {agent.Patch{Name: p("N"), Personas: ps(agent.Persona{ID: "a b"})}, "personas"},
		"persona twice":     {agent.Patch{Name: p("N"), Personas: ps(agent.Persona{ID: "a"}, agent.Persona{ID: "a"})}, "personas"},
		"persona text":      {agent.Patch{Name: p("N"), Personas: ps(agent.Persona{ID: "a", Instructions: long})}, "personas"},
	} {
		if _, err := s.Create(t.Context(), op, "o1", "a1", c.patch); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != c.param {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := s.Create(t.Context(), op, "o1", "a1", agent.Patch{Name: p("N"), Instructions: p("I"), Personas: ps(agent.Persona{ID: "p", Instructions: "P"})})
	if err != nil || a.Version != 1 || a.System("p") != "I\n\nP" || a.System("") != "I" || a.System("gone") != "I" {
		t.Fatalf("%+v %v", a, err)
	}
	a, err = s.Update(t.Context(), op, "o1", "a1", agent.Patch{Model: p("openrouter/x"), Fallback: &[]string{"fast", "gemini/y"}})
	if err != nil || a.Version != 2 || a.Name != "N" || a.Model != "openrouter/x" {
		t.Fatalf("%+v %v", a, err)
	}
	if _, err := s.Update(t.Context(), op, "o2", "a1", agent.Patch{}); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), op, "o1", "a1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "o1", "a1"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}
