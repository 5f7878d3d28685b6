package turn

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/session"
)

// calling is what is stored of an answer that calls tools.
type calling struct {
	Message model.Message `json:"message"`
	Pin     session.Pin   `json:"pin"`
}

// converse asks the model and runs the tools that it calls until it answers.
func (x *run) converse(ctx context.Context, q AnswerRequest) (Answer, error) {
	for {
		rounds, pin, err := x.rounds()
		if err != nil {
			return Answer{}, err
		}
		if k := len(rounds) - 1; k >= 0 {
			q.Held, q.Pin = x.firstCalls().Receipt, pin
			if done := len(rounds[k].Results); done < len(callsOf(rounds[k].Message)) {
				if err := x.runTool(ctx, q.Tools, callsOf(rounds[k].Message)[done]); err != nil {
					return Answer{}, err
				}
				continue
			}
			q.RequestKey = session.RequestKey(x.job.Install, x.job.EventID, x.job.AgentID, "answer-"+strconv.Itoa(k+2))
		}
		q.Rounds, q.NoCalls = rounds, len(rounds) >= maxRounds || x.results() >= maxCalls
		got, err := x.call(ctx, q)
		if err != nil || q.NoCalls || len(callsOf(got.Message)) == 0 {
			return got, err
		}
		if err := x.storeCalls(ctx, got); err != nil {
			return Answer{}, err
		}
	}
}

// rounds are the stored answers with calls and their results, and what the last
// one was served with.
func (x *run) rounds() (out []Round, pin session.Pin, err error) {
	for _, s := range x.allSteps() {
		switch s.Kind {
		case session.StepCalls:
			var c calling
			if err := json.Unmarshal(s.Data, &c); err != nil {
				return nil, pin, fault.New(fault.Internal, "turn.rounds", "internal error, a stored step of this turn cannot be read")
			}
			out, pin = append(out, Round{Message: c.Message}), c.Pin
		case session.StepResult:
			if len(out) == 0 {
				return nil, pin, fault.New(fault.Internal, "turn.rounds", "internal error, the stored steps of this turn are out of order")
			}
			last := &out[len(out)-1]
			last.Results = append(last.Results, model.ToolResult{CallID: s.Call.ID, Parts: []model.Part{model.Text(string(s.Data))}, IsError: s.Call.Status != string(tool.OK)})
		}
	}
	return out, pin, nil
}

func callsOf(m model.Message) []model.ToolCall {
	r := model.Response{Message: m}
	return r.ToolCalls()
}

// firstCalls is the turn's own first stored answer with calls, zero if there is none.
func (x *run) firstCalls() session.Step {
	k := slices.IndexFunc(x.turn.Steps, func(s session.Step) bool { return s.Kind == session.StepCalls })
	if k < 0 {
		return session.Step{}
	}
	return x.turn.Steps[k]
}

// results counts the calls that were dealt with.
func (x *run) results() (n int) {
	for _, s := range x.allSteps() {
		if s.Kind == session.StepResult {
			n++
		}
	}
	return n
}

// unheld gives back what is held for posting an answer that there will not be. A
// failure leaves it to the sweep.
func (x *run) unheld(ctx context.Context) {
	first := x.firstCalls()
	if len(first.Receipt) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	_ = x.d.Model.Posted(ctx, x.turn.Org, first.Receipt, false)
}

// storeCalls stores an answer that calls tools before any of them runs.
func (x *run) storeCalls(ctx context.Context, got Answer) error {
	ctx, cancel := storing(ctx)
	defer cancel()
	data, err := json.Marshal(calling{got.Message, got.Pin})
	if err != nil || len(data) > maxCallData {
		return fault.New(fault.ProviderError, "turn.storeCalls", "the model's tool calls are too large")
	}
	s := session.Step{N: len(x.turn.Steps) + 1, Kind: session.StepCalls, Receipt: got.Receipt, Data: data}
	if len(got.RequestIDs) > 0 {
		s.RequestID = got.RequestIDs[0]
	}
	if err := x.d.Turns.Step(ctx, x.turn, s); err != nil {
		return err
	}
	return x.stored(ctx, s)
}

// storing is a context for storing what happened: the time to ask and to call may be
// up by then, and what is not stored would happen again. The run's reserve covers it.
func storing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTime)
}

// runTool runs one call and stores its result.
func (x *run) runTool(ctx context.Context, offered []tool.Tool, c model.ToolCall) error {
	n, began := x.results(), x.d.Now()
	r, receipt, err := x.callTool(ctx, offered, c, n)
	if err != nil {
		return err
	}
	ctx, cancel := storing(ctx)
	defer cancel()
	s := session.Step{N: len(x.turn.Steps) + 1, Kind: session.StepResult, Receipt: receipt, Data: []byte(r.Text),
		Call: session.ToolCall{ID: c.ID, Tool: cut(c.Name, maxToolName), Status: string(r.Status), At: began.UTC(), DurationMS: x.d.Now().Sub(began).Milliseconds()}}
	if err := x.d.Turns.Step(ctx, x.turn, s); err != nil {
		return err
	}
	x.record(ctx, ToolCalled, string(r.Status))
	return x.stored(ctx, s)
}

// maxToolName bounds what is stored of a name that a model made up.
const maxToolName = 64

// callTool decides whether a call is made, and makes it. n counts the calls of the
// turn before it.
func (x *run) callTool(ctx context.Context, offered []tool.Tool, c model.ToolCall, n int) (tool.Result, []byte, error) {
	k := slices.IndexFunc(offered, func(t tool.Tool) bool { return t.Name == c.Name })
	switch {
	case n >= maxCalls:
		return tool.Result{Status: tool.TooMany, Text: "The tool was not called: too many calls for one answer."}, nil, nil
	case isHandoff(offered, c):
		h, bad := handsOver(c)
		if h != nil {
			return tool.Result{}, nil, h
		}
		return bad, nil, nil
	case k < 0:
		return tool.Result{Status: tool.Unknown, Text: "There is no such tool."}, nil, nil
	case !offered[k].Allows(x.job.Envelope.Integrity):
		x.record(ctx, IntegrityRefused, offered[k].Name)
		return tool.Result{Status: tool.IntegrityRefused, Text: "The tool was not called: it may not be used from this channel, whose messages are not signed."}, nil, nil
	}
	// What was asked about is decided, whatever the tool wants by now.
	if offered[k].Approval > 0 || x.approval != nil && x.approval.Call == n {
		if r, ok, err := x.approved(ctx, offered[k], c, n); !ok {
			return r, nil, err
		}
	}
	switch {
	case !timeFor(ctx, offered[k].Timeout):
		return tool.Result{}, nil, fault.New(fault.Unavailable, "turn.callTool", "no time is left to call a tool")
	}
	return x.d.Tools.Call(ctx, ToolCall{Org: x.job.Org, Agent: x.job.AgentID, Tool: offered[k], Arguments: c.Args, Attempt: x.turn.Attempts,
		Key: session.RequestKey(x.job.Install, x.job.EventID, x.job.AgentID, "tool-"+strconv.Itoa(n+1))})
}
