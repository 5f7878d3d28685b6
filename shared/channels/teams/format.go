package teams

import (
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is far below the limit of a message, about 100 KB in UTF-16 with everything in
// it (msteams-docs, bots/how-to/format-your-bot-messages.md, read 2026-11; it was 28 KB
// once), so that people read it in pieces; it counts UTF-16 units with tags.
const maxText = 8000

// marked is the note of a text with tags.
const marked = "html"

const lineBreak = "<br/>"

// escape makes text of what would be a tag, an entity or the end of an attribute.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}

// escaped is text with its lines.
func escaped(s string) string { return strings.ReplaceAll(escape(s), "\n", lineBreak) }

// Split writes an answer in Teams' subset of HTML. Headings become bold lines, lists
// bullets, which telephones show, too, and tables lines of code.
func (Adapter) Split(text string) []channel.Piece {
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(write(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• "}), maxText, size) {
		out = append(out, channel.Piece{Text: write(p), Plain: markdown.Plain(p), Format: marked})
	}
	return out
}

// write writes runs with tags (learn.microsoft.com/microsoftteams/platform/resources/bot-v3/bots-text-formats,
// "Text formatting examples", read 2026-11; code within a line is not listed, and would
// be shown as text where it is not known).
func write(runs []markdown.Run) string {
	w := &writer{}
	for _, r := range runs {
		if r.Style&markdown.Pre != 0 {
			w.enter(inCode)
			w.b = append(w.b, escape(r.Text)...)
			continue
		}
		if r.Style&markdown.Quote != 0 {
			w.enter(inQuote)
		} else {
			w.enter(inText)
		}
		w.run(r)
	}
	w.leave()
	return string(w.b)
}

// block is what the text written last is in. Quotations and code begin and end lines by
// themselves.
type block int

const (
	inText block = iota
	inQuote
	inCode
)

// writer holds what is written, and whether a line has just ended by itself.
type writer struct {
	b      []byte
	in     block
	broken bool
}

// enter ends the block that is open and begins another one.
func (w *writer) enter(next block) {
	if next == w.in && next != inCode {
		return
	}
	w.leave()
	if w.in = next; next == inText {
		return
	}
	w.b = []byte(strings.TrimSuffix(string(w.b), lineBreak))
	w.b = append(w.b, map[block]string{inQuote: "<blockquote>", inCode: "<pre>"}[next]...)
	w.broken = false
}

func (w *writer) leave() {
	if w.in != inText {
		w.b = append(w.b, map[block]string{inQuote: "</blockquote>", inCode: "</pre>"}[w.in]...)
		w.in, w.broken = inText, true
	}
}

// run writes text with its styles, and its lines.
func (w *writer) run(r markdown.Run) {
	text := r.Text
	if w.broken {
		text = strings.TrimPrefix(text, "\n")
		w.broken = text == ""
	}
	if text == "" {
		return
	}
	open, closed := tags(r)
	w.b = append(w.b, open+escaped(text)+closed...)
}

// tags are what stands around a run's text. White space needs none.
func tags(r markdown.Run) (open, closed string) {
	if r.Link != "" {
		open, closed = `<a href="`+escape(r.Link)+`">`, "</a>"
	}
	if strings.TrimSpace(r.Text) == "" {
		return open, closed
	}
	for _, s := range []struct {
		style markdown.Style
		tag   string
	}{{markdown.Code, "code"}, {markdown.Strike, "strike"}, {markdown.Italic, "em"}, {markdown.Bold, "strong"}} {
		if r.Style&s.style != 0 {
			open, closed = "<"+s.tag+">"+open, closed+"</"+s.tag+">"
		}
	}
	return open, closed
}
