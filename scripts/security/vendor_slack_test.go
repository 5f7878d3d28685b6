package security

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const slackSignature, slackTime = "X-Slack-Signature", "X-Slack-Request-Timestamp"

func slackColumn() column {
	return column{id: taxonomy.Slack, verifies: "signing_secret", sends: "bot_token", anySecret: true, bots: true, addresses: true,
		attacks: map[int]func(*cell){21: slackOtherTenant, 24: slackHandshake, 30: slackAmbiguous, 36: slackTwoEvents},
		mutants: slackMutants,
		fresh: func(a *app, n int64) {
			a.application, a.team, a.token = fmt.Sprintf("A%08d", n), fmt.Sprintf("T%08d", n), fmt.Sprintf("xoxb-%s-%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"signing_secret": a.secret, "bot_token": a.token}
			in["config"] = map[string]any{"app_id": a.application, "team_id": a.team, "bot_user_id": "U0BOT"}
		},
		message: slackMessage,
		note: func(a *app, n int64, f file) []byte {
			return slackEvent(a, n, a.team, map[string]any{"type": "message", "subtype": "file_share", "channel": "C1", "channel_type": "im", "user": "U1", "text": "", "ts": fmt.Sprintf("17600%05d.000100", n),
				"files": []any{map[string]any{"id": f.name, "subtype": "slack_audio", "name": "audio_message.webm", "mimetype": "video/webm", "size": len(f.bytes), "duration_ms": 3000}}})
		},
		removed: func(a *app, n int64) []byte {
			return slackEvent(a, n, a.team, map[string]any{"type": "app_uninstalled"})
		},
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"app_id": a.application, "team_id": team}
		},
		proofs: []string{slackSignature, slackTime}, tag: "v0=",
		malformed: []string{"v0=", "v0=zz", "v0=" + zeros(63), zeros(64)}, cut: 2,
		retried: func(h http.Header, n int) {
			h.Set("X-Slack-Retry-Num", fmt.Sprint(n))
			h.Set("X-Slack-Retry-Reason", "http_timeout")
		},
		checks: func(a *app) []hit { return []hit{a.signed(slackCheck(spoken + "draft"))} },
		apps: &tenants{config: func(a *app) map[string]any { return map[string]any{"app_id": a.application} },
			join: func(a, of *app) { a.application = of.application }},
		page: func(_ *app, n int64, in map[string]any) mockvendor.App {
			known := mockvendor.App{ClientID: fmt.Sprintf("1234.%d", 10_000+n), Secret: fmt.Sprintf("%sclient%d", planted, n)}
			in["config"].(map[string]any)["client_id"] = known.ClientID
			in["secrets"].(map[string]any)["client_secret"] = known.Secret
			return known
		},
		api: "/api/", unauthorized: func(w http.ResponseWriter) { fmt.Fprint(w, `{"ok":false,"error":"invalid_auth"}`) },
	}
}

func slackMessage(a *app, n int64, s said) []byte {
	if s.ts == "" {
		s.ts = fmt.Sprintf("17600%05d.000100", n)
	}
	e := map[string]any{"type": "message", "channel": "C1", "channel_type": "im", "user": "U1", "text": s.text, "ts": s.ts}
	switch {
	case s.own:
		e["user"], e["bot_id"], e["app_id"] = "U0BOT", "B0BOT", a.application
	case s.bot:
		e["bot_id"], e["app_id"] = "B2", "A00000002"
	case s.mention:
		e["type"] = "app_mention"
	}
	return slackEvent(a, n, s.team, e)
}

func slackEvent(a *app, n int64, team string, event map[string]any) []byte {
	return encode(map[string]any{"type": "event_callback", "event_id": fmt.Sprintf("Ev%08d", n), "team_id": team, "api_app_id": a.application,
		"authorizations": []any{map[string]any{"team_id": team, "is_bot": true, "is_enterprise_install": false}}, "event": event})
}

func slackCheck(challenge string) []byte {
	return encode(map[string]any{"type": "url_verification", "challenge": challenge, "token": "x"})
}

func slackHandshake(c *cell) {
	a := c.verifying()
	h := a.signed(slackCheck(spoken + "one"))
	h.header.Del(slackSignature)
	h.header.Del(slackTime)
	c.hit(a, h)
	if got := c.do(a.signed(slackCheck(spoken + "two"))); got.status != http.StatusOK || got.body != spoken+"two" {
		c.bad("the signed check: %d %s", got.status, got.body)
	}
	check := []byte("ssl_check=1&token=x")
	c.hit(a, hit{method: http.MethodPost, path: h.path, header: http.Header{"Content-Type": {slackForm}}, body: check})
	if got := c.do(a.form(check)); got.status != http.StatusOK || got.body != "" {
		c.bad("the signed ssl_check: %d %s", got.status, got.body)
	}
}

// slackForm is the type of requests that tell of commands.
const slackForm = "application/x-www-form-urlencoded"

// form signs a request that is a form.
func (a *app) form(body []byte) hit {
	h := a.signed(body)
	h.header.Set("Content-Type", slackForm)
	return h
}

// slackCommand is the form of a slash command.
func slackCommand(a *app, team string) url.Values {
	n := a.c.serial.Add(1)
	return url.Values{"team_id": {team}, "channel_id": {"C1"}, "user_id": {"U1"}, "command": {"/ask"}, "text": {spoken + "command"}, "api_app_id": {a.application},
		"is_enterprise_install": {"false"}, "response_url": {"https://hooks.slack.com/commands/x"}, "trigger_id": {fmt.Sprintf("13345224609.%d.8088930838d8", n)}}
}

// slackOtherTenant: a message and a command of another workspace.
func slackOtherTenant(c *cell) {
	otherTenant(c)
	a, b := c.app(), c.app()
	c.hit(a, a.form([]byte(slackCommand(a, b.team).Encode())))
	c.hit(a, a.form([]byte(slackCommand(b, a.team).Encode())))
}

// slackAmbiguous: names that stand twice, in JSON and in a form.
func slackAmbiguous(c *cell) {
	ambiguousJSON(c)
	a := c.app()
	for _, more := range []string{"&text=" + spoken + "second", "&team_id=" + a.team, "&trigger_id=1", "&new=1&new=2", "&payload=%7B%7D", "&ssl_check=1"} {
		c.hit(a, a.form([]byte(slackCommand(a, a.team).Encode()+more)))
	}
	c.accepted(a, a.form([]byte(slackCommand(a, a.team).Encode()+"&new=1")))
	c.answered(a)
}

func slackMutants() []mutant {
	return append(unsignedChecks(),
		hook(30, "the first of two fields counts", "shared/channels/slack/command.go", "len(vs) != 1 || ", "").saying(passed))
}

// slackTwoEvents: a message and the mention in it, for one post.
func slackTwoEvents(c *cell) {
	a := c.app()
	ts := fmt.Sprintf("17700%05d.000200", c.serial.Add(1))
	text := "<@U0BOT> " + spoken
	c.accepted(a, a.signed(a.message(said{text: text, ts: ts})))
	c.hit(a, a.signed(a.message(said{text: text, ts: ts, mention: true})))
	c.answered(a)
}
