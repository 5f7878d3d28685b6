package turn

import (
	"html"
	"regexp"
	"strings"
	"unicode"
)

// Forms of links in an answer, of which the words are spoken: Markdown's, and those
// that vendors' own markup has. An address is not spoken.
var (
	markdownLink = regexp.MustCompile(`!?\[([^\]\n]*)\]\([^)\n]*\)`)
	angleLink    = regexp.MustCompile(`<https?://[^|>\s]*\|([^>\n]*)>`)
	address      = regexp.MustCompile(`<?https?://[^\s<>]*>?`)
)

// plainWords is text without what nobody speaks: marks of emphasis, headings and
// lists, escapes, addresses.
func plainWords(text string) string {
	text = markdownLink.ReplaceAllString(text, "$1")
	text = angleLink.ReplaceAllString(text, "$1")
	text = html.UnescapeString(address.ReplaceAllString(text, ""))
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		l = strings.TrimLeft(l, " \t")
		for _, mark := range []string{"###### ", "##### ", "#### ", "### ", "## ", "# ", "> ", "* ", "- ", "• ", "☐ ", "☑ ", "```"} {
			l = strings.TrimPrefix(l, mark)
		}
		lines[i] = unmarked(l)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// unmarked removes the marks at the edges of words: those within a name, or alone
// between spaces, are no emphasis.
func unmarked(line string) string {
	r := []rune(line)
	out := make([]rune, 0, len(r))
	for i := 0; i < len(r); {
		end := i
		for end < len(r) && strings.ContainsRune("*_~`", r[end]) {
			end++
		}
		if end == i {
			out = append(out, r[i])
			i++
			continue
		}
		before, after := i > 0 && wordy(r[i-1]), end < len(r) && wordy(r[end])
		alone := (i == 0 || unicode.IsSpace(r[i-1])) && (end == len(r) || unicode.IsSpace(r[end]))
		if before && after || alone && i > 0 && end < len(r) {
			out = append(out, r[i:end]...)
		}
		i = end
	}
	return string(out)
}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
