package markdown

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// guard is a character that nobody sees. Behind a mark it keeps it a mark of the
// text; before one it is the edge of a word. Vendors do not document it; others
// who write for them use it so (github.com/NousResearch/hermes-agent/pull/35132).
const guard = "\u200B"

// Marks writes styles as characters around the text, as Slack and WhatsApp read
// them: a mark opens at the edge of a word before something visible, closes
// behind something visible at the edge of a word, and not beyond its line.
type Marks struct {
	Bold, Italic, Strike, Code string
	// Fence stands before and behind lines of code.
	Fence string
	// Escape makes text of the vendor's control characters; nil: there are none.
	Escape func(string) string
	// CodeAsIs says that nothing is escaped within code.
	CodeAsIs bool
	// Link writes an address and its label, which is escaped; nil: the label.
	Link func(address, label string) string
	// InWords makes the edge of a word where there is none, inside a word, by the
	// guard; without it such a style is left out.
	InWords bool
}

func (m Marks) escape(s string) string {
	if m.Escape == nil {
		return s
	}
	return m.Escape(s)
}

// code is text within code.
func (m Marks) code(s string) string {
	if m.CodeAsIs {
		return s
	}
	return m.escape(s)
}

// Write writes runs out.
func (m Marks) Write(runs []Run) string {
	var out strings.Builder
	l := &lineWriter{m: m, out: &out}
	for _, r := range runs {
		if r.Style&Pre != 0 {
			l.flush()
			l.quoted = false
			out.WriteString(m.Fence + "\n" + m.code(m.unfenced(r.Text)) + "\n" + m.Fence)
			continue
		}
		for i, part := range strings.Split(r.Text, "\n") {
			if i > 0 {
				l.flush()
				out.WriteByte('\n')
				l.quoted = false
			}
			l.add(Run{Text: part, Style: r.Style, Link: r.Link})
		}
	}
	l.flush()
	return out.String()
}

// unfenced takes care that code does not end its own block.
func (m Marks) unfenced(s string) string {
	if m.Code == "" {
		return s
	}
	apart := m.Code + guard + m.Code
	return strings.ReplaceAll(strings.ReplaceAll(s, m.Code+m.Code, apart), m.Code+m.Code, apart)
}

// cell is one character of a line, or a link or code, which is written whole.
type cell struct {
	r     rune
	whole string
	style Style
}

func (c cell) space() bool { return c.whole == "" && unicode.IsSpace(c.r) }

// edge reports whether a word ends at the character.
func (c cell) edge() bool {
	return c.space() || c.whole == "" && strings.ContainsRune(`.,;:!?()[]{}"'–—…“”‘’«»/`+guard, c.r)
}

// lineWriter collects a line and writes it with its marks.
type lineWriter struct {
	m      Marks
	out    *strings.Builder
	cells  []cell
	quoted bool
	// open are the marks that are open, in their order.
	open []Style
	last kind
}

// kind is what was written last in a line.
type kind int

const (
	atEdge kind = iota
	inWord
	opened
	closed
)

// inlineStyles are the styles that marks are written for, outermost first.
func inlineStyles() [3]Style { return [3]Style{Bold, Italic, Strike} }

func (m Marks) mark(s Style) string {
	switch s {
	case Bold:
		return m.Bold
	case Italic:
		return m.Italic
	}
	return m.Strike
}

func (l *lineWriter) add(r Run) {
	if r.Text == "" {
		return
	}
	if len(l.cells) == 0 && r.Style&Quote != 0 && !l.quoted {
		l.quoted = true
		l.out.WriteString("> ")
	}
	style := r.Style & (Bold | Italic | Strike)
	switch {
	case r.Link != "" && l.m.Link != nil:
		l.cells = append(l.cells, cell{whole: l.m.Link(r.Link, l.m.escape(r.Text)), style: style})
	case r.Link != "":
		l.cells = append(l.cells, cell{whole: l.m.escape(r.Text), style: style})
	case r.Style&Code != 0 && !strings.Contains(r.Text, l.m.Code) && strings.TrimSpace(r.Text) != "":
		l.cells = append(l.cells, cell{whole: l.m.Code + l.m.code(r.Text) + l.m.Code, style: style | Code})
	default:
		for _, c := range r.Text {
			l.cells = append(l.cells, cell{r: c, style: style})
		}
	}
}

// flush writes the line.
func (l *lineWriter) flush() {
	for _, s := range inlineStyles() {
		l.fit(s)
	}
	l.last, l.open = atEdge, l.open[:0]
	for k, c := range l.cells {
		l.close(c.style)
		l.begin(k)
		l.write(k)
	}
	l.close(0)
	l.cells = l.cells[:0]
}

// fit takes a style from white space at its ends, and from where its marks would
// not be read as such.
func (l *lineWriter) fit(s Style) {
	for from := 0; from < len(l.cells); from++ {
		if l.cells[from].style&s == 0 {
			continue
		}
		to := from
		for to < len(l.cells) && l.cells[to].style&s != 0 {
			to++
		}
		next := to
		first, end := from, to
		for first < end && l.cells[first].space() {
			first++
		}
		for end > first && l.cells[end-1].space() {
			end--
		}
		if !l.m.InWords && (first > 0 && !l.cells[first-1].edge() || end < len(l.cells) && !l.cells[end].edge()) {
			end = first
		}
		for k := from; k < to; k++ {
			if k < first || k >= end {
				l.cells[k].style &^= s
			}
		}
		from = next
	}
}

// close ends the marks that the next character does not have, and those within.
func (l *lineWriter) close(next Style) {
	keep := 0
	for keep < len(l.open) && next&l.open[keep] != 0 {
		keep++
	}
	for k := len(l.open) - 1; k >= keep; k-- {
		l.out.WriteString(l.m.mark(l.open[k]))
		l.last = closed
	}
	l.open = l.open[:keep]
}

// begin writes the marks that begin at a character.
func (l *lineWriter) begin(k int) {
	for _, s := range inlineStyles() {
		if l.cells[k].style&s == 0 || l.isOpen(s) {
			continue
		}
		if l.last == inWord || l.last == closed {
			if !l.m.InWords {
				for i := k; i < len(l.cells) && l.cells[i].style&s != 0; i++ {
					l.cells[i].style &^= s
				}
				continue
			}
			l.out.WriteString(guard)
		}
		l.out.WriteString(l.m.mark(s))
		l.open, l.last = append(l.open, s), opened
	}
}

func (l *lineWriter) isOpen(s Style) bool {
	for _, o := range l.open {
		if o == s {
			return true
		}
	}
	return false
}

func (l *lineWriter) write(k int) {
	c := l.cells[k]
	if l.last == closed && !c.edge() || c.style&Code != 0 && l.last == inWord {
		l.out.WriteString(guard)
	}
	if c.whole != "" {
		l.out.WriteString(c.whole)
		if l.last = inWord; c.style&Code != 0 {
			l.last = closed
		}
		return
	}
	l.out.WriteString(l.m.escape(string(c.r)))
	if c.edge() {
		l.last = atEdge
		return
	}
	if l.literalMark(k) {
		l.out.WriteString(guard)
	}
	l.last = inWord
}

// literalMark reports whether a character of the text could open a style together
// with what follows in its line; a doubled sign of code could do so beyond it.
func (l *lineWriter) literalMark(k int) bool {
	mine := string(l.cells[k].r)
	if !strings.Contains(l.m.Bold+l.m.Italic+l.m.Strike+l.m.Code, mine) {
		return false
	}
	rest := l.cells[k+1:]
	if mine == l.m.Code && len(rest) > 0 && rest[0].r == l.cells[k].r {
		return true
	}
	if len(rest) == 0 || rest[0].space() || k > 0 && !l.cells[k-1].edge() && !l.markAt(k-1) {
		return false
	}
	for _, c := range rest {
		if c.whole == "" && c.r == l.cells[k].r || c.style&l.styleOf(mine) != 0 {
			return true
		}
	}
	return l.cells[k].style&l.styleOf(mine) != 0
}

func (l *lineWriter) markAt(k int) bool {
	return l.cells[k].whole == "" && strings.ContainsRune(l.m.Bold+l.m.Italic+l.m.Strike+l.m.Code, l.cells[k].r)
}

func (l *lineWriter) styleOf(mark string) Style {
	switch mark {
	case l.m.Bold:
		return Bold
	case l.m.Italic:
		return Italic
	case l.m.Strike:
		return Strike
	}
	return Code
}

// Units is the length of a text in UTF-16 units.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf8.RuneLen(r)/4*2)
	}
	return n
}
