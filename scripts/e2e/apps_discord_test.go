package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// discordApp is an app of the platform on Discord, with the bot's token that sends in
// all its servers.
func discordApp(t *testing.T) (id string, app mockvendor.App, signing, token string) {
	t.Helper()
	n := serial.Add(1)
	signing, token = fmt.Sprintf("CNRYdiscordapp%06d", n), fmt.Sprintf("CNRYdiscordbot.%06d", n)
	app = mockvendor.App{ClientID: fmt.Sprintf("15%010d", n), Secret: fmt.Sprintf("%s%04d", clientSecret, n), Redirect: world.BaseURL + "/oauth/discord/callback"}
	var made struct{ ID, State string }
	op := operator()
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps", map[string]any{"provider": "discord",
		"config":  map[string]any{"application_id": app.ClientID, "public_keys": []any{mockvendor.DiscordPublicKey(signing)}},
		"secrets": map[string]any{"bot_token": token, "client_secret": app.Secret}}, &made))
	admitSomebody(t, "discord")
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps/"+made.ID+"/activate", map[string]any{}, nil))
	return made.ID, app, signing, token
}

// TestDiscordForManyServers: two organisations add the platform's bot to their servers
// on Discord's page; each command goes to the organisation of its server, and a late
// answer into its channel with the one token that the app holds. A server that nobody
// added, and an organisation's own app in the same server, are kept apart; an install
// or an app that is stopped sends nothing.
func TestDiscordForManyServers(t *testing.T) {
	id, app, signing, token := discordApp(t)
	at := func(guild string) *phone {
		n := serial.Add(1)
		p := &phone{tenant: newTenant(t, "free", 1_000_000), channelCase: caseOf(t, "discord"), secret: signing, token: token, account: app.ClientID, number: guild}
		if guild == "" {
			p.number = fmt.Sprintf("16%010d", n)
		}
		must(t, stack.Admit(t.Context(), operator(), "discord", p.ID))
		return p
	}
	add := func(p *phone) answer {
		vendor.Authorises(app, mockvendor.Tenant{Team: p.number})
		var b begun
		p.call(http.MethodPost, "/installs/consent", map[string]any{"provider": "discord", "app": id}, &b)
		someone := newBrowser(t)
		done := someone.open(http.MethodGet, someone.press(b), "")
		p.install = b.InstallID
		return done
	}
	one, two := at(""), at("")
	for _, p := range []*phone{one, two} {
		if done := add(p); done.Status != http.StatusOK || !strings.Contains(string(done.Body), "<h1>Installed</h1>") {
			t.Fatalf("%d %s", done.Status, done.Body)
		}
		p.bind("Helper", map[string]any{})
	}
	thief := at(one.number)
	if done := add(thief); done.Status != http.StatusConflict {
		t.Errorf("a server that another organisation added: %d %s", done.Status, done.Body)
	}
	var shown struct {
		State, Mode, App string
		Config           map[string]any
		Secrets          map[string]any
	}
	one.call(http.MethodGet, "/installs/"+one.install, nil, &shown)
	if shown.State != "active" || shown.Mode != "platform" || shown.App != id || shown.Config["guild_id"] != one.number || shown.Config["application_id"] != app.ClientID ||
		shown.Config["public_keys"] != nil || len(shown.Secrets) != 0 {
		t.Errorf("%+v", shown)
	}
	if err := one.admin.Call(t.Context(), http.MethodGet, "/api/orgs/"+one.ID+"/installs/"+id, nil, nil); stack.Status(err) != http.StatusNotFound {
		t.Errorf("an organisation reads the app: %v", err)
	}
	// Each through the app's path; one answers late, as the bot.
	path := func(p *phone) *phone { q := *p; q.install = id; return &q }
	say := func(p *phone, n int, room, text string, late bool) answer {
		return path(p).post(signing, discordCommand(p, n, "42", room, "ask", `{"name":"text","type":3,"value":`+jsonText(text)+`}`, "", late))
	}
	said := func(room string) (texts []string) {
		for _, m := range one.posts() {
			if m.Channel == room {
				texts = append(texts, m.Text)
			}
		}
		return texts
	}
	for n, p := range []*phone{one, two} {
		for i, late := range []bool{false, true} {
			if kind, _ := ackOf(t, say(p, 50+2*n+i, fmt.Sprint(7100+n), fmt.Sprintf("hello %d", n), late)); kind != 5 {
				t.Errorf("%d: %d", n, kind)
			}
		}
	}
	for n := range 2 {
		eventually(t, "both are answered", func() bool { return len(said(fmt.Sprint(7100+n))) == 2 })
		for _, text := range said(fmt.Sprint(7100 + n)) {
			if text != fmt.Sprintf("You said: hello %d", n) {
				t.Errorf("server %d: %q", n, text)
			}
		}
	}
	// A server without an organisation, and a direct message.
	nobody := at("")
	if kind, flags := ackOf(t, say(nobody, 60, "7200", "hello", false)); kind != 4 || flags != 64 {
		t.Errorf("a server that nobody added: %d %d", kind, flags)
	}
	dm := strings.Replace(string(discordCommand(one, 61, "42", "7201", "ask", `{"name":"text","type":3,"value":"hello"}`, "", false)), `"guild_id":"`+one.number+`",`, "", 1)
	if kind, _ := ackOf(t, path(one).post(signing, []byte(dm))); kind != 4 {
		t.Errorf("a direct message: %d", kind)
	}
	// An organisation's own app in the same server has a key, a path and a token of its own.
	own := newPhone(t, "discord")
	if a := path(own).post(own.secret, own.text(62, "42", "", "hello")); a.Status != http.StatusUnauthorized {
		t.Errorf("the own app's key at the platform's app: %d", a.Status)
	}
	if a := own.post(signing, discordCommand(one, 63, "42", "", "ask", `{"name":"text","type":3,"value":"hello"}`, "", false)); a.Status != http.StatusUnauthorized {
		t.Errorf("the platform's key at the own app: %d", a.Status)
	}
	if a := one.post(signing, one.text(64, "42", "", "hello")); a.Status != http.StatusUnauthorized {
		t.Errorf("a path of the install's own: %d", a.Status)
	}
	stopDiscord(t, id, one, two, func(p *phone, n int, room string) int { return say(p, n, room, "still there?", true).Status }, said)
}

// stopDiscord stops an install while an answer to it is being made, then the app.
func stopDiscord(t *testing.T, id string, one, two *phone, say func(p *phone, n int, room string) int, said func(room string) []string) {
	for i, c := range []struct {
		of   *phone
		stop func()
	}{
		{one, func() { one.call(http.MethodPost, "/installs/"+one.install+"/suspend", map[string]any{}, nil) }},
		{two, func() {
			must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/apps/"+id+"/revoke", map[string]any{}, nil))
		}},
	} {
		room := fmt.Sprint(7300 + i)
		held := vendor.Hold(mockvendor.BeforeHeaders)
		if status := say(c.of, 70+i, room); status != http.StatusOK {
			t.Fatalf("%d: %d", i, status)
		}
		<-held.Reached()
		c.stop()
		held.Release()
		eventually(t, "the answer is given up", func() bool { return c.of.lastOutbox() == "failed" })
		if texts := said(room); len(texts) != 0 {
			t.Errorf("%d: sent %q after it was stopped", i, texts)
		}
		if status := say(c.of, 80+i, room); (status == http.StatusOK) != (i == 0) {
			t.Errorf("%d: then %d", i, status)
		}
	}
}

// lastOutbox is the state of the first part of the newest turn.
func (p *phone) lastOutbox() string {
	var seen struct {
		Items []struct {
			TurnID string `json:"turn_id"`
		}
	}
	p.call(http.MethodGet, "/deliveries?install="+p.install+"&limit=1", nil, &seen)
	if len(seen.Items) == 0 || seen.Items[0].TurnID == "" {
		return ""
	}
	var turn struct{ Outbox []struct{ State string } }
	p.call(http.MethodGet, "/turns/"+seen.Items[0].TurnID, nil, &turn)
	if len(turn.Outbox) == 0 {
		return ""
	}
	return turn.Outbox[0].State
}
