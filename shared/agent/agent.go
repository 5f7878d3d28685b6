// Package agent is the record of an organisation's agents: what they are told,
// which models they may use, in whose voice they speak.
//
// An agent is configuration only. Routing reads Model and Fallback, the turn
// runner reads [Agent.System]; neither changes it. [Service] carries the rules
// for changes and bounds every field, because an agent is read with every
// message. Personas are the same agent under another name: they share tools and
// model but neither sessions nor transcripts.
package agent

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Persona is one face of an agent.
type Persona struct {
	ID           string
	Name         string
	Instructions string
	Voice        string
}

// Agent is one agent. Version counts its writes, from 1.
type Agent struct {
	ID           string
	Org          string
	Name         string
	Instructions string
	Personas     []Persona
	Model        string
	Fallback     []string
	Tools        []string
	Voice        string
	// HistoryTokens is how much of a conversation a model is shown, 0 for what fits
	// its window; see package history.
	HistoryTokens int64
	// Handoff says whether the agent may give a conversation to a person.
	Handoff   Handoff
	CreatedAt time.Time
	Version   int64
}

// Handoff is how an agent gives conversations to people; see package handoff.
type Handoff struct {
	Enabled bool
	// Note is what people are told then, empty for the default.
	Note string
	// ResumeAfter is after how long without a person's answer the agent goes on, in
	// whole minutes; 0 = never by itself. It also counts for sessions that a person took.
	ResumeAfter time.Duration
}

// HandoffTool is the name of the tool that hands over.
const HandoffTool = "handoff"

// Persona finds a persona by id.
func (a Agent) Persona(id string) (Persona, bool) {
	if k := slices.IndexFunc(a.Personas, func(p Persona) bool { return p.ID == id }); k >= 0 {
		return a.Personas[k], true
	}
	return Persona{}, false
}

// System is the system text of a conversation with a persona, "" for none. An
// unknown persona adds nothing: it was deleted after the message was bound.
func (a Agent) System(persona string) string {
	p, _ := a.Persona(persona)
	return strings.TrimSpace(a.Instructions + "\n\n" + p.Instructions)
}

// Store keeps agents. Each write puts its audit row in the same transaction.
type Store interface {
	// Agent fails with not_found.
	Agent(ctx context.Context, org, id string) (Agent, error)
	// Agents lists all agents of an organisation by id.
	Agents(ctx context.Context, org string) ([]Agent, error)
	// CreateAgent fails with conflict if the id exists.
	CreateAgent(ctx context.Context, a Agent, row audit.Row) error
	// UpdateAgent replaces old by next if old's version is still stored, else
	// conflict.
	UpdateAgent(ctx context.Context, old, next Agent, row audit.Row) error
	// DeleteAgent fails with conflict if old's version is not stored any more.
	DeleteAgent(ctx context.Context, old Agent, row audit.Row) error
}

// Service carries the rules for agents.
type Service struct{ Store Store }

// Limits. An item of the config table is at most 400 KB, and instructions are
// read with every message.
const (
	MaxPerOrg       = 100
	maxName         = 100
	maxInstructions = 32 << 10
	maxPersonas     = 20
	maxAllText      = 200 << 10
	maxFallback     = 8
	maxTools        = 32
	minHistory      = 500
	maxHistory      = 200_000
	maxNote         = 1000
	maxResume       = 30 * 24 * time.Hour
)

// Patch changes an agent; nil means unchanged.
type Patch struct {
	Name         *string
	Instructions *string
	Personas     *[]Persona
	Model        *string
	Fallback     *[]string
	Tools        *[]string
	Voice        *string
	// HistoryTokens of 0 goes back to the default.
	HistoryTokens *int64
	// Handoff is replaced whole.
	Handoff *Handoff
}

// Create makes an agent. Errors: invalid_request, conflict, unavailable.
func (s *Service) Create(ctx context.Context, op audit.Op, org, id string, p Patch) (Agent, error) {
	all, err := s.Store.Agents(ctx, org)
	if err != nil {
		return Agent{}, err
	}
	if len(all) >= MaxPerOrg {
		return Agent{}, fault.New(fault.Conflict, "agent.Create", "an organisation can have at most 100 agents; delete one first")
	}
	a := Agent{ID: id, Org: org, CreatedAt: op.At.UTC().Truncate(time.Millisecond), Version: 1}
	if a, err = p.apply(a); err != nil {
		return Agent{}, err
	}
	return a, s.Store.CreateAgent(ctx, a, op.Row(org, "agent.create", id, "label", a.Name))
}

// Get returns one agent; not_found.
func (s *Service) Get(ctx context.Context, org, id string) (Agent, error) {
	return s.Store.Agent(ctx, org, id)
}

// List returns all agents of an organisation.
func (s *Service) List(ctx context.Context, org string) ([]Agent, error) {
	return s.Store.Agents(ctx, org)
}

// Update changes an agent. Errors: invalid_request, not_found, conflict.
func (s *Service) Update(ctx context.Context, op audit.Op, org, id string, p Patch) (Agent, error) {
	old, err := s.Store.Agent(ctx, org, id)
	if err != nil {
		return Agent{}, err
	}
	next, err := p.apply(old)
	if err != nil {
		return Agent{}, err
	}
	next.Version = old.Version + 1
	return next, s.Store.UpdateAgent(ctx, old, next, op.Row(org, "agent.update", id, "label", next.Name))
}

// Delete removes an agent. Messages already bound to it end without an answer.
func (s *Service) Delete(ctx context.Context, op audit.Op, org, id string) error {
	old, err := s.Store.Agent(ctx, org, id)
	if err != nil {
		return err
	}
	return s.Store.DeleteAgent(ctx, old, op.Row(org, "agent.delete", id))
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (p Patch) apply(a Agent) (Agent, error) {
	set(&a.Name, p.Name)
	set(&a.Instructions, p.Instructions)
	set(&a.Personas, p.Personas)
	set(&a.Model, p.Model)
	set(&a.Fallback, p.Fallback)
	set(&a.Tools, p.Tools)
	set(&a.Voice, p.Voice)
	set(&a.HistoryTokens, p.HistoryTokens)
	set(&a.Handoff, p.Handoff)
	return a, a.check()
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "agent.Check", message).WithParam(param)
}

func text(s string, limit int) bool { return len(s) <= limit && utf8.ValidString(s) }

func word(s string) bool {
	return len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// modelName accepts what can be a model: provider/model, or a word without a
// slash, which may be an alias.
func modelName(s string) bool {
	_, _, ok := taxonomy.SplitModel(s)
	return ok || s != "" && !strings.Contains(s, "/")
}

func (a Agent) check() error {
	total := len(a.Instructions)
	switch {
	case !table.ValidID(a.ID):
		return invalid("id", "the id is malformed")
	case strings.TrimSpace(a.Name) == "" || !text(a.Name, maxName):
		return invalid("name", "the name is 1 to 100 bytes of text")
	case !text(a.Instructions, maxInstructions):
		return invalid("instructions", "instructions are at most 32 KiB of text")
	case len(a.Personas) > maxPersonas:
		return invalid("personas", "an agent has at most 20 personas")
	case !word(a.Model) || !word(a.Voice):
		return invalid("model", "model and voice are words of at most 200 characters")
	case a.Model != "" && !modelName(a.Model):
		return invalid("model", "model is provider/model with a known provider, an alias of the organisation, or auto")
	case len(a.Fallback) > maxFallback || slices.ContainsFunc(a.Fallback, func(s string) bool { return !word(s) || !modelName(s) }):
		return invalid("fallback", "fallback is at most 8 models, each provider/model with a known provider or an alias of the organisation")
	case len(a.Tools) > maxTools || slices.ContainsFunc(a.Tools, func(s string) bool { return !table.ValidID(s) }):
		return invalid("tools", "tools are at most 32 names of a-z, A-Z, 0-9, _ and -")
	case a.HistoryTokens != 0 && (a.HistoryTokens < minHistory || a.HistoryTokens > maxHistory):
		return invalid("history_tokens", "history_tokens is 500 to 200000, or 0 for what fits the model")
	}
	if err := a.Handoff.check(a.Tools); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range a.Personas {
		if !table.ValidID(p.ID) || seen[p.ID] {
			return invalid("personas", "every persona needs an id of its own")
		}
		if !text(p.Name, maxName) || !text(p.Instructions, maxInstructions) || !word(p.Voice) {
			return invalid("personas", "a persona's name is at most 100 bytes, its instructions 32 KiB, its voice one word")
		}
		seen[p.ID] = true
		total += len(p.Instructions)
	}
	if total > maxAllText {
		return invalid("personas", "instructions of an agent and its personas are at most 200 KiB together")
	}
	return nil
}

func (h Handoff) check(tools []string) error {
	switch {
	case !text(h.Note, maxNote) || h.Note != "" && strings.TrimSpace(h.Note) == "" || strings.ContainsFunc(h.Note, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }):
		return invalid("handoff.note", "the note is at most 1000 bytes of text, or empty for the default")
	case h.ResumeAfter < 0 || h.ResumeAfter > maxResume || h.ResumeAfter%time.Minute != 0:
		return invalid("handoff.resume_after_minutes", "resume_after_minutes is 1 to 43200, or 0 for never")
	case h.Enabled && slices.Contains(tools, HandoffTool):
		return invalid("tools", "an agent that hands over cannot have a tool of its own called handoff")
	}
	return nil
}
