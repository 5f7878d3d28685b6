package googlechat

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
)

// Facts of the trade (developers.google.com/identity/protocols/oauth2/service-account,
// "HTTP/REST", and developers.google.com/workspace/chat/authenticate-authorize-chat-app,
// read 2026-11). What is signed names Google's address, wherever it is sent.
const (
	scope         = "https://www.googleapis.com/auth/chat.bot"
	tokenAudience = "https://" + tokenHost + "/token"
	grantType     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	claimLife     = time.Hour
)

// Bounds: a key's file has about 2,400 bytes.
const (
	maxAccount = 16 << 10
	minKeyBits = 2048
	maxKeyBits = 4096
	maxEmail   = 254
	maxKeyID   = 128
)

// account is a service account that can sign.
type account struct {
	email, keyID string
	key          *rsa.PrivateKey
}

// readAccount reads the file of a service account's key. The addresses in it are not
// looked at: the file is the customer's, and a signature must not go where it says.
func readAccount(b []byte) (account, bool) {
	var file struct {
		Type  string      `json:"type"`
		Email string      `json:"client_email"`
		KeyID string      `json:"private_key_id"`
		Key   secret.Text `json:"private_key"`
	}
	if len(b) > maxAccount || jsonwire.Check(b) != nil || json.Unmarshal(b, &file) != nil || file.Type != "service_account" {
		return account{}, false
	}
	a := account{email: file.Email, keyID: file.KeyID}
	if !strings.Contains(a.email, "@") || len(a.email) > maxEmail || !vendorapi.Printable(a.email) || len(a.keyID) > maxKeyID || !vendorapi.Printable(a.keyID) {
		return account{}, false
	}
	_ = file.Key.Use(func(text []byte) error {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if k, ok := parsed.(*rsa.PrivateKey); err == nil && ok && k.N.BitLen() >= minKeyBits && k.N.BitLen() <= maxKeyBits {
			a.key = k
		}
		return nil
	})
	return a, a.key != nil
}

// claim is a signed request for a token.
func (a account) claim(now time.Time) (string, bool) {
	head, err1 := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": a.keyID})
	body, err2 := json.Marshal(map[string]any{"iss": a.email, "scope": scope, "aud": tokenAudience, "iat": now.Unix(), "exp": now.Add(claimLife).Unix()})
	if err1 != nil || err2 != nil {
		return "", false
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, a.key, crypto.SHA256, sum[:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), err == nil
}

// trade implements [channel.Exchange].
func trade(ctx context.Context, c channel.Call, now time.Time) (channel.Traded, *channel.Failure) {
	claim, ok := "", false
	_ = c.Token.Use(func(b []byte) error {
		if a, readable := readAccount(b); readable {
			claim, ok = a.claim(now)
		}
		return nil
	})
	if !ok {
		return channel.Traded{}, &channel.Failure{Certainty: channel.Refused, Code: "service_account_malformed", TokenRejected: true}
	}
	c.Token = secret.FromString(claim)
	inForm := func(*http.Request, string) bool { return true }
	r, f := vendorapi.PostForm(ctx, c, "/token", url.Values{"grant_type": {grantType}, "assertion": {claim}}, inForm)
	return vendorapi.Granted(r, f)
}
