package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/session"
)

// People keeps who answers in sessions.
type People interface {
	// HandOver stores what [session.Turns].Plan does, and that a person answers from now
	// on, all or nothing. Errors as of Plan.
	HandOver(ctx context.Context, t session.Turn, parts []session.Part, c handoff.Change, now time.Time) error
	// Hand changes who answers; [session.ErrChanged] if x is not stored any more.
	Hand(ctx context.Context, x session.Session, c handoff.Change) error
}

// Codes of a turn that handed over, and of one in a session in which a person answers.
const (
	HandedOver = "handed_over"
	WithPerson = "with_person"
)

// Unplayed stands for a recording that nobody transcribes, because a person answers.
const Unplayed = "[A recording, which was not transcribed.]"

// shownResult bounds what of a tool's result stands in a conversation that a person
// answers in, in bytes.
const shownResult = 4000

// hands is the error of a call that hands the conversation over.
type hands struct{ reason string }

// Error implements error.
func (*hands) Error() string { return "turn: the model hands over to a person" }

// handsOver reads a call of the tool that hands over. bad is the result of one that is
// none.
func handsOver(c model.ToolCall) (h *hands, bad tool.Result) {
	if r, ok := handoff.Tool().Accepts(c.Args); !ok {
		return nil, r
	}
	return &hands{handoff.Reason(c.Args)}, tool.Result{}
}

// handOver ends the turn with a message that says that a person answers from now on,
// which is stored with it. What the turn held for posting its answer pays for that.
func (x *run) handOver(ctx context.Context, h *hands) *end {
	_, pin, err := x.rounds()
	if err != nil {
		return again(err)
	}
	ctx, cancel := storing(ctx)
	defer cancel()
	x.turn.Receipt, x.turn.Notice, x.turn.Code, x.voice = x.firstCalls().Receipt, HandedOver, "", ""
	c, parts := handoff.ByModel(x.d.Stage, x.turn, x.agent, h.reason, pin, x.d.Now()), x.split(handoff.Note(x.agent))
	if err := x.d.People.HandOver(ctx, x.turn, parts, c, x.d.Now()); err != nil {
		return x.unplanned(ctx, err)
	}
	x.record(ctx, Handed, "")
	x.planned(ctx, parts)
	return nil
}

// unplanned is the end of a run whose answer could not be stored. Where a person took
// the session over meanwhile the answer is left out: it is committed, and not posted.
func (x *run) unplanned(ctx context.Context, err error) *end {
	if !errors.Is(err, session.ErrTakenOver) {
		return again(err)
	}
	return x.silent(ctx)
}

// silent plans that nothing is posted; but half an answer that stands there already
// gets its end.
func (x *run) silent(ctx context.Context) *end {
	text := ""
	if x.draft.State == draftPosted {
		text = NoticeBroken
	}
	x.turn.Notice = WithPerson
	return x.plan(ctx, text, "", session.Pin{})
}

// person deals with what arrives while a person answers: it is stored, and that is all.
// The agent goes on with back, the session anew, if nobody answered for long enough.
func (x *run) person(ctx context.Context, conversation session.Session) (back session.Session, goes bool, stop *end) {
	h := conversation.Handoff
	if h == nil {
		return conversation, true, nil
	}
	if x.job.Kind == session.JobMessage && !x.turn.Appended && h.Over(x.d.Now()) {
		if err := x.d.People.Hand(ctx, conversation, handoff.ByTime(x.turn, x.d.Now())); err != nil && !errors.Is(err, session.ErrChanged) {
			return conversation, false, again(err)
		}
		conversation, err := x.d.Transcript.Open(ctx, conversation, x.d.Now())
		if err != nil {
			return conversation, false, again(err)
		}
		if conversation.Handoff == nil {
			x.record(ctx, Resumed, "")
			return conversation, true, nil
		}
	}
	return conversation, false, x.keep(ctx)
}

// keep stores the message and ends the turn.
func (x *run) keep(ctx context.Context) *end {
	e := x.job.Envelope
	if e.IsBot && !x.install.Policy.Admits(e) {
		return &end{code: BotIgnored, detail: string(BotIgnored)}
	}
	text := x.said()
	if _, spoken := e.Recording(); spoken && text == "" {
		text = Unplayed
	}
	if err := x.d.Transcript.Append(ctx, x.turn, x.incoming(text)); err != nil {
		return again(err)
	}
	x.turn.Appended = true
	if stop := x.heard(ctx); stop != nil { // of an earlier run
		return stop
	}
	x.unheld(ctx)
	if x.approval != nil {
		return x.callAside(ctx)
	}
	return x.silent(ctx)
}

// callAside makes the call that was decided about, if it was approved. Nobody asks the
// model or posts anything: what came of the call stands in the conversation for whoever
// answers there.
func (x *run) callAside(ctx context.Context) *end {
	rounds, _, err := x.rounds()
	if err != nil {
		return again(err)
	}
	if len(rounds) > 0 && x.results() == x.approval.Call {
		last := rounds[len(rounds)-1]
		if done := len(last.Results); done < len(callsOf(last.Message)) {
			offered, err := x.decidedTool(ctx)
			if err != nil {
				return again(err)
			}
			if err := x.runTool(ctx, offered, callsOf(last.Message)[done]); err != nil {
				return again(err)
			}
		}
	}
	k := slices.IndexFunc(x.turn.Steps, func(s session.Step) bool { return s.Kind == session.StepResult })
	if k < 0 || x.approval.State != approval.Approved {
		return x.silent(ctx)
	}
	s := x.turn.Steps[k]
	storing, cancel := storing(ctx)
	defer cancel()
	x.turn.Notice, x.turn.Code = WithPerson, ""
	text := fmt.Sprintf("[The call of %s (%s) ended with %s: %s]", x.approval.Tool, x.approval.ID, s.Call.Status, cut(string(s.Data), shownResult))
	var parts []session.Part
	if x.draft.State == draftPosted { // half an answer stands there
		parts = x.split(NoticeBroken)
	}
	if err := x.d.Turns.Plan(storing, x.turn, parts, x.message(session.Notice, text, x.d.Now()), x.d.Now()); err != nil {
		return again(err)
	}
	x.planned(ctx, parts)
	return nil
}

// decidedTool is the tool of the call that was decided about, if the agent still has it.
func (x *run) decidedTool(ctx context.Context) ([]tool.Tool, error) {
	a, err := x.d.Agents.Agent(ctx, x.job.Org, x.job.AgentID)
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		return nil, err
	}
	if !slices.Contains(a.Tools, x.approval.Tool) {
		return nil, nil
	}
	return x.d.Tools.Offered(ctx, x.job.Org, []string{x.approval.Tool})
}

// incoming is the message of the turn, with the way to answer it.
func (x *run) incoming(text string) session.Message {
	m := x.message(x.speaks(), text, x.d.Now())
	if x.job.Kind == session.JobMessage {
		m.Way, _ = json.Marshal(x.job.Continuing()) // was decoded from JSON
	}
	return x.shownBack(m)
}

// say plans what a person wrote in the agent's place.
func (x *run) say(ctx context.Context) *end {
	return x.plan(ctx, x.job.Envelope.Text, session.Human, session.Pin{})
}

// offered are the tools that the model of an agent may call.
func (x *run) offered(ctx context.Context, a agent.Agent) (tools []tool.Tool, err error) {
	if len(a.Tools) > 0 {
		if tools, err = x.d.Tools.Offered(ctx, x.job.Org, a.Tools); err != nil {
			return nil, err
		}
	}
	if a.Handoff.Enabled {
		tools = append(slices.Clip(tools), handoff.Tool())
	}
	return tools, nil
}

// shownTo is a message of the past as a model is shown it.
func shownTo(m session.Message) Message {
	if m.Role == session.Human {
		return Message{session.Assistant, handoff.Spoken(m.Text)}
	}
	return Message{m.Role, m.Text}
}

// isHandoff reports whether a call of the model hands over.
func isHandoff(offered []tool.Tool, c model.ToolCall) bool {
	return c.Name == agent.HandoffTool && slices.ContainsFunc(offered, func(t tool.Tool) bool { return t.Name == c.Name && t.URL == "" })
}
