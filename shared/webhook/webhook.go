// Package webhook decides whether a raw HTTP request was made by the holder of
// an install's verification secret.
//
// A vendor's way of signing is a [Scheme], data for one of a few mechanisms:
// [HMAC] (one MAC in one header), [HMACList], [Standard], [URLForm], [Ed25519],
// [JWT], [SharedValue], [BodyFields], [VisitorToken]. The rows of vendors without an adapter are
// in the package profiles.
// [Verify] works on the bytes as they arrived and must run before anything is
// parsed. It guarantees: an absent or empty secret never verifies; every live
// secret is always computed, so the answer's time does not tell which one is
// live; MACs are compared decoded, at full length and in constant time; a
// repeated signature or timestamp header is refused; where a vendor signs a
// time, both clock directions are bounded; each refusal has its own [Reason].
//
// Not here: who the request is about (the identity in a verified body is
// compared by the caller) and replay inside the tolerance (the caller's dedupe).
// The clock is a parameter. Everything is safe for concurrent use.
package webhook

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Reason is a stable audit code that says why a request was not dispatched. It
// is written to audit rows and never to the sender.
type Reason string

// Reasons that verification itself gives.
const (
	NoSecret        Reason = "hook.no_secret"
	SigMissing      Reason = "hook.sig_missing"
	SigFormat       Reason = "hook.sig_format"
	SigMismatch     Reason = "hook.sig_mismatch"
	Stale           Reason = "hook.stale"
	Future          Reason = "hook.future"
	HeaderDuplicate Reason = "hook.header_duplicate"
	AlgRefused      Reason = "hook.alg_refused"
	// KeyUnknown is a token whose key is not in the pinned set.
	KeyUnknown        Reason = "hook.key_unknown"
	KeySetUnavailable Reason = "hook.jwks_unavailable"
	ClaimRefused      Reason = "hook.claim_refused"
	IdentityRefused   Reason = "hook.identity_refused"
	ServiceURLRefused Reason = "hook.service_url_refused"
	// NoPublicURL is an install without the URL that its vendor signs.
	NoPublicURL      Reason = "hook.no_public_url"
	HandshakeRefused Reason = "hook.handshake_refused"
)

// Reasons of the path around verification.
const (
	InstallUnknown    Reason = "hook.install_unknown"
	ProviderMismatch  Reason = "hook.provider_mismatch"
	InstallInactive   Reason = "hook.install_inactive"
	SecretUnavailable Reason = "hook.secret_unavailable"
	Method            Reason = "hook.method"
	TooLarge          Reason = "hook.too_large"
	BadPayload        Reason = "hook.bad_payload"
	TenantMismatch    Reason = "hook.tenant_mismatch"
	Unbound           Reason = "hook.unbound"
	Duplicate         Reason = "hook.duplicate"
	DuplicateContent  Reason = "hook.duplicate_content"
	PersonUnavailable Reason = "hook.person_unavailable"
	DedupeUnavailable Reason = "hook.dedupe_unavailable"
	EnqueueFailed     Reason = "hook.enqueue_failed"
	Unfinished        Reason = "hook.unfinished" // the time was up within a batch
	InstallLookup     Reason = "hook.install_unavailable"
	Handshake         Reason = "hook.handshake"
	Accepted          Reason = "hook.accepted"
	NotDispatched     Reason = "hook.install_verifying"
	// OriginRefused is a page that is not among those that the install is for.
	OriginRefused Reason = "hook.origin_refused"
	// Busy is one of too many requests of one visitor.
	Busy Reason = "hook.busy"
	// ShownUnavailable is a conversation that could not be read.
	ShownUnavailable Reason = "hook.conversation_unavailable"
	// Flood is a refusal like many before it from the same sender.
	Flood Reason = "hook.flood"
)

// Pages reports whether somebody has to look at a refusal at once: an install has
// lost its secret, or one tenant's secret signs for another.
func (r Reason) Pages() bool { return r == NoSecret || r == TenantMismatch }

// Refusal says why a request was not accepted. It is deliberately no error: a
// refusal is an answer, and a nil *Refusal inside an error would not be nil.
type Refusal struct{ Reason Reason }

// Result describes an accepted request.
type Result struct {
	// SecretIndex is the position of the secret that matched.
	SecretIndex int
	// SignedAt is the signed timestamp, zero for schemes without one.
	SignedAt time.Time
	// BodySigned is false for schemes that prove the sender but do not cover
	// the body; policies may refuse high-risk work on such a request.
	BodySigned bool
}

// Input is a request as it arrived. Body must be the exact bytes.
type Input struct {
	Method   string
	Path     string
	RawQuery string
	Header   Header
	Body     []byte
	// Install is the id in the path, for schemes whose tokens are made for one.
	Install string
	// PublicURL is the URL as configured at the vendor, for schemes that sign
	// it. It is never rebuilt from the request, whose Host can be forged.
	PublicURL string
	// Config holds the install's public settings.
	Config Config
	// Keys finds published key sets, for schemes that verify with them; nil
	// refuses their requests.
	Keys KeySets
}

// Scheme is one way to prove who sent a request. Check is called by [Verify]
// with at least one secret when NeedsSecret is true, all of them not empty.
type Scheme interface {
	// Name is the verification profile's name.
	Name() string
	// NeedsSecret is false for schemes that verify with public keys.
	NeedsSecret() bool
	// Check returns the result or the reason against the request.
	Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal)
}

// Signer is a scheme that can also make requests, for tests and for the
// command-line tool. Sign adds the headers to in.Header.
type Signer interface {
	Sign(in *Input, key secret.Text, now time.Time) error
}

// URLSigner is a scheme that signs the URL as it is configured at the vendor.
type URLSigner interface {
	// URLHint says in what the URL that was signed differs from in.PublicURL, for a
	// request that did not verify; "" if none of those that it knows was signed.
	URLHint(in Input, secrets []secret.Text) URLHint
}

// URLHint is in what two URLs differ. It is written to records, never to the sender.
type URLHint string

// Hints.
const (
	HintSlash  URLHint = "slash"  // at the end of the path
	HintPort   URLHint = "port"   // :443
	HintScheme URLHint = "scheme" // http
	HintQuery  URLHint = "query"  // none, or that of the request
	// HintRequest: the URL at which the request arrived was signed.
	HintRequest URLHint = "request"
)

// HintCodes begin what stands for a hint among audit codes.
const HintCodes = "hook.url_hint."

// ErrEmptySecret is returned by signers: an empty key signs nothing.
var ErrEmptySecret = errors.New("webhook: empty secret")

// Verify checks in against every live secret. One empty secret among several
// refuses the request: it means that the install's secrets are damaged.
func Verify(s Scheme, in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	if s.NeedsSecret() && len(secrets) == 0 {
		return Result{}, &Refusal{NoSecret}
	}
	for _, k := range secrets {
		if k.IsZero() {
			return Result{}, &Refusal{NoSecret}
		}
	}
	return s.Check(in, secrets, now)
}

// Header holds header values by lower-case name, in the order received.
type Header map[string][]string

// Add appends a value.
func (h Header) Add(name, value string) {
	name = strings.ToLower(name)
	h[name] = append(h[name], value)
}

// Values returns all values of a header.
func (h Header) Values(name string) []string { return h[strings.ToLower(name)] }

// FromSingle builds a Header from a map of one value per name, as HTTP API
// events of format 2.0 have; repeated headers arrive there joined by a comma.
func FromSingle(m map[string]string) Header {
	h := make(Header, len(m))
	for k, v := range m {
		h.Add(k, v)
	}
	return h
}

// single returns the only value of a header. A comma means a repeated header
// that a gateway has joined: no signature or timestamp we accept contains one.
func (h Header) single(name string) (string, Reason) {
	vs := h.Values(name)
	switch {
	case len(vs) == 0 || len(vs) == 1 && vs[0] == "":
		return "", SigMissing
	case len(vs) > 1 || strings.Contains(vs[0], ","):
		return "", HeaderDuplicate
	}
	return vs[0], ""
}

// Config is an install's settings: name to values. Most have one value.
type Config map[string][]string

// Get returns the first value, "" if there is none.
func (c Config) Get(name string) string {
	if vs := c[name]; len(vs) > 0 {
		return vs[0]
	}
	return ""
}

// errConfig is returned for settings that are neither text nor a list of text.
var errConfig = errors.New("webhook: a setting is text or a list of texts")

// UnmarshalJSON accepts text or a list of texts per name.
func (c *Config) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return errConfig
	}
	out := make(Config, len(raw))
	for name, v := range raw {
		var one string
		var many []string
		switch {
		case len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &one) == nil:
			out[name] = []string{one}
		case len(v) > 0 && v[0] == '[' && json.Unmarshal(v, &many) == nil:
			out[name] = many
		default:
			return errConfig
		}
	}
	*c = out
	return nil
}
