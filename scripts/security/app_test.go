package security

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/org"
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
	col                   column
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
	a := &app{tenant: c.org, c: c, col: c.col, secret: fmt.Sprintf("%s%022d", planted, n), verify: fmt.Sprintf("%sverify%06d", planted, n)}
	if a.col.fresh(a, n); c.also {
		a.col.also(a, n)
	}
	return a
}

func (a *app) settings() map[string]any {
	in := map[string]any{"provider": a.col.provider(), "mode": "byoa"}
	a.col.settings(a, in)
	return in
}

// without takes secrets out of settings.
func without(in map[string]any, gone func(name string) bool) {
	secrets, _ := in["secrets"].(map[string]any)
	maps.DeleteFunc(secrets, func(name string, _ any) bool { return gone(name) })
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

// admit lets the organisation activate the channel while its column is not green.
func (a *app) admit() {
	a.c.need(stack.Admit(a.c.ctx, a.c.operator, string(a.col.provider()), a.tenant.id))
}

func (a *app) move(to string) {
	if to == "activate" {
		a.admit()
	}
	a.c.need(a.call(a.c, http.MethodPost, "/installs/"+a.install+"/"+to, map[string]any{}, nil))
}

// app is an active install.
func (c *cell) app() *app { a := c.newApp(); return a.create(a.settings(), true) }

// verifying is an install in the state in which vendors check its URL.
func (c *cell) verifying() *app { a := c.newApp(); return a.create(a.settings(), false) }

// said is a message of a vendor.
type said struct {
	text string
	// own and bot say that the agent's own user, or another bot, wrote it;
	// mention that it is the second event that a vendor makes of it.
	own, bot, mention bool
	// team replaces the install's; ts is the vendor's name of the message.
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
	return a.col.message(a, n, s)
}

// note is the vendor's body for a message that is a recording.
func (a *app) note(f file) []byte { return a.col.note(a, a.c.serial.Add(1), f) }

// removed is how the vendor tells that the app was taken away.
func (a *app) removed() []byte { return a.col.removed(a, a.c.serial.Add(1)) }

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

// proof is the header that proves a request.
func (a *app) proof() string { return a.col.proofs[0] }

func zeros(n int) string { return strings.Repeat("0", n) }

// signed is a request as the vendor makes it, at the stack's time.
func (a *app) signed(body []byte) hit { return a.signedWith(a.secret, body, a.c.now()) }

func (a *app) signedWith(secret string, body []byte, at time.Time) hit {
	h := hit{method: http.MethodPost, path: "/webhooks/" + string(a.col.provider()) + "/" + cmp.Or(a.address, a.install),
		header: http.Header{"Content-Type": {cmp.Or(a.col.contentType, "application/json")}}, body: body}
	proof := mockvendor.Proof{Secret: secret, At: at}
	if a.col.sign == nil {
		body = mockvendor.Stamp(string(a.col.id), proof, body)
	}
	h.body = body
	r, err := http.NewRequestWithContext(a.c.ctx, h.method, a.c.BaseURL+h.path, http.NoBody)
	a.c.need(err)
	if r.Header = h.header; a.col.sign != nil {
		a.col.sign(a, r, secret, at, body)
	} else {
		mockvendor.SignRequest(r, string(a.col.id), proof, body)
	}
	return h
}

// spoiled is a request signed with a secret that the install never had.
func (a *app) spoiled() hit {
	return a.signedWith(a.col.spoiled(a.secret), a.message(said{}), a.c.now())
}

// posts counts the replies that carried the install's token.
func (a *app) posts() int { return len(a.posted()) }

func (a *app) posted() []mockvendor.Post {
	if a.col.posts != nil {
		return a.col.posts(a)
	}
	// A bot that posts for many tenants is told apart by the conversation.
	alone := a.col.apps == nil || a.col.apps.tenant == nil
	return slices.DeleteFunc(a.c.vendor.Posts(), func(p mockvendor.Post) bool {
		return p.KeyHash != mockvendor.Hash(a.token) || !alone && p.Channel != a.team
	})
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
