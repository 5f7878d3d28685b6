package deliveries

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// app is an active install of an organisation, and what its vendor knows.
type app struct {
	w        *world
	org      *org
	provider string
	install  string
	secret   string
	token    string
	id       string // app, bot or phone number
	tenant   string // team or account
	bot      string // the bot's user or name
}

// newApp makes an install of a provider in a tenant, and activates it.
func (w *world) newApp(ctx context.Context, o *org, provider, tenant string) (*app, error) {
	w.serial++
	n := w.serial
	a := &app{w: w, org: o, provider: provider, tenant: tenant, secret: fmt.Sprintf("deliveries-signing-secret-%06d", n)}
	in := map[string]any{"provider": provider, "mode": "byoa"}
	switch provider {
	case "slack":
		a.id, a.bot, a.token = fmt.Sprintf("A%08d", n), fmt.Sprintf("UBOT%04d", n), fmt.Sprintf("xoxb-deliveries-%06d", n)
		in["secrets"] = map[string]any{"signing_secret": a.secret, "bot_token": a.token}
		in["config"] = map[string]any{"app_id": a.id, "team_id": tenant, "bot_user_id": a.bot}
	case "telegram":
		a.id, a.bot = fmt.Sprintf("70%08d", n), fmt.Sprintf("Sim%d_bot", n)
		a.token = a.id + ":deliveriesbottoken"
		in["secrets"] = map[string]any{"secret_token": a.secret, "bot_token": a.token}
		in["config"] = map[string]any{"bot_username": a.bot}
	case "whatsapp":
		a.id, a.token = fmt.Sprintf("1065%010d", n), fmt.Sprintf("EAAdeliveries%06d", n)
		in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.secret + "v", "access_token": a.token}
		in["config"] = map[string]any{"phone_number_id": a.id, "waba_id": tenant}
	}
	var made struct{ ID, State string }
	if err := o.call(ctx, http.MethodPost, "/installs", in, &made); err != nil {
		return nil, err
	}
	a.install = made.ID
	return a, o.call(ctx, http.MethodPost, "/installs/"+a.install+"/activate", map[string]any{}, nil)
}

func (a *app) bind(ctx context.Context, selector map[string]any, agent, persona string) error {
	return a.org.call(ctx, http.MethodPost, "/bindings", map[string]any{"install_id": a.install, "selector": selector, "agent_id": agent, "persona_id": persona}, nil)
}

// post is one thing said in a channel.
type post struct {
	n              int // unique in the run
	room           string
	thread         string // of the room, empty = none
	direct         bool
	from           string
	text           string
	sent           time.Time
	mention        bool // the app is told of it as app_mention
	command, named bool // the text begins with a /command, or with the bot's name
}

// event is how the app's vendor tells of a post. The same post and kind make the
// same bytes.
func (a *app) event(p post) []byte {
	switch a.provider {
	case "slack":
		kind, channelType := "message", "channel"
		if p.mention {
			kind = "app_mention"
		}
		if p.direct {
			channelType = "im"
		}
		e := map[string]any{"type": kind, "channel": p.room, "channel_type": channelType, "user": p.from, "text": p.text,
			"ts": fmt.Sprintf("%d.%06d", p.sent.Unix(), p.n)}
		if p.thread != "" {
			e["thread_ts"] = p.thread
		}
		return mockvendor.SlackCallback(fmt.Sprintf("Ev%s%d%s", a.id, p.n, kind), a.tenant, a.id, a.bot, p.sent, e)
	case "telegram":
		chat := map[string]any{"id": json.Number(p.room), "type": "supergroup"}
		if p.direct {
			chat["type"] = "private"
		}
		m := map[string]any{"message_id": p.n, "from": map[string]any{"id": json.Number(p.from), "is_bot": false, "first_name": "A"}, "chat": chat,
			"date": p.sent.Unix(), "text": p.text}
		if p.thread != "" {
			m["is_topic_message"], m["message_thread_id"] = true, json.Number(p.thread)
		}
		if length := bytes.IndexByte([]byte(p.text+" "), ' '); p.command {
			m["entities"] = []any{map[string]any{"type": "bot_command", "offset": 0, "length": length}}
		} else if p.named {
			m["entities"] = []any{map[string]any{"type": "mention", "offset": 0, "length": length}}
		}
		return text(map[string]any{"update_id": p.n, "message": m})
	}
	return text(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{"id": a.tenant, "changes": []any{map[string]any{
		"field": "messages", "value": map[string]any{"messaging_product": "whatsapp", "metadata": map[string]any{"phone_number_id": a.id},
			"messages": []any{map[string]any{"from": p.from, "id": fmt.Sprintf("wamid.sim%s%d", a.id, p.n), "timestamp": strconv.FormatInt(p.sent.Unix(), 10),
				"type": "text", "text": map[string]any{"body": p.text}}}}}}}}})
}

func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// deliver makes the vendor's request and returns its status, 0 without an answer.
func (a *app) deliver(ctx context.Context, body []byte) int {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.w.BaseURL+"/webhooks/"+a.provider+"/"+a.install, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	mockvendor.SignRequest(req, a.provider, mockvendor.Proof{Secret: a.secret, At: a.w.Clock.Now()}, body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	return resp.StatusCode
}

// posts are the visible messages that were sent with the app's token.
func (a *app) posts() (out []mockvendor.Post) {
	for _, p := range a.w.vendor.Posts() {
		if p.KeyHash == mockvendor.Hash(a.token) {
			out = append(out, p)
		}
	}
	return out
}
