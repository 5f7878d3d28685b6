package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/agent"
)

type agentJSON struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Instructions string        `json:"instructions"`
	Personas     []personaJSON `json:"personas"`
	Model        string        `json:"model,omitempty"`
	Fallback     []string      `json:"fallback"`
	Tools        []string      `json:"tools"`
	Voice        string        `json:"voice,omitempty"`
	// HistoryTokens is 0 where the model's window decides.
	HistoryTokens int64            `json:"history_tokens"`
	Handoff       agentHandoffJSON `json:"handoff"`
	CreatedAt     time.Time        `json:"created_at"`
	Version       int64            `json:"version"`
}

// agentHandoffJSON: with enabled the model may give a conversation to a person, who is
// told of by note; after so many minutes without a person's answer the agent goes on, 0
// = never by itself.
type agentHandoffJSON struct {
	Enabled            bool   `json:"enabled" api:"required"`
	Note               string `json:"note"`
	ResumeAfterMinutes int64  `json:"resume_after_minutes"`
}

type personaJSON struct {
	ID           string `json:"id" api:"required"`
	Name         string `json:"name" api:"required"`
	Instructions string `json:"instructions"`
	Voice        string `json:"voice,omitempty"`
}

func agentOut(a agent.Agent) agentJSON {
	out := agentJSON{ID: a.ID, Name: a.Name, Instructions: a.Instructions, Personas: []personaJSON{}, Model: a.Model,
		Fallback: orEmpty(a.Fallback), Tools: orEmpty(a.Tools), Voice: a.Voice, HistoryTokens: a.HistoryTokens, CreatedAt: a.CreatedAt.UTC(), Version: a.Version,
		Handoff: agentHandoffJSON{Enabled: a.Handoff.Enabled, Note: a.Handoff.Note, ResumeAfterMinutes: int64(a.Handoff.ResumeAfter / time.Minute)}}
	for _, p := range a.Personas {
		out.Personas = append(out.Personas, personaJSON(p))
	}
	return out
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

type patchAgent struct {
	Instructions *string        `json:"instructions"`
	Personas     *[]personaJSON `json:"personas"`
	Model        *string        `json:"model"`
	Fallback     *[]string      `json:"fallback"`
	Tools        *[]string      `json:"tools"`
	Voice        *string        `json:"voice"`
	// HistoryTokens is how much of a conversation a model is shown, in estimated
	// tokens; older messages become a summary. 0 = what fits the model.
	HistoryTokens *int64 `json:"history_tokens"`
	// Handoff replaces the setting as a whole.
	Handoff *agentHandoffJSON `json:"handoff"`
}

// maxMinutes keeps minutes within a duration; the domain's own bound is lower.
const maxMinutes = 1 << 20

func (b patchAgent) in(name *string) agent.Patch {
	p := agent.Patch{Name: name, Instructions: b.Instructions, Model: b.Model, Fallback: b.Fallback, Tools: b.Tools, Voice: b.Voice, HistoryTokens: b.HistoryTokens}
	if h := b.Handoff; h != nil {
		p.Handoff = &agent.Handoff{Enabled: h.Enabled, Note: h.Note, ResumeAfter: time.Duration(max(min(h.ResumeAfterMinutes, maxMinutes), -1)) * time.Minute}
	}
	if b.Personas != nil {
		personas := make([]agent.Persona, len(*b.Personas))
		for i, x := range *b.Personas {
			personas[i] = agent.Persona(x)
		}
		p.Personas = &personas
	}
	return p
}

type newAgent struct {
	Name string `json:"name" api:"required"`
	patchAgent
}

type changedAgent struct {
	Name *string `json:"name"`
	patchAgent
}

func createAgent(c *call, b newAgent) (any, error) {
	a, err := c.Agents.Create(c, c.op, c.org.ID, c.NewID(c.req.Now), b.in(&b.Name))
	return agentOut(a), err
}

func listAgents(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.Agents.List(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	items, next := slicePage(all, p, func(a agent.Agent) string { return a.ID })
	return answer(items, next, agentOut), nil
}

func getAgent(c *call) (any, error) {
	a, err := c.Agents.Get(c, c.org.ID, c.params["id"])
	return agentOut(a), err
}

func updateAgent(c *call, b changedAgent) (any, error) {
	a, err := c.Agents.Update(c, c.op, c.org.ID, c.params["id"], b.in(b.Name))
	return agentOut(a), err
}

func deleteAgent(c *call) (any, error) {
	return nil, c.Agents.Delete(c, c.op, c.org.ID, c.params["id"])
}
