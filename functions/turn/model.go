package main

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/session"
)

// requestID names the request of one try. A later try is a request of its own:
// who made the first one is gone, and what it reserved is given back by the
// sweep, uncharged, because its usage was never recorded.
func requestID(q turn.AnswerRequest) string {
	if q.Attempt <= 1 {
		return q.RequestKey
	}
	suffix := "-" + strconv.FormatInt(q.Attempt, 10)
	return q.RequestKey[:min(len(q.RequestKey), 64-len(suffix))] + suffix
}

// metered answers conversations through the gateway.
type metered struct {
	gateway *gateway.Gateway
	now     func() time.Time
}

// Answer implements [turn.Model].
func (m metered) Answer(ctx context.Context, q turn.AnswerRequest) (turn.Answer, error) {
	if !q.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.Deadline)
		defer cancel()
	}
	caller, err := m.gateway.Internal(ctx, q.Org, m.now)
	if err != nil {
		return turn.Answer{}, err
	}
	id := requestID(q)
	answer, err := m.gateway.Complete(ctx, caller, gateway.Query{RequestID: id, Agent: q.Agent.ID, Body: []byte(id),
		Pin: route.Pin{Model: q.Pin.Model, Connection: q.Pin.Connection}}, conversation(q))
	if err != nil {
		named := *fault.As(err)
		named.RequestID = id
		return turn.Answer{}, &named
	}
	receipt, err := json.Marshal(answer.Defer())
	if err != nil {
		return turn.Answer{}, fault.Wrap(fault.Internal, "turn.Answer", "internal error, try again later", err)
	}
	info := answer.Info()
	return turn.Answer{Text: answer.Response.Text(), RequestIDs: []string{id}, Receipt: receipt,
		Pin: session.Pin{Model: info.Model, Connection: info.Connection}}, nil
}

// conversation is the request in no vendor's dialect. It names no model: routing
// takes the agent's.
func conversation(q turn.AnswerRequest) *model.Request {
	r := new(model.Request)
	if q.System != "" {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleSystem, Parts: []model.Part{model.Text(q.System)}})
	}
	for _, msg := range q.Messages {
		role := model.RoleUser
		if msg.Role == session.Assistant {
			role = model.RoleAssistant
		}
		r.Messages = append(r.Messages, model.Message{Role: role, Parts: []model.Part{model.Text(msg.Text)}})
	}
	return r
}

// Commit implements [turn.Model].
func (m metered) Commit(ctx context.Context, org string, receipt []byte) error {
	var p gateway.Pending
	if err := json.Unmarshal(receipt, &p); err != nil || p.Hold.Org != org {
		return fault.New(fault.Internal, "turn.Commit", "internal error, the receipt of this turn cannot be read")
	}
	return m.gateway.Commit(ctx, p)
}
