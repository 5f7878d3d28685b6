// Package eventstream reads application/vnd.amazon.eventstream, the framing of
// streams from AWS.
//
// A message is a prelude (total length, length of the headers, CRC-32 of these
// eight bytes), headers, a payload, and the CRC-32 of all before it; numbers are
// big endian. Both checksums are verified before anything is believed: the
// lengths are not used to allocate until the prelude's is right, and no header or
// payload is handed out until the message's is. Lengths are bounded.
//
// [Reader.Next] returns one message at a time with those headers that say what it
// is. Of the ten header types only strings carry those; the others are parsed and
// passed over. A message cut off by the end of the input is
// [io.ErrUnexpectedEOF]; [io.EOF] is returned between messages only.
//
// Messages are not signed here: AWS signs those that a client sends, never its
// answers.
//
// Source: docs.aws.amazon.com, Transcribe developer guide "Event stream encoding",
// and smithy.io, "Amazon Event Stream specification"; read 2026-11.
package eventstream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// ContentType is the media type of the framing.
const ContentType = "application/vnd.amazon.eventstream"

// Bounds of one message, in bytes. The format admits 128 KiB of headers and 16
// MiB of payload; the deltas of an answer are far below.
const (
	MaxHeaders = 16 << 10
	MaxPayload = 1 << 20
)

const (
	preludeLen = 12
	crcLen     = 4
	minLen     = preludeLen + crcLen
)

// Errors of [Reader.Next], besides io.EOF, io.ErrUnexpectedEOF and those of the
// underlying reader. After an error the reader keeps returning it.
var (
	// ErrChecksum says that bytes were changed or lost.
	ErrChecksum = errors.New("eventstream: checksum mismatch")
	// ErrTooLarge says that a message is above the bounds.
	ErrTooLarge = errors.New("eventstream: message too large")
	// ErrFormat says that the bytes are right but no message.
	ErrFormat = errors.New("eventstream: malformed message")
)

// Kind is the value of the header :message-type.
type Kind string

// Kinds. A message without the header is an event.
const (
	Event     Kind = "event"
	Exception Kind = "exception"
	Error     Kind = "error"
)

// Message is one message. Payload is valid until the next call of
// [Reader.Next].
type Message struct {
	Kind Kind
	// Type is :event-type, :exception-type or :error-code, as Kind says.
	Type string
	// Text is :error-message, for kind error.
	Text    string
	Payload []byte
}

// Reader splits a byte stream into messages. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	buf []byte
	err error
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 16<<10)} }

// Next returns the next message.
func (r *Reader) Next() (Message, error) {
	if r.err != nil {
		return Message{}, r.err
	}
	m, err := r.next()
	r.err = err
	return m, err
}

func (r *Reader) next() (m Message, err error) {
	r.grow(preludeLen)
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return m, err
	}
	if crc32.ChecksumIEEE(r.buf[:8]) != binary.BigEndian.Uint32(r.buf[8:]) {
		return m, ErrChecksum
	}
	total, headers := binary.BigEndian.Uint32(r.buf), binary.BigEndian.Uint32(r.buf[4:])
	switch {
	case total < minLen || headers > total-minLen:
		return m, ErrFormat
	case headers > MaxHeaders || total-minLen-headers > MaxPayload:
		return m, ErrTooLarge
	}
	r.grow(int(total))
	if _, err := io.ReadFull(r.r, r.buf[preludeLen:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return m, err
	}
	end := len(r.buf) - crcLen
	if crc32.ChecksumIEEE(r.buf[:end]) != binary.BigEndian.Uint32(r.buf[end:]) {
		return m, ErrChecksum
	}
	m.Payload = r.buf[preludeLen+headers : end]
	return m, m.headers(r.buf[preludeLen : preludeLen+headers])
}

// grow makes buf n bytes long and keeps what is in it.
func (r *Reader) grow(n int) {
	if cap(r.buf) < n {
		buf := make([]byte, n, max(n, 4<<10))
		copy(buf, r.buf)
		r.buf = buf
	}
	r.buf = r.buf[:n]
}

// Types of header values.
const (
	typeTrue = iota
	typeFalse
	typeByte
	typeShort
	typeInteger
	typeLong
	typeBytes
	typeString
	typeTimestamp
	typeUUID
)

// sizes are the lengths of values whose type has a fixed one.
var sizes = [...]int{typeTrue: 0, typeFalse: 0, typeByte: 1, typeShort: 2, typeInteger: 4, typeLong: 8, typeBytes: -1, typeString: -1,
	typeTimestamp: 8, typeUUID: 16}

// known are the headers that [Message] has. Two of one name could be read as one
// thing by us and as another by somebody else, so they are refused.
type known struct{ kind, event, exception, code, text []byte }

func (k *known) field(name []byte) *[]byte {
	switch string(name) {
	case ":message-type":
		return &k.kind
	case ":event-type":
		return &k.event
	case ":exception-type":
		return &k.exception
	case ":error-code":
		return &k.code
	case ":error-message":
		return &k.text
	}
	return nil
}

// headers reads all headers and keeps those that say what the message is.
func (m *Message) headers(b []byte) error {
	var k known
	for len(b) > 0 {
		name, kind, value, rest, ok := header(b)
		if !ok {
			return ErrFormat
		}
		if to := k.field(name); to != nil {
			if kind != typeString || len(value) == 0 || *to != nil {
				return ErrFormat
			}
			*to = value
		}
		b = rest
	}
	switch string(k.kind) {
	case string(Event), "":
		m.Kind, m.Type = Event, string(k.event)
	case string(Exception):
		m.Kind, m.Type = Exception, string(k.exception)
	case string(Error):
		m.Kind, m.Type, m.Text = Error, string(k.code), string(k.text)
	default:
		return ErrFormat
	}
	if m.Type == "" {
		return ErrFormat
	}
	return nil
}

// header takes one header off b: a byte with the name's length, the name, a byte
// with the type, and the value, which starts with two bytes of length if its type
// has no fixed one.
func header(b []byte) (name []byte, kind int, value, rest []byte, ok bool) {
	n := int(b[0])
	if n == 0 || len(b) < 1+n+1 {
		return nil, 0, nil, nil, false
	}
	name, kind, b = b[1:1+n], int(b[1+n]), b[1+n+1:]
	if kind >= len(sizes) {
		return nil, 0, nil, nil, false
	}
	size := sizes[kind]
	if size < 0 {
		if len(b) < 2 {
			return nil, 0, nil, nil, false
		}
		size, b = int(binary.BigEndian.Uint16(b)), b[2:]
	}
	if len(b) < size {
		return nil, 0, nil, nil, false
	}
	return name, kind, b[:size], b[size:], true
}
