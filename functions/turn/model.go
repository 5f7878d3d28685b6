package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/session"
)

// requestID names the request of one try. A later try is a request of its own:
// who made the first one is gone, and what it reserved is given back by the
// sweep, uncharged, because its usage was never recorded; of a stream, its last
// checkpoint is charged.
func requestID(q turn.AnswerRequest) string {
	if q.Attempt <= 1 {
		return q.RequestKey
	}
	suffix := "-" + strconv.FormatInt(q.Attempt, 10)
	return q.RequestKey[:min(len(q.RequestKey), 64-len(suffix))] + suffix
}

// actions charges the platform's own work; [credit.Ledger] implements it.
type actions interface {
	gateway.Actions
	Capture(ctx context.Context, a credit.Authorized, now time.Time) error
	Release(ctx context.Context, a credit.Authorized, now time.Time) error
}

// metered answers conversations through the gateway.
type metered struct {
	gateway *gateway.Gateway
	actions actions
	now     func() time.Time
	log     *slog.Logger
}

// receipt is what a stored answer has to be recorded with: the call, and what is
// held for posting it.
type receipt struct {
	gateway.Pending
	Posting *credit.Authorized `json:"posting,omitempty"`
	// Action is what a call of a tool costs; the receipt is then of that alone.
	Action *credit.Authorized `json:"action,omitempty"`
}

// postingLife is how long an answer may take from its question to its last part:
// three receptions of a message, and what lies between them. Later it is charged
// late.
const postingLife = 15 * time.Minute

// authorize holds what posting an answer costs. Without a price for that nothing is
// answered: an alarm counts the line that says what to do.
func (m metered) authorize(ctx context.Context, caller *gateway.Caller, q turn.AnswerRequest, id string) (*credit.Authorized, error) {
	held, ok, err := m.gateway.Authorize(ctx, caller, m.actions, gateway.Action{Name: gateway.ChannelMessage, Agent: q.Agent.ID, Once: id + "/posted", Life: postingLife})
	m.unpriced(ctx, q.Org, err)
	if err != nil || !ok {
		return nil, err
	}
	return &held, nil
}

// unpriced writes the line that wakes the operator.
func (m metered) unpriced(ctx context.Context, org string, err error) {
	if fault.CodeOf(err) == fault.PriceMissing {
		m.log.ErrorContext(ctx, "channel messages have no price, so none is answered: lk prices import --curated --activate", "op", gateway.ChannelMessage, "org", org)
	}
}

// release gives back what was held for an answer that there is none of. A failure
// leaves it to the sweep.
func (m metered) release(ctx context.Context, held *credit.Authorized) {
	if held == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_ = m.actions.Release(ctx, *held, m.now())
}

const releaseTime = 4 * time.Second

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
	posting, carried, err := m.posting(ctx, caller, q, id)
	if err != nil {
		return turn.Answer{}, err
	}
	answer, err := m.complete(ctx, caller, q, gateway.Query{RequestID: id, Agent: q.Agent.ID, Body: []byte(id),
		Pin: route.Pin{Model: q.Pin.Model, Connection: q.Pin.Connection}})
	if err != nil {
		if !carried { // what an earlier answer holds is the turn's to give back
			m.release(ctx, posting)
		}
		named := *fault.As(err)
		named.RequestID = id
		return turn.Answer{}, &named
	}
	stored, err := json.Marshal(receipt{Pending: answer.Defer(), Posting: posting})
	if err != nil {
		return turn.Answer{}, fault.Wrap(fault.Internal, "turn.Answer", "internal error, try again later", err)
	}
	info := answer.Info()
	out := turn.Answer{Text: answer.Response.Text(), RequestIDs: []string{id}, Receipt: stored,
		Pin: session.Pin{Model: info.Model, Connection: info.Connection}}
	if len(answer.Response.ToolCalls()) > 0 {
		out.Message = answer.Response.Message
	}
	return out, nil
}

// complete asks for a whole answer, as a stream where its growth is shown.
func (m metered) complete(ctx context.Context, caller *gateway.Caller, q turn.AnswerRequest, how gateway.Query) (*gateway.Answer, error) {
	r := conversation(q)
	if q.Grown == nil {
		return m.gateway.Complete(ctx, caller, how, r)
	}
	r.Stream = true
	s, err := m.gateway.Stream(ctx, caller, how, r)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	return s.Collect(func(ev model.Event) {
		if ev.Kind == model.EventText && ev.Text != "" {
			text.WriteString(ev.Text)
			q.Grown(text.String())
		}
	})
}

// posting is what is held for posting the answer: by an earlier answer of the turn,
// else held now.
func (m metered) posting(ctx context.Context, caller *gateway.Caller, q turn.AnswerRequest, id string) (held *credit.Authorized, carried bool, err error) {
	switch {
	case q.Aside:
		return nil, false, nil
	case len(q.Held) > 0:
		r, err := parseReceipt(q.Org, q.Held)
		return r.Posting, true, err
	}
	held, err = m.authorize(ctx, caller, q, id)
	return held, false, err
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
	for _, round := range q.Rounds {
		results := model.Message{Role: model.RoleTool}
		for i := range round.Results {
			results.Parts = append(results.Parts, model.Part{Kind: model.PartToolResult, Result: &round.Results[i]})
		}
		r.Messages = append(r.Messages, round.Message, results)
	}
	for _, t := range q.Tools {
		r.Tools = append(r.Tools, model.Tool{Name: t.Name, Description: t.Description, Schema: t.Parameters})
	}
	if q.NoCalls && len(q.Tools) > 0 {
		r.ToolChoice.Mode = model.ChoiceNone
	}
	return r
}

func parseReceipt(org string, stored []byte) (receipt, error) {
	var r receipt
	err := json.Unmarshal(stored, &r)
	whose := r.Hold.Org
	if r.Action != nil {
		whose = r.Action.Hold.Org
	}
	if err != nil || whose != org || r.Posting != nil && r.Posting.Hold.Org != org {
		return r, fault.New(fault.Internal, "turn.Commit", "internal error, the receipt of this turn cannot be read")
	}
	return r, nil
}

// Commit implements [turn.Model].
func (m metered) Commit(ctx context.Context, org string, stored []byte) error {
	r, err := parseReceipt(org, stored)
	if err != nil {
		return err
	}
	if r.Action == nil {
		return m.gateway.Commit(ctx, r.Pending)
	}
	return ended(m.actions.Capture(ctx, *r.Action, m.now()))
}

// Posted implements [turn.Model]. The first of two ends wins, whatever the other
// says.
func (m metered) Posted(ctx context.Context, org string, stored []byte, sent bool) error {
	r, err := parseReceipt(org, stored)
	if err != nil || r.Posting == nil {
		return err
	}
	end := m.actions.Release
	if sent {
		end = m.actions.Capture
	}
	return ended(end(ctx, *r.Posting, m.now()))
}

// ended takes an action that ended otherwise before as done.
func ended(err error) error {
	if fault.CodeOf(err) == fault.Conflict {
		return nil
	}
	return err
}
