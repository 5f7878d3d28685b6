package whatsapp

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is the limit of a text message's body in characters
// (developers.facebook.com/docs/whatsapp/cloud-api/messages/text-messages, read
// 2026-11). The larger count is taken, UTF-16 units.
const maxText = 4096

// marks are WhatsApp's (faq.whatsapp.com/539178204879377, read 2026-11). There is
// no way to escape them and none to label a link.
func marks() markdown.Marks {
	return markdown.Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```"}
}

// Split writes an answer with WhatsApp's marks. Headings become bold lines, tables
// lines of code; a style inside a word is left out, because its marks would show.
func (Adapter) Split(text string) []channel.Piece {
	m := marks()
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(m.Write(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "- ", PlainLinks: true}), maxText, size) {
		out = append(out, channel.Piece{Text: m.Write(p), Plain: markdown.Plain(p)})
	}
	return out
}
