package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func telegramCase() channelCase {
	const id = "telegram"
	return channelCase{id: id,
		phoneCase: phoneCase{learns: "bot_id",
			fills: func(p *phone, n int64, in map[string]any) {
				p.number = fmt.Sprintf("70%08d", n)
				p.token = p.number + ":CNRYtelegrambottoken"
				in["secrets"] = map[string]any{"secret_token": p.secret, "bot_token": p.token}
				in["config"] = map[string]any{"bot_username": "Helper_bot"}
			},
			text: telegramText,
			note: func(_ *phone, id int, file string, recording []byte) []byte {
				return []byte(fmt.Sprintf(`{"update_id":%d,"message":{"message_id":%d,"from":{"id":42,"is_bot":false,"first_name":"A"},"chat":{"id":42,"type":"private"},
				"date":1772600767,"voice":{"duration":3,"mime_type":"audio/ogg","file_id":%q,"file_unique_id":"u","file_size":%d}}}`, id, id, file, len(recording)))
			}},
		form: "Plan\n\nBold and soft, not a<b, docs <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
		entities: `[{"type":"bold","offset":0,"length":4},{"type":"bold","offset":6,"length":4},{"type":"italic","offset":15,"length":4},{"type":"strikethrough","offset":21,"length":3},` +
			`{"type":"code","offset":25,"length":3},{"type":"text_link","offset":30,"length":4,"url":"https://x.example/?a=1\u0026b=2"},{"type":"pre","offset":68,"length":11,"language":"go"},{"type":"pre","offset":81,"length":17}]`,
		typing: mockvendor.Sign{Channel: "4915112345678", Text: "typing"},
		grows:  telegramTalker,
		bots:   map[string]func(*testing.T) *talker{id: telegramTalker},
	}
}

func telegramText(_ *phone, id int, from, room, said string) []byte {
	chat := `{"id":` + from + `,"type":"private"}`
	if room != "" {
		chat = `{"id":` + room + `,"type":"supergroup"}`
	}
	entities := ""
	if strings.HasPrefix(said, `"/`) {
		entities = fmt.Sprintf(`,"entities":[{"offset":0,"length":%d,"type":"bot_command"}]`, len(strings.Fields(strings.Trim(said, `"`))[0]))
	}
	return []byte(fmt.Sprintf(`{"update_id":%d,"message":{"message_id":%d,"from":{"id":%s,"is_bot":false,"first_name":"A"},"chat":%s,"date":1772600767,"text":%s%s}}`, id, id, from, chat, said, entities))
}

// telegramTalker writes in a group.
func telegramTalker(t *testing.T) *talker {
	return phoneTalker(t, "telegram", "-1009", func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"is_bot":false`), []byte(`"is_bot":true`), 1)
	})
}
