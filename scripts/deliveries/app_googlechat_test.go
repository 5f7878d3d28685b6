package deliveries

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// googleChatKind: Google tells an address of an event once, and says in the space that
// the app does not answer if it failed.
func googleChatKind() kind {
	return kind{provider: "google_chat", filler: 880, tries: 1,
		// Every second app is known by its project, the others by their address.
		fresh: func(a *app, n int, in map[string]any) {
			if a.secret = fmt.Sprintf("9%011d", n); n%2 == 0 {
				a.secret = fmt.Sprintf("https://latchkey.example/webhooks/google_chat/%d", n)
			}
			email := fmt.Sprintf("deliveries%06d@simulated.iam.gserviceaccount.com", n)
			a.token = mockvendor.GoogleToken(email)
			in["secrets"] = map[string]any{"service_account_json": mockvendor.GoogleAccount(email)}
			in["config"] = map[string]any{"audience": a.secret}
		},
		talks: func(t *talk, inRoom bool) {
			if t.room = fmt.Sprintf("spaces/DM%d", t.n); inRoom {
				t.room, t.direct = fmt.Sprintf("spaces/R%d", t.n%3), false
				t.thread = fmt.Sprintf("%s/threads/t%d", t.room, t.n)
			}
		},
		tells: googleChatEvent,
		sends: func(path string, _ []byte) bool {
			return strings.HasPrefix(path, "/googlechat/spaces/") && strings.HasSuffix(path, "/messages")
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"error":{"code":403,"message":"simulated","status":"PERMISSION_DENIED"}}`)
		},
		named: func(p mockvendor.Post) string { return p.Channel + "/messages/" + p.TS },
	}
}

func googleChatEvent(a *app, p post) []byte {
	at := time.Unix(p.sent.Unix(), int64(p.n)).UTC().Format(time.RFC3339Nano)
	space := map[string]any{"name": p.room, "type": "DM", "spaceType": "DIRECT_MESSAGE", "singleUserBotDm": true}
	user := map[string]any{"name": "users/" + p.from, "displayName": "A", "type": "HUMAN"}
	m := map[string]any{"name": fmt.Sprintf("%s/messages/%s%d.%d", p.room, a.install, p.n, p.n), "sender": user, "createTime": at, "text": p.text}
	if !p.direct {
		space = map[string]any{"name": p.room, "type": "ROOM", "spaceType": "SPACE", "spaceThreadingState": "THREADED_MESSAGES"}
		m["thread"] = map[string]any{"name": p.thread}
		m["annotations"] = []any{map[string]any{"type": "USER_MENTION", "startIndex": 0, "length": 0, "userMention": map[string]any{"type": "MENTION", "user": map[string]any{"name": "users/99", "type": "BOT"}}}}
	}
	return text(map[string]any{"type": "MESSAGE", "eventTime": at, "space": space, "user": user, "message": m})
}
