package line

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	bot    = "U000000000000000000000000000000b0"
	other  = "U000000000000000000000000000000b1"
	ada    = "U00000000000000000000000000000ada"
	group  = "C00000000000000000000000000000001"
	room   = "R00000000000000000000000000000001"
	direct = `{"type":"user","userId":"` + ada + `"}`
	inside = `{"type":"group","groupId":"` + group + `","userId":"` + ada + `"}`
	token1 = "8cf9239d56244f4197887e939187e19e"
)

func config(id string) webhook.Config { return webhook.Config{destination: {id}} }

func request(events ...string) string {
	return `{"destination":"` + bot + `","events":[` + strings.Join(events, ",") + `]}`
}

func event(kind, source, more string) string {
	return `{"type":"` + kind + `","mode":"active","timestamp":1772600767123,"webhookEventId":"01J5","deliveryContext":{"isRedelivery":false},"source":` + source + more + `}`
}

func said(source, message string) string {
	return event("message", source, `,"replyToken":"`+token1+`","message":`+message)
}

func text(s string) string {
	b, _ := json.Marshal(s)
	return `{"id":"468789577898262530","type":"text","quoteToken":"q","text":` + string(b) + `}`
}

const recording = `{"id":"325708","type":"audio","duration":60000,"contentProvider":{"type":"line"}}`

func TestAdapter(t *testing.T) {
	ev := func(e string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: request(e), Kind: k, Reason: why}
	}
	refused := func(status int, message, code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"message":"` + message + `"}`, Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	hello := said(direct, text("hi"))
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(bot), Foreign: config(other), To: ada, NoEdits: true,
		Seen: channel.Envelope{Space: ada, Direct: true},
		Sign: `{"chatId":"` + ada + `","loadingSeconds":20}`, SignPath: "/v2/bot/chat/loading/start", SignAnswer: `{}`,
		Events: map[string]channeltest.Event{
			"text":         ev(hello, channel.Message, ""),
			"voice":        ev(said(direct, recording), channel.Message, ""),
			"group":        ev(said(inside, text("hi")), channel.Message, ""),
			"room":         ev(said(`{"type":"room","roomId":"`+room+`","userId":"`+ada+`"}`, text("hi")), channel.Message, ""),
			"no name":      ev(said(`{"type":"group","groupId":"`+group+`"}`, text("hi")), channel.Ignored, channel.EventIgnored),
			"own":          ev(said(`{"type":"group","groupId":"`+group+`","userId":"`+bot+`"}`, text("hi")), channel.Ignored, channel.SelfIgnored),
			"picture":      ev(said(direct, `{"id":"1","type":"image","contentProvider":{"type":"line"}}`), channel.Ignored, channel.EventIgnored),
			"far away":     ev(said(direct, strings.Replace(recording, `"line"`, `"external","originalContentUrl":"https://x.example/a.m4a"`, 1)), channel.Ignored, channel.EventIgnored),
			"standby":      ev(strings.Replace(hello, `"active"`, `"standby"`, 1), channel.Ignored, channel.EventIgnored),
			"taken back":   ev(event("unsend", direct, `,"unsend":{"messageId":"1"}`), channel.Deleted, channel.EditIgnored),
			"blocked":      ev(event("unfollow", direct, ``), channel.Ignored, channel.RevokedByVendor),
			"left":         ev(event("leave", inside, ``), channel.Ignored, channel.RevokedByVendor),
			"follow":       ev(event("follow", direct, `,"replyToken":"x"`), channel.Ignored, channel.EventIgnored),
			"not known":    ev(event("newest", direct, ``), channel.Ignored, channel.EventIgnored),
			"verification": {Body: request(), Kind: channel.Handshake},
		},
		Malformed: map[string]string{
			"no destination": `{"events":[]}`, "no events": `{"destination":"` + bot + `"}`, "events no list": `{"destination":"` + bot + `","events":{}}`,
			"other destination": `{"destination":"somebody","events":[]}`,
			"no event id":       request(strings.Replace(hello, "01J5", "", 1)), "no type": request(strings.Replace(hello, `"type":"message"`, `"type":""`, 1)),
			"no object": request(`"x"`), "no source": request(said(`{}`, text("hi"))), "odd source": request(said(`{"type":"user","userId":"ada"}`, text("hi"))),
			"odd person": request(said(`{"type":"group","groupId":"`+group+`","userId":"ada"}`, text("hi"))), "no message id": request(said(direct, `{"type":"text","text":"x"}`)),
			"too many": request(strings.TrimSuffix(strings.Repeat(hello+",", 1001), ",")),
		},
		Posted: `{"sentMessages":[{"id":"461230966842064897","quoteToken":"q"}]}`, PostedID: "461230966842064897",
		Answers: map[string]channeltest.Answer{
			"token":           refused(401, "Authentication failed. Confirm that the access token in the authorization header is valid.", "http_401", true),
			"malformed":       refused(400, "The request body has 1 error(s)", "http_400", false),
			"not reached":     refused(400, "Failed to send messages", "undeliverable", false),
			"monthly":         refused(429, "You have reached your monthly limit.", "monthly_limit", false),
			"forbidden":       refused(403, "Not authorized to use this endpoint", "http_403", false),
			"rate":            {Status: 429, Body: `{"message":"The API rate limit has been exceeded. Try again later."}`, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 30 * time.Second}},
			"no id":           {Status: 200, Body: `{}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
			"taken, no id":    {Status: 409, Body: `{"message":"The retry key is already accepted"}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "taken_before"}},
			"500 with a word": {Status: 500, Body: `{"message":"Invalid reply token"}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		},
	})
}

// TestEnvelopes: where a message came from, whom it names, and how it is answered.
func TestEnvelopes(t *testing.T) {
	mention := func(body, mentionees string) string {
		return strings.TrimSuffix(text(body), "}") + `,"mention":{"mentionees":[` + mentionees + `]}}`
	}
	all, err := Adapter{}.Parse(webhook.Input{Config: config(bot), Body: []byte(request(
		said(direct, text("sales: hi")), said(inside, mention("@Helper sales now", `{"index":0,"length":7,"type":"user","userId":"`+bot+`","isSelf":true}`)),
		said(inside, mention("😀 @Helper you", `{"index":3,"length":7,"type":"user","isSelf":true}`)), said(inside, mention("@All hi", `{"index":0,"length":4,"type":"all"}`)),
		said(inside, mention("@Helper hi", `{"index":0,"length":4000,"type":"user","isSelf":true}`)), said(direct, recording)))})
	if err != nil || len(all) != 6 {
		t.Fatalf("%d %v", len(all), err)
	}
	at := time.UnixMilli(1772600767123).UTC()
	alone := channel.Envelope{Provider: "line", Account: bot, EventID: "01J5", Space: ada, Direct: true, Actor: ada, Message: "468789577898262530", ReplyTo: ada + "/" + token1, SentAt: at}
	among := alone
	among.Space, among.Direct, among.ReplyTo = group, false, group+"/"+token1
	a, b, c, d, e, f := alone, among, among, among, among, alone
	a.Text, a.Addressed = "sales: hi", []string{"sales"}
	b.Text, b.Mention, b.Addressed = "sales now", true, []string{"sales"}
	c.Text, c.Mention = "😀 @Helper you", true
	d.Text = "@All hi"
	e.Text, e.Mention = "@Helper hi", true
	f.Message, f.Media = "325708", []channel.Attachment{{ID: "325708", Kind: channel.VoiceNote, MIME: "audio/mp4", Millis: 60000}}
	for k, want := range []channel.Envelope{a, b, c, d, e, f} {
		if got := all[k].Envelope; !reflect.DeepEqual(got, want) {
			t.Errorf("%d:\n%+v\n%+v", k, got, want)
		}
	}
}

// api is the Messaging API's side of a send.
type api struct {
	paths, keys []string
	body        map[string]any
	reply       func(w http.ResponseWriter)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	a.body = nil
	_ = json.Unmarshal(b, &a.body)
	a.paths, a.keys = append(a.paths, r.URL.Path), append(a.keys, r.Header.Get("X-Line-Retry-Key"))
	if strings.HasSuffix(r.URL.Path, "/reply") && a.reply != nil {
		a.reply(w)
		return
	}
	_, _ = io.WriteString(w, `{"sentMessages":[{"id":"88"}]}`)
}

// TestSend: the first message uses the reply token, and is pushed only where LINE
// certainly refused that; each push has a name of its own.
func TestSend(t *testing.T) {
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	for name, c := range map[string]struct {
		out   channel.Outgoing
		reply func(http.ResponseWriter)
		paths string
		id    string
	}{
		"reply":           {channel.Outgoing{To: ada + "/" + token1, Part: 1}, nil, "/v2/bot/message/reply", "88"},
		"second part":     {channel.Outgoing{To: ada + "/" + token1, Part: 2}, nil, "/v2/bot/message/push", "88"},
		"no token":        {channel.Outgoing{To: group, Part: 1}, nil, "/v2/bot/message/push", "88"},
		"token too old":   {channel.Outgoing{To: ada + "/" + token1, Part: 1}, answer(400, `{"message":"Invalid reply token"}`), "/v2/bot/message/reply /v2/bot/message/push", "88"},
		"nobody knows":    {channel.Outgoing{To: ada + "/" + token1, Part: 1}, answer(500, `{"message":"Invalid reply token"}`), "/v2/bot/message/reply", ""},
		"refused":         {channel.Outgoing{To: ada + "/" + token1, Part: 1}, answer(400, `{"message":"The request body has 1 error(s)"}`), "/v2/bot/message/reply", ""},
		"over the rate":   {channel.Outgoing{To: ada + "/" + token1, Part: 1}, answer(429, `{}`), "/v2/bot/message/reply", ""},
		"taken before":    {channel.Outgoing{To: ada + "/" + token1, Part: 1}, answer(409, `{"message":"x","sentMessages":[{"id":"77"}]}`), "/v2/bot/message/reply", "77"},
		"not LINE's chat": {channel.Outgoing{To: "42", Part: 1}, nil, "", ""},
	} {
		a := &api{reply: c.reply}
		s := httptest.NewServer(a)
		c.out.Text, c.out.TurnID = "hello", "t1"
		id, f := Adapter{}.Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("tok")}, c.out)
		s.Close()
		if id != c.id || (f == nil) != (c.id != "") || strings.Join(a.paths, " ") != c.paths {
			t.Errorf("%s: %q %+v by %q", name, id, f, a.paths)
		}
		for k, path := range a.paths {
			if push := strings.HasSuffix(path, "/push"); push != regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(a.keys[k]) || !push && a.keys[k] != "" {
				t.Errorf("%s: %s with the key %q", name, path, a.keys[k])
			}
		}
	}
	keys := map[string]bool{}
	for _, out := range []channel.Outgoing{{TurnID: "t1", Part: 1}, {TurnID: "t1", Part: 2}, {TurnID: "t2", Part: 1}, {TurnID: "t1", Part: 1}} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		retryable(out)(r, "tok")
		keys[r.Header.Get("X-Line-Retry-Key")] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d keys of three messages", len(keys))
	}
}

func TestSplit(t *testing.T) {
	source := "## Head\n\n**b** *i* `c` [docs](https://x.example/a)\n\n- one\n\n```go\nx\n```"
	if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != "Head\n\nb i c docs (https://x.example/a)\n\n• one\n\nx" || got[0].Format != "" {
		t.Errorf("%q", got)
	}
	for _, p := range (Adapter{}).Split(strings.Repeat("word 😀 ", 3000)) {
		if n := len(utf16.Encode([]rune(p.Text))); n > maxText || n < 1000 {
			t.Errorf("a part has %d units", n)
		}
	}
}

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: config(bot), Attachment: channel.Attachment{ID: "325708", Kind: channel.VoiceNote},
		Where: "/v2/bot/message/325708/content"})
	for _, id := range []string{"", "../x", "1/2", "a"} {
		if _, f := (Adapter{}).Fetch(t.Context(), channel.Call{DataURL: "http://127.0.0.1:1"}, channel.Attachment{ID: id}); f == nil || f.Code != channel.MediaRefused {
			t.Errorf("%q: %+v", id, f)
		}
	}
}

func TestTypingInGroups(t *testing.T) {
	if _, ok := (Adapter{}).Typing(t.Context(), channel.Call{}, channel.Envelope{Space: group}); ok {
		t.Error("LINE has no sign for groups")
	}
}

func TestSetup(t *testing.T) {
	open := setup(channel.SetupInput{CallbackURL: "https://x/webhooks/line/i1"})
	done := setup(channel.SetupInput{State: "active", Config: config(bot), Bindings: 1, SecretsSet: []string{channelSecret, accessToken},
		DeliveryCodes: []string{string(webhook.Handshake), string(webhook.SigMismatch), string(webhook.Accepted)}})
	if len(open.Steps) < 5 || open.CallbackURLs[0] != "https://x/webhooks/line/i1" {
		t.Fatalf("%+v", open)
	}
	for k, c := range done.Checklist {
		if before := open.Checklist[k].Result; c.Result != channel.Passed && c.Result != channel.Manual || before == channel.Passed && c.ID != "tenant" {
			t.Errorf("%s: %s, before %s", c.ID, c.Result, before)
		}
	}
	for _, c := range setup(channel.SetupInput{DeliveryCodes: []string{string(webhook.TenantMismatch)}}).Checklist {
		if c.ID == "tenant" && c.Result != channel.Failed {
			t.Errorf("%+v", c)
		}
	}
}

// FuzzParse: whatever comes, it is refused or gives bounded events.
func FuzzParse(f *testing.F) {
	for _, b := range []string{request(), request(said(direct, text("hi"))), request(said(inside, recording)), request(event("leave", inside, "")),
		request(said(inside, `{"id":"1","type":"text","text":"@a b","mention":{"mentionees":[{"index":0,"length":2,"isSelf":true}]}}`))} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config(bot)})
		if err == nil && (len(all) == 0 || len(all) > maxEvents) {
			t.Fatalf("%d events", len(all))
		}
		for _, e := range all {
			if e.Kind == channel.Message && (e.Envelope.EventID == "" || e.Envelope.Space == "" || e.Envelope.Actor == "" || e.Envelope.Empty() || !channeltest.Bounded(e.Envelope)) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// FuzzSplit: whatever a model writes, a piece is within the limit.
func FuzzSplit(f *testing.F) {
	f.Add("# a\n**b** `c`\n```\nd")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if n := len(utf16.Encode([]rune(p.Text))); n == 0 || n > maxText {
				t.Errorf("%d units: %q", n, p.Text)
			}
		}
	})
}
