package approval

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
)

// nonceBytes make what buttons carry a guess of nobody's.
const nonceBytes = 16

// NewNonce makes the nonce of a question's buttons.
func NewNonce(random io.Reader) (string, error) {
	b := make([]byte, nonceBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fault.Wrap(fault.Internal, "approval.NewNonce", "internal error, try again later", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// The first letter of a reference.
const (
	approves = "a:"
	refuses  = "r:"
)

// Ref is what the buttons under the question carry beside their choice: which call,
// and its nonce; nothing of the arguments. It is empty where none are offered.
func (a Approval) Ref() string {
	if a.Nonce == "" {
		return ""
	}
	return a.ID + ":" + a.Nonce
}

// Buttons are those of a [Approval.Ref], none for an empty one.
func Buttons(ref string) []channel.Button {
	if ref == "" {
		return nil
	}
	return []channel.Button{{Label: "Approve", Ref: approves + ref}, {Label: "Refuse", Ref: refuses + ref}}
}

// Press is a choice that came back.
type Press struct {
	ID      string
	Approve bool
	nonce   string
}

// ReadPress reads a button's reference.
func ReadPress(s string) (p Press, ok bool) {
	var rest string
	if len(s) > channel.MaxRef {
		return p, false
	}
	switch {
	case strings.HasPrefix(s, approves):
		p.Approve, rest = true, s[len(approves):]
	case strings.HasPrefix(s, refuses):
		rest = s[len(refuses):]
	}
	p.ID, p.nonce, ok = strings.Cut(rest, ":")
	return p, ok && p.ID != "" && p.nonce != ""
}

// Of reports whether the press is of a button under the call's own question.
func (p Press) Of(a Approval) bool {
	return a.Nonce != "" && p.ID == a.ID && subtle.ConstantTimeCompare([]byte(p.nonce), []byte(a.Nonce)) == 1
}

// Note is one line that takes the place of the buttons. by names who decided, empty
// for somebody without a name in the conversation.
func (a Approval) Note(by string) string {
	if by == "" {
		by = "an administrator"
	}
	switch a.State {
	case Approved:
		return fmt.Sprintf("Approved by %s: %s (%s)", by, a.Tool, a.ID)
	case Refused:
		return fmt.Sprintf("Refused by %s: %s (%s)", by, a.Tool, a.ID)
	}
	return fmt.Sprintf("Nobody decided in time: %s (%s)", a.Tool, a.ID)
}
