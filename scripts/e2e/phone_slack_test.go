package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func slackCase() channelCase {
	return channelCase{id: "slack", addresses: true, conversation: slackConversation, listener: slackListener,
		form:   "*Plan*\n\n*Bold* and _soft_, ~not~ `a&lt;b`, <https://x.example/?a=1&amp;b=2|docs> &lt;!channel&gt; &lt;@U012&gt;\n\n• one\n• two\n\n```\nif a &lt; b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```",
		typing: mockvendor.Sign{Channel: "C1:1760000009.000100", Text: "is thinking…"},
		grows:  func(t *testing.T) *talker { return slackTalker(t, true) },
		bots: map[string]func(*testing.T) *talker{
			"slack thread": func(t *testing.T) *talker { return slackTalker(t, true) },
			"slack room":   func(t *testing.T) *talker { return slackTalker(t, false) },
		}}
}

func slackConversation(t *testing.T) (say func(n int, text string), posts func() []mockvendor.Post, token string) {
	w := newWorkspace(t)
	return func(n int, text string) {
		ts := fmt.Sprintf("176000000%d.000100", n)
		e := w.message(fmt.Sprintf("EvF%d", n), text, ts)
		e.body = bytes.Replace(e.body, []byte(`"channel_type":"im"`), []byte(`"channel_type":"channel"`), 1)
		if a := e.send(t); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}, w.posts, w.token
}

func slackListener(t *testing.T) *listener {
	w := newWorkspace(t)
	return &listener{tenant: w.tenant, channelCase: caseOf(t, "slack"), install: w.install, posts: w.posts,
		send: func(ctx context.Context, body []byte) (answer, error) {
			return event{body: body, secret: w.secret, at: world.Clock.Now(), path: "/webhooks/slack/" + w.install}.trySend(ctx)
		},
		note: func(id int, file string, recording []byte) []byte {
			var e map[string]any
			must(t, json.Unmarshal(w.message(fmt.Sprintf("Ev%d", id), "", fmt.Sprintf("1760000%03d.000100", id)).body, &e))
			said, _ := e["event"].(map[string]any)
			said["subtype"], said["files"] = "file_share", []any{map[string]any{"id": file, "subtype": "slack_audio", "name": "audio_message.webm",
				"mimetype": "video/webm", "size": len(recording), "duration_ms": 3000}}
			b, err := json.Marshal(e)
			must(t, err)
			return b
		}}
}

// slackTalker posts to the thread it is answered in, or where not threaded always to
// the room, as a bot does that does not know threads.
func slackTalker(t *testing.T, threaded bool) *talker {
	w := newWorkspace(t)
	return &talker{tenant: w.tenant, install: w.install, posts: w.posts, says: func(id int, person bool, text string) answer {
		ts := fmt.Sprintf("17600000%02d.000100", id)
		e := w.message(fmt.Sprintf("EvL%d", 9000+id), text, ts)
		var b map[string]any
		must(t, json.Unmarshal(e.body, &b))
		m := b["event"].(map[string]any)
		m["channel"], m["channel_type"] = "C9", "channel"
		if threaded {
			m["thread_ts"] = "1760000000.000100"
		}
		if !person {
			m["user"], m["bot_id"], m["app_id"] = "U0OTHER", "B0OTHER", "A0OTHER"
		}
		e.body, _ = json.Marshal(b)
		return e.send(t)
	}}
}
