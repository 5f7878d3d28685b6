package turn

import (
	"context"
	"errors"
	"slices"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/session"
)

// Notices to a person whose message gets no answer.
const (
	// Notice: the organisation has no credits left.
	Notice = "I can't answer right now: this workspace is out of credits. An administrator can add credits, then ask me again."
	// NoticeSetup: something has no price, or a key or a model is not in order.
	NoticeSetup = "I can't answer right now: this service is not set up completely. Please tell whoever runs it, then ask me again."
	// NoticeLimit: a budget is spent, or the message asks for more than is allowed.
	NoticeLimit = "I can't answer right now: this workspace has reached a limit that was set for it. Please tell whoever runs it."
	// NoticeBusy: whatever failed may work a little later.
	NoticeBusy = "I couldn't answer just now. Please send that again in a few minutes."
	// NoticeFiltered: the model's vendor refuses to answer this.
	NoticeFiltered = "I can't answer that. Please ask me in another way, or something else."
	// NoticeTooMuch: the conversation, or what the agent was given to know, does not fit the model.
	NoticeTooMuch = "That is more than I can take in at once. Please send me less of it, or tell whoever runs this service."
	// NoticeActed: a tool was called already, and would be again for the same words.
	NoticeActed = "Something was done for this, but I couldn't finish my answer. Please check before you ask again."
	// NoticeBroken replaces an answer that was shown while it grew and has no end.
	NoticeBroken = "I couldn't finish this answer. Please ask me again."
)

// Receptions is how often the queue delivers a message before it gives it up: what may
// pass is not waited for on the last one.
const Receptions = 3

// passes reports whether the same request may work later. A spent budget does not while
// anybody waits.
func passes(err error) bool {
	var refused *limit.Refusal
	if errors.As(err, &refused) && refused.Kind == limit.Spending {
		return false
	}
	f := fault.As(err)
	return f.Retryable() || f.Code == fault.Internal
}

// acted reports whether calls of tools are stored: such a turn is not given up for what
// may pass, because only a later reception of the same message, if need be out of the
// dead letter queue, goes on behind them.
func (x *run) acted() bool {
	return slices.ContainsFunc(x.allSteps(), func(s session.Step) bool { return s.Kind == session.StepCalls || s.Kind == session.StepResult })
}

// apologise plans the notice for a message that gets no answer.
func (x *run) apologise(ctx context.Context, err error) *end {
	ctx, cancel := storing(ctx)
	defer cancel()
	x.unheld(ctx)
	conversation, opened := x.open(ctx)
	if opened != nil {
		return again(opened)
	}
	if conversation.Handoff != nil {
		return x.silent(ctx)
	}
	f := fault.As(err)
	if passes(err) {
		x.record(ctx, GaveUp, string(f.Code))
	}
	x.turn.Notice = string(f.Code)
	return x.plan(ctx, x.apology(err), "", session.Pin{})
}

// apology is the notice for an error. What stands there as half an answer must not
// look like one.
func (x *run) apology(err error) string {
	f := fault.As(err)
	switch {
	case f.Code == fault.InsufficientCredits:
		return Notice
	case f.Code == fault.PriceMissing:
		return NoticeSetup
	case x.acted():
		return NoticeActed
	case x.draft.State == draftPosted:
		return NoticeBroken
	case f.Code == fault.ContentFiltered:
		return NoticeFiltered
	case f.Code == fault.ContextLengthExceeded, f.Code == fault.TooLarge:
		return NoticeTooMuch
	case f.Code == fault.RateLimited && !passes(err):
		return NoticeLimit
	case passes(err):
		return NoticeBusy
	}
	return NoticeSetup
}
