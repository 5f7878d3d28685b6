package security

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	simChat  = "openrouter/sim-chat"
	simVoice = "openai_compatible/sim-voice"
	// startCredits is what an organisation begins with.
	startCredits = 10_000_000
)

// planted stands in every secret and spoken in every message, so that both are
// found where they must not be; see [world.leaked].
const (
	planted = "MTRX4d8a1c"
	spoken  = "MTRXc73e90"
)

// tenant is an organisation with an agent.
type tenant struct {
	id    string
	admin stack.Client
	agent string
}

func (w *world) tenant(c *cell) *tenant {
	var o, agent struct{ ID string }
	var key struct{ Key string }
	c.need(w.operator.Call(c.ctx, http.MethodPost, "/api/orgs", map[string]any{"name": "Matrix", "tier": "enterprise"}, &o))
	c.need(w.operator.Call(c.ctx, http.MethodPost, "/api/orgs/"+o.ID+"/keys", map[string]any{"name": "all", "scopes": []string{"admin", "billing", "read"}}, &key))
	c.need(w.operator.Call(c.ctx, http.MethodPost, "/api/orgs/"+o.ID+"/grants", map[string]any{"kind": "gifted", "amount": startCredits, "idempotency_key": "start"}, nil))
	t := &tenant{id: o.ID, admin: stack.Client{Base: w.BaseURL, Key: key.Key}}
	c.need(t.call(c, http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent))
	t.agent = agent.ID
	return t
}

func (t *tenant) call(c *cell, method, path string, in, out any) error {
	return t.admin.Call(c.ctx, method, "/api/orgs/"+t.id+path, in, out)
}

// app is an install of a channel with what only the vendor and we know.
type app struct {
	*tenant
	c                     *cell
	provider              taxonomy.Channel
	install               string
	secret, verify, token string
	application, team     string
	// address stands in the path instead of the install's id, if it is set.
	address string
	// replies is how many messages must have been answered in the end.
	replies int
}

// newApp makes names and secrets; [app.create] stores them.
func (c *cell) newApp() *app {
	n := c.serial.Add(1)
	a := &app{tenant: c.org, c: c, provider: c.provider, secret: fmt.Sprintf("%s%022d", planted, n), verify: fmt.Sprintf("%sverify%06d", planted, n)}
	switch c.provider {
	case taxonomy.Slack:
		a.application, a.team, a.token = fmt.Sprintf("A%08d", n), fmt.Sprintf("T%08d", n), fmt.Sprintf("xoxb-%s-%08d", planted, n)
	case taxonomy.Telegram:
		a.application = fmt.Sprintf("70%08d", n)
		a.token = a.application + ":" + planted + "telegrambottoken"
	case taxonomy.LINE:
		a.team, a.token = fmt.Sprintf("U%032x", 0xb00000000000+n), fmt.Sprintf("%sline%08d", planted, n)
	default:
		a.application, a.team, a.token = fmt.Sprintf("1022%010d", n), fmt.Sprintf("1065%010d", n), fmt.Sprintf("EAA%s%08d", planted, n)
	}
	return a
}

func (a *app) settings() map[string]any {
	in := map[string]any{"provider": a.provider, "mode": "byoa"}
	switch a.provider {
	case taxonomy.Slack:
		in["secrets"] = map[string]any{"signing_secret": a.secret, "bot_token": a.token}
		in["config"] = map[string]any{"app_id": a.application, "team_id": a.team, "bot_user_id": "U0BOT"}
	case taxonomy.Telegram:
		in["secrets"] = map[string]any{"secret_token": a.secret, "bot_token": a.token}
		in["config"] = map[string]any{"bot_username": "Helper_bot"}
	case taxonomy.LINE:
		in["secrets"] = map[string]any{"channel_secret": a.secret, "channel_access_token": a.token}
		in["config"] = map[string]any{"destination": a.team}
	default:
		in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.verify, "access_token": a.token}
		in["config"] = map[string]any{"phone_number_id": a.team, "waba_id": a.application}
	}
	return in
}

// verifySecret is the name of the secret that verifies, sendSecret of the one that
// sends.
func (a *app) secretNames() (verifies, sends string) {
	switch a.provider {
	case taxonomy.Slack:
		return "signing_secret", "bot_token"
	case taxonomy.Telegram:
		return "secret_token", "bot_token"
	case taxonomy.LINE:
		return "channel_secret", "channel_access_token"
	}
	return "app_secret", "access_token"
}

// create stores the install; active binds its traffic to the agent, too.
func (a *app) create(in map[string]any, active bool) *app {
	var out struct{ ID string }
	a.c.need(a.call(a.c, http.MethodPost, "/installs", in, &out))
	a.install = out.ID
	if active {
		a.c.need(a.bind(map[string]any{}, a.agent))
		a.move("activate")
	}
	a.c.apps = append(a.c.apps, a)
	return a
}

func (a *app) bind(selector map[string]any, agent string) error {
	return a.call(a.c, http.MethodPost, "/bindings", map[string]any{"install_id": a.install, "selector": selector, "agent_id": agent}, nil)
}

func (a *app) move(to string) {
	a.c.need(a.call(a.c, http.MethodPost, "/installs/"+a.install+"/"+to, map[string]any{}, nil))
}

// app is an active install.
func (c *cell) app() *app { a := c.newApp(); return a.create(a.settings(), true) }

// said is a message of a vendor.
type said struct {
	text string
	// own and bot say that the agent's own user, or another bot, wrote it;
	// mention that Slack delivers it as its second event.
	own, bot, mention bool
	// team replaces the install's; ts is Slack's name of the message.
	team, ts string
}

// message is the vendor's body for a message, with an event id of its own.
func (a *app) message(s said) []byte {
	n := a.c.serial.Add(1)
	if s.text == "" {
		s.text = fmt.Sprintf("%s hello %d", spoken, n)
	}
	if s.team == "" {
		s.team = a.team
	}
	switch a.provider {
	case taxonomy.Slack:
		return a.slackMessage(n, s)
	case taxonomy.Telegram:
		from := map[string]any{"id": 42, "is_bot": s.bot, "first_name": "A"}
		if s.own {
			from = map[string]any{"id": json.Number(a.application), "is_bot": true, "first_name": "H"}
		}
		return encode(map[string]any{"update_id": n, "message": map[string]any{"message_id": n, "from": from, "date": 1772600767,
			"chat": map[string]any{"id": 42, "type": "private"}, "text": s.text}})
	case taxonomy.LINE:
		from := linePerson
		if s.own {
			from = a.team
		}
		return a.line(n, s.team, map[string]any{"type": "message", "source": map[string]any{"type": "user", "userId": from}, "replyToken": fmt.Sprintf("%d%s-%s", n, a.install, from),
			"message": map[string]any{"id": fmt.Sprint(n), "type": "text", "quoteToken": "q", "text": s.text}})
	}
	from := "4915112345678"
	if s.own {
		from = "15550783881"
	}
	return a.whatsapp("messages", map[string]any{"messaging_product": "whatsapp", "metadata": map[string]any{"display_phone_number": "15550783881", "phone_number_id": s.team},
		"messages": []any{map[string]any{"from": from, "id": fmt.Sprintf("wamid.%d", n), "timestamp": "1772600767", "type": "text", "text": map[string]any{"body": s.text}}}})
}

func (a *app) slackMessage(n int64, s said) []byte {
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
	return a.slack(n, s.team, e)
}

func (a *app) slack(n int64, team string, event map[string]any) []byte {
	return encode(map[string]any{"type": "event_callback", "event_id": fmt.Sprintf("Ev%08d", n), "team_id": team, "api_app_id": a.application,
		"authorizations": []any{map[string]any{"team_id": team, "is_bot": true, "is_enterprise_install": false}}, "event": event})
}

// linePerson is who writes on LINE.
const linePerson = "U00000000000000000000000000000ada"

func (a *app) line(n int64, team string, event map[string]any) []byte {
	event["webhookEventId"], event["mode"], event["timestamp"], event["deliveryContext"] = fmt.Sprintf("01J%08d", n), "active", 1772600767123, map[string]any{"isRedelivery": false}
	return encode(map[string]any{"destination": team, "events": []any{event}})
}

func (a *app) whatsapp(field string, value map[string]any) []byte {
	return encode(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{"id": a.application,
		"changes": []any{map[string]any{"field": field, "value": value}}}}})
}

// removed is how the vendor tells that the app was taken away.
func (a *app) removed() []byte {
	n := a.c.serial.Add(1)
	switch a.provider {
	case taxonomy.Slack:
		return a.slack(n, a.team, map[string]any{"type": "app_uninstalled"})
	case taxonomy.Telegram:
		return encode(map[string]any{"update_id": n, "my_chat_member": map[string]any{"chat": map[string]any{"id": 42, "type": "private"},
			"new_chat_member": map[string]any{"status": "kicked", "user": map[string]any{"id": json.Number(a.application)}}}})
	case taxonomy.LINE:
		return a.line(n, a.team, map[string]any{"type": "unfollow", "source": map[string]any{"type": "user", "userId": linePerson}})
	}
	return a.whatsapp("account_update", map[string]any{"event": "PARTNER_REMOVED"})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// hit is one request.
type hit struct {
	method, path, query, host string
	header                    http.Header
	body                      []byte
}

// The headers that prove where a request is from.
const (
	slackSignature, slackTime = "X-Slack-Signature", "X-Slack-Request-Timestamp"
	telegramToken             = "X-Telegram-Bot-Api-Secret-Token"
	metaSignature             = "X-Hub-Signature-256"
	lineSignature             = "X-Line-Signature"
)

// proof is the header that proves a request.
func (a *app) proof() string {
	switch a.provider {
	case taxonomy.Slack:
		return slackSignature
	case taxonomy.Telegram:
		return telegramToken
	case taxonomy.LINE:
		return lineSignature
	}
	return metaSignature
}

// signed is a request as the vendor makes it, at the stack's time.
func (a *app) signed(body []byte) hit { return a.signedWith(a.secret, body, a.c.now()) }

func (a *app) signedWith(secret string, body []byte, at time.Time) hit {
	h := hit{method: http.MethodPost, path: "/webhooks/" + string(a.provider) + "/" + cmp.Or(a.address, a.install), header: http.Header{"Content-Type": {"application/json"}}, body: body}
	mockvendor.SignRequest(h.header, string(a.provider), secret, at, body)
	return h
}

// handshake is Meta's check of the URL.
func (a *app) handshake(token string) hit {
	q := "hub.mode=subscribe&hub.challenge=1158201444"
	if token != "" {
		q += "&hub.verify_token=" + token
	}
	return hit{method: http.MethodGet, path: "/webhooks/" + string(a.provider) + "/" + a.install, query: q, header: http.Header{}}
}

// posts counts the replies that carried the install's token.
func (a *app) posts() int { return len(a.posted()) }

func (a *app) posted() []mockvendor.Post {
	return slices.DeleteFunc(a.c.vendor.Posts(), func(p mockvendor.Post) bool { return p.KeyHash != mockvendor.Hash(a.token) })
}

// auditRow is a row of an organisation's audit.
type auditRow struct{ ID, Action, Target string }

// audits are the organisation's newest audit rows about a target, the newest first.
func (t *tenant) audits(c *cell, target string) []auditRow {
	var page struct{ Items []auditRow }
	path := "/api/orgs/" + t.id
	if t.id == org.Operator {
		path = "/api/operator"
	}
	c.need(t.admin.Call(c.ctx, http.MethodGet, path+"/audit?limit=100", nil, &page))
	return slices.DeleteFunc(page.Items, func(r auditRow) bool { return target != "" && !strings.HasPrefix(r.Target, target) })
}

func told(rows []auditRow, action string) bool {
	return slices.ContainsFunc(rows, func(r auditRow) bool { return r.Action == action })
}
