package admin

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/redact"
)

// TestSecretsInUseAreMaskedInErrorAnswers uses a part of a message as the
// secret, because no message of ours ever holds one.
func TestSecretsInUseAreMaskedInErrorAnswers(t *testing.T) {
	for _, masked := range []bool{true, false} {
		w := newWorld(t)
		if masked {
			w.api.s.Redact = new(redact.Set)
			w.api.s.Redact.Add([]byte("nothing at this path"))
		}
		resp := w.do("GET", "/api/nowhere", adminKey, "")
		body := string(resp.Body)
		if resp.Status != 404 || strings.Contains(body, "nothing at this path") == masked || strings.Contains(body, "there is [secret];") != masked {
			t.Errorf("masked %v: %d %s", masked, resp.Status, body)
		}
		if got := w.api.s.Redact.String(w.keys[adminKey]); (got == "[secret]") != masked {
			t.Errorf("masked %v: the caller's key in a text gives %s", masked, got)
		}
	}
}
