package profiles_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v89/github"
	line "github.com/line/line-bot-sdk-go/v8/linebot/webhook"
	slacksdk "github.com/slack-go/slack"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripesdk "github.com/stripe/stripe-go/v86/webhook"
	twilio "github.com/twilio/twilio-go/client"

	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// The verifiers' own clock is the wall clock, so these tests sign for it.

// sdk is a vendor's own verifier beside our row for it.
type sdk struct {
	name   string
	scheme webhook.Scheme
	key    string // what both sides hold
	body   string
	url    string
	config webhook.Config
	header string // the signature's
	// verify is the vendor's verdict; nil: it is asked in another process.
	verify func(in webhook.Input, key string) bool
	// sign is the vendor's own signer where it has one, else its documented
	// recipe with the standard library; an empty key signs, too.
	sign func(in *webhook.Input, key string, at time.Time)
	// more are requests that only this vendor's form has.
	more []attempt
}

// attempt is one request, made from a valid one.
type attempt struct {
	name string
	edit func(in *webhook.Input)
	key  string        // signed with, if it is not the verifiers'
	with *string       // the verifiers' secret, if it is another
	age  time.Duration // of the signature
}

func of(h hash.Hash, parts ...string) []byte {
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

func mac256(key string, parts ...string) []byte {
	return of(hmac.New(sha256.New, []byte(key)), parts...)
}

func headers(in webhook.Input) http.Header {
	h := http.Header{}
	for name, vs := range in.Header {
		h[http.CanonicalHeaderKey(name)] = vs
	}
	return h
}

func rowOf(name taxonomy.Profile) webhook.Scheme {
	p, _ := profiles.Find(name)
	return p.Scheme
}

// sdks are the verifiers that vendors publish for Go. That of Discord runs in
// Node, see discord and discordAccepts.
func sdks() []sdk {
	return append(timedSDKs(), bodySDKs()...)
}

func timedSDKs() []sdk {
	whsec := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the key's bytes, thirty-two of it"))
	return []sdk{
		{name: "stripe-go v86.1.0", scheme: rowOf(taxonomy.ProfileStripe), key: "whsec_live", body: `{"id":"evt_1"}`, header: "Stripe-Signature",
			verify: func(in webhook.Input, key string) bool {
				return stripesdk.ValidatePayload(in.Body, headers(in).Get("Stripe-Signature"), key) == nil
			},
			sign: func(in *webhook.Input, key string, at time.Time) {
				in.Header.Add("Stripe-Signature", stripesdk.GenerateTestSignedPayload(&stripesdk.UnsignedPayload{Payload: in.Body, Secret: key, Timestamp: at}).Header)
			},
			more: []attempt{
				{name: "a second, later time in the header", edit: amend("Stripe-Signature", func(v string) string { return v + ",t=1" })},
				{name: "a damaged signature before the good one", edit: amend("Stripe-Signature", func(v string) string { return strings.Replace(v, ",v1=", ",v1=zz,v1=", 1) })},
				{name: "another secret's signature before the good one", edit: amend("Stripe-Signature", func(v string) string {
					return strings.Replace(v, ",v1=", ",v1="+strings.Repeat("0", 64)+",v1=", 1)
				})},
				{name: "only the tag v0", edit: amend("Stripe-Signature", func(v string) string { return strings.Replace(v, "v1=", "v0=", 1) })},
			}},
		{name: "slack-go v0.35.0", scheme: slack.Scheme(), key: "signing secret", body: `{"type":"event_callback"}`, header: slack.SignatureHeader,
			verify: func(in webhook.Input, key string) bool {
				v, err := slacksdk.NewSecretsVerifier(headers(in), key)
				if err != nil {
					return false
				}
				_, _ = v.Write(in.Body)
				return v.Ensure() == nil
			},
			sign: func(in *webhook.Input, key string, at time.Time) {
				stamp := strconv.FormatInt(at.Unix(), 10)
				in.Header.Add(slack.TimeHeader, stamp)
				in.Header.Add(slack.SignatureHeader, "v0="+hex.EncodeToString(mac256(key, "v0:", stamp, ":", string(in.Body))))
			},
			more: []attempt{
				{name: "no time", edit: func(in *webhook.Input) { delete(in.Header, strings.ToLower(slack.TimeHeader)) }},
				{name: "the tag v1", edit: amend(slack.SignatureHeader, func(v string) string { return "v1" + v[2:] })},
				{name: "two times in two headers", edit: func(in *webhook.Input) { in.Header.Add(slack.TimeHeader, "1") }},
			}},
		{name: "standard-webhooks v0.0.1", scheme: rowOf(taxonomy.ProfileStandardWebhooks), key: whsec, body: `{"type":"x"}`, header: "webhook-signature",
			verify: func(in webhook.Input, key string) bool {
				w, err := standard.NewWebhook(key)
				return err == nil && w.Verify(in.Body, headers(in)) == nil
			},
			sign: func(in *webhook.Input, key string, at time.Time) {
				w, _ := standard.NewWebhook(key)
				text, _ := w.Sign("msg_1", at, in.Body)
				in.Header.Add("webhook-id", "msg_1")
				in.Header.Add("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
				in.Header.Add("webhook-signature", text)
			},
			more: []attempt{
				{name: "a version that is not known before the good one", edit: amend("webhook-signature", func(v string) string { return "v1a,AAAA " + v })},
				{name: "a damaged signature before the good one", edit: amend("webhook-signature", func(v string) string { return "v1,!!! " + v })},
				{name: "a time with a sign", edit: amend("webhook-timestamp", func(v string) string { return "+" + v })},
				{name: "no id", edit: func(in *webhook.Input) { delete(in.Header, "webhook-id") }},
			}},
	}
}

func bodySDKs() []sdk {
	hub, twilioURL := "X-Hub-Signature-256", "https://hooks.example/in?a=1"
	short := func(key string, in webhook.Input, h func() hash.Hash) string {
		return hex.EncodeToString(of(hmac.New(h, []byte(key)), string(in.Body)))
	}
	return []sdk{
		{name: "go-github v89.0.0", scheme: rowOf(taxonomy.ProfileGitHub), key: "webhook secret", body: `{"zen":"größer"}`, header: hub,
			verify: func(in webhook.Input, key string) bool {
				return github.ValidateSignature(headers(in).Get(hub), in.Body, []byte(key)) == nil
			},
			sign: func(in *webhook.Input, key string, _ time.Time) {
				in.Header.Add(hub, "sha256="+short(key, *in, sha256.New))
			},
			more: []attempt{
				{name: "SHA-1", edit: func(in *webhook.Input) {
					in.Header[strings.ToLower(hub)] = []string{"sha1=" + short("webhook secret", *in, sha1.New)}
				}},
				{name: "SHA-512", edit: func(in *webhook.Input) {
					in.Header[strings.ToLower(hub)] = []string{"sha512=" + short("webhook secret", *in, sha512.New)}
				}},
				{name: "no tag", edit: amend(hub, func(v string) string { return v[len("sha256="):] })},
			}},
		{name: "line-bot-sdk-go v8.14.0", scheme: rowOf(taxonomy.ProfileLINE), key: "channel secret", body: `{"events":[]}`, header: "X-Line-Signature",
			verify: func(in webhook.Input, key string) bool {
				return line.ValidateSignature(key, headers(in).Get("X-Line-Signature"), in.Body)
			},
			sign: func(in *webhook.Input, key string, _ time.Time) {
				in.Header.Add("X-Line-Signature", base64.StdEncoding.EncodeToString(mac256(key, string(in.Body))))
			},
			more: []attempt{{name: "a line break inside the signature", edit: amend("X-Line-Signature", func(v string) string { return v[:20] + "\n" + v[20:] })}}},
		{name: "twilio-go v1.31.0", scheme: rowOf(taxonomy.ProfileTwilio), key: "auth token", body: "Body=gr%C3%B6%C3%9Fer&From=%2B1", url: twilioURL, header: "X-Twilio-Signature",
			verify: func(in webhook.Input, key string) bool {
				v := twilio.NewRequestValidator(key)
				where, _, _ := strings.Cut(in.PublicURL, "?")
				if in.RawQuery != "" {
					where += "?" + in.RawQuery
				}
				return v.ValidateBody(where, in.Body, headers(in).Get("X-Twilio-Signature"))
			},
			sign: func(in *webhook.Input, key string, _ time.Time) {
				text := in.PublicURL + "BodygrößerFrom+1"
				in.Header.Add("X-Twilio-Signature", base64.StdEncoding.EncodeToString(of(hmac.New(sha1.New, []byte(key)), text)))
			},
			more: twilioAttempts(twilioURL)},
	}
}

func twilioAttempts(where string) []attempt {
	again := func(in *webhook.Input, text string) {
		in.Header["x-twilio-signature"] = []string{base64.StdEncoding.EncodeToString(of(hmac.New(sha1.New, []byte("auth token")), text))}
	}
	whole := func(body string, upper bool) func(*webhook.Input) {
		return func(in *webhook.Input) {
			in.Body = []byte(body)
			sum := sha256.Sum256(in.Body)
			h := hex.EncodeToString(sum[:])
			if upper {
				h = strings.ToUpper(h)
			}
			in.RawQuery = "a=1&bodySHA256=" + h
			again(in, where+"&bodySHA256="+h)
		}
	}
	return []attempt{
		{name: "a body of JSON and its hash in the URL", edit: whole(`{"a":1}`, false)},
		{name: "a body of JSON and its hash in capitals", edit: whole(`{"a":1}`, true)},
		{name: "a body of JSON that the hash in the URL is not of", edit: func(in *webhook.Input) { whole(`{"a":1}`, false)(in); in.Body[1] = '!' }},
		{name: "a form with one name twice, each value signed", edit: func(in *webhook.Input) {
			in.Body = []byte("B=2&A=1&B=1")
			again(in, where+"A1B1B2")
		}},
		{name: "a form with one name twice, the first value signed", edit: func(in *webhook.Input) {
			in.Body = []byte("B=2&A=1&B=1")
			again(in, where+"A1B2")
		}},
		{name: "the port 443 signed with the URL", edit: func(in *webhook.Input) {
			again(in, strings.Replace(where, "hooks.example", "hooks.example:443", 1)+"BodygrößerFrom+1")
		}},
		{name: "another query than the configured one", edit: func(in *webhook.Input) { in.RawQuery = "b=2&a=1" }},
	}
}

// amend changes the value of a header.
func amend(name string, f func(string) string) func(*webhook.Input) {
	return func(in *webhook.Input) {
		k := strings.ToLower(name)
		in.Header[k] = []string{f(in.Header[k][0])}
	}
}

// attempts are the requests that every verifier is asked about.
func (s sdk) attempts() []attempt {
	empty, other := "", "another secret"
	if strings.HasPrefix(s.name, "standard") {
		other = "whsec_" + base64.StdEncoding.EncodeToString([]byte(other))
	}
	last := func(f func(v string, i int) string) func(*webhook.Input) {
		return amend(s.header, func(v string) string { return f(v, len(v)-5) })
	}
	all := []attempt{
		{name: "valid"},
		{name: "a byte more", edit: func(in *webhook.Input) { in.Body = append(in.Body, '1') }},
		{name: "no body", edit: func(in *webhook.Input) { in.Body = nil }},
		{name: "another secret's", with: &other},
		{name: "signed with nothing, no secret configured", key: "-", with: &empty},
		{name: "no signature", edit: func(in *webhook.Input) { delete(in.Header, strings.ToLower(s.header)) }},
		{name: "one late character of the signature", edit: last(func(v string, i int) string {
			if v[i] == '1' {
				return v[:i] + "2" + v[i+1:]
			}
			return v[:i] + "1" + v[i+1:]
		})},
		{name: "a shortened signature", edit: last(func(v string, i int) string { return v[:i] })},
		{name: "the header twice, the good one first", edit: func(in *webhook.Input) { in.Header.Add(s.header, "x") }},
		{name: "signed ten minutes ago", age: 10 * time.Minute},
		{name: "signed for ten minutes from now", age: -10 * time.Minute},
	}
	return append(all, s.more...)
}

// request makes the attempt's request, signed by the vendor's side.
func (s sdk) request(a attempt, now time.Time) (in webhook.Input, key string) {
	in = input(s.url, s.body)
	in.Config = webhook.Config{}
	for name, vs := range s.config {
		in.Config[name] = vs
	}
	with := s.key
	if a.key == "-" {
		with = ""
	}
	s.sign(&in, with, now.Add(-a.age))
	if a.edit != nil {
		a.edit(&in)
	}
	if key = s.key; a.with != nil {
		key = *a.with
	}
	return in, key
}

// ours is our verdict.
func (s sdk) ours(in webhook.Input, key string, now time.Time) webhook.Reason {
	var secrets []secret.Text
	if s.scheme.NeedsSecret() {
		secrets = []secret.Text{secret.FromString(key)}
	}
	return reason(s.scheme, in, now, secrets...)
}

// TestVendorsAccept: what we sign is taken by the vendor's verifier, what the
// vendor signs by ours.
func TestVendorsAccept(t *testing.T) {
	now := time.Now()
	for _, s := range sdks() {
		in, key := s.request(attempt{}, now)
		if got := s.ours(in, key, now); got != "" {
			t.Errorf("%s: its signature is refused here: %s", s.name, got)
		}
		mine := input(s.url, s.body)
		if err := s.scheme.(webhook.Signer).Sign(&mine, secret.FromString(s.key), now); err != nil {
			t.Fatal(err)
		}
		if !s.verify(mine, s.key) {
			t.Errorf("%s refuses our signature", s.name)
		}
	}
	t.Run(discordSDK, func(t *testing.T) { discordAccepts(t, now) })
}

// discordAccepts is the same with the verifier that runs in Node, all at once. Beside
// what we sign it is shown requests that it must refuse.
func discordAccepts(t *testing.T, now time.Time) {
	d := discord()
	in, key := d.request(attempt{}, now)
	if got := d.ours(in, key, now); got != "" {
		t.Errorf("its signature is refused here: %s", got)
	}
	var requests []webhook.Input
	for _, body := range []string{d.body, `{"type":2,"data":{"name":"größer"}}`, ""} {
		mine := input(d.url, body)
		mine.Config = d.config
		if err := d.scheme.(webhook.Signer).Sign(&mine, secret.FromString(d.key), now); err != nil {
			t.Fatal(err)
		}
		tampered := mine
		tampered.Body = append(append([]byte(nil), mine.Body...), ' ')
		requests = append(requests, mine, tampered)
	}
	verdicts, ok := inNode(t, requests)
	if !ok {
		t.Skip("nobody to ask")
	}
	for i, accepted := range verdicts {
		if accepted != (i%2 == 0) {
			t.Errorf("%q: accepted %v", requests[i].Body, accepted)
		}
	}
}
