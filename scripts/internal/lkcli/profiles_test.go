package lkcli

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/webhook"
)

// TestEveryProfileRoundTrip: what sign makes for a profile, verify accepts, and
// refuses a second later than allowed, under another secret, without one.
func TestEveryProfileRoundTrip(t *testing.T) {
	seed := strings.Repeat("0a", 32)
	raw, _ := hex.DecodeString(seed)
	public := ed25519.NewKeyFromSeed(raw).Public().(ed25519.PublicKey)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	b64 := base64.RawURLEncoding.EncodeToString
	rsaSet := fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"test","n":%q,"e":%q}]}`, b64(private.N.Bytes()), b64(big.NewInt(int64(private.E)).Bytes()))
	keys := write(t, "keys.json", fmt.Sprintf(`{"fal":{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]},"teams_bot":%s,"mine":%s}`, b64(public), rsaSet, rsaSet))
	sw := "whsec_" + base64.StdEncoding.EncodeToString([]byte("twenty-four bytes or more"))
	settings := map[string][]string{
		"hubspot": {"public_url=https://h.example/x?a=1"}, "twilio": {"public_url=https://h.example/x?a=1"},
		"discord": {"public_keys=" + hex.EncodeToString(public)}, "fal": {"expected_user_id=u1"}, "assemblyai": {"header=X-My-Secret"},
		"teams_bot": {"audience=app"}, "google_chat": {"audience=https://h.example/x", "mode=url", "jwks=mine"},
	}
	secretOf := map[string]string{"teams_outgoing": "a2V5", "standard_webhooks": sw, "openai": sw, "replicate": sw, "svix": sw, "discord": seed, "fal": seed,
		"teams_bot": rsaPEM, "google_chat": rsaPEM, "deepgram": "u:p", "postmark": "u:p"}
	public1 := map[string]bool{"discord": true, "fal": true, "teams_bot": true, "google_chat": true}
	frozen := "slack github meta line shopify teams_outgoing intercom zendesk hubspot stripe elevenlabs openai replicate svix standard_webhooks twilio discord fal teams_bot google_chat telegram assemblyai deepgram postmark mailgun"
	for name := range strings.FieldsSeq(frozen) {
		key := secretOf[name]
		if key == "" {
			key = "plain-secret"
		}
		body := `{"a":"größer"}`
		if name == "twilio" {
			body = "Body=hi&From=%2B1"
		}
		args := []string{"webhook", "sign", "--provider", name, "--secret", "-", "--body", write(t, "body-"+name, body), "--now", "1700000000", "--json"}
		for _, c := range settings[name] {
			args = append(args, "--config", c)
		}
		got := lk(t, key, nil, args...)
		var line map[string]any
		if err := json.Unmarshal([]byte(got.out), &line); err != nil || got.code != ExitDone || strings.Contains(got.out+got.errOut, rsaPEM[:60]) {
			t.Fatalf("%s: %+v", name, got)
		}
		config := map[string]any{}
		for _, c := range settings[name] {
			k, v, _ := strings.Cut(c, "=")
			config[k] = v
		}
		line["config"], line["secrets"] = config, []string{key}
		if public1[name] {
			line["secrets"] = []string{}
		}
		check := func(what string, line any, want webhook.Reason) {
			t.Helper()
			v := lk(t, lines(t, line), nil, "webhook", "verify", "--request", "-", "--jwks", keys)
			if !strings.Contains(v.out, `"reason":"`+string(want)+`"`) || (want == webhook.Accepted) != strings.Contains(v.out, `"verdict":"accept"`) {
				t.Errorf("%s, %s: %s%s, want %s", name, what, v.out, v.errOut, want)
			}
		}
		check("as signed", line, webhook.Accepted)
		check("through the gateway", edited(line, func(m map[string]any) { m["event_v2"] = true }), webhook.Accepted)
		if !public1[name] {
			check("no secret", edited(line, func(m map[string]any) { m["secrets"] = []string{} }), webhook.NoSecret)
			check("empty secret", edited(line, func(m map[string]any) { m["secrets"] = []string{key, ""} }), webhook.NoSecret)
		}
		check("not as a GET", edited(line, func(m map[string]any) { m["method"] = "DELETE" }), webhook.Method)
	}
	if got := strings.Join(profileNames(), " "); len(strings.Fields(got)) != len(strings.Fields(frozen)) {
		t.Errorf("profiles %s", got)
	}
}

// TestHandshakeLine: the unsigned GET is judged by its token alone.
func TestHandshakeLine(t *testing.T) {
	line := map[string]any{"provider": "whatsapp", "method": "GET", "config": map[string]any{"verify_token": "tok"}, "headers": []any{}, "now_unix": 1,
		"url": "/webhooks/whatsapp/i1?hub.mode=subscribe&hub.verify_token=tok&hub.challenge=42"}
	for _, c := range []struct {
		edit func(map[string]any)
		want webhook.Reason
	}{
		{func(map[string]any) {}, webhook.Handshake},
		{func(m map[string]any) { m["config"] = map[string]any{"verify_token": "other"} }, webhook.HandshakeRefused},
		{func(m map[string]any) { m["config"] = map[string]any{} }, webhook.NoSecret},
		{func(m map[string]any) { m["config"] = map[string]any{"verify_token": ""} }, webhook.NoSecret},
		{func(m map[string]any) { m["provider"] = "github" }, webhook.Method},
		{func(m map[string]any) { m["method"], m["secrets"] = "POST", []string{"s"} }, webhook.SigMissing},
	} {
		got := lk(t, lines(t, edited(line, c.edit)), nil, "webhook", "verify", "--request", "-")
		if !strings.Contains(got.out, `"reason":"`+string(c.want)+`"`) {
			t.Errorf("%s, want %s", got.out, c.want)
		}
	}
}

func TestKeyFile(t *testing.T) {
	const one = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	single, err := readKeyFile([]byte(one))
	if err != nil {
		t.Fatal(err)
	}
	if keys, ok := single.KeySet("any", ""); !ok || len(keys) != 1 {
		t.Error("a file that is one set is that of every name")
	}
	named, err := readKeyFile([]byte(`{"a":` + one + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := named.KeySet("b", ""); ok {
		t.Error("a name that is not there has a set")
	}
	for _, bad := range []string{``, `[]`, `{"a":{}}`, `{"a":` + one + `,"a":` + one + `}`, `{"keys":[]}`} {
		if _, err := readKeyFile([]byte(bad)); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
	line := lines(t, map[string]any{"provider": "slack", "secrets": []string{"s"}})
	if got := lk(t, line, nil, "webhook", "verify", "--request", "-", "--jwks", write(t, "bad.json", "{}x")); got.code != ExitUsage || !strings.Contains(got.errOut, "--jwks: not a key set") {
		t.Errorf("%+v", got)
	}
}
