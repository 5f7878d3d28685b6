package twilio

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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

const (
	account = "AC0123456789abcdef0123456789abcdef"
	foreign = "ACfffffffffffffffffffffffffffffff0"
	service = "MG0123456789abcdef0123456789abcdef"
	key     = "SK0123456789abcdef0123456789abcdef"
	sid     = "SM0123456789abcdef0123456789abcdef"
	file    = "ME0123456789abcdef0123456789abcdef"
	own     = "+15017122661"
	ada     = "+15558675310"
	where   = "/2010-04-01/Accounts/" + account + "/Messages/MM0123456789abcdef0123456789abcdef/Media/" + file
)

func config(kv ...string) webhook.Config {
	c := webhook.Config{accountSID: {account}, ownAddress: {own}}
	for k := 0; k < len(kv); k += 2 {
		if c[kv[k]] = []string{kv[k+1]}; kv[k+1] == "" {
			delete(c, kv[k])
		}
	}
	return c
}

// said is a form of an incoming message with more names, or others.
func said(body string, kv ...string) string {
	f := url.Values{"ToCountry": {"US"}, "SmsMessageSid": {sid}, "NumMedia": {"0"}, "SmsSid": {sid}, "SmsStatus": {"received"}, fBody: {body}, fTo: {own}, "NumSegments": {"1"},
		fMessage: {sid}, fAccount: {account}, fFrom: {ada}, "ApiVersion": {"2010-04-01"}}
	for k := 0; k < len(kv); k += 2 {
		if f.Set(kv[k], kv[k+1]); kv[k+1] == "-" {
			f.Del(kv[k])
		}
	}
	return f.Encode()
}

func media(kind, at string) []string {
	return []string{fMedia, "1", fMediaURL + "0", at, fMediaType + "0", kind}
}

func TestAdapter(t *testing.T) {
	ev := func(b string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: b, Kind: k, Reason: why}
	}
	ignored := func(b string, why webhook.Reason) channeltest.Event { return ev(b, channel.Ignored, why) }
	refused := func(status int, number, code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"code":` + number + `,"message":"The message From/To pair violates a blacklist rule.","more_info":"https://www.twilio.com/docs/errors/1","status":400}`,
			Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	limited := func(status int, number string) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"code":` + number + `,"status":400}`, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 30 * time.Second}}
	}
	ambiguous := func(status int, body, code string) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: body, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: code}}
	}
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(), Foreign: config(ownAddress, "+15017122662"), To: ada + separator + own, NoEdits: true,
		Events: map[string]channeltest.Event{
			"text":           ev(said("hi"), channel.Message, ""),
			"whatsapp":       ev(said("hi", fFrom, whatsApp+ada, fTo, own), channel.Message, ""),
			"short code":     ev(said("hi", fFrom, "72000"), channel.Message, ""),
			"recording":      ev(said("", media("audio/ogg", "https://api.twilio.com"+where)...), channel.Message, ""),
			"picture":        ignored(said("", media("image/jpeg", "https://api.twilio.com"+where)...), channel.EventIgnored),
			"captioned":      ev(said("What is this?", media("image/jpeg", "https://api.twilio.com"+where)...), channel.Message, ""),
			"place":          ignored(said("", "Latitude", "1.0", "Longitude", "2.0"), channel.EventIgnored),
			"status":         ignored(said("", fStatus, "delivered", fFrom, own, fTo, ada, "SmsStatus", "delivered"), channel.EventIgnored),
			"status, no one": ignored(said("", fStatus, "failed", fFrom, "-", fTo, ada), channel.EventIgnored),
			"own":            ignored(said("hi", fFrom, own), channel.SelfIgnored),
			"stop":           ignored(said(" Stop\n"), channel.RevokedByVendor),
			"opted out":      ignored(said("basta", fOptOut, "STOP"), channel.RevokedByVendor),
			"help":           ignored(said("help", fOptOut, "HELP"), channel.EventIgnored),
			"start":          ignored(said("start", fOptOut, "START"), channel.EventIgnored),
			"stop at length": ev(said("stop it please"), channel.Message, ""),
			"stop, WhatsApp": ev(said("stop", fFrom, whatsApp+ada), channel.Message, ""),
			"a name":         ignored(said("hi", fFrom, "TWILIO"), channel.EventIgnored),
			"another medium": ignored(said("hi", fFrom, "messenger:1234"), channel.EventIgnored),
		},
		Malformed: map[string]string{
			"json": `{"MessageSid":"` + sid + `"}`, "no message": said("hi", fMessage, "-"), "odd message": said("hi", fMessage, "SM1"), "a call": said("hi", fMessage, "-", "CallSid", "CA1"),
			"no account": said("hi", fAccount, "-"), "odd service": said("hi", fService, "MG1"), "no sender": said("hi", fFrom, "-"), "no address": said("hi", fTo, "-"),
			"bad escape": said("hi") + "&x=%zz", "bad utf-8": said("hi") + "&Body=%ff", "bad utf-8 elsewhere": said("hi") + "&Other=%ff", "nul": said("a\x00b"), "semicolons": "a=1;b=2",
			"repeated body": said("hi") + "&Body=ho", "repeated sender": said("hi") + "&From=%2B15550000000", "odd count": said("hi", fMedia, "many"), "negative": said("hi", fMedia, "-1"),
			"shifted": strings.Replace(said("hi"), "MessageSid=SM", "MessageSidS=M", 1), "too many": said("hi") + strings.Repeat("&a=1", maxFields), "no name": said("hi") + "&=1",
		},
		Posted: `{"sid":"` + sid + `","status":"queued","error_code":null,"body":"hello"}`, PostedID: sid,
		Answers: map[string]channeltest.Answer{
			"token":        refused(401, "20003", "token_refused", true),
			"401 alone":    {Status: 401, Body: `{}`, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_401", TokenRejected: true}},
			"account":      refused(404, "20404", "account_not_found", false),
			"opted out":    refused(400, "21610", "unsubscribed", false),
			"landline":     refused(400, "21614", "not_a_mobile_number", false),
			"window":       refused(400, "63016", "window_closed", false),
			"not yours":    refused(400, "21660", "sender_not_yours", false),
			"not known":    refused(400, "29999", "error_29999", false),
			"text code":    {Status: 400, Body: `{"code":"x"}`, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_400"}},
			"rate":         limited(429, "20429"),
			"queue full":   limited(400, "21611"),
			"channel full": limited(400, "63018"),
			"no sid":       ambiguous(201, `{"status":"queued"}`, "answer_without_id"),
			"odd sid":      ambiguous(201, `{"sid":"SM1"}`, "answer_without_id"),
			"201, a page":  ambiguous(201, `<html>`, "answer_malformed"),
			"202":          ambiguous(202, `{"sid":"`+sid+`"}`, "http_202"),
			"500 coded":    ambiguous(500, `{"code":21610}`, "http_500"),
		},
	})
}

// TestEnvelopes: addresses stay as they are, so that SMS and WhatsApp of one person are
// two conversations.
func TestEnvelopes(t *testing.T) {
	at := "https://api.dublin.ie1.twilio.com" + where
	for name, c := range map[string]struct {
		body string
		want channel.Envelope
	}{
		"sms": {said(" sales: hi größer "), channel.Envelope{Space: ada, Actor: ada, Team: own, ReplyTo: ada + "," + own, Text: "sales: hi größer", Addressed: []string{"sales"}}},
		"whatsapp": {said("*hi* you", fFrom, whatsApp+ada, fTo, whatsApp+own, fService, service, "ProfileName", "Ada"),
			channel.Envelope{Space: whatsApp + ada, Actor: whatsApp + ada, Team: whatsApp + own, ReplyTo: whatsApp + ada + "," + whatsApp + own, Text: "*hi* you"}},
		"recording": {said("", media("audio/ogg", at)...), channel.Envelope{Space: ada, Actor: ada, Team: own, ReplyTo: ada + "," + own, Media: []channel.Attachment{{ID: at, Kind: channel.VoiceNote, MIME: "audio/ogg"}}}},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(c.body), Config: config()})
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		w := c.want
		w.Provider, w.EventID, w.Message, w.Account, w.Direct = "twilio", sid, sid, account, true
		if got := all[0].Envelope; !reflect.DeepEqual(got, w) {
			t.Errorf("%s:\n%+v\n%+v", name, got, w)
		}
	}
}

// TestTenants: what is configured is compared, a status goes the other way.
func TestTenants(t *testing.T) {
	e := Entry()
	status := []string{fStatus, "sent", fFrom, own, fTo, ada, fService, service}
	for name, c := range map[string]struct {
		body string
		c    webhook.Config
		same bool
		app  string
	}{
		"number":                {said("x"), config(), true, "N:" + own},
		"another number":        {said("x", fTo, "+15017122662"), config(), false, "N:" + own},
		"same, on WhatsApp":     {said("x", fTo, whatsApp+own), config(), false, "N:" + own},
		"another account":       {said("x", fAccount, foreign), config(), false, "N:" + own},
		"service":               {said("x", fService, service), config(ownAddress, "", serviceSID, service), true, "S:" + service},
		"service, any number":   {said("x", fService, service, fTo, "+15017122662"), config(ownAddress, "", serviceSID, service), true, "S:" + service},
		"no service":            {said("x"), config(ownAddress, "", serviceSID, service), false, "S:" + service},
		"both":                  {said("x", fService, service), config(serviceSID, service), true, "N:" + own},
		"both, another service": {said("x", fService, "MG"+strings.Repeat("0", 32)), config(serviceSID, service), false, "N:" + own},
		"status":                {said("", status...), config(), true, "N:" + own},
		"status of another":     {said("", status...), config(ownAddress, ada), false, "N:" + ada},
		"nothing named":         {said("x"), config(ownAddress, ""), false, "S:"},
	} {
		all, err := e.Adapter.Parse(webhook.Input{Body: []byte(c.body), Config: c.c})
		if err != nil || e.SameTenant(c.c, all[0].Identity) != c.same {
			t.Errorf("%s: %v %+v", name, err, all)
		}
		if app, tenant := e.Tenant(c.c); app != account || tenant != c.app {
			t.Errorf("%s: %s %s", name, app, tenant)
		}
	}
}

// api is Twilio's side of a send.
type api struct {
	path, user, password, kind string
	form                       url.Values
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	a.path, a.kind = r.URL.Path, r.Header.Get("Content-Type")
	a.user, a.password, _ = r.BasicAuth()
	a.form, _ = url.ParseQuery(string(b))
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"sid":"`+sid+`"}`)
}

// TestSend: who sends to whom, in which form, as whom.
func TestSend(t *testing.T) {
	a := &api{}
	s := httptest.NewServer(a)
	defer s.Close()
	for name, c := range map[string]struct {
		c     webhook.Config
		to    string
		user  string
		want  url.Values
		code  string
		plain bool
	}{
		"sms":            {config(), ada + "," + own, account, url.Values{"To": {ada}, "From": {own}, "Body": {"a b"}}, "", true},
		"whatsapp":       {config(ownAddress, whatsApp+own, apiKeySID, key), whatsApp + ada + "," + whatsApp + own, key, url.Values{"To": {whatsApp + ada}, "From": {whatsApp + own}, "Body": {"a *b*"}}, "", false},
		"whatsapp plain": {config(ownAddress, whatsApp+own), whatsApp + ada, account, url.Values{"To": {whatsApp + ada}, "From": {whatsApp + own}, "Body": {"a b"}}, "", true},
		"service":        {config(ownAddress, "", serviceSID, service), ada + "," + own, account, url.Values{"To": {ada}, "From": {own}, "MessagingServiceSid": {service}, "Body": {"a b"}}, "", false},
		"service alone":  {config(ownAddress, "", serviceSID, service), ada, account, url.Values{"To": {ada}, "MessagingServiceSid": {service}, "Body": {"a b"}}, "", false},
		"stored address": {config(), ada, account, url.Values{"To": {ada}, "From": {own}, "Body": {"a b"}}, "", false},
		"another sender": {config(), ada + ",+15017122662", "", nil, "sender_malformed", false},
		"no sender":      {config(ownAddress, ""), ada, "", nil, "sender_malformed", false},
		"odd sender":     {config(ownAddress, "", serviceSID, service), ada + ",x", "", nil, "sender_malformed", false},
		"odd account":    {config(accountSID, "../x"), ada, "", nil, "sender_malformed", false},
		"odd recipient":  {config(), "client:x," + own, "", nil, "recipient_malformed", false},
	} {
		*a = api{}
		out := channel.Outgoing{To: c.to, Text: "a b", Format: "a *b*"}
		if c.plain {
			out.Format = ""
		}
		id, f := Adapter{}.Send(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("the-token"), Config: c.c}, out)
		switch {
		case c.code != "":
			if f == nil || *f != (channel.Failure{Certainty: channel.Refused, Code: c.code}) || a.path != "" {
				t.Errorf("%s: %+v", name, f)
			}
		case f != nil || id != sid || a.path != "/2010-04-01/Accounts/"+account+"/Messages.json" || a.user != c.user || a.password != "the-token" ||
			a.kind != "application/x-www-form-urlencoded" || !reflect.DeepEqual(a.form, c.want):
			t.Errorf("%s: %q %+v %+v", name, id, f, a)
		}
	}
}

// TestSplit: both forms of a piece fit, and say the same.
func TestSplit(t *testing.T) {
	got := Adapter{}.Split("# Plan\n\n**Bold** and [docs](https://x.example/a)\n\n- one")
	want := channel.Piece{Text: "Plan\n\nBold and docs (https://x.example/a)\n\n- one", Plain: "Plan\n\nBold and docs (https://x.example/a)\n\n- one", Format: "*Plan*\n\n*Bold* and docs (https://x.example/a)\n\n- one"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
	if got := (Adapter{}).Split("plain"); len(got) != 1 || got[0] != (channel.Piece{Text: "plain", Plain: "plain"}) {
		t.Errorf("%+v", got)
	}
}

// TestMedia: the suite's part about files, and the redirect to where they lie.
func TestMedia(t *testing.T) {
	at := channel.Attachment{ID: "https://api.twilio.com" + where, Kind: channel.VoiceNote}
	m := channeltest.Media{Entry: Entry(), Config: config(), Attachment: at, Where: where}
	channeltest.RunMedia(t, m)
	for _, id := range []string{"", "x", "http://api.twilio.com" + where, "https://169.254.169.254" + where, "https://api.twilio.com.evil.example" + where, "https://user@api.twilio.com" + where,
		"https://api.twilio.com:8443" + where, "https://evil.example/?https://api.twilio.com" + where, at.ID + "/..", at.ID + "?x=1", at.ID + ".json", strings.Replace(at.ID, account, foreign, 1), "https://api.a.b.c.twilio.com" + where} {
		m.Attachment.ID = id
		if f := channeltest.FetchOnce(t, m); f == nil || *f != (channel.MediaFailure{Code: channel.MediaRefused}) {
			t.Errorf("%q: %+v", id, f)
		}
	}
}

// TestSetup: what is told of the own records.
func TestSetup(t *testing.T) {
	of := func(in channel.SetupInput) map[string]channel.CheckResult {
		out := map[string]channel.CheckResult{}
		for _, c := range setup(in).Checklist {
			out[c.ID] = c.Result
		}
		return out
	}
	none := of(channel.SetupInput{DeliveryCodes: []string{string(webhook.TenantMismatch)}})
	all := of(channel.SetupInput{Config: config(apiKeySID, key), SecretsSet: []string{authToken, apiKeySecret}, Bindings: 1, State: "active", DeliveryCodes: []string{string(webhook.Accepted), string(webhook.SigMismatch)}})
	for _, id := range []string{"secrets", "identity", "api_key", "tampered", "binding", "active", "event"} {
		if none[id] != channel.Pending || all[id] != channel.Passed {
			t.Errorf("%s: %s, %s", id, none[id], all[id])
		}
	}
	if none["tenant"] != channel.Failed || all["tenant"] != channel.Passed {
		t.Error(none["tenant"], all["tenant"])
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event.
func FuzzParse(f *testing.F) {
	for _, b := range []string{said("hi"), said("", media("audio/ogg", "https://api.twilio.com"+where)...), said("STOP"), said("", fStatus, "sent"), "a=1&a=2", "%"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Config: config()})
		if err != nil {
			return
		}
		if len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		e := all[0].Envelope
		if !messageForm.MatchString(e.EventID) || !accountForm.MatchString(e.Account) || !channeltest.Bounded(e) {
			t.Fatalf("%+v", e)
		}
		if all[0].Kind == channel.Message && (!addressForm.MatchString(e.Space) || e.Actor != e.Space || e.Empty() || e.ReplyTo != e.Space+separator+all[0].Identity[ownAddress]) {
			t.Fatalf("%+v", e)
		}
	})
}

// FuzzSplit: whatever a model writes, both forms are within the limit.
func FuzzSplit(f *testing.F) {
	f.Add("# a\n**b** `c`\n```\nd")
	f.Add(strings.Repeat("**a** _b_ ", 800)) // more marks than text
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if n, m := len(utf16.Encode([]rune(p.Text))), len(utf16.Encode([]rune(p.Format))); n == 0 || n > maxText || m > maxText {
				t.Errorf("%d, %d units: %q", n, m, p.Text)
			}
		}
	})
}
