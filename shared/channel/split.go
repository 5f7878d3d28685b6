package channel

import "strings"

// Split cuts text into pieces whose summed cost is at most limit, preferring a
// paragraph end, then a line end, then a space in the second half of a piece.
// cost is the size of a rune as the vendor counts it, at least 1 and at most
// limit. White space at a cut is dropped; text of white space only gives none.
func Split(text string, limit int, cost func(rune) int) []string {
	var out []string
	text = strings.TrimSpace(text)
	for text != "" {
		end := fit(text, limit, cost)
		if end < len(text) {
			end = boundary(text[:end])
		}
		if piece := strings.TrimSpace(text[:end]); piece != "" {
			out = append(out, piece)
		}
		text = strings.TrimSpace(text[end:])
	}
	return out
}

// fit returns how many bytes of text cost at most limit.
func fit(text string, limit int, cost func(rune) int) int {
	sum := 0
	for i, r := range text {
		sum += cost(r)
		if sum > limit && i > 0 {
			return i
		}
	}
	return len(text)
}

// boundary finds the best cut at or before the end of a full piece.
func boundary(piece string) int {
	for _, sep := range []string{"\n\n", "\n", " "} {
		if i := strings.LastIndex(piece, sep); i > len(piece)/2 {
			return i + len(sep)
		}
	}
	return len(piece)
}
