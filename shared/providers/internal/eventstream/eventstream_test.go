package eventstream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	oracle "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// frame is a message encoded by the AWS SDK.
func frame(t testing.TB, payload string, headers ...string) []byte {
	t.Helper()
	m := oracle.Message{Payload: []byte(payload)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers.Set(headers[i], oracle.StringValue(headers[i+1]))
	}
	return encode(t, m)
}

func encode(t testing.TB, m oracle.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := oracle.NewEncoder().Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func event(t testing.TB, name, payload string) []byte {
	return frame(t, payload, ":event-type", name, ":content-type", "application/json", ":message-type", "event")
}

// raw is a message with right checksums around any headers and payload.
func raw(headers, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(minLen+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors: the vectors that AWS's SDKs publish. Ours wants to know what a
// message is, so the good ones end as malformed, after their checksums.
func TestVectors(t *testing.T) {
	for name, tt := range map[string]struct {
		hex  string
		want error
	}{
		"empty message":   {"000000100000000005c248eb7d98c8ff", ErrFormat},
		"no headers":      {"0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", ErrFormat},
		"integer header":  {"0000002d0000001041c424b80a6576656e742d74797065040000a00c7b27666f6f273a27626172277d36f480a0", ErrFormat},
		"one text header": {"0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1", ErrFormat},
		"all header types": {"000000cc000000af0fae64ca0a6576656e742d74797065040000a00c0c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e" +
			"0a626f6f6c2066616c73650109626f6f6c207472756500046279746502cf08627974652062756606001449276d2061206c6974746c6520746561706f74210974696d6573" +
			"74616d70080000000000845fed05696e74313603002a05696e7436340500000000028757b20475756964090102030405060708090a0b0c0d0e0f107b27666f6f273a2762" +
			"6172277daba5f10c", ErrFormat},
		"changed header length": {"0000003d0000002107fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1", ErrChecksum},
		"changed length":        {"0000003e0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1", ErrChecksum},
		"changed header":        {"0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b61666f6f273a27626172277d8d9c08b1", ErrChecksum},
		"changed payload":       {"0000001d00000000fd528c5a5b27666f6f273a27626172277dc3653936", ErrChecksum},
	} {
		r := NewReader(bytes.NewReader(unhex(t, tt.hex)))
		if _, err := r.Next(); err != tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if _, err := r.Next(); err != tt.want {
			t.Errorf("%s: the second time %v", name, err)
		}
	}
}

// TestGolden: a frame written out by hand from the documentation.
func TestGolden(t *testing.T) {
	b := unhex(t, "0000006b0000005197acf857"+
		"0d3a6d6573736167652d747970650700056576656e74"+ // :message-type event
		"0b3a6576656e742d7479706507000b6d65737361676553746f70"+ // :event-type messageStop
		"0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"+ // :content-type application/json
		"7b2261223a22c3bc227d"+"cbe6e141") // payload, checksum
	m, err := NewReader(bytes.NewReader(b)).Next()
	if err != nil || m.Kind != Event || m.Type != "messageStop" || string(m.Payload) != `{"a":"ü"}` {
		t.Errorf("%+v, %v", m, err)
	}
	want := oracle.Message{Payload: []byte(`{"a":"ü"}`)}
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", "messageStop"}, {":content-type", "application/json"}} {
		want.Headers.Set(h[0], oracle.StringValue(h[1]))
	}
	if !bytes.Equal(b, encode(t, want)) {
		t.Error("the SDK writes other bytes")
	}
}

func collect(r *Reader) (out []Message, err error) {
	for {
		m, err := r.Next()
		if err != nil {
			return out, err
		}
		m.Payload = bytes.Clone(m.Payload)
		out = append(out, m)
	}
}

func stream(t testing.TB, long int) []byte {
	return bytes.Join([][]byte{event(t, "messageStart", `{"role":"assistant"}`), event(t, "contentBlockDelta", strings.Repeat("x", long)),
		event(t, "empty", ""), frame(t, `{"message":"slow down"}`, ":message-type", "exception", ":exception-type", "throttlingException"),
		frame(t, "", ":message-type", "error", ":error-code", "InternalError", ":error-message", "broken"), frame(t, "{}", ":event-type", "bare")}, nil)
}

// TestCuts: however the network cuts the bytes, the messages are the same; a
// stream that ends inside a message says so.
func TestCuts(t *testing.T) {
	b := stream(t, 40000)
	want, err := collect(NewReader(bytes.NewReader(b)))
	if err != io.EOF || len(want) != 6 || want[3].Kind != Exception || want[3].Type != "throttlingException" ||
		want[4].Kind != Error || want[4].Type != "InternalError" || want[4].Text != "broken" || want[5].Kind != Event || want[5].Type != "bare" {
		t.Fatalf("%d messages, %v", len(want), err)
	}
	same := func(how string, got []Message) {
		t.Helper()
		for i := range got {
			if got[i].Type != want[i].Type || got[i].Kind != want[i].Kind || !bytes.Equal(got[i].Payload, want[i].Payload) {
				t.Fatalf("%s: message %d differs", how, i)
			}
		}
	}
	for name, rd := range map[string]io.Reader{"one byte": iotest.OneByteReader(bytes.NewReader(b)), "half": iotest.HalfReader(bytes.NewReader(b)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(b))} {
		got, err := collect(NewReader(rd))
		if err != io.EOF || len(got) != len(want) {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
		same(name, got)
	}
	borders := map[int]bool{0: true}
	for n, rest := 0, b; len(rest) > 0; {
		size := int(binary.BigEndian.Uint32(rest))
		n, rest = n+size, rest[size:]
		borders[n] = true
	}
	broken := errors.New("broken")
	for i := 0; i < len(b); i += 1 + i/512 {
		got, err := collect(NewReader(bytes.NewReader(b[:i])))
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[borders[i]]; err != want {
			t.Fatalf("ended at %d: %v, want %v", i, err, want)
		}
		same("ended", got)
		if _, err := collect(NewReader(io.MultiReader(bytes.NewReader(b[:i]), iotest.ErrReader(broken)))); err != broken {
			t.Fatalf("broken at %d: %v", i, err)
		}
	}
}

// TestDamage: no changed byte gets through.
func TestDamage(t *testing.T) {
	b := event(t, "contentBlockDelta", `{"delta":{"text":"hi"}}`)
	for i := range b {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(b)
			bad[i] ^= flip
			if m, err := NewReader(bytes.NewReader(bad)).Next(); err != ErrChecksum {
				t.Fatalf("byte %d: %+v, %v", i, m, err)
			}
		}
	}
}

// endless is a body that never ends and counts what was taken.
type endless struct{ n int }

// Read implements [io.Reader].
func (e *endless) Read(p []byte) (int, error) { e.n += len(p); clear(p); return len(p), nil }

func prelude(total, headers uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, total)
	b = binary.BigEndian.AppendUint32(b, headers)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// TestBounds: a length is refused before anything of it is read or allocated.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		total, headers uint32
		want           error
	}{
		"most":             {0xffffffff, 0, ErrTooLarge},
		"payload":          {minLen + MaxPayload + 1, 0, ErrTooLarge},
		"headers":          {minLen + MaxHeaders + 1, MaxHeaders + 1, ErrTooLarge},
		"below the least":  {minLen - 1, 0, ErrFormat},
		"none":             {0, 0, ErrFormat},
		"headers too long": {100, 85, ErrFormat},
		"headers most":     {100, 0xffffffff, ErrFormat},
	} {
		e := &endless{}
		if _, err := NewReader(io.MultiReader(bytes.NewReader(prelude(tt.total, tt.headers)), e)).Next(); err != tt.want || e.n > 64<<10 {
			t.Errorf("%s: %v after %d bytes", name, err, e.n)
		}
	}
	e := &endless{}
	if _, err := NewReader(io.MultiReader(bytes.NewReader(prelude(minLen+MaxPayload, 0)), e)).Next(); err != ErrChecksum || e.n > MaxPayload+64<<10 {
		t.Errorf("%v after %d bytes", err, e.n)
	}
	head := frame(t, "", ":event-type", "big")[preludeLen:]
	big := raw(head[:len(head)-crcLen], make([]byte, MaxPayload))
	if m, err := NewReader(bytes.NewReader(big)).Next(); err != nil || len(m.Payload) != MaxPayload {
		t.Errorf("%d bytes, %v", len(m.Payload), err)
	}
}

// TestHeaders: all types of values are passed over, and nothing that could be
// read in two ways is taken.
func TestHeaders(t *testing.T) {
	m := oracle.Message{Payload: []byte("p")}
	for name, v := range map[string]oracle.Value{"a": oracle.BoolValue(true), "b": oracle.BoolValue(false), "c": oracle.Int8Value(-1),
		"d": oracle.Int16Value(2), "e": oracle.Int32Value(3), "f": oracle.Int64Value(4), "g": oracle.BytesValue("bytes"),
		"h": oracle.StringValue("text"), "i": oracle.TimestampValue(time.Unix(1, 0)), "j": oracle.UUIDValue{1}, ":event-type": oracle.StringValue("x")} {
		m.Headers.Set(name, v)
	}
	if got, err := NewReader(bytes.NewReader(encode(t, m))).Next(); err != nil || got.Type != "x" || string(got.Payload) != "p" {
		t.Errorf("%+v, %v", got, err)
	}
	text := func(name, value string) []byte {
		b := append([]byte{byte(len(name))}, name...)
		b = append(b, typeString)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	good := text(":event-type", "x")
	for name, headers := range map[string][]byte{
		"twice": append(bytes.Clone(good), good...), "empty": text(":event-type", ""), "no type": text(":message-type", "event"),
		"unknown kind": append(text(":message-type", "other"), good...), "kind without its type": append(text(":message-type", "exception"), good...),
		"not text": append(append([]byte{11}, ":event-type"...), typeTrue), "type unknown": append(append([]byte{1}, 'a'), 10),
		"no name": append([]byte{0, typeTrue}, good...), "name cut": {5, 'a'}, "type cut": {1, 'a'}, "length cut": {1, 'a', typeString, 0},
		"value cut": {1, 'a', typeString, 0, 2, 'x'}, "number cut": {1, 'a', typeLong, 0}, "nothing": {},
	} {
		if m, err := NewReader(bytes.NewReader(raw(headers, []byte("{}")))).Next(); err != ErrFormat {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// FuzzReader compares with the decoder of the AWS SDK: what we take, it takes as
// the same; what it takes and says what it is, within our bounds, we take.
func FuzzReader(f *testing.F) {
	f.Add(stream(f, 40))
	f.Add(unhex(f, "000000100000000005c248eb7d98c8ff"))
	f.Add(raw([]byte{1, 'a', typeString, 0, 2, 'x'}, []byte("{}")))
	f.Add(prelude(0xffffffff, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, other := NewReader(bytes.NewReader(b)), bytes.NewReader(b)
		for range 1000 {
			m, err := rest.Next()
			want, wantErr := oracle.NewDecoder().Decode(other, nil)
			if err == nil && wantErr != nil {
				t.Fatalf("%+v, but the SDK says %v", m, wantErr)
			}
			if err != nil {
				if wantErr == nil && len(want.Payload) <= MaxPayload && plain(want) {
					t.Fatalf("%v, but the SDK reads %+v", err, want)
				}
				return
			}
			name := map[Kind]string{Event: ":event-type", Exception: ":exception-type", Error: ":error-code"}[m.Kind]
			if v, ok := want.Headers.Get(name).(oracle.StringValue); !ok || string(v) != m.Type || !bytes.Equal(want.Payload, m.Payload) {
				t.Fatalf("%+v, the SDK reads %+v", m, want)
			}
		}
	})
}

// plain says that a message is an event with each header once.
func plain(m oracle.Message) bool {
	seen, size := map[string]bool{}, 0
	for _, h := range m.Headers {
		if seen[h.Name] || h.Name == "" {
			return false
		}
		seen[h.Name] = true
		size += len(h.Name) + len(h.Value.String()) + 64
	}
	if size > MaxHeaders || seen[":message-type"] || seen[":exception-type"] || seen[":error-code"] || seen[":error-message"] {
		return false
	}
	v, ok := m.Headers.Get(":event-type").(oracle.StringValue)
	return ok && v != ""
}

func BenchmarkReader(b *testing.B) {
	data := bytes.Repeat(event(b, "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"word "}}`), 50)
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(bytes.NewReader(data))
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
