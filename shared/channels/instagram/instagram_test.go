package instagram

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	account = "17841477965412210"
	other   = "17841477965412211"
	page    = "682498302938465"
	person  = "28978671838402975"
	// mid is as long as those of direct messages are.
	mid = "aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlEOjE3ODQxNDUyMjIxNTAzMTQ0OjM0MDI4MjM2Njg0MTcxMDMwMTI0NDI1OTQ4MzEyNTQ2MzYxNTE5OTozMTk3NjUwMDgwMzkxMTYzNzgyNTg1NzM5OTA3NDM3MzYzMgZDZDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func config(id string) webhook.Config { return webhook.Config{accountID: {id}} }

func notification(events ...string) string {
	return `{"object":"instagram","entry":[{"id":"` + account + `","time":1772600767200,"messaging":[` + strings.Join(events, ",") + `]}]}`
}

func event(rest string) string {
	return `{"sender":{"id":"` + person + `"},"recipient":{"id":"` + account + `"},"timestamp":1772600767123` + rest + `}`
}

func said(rest string) string { return event(`,"message":{"mid":"` + mid + `"` + rest + `}`) }

const (
	recording = `,"attachments":[{"type":"audio","payload":{"url":"https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1&signature=Ab-c_d"}}]`
	echo      = `{"sender":{"id":"` + account + `"},"recipient":{"id":"` + person + `"},"timestamp":1,"message":{"mid":"` + mid + `","is_echo":true,"text":"said by the account"}}`
)

func TestAdapter(t *testing.T) {
	ev := func(e string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: notification(e), Kind: k, Reason: why}
	}
	failed := func(code string, c channel.Certainty, word string) channeltest.Answer {
		return channeltest.Answer{Status: 400, Body: `{"error":{"message":"x","type":"IGApiException","code":` + code + `,"fbtrace_id":"A"}}`,
			Failure: channel.Failure{Certainty: c, Code: word, TokenRejected: word == meta.TokenRefused}}
	}
	limited := failed("80002", channel.RateLimited, "ratelimited")
	limited.Failure.RetryAfter = 30 * time.Second
	hello := said(`,"text":"hi"`)
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(account), Foreign: config(other), To: person, NoRemovals: true,
		Seen: channel.Envelope{Space: person, Message: mid},
		Sign: `{"recipient":{"id":"` + person + `"},"sender_action":"typing_on"}`, SignPath: "/" + account + "/messages", SignAnswer: `{"recipient_id":"` + person + `"}`,
		Events: map[string]channeltest.Event{
			"text":          ev(hello, channel.Message, ""),
			"story reply":   ev(said(`,"text":"nice","reply_to":{"story":{"url":"https://lookaside.fbsbx.com/x","id":"1"}}`), channel.Message, ""),
			"icebreaker":    ev(event(`,"postback":{"mid":"`+mid+`","title":"What do you sell?","payload":"Q1"}`), channel.Message, ""),
			"voice":         ev(said(recording), channel.Message, ""),
			"story":         ev(said(`,"attachments":[{"type":"story_mention","payload":{"url":"https://lookaside.fbsbx.com/x"}}]`), channel.Ignored, channel.EventIgnored),
			"picture":       ev(said(`,"attachments":[{"type":"image","payload":{"url":"https://lookaside.fbsbx.com/x"}}]`), channel.Ignored, channel.EventIgnored),
			"captioned":     ev(said(`,"text":"What is this?","attachments":[{"type":"image","payload":{"url":"https://lookaside.fbsbx.com/x"}}]`), channel.Message, ""),
			"unsupported":   ev(said(`,"is_unsupported":true`), channel.Ignored, channel.EventIgnored),
			"taken back":    ev(said(`,"is_deleted":true`), channel.Deleted, channel.EditIgnored),
			"edit":          ev(event(`,"message_edit":{"mid":"`+mid+`","text":"x","num_edit":1}`), channel.Edited, channel.EditIgnored),
			"echo":          ev(echo, channel.Ignored, channel.SelfIgnored),
			"to oneself":    ev(strings.Replace(hello, person, account, 1), channel.Ignored, channel.SelfIgnored),
			"seen":          ev(event(`,"read":{"mid":"`+mid+`"}`), channel.Ignored, channel.EventIgnored),
			"reaction":      ev(event(`,"reaction":{"mid":"`+mid+`","action":"react","reaction":"love"}`), channel.Ignored, channel.EventIgnored),
			"standby":       {Body: `{"object":"instagram","entry":[{"id":"` + account + `","time":1,"standby":[` + hello + `]}]}`, Kind: channel.Ignored, Reason: channel.EventIgnored},
			"comment":       {Body: `{"object":"instagram","entry":[{"id":"` + account + `","time":1,"changes":[{"field":"comments","value":{"id":"1"}}]}]}`, Kind: channel.Ignored, Reason: channel.EventIgnored},
			"comment alone": {Body: `{"object":"instagram","entry":[{"id":"` + account + `","time":1,"field":"comments","value":{"id":"1"}}]}`, Kind: channel.Ignored, Reason: channel.EventIgnored},
		},
		Malformed: map[string]string{
			"other object": strings.Replace(notification(hello), `"instagram"`, `"page"`, 1), "no entry": `{"object":"instagram","entry":[]}`,
			"no message": notification(event(`,"message":{"text":"x"}`)), "no sender": notification(strings.Replace(hello, person, "", 1)),
			"endless message": notification(strings.Replace(hello, mid, strings.Repeat("m", 401), 1)),
			"too many":        notification(strings.TrimSuffix(strings.Repeat(hello+",", 1001), ",")),
		},
		Posted: `{"recipient_id":"` + person + `","message_id":"` + mid + `"}`, PostedID: mid,
		Answers: map[string]channeltest.Answer{
			"token":     failed("190", channel.Refused, meta.TokenRefused),
			"too late":  failed(`10,"error_subcode":2534022`, channel.Refused, "window_closed"),
			"nobody":    failed(`100,"error_subcode":2534014`, channel.Refused, "recipient_unknown"),
			"unknown":   failed("100", channel.Refused, "error_100"),
			"may be so": failed("2", channel.Ambiguous, "error_2"),
			"limit":     limited,
			"no id":     {Status: 200, Body: `{"recipient_id":"1"}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
		},
	})
}

func TestEnvelope(t *testing.T) {
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(notification(said(`,"text":"sales: hello"`))), Config: config(account)})
	want := channel.Envelope{Provider: "instagram", Account: account, Space: person, Actor: person, Direct: true, SentAt: time.UnixMilli(1772600767123).UTC(),
		EventID: mid, Message: mid, Text: "sales: hello", Addressed: []string{"sales"}}
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0].Envelope, want) || Entry().Shared.Locate(all[0].Identity) != "A:"+account {
		t.Fatalf("%+v %v", all, err)
	}
	all, err = Adapter{}.Parse(webhook.Input{Body: []byte(notification(strings.Replace(said(`,"text":"hi"`), account, other, 1))), Config: config(account)})
	if err != nil || Entry().SameTenant(config(account), all[0].Identity) || Entry().SameTenant(config(other), all[0].Identity) || Entry().Shared.Locate(all[0].Identity) != "" {
		t.Errorf("an event of two accounts: %+v %v", all, err)
	}
}

// roundTrip is the internet: what was asked, with the whole address.
type roundTrip struct {
	urls, auth []string
	body       map[string]any
}

func (r *roundTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	b, _ := io.ReadAll(req.Body)
	r.body = nil
	_ = json.Unmarshal(b, &r.body)
	r.urls, r.auth = append(r.urls, req.URL.String()), append(r.auth, req.Header.Get("Authorization"))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"recipient_id":"1","message_id":"m_88"}`)), Request: req}, nil
}

// TestSend: an account of its own speaks at Instagram's host, one that belongs to a
// page at the Graph API, in whose name the page does; a base that was moved serves
// both. Nothing goes anywhere for a setting that is no id.
func TestSend(t *testing.T) {
	paged := webhook.Config{accountID: {account}, pageID: {page}}
	for name, c := range map[string]struct {
		config webhook.Config
		base   string
		url    string
	}{
		"account":        {config(account), apiBase, "https://graph.instagram.com/v23.0/" + account + "/messages"},
		"page":           {paged, apiBase, "https://graph.facebook.com/v23.0/" + page + "/messages"},
		"moved":          {config(account), "http://127.0.0.1:7001/meta", "http://127.0.0.1:7001/meta/" + account + "/messages"},
		"page and moved": {paged, "http://127.0.0.1:7001/meta", "http://127.0.0.1:7001/meta/" + page + "/messages"},
		"no account":     {config(""), apiBase, ""},
		"no page's id":   {webhook.Config{accountID: {account}, pageID: {"me/x"}}, apiBase, ""},
	} {
		r := new(roundTrip)
		call := channel.Call{HTTP: &http.Client{Transport: r}, BaseURL: c.base, Token: secret.FromString("IGAAx"), Config: c.config}
		id, f := Adapter{}.Send(t.Context(), call, channel.Outgoing{To: person, Text: "hello", TurnID: "t", Part: 1})
		_, typed := Adapter{}.Typing(t.Context(), call, channel.Envelope{Space: person})
		if c.url == "" {
			if f == nil || f.Certainty != channel.Refused || typed || len(r.urls) != 0 {
				t.Errorf("%s: %+v %v", name, f, r.urls)
			}
			continue
		}
		if f != nil || id != "m_88" || !typed || !reflect.DeepEqual(r.urls, []string{c.url, c.url}) || !reflect.DeepEqual(r.auth, []string{"Bearer IGAAx", "Bearer IGAAx"}) {
			t.Errorf("%s: %q %+v %v", name, id, f, r.urls)
		}
	}
	r := new(roundTrip)
	_, _ = Adapter{}.Send(t.Context(), channel.Call{HTTP: &http.Client{Transport: r}, BaseURL: apiBase, Token: secret.FromString("x"), Config: config(account)}, channel.Outgoing{To: person, Text: "hello"})
	if want := map[string]any{"recipient": map[string]any{"id": person}, "message": map[string]any{"text": "hello"}}; !reflect.DeepEqual(r.body, want) {
		t.Errorf("%v", r.body)
	}
}

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: config(account), Attachment: channel.Attachment{ID: "%s/ig_messaging_cdn/?asset_id=1", Kind: channel.VoiceNote}, Open: true,
		Where: "/ig_messaging_cdn/"})
	if f := (Adapter{}).VoiceForm(config(account)); f.Format != "" {
		t.Errorf("an account of its own takes speech: %+v", f)
	}
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: webhook.Config{accountID: {account}, pageID: {page}}, Open: true,
		Attachment: channel.Attachment{ID: "%s/ig_messaging_cdn/?asset_id=1", Kind: channel.VoiceNote}, Where: "/ig_messaging_cdn/", To: person, ID: "m_88",
		Steps: []channeltest.Step{{Path: "/" + page + "/message_attachments", Answer: `{"attachment_id":"1745504518999123"}`},
			{Path: "/" + page + "/messages", Answer: `{"recipient_id":"1","message_id":"m_88"}`}}})
}

// TestSpeech: speech is uploaded for Instagram and then named by its id, alone.
func TestSpeech(t *testing.T) {
	var said []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/message_attachments") {
			b, _ := io.ReadAll(r.Body)
			said = append(said, string(b))
			_, _ = io.WriteString(w, `{"recipient_id":"1","message_id":"m_88"}`)
			return
		}
		f, h, err := r.FormFile("filedata")
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(f)
		said = append(said, r.FormValue("platform"), r.FormValue("message"), string(b), h.Filename, h.Header.Get("Content-Type"))
		_, _ = io.WriteString(w, `{"attachment_id":"1745504518999123"}`)
	}))
	defer s.Close()
	_, f := Adapter{}.Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("x"), Config: webhook.Config{accountID: {account}, pageID: {page}}},
		channel.Outgoing{To: person, Text: "hello", Voice: []byte("RIFFwave")})
	want := []string{"instagram", `{"attachment":{"type":"audio","payload":{"is_reusable":"true"}}}`, "RIFFwave", "voice.wav", "audio/wav",
		`{"message":{"attachment":{"payload":{"id":"1745504518999123"},"type":"MEDIA_SHARE"}},"recipient":{"id":"` + person + `"}}`}
	if f != nil || !reflect.DeepEqual(said, want) {
		t.Errorf("%+v %q", f, said)
	}
}

// TestSplit: the limit counts bytes.
func TestSplit(t *testing.T) {
	for _, word := range []string{"word ", "größer ", "слово ", "😀 "} {
		for _, p := range (Adapter{}).Split(strings.Repeat(word, 2000)) {
			if len(p.Text) > 1000 || p.Format != "" {
				t.Errorf("%q: a part of %d bytes", word, len(p.Text))
			}
		}
	}
	if got := (Adapter{}).Split(strings.Repeat("a", 1000)); len(got) != 1 {
		t.Errorf("%d parts of 1,000 bytes", len(got))
	}
}

func TestSetup(t *testing.T) {
	open := setup(channel.SetupInput{CallbackURL: "https://x/webhooks/instagram/i1"})
	done := setup(channel.SetupInput{State: "active", Config: config(account), Bindings: 1, SecretsSet: []string{meta.AppSecret, meta.VerifyToken, meta.AccessToken},
		DeliveryCodes: []string{string(webhook.Handshake), string(webhook.SigMismatch), string(webhook.Accepted)}})
	if len(open.Steps) < 5 || open.Scopes[1] != "instagram_business_manage_messages" || open.CallbackURLs[0] != "https://x/webhooks/instagram/i1" {
		t.Fatalf("%+v", open)
	}
	for k, c := range done.Checklist {
		if before := open.Checklist[k].Result; c.Result != channel.Passed && c.Result != channel.Manual || before == channel.Passed && c.ID != "tenant" {
			t.Errorf("%s: %s, before %s", c.ID, c.Result, before)
		}
	}
	if paged := setup(channel.SetupInput{Config: webhook.Config{pageID: {page}}}); paged.Scopes[1] != "instagram_manage_messages" || strings.Contains(strings.Join(paged.Steps, " "), "Instagram Login") {
		t.Errorf("over Facebook Login: %+v", paged)
	}
}

// FuzzParse: whatever comes, it is refused or gives bounded events.
func FuzzParse(f *testing.F) {
	for _, b := range []string{notification(said(`,"text":"hi"`)), notification(said(recording)), notification(echo), notification(said(`,"is_deleted":true`))} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config(account)})
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
	f.Add("# a\n**b** `größer`\n```\nd 😀")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if len(p.Text) == 0 || len(p.Text) > maxText {
				t.Errorf("%d bytes: %q", len(p.Text), p.Text)
			}
		}
	})
}
