package deliveries

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/mutate"
)

func lineKind() kind {
	id := func(letter string, n int) string { return fmt.Sprintf("%s%032x", letter, n) }
	return kind{provider: "line", filler: 560,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.token = id("U", 0xb0000000+n), fmt.Sprintf("deliverieslinetoken%06d", n)
			in["secrets"] = map[string]any{"channel_secret": a.secret, "channel_access_token": a.token}
			in["config"] = map[string]any{"destination": a.id}
		},
		talks: func(t *talk, inRoom bool) {
			if t.from = id("U", t.n); inRoom { // a group is one conversation
				t.room, t.direct = id("C", t.n), false
			} else {
				t.room = t.from
			}
		},
		tells: lineEvent,
		sends: func(path string, body []byte) bool {
			// A reply whose token is too old shows nothing.
			return path == "/line/v2/bot/message/push" || path == "/line/v2/bot/message/reply" && !strings.Contains(string(body), lineTooOld)
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"message":"Failed to send messages"}`)
		},
		// A reply names its token, a push nothing.
		inThread: func(_ *app, p mockvendor.Post, _ string) bool {
			return p.ThreadTS == "" || strings.HasSuffix(p.ThreadTS, "-"+p.Channel)
		},
		missing: func(posts []mockvendor.Post) string {
			// A second part is pushed always.
			pushed := slices.ContainsFunc(posts, func(p mockvendor.Post) bool { return p.ThreadTS == "" && !strings.Contains(p.Text, secondPart) })
			replied := slices.ContainsFunc(posts, func(p mockvendor.Post) bool { return p.ThreadTS != "" })
			switch {
			case !pushed:
				return "answer was pushed because its reply token was too old"
			case !replied:
				return "answer used its reply token"
			}
			return ""
		},
		group: &group{room: id("C", 0xc0ffee), people: [2]string{id("U", 0x41), id("U", 0x42)}, called: func(agent string) string { return agent },
			lead: func(agent string) string { return "@Sim " + agent + " " }, named: true},
	}
}

// lineTooOld stands in reply tokens that the simulated vendor does not know.
const lineTooOld = "tooold"

// lineEvent tells of a post. The reply token of one in four does not work any more
// when the answer is there, so that it is pushed.
func lineEvent(a *app, p post) []byte {
	source := map[string]any{"type": "user", "userId": p.from}
	if !p.direct {
		source["type"], source["groupId"] = "group", p.room
	}
	token := fmt.Sprintf("%d%s-%s", p.n, a.install, p.room)
	if oneInFour(p.n) {
		token = strings.ReplaceAll(token, "-", lineTooOld)
	}
	m := map[string]any{"id": fmt.Sprintf("46%012d", p.n), "type": "text", "quoteToken": "q", "text": p.text}
	if p.named {
		m["mention"] = map[string]any{"mentionees": []any{map[string]any{"index": 0, "length": strings.IndexByte(p.text+" ", ' '), "type": "user", "userId": a.id, "isSelf": true}}}
	}
	return text(map[string]any{"destination": a.id, "events": []any{map[string]any{"type": "message", "mode": "active", "timestamp": p.sent.UnixMilli(),
		"webhookEventId": fmt.Sprintf("01J%s%d", a.id[20:], p.n), "deliveryContext": map[string]any{"isRedelivery": false}, "source": source, "replyToken": token, "message": m}}})
}

// lineMutants resend what may have been seen, or do not send what was not.
func lineMutants() []mutant {
	const file = "shared/channels/line/send.go"
	return []mutant{
		{mutate.Change{Name: "a reply of which nobody knows is pushed", Functions: []string{"turn"}, File: file, Edits: [][2]string{
			{"if f == nil || f.Code != replyTokenRefused {", "if f == nil || f.Certainty == channel.Refused && f.Code != replyTokenRefused {"}}}, "2 replies were seen", "plain"},
		{mutate.Change{Name: "an answer ends with its reply token", Functions: []string{"turn"}, File: file, Edits: [][2]string{
			{"if f == nil || f.Code != replyTokenRefused {", "if f == nil || f.Code != \"\" {"}}}, "the outbox says failed", "plain"},
	}
}
