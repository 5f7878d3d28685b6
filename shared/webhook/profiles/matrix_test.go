package profiles_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// clock is the tests' time.
func clock() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// sets are key sets by name.
type sets map[string][]webhook.Key

func (s sets) KeySet(name, _ string) ([]webhook.Key, bool) { k, ok := s[name]; return k, ok }

// sender is one profile with what its requests need.
type sender struct {
	name       taxonomy.Profile
	keys       [2]string // two installs' secrets
	config     webhook.Config
	sets       sets
	signature  string // header, "" for fields in the body
	timed      time.Duration
	past       time.Duration // when it differs from timed
	bodySigned bool
	public     bool // verifies with public keys
	contentURL bool
}

const publicURL = "https://hooks.example/in?a=1"

func senders(t *testing.T) []sender {
	text := [2]string{"first secret", "second secret"}
	b64 := func(prefix string) [2]string {
		return [2]string{prefix + base64.StdEncoding.EncodeToString([]byte("the first install's key bytes")), prefix + base64.StdEncoding.EncodeToString([]byte("the second install's key bytes"))}
	}
	seeds := [2]string{strings.Repeat("01", 32), strings.Repeat("02", 32)}
	pub := func(i int) ed25519.PublicKey {
		seed, _ := hex.DecodeString(seeds[i])
		return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	}
	first, second := rsaKey(t), rsaKey(t)
	rsaKeys := [2]string{pemOf(t, first), pemOf(t, second)}
	rsaSet := func(name string) sets {
		return sets{name: {{ID: "test", RSA: &first.PublicKey, Endorsements: []string{"msteams"}}}}
	}
	const hub, five = "X-Hub-Signature-256", 5 * time.Minute
	return []sender{
		{name: taxonomy.ProfileGitHub, keys: text, signature: hub, bodySigned: true},
		{name: taxonomy.ProfileMeta, keys: text, signature: hub, bodySigned: true},
		{name: taxonomy.ProfileLINE, keys: text, signature: "X-Line-Signature", bodySigned: true},
		{name: taxonomy.ProfileShopify, keys: text, signature: "X-Shopify-Hmac-Sha256", bodySigned: true},
		{name: taxonomy.ProfileTeamsOutgoing, keys: b64(""), signature: "Authorization", bodySigned: true},
		{name: taxonomy.ProfileIntercom, keys: text, signature: "X-Hub-Signature", bodySigned: true},
		{name: taxonomy.ProfileZendesk, keys: text, signature: "X-Zendesk-Webhook-Signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileHubSpot, keys: text, signature: "X-HubSpot-Signature-v3", timed: five, bodySigned: true, contentURL: true},
		{name: taxonomy.ProfileStripe, keys: text, signature: "Stripe-Signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileElevenLabs, keys: text, signature: "ElevenLabs-Signature", timed: 30 * time.Minute, bodySigned: true},
		{name: taxonomy.ProfileStandardWebhooks, keys: b64("whsec_"), signature: "webhook-signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileOpenAI, keys: b64("whsec_"), signature: "webhook-signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileReplicate, keys: b64("whsec_"), signature: "webhook-signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileSvix, keys: b64("whsec_"), signature: "svix-signature", timed: five, bodySigned: true},
		{name: taxonomy.ProfileTwilio, keys: text, signature: "X-Twilio-Signature", bodySigned: true, contentURL: true},
		{name: taxonomy.ProfileDiscord, keys: seeds, signature: "X-Signature-Ed25519", timed: five, bodySigned: true, public: true,
			config: webhook.Config{"public_keys": {hex.EncodeToString(pub(0))}}},
		{name: taxonomy.ProfileFal, keys: seeds, signature: "X-Fal-Webhook-Signature", timed: five, bodySigned: true, public: true,
			config: webhook.Config{"expected_user_id": {"u1"}}, sets: sets{"fal": {{Ed25519: pub(0)}}}},
		{name: taxonomy.ProfileTelegram, keys: [2]string{"first_secret", "second-secret"}, signature: "X-Telegram-Bot-Api-Secret-Token"},
		{name: taxonomy.ProfileAssemblyAI, keys: text, signature: "X-My-Secret", config: webhook.Config{"header": {"X-My-Secret"}}},
		{name: taxonomy.ProfileDeepgram, keys: [2]string{"user:first", "user:second"}, signature: "Authorization"},
		{name: taxonomy.ProfilePostmark, keys: [2]string{"user:first", "user:second"}, signature: "Authorization"},
		{name: taxonomy.ProfileMailgun, keys: text, timed: five, past: 12 * time.Hour},
		{name: taxonomy.ProfileTeamsBot, keys: rsaKeys, signature: "Authorization", timed: five, past: time.Hour + five - time.Second, public: true,
			config: webhook.Config{"audience": {"app-1"}}, sets: rsaSet("teams_bot")},
		{name: taxonomy.ProfileGoogleChat, keys: rsaKeys, signature: "Authorization", timed: five, past: time.Hour + five - time.Second, public: true,
			config: webhook.Config{"audience": {"https://hooks.example/in"}}, sets: rsaSet("google_chat_url")},
	}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pemOf(t *testing.T, k *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// body is a form and no form at once, so that every mechanism reads it.
func (s sender) body() string {
	switch s.name {
	case taxonomy.ProfileTwilio:
		return "Body=gr%C3%B6%C3%9Fer&From=%2B1"
	case taxonomy.ProfileTeamsBot:
		return `{"channelId":"msteams","serviceUrl":"https://smba.trafficmanager.net/teams/","text":"größer"}`
	}
	return `{"text":"größer"}`
}

func (s sender) signed(t *testing.T, key string, at time.Time) webhook.Input {
	t.Helper()
	in := input(publicURL, s.body())
	in.Config, in.Keys = s.config, s.sets
	if s.sets == nil {
		in.Keys = nil
	}
	if err := scheme(t, s.name).(webhook.Signer).Sign(&in, secret.FromString(key), at); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return in
}

// TestEveryProfile: the failure matrix, each cell with its exact reason.
func TestEveryProfile(t *testing.T) {
	list := senders(t)
	covered := map[string]bool{}
	for _, s := range list {
		covered[string(s.name)] = true
		t.Run(string(s.name), func(t *testing.T) { s.matrix(t); s.times(t); s.foreign(t, list) })
	}
	for _, p := range profiles.All() {
		if !covered[p.Scheme.Name()] {
			t.Errorf("%s is not tested", p.Scheme.Name())
		}
	}
}

func (s sender) matrix(t *testing.T) {
	sch := scheme(t, s.name)
	live, other := secret.FromString(s.keys[0]), secret.FromString(s.keys[1])
	header := func(name string, edit func(v string) []string) func(*webhook.Input) {
		return func(in *webhook.Input) {
			in.Header[strings.ToLower(name)] = edit(in.Header.Values(name)[0])
		}
	}
	for _, c := range []struct {
		name    string
		key     int
		secrets []secret.Text
		edit    func(*webhook.Input)
		want    webhook.Reason
		header  bool // only for profiles with a signature header
		secret  bool // only for profiles with secrets
	}{
		{name: "valid", secrets: []secret.Text{live}},
		{name: "retiring secret", secret: true, secrets: []secret.Text{other, live}},
		{name: "live secret beside a retiring one", secret: true, secrets: []secret.Text{live, other}},
		{name: "other install's key", key: 1, secrets: []secret.Text{live}, want: webhook.SigMismatch},
		{name: "no secret", secret: true, want: webhook.NoSecret},
		{name: "empty secret", secret: true, secrets: []secret.Text{{}}, want: webhook.NoSecret},
		{name: "empty secret beside a live one", secret: true, secrets: []secret.Text{live, {}}, want: webhook.NoSecret},
		{name: "no header", header: true, secrets: []secret.Text{live}, edit: func(in *webhook.Input) { delete(in.Header, strings.ToLower(s.signature)) }, want: webhook.SigMissing},
		{name: "empty header", header: true, secrets: []secret.Text{live}, edit: header(s.signature, func(string) []string { return []string{""} }), want: webhook.SigMissing},
		{name: "repeated header", header: true, secrets: []secret.Text{live}, edit: header(s.signature, func(v string) []string { return []string{v, v} }), want: webhook.HeaderDuplicate},
		{name: "forged header first", header: true, secrets: []secret.Text{live}, edit: header(s.signature, func(v string) []string { return []string{"x", v} }), want: webhook.HeaderDuplicate},
		{name: "one late character of the signature", header: true, secrets: []secret.Text{live}, edit: header(s.signature, func(v string) []string {
			i, to := len(v)-10, "a"
			if v[i] == 'a' {
				to = "b"
			}
			return []string{v[:i] + to + v[i+1:]}
		}), want: webhook.SigMismatch},
		{name: "nothing at all", secrets: []secret.Text{live}, edit: func(in *webhook.Input) { in.Header, in.Body = nil, nil }, want: webhook.SigMissing},
	} {
		if c.header && s.signature == "" || c.secret && s.public {
			continue
		}
		in := s.signed(t, s.keys[c.key], clock())
		if c.edit != nil {
			c.edit(&in)
		}
		if got := reason(sch, in, clock(), c.secrets...); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	s.bodies(t, sch, live)
}

// bodies: a changed body is refused where it is signed, and said to be unsigned
// where it is not.
func (s sender) bodies(t *testing.T, sch webhook.Scheme, live secret.Text) {
	in := s.signed(t, s.keys[0], clock())
	r, refusal := webhook.Verify(sch, in, []secret.Text{live}, clock())
	if refusal != nil || r.BodySigned != s.bodySigned {
		t.Fatalf("%+v %v", r, refusal)
	}
	if s.bodySigned {
		for i := range in.Body {
			in.Body[i] ^= 1
			if got := reason(sch, in, clock(), live); got != webhook.SigMismatch {
				t.Errorf("byte %d: %q", i, got)
			}
			in.Body[i] ^= 1
		}
		in.Body = nil
		if got := reason(sch, in, clock(), live); got != webhook.SigMismatch {
			t.Errorf("no body: %q", got)
		}
	}
	if s.contentURL {
		for name, edit := range map[string]func(*webhook.Input){
			"host":  func(in *webhook.Input) { in.PublicURL = "https://other.example/in?a=1" },
			"path":  func(in *webhook.Input) { in.PublicURL = "https://hooks.example/in/?a=1" },
			"query": func(in *webhook.Input) { in.RawQuery = "a=1&b=2" },
			"order": func(in *webhook.Input) { in.PublicURL, in.RawQuery = "https://hooks.example/in", "b=2&a=1" },
		} {
			in := s.signed(t, s.keys[0], clock())
			edit(&in)
			if got := reason(sch, in, clock(), live); got != webhook.SigMismatch {
				t.Errorf("another %s: %q", name, got)
			}
		}
		in := s.signed(t, s.keys[0], clock())
		in.PublicURL = ""
		if got := reason(sch, in, clock(), live); got != webhook.NoPublicURL {
			t.Errorf("no public URL: %q", got)
		}
	}
	var in2 webhook.Input
	in2.Config, in2.PublicURL = s.config, publicURL
	if err := sch.(webhook.Signer).Sign(&in2, secret.Text{}, clock()); err != webhook.ErrEmptySecret {
		t.Errorf("signing with an empty secret: %v", err)
	}
}

// times: both clock directions, inclusive at the edge, and no opinion where
// nothing signs a time.
func (s sender) times(t *testing.T) {
	sch, live := scheme(t, s.name), secret.FromString(s.keys[0])
	past := s.timed
	if s.past != 0 {
		past = s.past
	}
	for _, c := range []struct {
		name string
		at   time.Time
		want webhook.Reason
	}{
		{"oldest", clock().Add(-past), ""},
		{"newest", clock().Add(s.timed), ""},
		{"stale", clock().Add(-past - time.Second), webhook.Stale},
		{"future", clock().Add(s.timed + time.Second), webhook.Future},
	} {
		if s.timed == 0 {
			c.want = ""
		}
		if got := reason(sch, s.signed(t, s.keys[0], c.at), clock(), live); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if s.timed > 0 {
		if got := reason(sch, s.signed(t, s.keys[1], clock().Add(-24*time.Hour)), clock(), live); got != webhook.SigMismatch {
			t.Errorf("stale under another key: %q", got)
		}
	}
}

// foreign: another vendor's request never verifies, even under the same secret.
func (s sender) foreign(t *testing.T, all []sender) {
	same := [][]taxonomy.Profile{{taxonomy.ProfileGitHub, taxonomy.ProfileMeta}, {taxonomy.ProfileDeepgram, taxonomy.ProfilePostmark},
		{taxonomy.ProfileStandardWebhooks, taxonomy.ProfileOpenAI, taxonomy.ProfileReplicate, taxonomy.ProfileSvix}}
	for _, o := range all {
		if o.name == s.name || slices.ContainsFunc(same, func(g []taxonomy.Profile) bool { return slices.Contains(g, o.name) && slices.Contains(g, s.name) }) {
			continue
		}
		in := o.signed(t, o.keys[0], clock())
		in.Config, in.Keys = s.config, s.sets
		if s.sets == nil {
			in.Keys = nil
		}
		if got := reason(scheme(t, s.name), in, clock(), secret.FromString(o.keys[0])); got == "" {
			t.Errorf("a request of %s verifies", o.name)
		}
	}
}
