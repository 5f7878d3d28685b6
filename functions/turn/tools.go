package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
)

// toolLife is how long a call's price is held: its retries are as far apart as
// those of an answer.
const toolLife = 15 * time.Minute

// toolStore reads an organisation's tools.
type toolStore interface {
	Tools(ctx context.Context, org string) ([]tool.Tool, error)
}

// pricedTools runs tools, each call as a platform action.
type pricedTools struct {
	metered metered
	store   toolStore
	caller  tool.Caller
}

// Offered implements [turn.Tools].
func (p pricedTools) Offered(ctx context.Context, org string, names []string) ([]tool.Tool, error) {
	all, err := p.store.Tools(ctx, org)
	if err != nil {
		return nil, err
	}
	var out []tool.Tool
	for _, name := range names {
		if k := slices.IndexFunc(all, func(t tool.Tool) bool { return t.Name == name }); k >= 0 && !slices.ContainsFunc(out, func(t tool.Tool) bool { return t.Name == name }) {
			out = append(out, all[k])
		}
	}
	return out, nil
}

// Call implements [turn.Tools]. A call is charged when the tool answered, whatever
// it said; a tool whose action has no price is not called. Each try holds the price
// anew: only that of the try whose result is stored is captured, so never twice.
func (p pricedTools) Call(ctx context.Context, c turn.ToolCall) (tool.Result, []byte, error) {
	m := p.metered
	caller, err := m.gateway.Internal(ctx, c.Org, m.now)
	if err != nil {
		return tool.Result{}, nil, err
	}
	held, paid, err := m.gateway.Authorize(ctx, caller, m.actions, gateway.Action{Name: c.Tool.Action, Agent: c.Agent, Once: c.Key + "/" + strconv.FormatInt(c.Attempt, 10), Life: toolLife})
	switch fault.CodeOf(err) {
	case "":
	case fault.PriceMissing:
		return tool.Result{Status: tool.NoPrice, Text: "The tool was not called: it has no price yet. An operator has to add one."}, nil, nil
	case fault.InsufficientCredits:
		return tool.Result{Status: tool.NoCredits, Text: "The tool was not called: this workspace is out of credits."}, nil, nil
	case fault.BillingDenied:
		return tool.Result{Status: tool.Denied, Text: "The tool was not called: this workspace may not use tools at the moment."}, nil, nil
	default:
		return tool.Result{}, nil, err
	}
	if held.Ended {
		// Nobody pays for this call any more; the next try has a price of its own.
		return tool.Result{}, nil, fault.New(fault.Unavailable, "turn.Call", "the price of this call was given back already")
	}
	r := p.caller.Call(ctx, c.Tool, c.Arguments, c.Key)
	switch {
	case !paid:
		return r, nil, nil
	case !r.Answered():
		m.release(ctx, &held)
		return r, nil, nil
	}
	stored, err := json.Marshal(receipt{Action: &held})
	if err != nil {
		return r, nil, fault.Wrap(fault.Internal, "turn.Call", "internal error, try again later", err)
	}
	return r, stored, nil
}
