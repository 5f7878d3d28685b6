package channel

import (
	"strings"
	"testing"
)

func TestAddressee(t *testing.T) {
	for text, want := range map[string]string{"sales: how much?": "sales", " Sales how": "sales", "sales": "sales", "team-2, hi": "team-2", "a\nb": "a",
		"": "", "größe 1": "", "what's up": "", "https://x.y": "", strings.Repeat("a", 65): "", "::": ""} {
		if got := Addressee(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
