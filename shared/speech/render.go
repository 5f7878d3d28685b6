package speech

import (
	"strconv"
	"strings"
)

// SRT renders the segments as SubRip subtitles. Without segments the whole text
// is one subtitle over the whole duration.
func (t *Transcription) SRT() string {
	var b strings.Builder
	for i, s := range t.lines() {
		b.WriteString(strconv.Itoa(i + 1))
		b.WriteByte('\n')
		b.WriteString(clock(s.Start, ','))
		b.WriteString(" --> ")
		b.WriteString(clock(s.End, ','))
		b.WriteByte('\n')
		b.WriteString(cue(s.Text))
		b.WriteString("\n\n")
	}
	return b.String()
}

// VTT renders the segments as WebVTT subtitles, as [Transcription.SRT] does.
func (t *Transcription) VTT() string {
	var b strings.Builder
	b.WriteString("WEBVTT\n\n")
	for _, s := range t.lines() {
		b.WriteString(clock(s.Start, '.'))
		b.WriteString(" --> ")
		b.WriteString(clock(s.End, '.'))
		b.WriteByte('\n')
		b.WriteString(escapeVTT.Replace(cue(s.Text)))
		b.WriteString("\n\n")
	}
	return b.String()
}

var escapeVTT = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func (t *Transcription) lines() []Segment {
	if len(t.Segments) > 0 || t.Text == "" {
		return t.Segments
	}
	return []Segment{{End: t.Duration, Text: t.Text}}
}

// cue makes a text safe inside a subtitle: an empty line would end it, and an
// arrow would start a new one.
func cue(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "\n")
	return strings.ReplaceAll(strings.TrimSpace(s), "-->", "->")
}

// clock renders milliseconds as 00:00:00,000 with the given separator.
func clock(ms int64, sep byte) string {
	ms = max(ms, 0)
	b := make([]byte, 0, 16)
	b = pad(b, ms/3600000, 2)
	b = append(b, ':')
	b = pad(b, ms/60000%60, 2)
	b = append(b, ':')
	b = pad(b, ms/1000%60, 2)
	b = append(b, sep)
	return string(pad(b, ms%1000, 3))
}

func pad(b []byte, n int64, width int) []byte {
	s := strconv.FormatInt(n, 10)
	for i := len(s); i < width; i++ {
		b = append(b, '0')
	}
	return append(b, s...)
}
