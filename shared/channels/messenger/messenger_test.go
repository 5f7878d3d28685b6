package messenger

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
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	page   = "682498302938465"
	other  = "682498302938466"
	person = "4915112345678"
)

func config(id string) webhook.Config { return webhook.Config{pageID: {id}} }

// notification wraps events of one page as Meta does.
func notification(events ...string) string {
	return `{"object":"page","entry":[` + entry(page, events...) + `]}`
}

func entry(id string, events ...string) string {
	return `{"id":"` + id + `","time":1772600767200,"messaging":[` + strings.Join(events, ",") + `]}`
}

// event is something of a person to the page.
func event(rest string) string {
	return `{"sender":{"id":"` + person + `"},"recipient":{"id":"` + page + `"},"timestamp":1772600767123` + rest + `}`
}

func said(rest string) string { return event(`,"message":{"mid":"m_1"` + rest + `}`) }

const (
	recording = `,"attachments":[{"type":"audio","payload":{"url":"https://cdn.fbsbx.com/v/t59/x.mp4/audioclip-1.mp4?oh=1&oe=2"}}]`
	echo      = `{"sender":{"id":"` + page + `"},"recipient":{"id":"` + person + `"},"timestamp":1,"message":{"mid":"m_9","is_echo":true,"app_id":1517776481860111,"text":"said by the page"}}`
)

func TestAdapter(t *testing.T) {
	ev := func(e string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: notification(e), Kind: k, Reason: why}
	}
	failed := func(status int, code string, c channel.Certainty, word string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"error":{"message":"x","type":"OAuthException","code":` + code + `,"fbtrace_id":"A"}}`,
			Failure: channel.Failure{Certainty: c, Code: word, TokenRejected: token}}
	}
	limited := func(code string) channeltest.Answer {
		a := failed(400, code, channel.RateLimited, "ratelimited", false)
		a.Failure.RetryAfter = 30 * time.Second
		return a
	}
	hello := said(`,"text":"hi"`)
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(page), Foreign: config(other), To: person,
		Seen: channel.Envelope{Space: person, Message: "m_1"},
		Sign: `{"recipient":{"id":"` + person + `"},"sender_action":"typing_on"}`, SignPath: "/" + page + "/messages", SignAnswer: `{"recipient_id":"` + person + `"}`,
		Events: map[string]channeltest.Event{
			"text":            ev(hello, channel.Message, ""),
			"quick reply":     ev(said(`,"text":"Red","quick_reply":{"payload":"COLOUR_1"}`), channel.Message, ""),
			"postback":        ev(event(`,"postback":{"mid":"m_2","title":"Get started","payload":"GO"}`), channel.Message, ""),
			"no mid":          ev(event(`,"postback":{"title":"Get started","payload":"GO"}`), channel.Message, ""),
			"no title":        ev(event(`,"postback":{"mid":"m_2","payload":"GO"}`), channel.Ignored, channel.EventIgnored),
			"voice":           ev(said(recording), channel.Message, ""),
			"sticker":         ev(said(`,"attachments":[{"type":"image","payload":{"url":"https://scontent.xx.fbcdn.net/s.png","sticker_id":369239263222822}}]`), channel.Ignored, channel.EventIgnored),
			"captioned":       ev(said(`,"text":"What is this?","attachments":[{"type":"image","payload":{"url":"https://scontent.xx.fbcdn.net/s.png"}}]`), channel.Message, ""),
			"new sticker":     ev(said(`,"attachments":[{"type":"sticker","payload":{"sticker_id":"1"}}]`), channel.Ignored, channel.EventIgnored),
			"voice nowhere":   ev(said(`,"attachments":[{"type":"audio","payload":{}}]`), channel.Ignored, channel.EventIgnored),
			"edit":            ev(event(`,"message_edit":{"mid":"m_1","text":"hello","num_edit":2}`), channel.Edited, channel.EditIgnored),
			"edit of nothing": ev(event(`,"message_edit":{"text":"x"}`), channel.Ignored, channel.EventIgnored),
			"taken back":      ev(said(`,"is_deleted":true`), channel.Deleted, channel.EditIgnored),
			"echo":            ev(echo, channel.Ignored, channel.SelfIgnored),
			"older echo":      ev(said(`,"is_echo":true,"text":"said by the page"`), channel.Ignored, channel.SelfIgnored),
			"self":            ev(strings.Replace(hello, person, page, 1), channel.Ignored, channel.SelfIgnored),
			"read":            ev(event(`,"read":{"watermark":1772600767000}`), channel.Ignored, channel.EventIgnored),
			"delivery":        ev(event(`,"delivery":{"mids":["m_9"],"watermark":1772600767000}`), channel.Ignored, channel.EventIgnored),
			"reaction":        ev(event(`,"reaction":{"reaction":"love","action":"react","mid":"m_9"}`), channel.Ignored, channel.EventIgnored),
			"handed over":     ev(event(`,"pass_thread_control":{"new_owner_app_id":"1"}`), channel.Ignored, channel.EventIgnored),
			"referral":        ev(event(`,"referral":{"ref":"x","source":"SHORTLINK"}`), channel.Ignored, channel.EventIgnored),
			"blocked":         ev(`{"recipient":{"id":"`+page+`"},"timestamp":1,"policy_enforcement":{"action":"block","reason":"x"}}`, channel.Ignored, channel.RevokedByVendor),
			"warned":          ev(`{"recipient":{"id":"`+page+`"},"timestamp":1,"policy_enforcement":{"action":"warning","reason":"x"}}`, channel.Ignored, channel.EventIgnored),
			"standby":         {Body: `{"object":"page","entry":[{"id":"` + page + `","time":1,"standby":[` + hello + `]}]}`, Kind: channel.Ignored, Reason: channel.EventIgnored},
			"comment":         {Body: `{"object":"page","entry":[{"id":"` + page + `","time":1,"changes":[{"field":"feed","value":{"item":"comment"}}]}]}`, Kind: channel.Ignored, Reason: channel.EventIgnored},
		},
		Malformed: map[string]string{
			"other object": strings.Replace(notification(hello), `"page"`, `"instagram"`, 1), "no entry": `{"object":"page","entry":[]}`,
			"no page":    strings.Replace(notification(hello), `"id":"`+page+`","time"`, `"time"`, 1),
			"no message": notification(event(`,"message":{"text":"x"}`)), "no sender": notification(strings.Replace(hello, person, "", 1)),
			"wrong sender":    notification(strings.Replace(hello, person, "ada", 1)),
			"press of nobody": notification(strings.Replace(event(`,"postback":{"mid":"m_2","title":"x"}`), person, "", 1)),
			"too many":        notification(strings.TrimSuffix(strings.Repeat(hello+",", 1001), ",")),
		},
		Posted: `{"recipient_id":"` + person + `","message_id":"m_88"}`, PostedID: "m_88",
		Answers: map[string]channeltest.Answer{
			"token":         failed(401, "190", channel.Refused, meta.TokenRefused, true),
			"token in 400":  failed(400, `190,"error_subcode":463`, channel.Refused, meta.TokenRefused, true),
			"too late":      failed(400, `10,"error_subcode":2018278`, channel.Refused, "window_closed", false),
			"too late too":  failed(400, `10,"error_subcode":2018065`, channel.Refused, "window_closed", false),
			"permission":    failed(403, `10,"error_subcode":1`, channel.Refused, "permission_missing", false),
			"not allowed":   failed(403, "230", channel.Refused, "permission_missing", false),
			"not there":     failed(400, `551,"error_subcode":1545041`, channel.Refused, "undeliverable", false),
			"nobody":        failed(400, `100,"error_subcode":2018001`, channel.Refused, "recipient_unknown", false),
			"policy":        failed(400, "368", channel.Refused, "policy_violation", false),
			"unknown":       failed(400, "100", channel.Refused, "error_100", false),
			"their fault":   failed(500, "1200", channel.Ambiguous, "error_1200", false),
			"sent, maybe":   failed(400, `1,"error_subcode":1357046`, channel.Ambiguous, "error_1", false),
			"500 with 100":  failed(500, "100", channel.Ambiguous, "http_500", false),
			"app limit":     limited("4"),
			"page limit":    limited("32"),
			"send limit":    limited("613"),
			"account limit": limited("80006"),
			"no id":         {Status: 200, Body: `{"recipient_id":"1"}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
		},
	})
}

// TestEnvelopes: pages and their events keep their order; what is said is read as the
// person saw it.
func TestEnvelopes(t *testing.T) {
	body := `{"object":"page","entry":[` + entry(page, said(`,"text":"sales: hello"`), event(`,"postback":{"mid":"m_2","title":"Blue","payload":"P"}`), event(`,"postback":{"title":"Red"}`)) +
		`,` + entry(other, strings.Replace(said(recording), page, other, 1)) + `]}`
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body), Config: config(page)})
	if err != nil || len(all) != 4 {
		t.Fatalf("%d %v", len(all), err)
	}
	base := channel.Envelope{Provider: "messenger", Account: page, Space: person, Actor: person, Direct: true, SentAt: time.UnixMilli(1772600767123).UTC()}
	a, b, c, d := base, base, base, base
	a.EventID, a.Message, a.Text, a.Addressed = "m_1", "m_1", "sales: hello", []string{"sales"}
	b.EventID, b.Message, b.Text, b.Addressed = "m_2", "m_2", "Blue", []string{"blue"}
	c.EventID, c.Text, c.Addressed = "postback."+person+".1772600767123", "Red", []string{"red"}
	d.EventID, d.Message, d.Account = "m_1", "m_1", other
	d.Media = []channel.Attachment{{ID: "https://cdn.fbsbx.com/v/t59/x.mp4/audioclip-1.mp4?oh=1&oe=2", Kind: channel.VoiceNote}}
	for k, want := range []channel.Envelope{a, b, c, d} {
		if !reflect.DeepEqual(all[k].Envelope, want) {
			t.Errorf("%d:\n%+v\n%+v", k, all[k].Envelope, want)
		}
	}
	if Entry().Shared.Locate(all[0].Identity) != "G:"+page || Entry().Shared.Locate(all[3].Identity) != "G:"+other {
		t.Errorf("%v %v", all[0].Identity, all[3].Identity)
	}
}

// TestTwoPages: an event in the entry of one page with another as its recipient is
// nobody's, neither of an install nor of a platform app's tenant.
func TestTwoPages(t *testing.T) {
	for _, body := range []string{notification(strings.Replace(said(`,"text":"hi"`), page, other, 1)), strings.Replace(notification(said(`,"text":"hi"`)), page, other, 1)} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body), Config: config(page)})
		if err != nil || len(all) != 1 || all[0].Kind != channel.Ignored {
			t.Fatalf("%+v %v", all, err)
		}
		for _, id := range []string{page, other} {
			if Entry().SameTenant(config(id), all[0].Identity) {
				t.Errorf("%v is of %s", all[0].Identity, id)
			}
		}
		if tenant := Entry().Shared.Locate(all[0].Identity); tenant != "" {
			t.Errorf("located %q", tenant)
		}
	}
}

// graph is the API's side of a send.
type graph struct {
	path, auth, query string
	body              map[string]any
	form              map[string]string
	file, kind        string
}

func (g *graph) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.path, g.auth, g.query, g.body, g.form, g.file = r.URL.Path, r.Header.Get("Authorization"), r.URL.RawQuery, nil, map[string]string{}, ""
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		_ = r.ParseMultipartForm(1 << 20)
		for k, v := range r.MultipartForm.Value {
			g.form[k] = v[0]
		}
		f, head, err := r.FormFile("filedata")
		if err == nil {
			b, _ := io.ReadAll(f)
			g.file, g.kind = string(b), head.Header.Get("Content-Type")
		}
	} else {
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &g.body)
	}
	_, _ = io.WriteString(w, `{"recipient_id":"1","message_id":"m_88"}`)
}

// TestSend: the page is in the path and the token in the header alone.
func TestSend(t *testing.T) {
	g := new(graph)
	s := httptest.NewServer(g)
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/v23.0", Token: secret.FromString("EAAx"), Config: config(page)}
	id, f := Adapter{}.Send(t.Context(), c, channel.Outgoing{To: person, Text: "hello", TurnID: "t9", Part: 2})
	want := map[string]any{"messaging_type": "RESPONSE", "recipient": map[string]any{"id": person}, "message": map[string]any{"text": "hello", "metadata": "t9/2"}}
	if f != nil || id != "m_88" || g.path != "/v23.0/"+page+"/messages" || g.auth != "Bearer EAAx" || g.query != "" || !reflect.DeepEqual(g.body, want) {
		t.Fatalf("%q %+v %+v", id, f, g)
	}
	id, f = Adapter{}.Send(t.Context(), c, channel.Outgoing{To: person, Text: "hello", TurnID: "t9", Part: 1, Voice: []byte("ID3")})
	form := map[string]string{"messaging_type": "RESPONSE", "recipient": `{"id":"` + person + `"}`, "message": `{"attachment":{"payload":{"is_reusable":false},"type":"audio"},"metadata":"t9/1"}`}
	if f != nil || id != "m_88" || g.file != "ID3" || g.kind != "audio/mpeg" || g.auth != "Bearer EAAx" || g.query != "" || !reflect.DeepEqual(g.form, form) {
		t.Fatalf("%q %+v %+v", id, f, g)
	}
	for to, c := range map[string]webhook.Config{"somebody": config(page), person: config("../me"), "12/3": config(page)} {
		g.path = ""
		if _, f := (Adapter{}).Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("x"), Config: c}, channel.Outgoing{To: to, Text: "x"}); f == nil || f.Certainty != channel.Refused || g.path != "" {
			t.Errorf("%s %v: %+v %s", to, c, f, g.path)
		}
		if _, ok := (Adapter{}).Typing(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("x"), Config: c}, channel.Envelope{Space: to}); ok || g.path != "" {
			t.Errorf("%s %v: typed at %s", to, c, g.path)
		}
	}
}

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: config(page), Attachment: channel.Attachment{ID: "%s/audioclip-1.mp4?oh=1", Kind: channel.VoiceNote}, Open: true,
		Where: "/audioclip-1.mp4", Steps: []channeltest.Step{{Path: "/" + page + "/messages", Answer: `{"recipient_id":"1","message_id":"m_88"}`}}, To: person, ID: "m_88"})
}

func TestSplit(t *testing.T) {
	source := "## Head\n\n**b** *i* `c` [docs](https://x.example/a)\n\n- one\n\n```go\nx\n```"
	if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != "Head\n\nb i c docs (https://x.example/a)\n\n• one\n\nx" || got[0].Format != "" {
		t.Errorf("%q", got)
	}
	for _, p := range (Adapter{}).Split(strings.Repeat("word 😀 ", 3000)) {
		if n := len(utf16.Encode([]rune(p.Text))); n > 2000 || n < 500 {
			t.Errorf("a part has %d units", n)
		}
	}
}

func TestSetup(t *testing.T) {
	open := setup(channel.SetupInput{CallbackURL: "https://x/webhooks/messenger/i1"})
	done := setup(channel.SetupInput{State: "active", Config: config(page), Bindings: 1, SecretsSet: []string{meta.AppSecret, meta.VerifyToken, meta.AccessToken},
		DeliveryCodes: []string{string(webhook.Handshake), string(webhook.SigMismatch), string(webhook.Accepted)}})
	if len(open.Steps) < 5 || len(open.Scopes) != 2 || open.CallbackURLs[0] != "https://x/webhooks/messenger/i1" {
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
	for _, b := range []string{notification(said(`,"text":"hi"`)), notification(said(recording)), notification(echo), notification(event(`,"postback":{"title":"x"}`)),
		notification(event(`,"message_edit":{"mid":"m","num_edit":1}`)), `{"object":"page","entry":[{"id":"1","standby":[{}]}]}`, `{"object":"page","entry":[{"id":"1","changes":[{}]}]}`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config(page)})
		if err == nil && (len(all) == 0 || len(all) > meta.MaxEvents) {
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
