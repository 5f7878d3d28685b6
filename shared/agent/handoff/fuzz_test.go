package handoff_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/agent/handoff"
)

// FuzzReason: whatever a model writes, the reason is one bounded line of text.
func FuzzReason(f *testing.F) {
	for _, s := range []string{`{"reason":"a refund"}`, `{"reason":"a\n\u0000b\u007f"}`, `{"reason":"` + strings.Repeat("é", 200) + `"}`, `{"reason":"\ud800"}`, "{\"reason\":\"\xff\"}", `{}`, `[]`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arguments string) {
		r := handoff.Reason(arguments)
		if len(r) > handoff.MaxReason || !utf8.ValidString(r) || strings.ContainsFunc(r, func(c rune) bool { return c < ' ' || c == 0x7f }) || r != strings.TrimSpace(r) {
			t.Fatalf("%q", r)
		}
	})
}
