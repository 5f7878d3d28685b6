package googlechat

import (
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is far below the limit of a message, 32,000 bytes with everything in it
// (developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/create,
// read 2026-11), so that people read it in pieces; it counts bytes.
const maxText = 8000

// marked is the note of a text with marks.
const marked = "chat"

// guard is a character that nobody sees.
const guard = "\u200B"

// plain takes care that nothing becomes a mention of a person or of everybody, which
// is an angle bracket with a name, or a link with another label: there is no way to
// escape the bracket (developers.google.com/workspace/chat/format-messages, read 2026-11).
func plain(s string) string { return strings.ReplaceAll(s, "<", "<"+guard) }

func marks() markdown.Marks {
	return markdown.Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```", Escape: plain,
		Link: func(address, label string) string {
			// A label ends at the bracket.
			label = strings.NewReplacer(">", "›", "|", "¦", "\n", " ").Replace(label)
			if address == label {
				return "<" + address + ">"
			}
			return "<" + address + "|" + label + ">"
		}}
}

// Split writes an answer with Chat's marks. Headings become bold lines, tables lines
// of code.
func (Adapter) Split(text string) []channel.Piece {
	m := marks()
	var out []channel.Piece
	size := func(r []markdown.Run) int { return len(m.Write(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• "}), maxText, size) {
		out = append(out, channel.Piece{Text: m.Write(p), Plain: markdown.Plain(p), Format: marked})
	}
	return out
}
