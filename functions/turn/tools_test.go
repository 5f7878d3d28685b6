package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/session"
)

// TestConversationWithTools: calls and their results follow the messages, in the
// form that adapters take.
func TestConversationWithTools(t *testing.T) {
	call := model.Message{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartToolCall, Call: &model.ToolCall{ID: "c1", Name: "look", Args: "{}"}}}}
	q := turn.AnswerRequest{System: "S", Messages: []turn.Message{{Role: session.User, Text: "hi"}}, NoCalls: true,
		Tools:  []tool.Tool{{Name: "look", Description: "Looks", Parameters: json.RawMessage(`{"type":"object"}`)}},
		Rounds: []turn.Round{{Message: call, Results: []model.ToolResult{{CallID: "c1", Parts: []model.Part{model.Text("r")}, IsError: true}}}}}
	r := conversation(q)
	if len(r.Messages) != 4 || r.Messages[2].Parts[0].Call.ID != "c1" || r.Messages[3].Role != model.RoleTool || r.Messages[3].Parts[0].Result.Text() != "r" || !r.Messages[3].Parts[0].Result.IsError ||
		len(r.Tools) != 1 || string(r.Tools[0].Schema) != `{"type":"object"}` || r.ToolChoice.Mode != model.ChoiceNone {
		t.Fatalf("%+v", r)
	}
	q.NoCalls, q.Rounds = false, nil
	if r := conversation(q); r.ToolChoice.Mode != model.ChoiceDefault || len(r.Messages) != 2 {
		t.Fatalf("%+v", r)
	}
}

// charging records what becomes of actions.
type charging struct {
	captured, released int
	err                error
}

func (c *charging) Authorize(context.Context, credit.ChargeRequest) (credit.Authorized, error) {
	return credit.Authorized{}, nil
}

func (c *charging) Capture(context.Context, credit.Authorized, time.Time) error {
	c.captured++
	return c.err
}

func (c *charging) Release(context.Context, credit.Authorized, time.Time) error {
	c.released++
	return c.err
}

// TestReceiptOfACall: committing it charges the call, once it is charged or given
// back it is done, and one of another organisation is refused.
func TestReceiptOfACall(t *testing.T) {
	a := &charging{}
	m := metered{actions: a, now: time.Now}
	stored, err := json.Marshal(receipt{Action: &credit.Authorized{Hold: credit.Hold{Org: "o1", Request: "c_1"}, Count: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), "o1", stored); err != nil || a.captured != 1 {
		t.Fatal(err, a)
	}
	if err := m.Commit(t.Context(), "o2", stored); fault.CodeOf(err) != fault.Internal || a.captured != 1 {
		t.Fatal(err, a)
	}
	a.err = fault.New(fault.Conflict, "", "")
	if err := m.Commit(t.Context(), "o1", stored); err != nil {
		t.Fatal(err)
	}
	a.err = fault.New(fault.LedgerUnavailable, "", "")
	if err := m.Commit(t.Context(), "o1", stored); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Fatal(err)
	}
	if held, carried, err := m.posting(t.Context(), nil, turn.AnswerRequest{Org: "o1", Held: stored}, "id"); held != nil || !carried || err != nil {
		t.Fatal(held, carried, err)
	}
	if held, carried, err := m.posting(t.Context(), nil, turn.AnswerRequest{Org: "o1", Aside: true}, "id"); held != nil || carried || err != nil {
		t.Fatal(held, carried, err)
	}
}

type tooled []tool.Tool

func (s tooled) Tools(context.Context, string) ([]tool.Tool, error) { return s, nil }

func TestOffered(t *testing.T) {
	p := pricedTools{store: tooled{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	got, err := p.Offered(t.Context(), "o1", []string{"c", "gone", "a", "c"})
	if err != nil || len(got) != 2 || got[0].Name != "c" || got[1].Name != "a" {
		t.Fatalf("%+v %v", got, err)
	}
}
