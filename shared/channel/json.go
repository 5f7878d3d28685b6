package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
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
	if !utf8.Valid(b) {
		return nil, ErrJSON
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d, 1)
	if err != nil {
		return nil, ErrJSON
	}
	o, ok := v.(Object)
	if !ok {
		return nil, ErrJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrJSON
	}
	return o, nil
}

// value reads one value whose containers may nest from depth on.
func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth > MaxDepth {
		return nil, ErrJSON
	}
	if delim == '{' {
		return object(d, depth)
	}
	return array(d, depth)
}

func object(d *json.Decoder, depth int) (Object, error) {
	out := Object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, ErrJSON
		}
		if _, seen := out[name]; seen {
			return nil, ErrJSON
		}
		if out[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return out, err
}

func array(d *json.Decoder, depth int) ([]any, error) {
	out := []any{}
	for d.More() {
		v, err := value(d, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := d.Token()
	return out, err
}
