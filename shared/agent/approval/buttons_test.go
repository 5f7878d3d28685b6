package approval_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
)

// TestButtons: what they carry comes back as the choice, fits every vendor, and is of
// one question alone.
func TestButtons(t *testing.T) {
	a := approvaltest.Call("o1", "t-1", approvaltest.At())
	var err error
	if a.Nonce, err = approval.NewNonce(strings.NewReader("0123456789abcdef")); err != nil || len(a.Nonce) != 22 {
		t.Fatalf("%q %v", a.Nonce, err)
	}
	if _, err := approval.NewNonce(iotest.ErrReader(iotest.ErrTimeout)); fault.CodeOf(err) != fault.Internal {
		t.Error(err)
	}
	if _, err := approval.NewNonce(strings.NewReader("short")); err == nil {
		t.Error("half a nonce")
	}
	buttons := approval.Buttons(a.Ref())
	if len(buttons) != 2 || buttons[0].Label != "Approve" || buttons[1].Label != "Refuse" {
		t.Fatalf("%+v", buttons)
	}
	other, same := approvaltest.Call("o1", "t-2", approvaltest.At()), a
	other.Nonce, same.Nonce = a.Nonce, "n0nce"
	without := a
	without.Nonce = ""
	for k, b := range buttons {
		p, ok := approval.ReadPress(b.Ref)
		if !ok || p.Approve != (k == 0) || p.ID != a.ID || !p.Of(a) || p.Of(other) || p.Of(same) || p.Of(without) {
			t.Errorf("%q: %+v", b.Ref, p)
		}
		if len(b.Ref) > channel.MaxRef || strings.Contains(b.Ref, "amount") {
			t.Errorf("%q has %d bytes", b.Ref, len(b.Ref))
		}
	}
	if approval.Buttons(without.Ref()) != nil {
		t.Error("buttons of a question without any")
	}
	for _, s := range []string{"", "a:", "a::", "a:x", "a:x:", "a::n", "b:x:n", "A:x:n", "ap-1:n", "a:" + strings.Repeat("x", 61) + ":n"} {
		if p, ok := approval.ReadPress(s); ok {
			t.Errorf("%q: %+v", s, p)
		}
	}
}

func TestNote(t *testing.T) {
	a := approvaltest.Call("o1", "t-1", approvaltest.At())
	for state, want := range map[approval.State]string{approval.Approved: "Approved by an administrator: refund (", approval.Refused: "Refused by an administrator: refund (", approval.Expired: "Nobody decided in time: refund ("} {
		if a.State = state; a.Note("") != want+a.ID+")" {
			t.Errorf("%s: %q", state, a.Note(""))
		}
	}
	if a.State = approval.Approved; !strings.HasPrefix(a.Note("<@U1>"), "Approved by <@U1>: ") {
		t.Error(a.Note("<@U1>"))
	}
}

// FuzzReadPress: whatever comes back, a choice is a call's and a nonce.
func FuzzReadPress(f *testing.F) {
	for _, s := range []string{"a:ap-1:n", "r:ap-1:n", "a:::", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := approval.ReadPress(s)
		if ok && (p.ID == "" || strings.Contains(p.ID, ":") || len(s) > channel.MaxRef || !strings.Contains(s, ":"+p.ID+":")) {
			t.Fatalf("%q: %+v", s, p)
		}
	})
}
