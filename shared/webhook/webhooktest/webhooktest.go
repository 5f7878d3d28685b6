// Package webhooktest is the suite that every verification scheme runs.
//
// A vendor's test is one call of [Run]. Each case asserts the audit code, not
// just that something was refused, so a scheme cannot pass by refusing for the
// wrong reason.
package webhooktest

import (
	"bytes"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Harness describes the scheme under test.
type Harness struct {
	Scheme webhook.Scheme
	// Sign makes the scheme's headers.
	Sign webhook.Signer
	// Key and Other are two installs' secrets.
	Key, Other secret.Text
	// Body is a request body that the vendor could send.
	Body []byte
	// SignatureHeader and TimeHeader are the vendor's; TimeHeader may be empty.
	SignatureHeader, TimeHeader string
	// Tolerance is the documented one, both directions.
	Tolerance time.Duration
}

// Now is the suite's clock.
func Now() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

type check struct {
	name    string
	secrets []secret.Text
	at      time.Time // signing time
	mutate  func(in *webhook.Input)
	want    webhook.Reason // "" = accepted
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range append(h.common(), h.timed()...) {
		t.Run(c.name, func(t *testing.T) {
			at := c.at
			if at.IsZero() {
				at = Now()
			}
			in := webhook.Input{Method: "POST", Body: bytes.Clone(h.Body)}
			if err := h.Sign.Sign(&in, h.Key, at); err != nil {
				t.Fatal(err)
			}
			if c.mutate != nil {
				c.mutate(&in)
			}
			secrets := c.secrets
			if secrets == nil {
				secrets = []secret.Text{h.Key}
			}
			_, refusal := webhook.Verify(h.Scheme, in, secrets, Now())
			got := webhook.Reason("")
			if refusal != nil {
				got = refusal.Reason
			}
			if got != c.want {
				t.Fatalf("reason %q, want %q", got, c.want)
			}
		})
	}
	t.Run("every bit of the body counts", func(t *testing.T) { everyBit(t, h) })
	t.Run("sign refuses an empty secret", func(t *testing.T) {
		in := webhook.Input{Body: h.Body}
		if err := h.Sign.Sign(&in, secret.Text{}, Now()); err != webhook.ErrEmptySecret {
			t.Fatalf("err = %v", err)
		}
	})
}

func (h Harness) common() []check {
	first := func(in *webhook.Input, name string) *string { return &in.Header.Values(name)[0] }
	sig := h.SignatureHeader
	return []check{
		{name: "valid"},
		{name: "second live secret", secrets: []secret.Text{h.Other, h.Key}},
		{name: "first of two live secrets", secrets: []secret.Text{h.Key, h.Other}},
		{name: "other install's secret", secrets: []secret.Text{h.Other}, want: webhook.SigMismatch},
		{name: "no secret", secrets: []secret.Text{}, want: webhook.NoSecret},
		{name: "empty secret", secrets: []secret.Text{{}}, want: webhook.NoSecret},
		{name: "empty secret beside a live one", secrets: []secret.Text{h.Key, {}}, want: webhook.NoSecret},
		{name: "tampered body", mutate: func(in *webhook.Input) { in.Body = append(in.Body, ' ') }, want: webhook.SigMismatch},
		{name: "empty body", mutate: func(in *webhook.Input) { in.Body = nil }, want: webhook.SigMismatch},
		{name: "signature missing", mutate: func(in *webhook.Input) { delete(in.Header, lower(sig)) }, want: webhook.SigMissing},
		{name: "signature empty", mutate: func(in *webhook.Input) { *first(in, sig) = "" }, want: webhook.SigMissing},
		{name: "signature truncated", mutate: func(in *webhook.Input) {
			s := first(in, sig)
			*s = (*s)[:len(*s)-4]
		}, want: webhook.SigFormat},
		{name: "signature without its tag or alphabet", mutate: func(in *webhook.Input) { *first(in, sig) = "!!" }, want: webhook.SigFormat},
		{name: "signature very long", mutate: func(in *webhook.Input) {
			s := first(in, sig)
			*s += string(bytes.Repeat([]byte("a"), 4096))
		}, want: webhook.SigFormat},
		{name: "signature repeated", mutate: func(in *webhook.Input) {
			in.Header.Add(sig, *first(in, sig))
		}, want: webhook.HeaderDuplicate},
		{name: "signature joined by a gateway", mutate: func(in *webhook.Input) {
			s := first(in, sig)
			*s = *s + "," + *s
		}, want: webhook.HeaderDuplicate},
	}
}

func (h Harness) timed() []check {
	if h.TimeHeader == "" {
		return nil
	}
	stamp := func(in *webhook.Input) *string { return &in.Header.Values(h.TimeHeader)[0] }
	return []check{
		{name: "oldest allowed", at: Now().Add(-h.Tolerance)},
		{name: "newest allowed", at: Now().Add(h.Tolerance)},
		{name: "stale", at: Now().Add(-h.Tolerance - time.Second), want: webhook.Stale},
		{name: "a day old", at: Now().Add(-24 * time.Hour), want: webhook.Stale},
		{name: "future", at: Now().Add(h.Tolerance + time.Second), want: webhook.Future},
		{name: "stale under another secret is a mismatch", at: Now().Add(-24 * time.Hour),
			secrets: []secret.Text{h.Other}, want: webhook.SigMismatch},
		{name: "timestamp missing", mutate: func(in *webhook.Input) { delete(in.Header, lower(h.TimeHeader)) }, want: webhook.SigMissing},
		{name: "timestamp replaced", mutate: func(in *webhook.Input) { *stamp(in) = "1772600000" }, want: webhook.SigMismatch},
		{name: "timestamp signed number", mutate: func(in *webhook.Input) { *stamp(in) = "+" + *stamp(in) }, want: webhook.SigFormat},
		{name: "timestamp negative", mutate: func(in *webhook.Input) { *stamp(in) = "-1" }, want: webhook.SigFormat},
		{name: "timestamp of twenty digits", mutate: func(in *webhook.Input) { *stamp(in) = "99999999999999999999" }, want: webhook.SigFormat},
		{name: "timestamp repeated", mutate: func(in *webhook.Input) {
			in.Header.Add(h.TimeHeader, *stamp(in))
		}, want: webhook.HeaderDuplicate},
		{name: "timestamp joined by a gateway", mutate: func(in *webhook.Input) {
			s := stamp(in)
			*s += "," + *s
		}, want: webhook.HeaderDuplicate},
	}
}

// everyBit flips each bit of the body in turn.
func everyBit(t *testing.T, h Harness) {
	in := webhook.Input{Method: "POST", Body: bytes.Clone(h.Body)}
	if err := h.Sign.Sign(&in, h.Key, Now()); err != nil {
		t.Fatal(err)
	}
	for i := range in.Body {
		for bit := range 8 {
			in.Body[i] ^= 1 << bit
			if _, r := webhook.Verify(h.Scheme, in, []secret.Text{h.Key}, Now()); r == nil || r.Reason != webhook.SigMismatch {
				t.Fatalf("byte %d bit %d: %v", i, bit, r)
			}
			in.Body[i] ^= 1 << bit
		}
	}
}

func lower(s string) string { return string(bytes.ToLower([]byte(s))) }
