package discord

import (
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is the limit of a message (resources/message, "Create Message", read
// 2026-11). It does not say of what: UTF-16 units, the larger count, are taken.
const maxText = 2000

// discordMarks marks text in Discord's own form, CommonMark without tables, images and
// HTML (support.discord.com, "Markdown Text 101", read 2026-11).
const discordMarks = "markdown"

// special are the characters that make something else than themselves: marks,
// spoilers, quotes and headings at the start of a line, links, and between angle
// brackets mentions, times and addresses.
const special = "\\*_~`|>#[]<"

func escape(s string) string {
	if !strings.ContainsAny(s, special) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func marks() markdown.Marks {
	return markdown.Marks{Bold: "**", Italic: "*", Strike: "~~", Code: "`", Fence: "```", InWords: true, Escape: escape, CodeAsIs: true,
		Link: func(address, label string) string {
			if label == escape(address) {
				return "<" + address + ">"
			}
			return "[" + label + "](<" + address + ">)"
		}}
}

// Split writes an answer in Discord's marks. Headings become bold lines, lists
// bullets, tables lines of code.
func (Adapter) Split(text string) []channel.Piece {
	m := marks()
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(m.Write(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• "}), maxText, size) {
		out = append(out, channel.Piece{Text: m.Write(p), Plain: markdown.Plain(p), Format: discordMarks})
	}
	return out
}
