package profiles_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestVendorSDK: OpenAI's own Go verifier accepts what we sign.
func TestVendorSDK(t *testing.T) {
	for _, s := range senders(t) {
		if s.name != taxonomy.ProfileOpenAI {
			continue
		}
		in := s.signed(t, s.keys[0], clock())
		h := http.Header{}
		for name, values := range in.Header {
			h[http.CanonicalHeaderKey(name)] = values
		}
		client := openai.NewClient(option.WithAPIKey("x"), option.WithWebhookSecret(s.keys[0]))
		if err := client.Webhooks.VerifySignatureWithToleranceAndTime(in.Body, h, 5*time.Minute, clock()); err != nil {
			t.Error(err)
		}
		if err := client.Webhooks.VerifySignatureWithToleranceAndTime(append(in.Body, ' '), h, 5*time.Minute, clock()); err == nil {
			t.Error("the oracle accepts everything")
		}
	}
}

// recipes are the vendors' documented recipes written once more, with Node's
// crypto: the programme prints the profiles whose signature it does not make
// itself from the same body, headers and key.
const recipes = `
const c = require('crypto'), fs = require('fs');
const mac = (alg, key, enc, ...parts) => { const m = c.createHmac(alg, key); for (const p of parts) m.update(p); return m.digest(enc); };
for (const line of fs.readFileSync(0, 'utf8').trim().split('\n')) {
  const r = JSON.parse(line), b = Buffer.from(r.body, 'base64'), h = r.headers, k = r.key;
  const list = (name) => Object.fromEntries(h[name].split(',').map(p => p.split('=')));
  const standard = (p) => 'v1,' + mac('sha256', Buffer.from(k.slice(6), 'base64'), 'base64', h[p+'id'] + '.' + h[p+'timestamp'] + '.', b);
  const basic = () => h.authorization === 'Basic ' + Buffer.from(k).toString('base64');
  const seed = (hex) => c.createPublicKey({key: {kty: 'OKP', crv: 'Ed25519', x: Buffer.from(r.public, 'hex').toString('base64url')}, format: 'jwk'});
  const jwt = () => { const [head, claims, sig] = h.authorization.slice(7).split('.'); const q = JSON.parse(Buffer.from(claims, 'base64url'));
    return c.verify('RSA-SHA256', Buffer.from(head + '.' + claims), c.createPublicKey(k), Buffer.from(sig, 'base64url')) && q.aud === r.audience && q.exp > r.now; };
  const ok = {
    github: () => h['x-hub-signature-256'] === 'sha256=' + mac('sha256', k, 'hex', b),
    meta: () => h['x-hub-signature-256'] === 'sha256=' + mac('sha256', k, 'hex', b),
    line: () => h['x-line-signature'] === mac('sha256', k, 'base64', b),
    shopify: () => h['x-shopify-hmac-sha256'] === mac('sha256', k, 'base64', b),
    teams_outgoing: () => h.authorization === 'HMAC ' + mac('sha256', Buffer.from(k, 'base64'), 'base64', b),
    intercom: () => h['x-hub-signature'] === 'sha1=' + mac('sha1', k, 'hex', b),
    zendesk: () => h['x-zendesk-webhook-signature'] === mac('sha256', k, 'base64', h['x-zendesk-webhook-signature-timestamp'], b),
    hubspot: () => h['x-hubspot-signature-v3'] === mac('sha256', k, 'base64', 'POST' + r.url, b, h['x-hubspot-request-timestamp']),
    stripe: () => { const q = list('stripe-signature'); return q.v1 === mac('sha256', k, 'hex', q.t + '.', b); },
    elevenlabs: () => { const q = list('elevenlabs-signature'); return q.v0 === mac('sha256', k, 'hex', q.t + '.', b); },
    standard_webhooks: () => h['webhook-signature'] === standard('webhook-'),
    openai: () => h['webhook-signature'] === standard('webhook-'),
    replicate: () => h['webhook-signature'] === standard('webhook-'),
    svix: () => h['svix-signature'] === standard('svix-'),
    twilio: () => { const q = new URLSearchParams(b.toString()); let s = r.url; for (const n of [...q.keys()].sort()) s += n + q.get(n);
      return h['x-twilio-signature'] === mac('sha1', k, 'base64', s); },
    discord: () => c.verify(null, Buffer.concat([Buffer.from(h['x-signature-timestamp']), b]), seed(), Buffer.from(h['x-signature-ed25519'], 'hex')),
    fal: () => c.verify(null, Buffer.from([h['x-fal-webhook-request-id'], h['x-fal-webhook-user-id'], h['x-fal-webhook-timestamp'],
      c.createHash('sha256').update(b).digest('hex')].join('\n')), seed(), Buffer.from(h['x-fal-webhook-signature'], 'hex')),
    telegram: () => h['x-telegram-bot-api-secret-token'] === k,
    assemblyai: () => h['x-my-secret'] === k,
    deepgram: basic, postmark: basic,
    mailgun: () => { const q = JSON.parse(b).signature; return q.signature === mac('sha256', k, 'hex', q.timestamp + q.token); },
    teams_bot: jwt, google_chat: jwt,
  }[r.profile]();
  if (!ok) console.log(r.profile);
}`

func TestRecipes(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "Node")
		t.Skip("the recipes are not made a second time")
	}
	var lines strings.Builder
	tampered := 0
	for _, s := range senders(t) {
		in := s.signed(t, s.keys[0], clock())
		line := func(in webhook.Input) {
			headers := map[string]string{}
			for name, v := range in.Header {
				headers[name] = v[0]
			}
			pub := ""
			if seed, err := hex.DecodeString(s.keys[0]); err == nil && len(seed) == ed25519.SeedSize {
				pub = hex.EncodeToString(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
			}
			b, err := json.Marshal(map[string]any{"profile": s.name, "headers": headers, "body": base64.StdEncoding.EncodeToString(in.Body),
				"key": s.keys[0], "public": pub, "url": publicURL, "audience": s.config.Get("audience"), "now": clock().Unix()})
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(b, '\n'))
		}
		line(in)
		if s.bodySigned {
			// The oracle must be able to refuse.
			in.Body = append(append([]byte(nil), in.Body...), '1')
			line(in)
			tampered++
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", recipes)
	cmd.Stdin = strings.NewReader(lines.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	refused := strings.Fields(string(out))
	seen := map[string]int{}
	for _, name := range refused {
		seen[name]++
	}
	for _, s := range senders(t) {
		want := 0
		if s.bodySigned {
			want = 1
		}
		if seen[string(s.name)] != want {
			t.Errorf("%s: refused %d times, want %d", s.name, seen[string(s.name)], want)
		}
	}
	if len(refused) != tampered {
		t.Errorf("%d refused, %d tampered", len(refused), tampered)
	}
}
