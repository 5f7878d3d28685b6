package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Digest is the hash below the MAC.
type Digest int

// Digests. SHA-1 exists because two vendors sign with nothing else; a row that
// names SHA-256 never accepts it.
const (
	SHA256 Digest = iota
	SHA1
)

func (d Digest) size() int {
	if d == SHA1 {
		return sha1.Size
	}
	return sha256.Size
}

func (d Digest) new() hash.Hash {
	if d == SHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// Encoding is how the MAC is written in its header.
type Encoding int

// Encodings. Base64 is the standard alphabet with padding.
const (
	Hex Encoding = iota
	Base64
)

// KeyForm says what the key bytes are. One vendor's "whsec_" text is the key
// itself, another's is base64 after that prefix: never share a form.
type KeyForm int

// Key forms.
const (
	KeyText KeyForm = iota
	KeyBase64
)

// TimeFormat is how a timestamp header is written.
type TimeFormat int

// Time formats.
const (
	UnixSeconds TimeFormat = iota
	UnixMillis
	ISO8601
)

// part is what one piece of the signed message is.
type part int

const (
	partLiteral part = iota
	partTime
	partBody
	partMethod
	partURL
	partDecodedURL
)

// Part is one piece of the signed message, in order.
type Part struct {
	kind part
	text string
}

// Literal is fixed text.
func Literal(s string) Part { return Part{partLiteral, s} }

// TimeText is the timestamp header exactly as received.
func TimeText() Part { return Part{kind: partTime} }

// RawBody is the request body.
func RawBody() Part { return Part{kind: partBody} }

// MethodText is the request method.
func MethodText() Part { return Part{kind: partMethod} }

// ConfiguredURL is [Input].PublicURL without its fragment; a URL configured
// without a query, or with the beginning of the one received, gets the latter.
func ConfiguredURL() Part { return Part{kind: partURL} }

// DecodedURL is [ConfiguredURL] with the escapes of reserved characters decoded,
// which one vendor does before it signs.
func DecodedURL() Part { return Part{kind: partDecodedURL} }

// reserved are the escapes of [DecodedURL]
// (developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation,
// read 2026-11).
func reserved() *strings.Replacer {
	return strings.NewReplacer("%3A", ":", "%2F", "/", "%3F", "?", "%40", "@", "%21", "!", "%24", "$", "%27", "'", "%28", "(", "%29", ")",
		"%2A", "*", "%2C", ",", "%3B", ";", "%3a", ":", "%2f", "/", "%3f", "?", "%2a", "*", "%2c", ",", "%3b", ";")
}

// HMAC is one row of the table of vendors that send one MAC in one header. Its
// zero fields mean SHA-256, hex, the secret's text as key, no prefix, no time.
type HMAC struct {
	Profile  string // verification profile's name
	Header   string
	Prefix   string // version or algorithm tag before the MAC
	Digest   Digest
	Encoding Encoding
	Key      KeyForm
	Message  []Part

	TimeHeader string // empty: the vendor signs no time
	TimeFormat TimeFormat
	// Tolerance bounds the timestamp in both directions, inclusive.
	Tolerance time.Duration
}

// Name is the profile's name.
func (h HMAC) Name() string { return h.Profile }

// NeedsSecret is true.
func (h HMAC) NeedsSecret() bool { return true }

// maxHeader bounds a signature or timestamp header, far above every digest.
const maxHeader = 512

// maxTag is the longest algorithm tag we tell apart from damaged text.
const maxTag = 12

// Check computes the MAC under every secret before it looks at the clock: a
// timestamp that nobody signed proves neither age nor forgery.
func (h HMAC) Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	got, why := h.signature(in.Header)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	var stamp string
	var at time.Time
	if h.TimeHeader != "" {
		if stamp, why = in.Header.single(h.TimeHeader); why != "" {
			return Result{}, &Refusal{why}
		}
		var ok bool
		if at, ok = parseTime(h.TimeFormat, stamp); !ok {
			return Result{}, &Refusal{SigFormat}
		}
	}
	if in.PublicURL == "" && (h.signs(partURL) || h.signs(partDecodedURL)) {
		return Result{}, &Refusal{NoPublicURL}
	}
	match := -1
	for i, k := range secrets {
		mac, err := h.mac(in, stamp, k)
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		if hmac.Equal(mac, got) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	if h.TimeHeader != "" {
		switch age := now.Sub(at); {
		case age > h.Tolerance:
			return Result{}, &Refusal{Stale}
		case age < -h.Tolerance:
			return Result{}, &Refusal{Future}
		}
	}
	return Result{SecretIndex: match, SignedAt: at, BodySigned: h.signs(partBody)}, nil
}

// Sign adds signature and timestamp headers to in.
func (h HMAC) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	stamp := ""
	if in.Header == nil {
		in.Header = Header{}
	}
	if h.TimeHeader != "" {
		stamp = formatTime(h.TimeFormat, now)
		in.Header.Add(h.TimeHeader, stamp)
	}
	mac, err := h.mac(*in, stamp, key)
	if err != nil {
		return err
	}
	text := hex.EncodeToString(mac)
	if h.Encoding == Base64 {
		text = base64.StdEncoding.EncodeToString(mac)
	}
	in.Header.Add(h.Header, h.Prefix+text)
	return nil
}

func (h HMAC) signs(k part) bool {
	for _, p := range h.Message {
		if p.kind == k {
			return true
		}
	}
	return false
}

// signature returns the decoded MAC of the request.
func (h HMAC) signature(hs Header) ([]byte, Reason) {
	text, why := hs.single(h.Header)
	if why != "" {
		return nil, why
	}
	if len(text) > maxHeader {
		return nil, SigFormat
	}
	rest, ok := strings.CutPrefix(text, h.Prefix)
	if !ok {
		// Another version or algorithm tag, not just damaged text.
		if i := strings.IndexByte(text, '='); strings.HasSuffix(h.Prefix, "=") && i > 0 && i <= maxTag {
			return nil, AlgRefused
		}
		return nil, SigFormat
	}
	var mac []byte
	var err error
	if h.Encoding == Base64 {
		mac, err = base64.StdEncoding.Strict().DecodeString(rest)
	} else {
		mac, err = hex.DecodeString(rest)
	}
	// Base64 decoding skips line breaks, so the length of the text counts too.
	if err != nil || len(mac) != h.Digest.size() || strings.ContainsAny(rest, "\r\n") {
		return nil, SigFormat
	}
	return mac, ""
}

// mac computes the MAC of in under one secret.
func (h HMAC) mac(in Input, stamp string, k secret.Text) ([]byte, error) {
	var sum []byte
	err := k.Use(func(key []byte) error {
		if h.Key == KeyBase64 {
			raw, err := base64.StdEncoding.Strict().DecodeString(string(key))
			if err != nil || len(raw) == 0 {
				return ErrEmptySecret
			}
			key = raw
		}
		m := hmac.New(h.Digest.new, key)
		for _, p := range h.Message {
			switch p.kind {
			case partLiteral:
				m.Write([]byte(p.text))
			case partTime:
				m.Write([]byte(stamp))
			case partBody:
				m.Write(in.Body)
			case partMethod:
				m.Write([]byte(in.Method))
			case partURL:
				m.Write([]byte(signedURL(in)))
			case partDecodedURL:
				m.Write([]byte(reserved().Replace(signedURL(in))))
			}
		}
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}

// maxDigits keeps every accepted number inside int64 and time.Time.
const maxDigits = 15

func parseTime(f TimeFormat, s string) (time.Time, bool) {
	if f == ISO8601 {
		t, err := time.Parse(time.RFC3339, s)
		return t, err == nil && strings.HasSuffix(s, "Z")
	}
	if len(s) == 0 || len(s) > maxDigits {
		return time.Time{}, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if f == UnixMillis {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

func formatTime(f TimeFormat, t time.Time) string {
	switch f {
	case ISO8601:
		return t.UTC().Format(time.RFC3339)
	case UnixMillis:
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return strconv.FormatInt(t.Unix(), 10)
}
