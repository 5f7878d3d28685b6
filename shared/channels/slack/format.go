package slack

import (
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is the advised length of text; above 40,000 Slack cuts it off
// (docs.slack.dev/reference/methods/chat.postMessage, read 2026-11). It does not say
// of what: the larger count is taken, UTF-16 units with escapes and marks.
const maxText = 4000

// mrkdwn marks text in Slack's own form (docs.slack.dev/messaging/formatting-message-text,
// read 2026-11): three characters are escaped, <address|label> is a link, everything
// else between angle brackets would be a mention or a command and cannot come out
// of an escaped text.
const mrkdwn = "mrkdwn"

func escape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(s, "&", "&amp;"), "<", "&lt;"), ">", "&gt;")
}

// shown is a message's text as Slack takes it; marked says that it has marks. What is
// not of [Adapter.Split] is shown as it is.
func shown(out channel.Outgoing) (text string, marked bool) {
	if out.Format == mrkdwn {
		return out.Text, true
	}
	return escape(out.Text), false
}

func marks() markdown.Marks {
	return markdown.Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```", InWords: true, Escape: escape,
		Link: func(address, label string) string {
			address = escape(address)
			if address == label {
				return "<" + address + ">"
			}
			return "<" + address + "|" + label + ">"
		}}
}

// Split writes an answer as mrkdwn. Slack has no headings, lists and tables: these
// become bold lines, bullets and lines of code.
func (Adapter) Split(text string) []channel.Piece {
	m := marks()
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(m.Write(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• "}), maxText, size) {
		out = append(out, channel.Piece{Text: m.Write(p), Plain: markdown.Plain(p), Format: mrkdwn})
	}
	return out
}
