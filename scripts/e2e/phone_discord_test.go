package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func discordCase() channelCase {
	const id = "discord"
	return channelCase{id: id, addresses: true,
		phoneCase: phoneCase{foreign: "1",
			fills: func(p *phone, n int64, in map[string]any) {
				p.account, p.number, p.token = fmt.Sprintf("11%010d", n), fmt.Sprintf("12%010d", n), fmt.Sprintf("CNRYdiscordtoken.%06d", n)
				in["secrets"] = map[string]any{"bot_token": p.token}
				in["config"] = map[string]any{"application_id": p.account, "guild_id": p.number, "public_keys": []any{mockvendor.DiscordPublicKey(p.secret)}}
			},
			text: func(p *phone, id int, from, room, said string) []byte {
				return discordCommand(p, id, from, room, "ask", `{"name":"text","type":3,"value":`+said+`}`, "", false)
			},
			note: func(p *phone, id int, file string, recording []byte) []byte {
				return discordCommand(p, id, "42", "", "ask", `{"name":"recording","type":11,"value":"55"}`, fmt.Sprintf(`"attachments":{"55":{"id":"55","filename":"voice-message.ogg",
					"content_type":"audio/ogg","size":%d,"duration_secs":3.0,"waveform":"AAA=","url":%q,"proxy_url":"https://media.discordapp.net/x"}}`, len(recording), vendor.DiscordFile(vendorURL, file)), false)
			}},
		form:  "**Plan**\n\n**Bold** and *soft*, ~~not~~ `a<b`, [docs](<https://x.example/?a=1&b=2>) \\<!channel\\> \\<@U012\\>\n\n• one\n• two\n\n```\nif a < b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```",
		grows: discordTalker,
		bots:  map[string]func(*testing.T) *talker{id: discordTalker},
	}
}

// discordCommand is Discord's body for a command that somebody used; over says that
// its token answers no more.
func discordCommand(p *phone, id int, from, room, name, options, resolved string, over bool) []byte {
	if room == "" {
		room = from
	}
	at := time.Now().Add(-time.Minute)
	return []byte(fmt.Sprintf(`{"id":%q,"application_id":%q,"type":2,"version":1,"token":%q,"guild_id":%q,"channel_id":%q,"context":0,
		"member":{"user":{"id":%q,"username":"a","bot":false},"permissions":"0"},"data":{"id":"7","name":%q,"type":1,"options":[%s],"resolved":{%s}}}`,
		mockvendor.DiscordID(at, int64(id)), p.account, mockvendor.DiscordToken(p.token, room, fmt.Sprintf("CNRYinteraction%d", id), over), p.number, room, from, name, options, resolved))
}

// discordTalker writes in a channel.
func discordTalker(t *testing.T) *talker {
	return phoneTalker(t, "discord", "77000000000000001", func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"bot":false`), []byte(`"bot":true`), 1)
	})
}

func ackOf(t *testing.T, a answer) (kind int, flags int) {
	t.Helper()
	var got struct {
		Type int
		Data struct{ Flags int }
	}
	if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	return got.Type, got.Data.Flags
}

// TestDiscordReadsTheAnswer: PING, a command and its repeat, one that nobody answers,
// a button: each gets what Discord shows of it, and a wrong signature always 401.
func TestDiscordReadsTheAnswer(t *testing.T) {
	p := newPhone(t, "discord")
	const ping = `{"id":"1","application_id":"2","type":1,"token":"x","version":1}`
	if kind, _ := ackOf(t, p.post(p.secret, []byte(ping))); kind != 1 {
		t.Errorf("PING: %d", kind)
	}
	for range 70 { // above what is limited elsewhere
		if a := p.post(p.secret+"x", []byte(ping)); a.Status != http.StatusUnauthorized {
			t.Fatalf("a wrong signature: %d %s", a.Status, a.Body)
		}
	}
	hello := p.text(11, "42", "", "hello")
	for range 2 {
		if kind, _ := ackOf(t, p.post(p.secret, hello)); kind != 5 {
			t.Errorf("a command: %d", kind)
		}
	}
	eventually(t, "it is answered", func() bool { return len(p.posts()) == 1 })
	button := strings.Replace(string(p.text(12, "42", "", "x")), `"type":2,"version"`, `"type":3,"version"`, 1)
	if kind, _ := ackOf(t, p.post(p.secret, []byte(button))); kind != 6 {
		t.Errorf("a button: %d", kind)
	}
	var bindings struct{ Items []struct{ ID string } }
	p.call(http.MethodGet, "/bindings", nil, &bindings)
	p.call(http.MethodDelete, "/bindings/"+bindings.Items[0].ID, nil, nil)
	if kind, flags := ackOf(t, p.post(p.secret, p.text(13, "42", "", "is anybody there"))); kind != 4 || flags != 64 {
		t.Errorf("unbound: %d %d", kind, flags)
	}
	if a := p.post(p.secret, []byte(strings.Replace(string(p.text(14, "42", "", "x")), `"guild_id":"`+p.number+`",`, "", 1))); a.Status != http.StatusForbidden {
		t.Errorf("in a direct message: %d %s", a.Status, a.Body)
	}
	if posts := p.posts(); len(posts) != 1 || posts[0].Text != "You said: hello" {
		t.Errorf("%+v", posts)
	}
}

// TestDiscordAnswersByInteractionThenByBot: an answer of several messages goes by the
// interaction, one that comes too late into the channel, without mentioning anybody;
// the token of the interaction is shown nowhere.
func TestDiscordAnswersByInteractionThenByBot(t *testing.T) {
	p := newPhone(t, "discord")
	long := strings.Repeat("one two three four five. ", 150)
	vendor.Direct("a long answer on discord", mockvendor.Script{Text: long})
	p.post(p.secret, p.text(21, "42", "", "a long answer on discord"))
	eventually(t, "all of it is posted", func() bool { return len(p.posts()) == 2 })
	for _, m := range p.posts() {
		if !strings.Contains(m.ThreadTS, "CNRYinteraction21") || m.Channel != "42" {
			t.Errorf("%+v", m)
		}
	}
	p.post(p.secret, discordCommand(p, 22, "42", "", "ask", `{"name":"text","type":3,"value":"late"}`, "", true))
	eventually(t, "the late one is posted", func() bool { return len(p.posts()) == 3 })
	if m := p.posts()[2]; m.ThreadTS != "" || m.Channel != "42" || m.Text != "You said: late" {
		t.Errorf("%+v", m)
	}
	for _, path := range []string{"/sessions", "/deliveries?install=" + p.install, "/audit", "/installs/" + p.install} {
		var shown json.RawMessage
		if p.call(http.MethodGet, path, nil, &shown); len(shown) < 20 || bytes.Contains(shown, []byte("CNRYinteraction")) {
			t.Errorf("%s: %s", path, shown)
		}
	}
	logs, err := filepath.Glob(filepath.Join(world.LogDir, "*.log"))
	must(t, err)
	for _, name := range logs {
		b, err := os.ReadFile(name)
		must(t, err)
		if bytes.Contains(b, []byte("CNRYinteraction")) {
			t.Errorf("%s holds the token of an interaction", name)
		}
	}
	p.settled()
	p.consistent()
}

// TestDiscordAgentsByCommand: commands and sub-commands select agents, each with a
// session of its own in one channel.
func TestDiscordAgentsByCommand(t *testing.T) {
	p := newPhone(t, "discord")
	sales, support := p.bind("Sales", map[string]any{"mention": "agent-sales"}), p.bind("Support", map[string]any{"mention": "/support"})
	said := `{"name":"text","type":3,"value":"hi"}`
	for id, c := range map[int][2]string{31: {"agent", `{"name":"sales","type":1,"options":[` + said + `]}`}, 32: {"support", said}, 33: {"ask", said}} {
		if kind, _ := ackOf(t, p.post(p.secret, discordCommand(p, id, "42", "77", c[0], c[1], "", false))); kind != 5 {
			t.Errorf("%d: %d", id, kind)
		}
	}
	eventually(t, "all are answered", func() bool { return len(p.posts()) == 3 })
	var sessions struct {
		Items []struct {
			AgentID string `json:"agent_id"`
		}
	}
	p.call(http.MethodGet, "/sessions", nil, &sessions)
	agents := map[string]int{}
	for _, s := range sessions.Items {
		agents[s.AgentID]++
	}
	if len(agents) != 3 || agents[sales] != 1 || agents[support] != 1 {
		t.Errorf("%v, sales %s, support %s", agents, sales, support)
	}
}

// TestDiscordKeyRotation: while the application's key is replaced both verify, after
// that the new one only.
func TestDiscordKeyRotation(t *testing.T) {
	p := newPhone(t, "discord")
	next := p.secret + "next"
	status := func(secret string, id int) int { return p.post(secret, p.text(id, "42", "", "x")).Status }
	if got := status(next, 41); got != http.StatusUnauthorized {
		t.Errorf("before: %d", got)
	}
	p.call(http.MethodPost, "/installs/"+p.install+"/rotate", map[string]any{"name": "public_keys", "value": mockvendor.DiscordPublicKey(next)}, nil)
	if a, b := status(p.secret, 42), status(next, 43); a != http.StatusOK || b != http.StatusOK {
		t.Errorf("meanwhile: %d %d", a, b)
	}
	p.call(http.MethodPost, "/installs/"+p.install+"/rotate/finish", map[string]any{"name": "public_keys"}, nil)
	if a, b := status(p.secret, 44), status(next, 45); a != http.StatusUnauthorized || b != http.StatusOK {
		t.Errorf("afterwards: %d %d", a, b)
	}
}
