package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// encodings makes the forms with the standard library, which this package does
// not use for them.
func encodings(s string) map[string]string {
	escaped, _ := json.Marshal(s)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	inJSON := strings.Trim(strings.TrimSpace(plain.String()), "\n")
	twice, _ := json.Marshal(inJSON[1 : len(inJSON)-1])
	out := map[string]string{
		"raw": s, "query": url.QueryEscape(s), "query lower": lowerDigits(url.QueryEscape(s)), "component": strings.ReplaceAll(url.QueryEscape(s), "+", "%20"),
		"segment": url.PathEscape(s), "path": (&url.URL{Path: "/" + s}).EscapedPath()[1:], "hex": hex.EncodeToString([]byte(s)),
		"HEX": strings.ToUpper(hex.EncodeToString([]byte(s))), "json": string(escaped[1 : len(escaped)-1]), "json plain": inJSON[1 : len(inJSON)-1],
		"json slash": strings.ReplaceAll(inJSON[1:len(inJSON)-1], "/", `\/`), "json twice": string(twice[1 : len(twice)-1]),
		"json ascii": strings.Trim(strconv.QuoteToASCII(s), `"`),
	}
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "std raw": base64.RawStdEncoding, "url": base64.URLEncoding, "url raw": base64.RawURLEncoding} {
			out[fmt.Sprintf("base64 %s %d", name, shift)] = enc.EncodeToString([]byte("Basic:"[:shift] + s))
			out[fmt.Sprintf("base64 %s %d middle", name, shift)] = enc.EncodeToString([]byte("Basic:"[:shift] + s + "tail"))
		}
	}
	return out
}

func lowerDigits(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

var keys = map[string]string{
	"plain":    "sk-or-v1-0123456789abcdefghijklmnop",
	"shortest": "12345678",
	"symbols":  `p@ss/w+rd "q" <x>&y=z%20 ~*'()!;,:$\n`,
	"telegram": "1234567890:AAFj3kd-_sdfKJHsdf7823hjkASDkjh23",
	"slashes":  "QUJDRA+/+/Zm9vYmFy==",
	"lines":    "-----BEGIN KEY-----\nabc/def+ghi\n-----END KEY-----\n",
	"unicode":  "pässwörd-üñï-\U0001F511",
}

// leftover is what may remain of an encoding: the characters of base64 that also
// hold bits of a neighbour, and padding.
const leftover = 5

func TestEveryEncodingIsMasked(t *testing.T) {
	for name, key := range keys {
		for form, text := range encodings(key) {
			if form == "json ascii" && strings.ContainsAny(key, "\U0001F511") {
				continue // Go writes \U0001f511 there, JSON does not
			}
			var s Set
			s.Add([]byte(key))
			got := s.String("before " + text + " after")
			mid, ok := strings.CutPrefix(got, "before ")
			mid, ok2 := strings.CutSuffix(mid, " after")
			if !ok || !ok2 || !strings.Contains(mid, secret.Mask) {
				t.Errorf("%s as %s: %q", name, form, got)
				continue
			}
			rest := strings.ReplaceAll(mid, secret.Mask, "")
			limit := 0
			if strings.HasPrefix(form, "base64") {
				limit = leftover + len("tail")*4/3 + 2
			}
			if len(rest) > limit {
				t.Errorf("%s as %s: %q is left of %q", name, form, rest, text)
			}
		}
	}
}

func TestTextWithoutSecretsIsTheSame(t *testing.T) {
	var s Set
	text := []byte("nothing here, not even 1234567 or sk-or-v1-0123456789abcdefghijklmno")
	if got := s.Bytes(text); &got[0] != &text[0] {
		t.Error("an empty set copies")
	}
	s.Add([]byte(keys["plain"]))
	s.Add([]byte("1234567")) // too short to be looked for
	if got := s.Bytes(text); &got[0] != &text[0] {
		t.Errorf("%q", got)
	}
	for _, short := range []string{"", "a", "1234567"} {
		if got := s.String(short); got != short {
			t.Errorf("%q became %q", short, got)
		}
	}
}

func TestOverlapsNeighboursAndEnds(t *testing.T) {
	var s Set
	s.Add([]byte("abcdefghij"))
	s.Add([]byte("efghijklmnop"))
	s.Add([]byte("abcdefgh"))
	s.Add([]byte("0123456789abcdef"))
	s.Add([]byte("23456789"))
	for in, want := range map[string]string{
		"abcdefghijklmnop":            "[secret]",
		"abcdefghij":                  "[secret]",
		"0123456789abcdef":            "[secret]",
		"abcdefghX":                   "[secret]X",
		"abcdefghijabcdefghij":        "[secret][secret]",
		"x abcdefghij y efghijklmnop": "x [secret] y [secret]",
		"abcdefg":                     "abcdefg",
		"XXXXXXXXXXXXabcdefgh":        "XXXXXXXXXXXX[secret]",
	} {
		if got := s.String(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestClearForgetsAndOverwrites(t *testing.T) {
	var s Set
	s.Keep([]byte("kept-for-good"))
	s.Add([]byte(keys["plain"]))
	_ = s.String(strings.Repeat("x", 20)) // builds the index
	held := s.secrets[0]
	var indexed [][]byte
	for _, f := range s.index.forms {
		indexed = append(indexed, f.text)
	}
	if len(indexed) < 10 {
		t.Fatalf("%d forms", len(indexed))
	}
	s.Clear()
	for _, b := range append(indexed, held) {
		if len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%q is still there", b)
		}
	}
	if got := s.String(keys["plain"] + " kept-for-good"); got != keys["plain"]+" [secret]" {
		t.Errorf("%q", got)
	}
}

func TestNilSetDoesNothing(t *testing.T) {
	var s *Set
	s.Add([]byte("12345678"))
	s.Keep([]byte("12345678"))
	s.Clear()
	var b strings.Builder
	_, _ = io.WriteString(s.Writer(&b), "12345678")
	if f := fault.New(fault.Internal, "x", "12345678"); b.String() != "12345678" || s.Fault(f) != f || s.Fault(nil) != nil {
		t.Error("a nil set changes text")
	}
}

func TestTheOldestOfTooManyLeave(t *testing.T) {
	var s Set
	key := func(i int) string { return fmt.Sprintf("secret-number-%06d", i) }
	for i := range MaxSecrets + 1 {
		s.Add([]byte(key(i)))
		s.Add([]byte(key(i))) // twice is once
	}
	if s.String(key(0)) != key(0) || s.String(key(MaxSecrets)) != secret.Mask || s.String(key(MaxSecrets/2)) != secret.Mask {
		t.Error("not the oldest half was forgotten")
	}
	if n := s.size.Load(); n != MaxSecrets/2+1 {
		t.Errorf("%d secrets", n)
	}
}

func TestWriterReportsWhatItWasGiven(t *testing.T) {
	var s Set
	s.Add([]byte(keys["plain"]))
	var b strings.Builder
	n, err := s.Writer(&b).Write([]byte("key=" + keys["plain"] + "\n"))
	if n != len("key=")+len(keys["plain"])+1 || err != nil || b.String() != "key=[secret]\n" {
		t.Errorf("%d %v %q", n, err, b.String())
	}
	broken := errors.New("broken")
	if _, err := s.Writer(failing{broken}).Write([]byte("x")); err != broken {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestThroughTheLogHandlers logs a secret in every place of a line, in the two
// formats of Lambda.
func TestThroughTheLogHandlers(t *testing.T) {
	for name, key := range keys {
		var s Set
		s.Add([]byte(key))
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewJSONHandler(s.Writer(&out), nil), slog.NewTextHandler(s.Writer(&out), nil)} {
			log := slog.New(h).With("with", key).WithGroup("g")
			body, _ := json.Marshal(map[string]string{"error": "Incorrect API key provided: " + key})
			log.Error("m "+key, "raw", key, "bytes", []byte(key), "err", fmt.Errorf("wrapped: %s", key), "quoted", fmt.Sprintf("%q", key),
				"struct", struct{ K string }{key}, "header", map[string][]string{"X-Key": {key}}, "body", string(body), slog.Group("deep", "k", key))
		}
		lines := out.String()
		if strings.Count(lines, secret.Mask) < 16 {
			t.Errorf("%s: %s", name, lines)
		}
		for form, text := range encodings(key) {
			if strings.Contains(form, "base64") {
				text = text[3 : len(text)-4]
			}
			if strings.Contains(lines, text) {
				t.Errorf("%s: %s is in\n%s", name, form, lines)
			}
		}
		for line := range strings.Lines(lines[:strings.Index(lines, "\ntime=")]) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: a mask broke the line: %s", name, line)
			}
		}
	}
}

func TestFaultIsMaskedInACopy(t *testing.T) {
	var s Set
	s.Add([]byte(keys["plain"]))
	f := fault.New(fault.InvalidRequest, "op", "bad key "+keys["plain"]).WithParam(keys["plain"])
	got := s.Fault(f)
	if got.Message != "bad key [secret]" || got.Param != "[secret]" || got.Code != f.Code || !strings.Contains(f.Message, keys["plain"]) {
		t.Errorf("%+v %+v", got, f)
	}
}

func TestConcurrentUse(t *testing.T) {
	var s Set
	s.Keep([]byte("kept-for-good"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprintf("secret-number-%06d", i)
			for range 200 {
				s.Add([]byte(key))
				if got := s.String("kept-for-good " + strings.Repeat("y", 30)); !strings.HasPrefix(got, "[secret] y") {
					t.Error(got)
				}
				s.Clear()
			}
		})
	}
	wg.Wait()
}

// FuzzMask: nothing that the standard library would find remains, and text
// around it stays.
func FuzzMask(f *testing.F) {
	for _, k := range keys {
		f.Add([]byte(k), []byte("before "), []byte(" after"), uint8(3))
	}
	f.Fuzz(func(t *testing.T, key, before, after []byte, form uint8) {
		// The mask next to parts of such a key could form it anew.
		if len(key) < MinLength || len(key) > 4096 || bytes.ContainsAny(key, secret.Mask) {
			return
		}
		var s Set
		s.Add(key)
		all := s.formsOf(key)
		text := append(append(bytes.Clone(before), all[int(form)%len(all)]...), after...)
		got := s.Bytes(bytes.Clone(text))
		if bytes.Contains(got, key) || !bytes.Contains(got, []byte(secret.Mask)) {
			t.Fatalf("%q gives %q", text, got)
		}
		for _, enc := range all {
			if bytes.Contains(got, enc) {
				t.Fatalf("%q is left in %q", enc, got)
			}
		}
		if again := s.Bytes(got); !bytes.Equal(again, got) && !bytes.Contains([]byte(secret.Mask), key) {
			t.Fatalf("twice: %q, %q", got, again)
		}
	})
}

func (s *Set) formsOf(key []byte) [][]byte { return forms(key) }

var line = []byte(`{"timestamp":"2026-11-22T10:00:00.000000000Z","level":"INFO","message":"request","request_id":"01jd9x8yq4n3v6t2m5k7","org":"acme","route":"POST /v1/chat/completions","provider":"openrouter","model":"openai/gpt-5","billing_source":"byok","outcome":"ok","ms":812}` + "\n")

// BenchmarkEmpty is what a line costs when nothing was revealed.
func BenchmarkEmpty(b *testing.B) {
	var s Set
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		s.Bytes(line)
	}
}

// BenchmarkClean is a line in an invocation that uses three secrets.
func BenchmarkClean(b *testing.B) {
	var s Set
	for i := range 3 {
		s.Add(fmt.Appendf(nil, "sk-or-v1-%048d", i))
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		s.Bytes(line)
	}
}

// BenchmarkFull is the same with as many secrets as a set holds.
func BenchmarkFull(b *testing.B) {
	var s Set
	for i := range MaxSecrets {
		s.Add(fmt.Appendf(nil, "%06d-sk-or-v1-%048d", i, i))
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		s.Bytes(line)
	}
}

// BenchmarkInvocation is all of it: two secrets, three lines, the end.
func BenchmarkInvocation(b *testing.B) {
	var s Set
	key, own := fmt.Appendf(nil, "sk-or-v1-%048d", 1), fmt.Appendf(nil, "lk_acme_k1_%043d", 1)
	b.ReportAllocs()
	for b.Loop() {
		s.Add(own)
		s.Add(key)
		for range 3 {
			s.Bytes(line)
		}
		s.Clear()
	}
}

// BenchmarkNaive is the baseline: the same search with bytes.Contains.
func BenchmarkNaive(b *testing.B) {
	var all [][]byte
	for i := range 3 {
		all = append(all, forms(fmt.Appendf(nil, "sk-or-v1-%048d", i))...)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		for _, f := range all {
			if bytes.Contains(line, f) {
				b.Fatal("found")
			}
		}
	}
}
