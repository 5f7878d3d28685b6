package whatsapp

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

func config(kv ...string) webhook.Config {
	c := webhook.Config{phoneNumberID: {"106540352242922"}, wabaID: {"102290129340398"}}
	for i := 0; i < len(kv); i += 2 {
		c[kv[i]] = []string{kv[i+1]}
	}
	return c
}

// notification wraps changes as Meta does.
func notification(changes ...string) string {
	return `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[` + strings.Join(changes, ",") + `]}]}`
}

func value(rest string) string {
	return `{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}` + rest + `}}`
}

const person = `"contacts":[{"profile":{"name":"Ada"},"wa_id":"16505551234","user_id":"US.13491208655302741918"}]`

func messages(list ...string) string {
	return value(`,` + person + `,"messages":[` + strings.Join(list, ",") + `]`)
}

func text(id, from, body string) string {
	return `{"from":"` + from + `","id":"` + id + `","timestamp":"1772600767","type":"text","text":{"body":"` + body + `"}}`
}

const renamedTo = `{"id":"wamid.5","timestamp":"1772600767","type":"system","system":{"type":"user_changed_user_id","previous_user_id":"US.1","user_id":"US.2"}}`

var hello = text("wamid.1", "16505551234", "hi")

func TestAdapter(t *testing.T) {
	event := func(body string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: body, Kind: k, Reason: why}
	}
	typed := func(kind, more string) string {
		return notification(messages(`{"from":"16505551234","id":"wamid.1","timestamp":"1772600767","type":"` + kind + `"` + more + `}`))
	}
	failed := func(status int, code string, c channel.Certainty, word string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"error":{"message":"x","type":"OAuthException","code":` + code + `,"fbtrace_id":"A"}}`,
			Failure: channel.Failure{Certainty: c, Code: word, TokenRejected: token}}
	}
	limited := func(code string) channeltest.Answer {
		a := failed(400, code, channel.RateLimited, "ratelimited", false)
		a.Failure.RetryAfter = 30 * time.Second
		if code == "131056" { // one message every six seconds to a person
			a.Failure.RetryAfter = 6 * time.Second
		}
		return a
	}
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(), Foreign: config(phoneNumberID, "999999999"), To: "16505551234",
		Seen: channel.Envelope{Space: "16505551234", Message: "wamid.1"},
		Sign: `{"message_id":"wamid.1","messaging_product":"whatsapp","status":"read","typing_indicator":{"type":"text"}}`, SignPath: "/106540352242922/messages", SignAnswer: `{"success":true}`,
		Events: map[string]channeltest.Event{
			"text":        event(notification(messages(hello)), channel.Message, ""),
			"button":      event(typed("button", `,"button":{"text":"Yes","payload":"y"}`), channel.Message, ""),
			"list":        event(typed("interactive", `,"interactive":{"type":"list_reply","list_reply":{"id":"1","title":"Blue"}}`), channel.Message, ""),
			"voice note":  event(typed("audio", `,"audio":{"id":"1","mime_type":"audio/ogg; codecs=opus","voice":true}`), channel.Message, ""),
			"audio alone": event(typed("audio", `,"audio":{"mime_type":"audio/ogg"}`), channel.Ignored, channel.EventIgnored),
			"reaction":    event(typed("reaction", `,"reaction":{"emoji":"x","message_id":"wamid.0"}`), channel.Ignored, channel.EventIgnored),
			"picture":     event(typed("image", `,"image":{"id":"1"}`), channel.Ignored, channel.EventIgnored),
			"captioned":   event(typed("image", `,"image":{"id":"1","caption":"What is this?"}`), channel.Message, ""),
			"sticker":     event(typed("sticker", `,"sticker":{"id":"1","caption":"x"}`), channel.Ignored, channel.EventIgnored),
			"order alone": event(typed("order", `,"order":{"catalog_id":"1","product_items":[]}`), channel.Ignored, channel.EventIgnored),
			"new number":  event(typed("system", `,"system":{"type":"user_changed_number","body":"x"}`), channel.Ignored, channel.EventIgnored),
			"other id":    event(notification(value(`,"messages":[`+renamedTo+`]`)), channel.Renamed, channel.PersonRenamed),
			"edit":        event(typed("edit", ``), channel.Edited, channel.EditIgnored),
			"taken back":  event(typed("revoke", ``), channel.Deleted, channel.EditIgnored),
			"status":      event(notification(value(`,"statuses":[{"id":"wamid.9","status":"delivered","recipient_id":"16505551234"}]`)), channel.Ignored, channel.EventIgnored),
			"template":    event(notification(`{"field":"message_template_status_update","value":{"event":"APPROVED"}}`), channel.Ignored, channel.EventIgnored),
			"app removed": event(notification(`{"field":"account_update","value":{"event":"PARTNER_REMOVED"}}`), channel.Revoked, channel.RevokedByVendor),
		},
		Malformed: map[string]string{
			"other object": `{"object":"page","entry":[{"id":"1","changes":[]}]}`, "no entry": `{"object":"whatsapp_business_account","entry":[]}`,
			"no account":    `{"object":"whatsapp_business_account","entry":[{"changes":[{}]}]}`,
			"no number":     notification(`{"field":"messages","value":{"metadata":{},"messages":[` + hello + `]}}`),
			"no message id": notification(messages(strings.Replace(hello, "wamid.1", "", 1))),
			"no sender":     notification(value(`,"messages":[{"id":"wamid.1","type":"text","text":{"body":"x"}}]`)),
			"wrong sender":  notification(messages(strings.Replace(hello, "16505551234", "+1 650", 1))),
			"too many":      notification(messages(strings.TrimSuffix(strings.Repeat(hello+",", 1001), ","))),
		},
		Posted: `{"messaging_product":"whatsapp","contacts":[{"input":"16505551234","wa_id":"16505551234"}],"messages":[{"id":"wamid.88"}]}`, PostedID: "wamid.88",
		Answers: map[string]channeltest.Answer{
			"token":         failed(401, "190", channel.Refused, "token_refused", true),
			"too late":      failed(400, "131047", channel.Refused, "window_closed", false),
			"unknown":       failed(400, "100", channel.Refused, "error_100", false),
			"their fault":   failed(500, "131000", channel.Ambiguous, "error_131000", false),
			"500 with 100":  failed(500, "100", channel.Ambiguous, "http_500", false),
			"error in 200":  failed(200, "100", channel.Refused, "error_100", false),
			"pair limit":    limited("131056"),
			"number limit":  limited("130429"),
			"app limit":     limited("4"),
			"account limit": limited("80007"),
			"spam limit":    limited("131048"),
			"no id":         {Status: 200, Body: `{"messages":[]}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
			"403 with html": {Status: 403, Body: "<html>", Failure: channel.Failure{Certainty: channel.Refused, Code: "http_403"}},
		},
	})
}

// TestEnvelopes: several messages keep their order; a person is the scoped ID and
// is answered at the number where it is shown.
func TestEnvelopes(t *testing.T) {
	hidden := `{"from_user_id":"DE.ENT.abc1","id":"wamid.2","timestamp":"1772600768","type":"text","text":{"body":"sales: hello"}}`
	stranger := text("wamid.3", "4915112345678", "new")
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(notification(messages(hello, hidden), messages(stranger))), Config: config()})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d %v", len(all), err)
	}
	base := channel.Envelope{Provider: "whatsapp", Account: "102290129340398", Team: "106540352242922", Direct: true}
	a, b, c := base, base, base
	a.EventID, a.Message, a.Space, a.Actor, a.ReplyTo, a.Beside, a.Text, a.Addressed, a.SentAt = "wamid.1", "wamid.1", "US.13491208655302741918", "US.13491208655302741918", "16505551234", "16505551234", "hi", []string{"hi"}, time.Unix(1772600767, 0).UTC()
	b.EventID, b.Message, b.Space, b.Actor, b.Text, b.Addressed, b.SentAt = "wamid.2", "wamid.2", "DE.ENT.abc1", "DE.ENT.abc1", "sales: hello", []string{"sales"}, time.Unix(1772600768, 0).UTC()
	c.EventID, c.Message, c.Space, c.Actor, c.Text, c.Addressed, c.SentAt = "wamid.3", "wamid.3", "4915112345678", "4915112345678", "new", []string{"new"}, time.Unix(1772600767, 0).UTC()
	for k, want := range []channel.Envelope{a, b, c} {
		if !reflect.DeepEqual(all[k].Envelope, want) {
			t.Errorf("\n%+v\n%+v", all[k].Envelope, want)
		}
	}
}

// TestTextBeside: what is written under a picture or a file, or with an order, is the
// message's text, and addresses an agent like any other.
func TestTextBeside(t *testing.T) {
	for kind, more := range map[string]string{
		"image":    `{"id":"1","mime_type":"image/jpeg","sha256":"AA==","caption":"sales: What is this?"}`,
		"video":    `{"id":"1","mime_type":"video/mp4","caption":"sales: What is this?"}`,
		"document": `{"id":"1","mime_type":"application/pdf","filename":"a.pdf","caption":"sales: What is this?"}`,
		"order":    `{"catalog_id":"1","text":"sales: What is this?","product_items":[{"product_retailer_id":"x","quantity":1}]}`,
	} {
		body := notification(messages(`{"from":"16505551234","id":"wamid.1","timestamp":"1772600767","type":"` + kind + `","` + kind + `":` + more + `}`))
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body), Config: config()})
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %d %v", kind, len(all), err)
		}
		e := all[0].Envelope
		if all[0].Kind != channel.Message || e.Text != "sales: What is this?" || !reflect.DeepEqual(e.Addressed, []string{"sales"}) || len(e.Media) != 0 {
			t.Errorf("%s: %+v", kind, all[0])
		}
	}
}

// TestSend: a number goes to "to" and an ID to "recipient", because an ID in "to"
// would be dropped without an error.
func TestSend(t *testing.T) {
	var path, auth string
	var body map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, auth, body = r.URL.Path, r.Header.Get("Authorization"), nil
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		_, _ = io.WriteString(w, `{"messages":[{"id":"wamid.88"}]}`)
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/v23.0", Token: secret.FromString("EAAx"), Config: config()}
	id, f := Adapter{}.Send(t.Context(), c, channel.Outgoing{To: "16505551234", Text: "hello", TurnID: "t9", Part: 2})
	if f != nil || id != "wamid.88" || path != "/v23.0/106540352242922/messages" || auth != "Bearer EAAx" || body["to"] != "16505551234" || body["recipient"] != nil ||
		body["messaging_product"] != "whatsapp" || body["recipient_type"] != "individual" || body["biz_opaque_callback_data"] != "t9/2" {
		t.Fatalf("%q %+v %s %v", id, f, path, body)
	}
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "US.13491208655302741918", Text: "hello"}); f != nil || body["to"] != nil || body["recipient"] != "US.13491208655302741918" {
		t.Fatalf("%+v %v", f, body)
	}
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "somebody", Text: "hello"}); f == nil || f.Code != "recipient_malformed" {
		t.Errorf("%+v", f)
	}
	c.Config = nil
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "16505551234", Text: "hello"}); f == nil || f.Code != "phone_number_id" {
		t.Errorf("%+v", f)
	}
}

// TestSplit: WhatsApp's marks; links as what they are.
func TestSplit(t *testing.T) {
	source := "## Head\n\n**b** *i* ~~s~~ `c` in**side** [docs](https://x.example/a_b)\n\n- one\n  1. two\n\n```\nx\n```\n\n> q\n\n| a |\n|---|\n| 1 |\n\n<b>raw</b>"
	want := "*Head*\n\n*b* _i_ ~s~ `c` inside docs (https://x.example/a_b)\n\n- one\n    1. two\n\n```\nx\n```\n\n> q\n\n```\na\n-\n1\n```\n\n<b>raw</b>"
	if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != want || got[0].Format != "" {
		t.Errorf("%q\nwant %q", got, want)
	}
	for _, p := range (Adapter{}).Split(strings.Repeat("word 😀 ", 3000)) {
		if n := len(utf16.Encode([]rune(p.Text))); n > 4096 || n < 1000 {
			t.Errorf("a part has %d units", n)
		}
	}
}

// FuzzSplit: whatever a model writes, a piece is within the limit and closes its code.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"# a\n**b** `c`\n```\nd", "*a*b*c* _d_ ~e~", "> - a\n", "[a](https://b.example)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if n := len(utf16.Encode([]rune(p.Text))); n == 0 || n > maxText || strings.Count(p.Text, "```")%2 != 0 {
				t.Errorf("%d units: %q", n, p.Text)
			}
		}
	})
}

func TestSetup(t *testing.T) {
	open := setup(channel.SetupInput{CallbackURL: "https://x/webhooks/whatsapp/i1"})
	done := setup(channel.SetupInput{State: "active", Config: config(), Bindings: 1, SecretsSet: []string{meta.AppSecret, meta.VerifyToken, meta.AccessToken},
		DeliveryCodes: []string{string(webhook.Handshake), string(webhook.SigMismatch), string(webhook.Accepted)}})
	if len(open.Steps) < 5 || len(open.Scopes) != 2 || open.CallbackURLs[0] != "https://x/webhooks/whatsapp/i1" {
		t.Fatalf("%+v", open)
	}
	for k, c := range done.Checklist {
		if before := open.Checklist[k].Result; c.Result != channel.Passed && c.Result != channel.Manual || before == channel.Passed && c.ID != "tenant" {
			t.Errorf("%s: %s, before %s", c.ID, c.Result, before)
		}
	}
	wrong := setup(channel.SetupInput{DeliveryCodes: []string{string(webhook.TenantMismatch)}})
	for _, c := range wrong.Checklist {
		if c.ID == "tenant" && c.Result != channel.Failed {
			t.Errorf("%+v", c)
		}
	}
}

// FuzzParse: whatever comes, it is refused or gives bounded events.
func FuzzParse(f *testing.F) {
	for _, b := range []string{notification(messages(hello)), notification(value(`,"statuses":[{}]`)), notification(`{"field":"account_update","value":{"event":"PARTNER_REMOVED"}}`),
		notification(messages(`{"from":"16505551234","id":"wamid.1","timestamp":"1","type":"audio","audio":{"id":"7","mime_type":"audio/ogg","sha256":"AA==","voice":true}}`)),
		notification(messages(`{"from":"16505551234","id":"wamid.1","timestamp":"1","type":"image","image":{"id":"7","caption":"sales: x"}}`))} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config()})
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
