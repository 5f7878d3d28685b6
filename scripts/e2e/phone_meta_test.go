package e2e

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func messengerCase() channelCase {
	c := directCase("messenger", "page", "page_id", "682498302938465", func(n int64) string { return fmt.Sprintf("6824%010d", n) })
	c.wordless = true
	return c
}

func instagramCase() channelCase {
	c := directCase("instagram", "instagram", "ig_account_id", "17841477965412210", func(n int64) string { return fmt.Sprintf("1784%013d", n) })
	c.mute, c.brief = true, true
	return c
}

// directCase is a product of Meta whose people write to a page or an account.
func directCase(id, object, setting, foreign string, number func(n int64) string) channelCase {
	event := func(p *phone, n int, from, message string) []byte {
		return []byte(fmt.Sprintf(`{"object":%q,"entry":[{"id":%q,"time":1772600767200,"messaging":[{"sender":{"id":%q},"recipient":{"id":%q},"timestamp":1772600767123,"message":{"mid":"m_%d",%s}}]}]}`,
			object, p.number, from, p.number, n, message))
	}
	return channelCase{id: id, addresses: true,
		phoneCase: phoneCase{foreign: foreign,
			fills: func(p *phone, n int64, in map[string]any) {
				p.number, p.token = number(n), fmt.Sprintf("EAACNRY%stoken%06d", id, n)
				in["secrets"] = map[string]any{"app_secret": p.secret, "verify_token": p.secret + "v", "access_token": p.token}
				in["config"] = map[string]any{setting: p.number}
			},
			text: func(p *phone, n int, from, _, said string) []byte { return event(p, n, from, `"text":`+said) },
			note: func(p *phone, n int, file string, _ []byte) []byte {
				return event(p, n, "4915112345678", fmt.Sprintf(`"attachments":[{"type":"audio","payload":{"url":%q}}]`, vendor.Recording(vendorURL, file)))
			}},
		form:   "Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
		typing: mockvendor.Sign{Channel: "4915112345678", Text: "typing_on"},
	}
}

// TestInstagramPageSpeaks: an account that a page speaks for answers a voice note by
// voice, which is uploaded first, and without a text; refused speech becomes text.
func TestInstagramPageSpeaks(t *testing.T) {
	c := instagramCase()
	fills := c.fills
	c.fills = func(p *phone, n int64, in map[string]any) {
		fills(p, n, in)
		in["config"] = map[string]any{"ig_account_id": p.number, "page_id": fmt.Sprintf("991784%010d", n)}
	}
	l := phoneListenerOf(newPhoneOf(t, c))
	l.speaks()
	file, recording, text := record()
	l.deliver(l.note(741, file, recording))
	eventually(t, "it is answered", func() bool { return len(l.posts()) == 1 })
	if p := l.posts()[0]; p.Voice == 0 || p.Text != "" {
		t.Errorf("%+v", p)
	}
	if n := calls("/audio/speech", "You said: "+text); n != 1 {
		t.Errorf("spoken %d times", n)
	}
	l.settled()
	l.consistent()
}
