package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func teamsCase() channelCase {
	return channelCase{id: "teams", mute: true,
		phoneCase: phoneCase{person: func(from string) string { return "a:" + from }, foreign: "00000000-0000-4000-8000-00000000dead",
			fills: func(p *phone, n int64, in map[string]any) {
				p.secret, p.number = fmt.Sprintf("00000000-0000-4000-8000-%012d", n), fmt.Sprintf("00000000-0000-4000-9000-%012d", n)
				client := fmt.Sprintf("CNRYteams8Q~%06d", n)
				p.token = mockvendor.TeamsToken(client)
				in["secrets"] = map[string]any{"client_secret": client}
				in["config"] = map[string]any{"app_id": p.secret, "tenant_id": p.number}
			},
			text: teamsMessage},
		form: "<strong>Plan</strong><br/><br/><strong>Bold</strong> and <em>soft</em>, <strike>not</strike> <code>a&lt;b</code>, <a href=\"https://x.example/?a=1&amp;b=2\">docs</a> &lt;!channel&gt; &lt;@U012&gt;" +
			"<br/><br/>• one<br/>• two<br/><pre>if a &lt; b {}</pre><pre>a | b\n--|--\n1 | 2</pre>",
		typing: mockvendor.Sign{Channel: "a:4915112345678", Text: "typing"},
		grows:  teamsTalker,
		bots:   map[string]func(*testing.T) *talker{"teams": teamsTalker},
	}
}

// teamsMessage is the connector's body for a message to the bot, in a chat of its own
// or with its name in a channel.
func teamsMessage(p *phone, id int, from, room, said string) []byte {
	conversation, entities := fmt.Sprintf(`{"conversationType":"personal","tenantId":%q,"id":"a:%s"}`, p.number, from), ""
	bot := "28:" + p.secret
	if room != "" {
		conversation = fmt.Sprintf(`{"conversationType":"channel","isGroup":true,"tenantId":%q,"id":"19:%s@thread.tacv2;messageid=1481567603816"}`, p.number, strings.TrimPrefix(room, "-"))
		said = `"<at>Helper</at> ` + strings.TrimPrefix(said, `"`)
		entities = fmt.Sprintf(`,{"type":"mention","mentioned":{"id":%q,"name":"Helper"},"text":"<at>Helper</at>"}`, bot)
	}
	return []byte(fmt.Sprintf(`{"type":"message","channelData":{"tenant":{"id":%q}},"id":"14859834%05d","timestamp":"2026-03-04T05:06:07.437Z","serviceUrl":"https://smba.trafficmanager.net/emea/","channelId":"msteams",
		"from":{"id":"29:%s","name":"A"},"conversation":%s,"recipient":{"id":%q,"name":"Helper"},"textFormat":"plain","text":%s,"entities":[{"type":"clientInfo","locale":"en-US"}%s]}`,
		p.number, id, from, conversation, bot, said, entities))
}

// teamsTalker writes in a channel.
func teamsTalker(t *testing.T) *talker {
	return phoneTalker(t, "teams", "9009", func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"from":{"id":"29:`), []byte(`"from":{"id":"28:`), 1)
	})
}
