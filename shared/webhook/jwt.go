package webhook

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
)

// JWT is the scheme of vendors that send a signed token in Authorization. It
// proves the sender; the body is not covered. Only RS256 is known: "none" and
// HMAC algorithms, whose key would be a public one, are refused whatever the
// token or the settings say. Only pinned keys count, never one that the token
// brings or links to.
type JWT struct {
	Profile string // verification profile's name
	// Modes are the vendor's kinds of token; the setting "mode" chooses one by
	// name. With a single one of empty name there is no choice.
	Modes []TokenMode
	// Skew is allowed at both ends of the token's life; the setting
	// "clock_skew_s" may narrow or widen it up to MaxSkew.
	Skew time.Duration
	// Also checks what the token says about the body, after everything else.
	Also func(in Input, key Key, claims Claims) Reason
}

// TokenMode is one kind of token.
type TokenMode struct {
	Name      string
	Published string   // default name of the key set
	Issuers   []string // any of them
	// Email must be the token's verified e-mail; empty: not looked at.
	Email string
	// Fits chooses the mode by the audience when no setting does; nil: the
	// mode is only chosen by name.
	Fits func(audience string) bool
}

// Settings of JWT profiles.
const (
	settingMode       = "mode"
	settingAudMode    = "audience_mode" // the install's name for it
	settingAudience   = "audience"
	settingAppID      = "app_id" // the install's name for the audience
	settingIssuer     = "issuer"
	settingIssuers    = "issuers"
	settingEmail      = "email"
	settingAlgorithms = "algorithms"
	settingSkew       = "clock_skew_s"
)

const (
	rs256    = "RS256"
	maxToken = 16 << 10
	// MaxSkew bounds the setting.
	MaxSkew   = 10 * time.Minute
	bearerTag = "Bearer "
)

// Claims are the members of a token that are looked at.
type Claims struct {
	Issuer        string          `json:"iss"`
	Subject       string          `json:"sub"`
	Audience      json.RawMessage `json:"aud"`
	Expires       *json.Number    `json:"exp"`
	NotBefore     *json.Number    `json:"nbf"`
	IssuedAt      *json.Number    `json:"iat"`
	Email         string          `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
	ServiceURL    string          `json:"serviceurl"`
}

// Name is the profile's name.
func (j JWT) Name() string { return j.Profile }

// NeedsSecret is false: what verifies is public.
func (j JWT) NeedsSecret() bool { return false }

// Check goes from the header to the body: one Authorization header, algorithm,
// key, signature, issuer, audience, life, identity, body.
func (j JWT) Check(in Input, _ []secret.Text, now time.Time) (Result, *Refusal) {
	refuse := func(why Reason) (Result, *Refusal) { return Result{}, &Refusal{why} }
	text, why := in.Header.single("authorization")
	if why != "" {
		return refuse(why)
	}
	tok, why := splitToken(text)
	if why != "" {
		return refuse(why)
	}
	if algs := in.Config[settingAlgorithms]; tok.alg != rs256 || len(algs) > 0 && !slices.Contains(algs, rs256) {
		return refuse(AlgRefused)
	}
	mode, audience, ok := j.mode(in.Config)
	if !ok {
		return refuse(ClaimRefused)
	}
	keys, why := in.keySet(mode.Published, tok.kid)
	if why != "" {
		return refuse(why)
	}
	i := slices.IndexFunc(keys, func(k Key) bool { return k.RSA != nil && k.ID == tok.kid })
	if i < 0 || tok.kid == "" {
		return refuse(KeyUnknown)
	}
	sum := sha256.Sum256([]byte(tok.signed))
	if rsa.VerifyPKCS1v15(keys[i].RSA, crypto.SHA256, sum[:], tok.sig) != nil {
		return refuse(SigMismatch)
	}
	c, why := readClaims(tok)
	if why != "" {
		return refuse(why)
	}
	if !slices.Contains(issuers(in.Config, mode), c.Issuer) || !names(c.Audience, audience) {
		return refuse(ClaimRefused)
	}
	at, why := j.life(c, in.Config, now)
	if why != "" {
		return refuse(why)
	}
	if email := cmpOr(in.Config.Get(settingEmail), mode.Email); mode.Email != "" && (c.Email != email || !isTrue(c.EmailVerified)) {
		return refuse(IdentityRefused)
	}
	if j.Also != nil {
		if why := j.Also(in, keys[i], c); why != "" {
			return refuse(why)
		}
	}
	return Result{SignedAt: at}, nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// isTrue accepts the boolean; some libraries write it as text.
func isTrue(b json.RawMessage) bool { return string(b) == "true" || string(b) == `"true"` }

// token is a token in parts, decoded.
type token struct {
	alg, kid    string
	signed      string
	claims, sig []byte
}

func splitToken(text string) (token, Reason) {
	raw, ok := strings.CutPrefix(text, bearerTag)
	if !ok || len(raw) > maxToken {
		return token{}, SigFormat
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return token{}, SigFormat
	}
	var decoded [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil || strings.ContainsAny(p, "\r\n") {
			return token{}, SigFormat
		}
		decoded[i] = b
	}
	var head struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	// A critical extension is one that we would have to know.
	if jsonwire.Check(decoded[0]) != nil || json.Unmarshal(decoded[0], &head) != nil || head.Crit != nil {
		return token{}, SigFormat
	}
	return token{alg: head.Alg, kid: head.Kid, signed: parts[0] + "." + parts[1], claims: decoded[1], sig: decoded[2]}, ""
}

// mode chooses the kind of token and the audience it must name. The audience is
// a setting: one built from the request would follow a forged host.
func (j JWT) mode(c Config) (TokenMode, string, bool) {
	audience := cmpOr(c.Get(settingAudience), c.Get(settingAppID))
	name := cmpOr(c.Get(settingMode), c.Get(settingAudMode))
	for _, m := range j.Modes {
		if m.Name == name && name != "" || name == "" && (m.Name == "" || m.Fits != nil && m.Fits(audience)) {
			return m, audience, audience != ""
		}
	}
	return TokenMode{}, "", false
}

func issuers(c Config, m TokenMode) []string {
	if set := append(slices.Clone(c[settingIssuer]), c[settingIssuers]...); len(set) > 0 {
		return set
	}
	return m.Issuers
}

// names says whether aud is want, as text or as a list of one.
func names(aud json.RawMessage, want string) bool {
	var one string
	var list []string
	switch {
	case json.Unmarshal(aud, &one) == nil:
		return one == want
	case json.Unmarshal(aud, &list) == nil:
		return len(list) == 1 && list[0] == want
	}
	return false
}

// life checks exp, nbf and iat; exp is required.
func (j JWT) life(c Claims, settings Config, now time.Time) (at time.Time, why Reason) {
	skew := j.Skew
	if text := settings.Get(settingSkew); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || time.Duration(n)*time.Second > MaxSkew {
			return at, ClaimRefused
		}
		skew = time.Duration(n) * time.Second
	}
	exp, ok := numericDate(c.Expires)
	if !ok {
		return at, ClaimRefused
	}
	if !now.Before(exp.Add(skew)) {
		return at, Stale
	}
	for _, n := range []*json.Number{c.NotBefore, c.IssuedAt} {
		if n == nil {
			continue
		}
		t, ok := numericDate(n)
		if !ok {
			return at, ClaimRefused
		}
		if now.Before(t.Add(-skew)) {
			return at, Future
		}
		at = t
	}
	return at, ""
}

// numericDate reads whole seconds; a fraction is cut off.
func numericDate(n *json.Number) (time.Time, bool) {
	if n == nil {
		return time.Time{}, false
	}
	whole, _, _ := strings.Cut(n.String(), ".")
	return parseTime(UnixSeconds, whole)
}

// Audience is the audience of the token in a request that was verified, "" if it
// names none or several.
func Audience(h Header) string {
	text, why := h.single("authorization")
	if why != "" {
		return ""
	}
	tok, why := splitToken(text)
	if why != "" {
		return ""
	}
	var c Claims
	if json.Unmarshal(tok.claims, &c) != nil {
		return ""
	}
	var one string
	var list []string
	if json.Unmarshal(c.Audience, &list) == nil && len(list) == 1 {
		return list[0]
	}
	_ = json.Unmarshal(c.Audience, &one)
	return one
}

// Sign adds a token to in. The key is an RSA private key in PEM (PKCS #8); its
// key id is the setting "kid" or "test", claims come from the settings.
func (j JWT) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	mode, audience, ok := j.mode(in.Config)
	if !ok {
		return errUnsignable
	}
	claims := map[string]any{"iss": issuers(in.Config, mode)[0], "aud": audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if mode.Email != "" {
		claims["email"], claims["email_verified"] = cmpOr(in.Config.Get(settingEmail), mode.Email), true
	}
	var activity struct {
		ServiceURL string `json:"serviceUrl"`
	}
	if j.Also != nil && json.Unmarshal(in.Body, &activity) == nil && activity.ServiceURL != "" {
		claims["serviceurl"] = activity.ServiceURL
	}
	head, _ := json.Marshal(map[string]string{"alg": rs256, "typ": "JWT", "kid": cmpOr(in.Config.Get("kid"), "test")})
	body, _ := json.Marshal(claims)
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	if in.Header == nil {
		in.Header = Header{}
	}
	return key.Use(func(text []byte) error {
		block, _ := pem.Decode(text)
		if block == nil {
			return errUnsignable
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		private, ok := parsed.(*rsa.PrivateKey)
		if err != nil || !ok {
			return errUnsignable
		}
		sum := sha256.Sum256([]byte(signed))
		sig, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
		if err != nil {
			return errUnsignable
		}
		in.Header.Add("authorization", bearerTag+signed+"."+base64.RawURLEncoding.EncodeToString(sig))
		return nil
	})
}
