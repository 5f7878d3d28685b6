package webhook_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/webhook"
)

func TestParseKeySet(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	n := b64(k.N.Bytes())
	// RFC 8037, appendix A.2.
	const ed = `{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	good := fmt.Sprintf(`{"kty":"RSA","kid":"a","n":%q,"e":"AQAB","endorsements":["msteams"]}`, n)
	keys, err := webhook.ParseKeySet([]byte(`{"keys":[` + good + `,` + ed + `,{"kty":"EC"},{"kty":"RSA","use":"enc"}]}`))
	if err != nil || len(keys) != 2 || keys[0].RSA.E != 65537 || keys[0].RSA.N.Cmp(k.N) != 0 || keys[0].Endorsements[0] != "msteams" || len(keys[1].Ed25519) != 32 {
		t.Fatalf("%v %v", keys, err)
	}
	short := b64(new(big.Int).Rsh(k.N, 1100).Bytes())
	for name, bad := range map[string]string{
		"nothing":        ``,
		"no keys":        `{"keys":[]}`,
		"none usable":    `{"keys":[{"kty":"EC"}]}`,
		"same id twice":  `{"keys":[` + good + `,` + good + `]}`,
		"same member":    `{"keys":[` + good + `],"keys":[]}`,
		"short modulus":  fmt.Sprintf(`{"keys":[{"kty":"RSA","n":%q,"e":"AQAB"}]}`, short),
		"exponent of 1":  fmt.Sprintf(`{"keys":[{"kty":"RSA","n":%q,"e":"AQ"}]}`, n),
		"even exponent":  fmt.Sprintf(`{"keys":[{"kty":"RSA","n":%q,"e":"BA"}]}`, n),
		"huge exponent":  fmt.Sprintf(`{"keys":[{"kty":"RSA","n":%q,"e":"AQAAAAE"}]}`, n),
		"no modulus":     `{"keys":[{"kty":"RSA","e":"AQAB"}]}`,
		"Ed25519 of 31":  fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`, b64(make([]byte, 31))),
		"padded base64":  `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}]}`,
		"something else": `[1]`,
	} {
		if keys, err := webhook.ParseKeySet([]byte(bad)); err == nil {
			t.Errorf("%s gave %v", name, keys)
		}
	}
}

// published is a certificate of a key, as an object by the key's id.
func published(t testing.TB, id string, public, private any) string {
	t.Helper()
	of := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, public, private)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]string{id: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	return string(b)
}

func TestParseCertificates(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	good := published(t, "a", &k.PublicKey, k)
	keys, err := webhook.ParseCertificates([]byte(good))
	if err != nil || len(keys) != 1 || keys[0].ID != "a" || keys[0].RSA.N.Cmp(k.N) != 0 {
		t.Fatalf("%v %v", keys, err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "empty": "{}", "a list": "[]", "no text": `{"a":1}`, "no certificate": `{"a":"x"}`, "no id": published(t, "", &k.PublicKey, k),
		"a long id": published(t, strings.Repeat("x", 257), &k.PublicKey, k), "another kind of key": published(t, "a", public, private),
		"text behind it": strings.Replace(good, `"}`, `x"}`, 1), "same id twice": good[:len(good)-1] + "," + good[1:],
		"a key as such": strings.ReplaceAll(good, "CERTIFICATE", "PUBLIC KEY"), "damaged": strings.Replace(good, "MII", "MIJ", 1),
	} {
		if keys, err := webhook.ParseCertificates([]byte(bad)); err == nil {
			t.Errorf("%s gave %v", name, keys)
		}
	}
}

// FuzzParseCertificates: what is accepted has RSA keys that can be verified with.
func FuzzParseCertificates(f *testing.F) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(published(f, "a", &k.PublicKey, k)))
	f.Add([]byte(`{"a":"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := webhook.ParseCertificates(b)
		if err == nil && len(keys) == 0 {
			t.Fatal("an empty set")
		}
		for _, k := range keys {
			if k.ID == "" || k.RSA == nil || k.RSA.N.BitLen() < 2048 {
				t.Fatalf("%+v", k)
			}
		}
	})
}

// TestAudience: what a verified token was made for, and nothing of any other form.
func TestAudience(t *testing.T) {
	for claims, want := range map[string]string{`{"aud":"a"}`: "a", `{"aud":["a"]}`: "a", `{"aud":["a","b"]}`: "", `{"aud":[]}`: "", `{"aud":1}`: "", `{}`: "", `x`: ""} {
		token := "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".e30"
		if got := webhook.Audience(webhook.Header{"authorization": {token}}); got != want {
			t.Errorf("%s: %q", claims, got)
		}
		if got := webhook.Audience(webhook.Header{"authorization": {token, token}}); got != "" {
			t.Errorf("%s twice: %q", claims, got)
		}
	}
}

// FuzzParseKeySet: what is accepted has keys that can be verified with.
func FuzzParseKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := webhook.ParseKeySet(b)
		if err == nil && len(keys) == 0 {
			t.Fatal("an empty set")
		}
		for _, k := range keys {
			if (k.RSA == nil) == (len(k.Ed25519) == 0) || k.RSA != nil && k.RSA.N.BitLen() < 2048 {
				t.Fatalf("%+v", k)
			}
		}
	})
}
