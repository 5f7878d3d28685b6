package profiles_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// mint makes a token by hand, independent of the scheme's own signer.
func mint(t *testing.T, k *rsa.PrivateKey, head, claims map[string]any) string {
	t.Helper()
	h, _ := json.Marshal(head)
	c, _ := json.Marshal(claims)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	var sig []byte
	switch head["alg"] {
	case "none":
	case "HS256":
		// The classic confusion: the public key as an HMAC key.
		der, _ := x509.MarshalPKIXPublicKey(&k.PublicKey)
		m := hmac.New(sha256.New, der)
		m.Write([]byte(signed))
		sig = m.Sum(nil)
	default:
		sum := sha256.Sum256([]byte(signed))
		var err error
		if sig, err = rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:]); err != nil {
			t.Fatal(err)
		}
	}
	return "Bearer " + signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func with(m map[string]any, more ...any) map[string]any {
	out := maps.Clone(m)
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == nil {
			delete(out, more[i].(string))
			continue
		}
		out[more[i].(string)] = more[i+1]
	}
	return out
}

type tokenCase struct {
	name         string
	head, claims map[string]any
	body         string
	config       webhook.Config
	key          *rsa.PrivateKey
	want         webhook.Reason
}

func runTokens(t *testing.T, name taxonomy.Profile, k *rsa.PrivateKey, keys sets, head, claims map[string]any, body string, config webhook.Config, cases []tokenCase) {
	t.Helper()
	for _, c := range cases {
		if c.head == nil {
			c.head = head
		}
		if c.claims == nil {
			c.claims = claims
		}
		if c.body == "" {
			c.body = body
		}
		if c.config == nil {
			c.config = config
		}
		if c.key == nil {
			c.key = k
		}
		in := input("", c.body, "Authorization", mint(t, c.key, c.head, c.claims))
		in.Config, in.Keys = c.config, keys
		if got := reason(scheme(t, name), in, clock()); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBotToken(t *testing.T) {
	k, foreign := rsaKey(t), rsaKey(t)
	now := clock().Unix()
	keys := sets{"teams_bot": {{ID: "k0", RSA: &foreign.PublicKey, Endorsements: []string{"webchat"}}, {ID: "k1", RSA: &k.PublicKey, Endorsements: []string{"msteams"}}, {ID: "bare", RSA: &k.PublicKey}}}
	head := map[string]any{"alg": "RS256", "kid": "k1"}
	const host = "https://smba.trafficmanager.net/teams/"
	claims := map[string]any{"iss": "https://api.botframework.com", "aud": "app-1", "nbf": now, "exp": now + 3600, "serviceurl": host}
	body := `{"channelId":"msteams","serviceUrl":"` + host + `"}`
	config := webhook.Config{"audience": {"app-1"}}
	set := func(more ...string) webhook.Config {
		out := maps.Clone(config)
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = append([]string(nil), more[i+1])
		}
		return out
	}
	runTokens(t, taxonomy.ProfileTeamsBot, k, keys, head, claims, body, config, []tokenCase{
		{name: "valid"},
		{name: "audience as a list of one", claims: with(claims, "aud", []string{"app-1"})},
		{name: "audience by the install's name", config: webhook.Config{"app_id": {"app-1"}}},
		{name: "alg none", head: with(head, "alg", "none"), want: webhook.AlgRefused},
		{name: "HS256 with the public key", head: with(head, "alg", "HS256"), want: webhook.AlgRefused},
		{name: "alg in other letters", head: with(head, "alg", "rs256"), want: webhook.AlgRefused},
		{name: "no alg", head: with(head, "alg", nil), want: webhook.AlgRefused},
		{name: "settings that name other algorithms only", config: set("algorithms", "HS256"), want: webhook.AlgRefused},
		{name: "settings that name ours", config: set("algorithms", "RS256")},
		{name: "unknown key", head: with(head, "kid", "k9"), want: webhook.KeyUnknown},
		{name: "no key named", head: with(head, "kid", nil), want: webhook.KeyUnknown},
		{name: "key brought along", head: with(head, "kid", "k9", "jwk", map[string]any{"kty": "RSA"}, "jku", "https://evil.example"), want: webhook.KeyUnknown},
		{name: "critical extension", head: with(head, "crit", []string{"x"}), want: webhook.SigFormat},
		{name: "another's signature", key: foreign, want: webhook.SigMismatch},
		{name: "another key of the set", head: with(head, "kid", "k0"), want: webhook.SigMismatch},
		{name: "another issuer", claims: with(claims, "iss", "https://sts.windows.net/x/"), want: webhook.ClaimRefused},
		{name: "issuer of a government cloud, allowed by settings", claims: with(claims, "iss", "https://api.botframework.us"), config: set("issuer", "https://api.botframework.us")},
		{name: "another app", claims: with(claims, "aud", "app-2"), want: webhook.ClaimRefused},
		{name: "two audiences", claims: with(claims, "aud", []string{"app-1", "app-2"}), want: webhook.ClaimRefused},
		{name: "no audience", claims: with(claims, "aud", nil), want: webhook.ClaimRefused},
		{name: "audience not configured", config: webhook.Config{}, claims: with(claims, "aud", ""), want: webhook.ClaimRefused},
		{name: "no end of life", claims: with(claims, "exp", nil), want: webhook.ClaimRefused},
		{name: "end of life as text", claims: with(claims, "exp", "never"), want: webhook.SigFormat},
		{name: "just inside", claims: with(claims, "exp", now-299)},
		{name: "expired", claims: with(claims, "exp", now-300), want: webhook.Stale},
		{name: "expired, no skew", claims: with(claims, "exp", now-1), config: set("clock_skew_s", "0"), want: webhook.Stale},
		{name: "not yet", claims: with(claims, "nbf", now+301), want: webhook.Future},
		{name: "made in the future", claims: with(claims, "iat", now+301), want: webhook.Future},
		{name: "skew too wide", config: set("clock_skew_s", "86400"), want: webhook.ClaimRefused},
		{name: "key endorsed for no channel", head: with(head, "kid", "bare"), want: webhook.IdentityRefused},
		{name: "channel that the key is not endorsed for", body: `{"channelId":"webchat","serviceUrl":"` + host + `"}`, want: webhook.IdentityRefused},
		{name: "a second reply address of nearly this name", body: `{"channelId":"msteams","serviceUrl":"https://smba.infra.gcc.teams.microsoft.com/x","ServiceUrl":"` + host + `"}`, want: webhook.ServiceURLRefused},
		{name: "a second channel of nearly this name", body: `{"channelId":"webchat","ChannelId":"","serviceUrl":"` + host + `"}`, want: webhook.IdentityRefused},
		{name: "a channel that is no text", body: `{"channelId":1,"serviceUrl":"` + host + `"}`, want: webhook.BadPayload},
		{name: "another reply address", body: `{"channelId":"msteams","serviceUrl":"https://evil.example/"}`, want: webhook.ServiceURLRefused},
		{name: "no reply address in the token", claims: with(claims, "serviceurl", nil), want: webhook.ServiceURLRefused},
		{name: "signed address that is not Microsoft's", claims: with(claims, "serviceurl", "https://evil.example/"), body: `{"serviceUrl":"https://evil.example/"}`, want: webhook.ServiceURLRefused},
		{name: "address with a user", claims: with(claims, "serviceurl", "https://a@smba.trafficmanager.net/"), body: `{"serviceUrl":"https://a@smba.trafficmanager.net/"}`, want: webhook.ServiceURLRefused},
		{name: "address without TLS", claims: with(claims, "serviceurl", "http://smba.trafficmanager.net/"), body: `{"serviceUrl":"http://smba.trafficmanager.net/"}`, want: webhook.ServiceURLRefused},
		{name: "same member twice", body: `{"serviceUrl":"` + host + `","serviceUrl":"https://evil.example/"}`, want: webhook.BadPayload},
		{name: "no JSON", body: "x", want: webhook.BadPayload},
		{name: "set that is not there", config: set("jwks", "other"), want: webhook.KeySetUnavailable},
	})
	in := input("", body, "Authorization", mint(t, k, head, claims))
	in.Config = config
	if got := reason(scheme(t, taxonomy.ProfileTeamsBot), in, clock()); got != webhook.KeySetUnavailable {
		t.Errorf("no key sets: %q", got)
	}
	for _, bad := range []string{"Bearer a.b", "Bearer ..", "bearer x.y.z", "Basic eDp5", "Bearer " + mint(t, k, head, claims)} {
		in := input("", body, "Authorization", bad)
		in.Config, in.Keys = config, keys
		if got := reason(scheme(t, taxonomy.ProfileTeamsBot), in, clock()); got != webhook.SigFormat {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestChatToken(t *testing.T) {
	account, service := rsaKey(t), rsaKey(t)
	keys := sets{"google_chat_url": {{ID: "a", RSA: &account.PublicKey}}, "google_chat_project_number": {{ID: "b", RSA: &service.PublicKey}}}
	now := clock().Unix()
	const chat, where = "chat@system.gserviceaccount.com", "https://hooks.example/in"
	head, headB := map[string]any{"alg": "RS256", "kid": "a"}, map[string]any{"alg": "RS256", "kid": "b"}
	claims := map[string]any{"iss": "https://accounts.google.com", "aud": where, "iat": now, "exp": now + 3600, "email": chat, "email_verified": true}
	number := map[string]any{"iss": chat, "aud": "123", "iat": now, "exp": now + 3600}
	config, configB := webhook.Config{"audience": {where}, "mode": {"url"}}, webhook.Config{"audience": {"123"}, "mode": {"project_number"}}
	runTokens(t, taxonomy.ProfileGoogleChat, account, keys, head, claims, `{}`, config, []tokenCase{
		{name: "valid"},
		{name: "mode told by the audience", config: webhook.Config{"audience": {where}}},
		{name: "issuer without https", claims: with(claims, "iss", "accounts.google.com")},
		{name: "somebody else's Google account", claims: with(claims, "email", "me@gmail.com"), want: webhook.IdentityRefused},
		{name: "e-mail that is not verified", claims: with(claims, "email_verified", false), want: webhook.IdentityRefused},
		{name: "no e-mail", claims: with(claims, "email", nil), want: webhook.IdentityRefused},
		{name: "add-on's own account", claims: with(claims, "email", "service-1@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"),
			config: webhook.Config{"audience": {where}, "mode": {"url"}, "email": {"service-1@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"}}},
		{name: "another URL", claims: with(claims, "aud", where+"/"), want: webhook.ClaimRefused},
		{name: "unknown mode", config: webhook.Config{"audience": {where}, "mode": {"any"}}, want: webhook.ClaimRefused},
		{name: "project number", key: service, head: headB, claims: number, config: configB},
		{name: "project number, mode told by the audience", key: service, head: headB, claims: number, config: webhook.Config{"audience": {"123"}}},
		{name: "project number, the other set's key", head: head, claims: number, config: configB, want: webhook.KeyUnknown},
		{name: "project number, another project", key: service, head: headB, claims: with(number, "aud", "124"), config: configB, want: webhook.ClaimRefused},
		{name: "project number, a Google account", key: service, head: headB, claims: with(number, "iss", "https://accounts.google.com"), config: configB, want: webhook.ClaimRefused},
	})
}

func TestIdentityOfFal(t *testing.T) {
	for _, s := range senders(t) {
		if s.name != taxonomy.ProfileFal {
			continue
		}
		in := s.signed(t, s.keys[0], clock())
		for _, want := range []string{"u2", ""} {
			in.Config = webhook.Config{"expected_user_id": {want}}
			if got := reason(scheme(t, s.name), in, clock()); got != webhook.IdentityRefused {
				t.Errorf("expected user %q: %q", want, got)
			}
		}
		in.Config = s.config
		in.Header["x-fal-webhook-user-id"] = []string{"u2"}
		if got := reason(scheme(t, s.name), in, clock()); got != webhook.SigMismatch {
			t.Errorf("another user: %q", got)
		}
		in.Header["x-fal-webhook-user-id"] = []string{"u1\nx"}
		if got := reason(scheme(t, s.name), in, clock()); got != webhook.SigFormat {
			t.Errorf("a line break: %q", got)
		}
	}
}

func TestPublicKeysOfDiscord(t *testing.T) {
	for _, s := range senders(t) {
		if s.name != taxonomy.ProfileDiscord {
			continue
		}
		in := s.signed(t, s.keys[0], clock())
		good := s.config["public_keys"][0]
		for name, c := range map[string]struct {
			keys []string
			want webhook.Reason
		}{
			"rotating":     {[]string{good[:62] + "00", good}, ""},
			"none":         {nil, webhook.NoSecret},
			"empty":        {[]string{""}, webhook.NoSecret},
			"short":        {[]string{good[:62]}, webhook.NoSecret},
			"short beside": {[]string{good, "00"}, webhook.NoSecret},
			"no hex":       {[]string{"zz" + good[2:]}, webhook.NoSecret},
		} {
			in.Config = webhook.Config{"public_keys": c.keys}
			if got := reason(scheme(t, s.name), in, clock()); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
		p, _ := profiles.Find(taxonomy.ProfileDiscord)
		for body, want := range map[string]bool{`{"type":1}`: true, `{"type":2}`: false, `{"type":1,"type":2}`: false, `x`: false} {
			if answer, ok := p.Pong([]byte(body)); ok != want || ok && answer != `{"type":1}` {
				t.Errorf("%s: %q %v", body, answer, ok)
			}
		}
	}
}

// TestZoneOfTime: Zendesk writes Z; an offset is not what is documented.
func TestZoneOfTime(t *testing.T) {
	in := input("", "x", "X-Zendesk-Webhook-Signature", base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"X-Zendesk-Webhook-Signature-Timestamp", clock().In(time.FixedZone("", 3600)).Format(time.RFC3339))
	if got := reason(scheme(t, taxonomy.ProfileZendesk), in, clock(), text("k")); got != webhook.SigFormat {
		t.Errorf("%q", got)
	}
}
