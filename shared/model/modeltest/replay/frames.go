package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
)

const framed = "application/vnd.amazon.eventstream"

// Frames is a 200 answer with a stream of AWS messages, made from lines of text:
//
//	event TYPE JSON        a message of the answer
//	exception TYPE JSON    an error of the service
//	error CODE MESSAGE     an error of the front end
//	raw HEX                bytes as they are
func Frames(t *testing.T, path string, section []byte) Reply {
	t.Helper()
	var body []byte
	for line := range strings.Lines(string(section)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, payload, _ := strings.Cut(rest, " ")
		switch kind {
		case "event", "exception":
			body = append(body, Frame(payload, ":message-type", kind, ":"+kind+"-type", name, ":content-type", "application/json")...)
		case "error":
			body = append(body, Frame("", ":message-type", kind, ":error-code", name, ":error-message", payload)...)
		case "raw":
			b, err := hex.DecodeString(name)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			body = append(body, b...)
		default:
			t.Fatalf("%s: a frame of kind %q", path, kind)
		}
	}
	return Reply{Status: 200, Header: http.Header{"Content-Type": {framed}}, Body: body}
}

// Frame encodes one AWS message with text headers, given as names and values. The
// tests of package eventstream hold the format to AWS's own encoder.
func Frame(payload string, headers ...string) []byte {
	var h []byte
	for i := 0; i < len(headers); i += 2 {
		h = append(append(h, byte(len(headers[i]))), headers[i]...)
		h = append(h, 7)
		h = append(binary.BigEndian.AppendUint16(h, uint16(len(headers[i+1]))), headers[i+1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(h)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, h...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// Framed reports whether the answer is a stream of AWS messages.
func (s *Transcript) Framed() bool { return s.Reply.Header.Get("Content-Type") == framed }

// Events are the parts of a streamed answer, each one event with what ends it.
func (s *Transcript) Events() (out [][]byte) {
	if !s.Framed() {
		return bytes.SplitAfter(s.Reply.Body, []byte("\n\n"))
	}
	for rest := s.Reply.Body; len(rest) >= 4; {
		n := min(int(binary.BigEndian.Uint32(rest)), len(rest))
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}
