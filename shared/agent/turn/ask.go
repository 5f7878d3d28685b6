package turn

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/history"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
)

// resume commits what earlier runs of the turn stored and may not have committed.
func (x *run) resume(ctx context.Context) error {
	for _, s := range x.turn.Steps {
		x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{s.RequestID})
		if err := x.committed(ctx, s.Receipt); err != nil {
			return err
		}
	}
	return x.redraft()
}

// committed records what a receipt is for. Another outcome that was recorded first
// stands: no repeat changes that.
func (x *run) committed(ctx context.Context, receipt []byte) error {
	if len(receipt) == 0 {
		return nil
	}
	if err := x.d.Model.Commit(ctx, x.turn.Org, receipt); fault.CodeOf(err) != fault.Conflict {
		return err
	}
	return nil
}

// stored notes a step that was written just now and commits its model request.
func (x *run) stored(ctx context.Context, s session.Step) error {
	x.turn.Steps = append(slices.Clone(x.turn.Steps), s)
	x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{s.RequestID})
	return x.committed(ctx, s.Receipt)
}

// request is what every model call of the turn has in common. step names it among
// them.
func (x *run) request(a agent.Agent, pin session.Pin, step string) AnswerRequest {
	return AnswerRequest{Org: x.job.Org, Agent: a, Pin: pin, Attempt: x.turn.Attempts,
		RequestKey: session.RequestKey(x.job.Install, x.job.EventID, x.job.AgentID, step)}
}

// call asks the model.
func (x *run) call(ctx context.Context, q AnswerRequest) (Answer, error) {
	grown, leave := x.growing(ctx, q)
	q.Grown = grown
	got, err := func() (Answer, error) {
		defer leave()
		return x.d.Model.Answer(ctx, q)
	}()
	if err == nil && len(got.Receipt) > MaxReceipt {
		return got, fault.New(fault.Internal, "turn.call", "internal error, try again later")
	}
	return got, err
}

func (x *run) ask(ctx context.Context, a agent.Agent, conversation session.Session) (Answer, error) {
	q := x.request(a, conversation.Pin, "answer")
	q.System = a.System(x.job.PersonaID)
	if deadline, ok := ctx.Deadline(); ok {
		q.Deadline = deadline.Add(-reserve)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.Deadline)
		defer cancel()
		if ctx.Err() != nil {
			return Answer{}, fault.New(fault.Unavailable, "turn.ask", "no time is left to ask a model")
		}
	}
	var err error
	if q.Messages, err = x.history(ctx, a, conversation); err != nil {
		return Answer{}, err
	}
	if q.Tools, err = x.offered(ctx, a); err != nil {
		return Answer{}, err
	}
	return x.converse(ctx, q)
}

// history is the conversation for the model: a summary of what does not fit, the
// newest messages that do, then the message itself.
func (x *run) history(ctx context.Context, a agent.Agent, conversation session.Session) ([]Message, error) {
	past, err := x.d.Transcript.Recent(ctx, x.job.Org, x.turn.Session, conversation.Summary.Before, history.Read)
	if err != nil {
		return nil, err
	}
	// A repeated run has written the turn's own message already.
	if k := slices.IndexFunc(past, func(m session.Message) bool { return m.TurnID == x.turn.ID }); k >= 0 {
		past = past[:k]
	}
	text, summary := x.said(), conversation.Summary
	budget := history.Budget(a.HistoryTokens, cmp.Or(conversation.Pin.Model, a.Model))
	if n := history.Fold(past, summary.Text, text, budget); n > 0 {
		next, err := x.summarise(ctx, a, conversation, past[:n], budget)
		if err != nil {
			return nil, err
		}
		if next != summary {
			summary, past = next, past[n:]
		}
	}
	var out []Message
	left := budget - history.Tokens(text)
	if summary.Text != "" {
		note := history.Note(summary.Text)
		left -= history.Tokens(note)
		out = append(out, Message{session.User, note})
	}
	for _, m := range history.Newest(past, left) {
		out = append(out, shownTo(m))
	}
	return append(out, Message{session.User, text}), nil
}

// summarise folds messages into the session's summary. Where no model makes one,
// the summary stays as it is and the conversation goes on without those messages;
// the next turn tries again.
func (x *run) summarise(ctx context.Context, a agent.Agent, conversation session.Session, fold []session.Message, budget int64) (session.Summary, error) {
	old := conversation.Summary
	asking, cancel := context.WithTimeout(ctx, summaryTime)
	defer cancel()
	if !timeFor(ctx, 2*summaryTime) {
		return old, nil
	}
	material := history.Transcript(old.Text, fold, budget)
	q := x.request(a, conversation.Pin, "summary")
	q.System, q.Messages, q.Aside = history.Instructions(budget), []Message{{session.User, material}}, true
	got, err := x.call(asking, q)
	if err != nil {
		if id := fault.As(err).RequestID; id != "" {
			x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{id})
		}
		x.record(ctx, SummaryFailed, string(fault.CodeOf(err)))
		return old, nil
	}
	// A model that says nothing is paid for; were nothing stored, it would be asked
	// again with every message.
	next := session.Summary{Text: history.Bounded(cmp.Or(strings.TrimSpace(got.Text), material), budget), Before: fold[len(fold)-1].Seq + 1}
	step := session.Step{N: len(x.turn.Steps) + 1, Kind: session.StepSummary, Receipt: got.Receipt}
	if len(got.RequestIDs) > 0 {
		step.RequestID = got.RequestIDs[0]
	}
	if err := x.d.Transcript.Fold(ctx, x.turn, step, old, next); err != nil {
		return old, err
	}
	x.record(ctx, Summarised, "")
	return next, x.stored(ctx, step)
}

// timeFor reports whether the context lasts for so long.
func timeFor(ctx context.Context, d time.Duration) bool {
	limit, bounded := ctx.Deadline()
	if !bounded {
		return true
	}
	probe, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	end, _ := probe.Deadline()
	return end.Before(limit)
}
