package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Standard is the scheme of the Standard Webhooks specification
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md,
// read 2026-11): SHA-256 over id "." time "." body, base64 after "v1,", several
// values apart by a space, the key is base64 after "whsec_".
type Standard struct {
	Profile string // verification profile's name
	// Prefixes of the three headers "id", "timestamp" and "signature", in the
	// order in which they are looked for; the first one present is used alone.
	Prefixes []string
	// Tolerance bounds the timestamp in both directions, inclusive.
	Tolerance time.Duration
}

const (
	standardVersion = "v1"
	keyPrefix       = "whsec_"
	// maxID bounds the message's id, far above every sender's.
	maxID = 256
)

// Name is the profile's name.
func (s Standard) Name() string { return s.Profile }

// NeedsSecret is true.
func (s Standard) NeedsSecret() bool { return true }

// Check compares every value under every secret before it looks at the clock. A
// value that does not decode is passed over and never split at a comma: two
// headers that a gateway has joined are one value that decodes to nothing.
func (s Standard) Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	prefix := s.prefix(in.Header)
	id, why := in.Header.single(prefix + "id")
	if why != "" {
		return Result{}, &Refusal{why}
	}
	stamp, why := in.Header.single(prefix + "timestamp")
	if why != "" {
		return Result{}, &Refusal{why}
	}
	values := in.Header.Values(prefix + "signature")
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return Result{}, &Refusal{SigMissing}
	case len(values) > 1:
		return Result{}, &Refusal{HeaderDuplicate}
	}
	at, ok := parseTime(UnixSeconds, stamp)
	// A full stop in the id would let a part of it pass for the time.
	if !ok || len(id) > maxID || strings.Contains(id, ".") {
		return Result{}, &Refusal{SigFormat}
	}
	macs, why := standardMACs(values[0])
	if why != "" {
		return Result{}, &Refusal{why}
	}
	match := -1
	for i, k := range secrets {
		want, err := s.mac(id, stamp, in.Body, k)
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		for _, got := range macs {
			if hmac.Equal(want, got) && match < 0 {
				match = i
			}
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	if why := outside(at, now, s.Tolerance, s.Tolerance); why != "" {
		return Result{}, &Refusal{why}
	}
	return Result{SecretIndex: match, SignedAt: at, BodySigned: true}, nil
}

// outside says on which side of the window a time lies, "" inside.
func outside(at, now time.Time, past, future time.Duration) Reason {
	switch age := now.Sub(at); {
	case age > past:
		return Stale
	case age < -future:
		return Future
	}
	return ""
}

// prefix chooses the family of headers.
func (s Standard) prefix(h Header) string {
	for _, p := range s.Prefixes {
		for _, name := range []string{"id", "timestamp", "signature"} {
			if len(h.Values(p+name)) > 0 {
				return p
			}
		}
	}
	return s.Prefixes[0]
}

// standardMACs decodes the values of the version we know.
func standardMACs(text string) (macs [][]byte, why Reason) {
	if len(text) > maxList {
		return nil, SigFormat
	}
	others := false
	for value := range strings.SplitSeq(text, " ") {
		version, rest, ok := strings.Cut(value, ",")
		if !ok {
			continue
		}
		if version != standardVersion {
			others = true
			continue
		}
		mac, err := base64.StdEncoding.Strict().DecodeString(rest)
		if err != nil || len(mac) != sha256.Size || strings.ContainsAny(rest, "\r\n") {
			continue
		}
		if len(macs) == maxMACs {
			return nil, SigFormat
		}
		macs = append(macs, mac)
	}
	switch {
	case len(macs) == 0 && others:
		return nil, AlgRefused
	case len(macs) == 0:
		return nil, SigFormat
	}
	return macs, ""
}

// Sign adds the three headers to in, with an id made of the time.
func (s Standard) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	id := "msg_" + strconv.FormatInt(now.UnixNano(), 36)
	mac, err := s.mac(id, stamp, in.Body, key)
	if err != nil {
		return err
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	in.Header.Add(s.Prefixes[0]+"id", id)
	in.Header.Add(s.Prefixes[0]+"timestamp", stamp)
	in.Header.Add(s.Prefixes[0]+"signature", standardVersion+","+base64.StdEncoding.EncodeToString(mac))
	return nil
}

func (s Standard) mac(id, stamp string, body []byte, k secret.Text) (sum []byte, err error) {
	err = k.Use(func(text []byte) error {
		text = bytes.TrimPrefix(text, []byte(keyPrefix))
		key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Strict().Decode(key, text)
		if err != nil {
			n, err = base64.RawStdEncoding.Strict().Decode(key, text)
		}
		defer clear(key)
		if err != nil || n == 0 {
			return ErrEmptySecret
		}
		m := hmac.New(sha256.New, key[:n])
		m.Write([]byte(id + "." + stamp + "."))
		m.Write(body)
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}
