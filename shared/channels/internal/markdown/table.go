package markdown

import (
	"strings"
	"unicode"

	extension "github.com/yuin/goldmark/extension/ast"
)

// maxPadding bounds how wide a column is made: a longer cell sticks out.
const maxPadding = 32

// table writes a table as lines of even columns, to be shown as code.
func (w *writer) table(n *extension.Table) string {
	var rows [][]string
	var widths []int
	for row := n.FirstChild(); row != nil; row = row.NextSibling() {
		var cells []string
		for c := row.FirstChild(); c != nil; c = c.NextSibling() {
			cell := strings.Join(strings.Fields(w.plain(c)), " ")
			if k := len(cells); k == len(widths) {
				widths = append(widths, 0)
			}
			widths[len(cells)] = max(widths[len(cells)], min(width(cell), maxPadding))
			cells = append(cells, cell)
		}
		rows = append(rows, cells)
	}
	var b strings.Builder
	for i, cells := range rows {
		line := make([]string, len(cells))
		for k, cell := range cells {
			line[k] = pad(cell, widths[k], alignment(n, k))
		}
		b.WriteString(strings.TrimRight(strings.Join(line, " | "), " ") + "\n")
		if i == 0 {
			for k := range widths {
				line[k] = strings.Repeat("-", max(widths[k], 1))
			}
			b.WriteString(strings.Join(line, "-|-") + "\n")
		}
	}
	return b.String()
}

func alignment(n *extension.Table, column int) extension.Alignment {
	if column < len(n.Alignments) {
		return n.Alignments[column]
	}
	return extension.AlignNone
}

func pad(cell string, to int, a extension.Alignment) string {
	room := max(to-width(cell), 0)
	switch a {
	case extension.AlignRight:
		return strings.Repeat(" ", room) + cell
	case extension.AlignCenter:
		return strings.Repeat(" ", room/2) + cell + strings.Repeat(" ", room-room/2)
	}
	return cell + strings.Repeat(" ", room)
}

// width is how many columns a text takes in a font of even width.
func width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case wide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wide has the blocks of wide characters (Unicode 15, EastAsianWidth.txt), coarsely.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115F || r >= 0x2E80 && r <= 0xA4CF || r >= 0xAC00 && r <= 0xD7A3 || r >= 0xF900 && r <= 0xFAFF ||
		r >= 0xFE30 && r <= 0xFE6F || r >= 0xFF00 && r <= 0xFF60 || r >= 0xFFE0 && r <= 0xFFE6 || r >= 0x1F300 && r <= 0x1FAFF || r >= 0x20000 && r <= 0x3FFFD
}
