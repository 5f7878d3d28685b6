package deliveries

import (
	"fmt"
	"io"
	"net/http"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func slackKind() kind {
	return kind{provider: "slack", filler: 440,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.bot, a.token = fmt.Sprintf("A%08d", n), fmt.Sprintf("UBOT%04d", n), fmt.Sprintf("xoxb-deliveries-%06d", n)
			in["secrets"] = map[string]any{"signing_secret": a.secret, "bot_token": a.token}
			in["config"] = map[string]any{"app_id": a.id, "team_id": a.tenant, "bot_user_id": a.bot}
		},
		tenantOf: func(n int) string { return fmt.Sprintf("T%08d", n) },
		talks: func(t *talk, inRoom bool) {
			if t.from, t.room = fmt.Sprintf("U%06d", t.n), fmt.Sprintf("D%06d", t.n); inRoom {
				t.room, t.thread, t.direct = fmt.Sprintf("C%06d", t.n%5), fmt.Sprintf("1772600000.%06d", t.n), false
			}
		},
		tells: slackEvent,
		sends: func(path string, _ []byte) bool { return path == "/api/chat.postMessage" },
		refuse: func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"ok":false,"error":"channel_not_found"}`)
		},
	}
}

func slackEvent(a *app, p post) []byte {
	kind, channelType := "message", "channel"
	if p.mention {
		kind = "app_mention"
	}
	if p.direct {
		channelType = "im"
	}
	e := map[string]any{"type": kind, "channel": p.room, "channel_type": channelType, "user": p.from, "text": p.text,
		"ts": fmt.Sprintf("%d.%06d", p.sent.Unix(), p.n)}
	if p.thread != "" {
		e["thread_ts"] = p.thread
	}
	return mockvendor.SlackCallback(fmt.Sprintf("Ev%s%d%s", a.id, p.n, kind), a.tenant, a.id, a.bot, p.sent, e)
}
