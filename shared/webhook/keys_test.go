package webhook_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
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
