package telegram

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

func config() webhook.Config {
	return webhook.Config{botID: {"7000001"}, botUsername: {"Helper_bot"}}
}

// update wraps a message as core.telegram.org/bots/api#update shows it.
func update(message string) string { return `{"update_id":901,"message":` + message + `}` }

const (
	ada     = `"from":{"id":42,"is_bot":false,"first_name":"Ada","language_code":"en"}`
	private = `"chat":{"id":42,"first_name":"Ada","type":"private"}`
	group   = `"chat":{"id":-1001234567890,"title":"Room","type":"supergroup"}`
)

func said(from, chat, rest string) string {
	return update(`{"message_id":7,` + from + `,` + chat + `,"date":1772600767` + rest + `}`)
}

func TestAdapter(t *testing.T) {
	event := func(body string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: body, Kind: k, Reason: why}
	}
	failed := func(status int, body string, f channel.Failure) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: body, Failure: f}
	}
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(), To: "-1001234567890", Thread: "5",
		Seen: channel.Envelope{Space: "-100", Thread: "5", Message: "7"},
		Sign: `{"action":"typing","chat_id":-100,"message_thread_id":5}`, SignPath: "/botcanary-token-0123456789/sendChatAction", SignAnswer: `{"ok":true,"result":true}`,
		Events: map[string]channeltest.Event{
			"private":       event(said(ada, private, `,"text":"hi"`), channel.Message, ""),
			"room":          event(said(ada, group, `,"text":"hi"`), channel.Message, ""),
			"caption":       event(said(ada, group, `,"photo":[],"caption":"look"`), channel.Message, ""),
			"picture alone": event(said(ada, group, `,"photo":[{"file_id":"x"}]`), channel.Ignored, channel.EventIgnored),
			"voice note":    event(said(ada, private, `,"voice":{"file_id":"f1","duration":3,"mime_type":"audio/ogg","file_size":9}`), channel.Message, ""),
			"bot":           event(said(`"from":{"id":43,"is_bot":true,"first_name":"B"}`, group, `,"text":"hi"`), channel.Ignored, channel.BotIgnored),
			"via a bot":     event(said(ada, group, `,"via_bot":{"id":44,"is_bot":true},"text":"hi"`), channel.Ignored, channel.BotIgnored),
			"self":          event(said(`"from":{"id":7000001,"is_bot":true,"first_name":"H"}`, group, `,"text":"hi"`), channel.Ignored, channel.SelfIgnored),
			"channel post":  event(`{"update_id":902,"channel_post":{"message_id":1}}`, channel.Ignored, channel.EventIgnored),
			"edit":          event(strings.Replace(said(ada, private, `,"text":"hi","edit_date":1772600768`), `"message"`, `"edited_message"`, 1), channel.Edited, channel.EditIgnored),
			"blocked":       event(`{"update_id":903,"my_chat_member":{`+private+`,`+ada+`,"date":1,"new_chat_member":{"status":"kicked"}}}`, channel.Ignored, channel.RevokedByVendor),
			"joined":        event(`{"update_id":904,"my_chat_member":{`+group+`,`+ada+`,"date":1,"new_chat_member":{"status":"member"}}}`, channel.Ignored, channel.EventIgnored),
		},
		Malformed: map[string]string{
			"no id": `{"message":{}}`, "id as text": `{"update_id":"1"}`, "half an id": `{"update_id":1.5}`, "no chat": said(ada, `"chat":{}`, `,"text":"x"`),
			"no message id": update(`{"chat":{"id":1},"text":"x"}`), "topic without id": said(ada, group, `,"is_topic_message":true,"text":"x"`),
		},
		Posted: `{"ok":true,"result":{"message_id":88,"date":1,"chat":{"id":1}}}`, PostedID: "88",
		Answers: map[string]channeltest.Answer{
			"flood":       failed(429, `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 14","parameters":{"retry_after":14}}`, channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 14 * time.Second}),
			"revoked":     failed(401, `{"ok":false,"error_code":401,"description":"Unauthorized"}`, channel.Failure{Certainty: channel.Refused, Code: "unauthorized", TokenRejected: true}),
			"no such bot": failed(404, `{"ok":false,"error_code":404,"description":"Not Found"}`, channel.Failure{Certainty: channel.Refused, Code: "unauthorized", TokenRejected: true}),
			"blocked":     failed(403, `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`, channel.Failure{Certainty: channel.Refused, Code: "forbidden"}),
			"bad request": failed(400, `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`, channel.Failure{Certainty: channel.Refused, Code: "http_400"}),
			"no id":       failed(200, `{"ok":true,"result":{}}`, channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}),
			"not ok":      failed(200, `{"ok":false}`, channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}),
		},
	})
}

// TestEnvelope: what is said to whom, by entities whose offsets count UTF-16.
func TestEnvelope(t *testing.T) {
	entity := func(text, of, kind, more string) string {
		at := len(utf16.Encode([]rune(text[:strings.Index(text, of)])))
		b, _ := json.Marshal(at)
		n, _ := json.Marshal(len(utf16.Encode([]rune(of))))
		return `{"offset":` + string(b) + `,"length":` + string(n) + `,"type":"` + kind + `"` + more + `}`
	}
	with := func(chat, text string, entities ...string) string {
		b, _ := json.Marshal(text)
		return said(ada, chat, `,"text":`+string(b)+`,"entities":[`+strings.Join(entities, ",")+`]`)
	}
	type want struct {
		text      string
		mention   bool
		addressed []string
	}
	for name, c := range map[string]struct {
		body string
		want
	}{
		"plain in a room":      {with(group, "sales hello"), want{"sales hello", false, nil}},
		"plain in private":     {with(private, "sales: hello"), want{"sales: hello", false, []string{"sales"}}},
		"mention first":        {with(group, "@helper_bot sales: hi", entity("@helper_bot sales: hi", "@helper_bot", "mention", "")), want{"sales: hi", true, []string{"sales"}}},
		"mention after emoji":  {with(group, "😀 @Helper_bot go", entity("😀 @Helper_bot go", "@Helper_bot", "mention", "")), want{"😀 @Helper_bot go", true, nil}},
		"other bot":            {with(group, "@other_bot hi", entity("@other_bot hi", "@other_bot", "mention", "")), want{"@other_bot hi", false, nil}},
		"by id":                {with(group, "Helper hi", entity("Helper hi", "Helper", "text_mention", `,"user":{"id":7000001,"is_bot":true}`)), want{"hi", true, []string{"hi"}}},
		"command":              {with(group, "/sales now", entity("/sales now", "/sales", "bot_command", "")), want{"/sales now", false, []string{"sales"}}},
		"command for us":       {with(group, "/Sales@Helper_bot now", entity("/Sales@Helper_bot now", "/Sales@Helper_bot", "bot_command", "")), want{"/Sales now", true, []string{"sales"}}},
		"command for others":   {with(group, "/sales@other_bot now", entity("/sales@other_bot now", "/sales@other_bot", "bot_command", "")), want{"/sales@other_bot now", false, nil}},
		"entity out of bounds": {with(group, "hi", `{"offset":1,"length":9,"type":"mention"}`, `{"offset":-1,"length":1,"type":"mention"}`), want{"hi", false, nil}},
		"answer to the bot":    {said(ada, group, `,"text":"yes","reply_to_message":{"from":{"id":7000001,"is_bot":true}}`), want{"yes", true, []string{"yes"}}},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(c.body), Config: config()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := all[0].Envelope
		if got := (want{e.Text, e.Mention, e.Addressed}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	topic, err := Adapter{}.Parse(webhook.Input{Body: []byte(said(ada, group, `,"is_topic_message":true,"message_thread_id":5,"text":"hi"`)), Config: config()})
	want2 := channel.Envelope{Provider: "telegram", EventID: "901", Space: "-1001234567890", Thread: "5", Message: "7", Actor: "42", Text: "hi", SentAt: time.Unix(1772600767, 0).UTC()}
	if err != nil || !reflect.DeepEqual(topic[0].Envelope, want2) {
		t.Errorf("%+v %v", topic, err)
	}
}

// TestSend: the token is in the path and nowhere else; text stays text.
func TestSend(t *testing.T) {
	var path string
	var body map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		if r.Header.Get("Authorization") != "" {
			t.Error("the token is in a header")
		}
		_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":88}}`)
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("7000001:AA-b_c"), Config: config()}
	id, f := Adapter{}.Send(t.Context(), c, channel.Outgoing{To: "-100", Thread: "5", Text: "*a* <b>", TurnID: "t", Part: 1})
	if f != nil || id != "88" || path != "/bot7000001:AA-b_c/sendMessage" || body["chat_id"] != float64(-100) || body["message_thread_id"] != float64(5) ||
		body["text"] != "*a* <b>" || body["parse_mode"] != nil {
		t.Fatalf("%q %+v %s %v", id, f, path, body)
	}
	for _, bad := range []string{"7/../x", "7?x", "7#x", "7%2f"} {
		c.Token = secret.FromString(bad)
		if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "1", Text: "x"}); f == nil || !f.TokenRejected {
			t.Errorf("token %s: %+v", bad, f)
		}
	}
	c.Token = secret.FromString("7:a")
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "@name", Text: "x"}); f == nil || f.Code != "chat_malformed" {
		t.Errorf("%+v", f)
	}
}

// checkPiece holds what Telegram wants of entities, and its limits.
func checkPiece(t *testing.T, p channel.Piece) {
	t.Helper()
	units := utf16.Encode([]rune(p.Text))
	if len(units) == 0 || len(units) > 4096 || strings.TrimSpace(p.Text) != p.Text && !strings.Contains(p.Format, `"pre"`) {
		t.Errorf("a piece of %d units: %.80q", len(units), p.Text)
	}
	if p.Format == "" {
		return
	}
	var entities []entity
	if err := json.Unmarshal([]byte(p.Format), &entities); err != nil || len(entities) == 0 || len(entities) > 100 {
		t.Fatalf("%v: %s", err, p.Format)
	}
	low := func(u uint16) bool { return u >= 0xDC00 && u < 0xE000 }
	for i, e := range entities {
		if e.Length < 1 || e.Offset < 0 || e.Offset+e.Length > len(units) || low(units[e.Offset]) || e.Offset+e.Length < len(units) && low(units[e.Offset+e.Length]) {
			t.Fatalf("%+v in %d units", e, len(units))
		}
		for _, o := range entities[:i] {
			apart := o.Offset+o.Length <= e.Offset || e.Offset+e.Length <= o.Offset
			within := o.Offset <= e.Offset && e.Offset+e.Length <= o.Offset+o.Length
			if !apart && (!within || o.Type == "code" || o.Type == "pre" || e.Type == "pre" || e.Type == "blockquote") {
				t.Fatalf("%+v and %+v", o, e)
			}
		}
	}
}

// TestSplit: text and what it is shown with, offsets in UTF-16.
func TestSplit(t *testing.T) {
	got := Adapter{}.Split("# 😀 Head\n\n***b*** `c` [d](https://x.example/a)\n\n```go\nx\n```\n\n> q **r**\n\n<b>@all</b> _s_")
	want := []channel.Piece{{Text: "😀 Head\n\nb c d\n\nx\n\nq r\n\n<b>@all</b> s",
		Format: `[{"type":"bold","offset":0,"length":7},{"type":"bold","offset":9,"length":1},{"type":"italic","offset":9,"length":1},{"type":"code","offset":11,"length":1},` +
			`{"type":"text_link","offset":13,"length":1,"url":"https://x.example/a"},{"type":"pre","offset":16,"length":1,"language":"go"},` +
			`{"type":"blockquote","offset":19,"length":3},{"type":"bold","offset":21,"length":1},{"type":"italic","offset":36,"length":1}]`}}
	want[0].Plain = want[0].Text
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for name, source := range map[string]string{
		"long": strings.Repeat("word 😀 ", 3000), "many entities": strings.Repeat("**a** b ", 400), "code": "```\n" + strings.Repeat("  x 😀\n", 3000) + "```",
		"addresses": strings.Repeat("[a](https://x.example/"+strings.Repeat("b", 1000)+") ", 100), "quote": "> " + strings.Repeat("a **b** `c`\n", 400),
	} {
		pieces := Adapter{}.Split(source)
		for _, p := range pieces {
			checkPiece(t, p)
			if len(p.Format) > 9000 {
				t.Errorf("%s: a note of %d bytes", name, len(p.Format))
			}
		}
		if len(pieces) < 4 {
			t.Errorf("%s: %d pieces", name, len(pieces))
		}
	}
}

// FuzzSplit: whatever a model writes, Telegram takes its form.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"> a **b** ```\nc\n```", "***a*b**c*", "- 😀 [a](https://b.example)\n  > `c`\n", "| a |\n|---|\n| b |", "> - ```\n>   x\n>   ```\n> y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			checkPiece(t, p)
		}
	})
}

// TestRefusedEntities: the answer goes out without its formatting, once, and only
// if that is what was refused.
func TestRefusedEntities(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		bodies int
		code   string
	}{
		"entities": {`{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: x"}`, 2, ""},
		"too long": {`{"ok":false,"error_code":400,"description":"Bad Request: ENTITIES_TOO_LONG"}`, 2, ""},
		"chat":     {`{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`, 1, "http_400"},
	} {
		var bodies []map[string]any
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body map[string]any
			_ = json.NewDecoder(r.Body).Decode(&body)
			if bodies = append(bodies, body); len(bodies) == 1 {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, c.answer)
				return
			}
			_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":88}}`)
		}))
		call := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("7:a"), Config: config()}
		_, f := Adapter{}.Send(t.Context(), call, channel.Outgoing{To: "1", Text: "x", Format: `[{"type":"bold","offset":0,"length":1}]`})
		s.Close()
		if len(bodies) != c.bodies || (f == nil) != (c.code == "") || f != nil && f.Code != c.code || bodies[0]["entities"] == nil || len(bodies) > 1 && bodies[1]["entities"] != nil {
			t.Errorf("%s: %+v after %v", name, f, bodies)
		}
	}
}

func TestTold(t *testing.T) {
	for token, want := range map[string]string{"7000001:AA": "7000001", "no colon": "", ":AA": "", "0123:x": "", "": ""} {
		if got := told(map[string]secret.Text{botToken: secret.FromString(token)}).Get(botID); got != want {
			t.Errorf("%q: %q", token, got)
		}
	}
	if got := told(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestSetup(t *testing.T) {
	open := setup(channel.SetupInput{CallbackURL: "https://x/webhooks/telegram/i1"})
	if open.Manifest["url"] != "https://x/webhooks/telegram/i1" || len(open.Steps) < 5 || open.IdentityNote == "" {
		t.Fatalf("%+v", open)
	}
	done := setup(channel.SetupInput{State: "active", Config: config(), Bindings: 1, SecretsSet: []string{secretToken, botToken},
		DeliveryCodes: []string{string(webhook.SigMismatch), string(webhook.Accepted)}})
	for k, c := range done.Checklist {
		if before := open.Checklist[k].Result; c.Result != channel.Passed && c.Result != channel.Manual || before == channel.Passed {
			t.Errorf("%s: %s, before %s", c.ID, c.Result, before)
		}
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event.
func FuzzParse(f *testing.F) {
	for _, b := range []string{said(ada, group, `,"text":"@helper_bot hi","entities":[{"offset":0,"length":11,"type":"mention"}]`), said(ada, private, `,"text":"/a@helper_bot","entities":[{"offset":0,"length":13,"type":"bot_command"}]`), `{"update_id":1}`,
		said(ada, private, `,"voice":{"file_id":"f1","duration":3,"mime_type":"audio/ogg","file_size":9},"caption":"x"`)} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config()})
		if err != nil {
			return
		}
		if len(all) != 1 || all[0].Envelope.EventID == "" || len(all[0].Envelope.Text) > 2*len(b)+8 {
			t.Errorf("%+v", all)
		}
		if e := all[0]; e.Kind == channel.Message && (e.Envelope.Space == "" || e.Envelope.Actor == "" || e.Envelope.Empty() || e.Envelope.IsBot || !channeltest.Bounded(e.Envelope)) {
			t.Errorf("%+v", e)
		}
	})
}
