package deliveries

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func messengerKind() kind {
	return directKind("messenger", "page", "page_id", 220, func(n int) string { return fmt.Sprintf("6824%010d", n) })
}

func instagramKind() kind {
	return directKind("instagram", "instagram", "ig_account_id", 110, func(n int) string { return fmt.Sprintf("1784%013d", n) })
}

// directKind is a product of Meta whose people write to a page or an account, whose id
// begins in its own way.
func directKind(provider, object, setting string, filler int, number func(n int) string) kind {
	begins := "/meta/" + number(0)[:4]
	return kind{provider: provider, filler: filler,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.token = number(n), fmt.Sprintf("EAAdeliveries%s%06d", provider, n)
			in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.secret + "v", "access_token": a.token}
			in["config"] = map[string]any{setting: a.id}
		},
		talks: func(*talk, bool) {},
		tells: func(a *app, p post) []byte {
			return text(map[string]any{"object": object, "entry": []any{map[string]any{"id": a.id, "time": p.sent.UnixMilli(), "messaging": []any{map[string]any{
				"sender": map[string]any{"id": p.from}, "recipient": map[string]any{"id": a.id}, "timestamp": p.sent.UnixMilli(),
				"message": map[string]any{"mid": fmt.Sprintf("m_sim%s%d", a.id, p.n), "text": p.text}}}}}})
		},
		sends: func(path string, body []byte) bool {
			return strings.HasPrefix(path, begins) && strings.HasSuffix(path, "/messages") && !bytes.Contains(body, []byte(`"sender_action"`))
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"This person isn't available right now.","type":"OAuthException","code":551,"error_subcode":1545041}}`)
		},
		// The account that it went through stands in the place of a thread.
		inThread: func(a *app, p mockvendor.Post, _ string) bool { return p.ThreadTS == a.id },
	}
}
