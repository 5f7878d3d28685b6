package telegram

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

const state = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

// TestClaim: only what Telegram's app makes of a link is a claim.
func TestClaim(t *testing.T) {
	if len(state) != 43 {
		t.Fatal(len(state))
	}
	for text, want := range map[string]string{
		"/start " + state: state, "/start@Helper_bot " + state: state, "/start@helper_BOT " + state: state,
		"/start": "", "/start ": "", "/start  " + state: "", "/start " + state + " ": "", "/start " + state + "A": "", "/start " + state[1:]: "",
		"/start " + strings.Repeat("ä", 43): "", "/start@other_bot " + state: "", "/startx " + state: "", "hi /start " + state: "", "/start\n" + state: "", state: "",
	} {
		if got := claim(text, "Helper_bot"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if claim("/start@ "+state, "") != "" || claim("/start@x "+state, "") != "" || claim("/start "+state, "") != state {
		t.Error("without a username")
	}
	direct, room := links(webhook.Config{botUsername: {"Helper_bot"}}, state)
	if direct != "https://t.me/Helper_bot?start="+state || room != "https://t.me/Helper_bot?startgroup="+state {
		t.Errorf("%s %s", direct, room)
	}
}

// TestTenantOfTheBot: of the platform's bot every update names its chat; whose settings
// name one ends with it, and no other bot's does.
func TestTenantOfTheBot(t *testing.T) {
	one := maps.Clone(config())
	one[chatID] = []string{"42"}
	say := func(text string) string { return said(ada, private, `,"text":"`+text+`"`) }
	for name, c := range map[string]struct {
		body        string
		own, tenant channel.Kind
		claim       bool
	}{
		"a message":          {say("hi"), channel.Message, channel.Message, false},
		"a claim":            {say("/start " + state), channel.Message, channel.Message, true},
		"a forwarded claim":  {said(ada, private, `,"forward_origin":{"type":"user"},"text":"/start `+state+`"`), channel.Message, channel.Message, false},
		"a bot's claim":      {said(`"from":{"id":43,"is_bot":true}`, private, `,"text":"/start `+state+`"`), channel.Ignored, channel.Ignored, false},
		"a caption":          {said(ada, private, `,"photo":[],"caption":"/start `+state+`"`), channel.Message, channel.Message, false},
		"an edit":            {strings.Replace(say("/start "+state), `"message"`, `"edited_message"`, 1), channel.Edited, channel.Edited, false},
		"blocked":            {`{"update_id":903,"my_chat_member":{` + private + `,` + ada + `,"date":1,"new_chat_member":{"status":"kicked"}}}`, channel.Ignored, channel.Revoked, false},
		"removed":            {`{"update_id":903,"my_chat_member":{` + private + `,` + ada + `,"date":1,"new_chat_member":{"status":"left"}}}`, channel.Ignored, channel.Revoked, false},
		"made administrator": {`{"update_id":903,"my_chat_member":{` + private + `,` + ada + `,"date":1,"new_chat_member":{"status":"administrator"}}}`, channel.Ignored, channel.Ignored, false},
		"a new supergroup":   {said(ada, private, `,"migrate_to_chat_id":-100500`), channel.Ignored, channel.Revoked, false},
	} {
		for _, cfg := range []webhook.Config{config(), one} {
			all, err := Adapter{}.Parse(webhook.Input{Body: []byte(c.body), Config: cfg})
			if err != nil || len(all) != 1 {
				t.Fatal(name, err)
			}
			want := c.own
			if cfg.Get(chatID) != "" {
				want = c.tenant
			}
			if got := all[0]; got.Kind != want || got.Identity[chatID] != "42" || (got.Claim == state) != c.claim || got.Claim != "" && !c.claim {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	e := Entry()
	if e.SameTenant(config(), channel.Identity{chatID: "42"}) != true || len(e.Identity) != 0 {
		t.Error("an own bot's chats are all its own")
	}
	tenant := e.OfTenant("app_1")
	if !tenant.SameTenant(one, channel.Identity{chatID: "42"}) || tenant.SameTenant(one, channel.Identity{chatID: "43"}) || tenant.SameTenant(one, channel.Identity{}) || tenant.SameTenant(config(), channel.Identity{}) {
		t.Error("a tenant's chat is compared")
	}
	if app, claimed := tenant.Tenant(one); app != "app_1" || claimed != "C:42" || claimed != e.Shared.Locate(channel.Identity{chatID: "42"}) {
		t.Errorf("%s %s", app, claimed)
	}
	for _, chat := range []string{"", "0", "x", "4#2", "-", "12345678901234567890123"} {
		if got := e.Shared.Locate(channel.Identity{chatID: chat}); got != "" {
			t.Errorf("%q: %q", chat, got)
		}
	}
	names := func(fields []channel.ConfigField) (out []string) {
		for _, f := range fields {
			out = append(out, f.Name)
		}
		return out
	}
	if got := names(tenant.Config); len(tenant.Secrets) != 0 || !slices.Equal(got, []string{botID, botUsername, chatID}) {
		t.Errorf("%v %v", tenant.Secrets, got)
	}
	if app := e.OfApp(); len(app.Secrets) != 2 || app.Told == nil || !slices.Equal(names(app.Config), []string{botID, botUsername}) || slices.Contains(names(e.Config), chatID) {
		t.Errorf("%+v", app)
	} else if !app.Config[1].Required || e.Config[1].Required || tenant.Config[1].Required {
		t.Errorf("an app of the platform alone needs its username: %+v %+v", app.Config[1], e.Config[1])
	}
}

// FuzzClaim: a claim is a state, and nothing else is.
func FuzzClaim(f *testing.F) {
	f.Add("/start@Helper_bot " + state)
	f.Add("/start " + state)
	f.Fuzz(func(t *testing.T, text string) {
		got := claim(text, "Helper_bot")
		if got == "" {
			return
		}
		if len(got) != 43 || !strings.HasSuffix(text, " "+got) || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			t.Fatalf("%q of %q", got, text)
		}
	})
}
