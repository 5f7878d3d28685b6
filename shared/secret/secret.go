// Package secret holds bytes that must never be printed.
//
// A [Text] keeps its bytes behind an unexported closure, because fmt, slog,
// encoding/json, gob, the DynamoDB marshaller and test diffs can all reach the
// content of strings, byte slices and pointers (measured; see the leak table in
// the tests), but none of them can call a function value. Formatting a Text
// prints [Mask]; marshalling it fails, because a placeholder would be saved
// back as the secret by a read-modify-write.
//
// The only way to the bytes is [Text.Use]; [Lend] does the same for bytes that
// are already at hand. A Text is immutable and safe for concurrent use. Go
// cannot clear strings: code that needs a string (an HTTP header) builds it
// inside Use and drops it.
//
// One guard is impossible here: the DynamoDB marshaller asks for a method whose
// result type belongs to the SDK, and this package imports the standard library
// only. That marshaller writes a Text as an empty map: the bytes do not leak but
// are lost, which is one reason why items are built by hand.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Mask is what every print of a secret shows.
const Mask = "[secret]"

// ErrMarshal is returned by every marshaller.
var ErrMarshal = errors.New("secret: refusing to marshal a secret")

// ErrUnmarshal is returned for JSON that is not a string. It never quotes the
// input.
var ErrUnmarshal = errors.New("secret: a JSON string is expected")

// ErrPanic replaces a panic raised inside [Text.Use] or [Lend], whose value
// could hold the secret.
var ErrPanic = errors.New("secret: panic while a secret was in use")

// Text is a secret value. The zero Text is empty.
type Text struct {
	use func(func([]byte))
}

// New copies b into a Text. The caller may clear b afterwards.
func New(b []byte) Text {
	if len(b) == 0 {
		return Text{}
	}
	kept := make([]byte, len(b))
	copy(kept, b)
	return Text{use: func(f func([]byte)) { f(kept) }}
}

// FromString copies s into a Text.
func FromString(s string) Text {
	if s == "" {
		return Text{}
	}
	kept := []byte(s)
	return Text{use: func(f func([]byte)) { f(kept) }}
}

// Use calls f with a copy of the bytes that is cleared afterwards; f must not
// keep it. It returns f's error. A panic in f is replaced by [ErrPanic].
func (t Text) Use(f func([]byte) error) (err error) {
	if t.use == nil {
		return guard(f, nil)
	}
	t.use(func(kept []byte) {
		b := make([]byte, len(kept))
		copy(b, kept)
		err = Lend(b, f)
	})
	return err
}

// Lend calls f with b itself and clears b before it returns, whatever f does. It
// returns f's error. A panic in f is replaced by [ErrPanic].
func Lend(b []byte, f func([]byte) error) error {
	defer clear(b)
	return guard(f, b)
}

func guard(f func([]byte) error, b []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrPanic
		}
	}()
	return f(b)
}

// Len is the number of bytes.
func (t Text) Len() int {
	n := 0
	if t.use != nil {
		t.use(func(b []byte) { n = len(b) })
	}
	return n
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.Len() == 0 }

// Equal compares in constant time for equal lengths. Two empty secrets are not
// equal: an absent secret matches nothing.
func (t Text) Equal(u Text) bool {
	equal := false
	if t.use == nil || u.use == nil {
		return false
	}
	t.use(func(a []byte) {
		u.use(func(b []byte) { equal = len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 })
	})
	return equal
}

// String returns [Mask].
func (t Text) String() string { return Mask }

// GoString returns [Mask].
func (t Text) GoString() string { return Mask }

// Format writes [Mask] for every verb.
func (t Text) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Mask) }

// LogValue returns [Mask].
func (t Text) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalJSON fails with [ErrMarshal].
func (t Text) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalText fails with [ErrMarshal].
func (t Text) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary fails with [ErrMarshal].
func (t Text) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// GobEncode fails with [ErrMarshal].
func (t Text) GobEncode() ([]byte, error) { return nil, ErrMarshal }

// UnmarshalJSON reads a JSON string, so that a request body needs no string
// field that a log line could show. null leaves the Text empty; anything else
// fails with [ErrUnmarshal].
func (t *Text) UnmarshalJSON(data []byte) error {
	var s *string
	if json.Unmarshal(data, &s) != nil {
		return ErrUnmarshal
	}
	*t = Text{}
	if s != nil {
		*t = FromString(*s)
	}
	return nil
}
