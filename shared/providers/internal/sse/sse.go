// Package sse reads server-sent events, the framing of most vendors' streams.
//
// [Reader.Next] returns one event at a time: its name and its data lines joined
// by newlines. Lines may end in LF, CR or CRLF, also mixed and also cut anywhere
// by the network; comments (keep-alive lines) and the id and retry fields are
// skipped; a byte order mark is ignored (WHATWG HTML, server-sent events, read
// 2026-11). An event without data is not returned. Events are bounded.
//
// An event that the end of the input cuts off before its blank line is not
// returned, as the standard says, except that a complete last data line
// followed by the end is: several vendors do not end their last event.
//
// The returned slices are valid until the next call: reading allocates nothing
// once the buffers have grown.
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxEvent bounds the data of one event, in bytes.
const MaxEvent = 1 << 20

// maxIgnored bounds the bytes between two events, so that an endless comment is
// an error.
const maxIgnored = 8 << 20

// ErrTooLarge is returned for an event above [MaxEvent] or endless filler.
var ErrTooLarge = errors.New("sse: event too large")

// Event is one event. Name is "" for the default type.
type Event struct {
	Name string
	Data []byte
}

// Reader splits a byte stream into events. It is not safe for concurrent use.
type Reader struct {
	r       *bufio.Reader
	line    []byte
	data    []byte
	name    []byte
	hasData bool
	skipLF  bool
	begun   bool
	ignored int
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 16<<10)}
}

// Next returns the next event, io.EOF at the end, [ErrTooLarge], or the error of
// the underlying reader.
func (r *Reader) Next() (Event, error) {
	r.data, r.name, r.hasData, r.ignored = r.data[:0], r.name[:0], false, 0
	for {
		line, err := r.readLine()
		if err != nil {
			if err == io.EOF && r.hasData && len(line) == 0 {
				return r.event(), nil
			}
			if err == io.EOF && len(line) > 0 {
				// The connection ended inside a line.
				return Event{}, io.ErrUnexpectedEOF
			}
			return Event{}, err
		}
		if len(line) == 0 {
			if r.hasData {
				return r.event(), nil
			}
			r.name = r.name[:0]
			continue
		}
		if err := r.field(line); err != nil {
			return Event{}, err
		}
	}
}

func (r *Reader) event() Event {
	ev := Event{Data: r.data}
	if len(r.name) > 0 {
		ev.Name = string(r.name)
	}
	return ev
}

func (r *Reader) field(line []byte) error {
	name, value, _ := bytes.Cut(line, colon)
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch {
	case bytes.Equal(name, dataField):
		if r.hasData {
			r.data = append(r.data, '\n')
		}
		r.data, r.hasData = append(r.data, value...), true
		if len(r.data) > MaxEvent {
			return ErrTooLarge
		}
	case bytes.Equal(name, eventField):
		r.name = append(r.name[:0], value...)
	default:
		if r.ignored += len(line); r.ignored > maxIgnored {
			return ErrTooLarge
		}
	}
	return nil
}

var (
	colon      = []byte(":")
	dataField  = []byte("data")
	eventField = []byte("event")
	bom        = []byte("\xef\xbb\xbf")
)

// readLine returns a line without its end. A CR ends the line at once; the LF
// that may follow is skipped by the next call, so a lone CR never waits for a
// byte that may not come.
func (r *Reader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		buf, err := r.r.Peek(max(r.r.Buffered(), 1))
		if len(buf) == 0 {
			return r.line, err
		}
		if r.skipLF {
			r.skipLF = false
			if buf[0] == '\n' {
				r.discard(1)
				continue
			}
		}
		i := bytes.IndexAny(buf, "\r\n")
		if i < 0 {
			if len(r.line)+len(buf) > MaxEvent+16 {
				return nil, ErrTooLarge
			}
			r.line = append(r.line, buf...)
			r.discard(len(buf))
			continue
		}
		r.skipLF = buf[i] == '\r'
		line := buf[:i]
		if len(r.line) > 0 {
			if len(r.line)+i > MaxEvent+16 {
				return nil, ErrTooLarge
			}
			r.line = append(r.line, line...)
			line = r.line
		}
		// The peeked bytes stay where they are until the next read.
		r.discard(i + 1)
		return r.first(line), nil
	}
}

func (r *Reader) discard(n int) { _, _ = r.r.Discard(n) }

func (r *Reader) first(line []byte) []byte {
	if r.begun {
		return line
	}
	r.begun = true
	return bytes.TrimPrefix(line, bom)
}
