package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"unicode/utf8"
)

// forms lists the encodings of a secret, each once. No strings are made, so that
// all of them can be overwritten.
func forms(plain []byte) [][]byte {
	out := append(make([][]byte, 0, 10), bytes.Clone(plain))
	add := func(f []byte) {
		for _, have := range out {
			if bytes.Equal(have, f) {
				clear(f)
				return
			}
		}
		out = append(out, f)
	}
	lower := hex.AppendEncode(nil, plain)
	add(bytes.ToUpper(lower))
	add(lower)
	for shift := range 3 {
		std := inner(base64.RawStdEncoding, plain, shift)
		add(inner(base64.RawURLEncoding, plain, shift))
		add(std)
	}
	// Nearly every API key consists of characters that neither URLs nor JSON
	// escape.
	if !slices.ContainsFunc(plain, func(c byte) bool { return !unreserved(c) }) {
		return out
	}
	for _, rule := range []func(byte) bool{unreserved, segment, path, script, python} {
		for _, digits := range []string{"0123456789ABCDEF", "0123456789abcdef"} {
			add(percent(plain, rule, digits, false))
			add(percent(plain, rule, digits, true))
		}
	}
	for _, e := range []escaping{{}, {html: true}, {slash: true}, {ascii: true}} {
		once := e.json(plain)
		add(escaping{}.json(once))
		add(escaping{html: true}.json(once))
		add(once)
	}
	return out
}

// inner is the part of an encoding that depends on the secret alone, wherever it
// stands: shift is its position modulo three. Bits of neighbouring bytes are in
// the characters that are left out.
func inner(e *base64.Encoding, plain []byte, shift int) []byte {
	padded := append(make([]byte, shift, shift+len(plain)), plain...)
	all := e.AppendEncode(nil, padded)
	clear(padded)
	from := (8*shift + 5) / 6
	to := 8 * (shift + len(plain)) / 6
	return all[from:to]
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// The rules say which bytes stay as they are: RFC 3986 and Go's query rules; Go's
// path segments; whole paths; JavaScript's encodeURIComponent; Python's quote.
func unreserved(c byte) bool { return letterOrDigit(c) || bytes.IndexByte([]byte("-_.~"), c) >= 0 }
func segment(c byte) bool    { return unreserved(c) || bytes.IndexByte([]byte("$&+=:@"), c) >= 0 }
func path(c byte) bool       { return segment(c) || bytes.IndexByte([]byte("/;,"), c) >= 0 }
func script(c byte) bool     { return unreserved(c) || bytes.IndexByte([]byte("!*'()"), c) >= 0 }
func python(c byte) bool     { return unreserved(c) || c == '/' }

// percent is a percent-encoding; plus writes a space as a form does.
func percent(plain []byte, keep func(byte) bool, digits string, plus bool) []byte {
	out := make([]byte, 0, 3*len(plain))
	for _, c := range plain {
		switch {
		case keep(c):
			out = append(out, c)
		case c == ' ' && plus:
			out = append(out, '+')
		default:
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return out
}

// escaping is a way to write a JSON string.
type escaping struct{ html, slash, ascii bool }

func (e escaping) json(plain []byte) []byte {
	out := make([]byte, 0, 2*len(plain))
	for len(plain) > 0 {
		r, n := utf8.DecodeRune(plain)
		switch c := plain[0]; {
		case n == 1 && r == utf8.RuneError:
			out = append(out, c)
		case c == '"' || c == '\\' || c == '/' && e.slash:
			out = append(out, '\\', c)
		case bytes.IndexByte([]byte("\b\f\n\r\t"), c) >= 0:
			out = append(out, '\\', map[byte]byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}[c])
		case c < 0x20, e.html && bytes.IndexByte([]byte("<>&"), c) >= 0, r == '\u2028', r == '\u2029', e.ascii && r >= 0x7f:
			out = appendUnicode(out, r)
		default:
			out = append(out, plain[:n]...)
		}
		plain = plain[n:]
	}
	return out
}

// appendUnicode writes \uXXXX, twice for what lies beyond 16 bits.
func appendUnicode(out []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	unit := func(u rune) {
		out = append(out, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	if r > 0xffff {
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
		return out
	}
	unit(r)
	return out
}
