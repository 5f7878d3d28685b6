package discord

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	app   = "1100000000000000001"
	guild = "1100000000000000002"
	room  = "1100000000000000003"
	ada   = "1100000000000000004"
	asked = "1200000000000000005"
	// used is an interaction's token; it must be in no result.
	used = "aW50ZXJhY3Rpb246canary0123456789"
)

func config(guild string) webhook.Config {
	return webhook.Config{applicationID: {app}, guildID: {guild}, webhook.KeysSetting: {strings.Repeat("ab", 32)}}
}

// interaction is a body of a type with the data of it.
func interaction(kind int, data string) string {
	return fmt.Sprintf(`{"id":%q,"application_id":%q,"type":%d,"token":%q,"guild_id":%q,"channel_id":%q,"version":1,"locale":"de","data":%s,
		"channel":{"id":%q,"type":0},"member":{"user":{"id":%q,"username":"ada","global_name":"Ada"},"permissions":"0"},"authorizing_integration_owners":{"0":%q}}`,
		asked, app, kind, used, guild, room, data, room, ada, guild)
}

// command is the body of a command that was used.
func command(name, options, resolved string) string {
	return interaction(2, fmt.Sprintf(`{"id":"7","name":%q,"type":1,"options":[%s],"resolved":{%s}}`, name, options, resolved))
}

func text(name, value string) string {
	b, _ := json.Marshal(value)
	return fmt.Sprintf(`{"name":%q,"type":3,"value":%s}`, name, b)
}

const recording = `"attachments":{"55":{"id":"55","filename":"voice-message.ogg","content_type":"audio/ogg; codecs=opus","size":4096,"duration_secs":1.2999999523162842,"waveform":"AAA=",` +
	`"url":"https://cdn.discordapp.com/ephemeral-attachments/1/55/voice-message.ogg?ex=1&is=2&hm=3","proxy_url":"https://media.discordapp.net/x"}}`

const fileGiven = `{"name":"recording","type":11,"value":"55"}`

func harness(to string) channeltest.Harness {
	ev := func(body string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: body, Kind: k, Reason: why}
	}
	hello := command("ask", text("text", "hi"), "")
	as := func(user string) string { return strings.Replace(hello, `{"id":"`+ada+`","username":"ada"`, user, 1) }
	refused := func(status int, body, code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: body, Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	limited := func(body string, after time.Duration) channeltest.Answer {
		return channeltest.Answer{Status: 429, Body: body, Header: map[string]string{"Retry-After": "65"}, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: after}}
	}
	return channeltest.Harness{
		Entry: Entry(), Config: config(guild), Foreign: config("1100000000000000099"), To: to, NoEdits: true, NoRemovals: true, SameMarks: true,
		Events: map[string]channeltest.Event{
			"ping":              ev(`{"type":1,"id":"1","application_id":"`+app+`","token":"x","version":1}`, channel.Handshake, ""),
			"command":           ev(hello, channel.Message, ""),
			"without options":   ev(command("status", "", ""), channel.Message, ""),
			"recording":         ev(command("ask", fileGiven, recording), channel.Message, ""),
			"own":               ev(as(`{"id":"`+app+`","username":"me"`), channel.Ignored, channel.SelfIgnored),
			"bot":               ev(as(`{"id":"`+ada+`","bot":true,"username":"b"`), channel.Ignored, channel.BotIgnored),
			"on a person":       ev(strings.Replace(hello, `"name":"ask","type":1`, `"name":"ask","type":2`, 1), channel.Ignored, channel.EventIgnored),
			"on a message":      ev(strings.Replace(hello, `"name":"ask","type":1`, `"name":"ask","type":3`, 1), channel.Ignored, channel.EventIgnored),
			"button":            ev(interaction(3, `{"custom_id":"x","component_type":2}`), channel.Ignored, channel.EventIgnored),
			"autocompletion":    ev(interaction(4, `{"id":"7","name":"ask","type":1,"options":[]}`), channel.Ignored, channel.EventIgnored),
			"form":              ev(interaction(5, `{"custom_id":"x","components":[]}`), channel.Ignored, channel.EventIgnored),
			"not known":         ev(interaction(77, `{}`), channel.Ignored, channel.EventIgnored),
			"a broken file":     ev(command("ask", fileGiven, ""), channel.Message, ""),
			"a file far away":   ev(command("ask", fileGiven, strings.Replace(recording, "https://cdn", "https://"+strings.Repeat("x", 600), 1)), channel.Message, ""),
			"unicode in a name": ev(command("größe", text("was", "hi"), ""), channel.Message, ""),
		},
		Malformed: map[string]string{
			"no type": `{"id":"1"}`, "type as text": strings.Replace(hello, `"type":2`, `"type":"2"`, 1), "type with a fraction": strings.Replace(hello, `"type":2`, `"type":2.5`, 1),
			"no id": strings.Replace(hello, asked, "x", 1), "no application": strings.Replace(hello, `"application_id":"`+app, `"application_id":"0`, 1),
			"no channel": strings.Replace(hello, `"channel_id":"`+room, `"channel_id":"`, 1), "nobody": as(`{"id":"ada"`), "no token": strings.Replace(hello, used, "", 1),
			"long token": strings.Replace(hello, used, strings.Repeat("x", 1025), 1), "token with a space": strings.Replace(hello, used, "a b", 1),
			"no name": command("", "", ""), "name of lines": strings.Replace(hello, `"ask"`, `"a\nb"`, 1), "option without a name": command("ask", text("", "x"), ""),
			"many options": command("ask", strings.TrimSuffix(strings.Repeat(text("a", "b")+",", 26), ","), ""), "option no object": command("ask", `"x"`, ""),
		},
		Posted: `{"id":"1300000000000000006","channel_id":"` + room + `","content":"hello"}`, PostedID: "1300000000000000006",
		Answers: map[string]channeltest.Answer{
			"not here":          refused(403, `{"message":"Missing Access","code":50001}`, "missing_access", false),
			"not allowed":       refused(403, `{"message":"Missing Permissions","code":50013}`, "missing_permissions", false),
			"no channel":        refused(404, `{"message":"Unknown Channel","code":10003}`, "unknown_channel", false),
			"taken away":        refused(404, `{"message":"Unknown Message","code":10008}`, channel.MessageGone, false),
			"form":              refused(400, `{"message":"Invalid Form Body","code":50035,"errors":{}}`, "invalid_form", false),
			"other form":        refused(400, `{"components":["0"]}`, "http_400", false),
			"no text":           refused(400, `<html>`, "http_400", false),
			"a code of theirs":  refused(403, `{"message":"secret of a person","code":99999}`, "http_403", false),
			"the body's time":   limited(`{"message":"You are being rate limited.","retry_after":0.529,"global":false}`, time.Second),
			"the whole API":     limited(`{"message":"You are being rate limited.","retry_after":64.57,"global":true}`, 65*time.Second),
			"behind the body":   limited(`<html>blocked</html>`, 65*time.Second),
			"a time of nothing": limited(`{"retry_after":-1}`, 65*time.Second),
			"no id":             {Status: 200, Body: `{}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
			"500 with a code":   {Status: 500, Body: `{"message":"Unknown Webhook","code":10015}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		},
	}
}

func TestAdapter(t *testing.T) {
	t.Run("in a channel", func(t *testing.T) {
		h := harness(room)
		h.Answers["token"] = channeltest.Answer{Status: 401, Body: `{"message":"401: Unauthorized","code":0}`,
			Failure: channel.Failure{Certainty: channel.Refused, Code: "http_401", TokenRejected: true}}
		channeltest.Run(t, h)
	})
	t.Run("to an interaction", func(t *testing.T) { channeltest.Run(t, harness(address{room, asked, used}.String())) })
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: config(guild), Attachment: channel.Attachment{ID: "%s/attachments/1/55/a.ogg"},
		Where: "/attachments/1/55/a.ogg", Open: true, To: address{room, asked, used}.String(), ID: "88",
		Steps: []channeltest.Step{{Path: "/webhooks/" + app + "/" + used + "/messages/@original", Answer: `{"id":"88"}`}}})
}

// TestSpeech: speech goes beside its text, in the place of "thinking" or by the bot; it
// is an attachment and no voice message, which would lose the text.
func TestSpeech(t *testing.T) {
	a := &api{answers: []string{over}, date: madeAt(asked).Add(time.Hour)}
	s := httptest.NewServer(a)
	defer s.Close()
	id, f := Adapter{}.Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("bot.tok"), Config: config(guild)},
		channel.Outgoing{To: address{room, asked, used}.String(), Part: 1, TurnID: "t1", Text: "a*b", Format: discordMarks, Voice: []byte("ID3 speech")})
	if f != nil || id != "88" || strings.Join(a.asked, " ") != "PATCH /webhooks/"+app+"/"+used+"/messages/@original POST /channels/"+room+"/messages" {
		t.Fatalf("%q %+v by %q", id, f, a.asked)
	}
	for k, form := range a.forms {
		want := map[string]any{"content": "a*b", "flags": 4.0, "allowed_mentions": map[string]any{"parse": []any{}}, "attachments": []any{map[string]any{"id": "0", "filename": "voice.mp3"}}}
		if k == 1 {
			want["nonce"], want["enforce_nonce"] = nonce(channel.Outgoing{TurnID: "t1", Part: 1}), true
		}
		if !reflect.DeepEqual(form.said, want) || form.file != "voice.mp3 audio/mpeg ID3 speech" {
			t.Errorf("%d: %v %q", k, form.said, form.file)
		}
	}
	if bot := a.heads[0].Get("Authorization") + a.heads[1].Get("Authorization"); len(a.forms) != 2 || bot != "Bot bot.tok" {
		t.Errorf("%d forms, %q", len(a.forms), bot)
	}
}

// TestAnswers: what Discord reads in the answer is of the form that it documents.
func TestAnswers(t *testing.T) {
	e := Entry()
	of := func(body string) channel.Ack {
		all, err := e.Adapter.Parse(webhook.Input{Body: []byte(body)})
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		return all[0].Ack
	}
	for name, c := range map[string]struct {
		ack  channel.Ack
		kind int
	}{"ping": {of(`{"type":1}`), 1}, "queued": {e.Queued, 5}, "dropped": {e.Ack, 4}, "button": {of(interaction(3, `{}`)), 6}, "autocompletion": {of(interaction(4, `{}`)), 8}} {
		var got struct {
			Type int
			Data struct {
				Content string
				Flags   int
				Choices []any
			}
		}
		if err := json.Unmarshal([]byte(c.ack.Body), &got); err != nil || got.Type != c.kind || c.ack.ContentType != "application/json" {
			t.Errorf("%s: %+v %v", name, c.ack, err)
		}
		if got.Type == 4 && (got.Data.Flags != 64 || got.Data.Content == "") || got.Type == 8 && got.Data.Choices == nil {
			t.Errorf("%s: %s", name, c.ack.Body)
		}
	}
	for _, body := range []string{command("ask", "", ""), interaction(5, `{}`)} {
		if of(body) != (channel.Ack{}) {
			t.Error("an acknowledgement of its own")
		}
	}
}

// TestEnvelope: where a command came from, and what of it is kept.
func TestEnvelope(t *testing.T) {
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(command("ask", text("text", "hi"), ""))})
	if err != nil {
		t.Fatal(err)
	}
	want := channel.Envelope{Provider: "discord", EventID: asked, Account: app, Team: guild, Space: room, Message: asked, Actor: ada, Mention: true, Addressed: []string{"ask"},
		ReplyTo: room + "/" + asked + "/" + used, Text: "hi", SentAt: time.UnixMilli(1200000000000000005>>22 + 1420070400000).UTC()}
	if got := all[0].Envelope; !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\n%+v", got, want)
	}
	if at := madeAt("175928847299117063"); !at.Equal(time.Date(2016, 4, 30, 11, 18, 25, 796e6, time.UTC)) { // the reference's example
		t.Error(at)
	}
	// A direct message and another server's are no install's.
	for _, body := range []string{strings.Replace(command("ask", "", ""), `"guild_id":"`+guild+`",`, "", 1), strings.Replace(command("ask", "", ""), guild, room, 1),
		strings.Replace(command("ask", "", ""), `"application_id":"`+app, `"application_id":"`+room, 1)} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body)})
		if err != nil || Entry().SameTenant(config(guild), all[0].Identity) {
			t.Errorf("%v %+v", err, all)
		}
	}
	direct := strings.Replace(strings.Replace(command("ask", "", ""), `"guild_id":"`+guild+`",`, "", 1), `"member":{"user":`, `"x":{},"user":`, 1)
	if all, err := (Adapter{}).Parse(webhook.Input{Body: []byte(strings.Replace(direct, `,"permissions":"0"}`, "", 1))}); err != nil || Entry().SameTenant(config(guild), all[0].Identity) {
		t.Errorf("%v %+v", err, all)
	}
}

// TestWhatACommandSays: the text and the names of commands with all kinds of options.
func TestWhatACommandSays(t *testing.T) {
	resolved := `"users":{"41":{"username":"grace","global_name":"Grace H."},"42":{"username":"alan"}},"roles":{"43":{"name":"Ops"}},"channels":{"44":{"name":"general"}},` +
		`"attachments":{"56":{"filename":"plan.pdf","content_type":"application/pdf","url":"https://cdn.discordapp.com/x"}}`
	of := func(name string, kind int, value string) string {
		return fmt.Sprintf(`{"name":%q,"type":%d,"value":%s}`, name, kind, value)
	}
	below := func(kind int, name, options string) string {
		return fmt.Sprintf(`{"name":%q,"type":%d,"options":[%s]}`, name, kind, options)
	}
	for name, c := range map[string]struct{ body, text, addressed string }{
		"one text":           {command("ask", text("question", " hi there "), ""), "hi there", "ask"},
		"the one called so":  {command("ask", text("title", "T")+","+text("text", "hi"), ""), "hi\ntitle: T", "ask"},
		"the first":          {command("ask", text("title", "T")+","+text("body", "hi"), ""), "T\nbody: hi", "ask"},
		"no option":          {command("status", "", ""), "/status", "status"},
		"an empty text":      {command("ask", text("text", "  "), ""), "/ask", "ask"},
		"numbers and yes":    {command("set", of("n", 4, "-3")+","+of("x", 10, "1.50")+","+of("on", 5, "true")+","+of("off", 5, "false"), ""), "n: -3\nx: 1.50\non: yes\noff: no", "set"},
		"who and where":      {command("ask", of("a", 6, `"41"`)+","+of("b", 6, `"42"`)+","+of("c", 7, `"44"`)+","+of("d", 8, `"43"`)+","+of("e", 9, `"43"`)+","+of("f", 9, `"41"`), resolved), "a: @Grace H.\nb: @alan\nc: #general\nd: @Ops\ne: @Ops\nf: @Grace H.", "ask"},
		"nobody known":       {command("ask", of("a", 6, `"77"`)+","+text("text", "hi"), resolved), "hi", "ask"},
		"a file":             {command("ask", of("a", 11, `"56"`), resolved), "a: plan.pdf", "ask"},
		"an unknown kind":    {command("ask", of("a", 99, `{"x":1}`)+","+of("b", 99, `7`), resolved), "b: 7", "ask"},
		"a sub-command":      {command("ticket", below(1, "close", of("id", 4, "5")), ""), "/ticket close\nid: 5", "ticket-close ticket"},
		"with a text":        {command("agent", below(1, "Sales", text("text", "hi")), ""), "/agent Sales\nhi", "agent-sales agent"},
		"in a group":         {command("a", below(2, "b", below(1, "c", text("text", "hi"))), ""), "/a b c\nhi", "a-b-c a"},
		"deeper than it is":  {command("a", below(2, "b", below(2, "c", below(1, "d", text("text", "hi")))), ""), "/a b c", "a-b-c a"},
		"a name of letters":  {command("größe", text("x", "hi"), ""), "hi", ""},
		"of letters and sub": {command("ask", below(1, "größe", ""), ""), "/ask größe", "ask"},
		"lines in a name":    {command("ask", of("a", 6, `"1"`), `"users":{"1":{"username":"x\ny: z`+strings.Repeat("ä", 200)+`"}}`), "a: @xy: z" + strings.Repeat("ä", 95), "ask"},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(c.body)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e := all[0].Envelope; e.Text != c.text || strings.Join(e.Addressed, " ") != c.addressed || len(e.Media) != 0 {
			t.Errorf("%s: %q to %v %v", name, e.Text, e.Addressed, e.Media)
		}
	}
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(command("ask", fileGiven+","+text("text", "listen"), recording))})
	want := []channel.Attachment{{ID: "https://cdn.discordapp.com/ephemeral-attachments/1/55/voice-message.ogg?ex=1&is=2&hm=3", Kind: channel.VoiceNote, MIME: "audio/ogg", Size: 4096, Millis: 1300, Name: "voice-message.ogg"}}
	if err != nil || !reflect.DeepEqual(all[0].Envelope.Media, want) || all[0].Envelope.Text != "listen" {
		t.Errorf("%v %+v", err, all)
	}
	if all, _ = (Adapter{}).Parse(webhook.Input{Body: []byte(command("ask", fileGiven, strings.Replace(recording, `"waveform":"AAA=",`, "", 1)))}); all[0].Envelope.Text != "" || all[0].Envelope.Media[0].Kind != channel.AudioFile {
		t.Errorf("%+v", all)
	}
}

// api is Discord's side of a send.
type api struct {
	asked []string
	heads []http.Header
	body  map[string]any
	// answers replace the success of calls, in order; date is told by all.
	answers []string
	date    time.Time
	forms   []form
}

type form struct {
	said map[string]any
	file string
}

// form reads a message with a file.
func (a *api) form(r *http.Request) {
	f, h, err := r.FormFile("files[0]")
	if err != nil {
		return
	}
	b, _ := io.ReadAll(f)
	one := form{file: h.Filename + " " + h.Header.Get("Content-Type") + " " + string(b)}
	_ = json.Unmarshal([]byte(r.FormValue("payload_json")), &one.said)
	a.forms = append(a.forms, one)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		a.form(r)
	}
	b, _ := io.ReadAll(r.Body)
	a.body = nil
	_ = json.Unmarshal(b, &a.body)
	a.asked, a.heads = append(a.asked, r.Method+" "+r.URL.EscapedPath()), append(a.heads, r.Header)
	w.Header().Set("Date", a.date.Format(http.TimeFormat))
	if n := len(a.asked); n <= len(a.answers) && a.answers[n-1] != "" {
		status, body, _ := strings.Cut(a.answers[n-1], " ")
		code := 0
		_, _ = fmt.Sscan(status, &code)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
		return
	}
	_, _ = io.WriteString(w, `{"id":"88"}`)
}

const (
	over    = `401 {"message":"Invalid Webhook Token","code":50027}`
	unknown = `404 {"message":"Unknown Webhook","code":10015}`
)

// TestSend: the first part replaces "thinking", the others follow, each without the
// bot's token; when the interaction is over the bot posts, under a name of its own.
func TestSend(t *testing.T) {
	to := address{room, asked, used}.String()
	hook := "/webhooks/" + app + "/" + used
	original, follow, post := "PATCH "+hook+"/messages/@original", "POST "+hook, "POST /channels/"+room+"/messages"
	old := madeAt(asked).Add(20 * time.Minute)
	for name, c := range map[string]struct {
		out     channel.Outgoing
		answers []string
		date    time.Time
		asked   string
		failure string
	}{
		"the first":            {channel.Outgoing{To: to, Part: 1}, nil, old, original, ""},
		"the second":           {channel.Outgoing{To: to, Part: 2}, nil, old, follow, ""},
		"of a later turn":      {channel.Outgoing{To: to, Part: 1, Follows: true}, nil, old, follow, ""},
		"without interaction":  {channel.Outgoing{To: room, Part: 1}, nil, old, post, ""},
		"after it":             {channel.Outgoing{To: to, Part: 1}, []string{over}, old, original + " " + post, ""},
		"a follow-up after it": {channel.Outgoing{To: to, Part: 2}, []string{over}, old, follow + " " + post, ""},
		"not known any more":   {channel.Outgoing{To: to, Part: 1}, []string{unknown}, old, original + " " + post, ""},
		"not known yet":        {channel.Outgoing{To: to, Part: 1}, []string{unknown}, madeAt(asked).Add(2 * time.Second), original, "rate_limited not_acknowledged"},
		"and the bot may not":  {channel.Outgoing{To: to, Part: 1}, []string{over, `403 {"code":50001}`}, old, original + " " + post, "refused missing_access"},
		"nor has it a token":   {channel.Outgoing{To: to, Part: 1}, []string{over, `401 {"code":0}`}, old, original + " " + post, "refused http_401 token"},
		"removed by somebody":  {channel.Outgoing{To: to, Part: 1}, []string{`404 {"code":10008}`}, old, original, "refused message_gone"},
		"nobody knows":         {channel.Outgoing{To: to, Part: 1}, []string{`502 x`}, old, original, "ambiguous http_502"},
		"too fast":             {channel.Outgoing{To: to, Part: 1}, []string{`429 {"retry_after":1.2}`}, old, original, "rate_limited ratelimited"},
		"no address":           {channel.Outgoing{To: "x/y", Part: 1}, nil, old, "", "refused address_malformed"},
		"half an address":      {channel.Outgoing{To: room + "/" + asked, Part: 1}, nil, old, "", "refused address_malformed"},
		"an empty token":       {channel.Outgoing{To: room + "/" + asked + "/", Part: 1}, nil, old, "", "refused address_malformed"},
		"a token of a path":    {channel.Outgoing{To: room + "/" + asked + "/../../x?y", Part: 1}, nil, old, "PATCH /webhooks/" + app + "/..%2F..%2Fx%3Fy/messages/@original", ""},
	} {
		a := &api{answers: c.answers, date: c.date}
		s := httptest.NewServer(a)
		c.out.Text, c.out.TurnID = "hello @everyone", "t1"
		id, f := Adapter{}.Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("bot.tok"), Config: config(guild)}, c.out)
		s.Close()
		said := ""
		if f != nil {
			said = string(f.Certainty) + " " + f.Code
			if f.TokenRejected {
				said += " token"
			}
		}
		if said != c.failure || (id == "88") != (f == nil) || strings.Join(a.asked, " ") != c.asked {
			t.Errorf("%s: %q %q by %q", name, id, said, a.asked)
		}
		if strings.Contains(fmt.Sprintf("%+v", f), used) {
			t.Errorf("%s: the failure holds the interaction's token", name)
		}
		for k, path := range a.asked {
			bot := strings.Contains(path, "/channels/")
			if got := a.heads[k].Get("Authorization"); (got == "Bot bot.tok") != bot || !bot && got != "" || !strings.HasPrefix(a.heads[k].Get("User-Agent"), "DiscordBot (https://") {
				t.Errorf("%s: %s with %v", name, path, a.heads[k])
			}
		}
		if len(a.asked) > 0 {
			n, named := a.body["nonce"].(string)
			if fmt.Sprint(a.body["allowed_mentions"]) != "map[parse:[]]" || a.body["flags"] != 4.0 || a.body["content"] != "hello @everyone" ||
				named != strings.Contains(a.asked[len(a.asked)-1], "/channels/") || named && (len(n) > 25 || a.body["enforce_nonce"] != true) {
				t.Errorf("%s: %v", name, a.body)
			}
		}
	}
	names := map[string]bool{}
	for _, out := range []channel.Outgoing{{TurnID: "t1", Part: 1}, {TurnID: "t1", Part: 2}, {TurnID: "t2", Part: 1}, {TurnID: "t1", Part: 1}} {
		names[nonce(out)] = true
	}
	if len(names) != 3 {
		t.Errorf("%d names of three messages", len(names))
	}
}

// TestEdit: a growing answer is edited by the interaction while it lasts, then by the
// bot; one that somebody deleted is told as such.
func TestEdit(t *testing.T) {
	hook := "PATCH /webhooks/" + app + "/" + used + "/messages/88"
	for name, c := range map[string]struct {
		to      string
		answers []string
		asked   string
		failure string
	}{
		"while it lasts": {address{room, asked, used}.String(), nil, hook, ""},
		"after it":       {address{room, asked, used}.String(), []string{over}, hook + " PATCH /channels/" + room + "/messages/88", ""},
		"no interaction": {room, nil, "PATCH /channels/" + room + "/messages/88", ""},
		"deleted":        {address{room, asked, used}.String(), []string{`404 {"code":10008}`}, hook, channel.MessageGone},
		"no address":     {"x", nil, "", "address_malformed"},
	} {
		a := &api{answers: c.answers}
		s := httptest.NewServer(a)
		f := Adapter{}.Edit(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("bot.tok"), Config: config(guild)}, channel.Outgoing{To: c.to, Text: "x"}, "88")
		s.Close()
		if (f == nil) != (c.failure == "") || f != nil && f.Code != c.failure || strings.Join(a.asked, " ") != c.asked {
			t.Errorf("%s: %+v by %q", name, f, a.asked)
		}
	}
	if f := (Adapter{}).Edit(t.Context(), channel.Call{}, channel.Outgoing{To: room}, "../x"); f == nil || f.Certainty != channel.Refused {
		t.Errorf("%+v", f)
	}
}

func TestMillis(t *testing.T) {
	for in, want := range map[json.Number]int64{"": 0, "1": 1000, "0.529": 529, "64.57": 64570, "1.2999999523162842": 1300, "0.0001": 1, "2.000": 2000, "-1": 0, "1e3": 0, "1.5e3": 1000, "99999999999": 0} {
		if got := millis(in); got != want {
			t.Errorf("%s: %d, want %d", in, got, want)
		}
	}
}

// TestSplit: the vendor's own marks are written, and what the text holds of them is
// text.
func TestSplit(t *testing.T) {
	for source, want := range map[string]string{
		"## Head\n\n**b** *i* ~~s~~ `c*d` [docs](https://x.example/a_b)\n\n- one\n\n> said\n\n```go\na*b<@1>\n```": "**Head**\n\n**b** *i* ~~s~~ `c*d` [docs](<https://x.example/a_b>)\n\n• one\n\n> said\n\n```\na*b<@1>\n```",
		"see https://x.example/a_b_c and <@123> or @everyone":                                                      `see <https://x.example/a_b_c> and \<@123\> or @everyone`,
		`\# no \> head \|\|hidden\|\| \[x\](https://evil.example) \*a\* snake_case a\\b`:                           `\# no \> head \|\|hidden\|\| \[x\](<https://evil.example>) \*` + "\u200b" + `a\* snake\_case a\\b`,
		"||spoiler|| <t:1:R> <#44> -# small":                                                                       `\|\|spoiler\|\| \<t:1:R\> \<\#44\> -\# small`,
	} {
		if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != want || got[0].Format == "" {
			t.Errorf("%q:\n%q\n%q", source, got, want)
		}
	}
	if b := body(channel.Outgoing{Text: "a*b <@1>"}); b["content"] != `a\*b \<@1\>` {
		t.Errorf("a text of nobody's: %v", b)
	}
}

func TestEntry(t *testing.T) {
	e := Entry()
	if app, tenant := e.Tenant(config(guild)); app != "1100000000000000001" || tenant != "G:"+guild {
		t.Errorf("%s %s", app, tenant)
	}
	for key, want := range map[string]bool{strings.Repeat("ab", 32): true, strings.Repeat("AB", 32): true, strings.Repeat("ab", 31): false, strings.Repeat("ab", 33): false, strings.Repeat("xy", 32): false, "": false} {
		if publicKey(key) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
	for id, want := range map[string]bool{"1": true, app: true, "0": false, "01": false, "": false, "1a": false, "123456789012345678901": false, "-1": false} {
		if snowflake.MatchString(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	got := e.Setup(channel.SetupInput{CallbackURL: "https://api.example/webhooks/discord/i1", Config: config(guild), SecretsSet: []string{botToken}, State: "active", Bindings: 1,
		DeliveryCodes: []string{string(webhook.Handshake), string(webhook.SigMismatch), string(webhook.Accepted)}})
	for _, c := range got.Checklist {
		if c.Result != channel.Passed && c.Result != channel.Manual {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range e.Setup(channel.SetupInput{DeliveryCodes: []string{string(webhook.TenantMismatch)}}).Checklist {
		if c.Result == channel.Passed || (c.Result == channel.Failed) != (c.ID == "tenant") {
			t.Errorf("%+v", c)
		}
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event.
func FuzzParse(f *testing.F) {
	for _, b := range []string{`{"type":1}`, command("ask", text("text", "hi"), ""), command("ask", fileGiven, recording), interaction(3, "{}"),
		command("a", `{"name":"b","type":2,"options":[{"name":"c","type":1,"options":[{"name":"n","type":6,"value":"41"}]}]}`, `"users":{"41":{"username":"x"}}`)} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config(guild)})
		if err != nil {
			return
		}
		if len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		in := all[0]
		if e := in.Envelope; in.Kind == channel.Message && (e.EventID == "" || e.Space == "" || e.Actor == "" || e.Empty() || !channeltest.Bounded(e) || len(e.ReplyTo) > 2000) {
			t.Fatalf("%+v", in)
		}
		for _, name := range in.Envelope.Addressed {
			if !channel.ValidAddressee(name) {
				t.Fatalf("addressed to %q", name)
			}
		}
	})
}

// FuzzSplit: whatever a model writes, a piece is within the limit.
func FuzzSplit(f *testing.F) {
	f.Add("# a\n**b** `c`\n```\nd")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if n := markdown.Units(p.Text); n == 0 || n > maxText {
				t.Errorf("%d units: %q", n, p.Text)
			}
		}
	})
}

// FuzzAddress: what is read back is what was written.
func FuzzAddress(f *testing.F) {
	f.Add(room + "/" + asked + "/" + used)
	f.Add(hex.EncodeToString([]byte("x")))
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := addressOf(s); ok && a.token != "" && a.String() != s {
			t.Errorf("%q became %q", s, a)
		}
	})
}
