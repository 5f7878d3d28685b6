package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// platformBot is one Telegram bot of the platform.
type platformBot struct {
	t                         *testing.T
	id, secret, token, number string
	updates                   int
}

func newPlatformBot(t *testing.T) *platformBot {
	t.Helper()
	n := serial.Add(1)
	b := &platformBot{t: t, secret: fmt.Sprintf("CNRYtelegramapp%06d", n), number: fmt.Sprintf("71%08d", n), updates: int(n) * 1000}
	b.token = b.number + ":CNRYtelegrambottoken"
	var made struct{ ID, State string }
	op := operator()
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps", map[string]any{"provider": "telegram", "config": map[string]any{"bot_username": "Platform_bot"},
		"secrets": map[string]any{"secret_token": b.secret, "bot_token": b.token}}, &made))
	admitSomebody(t, "telegram")
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps/"+made.ID+"/activate", map[string]any{}, nil))
	b.id = made.ID
	return b
}

// update sends an update of the bot; chat and what happened are JSON.
func (b *platformBot) update(what string) answer {
	b.t.Helper()
	b.updates++
	p := &phone{tenant: &tenant{t: b.t}, channelCase: caseOf(b.t, "telegram"), install: b.id}
	return p.post(b.secret, []byte(strings.ReplaceAll(what, "$N", fmt.Sprint(b.updates))))
}

// says sends what a person writes in a chat; it returns the update's id.
func (b *platformBot) says(chat, text string) string {
	b.t.Helper()
	kind := "private"
	if strings.HasPrefix(chat, "-") {
		kind = "group"
	}
	a := b.update(`{"update_id":$N,"message":{"message_id":$N,"from":{"id":42,"is_bot":false,"first_name":"A"},"chat":{"id":` + chat + `,"type":"` + kind + `"},"date":1772600767,"text":` + jsonText(text) + `}}`)
	if a.Status != http.StatusOK {
		b.t.Fatalf("%d %s", a.Status, a.Body)
	}
	return fmt.Sprint(b.updates)
}

// texts are what the bot posted into a chat.
func (b *platformBot) texts(chat string) (texts []string) {
	for _, m := range vendor.Posts() {
		if m.KeyHash == mockvendor.Hash(b.token) && m.Channel == chat {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

// becomes waits for an event to be recorded at the app, and returns its code.
func (b *platformBot) becomes(event string) (code string) {
	b.t.Helper()
	eventually(b.t, "update "+event+" is recorded", func() bool {
		var seen struct {
			Items []struct {
				EventID string `json:"event_id"`
				Code    string `json:"audit_code"`
			}
		}
		must(b.t, operator().Call(b.t.Context(), http.MethodGet, "/api/operator/apps/"+b.id+"/deliveries", nil, &seen))
		for _, i := range seen.Items {
			if i.EventID == event {
				code = i.Code
			}
		}
		return code != ""
	})
	return code
}

type claimBegun struct {
	URL       string
	RoomURL   string `json:"room_url"`
	InstallID string `json:"install_id"`
}

// state is what Telegram's app would say for an address.
func (c claimBegun) state(t *testing.T, name string) string {
	t.Helper()
	u, err := url.Parse(c.URL)
	if name == "startgroup" {
		u, err = url.Parse(c.RoomURL)
	}
	if err != nil || u.Host != "t.me" || u.Path != "/Platform_bot" || len(u.Query().Get(name)) != 43 {
		t.Fatalf("%+v %v", c, err)
	}
	return u.Query().Get(name)
}

func (b *platformBot) begins(x *tenant) (c claimBegun) {
	b.t.Helper()
	must(b.t, stack.Admit(b.t.Context(), operator(), "telegram", x.ID))
	x.call(http.MethodPost, "/installs/consent", map[string]any{"provider": "telegram", "app": b.id}, &c)
	return c
}

func (x *tenant) liveInstalls() (ids []string) {
	var list struct{ Items []struct{ ID, State string } }
	x.call(http.MethodGet, "/installs", nil, &list)
	for _, i := range list.Items {
		if i.State != "revoked" {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func (x *tenant) auditReasons(action string) []string {
	return consentRows(x.t, "/api/orgs/"+x.ID+"/audit", action)
}

// helper binds an install to an agent.
func (x *tenant) helper(install string) {
	var agent struct{ ID string }
	x.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent)
	x.call(http.MethodPost, "/bindings", map[string]any{"install_id": install, "selector": map[string]any{}, "agent_id": agent.ID}, nil)
}

// TestTelegramForManyChats: two organisations claim a chat each with one bot of the
// platform; each chat is told whose it becomes, and its messages reach that organisation
// and nobody else. What is said elsewhere reaches nobody.
func TestTelegramForManyChats(t *testing.T) {
	bot := newPlatformBot(t)
	one, two := newTenant(t, "free", 1_000_000), newTenant(t, "free", 1_000_000)
	direct, room, nobody := "4101", "-4102", "4103"
	first, second := bot.begins(one), bot.begins(two)
	if code := bot.becomes(bot.says(direct, "hello before")); code != "hook.unbound" {
		t.Errorf("before the claim: %s", code)
	}
	state := first.state(t, "start")
	if code := bot.becomes(bot.says(direct, "/start "+state)); code != "hook.accepted" {
		t.Fatalf("the claim: %s", code)
	}
	group := second.state(t, "startgroup")
	bot.says(room, "/start@Platform_bot "+group)
	for _, c := range []struct {
		of            *tenant
		chat, install string
	}{{one, direct, first.InstallID}, {two, room, second.InstallID}} {
		eventually(t, "the chat is claimed", func() bool { return slices.Equal(c.of.liveInstalls(), []string{c.install}) })
		var i struct {
			State, Mode, App string
			Config, Secrets  map[string]any
		}
		eventually(t, "the install is active", func() bool {
			c.of.call(http.MethodGet, "/installs/"+c.install, nil, &i)
			return i.State == "active"
		})
		if i.Mode != "platform" || i.App != bot.id || i.Config["chat_id"] != c.chat || i.Config["bot_id"] != bot.number || len(i.Secrets) != 0 {
			t.Errorf("%+v", i)
		}
		c.of.helper(c.install)
		var o struct{ Name string }
		c.of.call(http.MethodGet, "", nil, &o)
		if told := bot.texts(c.chat); len(told) != 1 || !strings.Contains(told[0], o.Name) || !strings.Contains(told[0], "block me") {
			t.Errorf("%s was told %q", c.chat, told)
		}
		bot.says(c.chat, "hello in "+c.chat)
		eventually(t, "it is answered", func() bool { return len(bot.texts(c.chat)) == 2 })
		if got := bot.texts(c.chat)[1]; got != "You said: hello in "+c.chat {
			t.Errorf("%q", got)
		}
		var sessions struct{ Items []json.RawMessage }
		if c.of.call(http.MethodGet, "/sessions", nil, &sessions); len(sessions.Items) != 1 {
			t.Errorf("%s has %d conversations", c.of.ID, len(sessions.Items))
		}
	}
	if code := bot.becomes(bot.says(nobody, "hello")); code != "hook.unbound" || len(bot.texts(nobody)) != 0 {
		t.Errorf("an unclaimed chat: %s %q", code, bot.texts(nobody))
	}
	for name, text := range map[string]string{"the direct one": state, "that of the room": group} {
		if found := seenAnywhere(t, text); len(found) > 0 {
			t.Errorf("%s: the state is in %v", name, found)
		}
	}
	// An organisation's own bot beside it hears its own path and secret only.
	own := newPhone(t, "telegram")
	if a := own.post(bot.secret, own.text(1, direct, "", "hello")); a.Status != http.StatusUnauthorized {
		t.Errorf("the platform's secret at an own bot: %d", a.Status)
	}
	crossed := *own
	crossed.install = bot.id
	if a := crossed.post(own.secret, own.text(2, direct, "", "hello")); a.Status != http.StatusUnauthorized {
		t.Errorf("an own bot's secret at the platform's: %d", a.Status)
	}
	leaveTelegram(t, bot, one, direct, two, room)
}

// leaveTelegram ends both claims as Telegram tells of it: a person blocks the bot, and a
// group becomes a supergroup. Then either may be claimed by somebody else.
func leaveTelegram(t *testing.T, bot *platformBot, one *tenant, direct string, two *tenant, room string) {
	bot.update(`{"update_id":$N,"my_chat_member":{"chat":{"id":` + direct + `,"type":"private"},"from":{"id":42,"is_bot":false},"date":1,"new_chat_member":{"status":"kicked","user":{"id":` + bot.number + `,"is_bot":true}}}}`)
	bot.update(`{"update_id":$N,"message":{"message_id":$N,"from":{"id":42,"is_bot":false},"chat":{"id":` + room + `,"type":"group"},"date":1,"migrate_to_chat_id":-1004102}}`)
	for _, x := range []*tenant{one, two} {
		eventually(t, "the claim ends", func() bool { return len(x.liveInstalls()) == 0 })
	}
	for _, chat := range []string{direct, room, "-1004102"} {
		before := len(bot.texts(chat))
		if code := bot.becomes(bot.says(chat, "hello again")); code != "hook.unbound" || len(bot.texts(chat)) != before {
			t.Errorf("%s: %s", chat, code)
		}
	}
	next := newTenant(t, "free", 0)
	bot.says(direct, "/start "+bot.begins(next).state(t, "start"))
	eventually(t, "another organisation claims it", func() bool { return len(next.liveInstalls()) == 1 })
}

// TestTelegramStateIsRefused: a state that nobody began, that was used, is too old, or is
// another bot's or vendor's, claims nothing; a claimed chat stays whose it is; and a
// state is no message, whosever the chat is.
func TestTelegramStateIsRefused(t *testing.T) {
	bot, other := newPlatformBot(t), newPlatformBot(t)
	x, y := newTenant(t, "free", 1_000_000), newTenant(t, "free", 0)
	mine := bot.begins(x)
	state := mine.state(t, "start")
	// At another bot, on a page, and as text that is no state.
	other.says("4301", "/start "+state)
	eventually(t, "another bot's state is refused", func() bool { return slices.Equal(x.auditReasons("oauth.state_refused"), []string{"other_app"}) })
	page := newBrowser(t).open(http.MethodGet, world.BaseURL+"/oauth/telegram/begin?ticket="+state, "")
	if page.Status != http.StatusBadRequest || !slices.Equal(x.auditReasons("oauth.state_refused"), []string{"no_page", "other_app"}) {
		t.Errorf("on a page: %d %v", page.Status, x.auditReasons("oauth.state_refused"))
	}
	for _, text := range []string{"/start", "/start " + state + "x", "/start " + state[1:], " /start " + state, "/start@other_bot " + state, "/begin " + state, "/start " + strings.Repeat("A", 43)} {
		if code := bot.becomes(bot.says("4302", text)); code != "hook.unbound" {
			t.Errorf("%q: %s", text, code)
		}
	}
	if n := len(x.liveInstalls()) + len(bot.texts("4302")) + len(other.texts("4301")); n != 0 {
		t.Errorf("%d installs or messages by refused states", n)
	}
	// The one that counts, and what comes after it.
	bot.says("4302", "/start "+state)
	eventually(t, "the chat is claimed", func() bool { return len(x.liveInstalls()) == 1 })
	x.helper(mine.InstallID)
	eventually(t, "the install is active", func() bool {
		var i struct{ State string }
		x.call(http.MethodGet, "/installs/"+mine.InstallID, nil, &i)
		return i.State == "active"
	})
	for _, chat := range []string{"4303", "4302"} {
		before := len(x.auditReasons("oauth.state_refused"))
		bot.says(chat, "/start "+state)
		eventually(t, "a used state is refused", func() bool {
			rows := x.auditReasons("oauth.state_refused")
			return len(rows) == before+1 && rows[0] == "used"
		})
	}
	theirs := bot.begins(y)
	bot.says("4302", "/start "+theirs.state(t, "start"))
	eventually(t, "a claimed chat is not claimed again", func() bool { return slices.Equal(y.auditReasons("install.tenant_in_use"), []string{"in_use"}) })
	// A forwarded state, and one that a bot says.
	late := bot.begins(y)
	text := `"/start ` + late.state(t, "start") + `"`
	bot.update(`{"update_id":$N,"message":{"message_id":$N,"from":{"id":42,"is_bot":false},"chat":{"id":4304,"type":"private"},"date":1,"forward_origin":{"type":"user"},"text":` + text + `}}`)
	bot.update(`{"update_id":$N,"message":{"message_id":$N,"from":{"id":43,"is_bot":true},"chat":{"id":4304,"type":"private"},"date":1,"text":` + text + `}}`)
	local(t, "/clock", map[string]any{"offset_seconds": int((11 * time.Minute).Seconds())})
	defer local(t, "/clock", map[string]any{"offset_seconds": 0})
	bot.says("4304", "/start "+late.state(t, "start"))
	eventually(t, "an old state is refused", func() bool { return slices.Equal(y.auditReasons("oauth.state_refused"), []string{"expired"}) })
	if got := y.liveInstalls(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := x.liveInstalls(); !slices.Equal(got, []string{mine.InstallID}) || len(bot.texts("4302")) != 1 || len(bot.texts("4303"))+len(bot.texts("4304")) != 0 {
		t.Errorf("%v, %q", got, bot.texts("4302"))
	}
	var sessions struct{ Items []json.RawMessage }
	if x.call(http.MethodGet, "/sessions", nil, &sessions); len(sessions.Items) != 0 || bytes.Contains(vendorPrompts(), []byte("/start")) {
		t.Errorf("a state reached an agent: %s", sessions.Items)
	}
}

// vendorPrompts is what models were asked.
func vendorPrompts() []byte {
	b, _ := json.Marshal(vendor.Calls())
	return b
}
