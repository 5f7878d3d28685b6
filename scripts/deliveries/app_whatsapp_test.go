package deliveries

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func whatsappKind() kind {
	return kind{provider: "whatsapp", filler: 440,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.token = fmt.Sprintf("1065%010d", n), fmt.Sprintf("EAAdeliveries%06d", n)
			in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.secret + "v", "access_token": a.token}
			in["config"] = map[string]any{"phone_number_id": a.id, "waba_id": a.tenant}
		},
		tenantOf: func(n int) string { return fmt.Sprintf("1022%010d", n) },
		talks:    func(*talk, bool) {},
		tells: func(a *app, p post) []byte {
			return text(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{"id": a.tenant, "changes": []any{map[string]any{
				"field": "messages", "value": map[string]any{"messaging_product": "whatsapp", "metadata": map[string]any{"phone_number_id": a.id},
					"messages": []any{map[string]any{"from": p.from, "id": fmt.Sprintf("wamid.sim%s%d", a.id, p.n), "timestamp": strconv.FormatInt(p.sent.Unix(), 10),
						"type": "text", "text": map[string]any{"body": p.text}}}}}}}}})
		},
		sends: func(path string, body []byte) bool {
			return strings.HasPrefix(path, "/meta/") && strings.HasSuffix(path, "/messages") && bytes.Contains(body, []byte(`"messaging_product"`))
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"undeliverable","type":"OAuthException","code":131026}}`)
		},
		// The number that it went through stands in the place of a thread.
		inThread: func(a *app, p mockvendor.Post, _ string) bool { return p.ThreadTS == a.id },
	}
}
