package markdown

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Split cuts runs into pieces whose size is at most limit. size is the length of
// a piece written out, in the vendor's unit, at least its UTF-16 units. A cut lies between paragraphs, else
// lines, else words, else characters as people see them; inside a link or code
// of a line only if that alone is larger than a piece. White space at a cut is
// dropped, but not the indentation of code; runs without visible text give none.
func Split(runs []Run, limit int, size func([]Run) int) [][]Run {
	s := splitter{limit: limit, size: size, runs: runs}
	for _, r := range runs {
		s.starts = append(s.starts, s.text.Len())
		s.text.WriteString(r.Text)
	}
	s.all = s.text.String()
	var out [][]Run
	for at := 0; at < len(s.all); {
		end := s.next(at)
		if piece := trim(s.slice(at, end)); len(piece) > 0 {
			out = append(out, piece)
		}
		at = end
	}
	return out
}

type splitter struct {
	limit  int
	size   func([]Run) int
	runs   []Run
	starts []int
	text   strings.Builder
	all    string
}

// fits reports whether the text between two offsets is a piece.
func (s *splitter) fits(from, to int) bool { return s.size(trim(s.slice(from, to))) <= s.limit }

// next finds the end of the piece that begins at from.
func (s *splitter) next(from int) int {
	// A unit of any vendor's size holds at most three bytes of text.
	lo, hi := from, s.round(min(from+3*s.limit+1, len(s.all)), from)
	if s.fits(from, hi) {
		return hi
	}
	for lo+1 < hi {
		mid := s.round(lo+(hi-lo)/2, lo)
		if mid == lo {
			break
		}
		if s.fits(from, mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	for end := lo; end > from; {
		cut := s.cut(from, end)
		if s.fits(from, cut) {
			return cut
		}
		end = s.round(cut-1, from)
	}
	// One character as people see it is more than a message takes.
	_, n := utf8.DecodeRuneInString(s.all[from:])
	return from + n
}

// round moves an offset back to the beginning of a character, not before lo.
func (s *splitter) round(at, lo int) int {
	for at > lo && at < len(s.all) && !utf8.RuneStart(s.all[at]) {
		at--
	}
	return max(at, lo)
}

// run is the run that holds the byte at an offset.
func (s *splitter) run(at int) int {
	lo, hi := 0, len(s.starts)
	for lo+1 < hi {
		if mid := (lo + hi) / 2; s.starts[mid] <= at {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// cut finds the best place in the second half of from to end.
func (s *splitter) cut(from, end int) int {
	half := from + (end-from)/2
	best, kind := 0, 0
	for at := end; at > half; at-- {
		if k := s.kind(at); k > kind {
			if best, kind = at, k; kind == paragraph {
				break
			}
		}
	}
	if kind > 0 {
		return best
	}
	// One link or piece of code fills the half: cut before it, if it is smaller
	// than a piece.
	if r := s.run(end - 1); s.runs[r].atomic() && s.starts[r] > from && s.size(s.runs[r:r+1]) <= s.limit {
		return s.starts[r]
	}
	for at := end; at > from; at-- {
		if grapheme(s.all, at) {
			return at
		}
	}
	return end
}

// Kinds of places, the better the higher.
const (
	character = 1 + iota
	word
	line
	paragraph
)

// kind says what a cut before the offset would separate, 0 for something whole.
func (s *splitter) kind(at int) int {
	if at >= len(s.all) {
		return character
	}
	if !utf8.RuneStart(s.all[at]) {
		return 0
	}
	r := s.run(at)
	if s.runs[r].atomic() && s.starts[r] < at {
		return 0
	}
	code := s.runs[s.run(at-1)].Style&Pre != 0
	switch {
	case !code && strings.HasSuffix(s.all[:at], "\n\n"):
		return paragraph
	case s.all[at-1] == '\n':
		return line
	case s.all[at-1] == ' ' && !code:
		return word
	case grapheme(s.all, at):
		return character
	}
	return 0
}

// slice copies the runs between two offsets.
func (s *splitter) slice(from, to int) []Run {
	var out []Run
	for r := s.run(from); r < len(s.runs) && s.starts[r] < to; r++ {
		one, start := s.runs[r], s.starts[r]
		one.Text = one.Text[max(from-start, 0):min(to-start, len(one.Text))]
		if one.Text != "" {
			out = append(out, one)
		}
	}
	return out
}

// trim takes white space off both ends; of code, empty lines only.
func trim(runs []Run) []Run {
	for len(runs) > 0 {
		if first := &runs[0]; first.Style&Pre != 0 {
			for i := strings.IndexByte(first.Text, '\n'); i >= 0 && strings.TrimSpace(first.Text[:i]) == ""; i = strings.IndexByte(first.Text, '\n') {
				first.Text = first.Text[i+1:]
			}
		} else {
			first.Text = strings.TrimLeftFunc(first.Text, unicode.IsSpace)
		}
		if strings.TrimSpace(runs[0].Text) != "" {
			break
		}
		runs = runs[1:]
	}
	for len(runs) > 0 {
		last := &runs[len(runs)-1]
		last.Text = strings.TrimRightFunc(last.Text, unicode.IsSpace)
		if last.Text != "" {
			break
		}
		runs = runs[:len(runs)-1]
	}
	return runs
}

// grapheme reports whether the characters before and after an offset are seen as
// two: what UAX 29 (revision 45) joins stays together, except for Prepend and the
// conjuncts of Indic scripts, of which a message loses nothing but a shape.
func grapheme(s string, at int) bool {
	if at <= 0 || at >= len(s) || !utf8.RuneStart(s[at]) {
		return at == 0 || at >= len(s)
	}
	before, _ := utf8.DecodeLastRuneInString(s[:at])
	after, _ := utf8.DecodeRuneInString(s[at:])
	switch {
	case before == '\r' && after == '\n':
		return false
	case before == joiner && after > 0xFF, extends(after):
		return false
	case flag(before) && flag(after):
		return flags(s[:at])%2 == 0
	case hangulJoins(before, after):
		return false
	}
	return true
}

const joiner = '\u200D'

func extends(r rune) bool {
	return r == joiner || r == '\u200C' || r >= 0x1F3FB && r <= 0x1F3FF || r >= 0xE0020 && r <= 0xE007F || unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc)
}

func flag(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// flags counts the regional indicators that a text ends with.
func flags(s string) int {
	n := 0
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		if !flag(r) {
			break
		}
		s, n = s[:len(s)-size], n+1
	}
	return n
}

// hangulJoins reports whether two characters are parts of one syllable.
func hangulJoins(a, b rune) bool {
	lead := func(r rune) bool { return r >= 0x1100 && r <= 0x115F || r >= 0xA960 && r <= 0xA97C }
	vowel := func(r rune) bool { return r >= 0x1160 && r <= 0x11A7 || r >= 0xD7B0 && r <= 0xD7C6 }
	tail := func(r rune) bool { return r >= 0x11A8 && r <= 0x11FF || r >= 0xD7CB && r <= 0xD7FB }
	syllable := func(r rune) bool { return r >= 0xAC00 && r <= 0xD7A3 }
	open := func(r rune) bool { return syllable(r) && (r-0xAC00)%28 == 0 }
	switch {
	case lead(a):
		return lead(b) || vowel(b) || syllable(b)
	case vowel(a) || open(a):
		return vowel(b) || tail(b)
	case tail(a) || syllable(a):
		return tail(b)
	}
	return false
}
