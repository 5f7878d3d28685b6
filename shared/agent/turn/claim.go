package turn

import (
	"context"
	"strings"
	"unicode"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Claims makes a conversation with an app of the platform an organisation's;
// [consent.Service] implements it.
type Claims interface {
	// Claim fails if it may be repeated.
	Claim(ctx context.Context, q consent.Said, tell func(ctx context.Context, name, id string) bool) (consent.Claimed, error)
}

// Audit codes of a claim; the detail says more.
const (
	Claimed      Code = "install.claimed"
	ClaimRefused Code = "oauth.state_refused"
	ClaimFailed  Code = "oauth.failed"
)

// claimNotice is what a conversation is told before it becomes an organisation's. The
// id is told beside the name, which anybody may give to an organisation of theirs.
func claimNotice(name, id string) string {
	// A name has no markup, no address that a client would make a link of, and no
	// second line, whatever it was given.
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r), unicode.IsDigit(r), strings.ContainsRune(" ,&'-", r):
			return r
		case r == '.':
			return ' '
		}
		return -1
	}, name)
	whose := "organisation " + id
	if name = strings.TrimSpace(cut(strings.Join(strings.Fields(name), " "), maxName)); name != "" {
		whose = "\"" + name + "\" (" + whose + ")"
	}
	return "This chat is now connected to " + whose + ": its agents read and answer what is written to me here. If you did not want that, remove or block me, which ends it."
}

// maxName bounds an organisation's name in a notice, in bytes.
const maxName = 100

// claimed makes the conversation of the job an organisation's.
func (x *run) claimed(ctx context.Context) Result {
	app, _, err := x.d.Installs.Install(ctx, x.job.Install)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return Result{}
	case err != nil:
		return x.retry(ctx, again(err))
	}
	entry, ok := x.d.Catalog.Find(app.Provider)
	if !ok || app.Mode != install.App || app.Org != org.Operator || app.Org != x.job.Org || app.Provider != x.job.Envelope.Provider || entry.Shared == nil {
		x.record(ctx, TenantGuard, "")
		return Result{}
	}
	if !timeFor(ctx, sendTime+storeTime) {
		// The claim would use its state up and tell nobody.
		return x.retry(ctx, &end{retry: true, code: Retry, detail: "no_time"})
	}
	x.entry = entry
	config := webhook.Config{}
	for _, f := range entry.Shared.Tenants {
		config[f.Name] = []string{x.job.Identity[f.Name]}
	}
	done, err := x.d.Claims.Claim(ctx, consent.Said{Hash: x.job.Claim, Provider: app.Provider, App: app.ID, Config: config, At: x.d.Now()},
		func(ctx context.Context, name, id string) bool { return x.tell(ctx, app, claimNotice(name, id)) })
	switch {
	case err != nil:
		return x.retry(ctx, again(err))
	case done.Outcome == consent.Installed:
		x.record(ctx, Claimed, "")
	case done.Outcome == consent.Refused:
		x.record(ctx, ClaimRefused, done.Reason)
	default:
		x.record(ctx, ClaimFailed, string(done.Outcome))
	}
	return Result{}
}

// tell posts whose the conversation becomes. Only what the vendor confirms was told; what
// may have been posted is not sent again, and nothing is claimed by it. A pause that the
// vendor asks for is made once: the state is used up already.
func (x *run) tell(ctx context.Context, app install.Install, notice string) bool {
	if app.State != install.Active {
		return false
	}
	token, err := x.d.Secrets.Sending(ctx, app, x.entry.SendSecret)
	if err != nil {
		return false
	}
	call := channel.Call{HTTP: x.d.HTTP, Media: x.d.Media(app.Provider), BaseURL: x.d.BaseURL(x.entry.Reached()), Token: token, Config: app.Config}
	to := x.job.Envelope.ReplyTo
	if to == "" {
		to = x.job.Envelope.Space
	}
	for n, p := range x.entry.Adapter.Split(notice) {
		out := channel.Outgoing{To: to, Thread: x.job.Envelope.Thread, Text: p.Text, Format: p.Format, TurnID: x.job.EventID, Part: n + 1}
		f := x.notify(ctx, call, out)
		if f != nil && f.Certainty == channel.RateLimited && x.pause(ctx, f.RetryAfter) {
			f = x.notify(ctx, call, out)
		}
		if f != nil {
			return false
		}
	}
	return true
}

// notify posts one part of a notice, if there is the time for it and for what follows.
func (x *run) notify(ctx context.Context, call channel.Call, out channel.Outgoing) *channel.Failure {
	if !timeFor(ctx, sendTime+storeTime) {
		return &channel.Failure{Certainty: channel.NotSent, Code: "no_time"}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	_, f := x.entry.Adapter.Send(ctx, call, out)
	return f
}
