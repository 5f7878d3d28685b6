package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func whatsappCase() channelCase {
	return channelCase{id: "whatsapp", wordless: true, addresses: true,
		phoneCase: phoneCase{foreign: "106540352242922",
			fills: func(p *phone, n int64, in map[string]any) {
				p.number, p.account, p.token = fmt.Sprintf("1065%010d", n), fmt.Sprintf("1022%010d", n), fmt.Sprintf("EAACNRYwhatsapptoken%06d", n)
				in["secrets"] = map[string]any{"app_secret": p.secret, "verify_token": p.secret + "v", "access_token": p.token}
				in["config"] = map[string]any{"phone_number_id": p.number, "waba_id": p.account}
			},
			text: func(p *phone, id int, from, _, said string) []byte {
				return []byte(fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[{"field":"messages","value":{"messaging_product":"whatsapp",
		"metadata":{"phone_number_id":%q},"messages":[{"from":%q,"id":"wamid.%d","timestamp":"1772600767","type":"text","text":{"body":%s}}]}}]}]}`, p.account, p.number, from, id, said))
			},
			note: func(p *phone, id int, file string, recording []byte) []byte {
				sum := sha256.Sum256(recording)
				return []byte(fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[{"field":"messages","value":{"messaging_product":"whatsapp",
				"metadata":{"phone_number_id":%q},"messages":[{"from":"4915112345678","id":"wamid.%d","timestamp":"1772600767","type":"audio",
				"audio":{"id":%q,"mime_type":"audio/ogg; codecs=opus","sha256":%q,"voice":true}}]}}]}]}`, p.account, p.number, id, file, base64.StdEncoding.EncodeToString(sum[:])))
			}},
		form:   "*Plan*\n\n*Bold* and _soft_, ~not~ `a<b`, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n- one\n- two\n\n```\nif a < b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```",
		typing: mockvendor.Sign{Channel: "wamid.709", Text: "text"},
	}
}
