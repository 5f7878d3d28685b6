package turn

import (
	"context"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
)

// interrupted is the code of a part whose sender died.
const interrupted = "interrupted"

// send takes the parts in order. A part that changed on the way was either taken
// by a run that replaced this one, or ended by the earlier run that had claimed it:
// a second claim tells them apart.
func (x *run) send(ctx context.Context) *end {
	stop := x.sendParts(ctx)
	if stop == nil || stop.code != Lost {
		return stop
	}
	if held, err := x.claim(ctx); err != nil || held > 0 || x.turn.State.Final() {
		return stop
	}
	return x.sendParts(ctx)
}

// sendParts does it once. A part that was claimed by an earlier run may have been
// sent: it becomes unknown.
func (x *run) sendParts(ctx context.Context) *end {
	for k := range x.parts {
		switch p := x.parts[k]; p.State {
		case session.Claimed:
			if p.ProviderMessageID != "" {
				// A message that is replaced twice reads the same.
				if err := x.move(ctx, k, session.Planned, "", interrupted, p.Fence); err != nil {
					return again(err)
				}
				if stop := x.sendWhole(ctx, k); stop != nil {
					return stop
				}
				continue
			}
			if err := x.move(ctx, k, session.Unknown, "", interrupted, p.Fence); err != nil {
				return again(err)
			}
			x.record(ctx, ReplyUnknown, interrupted)
		case session.Dropped:
			// An earlier run was stopped here and did not come to its end.
			return x.drop(ctx, k+1, stopped(x.parts[k]))
		case session.Planned:
			if stop := x.sendWhole(ctx, k); stop != nil {
				return stop
			}
		}
	}
	return nil
}

// sendWhole sends one planned part and waits for the vendor where that asks for it.
func (x *run) sendWhole(ctx context.Context, k int) *end {
	stop := x.sendPart(ctx, k)
	for stop != nil && stop.pause && x.pause(ctx, stop.after) {
		stop = x.sendPart(ctx, k)
	}
	return stop
}

// stopped is the end that an earlier run had come to when it gave up a part.
func stopped(p session.Part) *end {
	switch c := Code(p.Code); c {
	case InstallInactive, TenantGuard:
		return &end{code: c}
	}
	return &end{code: ReplyRefused, detail: string(ReplyRefused)}
}

// pause waits as long as the vendor asked for, if the run's time allows it: what is
// handed back to the queue holds up the conversation for longer.
func (x *run) pause(ctx context.Context, d time.Duration) bool {
	// Without an end nobody knows whether there is the time.
	if _, ends := ctx.Deadline(); !ends || d <= 0 || x.paused+d > maxPause || !timeFor(ctx, d+sendTime+storeTime) {
		return false
	}
	x.paused += d
	return x.d.Wait(ctx, d)
}

// move changes part k in the store and then here.
func (x *run) move(ctx context.Context, k int, to session.PartState, id, code string, fence int64) error {
	next := x.parts[k]
	next.State, next.Code, next.Fence = to, code, fence
	if id != "" {
		next.ProviderMessageID = id
	}
	if err := x.d.Turns.Move(ctx, x.turn, x.parts[k], next); err != nil {
		return err
	}
	x.parts[k] = next
	return nil
}

// sendPart sends one planned part, once.
func (x *run) sendPart(ctx context.Context, k int) *end {
	voice := x.speak(ctx, k)
	i, stop := x.guard(ctx)
	if stop != nil {
		return x.drop(ctx, k, stop)
	}
	if x.entry.Kept {
		return x.deliver(ctx, k)
	}
	token, sender, stop := x.token(ctx, i)
	if stop != nil {
		x.untraded(ctx, sender, stop)
		return x.drop(ctx, k, stop)
	}
	if !timeFor(ctx, sendTime) {
		// A send that the end of the invocation cuts off would be ambiguous.
		return &end{retry: true, code: Retry, detail: "no_time"}
	}
	sending, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	if err := x.claimPart(ctx, k, voice.Receipt); err != nil {
		return again(err)
	}
	out := x.outgoing(x.parts[k])
	out.Voice = voice.Audio
	id, failure := x.post(sending, channel.Call{HTTP: x.d.HTTP, Media: x.d.Media(i.Provider), BaseURL: x.d.BaseURL(x.entry.Reached()), Token: token, Config: i.Config}, x.parts[k], out)
	if failure != nil && failure.TokenRejected && x.entry.Exchange != nil && x.tries() == 1 {
		// One that was traded before may have ended early; a fresh one tells.
		x.d.Tokens.Forget(i.ID)
		failure = &channel.Failure{Certainty: channel.NotSent, Code: failure.Code}
	}
	// What happened must be stored although the run's own time is up.
	storing, stopStoring := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer stopStoring()
	if unspoken(out, failure) {
		return x.asText(ctx, k, failure.Code)
	}
	stop = x.settle(storing, k, id, failure)
	x.counted(storing, sender, failure)
	return stop
}

// counted tells the install, or the app that sends for it, whether its token works. The reply's fate is stored
// already and does not depend on it: what is not counted now is with the next one.
func (x *run) counted(ctx context.Context, i install.Install, f *channel.Failure) {
	op := audit.Op{Actor: "function:turn", ID: x.turn.ID + "-" + strconv.FormatInt(x.turn.Fence, 10), At: x.d.Now()}
	switch {
	case f == nil && i.Rejections > 0:
		_ = x.d.Revoker.TokenAccepted(ctx, op, i.Org, i.ID)
	case f != nil && f.TokenRejected:
		if x.entry.Exchange != nil {
			x.d.Tokens.Forget(x.job.Install)
		}
		if err := x.d.Revoker.TokenRejected(ctx, op, i.Org, i.ID); err != nil {
			x.record(ctx, Uncounted, string(fault.CodeOf(err)))
		}
	}
}

// untraded tells the install that its credential gets no token.
func (x *run) untraded(ctx context.Context, i install.Install, stop *end) {
	if stop.rejected {
		x.record(ctx, TokenRejected, stop.detail)
		x.counted(ctx, i, &channel.Failure{Certainty: channel.Refused, Code: stop.detail, TokenRejected: true})
	}
}

// sender is whose credential sends for an install: its own, or that of the platform's
// app that it belongs to. An app that was stopped stops its installs, too.
func (x *run) sender(ctx context.Context, i install.Install) (install.Install, *end) {
	if i.Mode != install.Platform {
		return i, nil
	}
	app, _, err := x.d.Installs.Install(ctx, i.App)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return i, &end{code: InstallInactive}
	case err != nil:
		return i, again(err)
	case app.ID != i.App || app.Mode != install.App || app.Org != org.Operator || app.Provider != i.Provider:
		return i, &end{code: TenantGuard}
	case app.State != install.Active:
		return i, &end{code: InstallInactive}
	case x.entry.AppSends():
		return app, nil
	}
	return i, nil
}

// token opens what sends for the install, and trades it where the vendor wants that.
// Nothing was posted where it fails. sender is whose it is.
func (x *run) token(ctx context.Context, i install.Install) (token secret.Text, sender install.Install, stop *end) {
	if sender, stop = x.sender(ctx, i); stop != nil {
		return token, sender, stop
	}
	token, err := x.d.Secrets.Sending(ctx, sender, x.entry.SendSecret)
	if fault.CodeOf(err) == fault.NotFound {
		// Revoked or never stored: no retry brings it back.
		return token, sender, &end{code: InstallInactive}
	}
	if err != nil {
		return token, sender, again(err)
	}
	if x.entry.Exchange == nil {
		return token, sender, nil
	}
	token, f := x.d.Tokens.Token(ctx, x.entry, i, token)
	switch {
	case f == nil:
		return token, sender, nil
	case f.Certainty == channel.Refused:
		return token, sender, &end{code: ReplyRefused, detail: f.Code, rejected: f.TokenRejected}
	}
	return token, sender, &end{retry: true, code: Retry, detail: f.Code, after: f.RetryAfter, pause: f.Certainty == channel.RateLimited}
}

// settle stores the outcome of a send.
func (x *run) settle(ctx context.Context, k int, id string, f *channel.Failure) *end {
	fence := x.turn.Fence
	if f == nil {
		if err := x.move(ctx, k, session.Sent, id, "", fence); err != nil {
			return again(err)
		}
		return nil
	}
	switch f.Certainty {
	case channel.RateLimited, channel.NotSent:
		if err := x.move(ctx, k, session.Planned, "", f.Code, fence); err != nil {
			return again(err)
		}
		return &end{retry: true, code: Retry, detail: f.Code, after: f.RetryAfter, pause: f.Certainty == channel.RateLimited}
	case channel.Refused:
		if f.TokenRejected {
			x.record(ctx, TokenRejected, f.Code)
		}
		if err := x.move(ctx, k, session.Dropped, "", f.Code, fence); err != nil {
			return again(err)
		}
		return x.drop(ctx, k+1, &end{code: ReplyRefused, detail: string(ReplyRefused)})
	}
	// Ambiguous, and whatever a future adapter may say that is not known here.
	if err := x.move(ctx, k, session.Unknown, "", f.Code, fence); err != nil {
		return again(err)
	}
	x.record(ctx, ReplyUnknown, f.Code)
	return nil
}

// drop gives up the parts from k on that were not sent, if stop is final.
func (x *run) drop(ctx context.Context, k int, stop *end) *end {
	if stop.retry {
		return stop
	}
	for ; k < len(x.parts); k++ {
		if x.parts[k].State != session.Planned {
			continue
		}
		// The fence moves with the part, so that a claim of it counts as ours.
		if err := x.move(ctx, k, session.Dropped, "", string(stop.code), x.turn.Fence); err != nil {
			return again(err)
		}
	}
	return stop
}
