package e2e

import (
	"fmt"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func lineCase() channelCase {
	person := func(from string) string { return "U" + strings.Repeat("0", 32-len(from)) + from }
	return channelCase{id: "line", mute: true,
		phoneCase: phoneCase{person: person, foreign: person("1"),
			fills: func(p *phone, n int64, in map[string]any) {
				p.number, p.token = fmt.Sprintf("U%032x", 0xb0000000+n), fmt.Sprintf("CNRYlinetoken%06d", n)
				in["secrets"] = map[string]any{"channel_secret": p.secret, "channel_access_token": p.token}
				in["config"] = map[string]any{"destination": p.number}
			},
			text: func(p *phone, id int, from, _, said string) []byte {
				return lineEvent(p, id, from, fmt.Sprintf(`{"id":"%d","type":"text","quoteToken":"q","text":%s}`, id, said))
			},
			note: func(p *phone, id int, file string, _ []byte) []byte {
				return lineEvent(p, id, "42", fmt.Sprintf(`{"id":%q,"type":"audio","duration":3000,"contentProvider":{"type":"line"}}`, file))
			}},
		form:   "Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
		typing: mockvendor.Sign{Channel: person("4915112345678"), Text: "loading"},
	}
}

// lineEvent is LINE's body for a message of one person, with a reply token that
// names the chat as the simulated vendor wants it.
func lineEvent(p *phone, id int, from, message string) []byte {
	return []byte(fmt.Sprintf(`{"destination":%q,"events":[{"type":"message","mode":"active","timestamp":1772600767123,"webhookEventId":"01J%d","deliveryContext":{"isRedelivery":false},
		"source":{"type":"user","userId":%q},"replyToken":"%d%s-%s","message":%s}]}`, p.number, id, p.person(from), id, p.install, p.person(from), message))
}
