package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Ed25519 is the scheme of vendors that sign with a private key. Public keys are
// settings of the install (hex, one per element of the setting KeysSetting) or,
// when Published is set, keys of a published set.
type Ed25519 struct {
	Profile    string // verification profile's name
	Header     string // 128 hex digits
	TimeHeader string // Unix seconds
	// Before are headers whose values are signed before the time.
	Before []string
	// Separator stands between the signed parts.
	Separator string
	// HashBody signs the body's SHA-256 in hex in place of the body.
	HashBody bool
	// Published is the key set's default name; empty: KeysSetting counts.
	Published string
	// IdentityHeader must equal the setting IdentitySetting, which must be set:
	// every customer of a vendor shares one published set. Empty: no such check.
	IdentityHeader, IdentitySetting string
	// Tolerance bounds the timestamp in both directions, inclusive.
	Tolerance time.Duration
}

// KeysSetting is the setting with an install's public keys.
const KeysSetting = "public_keys"

// MaxKeys bounds the work of one request; with more of them none verifies.
const MaxKeys = 8

// errUnsignable is returned by signers for a request that lacks what they sign,
// or a key of another form.
var errUnsignable = errors.New("webhook: a setting, URL or key that the signature needs is missing or malformed")

// Name is the profile's name.
func (e Ed25519) Name() string { return e.Profile }

// NeedsSecret is false: what verifies is public.
func (e Ed25519) NeedsSecret() bool { return false }

// Check verifies under every key before it looks at the clock and at who sent it.
func (e Ed25519) Check(in Input, _ []secret.Text, now time.Time) (Result, *Refusal) {
	keys, why := e.keys(in)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	text, why := in.Header.single(e.Header)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	sig, err := hex.DecodeString(text)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return Result{}, &Refusal{SigFormat}
	}
	message, at, why := e.message(in)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	match := -1
	for i, k := range keys {
		if ed25519.Verify(k, message, sig) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	if why := outside(at, now, e.Tolerance, e.Tolerance); why != "" {
		return Result{}, &Refusal{why}
	}
	if e.IdentityHeader != "" {
		if want := in.Config.Get(e.IdentitySetting); want == "" || in.Header.Values(e.IdentityHeader)[0] != want {
			return Result{}, &Refusal{IdentityRefused}
		}
	}
	return Result{SecretIndex: match, SignedAt: at, BodySigned: true}, nil
}

// keys are the public keys; one of a wrong length refuses all, because verifying
// with it would panic and it means that the install is damaged.
func (e Ed25519) keys(in Input) ([]ed25519.PublicKey, Reason) {
	if e.Published != "" {
		set, why := in.keySet(e.Published, "")
		if why != "" {
			return nil, why
		}
		var out []ed25519.PublicKey
		for _, k := range set {
			if len(k.Ed25519) == ed25519.PublicKeySize && len(out) < MaxKeys {
				out = append(out, k.Ed25519)
			}
		}
		if len(out) == 0 {
			return nil, KeySetUnavailable
		}
		return out, ""
	}
	var out []ed25519.PublicKey
	for _, text := range in.Config[KeysSetting] {
		k, err := hex.DecodeString(text)
		if err != nil || len(k) != ed25519.PublicKeySize || len(out) == MaxKeys {
			return nil, NoSecret
		}
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, NoSecret
	}
	return out, ""
}

// message is what is signed, and the time in it.
func (e Ed25519) message(in Input) ([]byte, time.Time, Reason) {
	var parts []string
	for _, name := range append(append([]string(nil), e.Before...), e.TimeHeader) {
		v, why := in.Header.single(name)
		if why != "" {
			return nil, time.Time{}, why
		}
		// A value with a separator could take another one's place.
		if len(v) > maxHeader || e.Separator != "" && strings.Contains(v, e.Separator) {
			return nil, time.Time{}, SigFormat
		}
		parts = append(parts, v)
	}
	at, ok := parseTime(UnixSeconds, parts[len(parts)-1])
	if !ok {
		return nil, time.Time{}, SigFormat
	}
	body := string(in.Body)
	if e.HashBody {
		sum := sha256.Sum256(in.Body)
		body = hex.EncodeToString(sum[:])
	}
	return []byte(strings.Join(append(parts, body), e.Separator)), at, ""
}

// Sign adds the headers to in. The key is the private key's seed, 64 hex digits;
// headers that are signed before the time are taken from in or from the setting
// that identity is compared with.
func (e Ed25519) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	for _, name := range e.Before {
		switch {
		case len(in.Header.Values(name)) > 0:
		case name == e.IdentityHeader && in.Config.Get(e.IdentitySetting) != "":
			in.Header.Add(name, in.Config.Get(e.IdentitySetting))
		default:
			in.Header.Add(name, "signed-at-"+formatTime(UnixSeconds, now))
		}
	}
	in.Header.Add(e.TimeHeader, formatTime(UnixSeconds, now))
	message, _, why := e.message(*in)
	if why != "" {
		return errUnsignable
	}
	return key.Use(func(text []byte) error {
		seed, err := hex.DecodeString(string(text))
		if err != nil || len(seed) != ed25519.SeedSize {
			return errUnsignable
		}
		in.Header.Add(e.Header, hex.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(seed), message)))
		return nil
	})
}
