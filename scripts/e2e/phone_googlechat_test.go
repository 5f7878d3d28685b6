package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func googleChatCase() channelCase {
	return channelCase{id: "google_chat", mute: true,
		phoneCase: phoneCase{person: func(from string) string { return "spaces/" + from },
			// Every second app is known by its address, the others by their project: Google
			// signs for the two with different keys.
			fills: func(p *phone, n int64, in map[string]any) {
				if p.secret = fmt.Sprintf("https://latchkey.example/webhooks/google_chat/%d", n); n%2 == 1 {
					p.secret = fmt.Sprintf("9%011d", n)
				}
				email := fmt.Sprintf("CNRYgoogle%06d@simulated.iam.gserviceaccount.com", n)
				p.token = mockvendor.GoogleToken(email)
				in["secrets"] = map[string]any{"service_account_json": mockvendor.GoogleAccount(email)}
				in["config"] = map[string]any{"audience": p.secret}
			},
			text: func(p *phone, id int, from, room, said string) []byte {
				return googleChatEvent(id, from, room, `,"text":`+said)
			},
			note: func(p *phone, id int, file string, _ []byte) []byte {
				return googleChatEvent(id, "42", "", fmt.Sprintf(`,"attachment":[{"name":"x","contentName":"a.ogg","contentType":"audio/ogg","source":"UPLOADED_CONTENT","attachmentDataRef":{"resourceName":%q}}]`, file))
			}},
		form:  "*Plan*\n\n*Bold* and _soft_, ~not~ `a<\u200bb`, <https://x.example/?a=1&b=2|docs> <\u200b!channel> <\u200b@U012>\n\n• one\n• two\n\n```\nif a <\u200b b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```",
		grows: googleChatTalker,
		bots:  map[string]func(*testing.T) *talker{"google_chat": googleChatTalker},
	}
}

// googleChatEvent is Google's body for a message, in a space that has threads or in a
// conversation with one person.
func googleChatEvent(id int, from, room, more string) []byte {
	space, kind := "spaces/"+from, `"type":"DM","spaceType":"DIRECT_MESSAGE","singleUserBotDm":true`
	if room != "" {
		space, kind = "spaces/"+strings.TrimPrefix(room, "-"), `"type":"ROOM","spaceType":"SPACE","spaceThreadingState":"THREADED_MESSAGES"`
		more += `,"annotations":[{"type":"USER_MENTION","startIndex":0,"length":0,"userMention":{"user":{"name":"users/99","type":"BOT"},"type":"MENTION"}}]`
	}
	return []byte(fmt.Sprintf(`{"type":"MESSAGE","eventTime":"2026-03-04T05:06:07.123456Z","space":{"name":%q,%s},"user":{"name":"users/%s","type":"HUMAN"},
		"message":{"name":"%s/messages/%d.%d","sender":{"name":"users/%s","displayName":"A","type":"HUMAN"},"createTime":"2026-03-04T05:06:07.123456Z","thread":{"name":"%s/threads/t"}%s}}`,
		space, kind, from, space, id, id, from, space, more))
}

// googleChatTalker writes in a space.
func googleChatTalker(t *testing.T) *talker {
	return phoneTalker(t, "google_chat", "9009", func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"displayName":"A","type":"HUMAN"`), []byte(`"displayName":"A","type":"BOT"`))
	})
}
