package dynamo

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Agents implements [agent.Store].
type Agents struct{ db *DB }

// Agents returns the store of agents.
func (db *DB) Agents() Agents { return Agents{db} }

func encodeAgent(a agent.Agent) item {
	personas := make([]types.AttributeValue, len(a.Personas))
	for i, p := range a.Personas {
		personas[i] = mapping(item{"id": str(p.ID), "name": str(p.Name), "ins": str(p.Instructions), "voice": str(p.Voice)})
	}
	it := item{
		"id": str(a.ID), "org": str(a.Org), "name": str(a.Name), "ins": str(a.Instructions), "pers": list(personas...), "model": str(a.Model),
		"fb": strs(a.Fallback), "tools": strs(a.Tools), "voice": str(a.Voice), "hist": num(a.HistoryTokens), "at": millis(a.CreatedAt), "v": num(a.Version),
	}
	if h := a.Handoff; h != (agent.Handoff{}) {
		it["ho"] = mapping(item{"on": boolean(h.Enabled), "note": str(h.Note), "res": num(int64(h.ResumeAfter / time.Minute))})
	}
	return it
}

func decodeAgent(it item) (agent.Agent, error) {
	r := read(it)
	a := agent.Agent{ID: r.str("id"), Org: r.str("org"), Name: r.str("name"), Instructions: r.str("ins"), Model: r.str("model"),
		Fallback: r.strs("fb"), Tools: r.strs("tools"), Voice: r.str("voice"), HistoryTokens: r.num("hist"), CreatedAt: r.time("at"), Version: r.num("v")}
	h := read(r.sub("ho"))
	a.Handoff = agent.Handoff{Enabled: h.bool("on"), Note: h.str("note"), ResumeAfter: time.Duration(h.num("res")) * time.Minute}
	errs := []error{h.err}
	for _, p := range r.maps("pers") {
		a.Personas = append(a.Personas, agent.Persona{ID: p.str("id"), Name: p.str("name"), Instructions: p.str("ins"), Voice: p.str("voice")})
		errs = append(errs, p.err)
	}
	return a, errors.Join(append(errs, r.err)...)
}

// Agent implements [agent.Store].
func (s Agents) Agent(ctx context.Context, org, id string) (agent.Agent, error) {
	missing := fault.New(fault.NotFound, "dynamo.Agent", "there is no such agent")
	if !table.ValidID(id) {
		return agent.Agent{}, missing
	}
	it, err := s.db.get(ctx, table.Config, table.Agent(org, id), true)
	if err != nil {
		return agent.Agent{}, configDown("dynamo.Agent", err)
	}
	if it == nil {
		return agent.Agent{}, missing
	}
	a, err := decodeAgent(it)
	if err != nil {
		return agent.Agent{}, storedBadly("dynamo.Agent", err)
	}
	return a, nil
}

// Agents implements [agent.Store].
func (s Agents) Agents(ctx context.Context, org string) ([]agent.Agent, error) {
	k := table.Agent(org, "")
	items, err := s.db.query(ctx, query{role: table.Config, pk: k.PK, prefix: k.SK, consistent: true})
	if err != nil {
		return nil, configDown("dynamo.Agents", err)
	}
	out := make([]agent.Agent, len(items))
	for i, it := range items {
		if out[i], err = decodeAgent(it); err != nil {
			return nil, storedBadly("dynamo.Agents", err)
		}
	}
	return out, nil
}

// CreateAgent implements [agent.Store].
func (s Agents) CreateAgent(ctx context.Context, a agent.Agent, row audit.Row) error {
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.CreateAgent", row, s.db.putNew(table.Config, table.Agent(a.Org, a.ID), encodeAgent(a)))
	if reasons != nil {
		return fault.New(fault.Conflict, "dynamo.CreateAgent", "an agent with this id exists already")
	}
	return err
}

// UpdateAgent implements [agent.Store].
func (s Agents) UpdateAgent(ctx context.Context, old, next agent.Agent, row audit.Row) error {
	it := encodeAgent(next)
	k := table.Agent(old.Org, old.ID)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	condition, names, values := ifVersion(old.Version)
	return s.change(ctx, "dynamo.UpdateAgent", row, types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Config), Item: it,
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}})
}

// DeleteAgent implements [agent.Store].
func (s Agents) DeleteAgent(ctx context.Context, old agent.Agent, row audit.Row) error {
	condition, names, values := ifVersion(old.Version)
	return s.change(ctx, "dynamo.DeleteAgent", row, types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Config),
		Key: keyItem(table.Agent(old.Org, old.ID)), ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}})
}

func (s Agents) change(ctx context.Context, op string, row audit.Row, action types.TransactWriteItem) error {
	reasons, err := s.db.commitWithAudit(ctx, op, row, action)
	if reasons != nil {
		return fault.New(fault.Conflict, op, "the agent was changed at the same time; read it again and repeat the change")
	}
	return err
}
