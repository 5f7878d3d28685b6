package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/channels/web"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const key = "a secret of the organisation's own, 48 characters"

// of is the header of a visitor.
func of(t testing.TB, visitor string) webhook.Header {
	t.Helper()
	token, err := web.Scheme().Mint("i1", visitor, secret.FromString(key), now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return webhook.Header{"authorization": {"Bearer " + token}}
}

func TestChannel(t *testing.T) {
	channeltest.Run(t, channeltest.Harness{
		Entry: web.Entry(), Config: webhook.Config{"allowed_origins": {"https://shop.example"}}, Header: of(t, "ada"), NoEdits: true, NoRemovals: true,
		Events: map[string]channeltest.Event{"a message": {Body: `{"id":"0123456789abcdef","text":"hello"}`, Kind: channel.Message}},
		Malformed: map[string]string{
			"no id": `{"text":"x"}`, "no text": `{"id":"0123456789abcdef"}`, "blank": `{"id":"0123456789abcdef","text":" \n"}`, "more": `{"id":"0123456789abcdef","text":"x","visitor":"bob"}`,
			"a short id": `{"id":"0123456","text":"x"}`, "a long id": `{"id":"` + strings.Repeat("a", 65) + `","text":"x"}`, "an id with a stroke": `{"id":"01234567/9","text":"x"}`,
			"an id of another kind": `{"id":123456789,"text":"x"}`, "a long text": `{"id":"0123456789abcdef","text":"` + strings.Repeat("é", 8193) + `"}`, "a null": `{"id":"0123456789abcdef","text":"a\u0000b"}`,
		},
		To: "ada",
	})
}

// TestVisitorsApart: who says something is in the token and nowhere else, and one
// visitor's ids mean nothing for another.
func TestVisitorsApart(t *testing.T) {
	events := map[string]string{}
	for _, c := range [][2]string{{"ada", "aaaaaaaa"}, {"bob", "aaaaaaaa"}, {"ada/aaaaaaaa", "bbbbbbbb"}, {"ada", "bbbbbbbb"}} {
		all, err := web.Adapter{}.Parse(webhook.Input{Header: of(t, c[0]), Body: []byte(`{"id":"` + c[1] + `","text":" hi "}`)})
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		e := all[0].Envelope
		if e.Space != c[0] || e.Actor != c[0] || !e.Direct || e.Message != c[1] || e.Text != "hi" || e.Thread != "" || len(e.Addressed) != 0 {
			t.Errorf("%+v", e)
		}
		if was, met := events[e.EventID]; met {
			t.Errorf("%v has the event of %s", c, was)
		}
		events[e.EventID] = c[0]
	}
	for name, h := range map[string]webhook.Header{"none": nil, "two": {"authorization": append(of(t, "ada")["authorization"], of(t, "bob")["authorization"]...)}, "no token": {"authorization": {"Bearer x"}}} {
		if _, err := (web.Adapter{}).Parse(webhook.Input{Header: h, Body: []byte(`{"id":"0123456789abcdef","text":"x"}`)}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidOrigin(t *testing.T) {
	for o, want := range map[string]bool{
		"https://www.example.com": true, "https://example.com:8443": true, "http://localhost": true, "http://localhost:3000": true, "http://127.0.0.1:8080": true, "http://[::1]:9": true,
		"https://xn--bcher-kva.example": true,
		"*":                             false, "null": false, "": false, "https://*.example.com": false, "https://example.com/": false, "https://example.com/x": false, "https://example.com?x": false,
		"https://example.com#x": false, "http://example.com": false, "http://localhost.example.com": false, "https://Example.com": false, "HTTPS://example.com": false, "https://example.com:443": false,
		"http://localhost:80": false, "https://u:p@example.com": false, "https://": false, "ftp://example.com": false, "https://example.com:": false, "https://example.com:port": false,
		"https://bücher.example": false, "https://a b": false, "//example.com": false, "example.com": false, "https://example.com:08": false, "https://.example.com": false,
	} {
		if web.ValidOrigin(o) != want {
			t.Errorf("%q: not %v", o, want)
		}
	}
}

func TestSetup(t *testing.T) {
	in := channel.SetupInput{InstallID: "i1", State: "active", Bindings: 1, SecretsSet: []string{"widget_secret"}, Config: webhook.Config{"allowed_origins": {"https://shop.example"}},
		DeliveryCodes: []string{"hook.accepted", "hook.origin_refused", "hook.sig_mismatch"}}
	for _, c := range web.Entry().Setup(in).Checklist {
		if c.Result != channel.Passed && c.Result != channel.Manual {
			t.Errorf("%s: %s", c.ID, c.Result)
		}
	}
	for _, c := range web.Entry().Setup(channel.SetupInput{InstallID: "i1", State: "verifying"}).Checklist {
		if c.Result == channel.Passed {
			t.Errorf("%s passed with nothing", c.ID)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"id":"0123456789abcdef","text":"hello"}`, `{"id":"01234567","text":"größer 😀\n"}`, `{"id":1,"text":null}`, `{}`, `{"id":"0123456789abcdef","text":"x","text":"y"}`} {
		f.Add("ada", []byte(s))
	}
	f.Fuzz(func(t *testing.T, visitor string, body []byte) {
		if !webhook.ValidVisitor(visitor) {
			return
		}
		all, err := web.Adapter{}.Parse(webhook.Input{Header: of(t, visitor), Body: body})
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		e := all[0].Envelope
		if len(all) != 1 || all[0].Kind != channel.Message || e.Space != visitor || e.EventID != visitor+"/"+e.Message || strings.Contains(e.Message, "/") || e.Empty() || len(e.Text) > 16<<10 {
			t.Fatalf("%+v", e)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://www.example.com", "http://localhost:3000", "*", "null", "https://a@b", "http://[::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if web.ValidOrigin(s) && (strings.ContainsAny(s, " */?#@,") && strings.Count(s, "/") != 2 || !strings.HasPrefix(s, "http")) {
			t.Fatalf("%q", s)
		}
	})
}
