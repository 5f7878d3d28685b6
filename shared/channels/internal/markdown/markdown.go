// Package markdown brings what models write into the form of a messaging vendor.
//
// Models write CommonMark with GitHub's tables, strikethrough and task lists.
// [Parse] reads it into a line of [Run]s, text with a style, which is all that
// messages can show; [Split] cuts that into messages of a vendor's size, and the
// vendor's folder writes each one out: with [Marks] where style is written into
// the text, as entities where it stands beside it. Because styles are written
// only after cutting, whatever is open at a cut is closed and opened again.
//
// Guarantees: no text is lost but for white space where messages are cut; nothing
// passes as the vendor's own markup: HTML, mentions and marks of the text are
// text. Only web addresses become links, and a label that looks like another
// address is followed by the true one. Not done: footnotes, definition lists,
// mathematics; they come out as they were written.
//
// The parser is github.com/yuin/goldmark. Texts whose reading would take time
// out of proportion (far beyond what an answer looks like) are left as they are.
package markdown

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Style is how text is shown; styles combine.
type Style uint8

// Styles.
const (
	Bold Style = 1 << iota
	Italic
	Strike
	Code  // inside a line
	Pre   // lines of their own, shown as they are
	Quote // lines of a quotation
)

// Run is text shown in one way.
type Run struct {
	Text  string
	Style Style
	// Link is a web address, empty for none. A run with one is never cut.
	Link string
	// Lang is the language of a [Pre].
	Lang string
}

// Plain is the text of runs without any style.
func Plain(runs []Run) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.Text)
	}
	return b.String()
}

// atomic reports whether a cut inside the run would break what it shows.
func (r Run) atomic() bool { return r.Link != "" || r.Style&Code != 0 }

// like reports whether two runs are shown the same way.
func (r Run) like(o Run) bool { return r.Style == o.Style && r.Link == o.Link && r.Lang == o.Lang }

// Options are what vendors differ in before anything is cut.
type Options struct {
	// Bullet stands before an item of a list, with the space behind it.
	Bullet string
	// PlainLinks shows a link as its label followed by the address.
	PlainLinks bool
}

// Bounds of what is read as markup. An answer has at most 100,000 bytes; the
// others keep nested and degenerate input, which nobody writes, from taking time
// that grows with its square.
const (
	maxSource  = 128 << 10
	maxCells   = 20_000 // of tables
	maxOpeners = 2_000  // of one kind in a paragraph
	maxNesting = 32     // marks of quotes and lists that begin a line
)

// Parse reads what a model wrote.
func Parse(source string, o Options) []Run {
	source = clean(source)
	if len(source) > maxSource || degenerate(source) {
		return []Run{{Text: source}}
	}
	w := &writer{src: []byte(source), o: o}
	w.blocks(newParser(tables(source)).Parse(text.NewReader(w.src)))
	return w.runs
}

func newParser(tables bool) parser.Parser {
	inline := append(parser.DefaultInlineParsers(),
		util.Prioritized(extension.NewStrikethroughParser(), 500),
		util.Prioritized(extension.NewTaskCheckBoxParser(), 0),
		util.Prioritized(extension.NewLinkifyParser(), 999))
	options := []parser.Option{parser.WithBlockParsers(parser.DefaultBlockParsers()...), parser.WithInlineParsers(inline...),
		parser.WithParagraphTransformers(parser.DefaultParagraphTransformers()...)}
	if tables {
		options = append(options, parser.WithParagraphTransformers(util.Prioritized(extension.NewTableParagraphTransformer(), 200)),
			parser.WithASTTransformers(util.Prioritized(extension.NewTableASTTransformer(), 0)))
	}
	return parser.NewParser(options...)
}

// clean leaves what can be shown: valid UTF-8, line feeds, tabs as spaces, and no
// other control characters.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r', r == '\u2028', r == '\u2029':
			return '\n'
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
}

// degenerate reports input that would be read in time that grows with its square.
func degenerate(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		if marks := len(line) - len(strings.TrimLeft(line, "> \t-*+")); strings.Count(line[:marks], ">")+nested(line[:marks]) > maxNesting {
			return true
		}
	}
	counts := map[rune]int{}
	for line := range strings.SplitSeq(s, "\n") {
		if ownBlock(line) {
			clear(counts)
		}
		for _, c := range line {
			if strings.ContainsRune("[*_~<`", c) {
				if counts[c]++; counts[c] > maxOpeners {
					return true
				}
			}
		}
	}
	return false
}

// ownBlock reports whether nothing of the lines before can reach into a line: it is
// blank, or an item of a list that is not indented.
func ownBlock(line string) bool {
	item := strings.TrimLeft(line, " ")
	return strings.TrimSpace(line) == "" ||
		len(line)-len(item) < 4 && (strings.HasPrefix(item, "- ") || strings.HasPrefix(item, "* ") || strings.HasPrefix(item, "+ "))
}

// nested counts the marks of lists that stand behind each other.
func nested(marks string) int {
	n := 0
	for _, f := range strings.Fields(marks) {
		if len(f) == 1 && f != ">" {
			n++
		}
	}
	return n
}

// tables reports whether tables may be read: short rows are filled up to the
// width of the first, so few bytes can make very many cells.
func tables(s string) bool {
	widest := 0
	for line := range strings.SplitSeq(s, "\n") {
		widest = max(widest, strings.Count(line, "|"))
	}
	return widest*strings.Count(s, "\n") <= maxCells
}

// maxLink bounds an address: it counts in the size of some vendors' messages.
const maxLink = 1500

// webAddress returns an address that may become a link, "" for any other.
func webAddress(dest []byte) string {
	s := string(util.URLEscape(dest, true))
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(s) > maxLink {
		return ""
	}
	s = u.Scheme + s[len(u.Scheme):] // in lower case, as vendors know it
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", `"`, "%22", "`", "%60").Replace(s)
}

// misleads reports whether a label looks like an address of another host.
func misleads(label, address string) bool {
	host := func(s string) string {
		s = strings.ToLower(strings.TrimSpace(s))
		if i := strings.Index(s, "://"); i >= 0 {
			s = s[i+3:]
		}
		if i := strings.IndexAny(s, "/?#:@"); i >= 0 {
			s = s[:i]
		}
		return strings.TrimPrefix(s, "www.")
	}
	said := host(label)
	if !strings.Contains(said, ".") || strings.ContainsFunc(said, unicode.IsSpace) || strings.HasSuffix(said, ".") {
		return false
	}
	return said != host(address)
}

// unescape resolves backslashes and character references of a text.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 && bytes.IndexByte(b, '&') < 0 {
		return string(b)
	}
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\' && i+1 < len(b) && util.IsPunct(b[i+1]):
			i++
			out.WriteByte(b[i])
		case b[i] == '&':
			end := bytes.IndexByte(b[i:min(len(b), i+maxReference)], ';')
			if end < 0 {
				out.WriteByte('&')
				continue
			}
			ref := b[i : i+end+1]
			out.WriteString(clean(string(util.ResolveEntityNames(util.ResolveNumericReferences(ref)))))
			i += end
		default:
			out.WriteByte(b[i])
		}
	}
	return out.String()
}

// maxReference is above the longest name of a character reference.
const maxReference = 40
