package install

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
)

// Agents finds the agents that bindings name.
type Agents interface {
	// Agent fails with not_found.
	Agent(ctx context.Context, org, id string) (agent.Agent, error)
}

// MaxBindings bounds the bindings of one install, which are read per message.
const MaxBindings = 200

// NewBinding is a new or changed binding.
type NewBinding struct {
	Install   string
	Selector  Selector
	AgentID   string
	PersonaID string
}

// CreateBinding adds a binding. Errors: invalid_request, not_found for a foreign
// install, conflict if the install has a binding with equal fields and values.
func (s *Service) CreateBinding(ctx context.Context, op audit.Op, orgID string, n NewBinding) (Binding, error) {
	i, existing, err := s.Get(ctx, orgID, n.Install)
	if err != nil {
		return Binding{}, fault.As(err).WithParam("install_id")
	}
	if i.State == Revoked {
		return Binding{}, conflict("the install is revoked; create a new one")
	}
	if len(existing) >= MaxBindings {
		return Binding{}, conflict("an install can have at most 200 bindings; delete one first")
	}
	if err := checkSelector(n.Selector); err != nil {
		return Binding{}, err
	}
	if err := s.checkTarget(ctx, orgID, n.AgentID, n.PersonaID); err != nil {
		return Binding{}, err
	}
	b := Binding{ID: BindingID(i.ID, n.Selector), Org: orgID, Install: i.ID, Selector: n.Selector, AgentID: n.AgentID,
		PersonaID: n.PersonaID, CreatedAt: op.At.UTC().Truncate(time.Millisecond)}
	return b, s.Bindings.CreateBinding(ctx, b, op.Row(orgID, "binding.create", b.ID, "install_id", i.ID, "agent_id", b.AgentID))
}

// Binding returns one binding; not_found also for another organisation's.
func (s *Service) Binding(ctx context.Context, orgID, id string) (Binding, error) {
	missing := fault.New(fault.NotFound, "install.Binding", "there is no such binding")
	inst, ok := installOf(id)
	if !ok {
		return Binding{}, missing
	}
	_, bs, err := s.Get(ctx, orgID, inst)
	if fault.CodeOf(err) == fault.NotFound {
		return Binding{}, missing
	}
	if err != nil {
		return Binding{}, err
	}
	if k := slices.IndexFunc(bs, func(b Binding) bool { return b.ID == id }); k >= 0 {
		return bs[k], nil
	}
	return Binding{}, missing
}

// UpdateBinding changes agent and persona. The selector is the binding's
// identity: to change it, make another binding.
func (s *Service) UpdateBinding(ctx context.Context, op audit.Op, orgID, id, agentID, personaID string) (Binding, error) {
	b, err := s.Binding(ctx, orgID, id)
	if err != nil {
		return Binding{}, err
	}
	if err := s.checkTarget(ctx, orgID, agentID, personaID); err != nil {
		return Binding{}, err
	}
	b.AgentID, b.PersonaID = agentID, personaID
	return b, s.Bindings.UpdateBinding(ctx, b, op.Row(orgID, "binding.update", b.ID, "install_id", b.Install, "agent_id", b.AgentID))
}

// DeleteBinding removes a binding; its traffic is then unbound.
func (s *Service) DeleteBinding(ctx context.Context, op audit.Op, orgID, id string) error {
	b, err := s.Binding(ctx, orgID, id)
	if err != nil {
		return err
	}
	return s.Bindings.DeleteBinding(ctx, b, op.Row(orgID, "binding.delete", b.ID, "install_id", b.Install))
}

// ListBindings returns the bindings of one install, heaviest first.
func (s *Service) ListBindings(ctx context.Context, orgID, install string) ([]Binding, error) {
	_, bs, err := s.Get(ctx, orgID, install)
	slices.SortStableFunc(bs, func(a, b Binding) int { return b.Selector.Weight() - a.Selector.Weight() })
	return bs, err
}

func (s *Service) checkTarget(ctx context.Context, orgID, agentID, personaID string) error {
	a, err := s.Agents.Agent(ctx, orgID, agentID)
	if fault.CodeOf(err) == fault.NotFound {
		return invalid("agent_id", "there is no such agent in this organisation")
	}
	if err != nil {
		return err
	}
	if _, ok := a.Persona(personaID); personaID != "" && !ok {
		return invalid("persona_id", "the agent has no such persona")
	}
	return nil
}

func checkSelector(s Selector) error {
	for _, v := range s.values() {
		if len(v) > 256 || strings.ContainsFunc(v, control) {
			return invalid("selector", "a selector value is at most 256 bytes of plain text")
		}
	}
	if s.Mention != "" && s.Mention != AnyMention && !channel.ValidAddressee(string(s.Mention)) {
		return invalid("selector.mention", "mention is true, or a name of at most 64 characters of a-z, 0-9, _ and -")
	}
	return nil
}
