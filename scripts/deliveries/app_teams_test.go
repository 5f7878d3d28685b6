package deliveries

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// teamsKind: people write to a bot in a chat of its own, or mention it in a channel,
// where each post begins a thread. How often Microsoft tells of what was not taken is
// not documented.
func teamsKind() kind {
	id := func(letter string, n int) string { return fmt.Sprintf("00000000-0000-4000-%s000-%012d", letter, n) }
	return kind{provider: "teams", filler: 880,
		fresh: func(a *app, n int, in map[string]any) {
			a.secret = id("8", n)
			a.tenant = cmp.Or(a.tenant, id("9", n))
			client := fmt.Sprintf("deliveriesteams~%06d", n)
			a.token = mockvendor.TeamsToken(client)
			in["secrets"] = map[string]any{"client_secret": client}
			in["config"] = map[string]any{"app_id": a.secret, "tenant_id": a.tenant}
		},
		tenantOf: func(n int) string { return id("a", n) },
		talks: func(t *talk, inRoom bool) {
			if t.room = fmt.Sprintf("a:chat%d", t.n); inRoom {
				t.room, t.direct, t.thread = fmt.Sprintf("19:room%d@thread.tacv2", t.n%3), false, fmt.Sprint(1485983000000+t.n)
			}
		},
		tells: teamsActivity,
		sends: func(path string, body []byte) bool {
			return strings.HasPrefix(path, "/teams/") && strings.HasSuffix(path, "/activities") && strings.Contains(string(body), `"type":"message"`)
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"error":{"code":"ConversationBlockedByUser","message":"simulated"}}`)
		},
		group: &group{room: "19:c0ffee@thread.tacv2", people: [2]string{"29:ada", "29:grace"}, called: func(agent string) string { return agent },
			lead: func(agent string) string { return "@Sim " + agent + " " }, named: true},
	}
}

// teamsActivity tells of a post.
func teamsActivity(a *app, p post) []byte {
	bot := "28:" + a.secret
	conversation := map[string]any{"conversationType": "personal", "tenantId": a.tenant, "id": p.room}
	said, entities := p.text, []any{map[string]any{"type": "clientInfo", "locale": "en-US"}}
	if !p.direct {
		if conversation["conversationType"], conversation["isGroup"] = "channel", true; p.thread != "" {
			conversation["id"] = p.room + ";messageid=" + p.thread
		}
		said = "<at>Sim</at> " + strings.TrimPrefix(p.text, "@Sim ")
		entities = append(entities, map[string]any{"type": "mention", "mentioned": map[string]any{"id": bot, "name": "Sim"}, "text": "<at>Sim</at>"})
	}
	return text(map[string]any{"type": "message", "id": fmt.Sprint(1500000000000 + p.n), "timestamp": p.sent.UTC().Format(time.RFC3339Nano), "channelId": "msteams",
		"serviceUrl": "https://smba.trafficmanager.net/emea/" + a.tenant + "/", "from": map[string]any{"id": "29:" + strings.TrimPrefix(p.from, "29:"), "name": "A"}, "recipient": map[string]any{"id": bot, "name": "Sim"},
		"conversation": conversation, "channelData": map[string]any{"tenant": map[string]any{"id": a.tenant}}, "textFormat": "plain", "text": said, "entities": entities})
}
