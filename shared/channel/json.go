package channel

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of a webhook body.
const MaxDepth = 64

// ErrJSON is returned by [StrictJSON].
var ErrJSON = errors.New("channel: body is not one plain JSON object")

// Object is a decoded JSON object. Its readers match names exactly, unlike
// struct decoding, which would let "Type" override "type". An absent member or
// one of another type reads as the zero value.
type Object map[string]any

// Str reads a string.
func (o Object) Str(name string) string { s, _ := o[name].(string); return s }

// Bool reads a boolean.
func (o Object) Bool(name string) bool { b, _ := o[name].(bool); return b }

// Obj reads an object; a nil Object reads as empty.
func (o Object) Obj(name string) Object { m, _ := o[name].(Object); return m }

// List reads an array.
func (o Object) List(name string) []any { l, _ := o[name].([]any); return l }

// First reads the first object of an array.
func (o Object) First(name string) Object {
	if l := o.List(name); len(l) > 0 {
		m, _ := l[0].(Object)
		return m
	}
	return nil
}

// Has reports whether the member exists and is not null.
func (o Object) Has(name string) bool { return o[name] != nil }

// StrictJSON decodes one JSON object. Invalid UTF-8, duplicate keys at any
// level, nesting above [MaxDepth] and trailing data are refused: two readers
// that disagree about a body are a way around verification. Unknown members
// are kept, because vendors add them. The caller bounds the size.
func StrictJSON(b []byte) (Object, error) {
	if !utf8.Valid(b) || !json.Valid(b) {
		return nil, ErrJSON
	}
	v, err := (&walk{b: b}).value(1)
	if err != nil {
		return nil, ErrJSON
	}
	o, ok := v.(Object)
	if !ok {
		return nil, ErrJSON
	}
	return o, nil
}

// walk reads text that is known to be valid JSON, which the standard library has
// checked: its own reader of tokens makes an error value for each name it meets.
type walk struct {
	b []byte
	i int
}

// next skips space and returns the byte that begins what follows.
func (w *walk) next() byte {
	for w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\n' || w.b[w.i] == '\r' {
		w.i++
	}
	return w.b[w.i]
}

// value reads one value whose containers may nest from depth on.
func (w *walk) value(depth int) (any, error) {
	switch c := w.next(); c {
	case '{', '[':
		if depth > MaxDepth {
			return nil, ErrJSON
		}
		w.i++
		if c == '{' {
			return w.object(depth)
		}
		return w.array(depth)
	case '"':
		return w.text()
	case 't':
		w.i += len("true")
		return true, nil
	case 'f':
		w.i += len("false")
		return false, nil
	case 'n':
		w.i += len("null")
		return nil, nil
	}
	from := w.i
	for w.i < len(w.b) && strings.IndexByte("+-.0123456789eE", w.b[w.i]) >= 0 {
		w.i++
	}
	return json.Number(w.b[from:w.i]), nil
}

// text reads a string. Only one with escapes needs more than a copy.
func (w *walk) text() (string, error) {
	from, plain := w.i, true
	for w.i++; w.b[w.i] != '"'; w.i++ {
		if w.b[w.i] == '\\' {
			plain = false
			w.i++
		}
	}
	w.i++
	if plain {
		return string(w.b[from+1 : w.i-1]), nil
	}
	var s string
	err := json.Unmarshal(w.b[from:w.i], &s)
	return s, err
}

func (w *walk) object(depth int) (Object, error) {
	out := Object{}
	for w.next() != '}' {
		if w.b[w.i] == ',' {
			w.i++
			w.next()
		}
		name, err := w.text()
		if err != nil {
			return nil, err
		}
		if _, seen := out[name]; seen {
			return nil, ErrJSON
		}
		w.next() // the colon
		w.i++
		if out[name], err = w.value(depth + 1); err != nil {
			return nil, err
		}
	}
	w.i++
	return out, nil
}

func (w *walk) array(depth int) ([]any, error) {
	out := []any{}
	for w.next() != ']' {
		if w.b[w.i] == ',' {
			w.i++
		}
		v, err := w.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	w.i++
	return out, nil
}
