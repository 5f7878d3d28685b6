package turn

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/loop"
)

// roomTries is how often a room's guard is tried that others change, too.
const roomTries = 6

// bots ends a turn that another machine's message would begin, if the install does
// not want it or the conversation has had enough of them. What it counts is stored
// with said, in the same write; only the beginning of a pause costs one of its own.
func (x *run) bots(ctx context.Context, conversation session.Session) (counted string, stop *end) {
	if x.turn.Appended || x.job.Kind == session.JobApproval {
		return "", nil // an earlier run of the turn counted it; nobody spoke
	}
	e := x.job.Envelope
	if e.IsBot && !x.install.Policy.Admits(e) {
		return "", &end{code: BotIgnored, detail: string(BotIgnored)} // the policy changed meanwhile
	}
	event := loop.Event{ID: x.turn.ID, Bot: e.IsBot, Unknown: x.entry.Anonymous, Text: e.Text, At: x.job.ReceivedAt}
	before, err := loop.Parse(conversation.Loop)
	if err != nil {
		return "", again(damaged(err))
	}
	next, why := before.Next(event)
	if !next.Equal(before) {
		counted = next.String()
	}
	if why == loop.Answer {
		return counted, x.room(ctx, conversation, event)
	}
	if stop := x.quietly(ctx, conversation, counted); stop != nil {
		return "", stop
	}
	return "", suppressed(why)
}

// quietly stores what was counted of a message that does not become part of the
// conversation.
func (x *run) quietly(ctx context.Context, conversation session.Session, counted string) *end {
	if counted == "" {
		return nil
	}
	if err := x.d.Transcript.Quiet(ctx, conversation.Org, conversation.ID, counted); err != nil {
		return again(err)
	}
	return nil
}

// room counts the bots that begin a conversation of their own with every message,
// as one does that posts to the room and never in the thread. Only installs that let
// bots in, and threads of vendors that do not say who is one, pay the read, and the
// write where something changes.
func (x *run) room(ctx context.Context, conversation session.Session, event loop.Event) *end {
	if conversation.Next > 0 || x.job.Envelope.Thread == "" || !x.install.Policy.Bots() && !x.entry.Anonymous {
		return nil
	}
	key := x.job.Key()
	key.Thread = ""
	org, id := x.job.Org, key.Hash()
	for range roomTries {
		kept, err := x.d.Rooms.Room(ctx, org, id)
		if err != nil {
			return again(err)
		}
		before, err := loop.Parse(kept)
		if err != nil {
			return again(damaged(err))
		}
		next, why := before.Next(event)
		if next.Equal(before) {
			return suppressed(why)
		}
		err = x.d.Rooms.KeepRoom(ctx, org, id, kept, next.String(), x.d.Now().Add(loop.Kept))
		if err == nil {
			return suppressed(why)
		}
		if !errors.Is(err, session.ErrChanged) {
			return again(err)
		}
	}
	return &end{retry: true, code: Retry, detail: string(fault.Unavailable), after: time.Second}
}

// suppressed is the end of a message that is not answered; a pause that somebody has
// been told of is no news.
func suppressed(why loop.Reason) *end {
	if why == loop.Answer {
		return nil
	}
	return &end{code: LoopSuppressed, detail: "loop_" + string(why), quiet: why == loop.Pause}
}

func damaged(err error) error {
	return fault.Wrap(fault.Internal, "turn.bots", "internal error, try again later", err)
}
