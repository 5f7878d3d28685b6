package turn_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// claims stands in for package consent.
type claims struct {
	said []consent.Said
	told []bool
	name string
	done consent.Claimed
	err  error
}

func (c *claims) Claim(ctx context.Context, q consent.Said, tell func(context.Context, string, string) bool) (consent.Claimed, error) {
	c.said = append(c.said, q)
	if c.name != "" {
		c.told = append(c.told, tell(ctx, c.name, "o1"))
	}
	return c.done, c.err
}

func newClaimEnv(t *testing.T) (*env, *claims, session.Job) {
	e, c := newEnv(t), &claims{name: `Acme <b>"*x*"` + "\n[y](z)", done: consent.Claimed{Outcome: consent.Installed, Org: "o1", Install: "i9"}}
	e.deps.Claims, e.deps.Catalog = c, catalog.New(catalog.Entries())
	e.run = turn.New(e.deps)
	if err := e.installs.CreateInstall(t.Context(), install.Install{ID: "app_1", Org: "operator", Mode: install.App, Provider: taxonomy.Telegram, State: install.Active, Version: 1,
		Config: webhook.Config{"bot_id": {"7000001"}}}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	return e, c, session.Job{Kind: session.JobClaim, Org: "operator", Install: "app_1", EventID: "901", Tenant: "app_1", Claim: strings.Repeat("ab", 32), ReceivedAt: start,
		Identity: channel.Identity{"chat_id": "-42"}, Envelope: channel.Envelope{Provider: taxonomy.Telegram, EventID: "901", Space: "-42", Thread: "7", Actor: "43"}}
}

// TestClaim: the conversation is told whose it becomes, once, with the app's token and
// without the markup of a name; what became of it is recorded.
func TestClaim(t *testing.T) {
	e, c, job := newClaimEnv(t)
	e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":5}}`) }}
	if r := e.deliver(job, 1); r.Retry || len(c.said) != 1 || len(c.told) != 1 || !c.told[0] || len(e.vendor.posts) != 1 {
		t.Fatalf("%+v %+v %q", r, c, e.audit.codes)
	}
	q := c.said[0]
	if q.Hash != job.Claim || q.Provider != taxonomy.Telegram || q.App != "app_1" || q.Config.Get("chat_id") != "-42" || len(q.Config) != 1 || !q.At.Equal(start) {
		t.Errorf("%+v", q)
	}
	text, _ := e.vendor.posts[0]["text"].(string)
	if !strings.Contains(text, `connected to "Acme bxyz" (organisation o1): `) || strings.ContainsAny(text, "<>*[]\n") || e.vendor.posts[0]["entities"] != nil {
		t.Errorf("%q %v", text, e.vendor.posts[0])
	}
	e.audited("install.claimed ")
	// A name of nothing but signs, one that would be a link, and vowel signs.
	for name, want := range map[string]string{
		"!!!": "connected to organisation o1: ", "evil.com/x": `connected to "evil comx" (organisation o1): `, "हिन्दी ไทยนี้ Inc.": `connected to "हिन्दी ไทยนี้ Inc" (organisation o1): `,
		strings.Repeat("a", 150): `connected to "` + strings.Repeat("a", 100) + `" (organisation o1): `,
	} {
		e, c, job := newClaimEnv(t)
		c.name = name
		e.deliver(job, 1)
		if text, _ := e.vendor.posts[0]["text"].(string); !strings.Contains(text, want) {
			t.Errorf("%s: %q", name, text)
		}
	}
	for outcome, want := range map[consent.Outcome]string{consent.Refused: "oauth.state_refused used", consent.Conflicting: "oauth.failed conflicting", consent.Failed: "oauth.failed failed"} {
		e, c, job := newClaimEnv(t)
		c.name, c.done = "", consent.Claimed{Outcome: outcome, Reason: "used"}
		if r := e.deliver(job, 1); r.Retry || len(e.vendor.posts) != 0 {
			t.Errorf("%s: %+v", outcome, r)
		}
		e.audited(want)
	}
}

// TestClaimThatIsNotTold: what the vendor refused, or what cannot be sent, was not told;
// and neither was what may have been posted.
func TestClaimThatIsNotTold(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(e *env)
		told    bool
	}{
		"blocked": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }}
		}, false},
		"limited": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }}
		}, false},
		"no token":      {func(e *env) { e.tokens.err = fault.New(fault.NotFound, "", "") }, false},
		"suspended app": {func(e *env) { e.change("app_1", func(i *install.Install) { i.State = install.Suspended }) }, false},
		"nobody knows": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }}
		}, false},
	} {
		e, f, job := newClaimEnv(t)
		c.prepare(e)
		if e.deliver(job, 1); len(f.told) != 1 || f.told[0] != c.told {
			t.Errorf("%s: %v", name, f.told)
		}
	}
}

// TestClaimWaitsForItsNotice: the pause that the vendor asks for is made once, if there is
// the time; without the time for a notice nothing is claimed yet.
func TestClaimWaitsForItsNotice(t *testing.T) {
	limited := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"ok":false,"error_code":429,"parameters":{"retry_after":20}}`)
	}
	posted := func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":5}}`) }
	for name, c := range map[string]struct {
		next  []func(http.ResponseWriter)
		time  time.Duration
		told  bool
		posts int
	}{
		"once":           {[]func(http.ResponseWriter){limited, posted}, time.Minute, true, 2},
		"twice":          {[]func(http.ResponseWriter){limited, limited, posted}, time.Minute, false, 2},
		"no time for it": {[]func(http.ResponseWriter){limited, posted}, 33 * time.Second, false, 1},
	} {
		e, f, job := newClaimEnv(t)
		e.vendor.next = c.next
		ctx, cancel := context.WithTimeout(t.Context(), c.time)
		e.deliverIn(ctx, job, 1)
		cancel()
		if len(f.told) != 1 || f.told[0] != c.told || len(e.vendor.posts) != c.posts {
			t.Errorf("%s: %v, %d posts, waited %v", name, f.told, len(e.vendor.posts), e.waits.all)
		}
		if waited := slices.Equal(e.waits.all, []time.Duration{20 * time.Second}); waited != (c.posts == 2) {
			t.Errorf("%s: waited %v", name, e.waits.all)
		}
	}
	e, f, job := newClaimEnv(t)
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second)
	defer cancel()
	if r := e.deliverIn(ctx, job, 1); !r.Retry || len(f.said) != 0 {
		t.Errorf("%+v %+v", r, f.said)
	}
}

// TestClaimsGoToAppsOnly: a job that names anything else than an app of the platform of
// its vendor claims nothing; what does not answer is tried again.
func TestClaimsGoToAppsOnly(t *testing.T) {
	for name, f := range map[string]func(i *install.Install){
		"an own app":         func(i *install.Install) { i.Mode = install.BYOA },
		"an organisation's":  func(i *install.Install) { i.Org = "o1" },
		"another vendor's":   func(i *install.Install) { i.Provider = taxonomy.Slack },
		"a tenant of an app": func(i *install.Install) { i.Mode = install.Platform },
	} {
		e, c, job := newClaimEnv(t)
		e.change("app_1", f)
		if r := e.deliver(job, 1); r.Retry || len(c.said) != 0 {
			t.Errorf("%s: %+v %+v", name, r, c)
		}
		e.audited("reply.tenant_guard ")
	}
	e, c, job := newClaimEnv(t)
	job.Install = "app_2"
	if r := e.deliver(job, 1); r.Retry || len(c.said) != 0 {
		t.Errorf("no app: %+v", r)
	}
	e, c, job = newClaimEnv(t)
	c.name, c.err = "", fault.New(fault.Unavailable, "", "")
	if r := e.deliver(job, 1); !r.Retry {
		t.Errorf("%+v", r)
	}
}
