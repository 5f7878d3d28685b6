package deliveries

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

func telegramKind() kind {
	slash := func(agent string) string { return "/" + agent }
	return kind{provider: "telegram", filler: 440,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.bot = fmt.Sprintf("70%08d", n), fmt.Sprintf("Sim%d_bot", n)
			a.token = a.id + ":deliveriesbottoken"
			in["secrets"] = map[string]any{"secret_token": a.secret, "bot_token": a.token}
			in["config"] = map[string]any{"bot_username": a.bot}
		},
		talks: func(t *talk, inRoom bool) {
			if inRoom {
				t.room, t.thread, t.direct = fmt.Sprintf("-100%07d", t.n%3), fmt.Sprint(t.n), false
			}
		},
		tells: telegramUpdate,
		sends: func(path string, _ []byte) bool {
			return strings.HasPrefix(path, "/telegram/") && strings.HasSuffix(path, "/sendMessage")
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"ok":false,"error_code":403,"description":"Forbidden"}`)
		},
		group: &group{room: "-1001234567890", people: [2]string{"41", "42"}, called: slash, lead: func(agent string) string { return slash(agent) + " " }, command: true},
	}
}

func telegramUpdate(_ *app, p post) []byte {
	chat := map[string]any{"id": json.Number(p.room), "type": "supergroup"}
	if p.direct {
		chat["type"] = "private"
	}
	m := map[string]any{"message_id": p.n, "from": map[string]any{"id": json.Number(p.from), "is_bot": false, "first_name": "A"}, "chat": chat,
		"date": p.sent.Unix(), "text": p.text}
	if p.thread != "" {
		m["is_topic_message"], m["message_thread_id"] = true, json.Number(p.thread)
	}
	if length := strings.IndexByte(p.text+" ", ' '); p.command {
		m["entities"] = []any{map[string]any{"type": "bot_command", "offset": 0, "length": length}}
	} else if p.named {
		m["entities"] = []any{map[string]any{"type": "mention", "offset": 0, "length": length}}
	}
	return text(map[string]any{"update_id": p.n, "message": m})
}
