// Package jsonwire has the two JSON tools that adapters and dialects need beside
// encoding/json: appending JSON text without reflection or garbage, and checking
// text from strangers more strictly than encoding/json does ([Check]).
package jsonwire

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD. HTML
// characters stay as they are; U+2028 and U+2029 are escaped, because some
// clients still evaluate event data as script.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			i++
			start = i
			continue
		}
		if r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&0xf])
			i += size
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// AppendFloat appends f as the shortest JSON number that reads back as f. f must
// be finite.
func AppendFloat(dst []byte, f float64) []byte { return strconv.AppendFloat(dst, f, 'g', -1, 64) }

// Object appends members to a JSON object and keeps track of commas.
type Object struct {
	B    []byte
	some bool
}

// Begin opens an object at the end of dst.
func Begin(dst []byte) Object { return Object{B: append(dst, '{')} }

// Name appends a member name, after which the caller appends its value to B.
// name must need no escaping.
func (o *Object) Name(name string) {
	if o.some {
		o.B = append(o.B, ',')
	}
	o.some = true
	o.B = append(o.B, '"')
	o.B = append(o.B, name...)
	o.B = append(o.B, '"', ':')
}

// String appends a string member.
func (o *Object) String(name, v string) { o.Name(name); o.B = AppendString(o.B, v) }

// StringIf appends a string member unless it is empty.
func (o *Object) StringIf(name, v string) {
	if v != "" {
		o.String(name, v)
	}
}

// Int appends an integer member.
func (o *Object) Int(name string, v int64) { o.Name(name); o.B = strconv.AppendInt(o.B, v, 10) }

// Bool appends a boolean member.
func (o *Object) Bool(name string, v bool) { o.Name(name); o.B = strconv.AppendBool(o.B, v) }

// Raw appends a member whose value is JSON text already.
func (o *Object) Raw(name string, v []byte) { o.Name(name); o.B = append(o.B, v...) }

// End closes the object and returns the buffer.
func (o *Object) End() []byte { return append(o.B, '}') }
