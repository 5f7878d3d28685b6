package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
)

// VisitorToken is the scheme of a channel without a vendor: whoever holds an install's
// secret signs a short token for one visitor, who sends it in Authorization. It is a
// JWT with HS256 and no other algorithm, whatever the token says. It must name the
// visitor (sub), the install that it is for (aud), when it was made (iat) and when it
// ends (exp). It proves the visitor and does not cover the body.
type VisitorToken struct {
	Profile string // verification profile's name
	// MaxLife is how long a token may be good for, Skew what is allowed at both ends.
	MaxLife, Skew time.Duration
	// MinSecret is how many bytes a secret has at least: a token gives everybody who
	// sees it the means to try secrets.
	MinSecret int
}

const (
	hs256 = "HS256"
	// MaxVisitor bounds the name of a visitor, in bytes.
	MaxVisitor = 128
	// settingVisitor is what [VisitorToken.Sign] names.
	settingVisitor = "visitor"
)

// ValidVisitor reports whether a visitor can be named so: 1 to [MaxVisitor] printable
// ASCII characters without spaces.
func ValidVisitor(s string) bool {
	return s != "" && len(s) <= MaxVisitor && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Name is the profile's name.
func (v VisitorToken) Name() string { return v.Profile }

// NeedsSecret is true.
func (v VisitorToken) NeedsSecret() bool { return true }

// Check compares under every secret before it looks at a claim.
func (v VisitorToken) Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	refuse := func(why Reason) (Result, *Refusal) { return Result{}, &Refusal{why} }
	text, why := in.Header.single("authorization")
	if why != "" {
		return refuse(why)
	}
	tok, why := splitToken(text)
	if why != "" {
		return refuse(why)
	}
	if tok.alg != hs256 {
		return refuse(AlgRefused)
	}
	if len(tok.sig) != sha256.Size {
		return refuse(SigFormat)
	}
	match := -1
	for i, k := range secrets {
		want, err := v.mac(tok.signed, k)
		if err != nil {
			return refuse(NoSecret)
		}
		if hmac.Equal(want, tok.sig) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return refuse(SigMismatch)
	}
	c, why := readClaims(tok)
	if why != "" {
		return refuse(why)
	}
	if in.Install == "" || !names(c.Audience, in.Install) || !ValidVisitor(c.Subject) {
		return refuse(ClaimRefused)
	}
	at, why := v.life(c, now)
	if why != "" {
		return refuse(why)
	}
	return Result{SecretIndex: match, SignedAt: at}, nil
}

// life checks the ends of the token, and that they are not further apart than they may.
func (v VisitorToken) life(c Claims, now time.Time) (time.Time, Reason) {
	at, why := JWT{Skew: v.Skew}.life(c, nil, now)
	if why != "" {
		return at, why
	}
	made, dated := numericDate(c.IssuedAt)
	ends, _ := numericDate(c.Expires)
	if !dated || ends.Sub(made) > v.MaxLife {
		return at, ClaimRefused
	}
	return made, ""
}

func readClaims(tok token) (Claims, Reason) {
	var c Claims
	if jsonwire.Check(tok.claims) != nil || json.Unmarshal(tok.claims, &c) != nil {
		return c, SigFormat
	}
	return c, ""
}

// Visitor is the visitor of the token in a request that was verified, "" if it names
// none.
func Visitor(h Header) string {
	text, why := h.single("authorization")
	if why != "" {
		return ""
	}
	tok, why := splitToken(text)
	if why != "" {
		return ""
	}
	c, why := readClaims(tok)
	if why != "" || !ValidVisitor(c.Subject) {
		return ""
	}
	return c.Subject
}

// Mint makes a token for a visitor of an install that is good for life from now.
// [ErrEmptySecret] where the secret is none or too short.
func (v VisitorToken) Mint(install, visitor string, key secret.Text, now time.Time, life time.Duration) (string, error) {
	if !ValidVisitor(visitor) || install == "" || life <= 0 || life > v.MaxLife {
		return "", errUnsignable
	}
	head, _ := json.Marshal(map[string]string{"alg": hs256, "typ": "JWT"})
	claims, _ := json.Marshal(map[string]any{"sub": visitor, "aud": install, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(claims)
	mac, err := v.mac(signed, key)
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac), nil
}

// Sign adds a token of an hour for the visitor that the setting "visitor" names.
func (v VisitorToken) Sign(in *Input, key secret.Text, now time.Time) error {
	text, err := v.Mint(in.Install, in.Config.Get(settingVisitor), key, now, min(time.Hour, v.MaxLife))
	if err != nil {
		return err
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	in.Header.Add("authorization", bearerTag+text)
	return nil
}

func (v VisitorToken) mac(signed string, k secret.Text) (sum []byte, err error) {
	err = k.Use(func(key []byte) error {
		if len(key) == 0 || len(key) < v.MinSecret {
			return ErrEmptySecret
		}
		m := hmac.New(sha256.New, key)
		m.Write([]byte(signed))
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}
