package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/webhooktest"
)

// tagged has every optional column filled.
var tagged = webhook.HMAC{
	Profile: "tagged", Header: "X-Sig", Prefix: "v9=",
	Message:    []webhook.Part{webhook.Literal("v9:"), webhook.TimeText(), webhook.Literal(":"), webhook.RawBody()},
	TimeHeader: "X-Time", TimeFormat: webhook.UnixSeconds, Tolerance: time.Minute,
}

func TestSuite(t *testing.T) {
	body := []byte(`{"text":"größer"}`)
	b64 := func(s string) secret.Text {
		return secret.FromString(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	text := secret.FromString
	for _, h := range []webhooktest.Harness{
		{Scheme: tagged, Key: text("k1"), Other: text("k2"), TimeHeader: "X-Time"},
		{Scheme: webhook.HMAC{Profile: "bare", Header: "X-Sig", Encoding: webhook.Base64, Message: []webhook.Part{webhook.RawBody()}}, Key: text("k1"), Other: text("k2")},
		{Scheme: webhook.HMAC{Profile: "sha1", Header: "X-Sig", Prefix: "sha1=", Digest: webhook.SHA1, Message: []webhook.Part{webhook.RawBody()}}, Key: text("k1"), Other: text("k2")},
		{Scheme: webhook.HMAC{Profile: "b64key", Header: "X-Sig", Prefix: "HMAC ", Encoding: webhook.Base64, Key: webhook.KeyBase64, Message: []webhook.Part{webhook.RawBody()}}, Key: b64("k1"), Other: b64("k2")},
	} {
		h.Body, h.SignatureHeader, h.Tolerance, h.Sign = body, "X-Sig", time.Minute, h.Scheme.(webhook.HMAC)
		t.Run(h.Scheme.Name(), func(t *testing.T) { webhooktest.Run(t, h) })
	}
}

func TestURLAndFormats(t *testing.T) {
	key := secret.FromString("k1")
	for _, f := range []webhook.TimeFormat{webhook.UnixMillis, webhook.ISO8601} {
		s := webhook.HMAC{Profile: "url", Header: "X-Sig", TimeHeader: "X-Time", TimeFormat: f, Tolerance: time.Minute,
			Message: []webhook.Part{webhook.MethodText(), webhook.ConfiguredURL(), webhook.RawBody(), webhook.TimeText()}}
		in := webhook.Input{Method: "POST", PublicURL: "https://a.example/x", RawQuery: "b=1", Body: []byte("x")}
		if err := s.Sign(&in, key, webhooktest.Now()); err != nil {
			t.Fatal(err)
		}
		reason := func(in webhook.Input, now time.Time) webhook.Reason {
			if _, r := webhook.Verify(s, in, []secret.Text{key}, now); r != nil {
				return r.Reason
			}
			return ""
		}
		if got := reason(in, webhooktest.Now()); got != "" {
			t.Fatalf("format %d refused: %s", f, got)
		}
		if got := reason(in, webhooktest.Now().Add(61*time.Second)); got != webhook.Stale {
			t.Fatalf("stale: %q", got)
		}
		if got := reason(in, webhooktest.Now().Add(-61*time.Second)); got != webhook.Future {
			t.Fatalf("future: %q", got)
		}
		for name, change := range map[string]func(*webhook.Input){
			"method": func(in *webhook.Input) { in.Method = "PUT" },
			"url":    func(in *webhook.Input) { in.PublicURL = "https://b.example/x" },
			"query":  func(in *webhook.Input) { in.RawQuery = "b=2" },
		} {
			changed := in
			change(&changed)
			if got := reason(changed, webhooktest.Now()); got != webhook.SigMismatch {
				t.Fatalf("%s: %q", name, got)
			}
		}
	}
}

func TestAlgorithmDowngrade(t *testing.T) {
	in := webhook.Input{Body: []byte("x")}
	if err := tagged.Sign(&in, secret.FromString("k"), webhooktest.Now()); err != nil {
		t.Fatal(err)
	}
	in.Header["x-sig"][0] = "sha1=" + in.Header["x-sig"][0][3:]
	_, r := webhook.Verify(tagged, in, []secret.Text{secret.FromString("k")}, webhooktest.Now())
	if r == nil || r.Reason != webhook.AlgRefused {
		t.Fatalf("refusal %v", r)
	}
}

func TestResult(t *testing.T) {
	in := webhook.Input{Body: []byte("x")}
	if err := tagged.Sign(&in, secret.FromString("k"), webhooktest.Now()); err != nil {
		t.Fatal(err)
	}
	got, r := webhook.Verify(tagged, in, []secret.Text{secret.FromString("other"), secret.FromString("k")}, webhooktest.Now())
	if r != nil || got.SecretIndex != 1 || !got.SignedAt.Equal(webhooktest.Now()) || !got.BodySigned {
		t.Fatalf("%+v %v", got, r)
	}
}

func TestConfigJSON(t *testing.T) {
	var c webhook.Config
	if err := json.Unmarshal([]byte(`{"a":"x","b":["y","z"]}`), &c); err != nil || c.Get("a") != "x" || len(c["b"]) != 2 || c.Get("c") != "" {
		t.Fatalf("%v %v", c, err)
	}
	for _, bad := range []string{`{"a":1}`, `{"a":null}`, `{"a":{}}`, `{"a":[1]}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
}

// FuzzVerify: nothing but the signer's own headers verifies, and nothing panics.
func FuzzVerify(f *testing.F) {
	f.Add("v9=00", "1772600767", []byte("x"))
	f.Add("", "", []byte(nil))
	f.Add("v9=\r\n", "\u0661", []byte("x"))
	key := []secret.Text{secret.FromString("never published")}
	b64 := webhook.HMAC{Profile: "b", Header: "X-Sig", Encoding: webhook.Base64, Message: []webhook.Part{webhook.RawBody()}}
	f.Fuzz(func(t *testing.T, sig, stamp string, body []byte) {
		in := webhook.Input{Header: webhook.FromSingle(map[string]string{"X-Sig": sig, "X-Time": stamp}), Body: body}
		for _, s := range []webhook.Scheme{tagged, b64} {
			if _, r := webhook.Verify(s, in, key, webhooktest.Now()); r == nil {
				t.Fatal("a guess verified")
			}
		}
	})
}
