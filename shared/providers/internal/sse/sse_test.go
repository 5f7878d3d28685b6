package sse

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func all(r io.Reader) (out []string, err error) {
	s := NewReader(r)
	for {
		ev, err := s.Next()
		if err != nil {
			return out, err
		}
		out = append(out, ev.Name+"|"+string(ev.Data))
	}
}

func TestEvents(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []string
		err  error
	}{
		"lf":             {"data: a\n\ndata: b\n\n", []string{"|a", "|b"}, io.EOF},
		"cr":             {"data: a\r\rdata: b\r\r", []string{"|a", "|b"}, io.EOF},
		"crlf":           {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"|a", "|b"}, io.EOF},
		"mixed":          {"data: a\r\n\ndata: b\n\r\n", []string{"|a", "|b"}, io.EOF},
		"multi line":     {"data: a\ndata: b\ndata\ndata:c\n\n", []string{"|a\nb\n\nc"}, io.EOF},
		"comments":       {": OPENROUTER PROCESSING\n\n:\n\ndata: a\n\n: x\n\n", []string{"|a"}, io.EOF},
		"names":          {"event: x\ndata: a\n\nevent: y\n\ndata: b\n\n", []string{"x|a", "|b"}, io.EOF},
		"other fields":   {"id: 1\nretry: 5\nfoo: bar\nbaz\ndata: a\n\n", []string{"|a"}, io.EOF},
		"bom":            {"\xef\xbb\xbfdata: a\n\n", []string{"|a"}, io.EOF},
		"no space":       {"data:a\n\ndata:  b\n\n", []string{"|a", "| b"}, io.EOF},
		"empty data":     {"data:\n\n", []string{"|"}, io.EOF},
		"colon in data":  {"data: {\"a\":1}\n\n", []string{`|{"a":1}`}, io.EOF},
		"unended":        {"data: a\n\ndata: [DONE]\n", []string{"|a", "|[DONE]"}, io.EOF},
		"cut in line":    {"data: a\n\ndata: {\"x", []string{"|a"}, io.ErrUnexpectedEOF},
		"cut after name": {"data: a\n\nevent: x\n", []string{"|a"}, io.EOF},
		"empty":          {"", nil, io.EOF},
		"crlf is one":    {"data: a\r\ndata: b\r\n\r\n", []string{"|a\nb"}, io.EOF},
	}
	for name, tt := range tests {
		for cut := range map[string]bool{"whole": true, "bytes": true} {
			var r io.Reader = strings.NewReader(tt.in)
			if cut == "bytes" {
				r = iotest.OneByteReader(r)
			}
			got, err := all(r)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s (%s): got %q, %v; want %q, %v", name, cut, got, err, tt.want, tt.err)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	fits := "data: " + strings.Repeat("x", MaxEvent) + "\n\n"
	if got, err := all(strings.NewReader(fits)); len(got) != 1 || err != io.EOF {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for name, in := range map[string]string{
		"one line":        "data: " + strings.Repeat("x", MaxEvent+1) + "\n\n",
		"endless line":    strings.Repeat("x", 2*MaxEvent),
		"many lines":      strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1100) + "\n",
		"endless comment": strings.Repeat(": x\n", maxIgnored),
	} {
		if _, err := all(strings.NewReader(in)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderErrorIsPassedOn(t *testing.T) {
	boom := errors.New("boom")
	got, err := all(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(boom)))
	if len(got) != 1 || !errors.Is(err, boom) {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestLoneCRDoesNotWait: an event ended by CR CR must be delivered before the
// next byte arrives.
func TestLoneCRDoesNotWait(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() { _, _ = pw.Write([]byte("data: a\r\r")) }()
	if ev, err := NewReader(pr).Next(); err != nil || string(ev.Data) != "a" {
		t.Fatalf("%q, %v", ev.Data, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\n: c\n\nevent: x\ndata: b\n\n"), uint8(3))
	f.Add([]byte("\xef\xbb\xbfdata\r\rdata: x"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, err1 := all(bytes.NewReader(in))
		cut, err2 := all(&chopped{in, int(step)%7 + 1})
		if !slices.Equal(whole, cut) || !errors.Is(err1, err2) {
			t.Fatalf("whole %q %v, cut %q %v", whole, err1, cut, err2)
		}
	})
}

type chopped struct {
	b []byte
	n int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b[:min(c.n, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

func BenchmarkReader(b *testing.B) {
	in := []byte(strings.Repeat("data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n", 50))
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	rd := bytes.NewReader(in)
	for b.Loop() {
		rd.Reset(in)
		s := NewReader(rd)
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
