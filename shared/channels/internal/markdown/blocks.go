package markdown

import (
	"strconv"
	"strings"

	"github.com/yuin/goldmark/ast"
	extension "github.com/yuin/goldmark/extension/ast"
)

// writer turns a tree into runs.
type writer struct {
	src  []byte
	o    Options
	runs []Run
	// gap is how many line feeds stand before the next text of another block.
	gap int
	// marker begins the next text, indent every further line of its block.
	marker, indent string
	style          Style
	quoted         bool // the last text was in a quotation
}

// nesting of the lists' lines.
const listIndent = "    "

func (w *writer) add(r Run) {
	if r.Text == "" {
		return
	}
	if k := len(w.runs); k > 0 && w.runs[k-1].like(r) && r.Link == "" {
		w.runs[k-1].Text += r.Text
		return
	}
	w.runs = append(w.runs, r)
}

// begin writes what stands between two blocks.
func (w *writer) begin() {
	if len(w.runs) > 0 && w.gap > 0 {
		between := Style(0)
		if w.quoted {
			between = w.style & Quote
		}
		w.add(Run{Text: strings.Repeat("\n", w.gap), Style: between})
	}
	w.gap, w.quoted = 0, w.style&Quote != 0
	if w.marker != "" {
		w.add(Run{Text: w.marker, Style: w.style & Quote})
		w.marker = ""
	}
}

// text writes text in the current style.
func (w *writer) text(s string) { w.run(Run{Text: s, Style: w.style}) }

func (w *writer) run(r Run) {
	if r.Text == "" {
		return
	}
	w.begin()
	w.add(r)
}

// newline begins a further line of the block.
func (w *writer) newline() {
	w.begin()
	w.add(Run{Text: "\n" + w.indent, Style: w.style & Quote})
}

// end says that a block is over; n line feeds stand between it and the next.
func (w *writer) end(n int) { w.gap = max(w.gap, n) }

func (w *writer) blocks(parent ast.Node) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		w.block(n)
	}
}

func (w *writer) block(n ast.Node) {
	switch n := n.(type) {
	case *ast.Heading:
		w.styled(Bold, n)
		w.end(2)
	case *ast.TextBlock:
		w.inlines(n)
		w.end(1)
	case *ast.ThematicBreak:
		w.text("———")
		w.end(2)
	case *ast.CodeBlock:
		w.pre(w.lines(n), "")
	case *ast.FencedCodeBlock:
		w.pre(w.lines(n), string(n.Language(w.src)))
	case *ast.HTMLBlock:
		raw := w.lines(n)
		if n.HasClosure() {
			raw += string(n.ClosureLine.Value(w.src))
		}
		w.literal(strings.TrimRight(raw, "\n"))
		w.end(2)
	case *ast.Blockquote:
		if !n.HasBlankPreviousLines() { // as close as it was written
			w.gap = min(w.gap, 1)
		}
		before := w.style
		w.style |= Quote
		w.blocks(n)
		w.style = before
		w.end(2)
	case *ast.List:
		w.list(n)
	case *extension.Table:
		w.pre(w.table(n), "")
	case *ast.Paragraph:
		w.inlines(n)
		w.end(2)
	default:
		w.blocks(n)
	}
}

// lines is the text of a block that is not read further.
func (w *writer) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		s := n.Lines().At(i)
		b.Write(s.Value(w.src))
	}
	return b.String()
}

// literal writes text of several lines as it is.
func (w *writer) literal(s string) {
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			w.newline()
		}
		w.text(line)
	}
}

func (w *writer) pre(s, lang string) {
	if s = strings.Trim(s, "\n"); strings.TrimSpace(s) == "" {
		return
	}
	if w.marker != "" { // a block of code cannot stand behind a bullet
		w.begin()
		w.gap = 1
	}
	w.run(Run{Text: strings.ReplaceAll(s, "\t", listIndent), Style: Pre | w.style&Quote, Lang: plainLanguage(lang)})
	w.end(2)
}

// plainLanguage keeps a language's name if it looks like one.
func plainLanguage(s string) string {
	if len(s) > 32 || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+#-_.") != "" {
		return ""
	}
	return s
}

func (w *writer) list(n *ast.List) {
	outer := w.indent
	number, between := n.Start, 1
	if !n.IsTight {
		between = 2
	}
	for item := n.FirstChild(); item != nil; item = item.NextSibling() {
		mark := w.o.Bullet
		if n.IsOrdered() {
			mark = strconv.Itoa(number) + string(n.Marker) + " "
			number++
		}
		if w.marker != "" { // an item that begins with a list
			w.begin()
			w.gap = 1
		}
		w.marker, w.indent = outer+mark, outer+listIndent
		w.blocks(item)
		if w.marker != "" { // an item without text
			w.begin()
		}
		w.gap = between
	}
	w.indent = outer
	w.end(2)
	if n.Parent() != nil && n.Parent().Kind() == ast.KindListItem {
		w.gap = 1
	}
}

// styled writes a node's text with one style more.
func (w *writer) styled(s Style, n ast.Node) {
	before := w.style
	w.style |= s
	w.inlines(n)
	w.style = before
}

func (w *writer) inlines(parent ast.Node) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		w.inline(n)
	}
}

func (w *writer) inline(n ast.Node) {
	switch n := n.(type) {
	case *ast.Text:
		if n.IsRaw() {
			w.text(string(n.Segment.Value(w.src)))
		} else {
			w.unescaped(n.Segment.Value(w.src))
		}
		if n.SoftLineBreak() || n.HardLineBreak() {
			w.newline()
		}
	case *ast.String:
		w.text(string(n.Value))
	case *ast.CodeSpan:
		w.run(Run{Text: strings.ReplaceAll(w.plain(n), "\n", " "), Style: w.style | Code})
	case *ast.Emphasis:
		w.styled(map[bool]Style{true: Bold, false: Italic}[n.Level == 2], n)
	case *extension.Strikethrough:
		w.styled(Strike, n)
	case *extension.TaskCheckBox:
		w.text(map[bool]string{true: "☑ ", false: "☐ "}[n.IsChecked])
	case *ast.Link:
		w.address(w.plain(n), n.Destination)
	case *ast.Image:
		w.address(w.plain(n), n.Destination)
	case *ast.AutoLink:
		if n.AutoLinkType == ast.AutoLinkEmail {
			w.text(string(n.Label(w.src)))
		} else {
			w.address(string(n.Label(w.src)), n.URL(w.src))
		}
	case *ast.RawHTML:
		w.html(n)
	default:
		w.inlines(n)
	}
}

// unescaped writes a text whose references may stand for line feeds.
func (w *writer) unescaped(b []byte) {
	for i, line := range strings.Split(unescape(b), "\n") {
		if i > 0 {
			w.newline()
		}
		w.text(line)
	}
}

// html writes a tag as text, but for the line break that models write in tables.
func (w *writer) html(n *ast.RawHTML) {
	raw := w.tag(n)
	if isBreak(raw) {
		w.newline()
		return
	}
	w.literal(raw)
}

func (w *writer) tag(n *ast.RawHTML) string {
	var b strings.Builder
	for i := range n.Segments.Len() {
		s := n.Segments.At(i)
		b.Write(s.Value(w.src))
	}
	return b.String()
}

func isBreak(tag string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimPrefix(tag, "<"), ">")), ""), "br") ||
		strings.EqualFold(strings.ReplaceAll(tag, " ", ""), "<br/>")
}

// address writes a link, or the label and what it points to.
func (w *writer) address(label string, dest []byte) {
	label = strings.Join(strings.Fields(label), " ")
	to := webAddress(dest)
	style := w.style &^ Code
	if to == "" {
		w.text(label)
		if raw := unescape(dest); raw != "" && raw != label && raw != "mailto:"+label {
			if label != "" {
				raw = " (" + raw + ")"
			}
			w.literal(raw)
		}
		return
	}
	switch {
	case label == "" || label == to:
		w.run(Run{Text: to, Style: style, Link: to})
	case w.o.PlainLinks && sameAddress(label, to):
		w.run(Run{Text: to, Style: style, Link: to})
	case w.o.PlainLinks:
		w.text(label)
		w.text(" (")
		w.run(Run{Text: to, Style: style, Link: to})
		w.text(")")
	default:
		w.run(Run{Text: label, Style: style, Link: to})
		if misleads(label, to) {
			w.text(" (" + strings.TrimPrefix(strings.TrimPrefix(to, "https://"), "http://") + ")")
		}
	}
}

// sameAddress reports whether a label is the address without what readers leave out.
func sameAddress(label, to string) bool {
	short := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(to, "https://"), "http://"), "/")
	return strings.EqualFold(label, short)
}

// plain is the text below a node without any style.
func (w *writer) plain(parent ast.Node) string {
	var b strings.Builder
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		switch n := n.(type) {
		case *ast.Text:
			if _, code := parent.(*ast.CodeSpan); code || n.IsRaw() {
				b.Write(n.Segment.Value(w.src))
			} else {
				b.WriteString(unescape(n.Segment.Value(w.src)))
			}
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(n.Value)
		case *ast.AutoLink:
			b.Write(n.Label(w.src))
		case *ast.RawHTML:
			if tag := w.tag(n); isBreak(tag) {
				b.WriteByte(' ')
			} else {
				b.WriteString(tag)
			}
		case *extension.TaskCheckBox:
			b.WriteString(map[bool]string{true: "☑ ", false: "☐ "}[n.IsChecked])
		default:
			b.WriteString(w.plain(n))
			if l, ok := n.(*ast.Link); ok && parent.Kind() == extension.KindTableCell {
				if to := webAddress(l.Destination); to != "" && !strings.HasSuffix(b.String(), to) {
					b.WriteString(" (" + to + ")")
				}
			}
		}
	}
	return b.String()
}
