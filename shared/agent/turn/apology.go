package turn

import (
	"context"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
)

// Notices to a person whose message gets no answer.
const (
	// Notice: the organisation has no credits left.
	Notice = "I can't answer right now: this workspace is out of credits. An administrator can add credits, then ask me again."
	// NoticeSetup: something has no price, or a key, a model or a budget is not in order.
	NoticeSetup = "I can't answer right now: this service is not set up completely. Please tell whoever runs it, then ask me again."
	// NoticeBusy: whatever failed may work a little later.
	NoticeBusy = "I couldn't answer just now. Please send that again in a few minutes."
	// NoticeFiltered: the model's vendor refuses to answer this.
	NoticeFiltered = "I can't answer that. Please ask me in another way, or something else."
	// NoticeTooMuch: the conversation does not fit the model.
	NoticeTooMuch = "That is more than I can take in at once. Please send me less of it."
	// NoticeBroken replaces an answer that was shown while it grew and has no end.
	NoticeBroken = "I couldn't finish this answer. Please ask me again."
)

// lastTry is the reception behind which the queue gives up a message
// (topology: MaxReceive): what may pass is not waited for any more.
const lastTry = 3

// apologise plans the notice for a message that gets no answer.
func (x *run) apologise(ctx context.Context, f *fault.Error) *end {
	x.unheld(ctx)
	x.turn.Notice = string(f.Code)
	text := apology(f)
	if x.draft.State == draftPosted {
		// Half an answer must not stand there as if it were one.
		text = NoticeBroken
	}
	return x.plan(ctx, text, "", session.Pin{})
}

func apology(f *fault.Error) string {
	switch f.Code {
	case fault.InsufficientCredits:
		return Notice
	case fault.ContentFiltered:
		return NoticeFiltered
	case fault.ContextLengthExceeded, fault.TooLarge:
		return NoticeTooMuch
	case fault.Internal:
		return NoticeBusy
	}
	if f.Code.Retryable() {
		return NoticeBusy
	}
	return NoticeSetup
}
