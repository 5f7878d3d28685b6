package turn_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/channels/telegram"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
)

// traded hands out one token, or a failure.
type traded struct {
	fail      *channel.Failure
	from      []string
	forgotten []string
}

func (x *traded) Token(_ context.Context, e channel.Entry, i install.Install, from secret.Text) (secret.Text, *channel.Failure) {
	_ = from.Use(func(b []byte) error { x.from = append(x.from, string(e.ID)+" "+i.ID+" "+string(b)); return nil })
	if x.fail != nil {
		return secret.Text{}, x.fail
	}
	return secret.FromString("traded-token"), nil
}

func (x *traded) Forget(id string) { x.forgotten = append(x.forgotten, id) }

func newTrading(t *testing.T) (*env, *traded) {
	e, x := newEnv(t), &traded{}
	entry := slack.Entry()
	entry.Exchange = &channel.Exchange{}
	e.deps.Tokens, e.deps.Catalog = x, catalog.New([]channel.Entry{entry})
	e.run = turn.New(e.deps)
	return e, x
}

// TestTradedToken: what sends is what was traded, and a token that the vendor does not
// take is dropped.
func TestTradedToken(t *testing.T) {
	e, x := newTrading(t)
	if r := e.deliver(e.job, 1); r.Retry || len(e.vendor.posts) != 1 || e.vendor.tokens[0] != "Bearer traded-token" || len(x.forgotten) != 0 {
		t.Fatalf("%+v %v %v", r, e.vendor.tokens, x.forgotten)
	}
	if len(x.from) == 0 || x.from[0] != "slack i1 xoxb-i1-bot_token" {
		t.Errorf("traded from %q", x.from)
	}
	rejects := func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":false,"error":"invalid_auth"}`) }
	rejections := func() int64 { i, _, _ := e.installs.Install(t.Context(), "i1"); return i.Rejections }
	// One that was traded before may have ended early: a fresh one is tried once.
	e.vendor.next = []func(http.ResponseWriter){rejects}
	again := e.message("Ev2", "again")
	if r := e.deliver(again, 1); !r.Retry || len(x.forgotten) != 1 || x.forgotten[0] != "i1" || rejections() != 0 {
		t.Errorf("%+v, forgotten: %v, %d rejections", r, x.forgotten, rejections())
	}
	if r := e.deliver(again, 2); r.Retry || len(e.vendor.posts) != 3 || rejections() != 0 {
		t.Errorf("%+v, %d posts, %d rejections", r, len(e.vendor.posts), rejections())
	}
	e.vendor.next = []func(http.ResponseWriter){rejects, rejects}
	third := e.message("Ev3", "and again")
	e.deliver(third, 1)
	if r := e.deliver(third, 2); r.Retry || rejections() != 1 || len(x.forgotten) != 3 {
		t.Errorf("%+v, forgotten: %v, %d rejections", r, x.forgotten, rejections())
	}
}

// TestNoTokenNoPost: without a token nothing is posted: a credential that is refused
// ends the turn and counts against the install, anything else is tried again.
func TestNoTokenNoPost(t *testing.T) {
	for name, c := range map[string]struct {
		fail  channel.Failure
		retry bool
		after time.Duration
		state session.PartState
		audit string
		count int64
	}{
		"key is gone":  {channel.Failure{Certainty: channel.Refused, Code: "invalid_grant", TokenRejected: true}, false, 0, session.Dropped, "install.token_rejected invalid_grant", 1},
		"moved":        {channel.Failure{Certainty: channel.Refused, Code: "http_302"}, false, 0, session.Dropped, "reply.refused http_302", 0},
		"busy":         {channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 40 * time.Second}, true, 40 * time.Second, session.Planned, "turn.retry ratelimited", 0},
		"not answered": {channel.Failure{Certainty: channel.NotSent, Code: "connect"}, true, 0, session.Planned, "turn.retry connect", 0},
	} {
		t.Run(name, func(t *testing.T) {
			e, x := newTrading(t)
			x.fail = &c.fail
			r := e.deliver(e.job, 1)
			_, parts := e.state("Ev1")
			i, _, _ := e.installs.Install(t.Context(), "i1")
			if r.Retry != c.retry || r.After < c.after || len(e.vendor.posts) != 0 || len(parts) != 1 || parts[0].State != c.state || i.Rejections != c.count {
				t.Errorf("%+v, %d posts, %+v, %d rejections", r, len(e.vendor.posts), parts, i.Rejections)
			}
			e.audited(c.audit)
			if !c.retry {
				return
			}
			x.fail = nil
			if r := e.deliver(e.job, 2); r.Retry || len(e.vendor.posts) != 1 || len(e.model.asked) != 1 {
				t.Errorf("%+v, %d posts, %d questions", r, len(e.vendor.posts), len(e.model.asked))
			}
		})
	}
}

// TestNoTokenNoRecording: a recording that no token can fetch ends the turn and counts
// against the install, once.
func TestNoTokenNoRecording(t *testing.T) {
	e := newVoiceEnv(t)
	entry := telegram.Entry()
	entry.Exchange = &channel.Exchange{}
	e.deps.Tokens, e.deps.Catalog = &traded{fail: &channel.Failure{Certainty: channel.Refused, Code: "invalid_grant", TokenRejected: true}}, catalog.New([]channel.Entry{entry})
	e.run = turn.New(e.deps)
	if r := e.deliver(e.job, 1); r.Retry || e.via.fetched != 0 || len(e.model.asked) != 0 || len(e.via.texts) != 0 {
		t.Errorf("%+v, fetched %d, asked %d, posted %d", r, e.via.fetched, len(e.model.asked), len(e.via.texts))
	}
	e.audited("install.token_rejected invalid_grant")
	if i, _, _ := e.installs.Install(t.Context(), e.job.Install); i.Rejections != 1 {
		t.Errorf("%d rejections", i.Rejections)
	}
}
