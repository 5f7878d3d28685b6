package turn

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
)

// Presence is an adapter whose vendor can show that an answer is being made.
type Presence interface {
	// Typing shows it, in one attempt, where the message came from. again says when
	// it has to be shown anew, 0 for never; ok false that it cannot be shown here.
	Typing(ctx context.Context, c channel.Call, in channel.Envelope) (again time.Duration, ok bool)
}

// Bounds of showing that an answer is being made.
const (
	// presenceDelay is how fast an answer needs no sign.
	presenceDelay = time.Second
	// presenceTime is how long one sign may take, presenceSigns how many there are.
	presenceTime  = 3 * time.Second
	presenceSigns = 30
)

// asking asks the model and shows meanwhile that it does.
func (x *run) asking(ctx context.Context, a agent.Agent, conversation session.Session) (Answer, error) {
	defer x.present(ctx)()
	return x.ask(ctx, a, conversation)
}

// present shows beside the model call that an answer is being made, until leave is
// called. Nothing of it reaches the turn: what fails is not tried again, and leave
// breaks off a call that is under way.
func (x *run) present(ctx context.Context) (leave func()) {
	sign := x.sign()
	if sign == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A fault of an adapter must not end the process for a sign.
		defer func() { _ = recover() }()
		x.signs(ctx, sign)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (x *run) signs(ctx context.Context, sign func(context.Context) (time.Duration, bool)) {
	if !x.d.Wait(ctx, presenceDelay) {
		return
	}
	for range presenceSigns {
		again, ok := sign(ctx)
		if !ok || again <= 0 || !x.d.Wait(ctx, again) {
			return
		}
	}
}
