package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const twilioService = "MG0123456789abcdef0123456789abcdef"

// twilioCase is a number that gets text messages.
func twilioCase() channelCase {
	return channelCase{id: "twilio", mute: true,
		phoneCase: phoneCase{contentType: "application/x-www-form-urlencoded", foreign: "15005550006", person: func(from string) string { return "+" + from },
			signs: func(p *phone) string { return twilioURL(p.number) },
			fills: func(p *phone, n int64, in map[string]any) {
				p.number, p.account, p.token = fmt.Sprintf("1501%07d", n), fmt.Sprintf("AC%032x", 0xa0000000+n), fmt.Sprintf("CNRYtwiliosecret%06d", n)
				in["secrets"] = map[string]any{"auth_token": p.secret, "api_key_secret": p.token}
				in["config"] = map[string]any{"account_sid": p.account, "to": "+" + p.number, "api_key_sid": "SK0123456789abcdef0123456789abcdef"}
				in["public_url"] = twilioURL(p.number)
			},
			text: func(p *phone, id int, from, _, said string) []byte {
				var text string
				_ = json.Unmarshal([]byte(said), &text)
				return twilioMessage(p, id, "+"+from, "+"+p.number, text)
			},
			note: func(p *phone, id int, file string, _ []byte) []byte {
				return twilioMessage(p, id, "+42000000", "+"+p.number, "", "NumMedia", "1", "MediaContentType0", "audio/ogg", "MediaUrl0", mockvendor.TwilioMedia(p.account, file))
			}},
		form: "Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n- one\n- two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
	}
}

// twilioURL is what was typed at Twilio, with a query that belongs to it.
func twilioURL(number string) string { return "https://hooks.example/sms/" + number + "?from=twilio" }

// twilioMessage is Twilio's form for a message, with further names.
func twilioMessage(p *phone, id int, from, to, text string, more ...string) []byte {
	sid := fmt.Sprintf("SM%032x", id)
	f := url.Values{"AccountSid": {p.account}, "MessageSid": {sid}, "SmsSid": {sid}, "SmsMessageSid": {sid}, "SmsStatus": {"received"}, "NumMedia": {"0"}, "NumSegments": {"1"},
		"From": {from}, "To": {to}, "Body": {text}, "ApiVersion": {"2010-04-01"}, "ToCountry": {"US"}}
	for i := 0; i+1 < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return []byte(f.Encode())
}

// TestTwilioWhatIsNoMessage: statuses, opt-outs and pictures are acknowledged in
// Twilio's form and start no turn; GET is refused, a URL that is not the stored one, too.
func TestTwilioWhatIsNoMessage(t *testing.T) {
	p := newPhone(t, "twilio")
	own := "+" + p.number
	const ada = "+4915112345678"
	const ack = `<?xml version="1.0" encoding="UTF-8"?><Response/>`
	for name, body := range map[string][]byte{
		"status":  twilioMessage(p, 801, own, ada, "", "MessageStatus", "delivered", "SmsStatus", "delivered"),
		"stop":    twilioMessage(p, 802, ada, own, "STOP"),
		"opt-out": twilioMessage(p, 803, ada, own, "basta", "OptOutType", "STOP"),
		"picture": twilioMessage(p, 804, ada, own, "", "NumMedia", "1", "MediaContentType0", "image/png", "MediaUrl0", mockvendor.TwilioMedia(p.account, "7")),
		"own":     twilioMessage(p, 805, own, own, "hi"),
	} {
		if a := p.post(p.secret, body); a.Status != http.StatusOK || string(a.Body) != ack || a.Header.Get("Content-Type") != "text/xml" {
			t.Errorf("%s: %d %s %s", name, a.Status, a.Header.Get("Content-Type"), a.Body)
		}
	}
	body := twilioMessage(p, 806, ada, own, "hello")
	for range 2 {
		if a := p.post(p.secret, body); a.Status != http.StatusOK || string(a.Body) != ack {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	resp, err := http.Get(world.BaseURL + "/webhooks/twilio/" + p.install + "?" + string(body))
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", resp.StatusCode, resp.Header)
	}
	elsewhere := *p
	elsewhere.signs = func(p *phone) string { return strings.Replace(twilioURL(p.number), "?", "/?", 1) }
	if a := elsewhere.post(p.secret, twilioMessage(p, 807, ada, own, "hi")); a.Status != http.StatusUnauthorized {
		t.Errorf("another URL: %d", a.Status)
	}
	eventually(t, "the message is answered", func() bool { return len(p.posts()) > 0 })
	if m := p.posts(); len(m) != 1 || m[0].Channel != ada || m[0].ThreadTS != own || m[0].Text != "You said: hello" {
		t.Errorf("%+v", m)
	}
}

// TestTwilioOnePersonTwoConversations: behind a Messaging Service, SMS and WhatsApp of
// one person are apart, each is answered from where it came in, in its own form, and by
// the auth token where there is no API key.
func TestTwilioOnePersonTwoConversations(t *testing.T) {
	p := newPhone(t, "twilio")
	var install struct{ ID, State string }
	in := map[string]any{"provider": "twilio", "mode": "byoa", "public_url": twilioURL(p.number), "secrets": map[string]any{"auth_token": p.secret + "b"},
		"config": map[string]any{"account_sid": p.account, "messaging_service_sid": twilioService}}
	p.call(http.MethodPost, "/installs", in, &install)
	if install.State != "verifying" {
		t.Fatalf("%+v", install)
	}
	p.install, p.secret, p.token = install.ID, p.secret+"b", p.secret+"b"
	p.bind("Service", map[string]any{})
	p.call(http.MethodPost, "/installs/"+p.install+"/activate", map[string]any{}, nil)
	const ada = "+4915112345678"
	vendor.Direct("in bold", mockvendor.Script{Text: "**yes**"})
	for n, at := range []string{"", "whatsapp:"} {
		for k := range 2 {
			if a := p.post(p.secret, twilioMessage(p, 820+2*n+k, at+ada, at+"+15005550001", "in bold", "MessagingServiceSid", twilioService)); a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			eventually(t, "it is answered", func() bool { return len(p.posts()) == 2*n+k+1 })
		}
	}
	want := []mockvendor.Post{{Channel: ada, Text: "yes", ThreadTS: "+15005550001" + twilioService}, {Channel: "whatsapp:" + ada, Text: "*yes*", ThreadTS: "whatsapp:+15005550001" + twilioService}}
	for n, m := range p.posts() {
		if w := want[n/2]; m.Channel != w.Channel || m.Text != w.Text || m.ThreadTS != w.ThreadTS {
			t.Errorf("%+v", m)
		}
	}
	var sessions struct{ Items []struct{ ID string } }
	if p.call(http.MethodGet, "/sessions", nil, &sessions); len(sessions.Items) != 2 {
		t.Errorf("%+v", sessions)
	}
	if a := p.post(p.secret, twilioMessage(p, 830, ada, "+15005550001", "no service")); a.Status != http.StatusForbidden {
		t.Errorf("without the service: %d", a.Status)
	}
}
