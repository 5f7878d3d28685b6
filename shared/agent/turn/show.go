package turn

import (
	"context"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
)

// signTime is how long a sign of a channel without a vendor lasts, signAgain when it is
// given anew.
const (
	signTime  = 10 * time.Second
	signAgain = 6 * time.Second
)

// deliver delivers part k on a channel without a vendor: the person is shown it in the
// write that makes it sent, so nothing of it can be unknown.
func (x *run) deliver(ctx context.Context, k int) *end {
	name, err := x.persona(ctx)
	if err != nil {
		return again(err)
	}
	next := x.parts[k]
	next.State, next.Code, next.Fence = session.Sent, "", x.turn.Fence
	next.ProviderMessageID = x.turn.ID + "-" + strconv.Itoa(next.Part)
	next.Shown = &session.Shown{Role: session.Assistant, Text: next.Text, By: name, Turn: x.turn.ID, At: x.d.Now()}
	switch {
	case x.job.Kind == session.JobHuman:
		next.Shown.Role = session.Human
	case x.turn.Notice != "":
		next.Shown.Role = session.Notice
	}
	ctx, cancel := storing(ctx)
	defer cancel()
	if err := x.d.Turns.Move(ctx, x.turn, x.parts[k], next); err != nil {
		return again(err)
	}
	next.Shown = nil
	x.parts[k] = next
	return nil
}

// persona is the name of the persona that answers, empty for none and for a person.
func (x *run) persona(ctx context.Context) (string, error) {
	if x.job.PersonaID == "" || x.job.Kind == session.JobHuman {
		return "", nil
	}
	a := x.agent
	if a.ID == "" { // an earlier run made the answer
		var err error
		if a, err = x.d.Agents.Agent(ctx, x.job.Org, x.job.AgentID); err != nil && fault.CodeOf(err) != fault.NotFound {
			return "", err
		}
	}
	for _, p := range a.Personas {
		if p.ID == x.job.PersonaID {
			return p.Name, nil
		}
	}
	return "", nil
}

// shownBack makes a message what its writer is shown of it, on a channel without a
// vendor.
func (x *run) shownBack(m session.Message) session.Message {
	if x.entry.Kept && m.Role == session.User {
		m.Shown = &session.Shown{Role: session.User, Text: m.Text, Message: x.job.Envelope.Message, Turn: x.turn.ID, At: m.At}
	}
	return m
}

// sign gives one sign that an answer is being made; nil where the channel has none.
func (x *run) sign() func(context.Context) (again time.Duration, ok bool) {
	if x.entry.Kept {
		return func(ctx context.Context) (time.Duration, bool) {
			err := x.d.Signs.Typing(ctx, x.turn.Org, x.turn.Session, x.d.Now().Add(signTime))
			return signAgain, err == nil
		}
	}
	p, ok := x.entry.Adapter.(Presence)
	if !ok {
		return nil
	}
	var c *channel.Call
	return func(ctx context.Context) (time.Duration, bool) {
		if c == nil {
			token, _, stop := x.token(ctx, x.install)
			if stop != nil {
				return 0, false
			}
			c = &channel.Call{HTTP: x.d.HTTP, BaseURL: x.d.BaseURL(x.entry.Reached()), Token: token, Config: x.install.Config}
		}
		one, cancel := context.WithTimeout(ctx, presenceTime)
		defer cancel()
		return p.Typing(one, *c, x.job.Envelope)
	}
}
