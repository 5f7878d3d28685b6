package profiles_test

import (
	"crypto/ed25519"
	"net/url"
	"testing"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

func text(s string) secret.Text { return secret.FromString(s) }

func TestHandshake(t *testing.T) {
	p, _ := profiles.Find(taxonomy.ProfileMeta)
	const good = "hub.mode=subscribe&hub.verify_token=tok&hub.challenge=1158201444"
	for _, c := range []struct {
		query  string
		tokens []secret.Text
		want   webhook.Reason
	}{
		{good, []secret.Text{text("tok")}, ""},
		{good, []secret.Text{text("new"), text("tok")}, ""},
		{good, []secret.Text{text("tok2")}, webhook.HandshakeRefused},
		{good, []secret.Text{text("to")}, webhook.HandshakeRefused},
		{good, nil, webhook.NoSecret},
		{good, []secret.Text{{}}, webhook.NoSecret},
		{"hub.mode=subscribe&hub.verify_token=&hub.challenge=1", []secret.Text{text("tok"), {}}, webhook.NoSecret},
		{"hub.mode=unsubscribe&hub.verify_token=tok&hub.challenge=1", []secret.Text{text("tok")}, webhook.HandshakeRefused},
		{"hub.mode=subscribe&hub.verify_token=tok", []secret.Text{text("tok")}, webhook.HandshakeRefused},
		{good + "&hub.challenge=2", []secret.Text{text("tok")}, webhook.HandshakeRefused},
		{"hub.verify_token=x&" + good, []secret.Text{text("tok")}, webhook.HandshakeRefused},
		{"", []secret.Text{text("tok")}, webhook.HandshakeRefused},
		{"%zz", []secret.Text{text("tok")}, webhook.HandshakeRefused},
	} {
		challenge, r := p.Handshake(webhook.Input{Method: "GET", RawQuery: c.query}, c.tokens)
		got := webhook.Reason("")
		if r != nil {
			got = r.Reason
		}
		if got != c.want || (challenge == "1158201444") != (c.want == "") {
			t.Errorf("%s with %d tokens: %q %q", c.query, len(c.tokens), challenge, got)
		}
	}
}

// FuzzHandshake: nothing is reflected without the token.
func FuzzHandshake(f *testing.F) {
	f.Add("hub.mode=subscribe&hub.verify_token=tok&hub.challenge=1")
	f.Add("hub.mode=subscribe&hub.mode=subscribe")
	p, _ := profiles.Find(taxonomy.ProfileMeta)
	tokens := []secret.Text{text("tok")}
	f.Fuzz(func(t *testing.T, query string) {
		challenge, r := p.Handshake(webhook.Input{RawQuery: query}, tokens)
		if q, err := url.ParseQuery(query); r == nil && (err != nil || q.Get("hub.verify_token") != "tok" || challenge == "") {
			t.Fatalf("%q gave %q", query, challenge)
		}
	})
}

// FuzzProfiles: no profile accepts a guess or panics, whatever stands in the
// headers that it reads and in the body.
func FuzzProfiles(f *testing.F) {
	f.Add("t=1,v1=00", "1772600767", "id", []byte(`{"signature":{"timestamp":"1772600767","token":"x","signature":"00"}}`), "a=1")
	f.Add("Bearer e30.e30.e30", "2026-03-04T05:06:07Z", "x", []byte("a=1&b=2"), "bodySHA256=00")
	f.Add("v1,AAAA v1,", "", "", []byte("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--b--"), "%")
	f.Add("Basic eDp5", "1", "\n", []byte(nil), "")
	all := profiles.All()
	secrets := []secret.Text{text("d2hhdCBub2JvZHkga25vd3M=")}
	set := sets{"fal": {{Ed25519: ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)}}}
	f.Fuzz(func(t *testing.T, sig, stamp, id string, body []byte, query string) {
		in := webhook.Input{Method: "POST", PublicURL: "https://a.example/x", RawQuery: query, Body: body, Keys: set, Header: webhook.Header{},
			Config: webhook.Config{"audience": {"a"}, "header": {"X-Guess"}, "expected_user_id": {"u"}}}
		for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Line-Signature", "X-Shopify-Hmac-Sha256", "Authorization", "X-Zendesk-Webhook-Signature",
			"X-HubSpot-Signature-v3", "Stripe-Signature", "ElevenLabs-Signature", "webhook-signature", "X-Twilio-Signature", "X-Fal-Webhook-Signature",
			"X-Telegram-Bot-Api-Secret-Token", "X-Guess"} {
			in.Header.Add(name, sig)
		}
		for _, name := range []string{"X-Zendesk-Webhook-Signature-Timestamp", "X-HubSpot-Request-Timestamp", "webhook-timestamp", "X-Fal-Webhook-Timestamp"} {
			in.Header.Add(name, stamp)
		}
		for _, name := range []string{"webhook-id", "X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id", "Content-Type"} {
			in.Header.Add(name, id)
		}
		for _, p := range all {
			if _, r := webhook.Verify(p.Scheme, in, secrets, clock()); r == nil {
				t.Fatalf("%s accepts a guess", p.Scheme.Name())
			}
		}
	})
}
