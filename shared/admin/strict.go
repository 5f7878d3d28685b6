package admin

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// maxDepth bounds the nesting of a body.
const maxDepth = 32

// secretText is a secret field of a body. It cannot be written back.
type secretText struct{ secret.Text }

// UnmarshalJSON implements [json.Unmarshaler]. The error does not show the
// value.
func (s *secretText) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		return errNotText
	}
	s.Text = secret.FromString(text)
	return nil
}

var errNotText = errors.New("admin: a secret must be a string")

// checker lets a body look at the document before it is decoded.
type checker interface {
	checkDocument(doc map[string]any) error
}

// with makes a handler that decodes its body into a B.
func with[B any](f func(*call, B) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		var body B
		if err := decodeBody(c, &body); err != nil {
			return nil, err
		}
		return f(c, body)
	}
}

// bare makes a handler of a call that has no body to speak of: empty or {}.
func bare(f func(*call) (any, error)) func(*call) (any, error) {
	return with(func(c *call, _ struct{}) (any, error) { return f(c) })
}

func decodeBody(c *call, into any) error {
	for _, encoding := range c.req.Header("content-encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return malformed("", "the body must not be compressed")
		}
	}
	data := c.req.Body
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	return decodeStrict(data, into)
}

func malformed(param, message string) error {
	f := fault.New(fault.InvalidRequest, "admin.decode", message)
	f.Param = param
	return f
}

// decodeStrict decodes one JSON object. encoding/json alone takes the last of
// two equal keys, matches names in any case, replaces invalid UTF-8, and its
// type errors repeat values; all of that is refused here with the field's name.
func decodeStrict(data []byte, into any) error {
	if !utf8.Valid(data) {
		return malformed("", "the body is not valid UTF-8")
	}
	if !json.Valid(data) {
		return malformed("", "the body is not one valid JSON document")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	tree, err := parseTree(d, "", 0)
	if err != nil {
		return err
	}
	doc, ok := tree.(map[string]any)
	if !ok {
		return malformed("", "the body must be a JSON object")
	}
	if ch, ok := into.(checker); ok {
		if err := ch.checkDocument(doc); err != nil {
			return err
		}
	}
	if err := checkNames(doc, reflect.TypeOf(into).Elem(), ""); err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return malformed(wrong.Field, "this field has the wrong type")
		}
		return malformed("", "a field has a value of the wrong form")
	}
	return nil
}

// parseTree reads one value and refuses duplicate keys and deep nesting.
func parseTree(d *json.Decoder, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed("", "the body is nested too deeply")
	}
	token, err := d.Token()
	if err != nil {
		return nil, malformed("", "the body is not one valid JSON document")
	}
	switch token {
	case json.Delim('{'):
		return parseObject(d, path, depth)
	case json.Delim('['):
		var list []any
		for d.More() {
			v, err := parseTree(d, path, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return token, nil
}

func parseObject(d *json.Decoder, path string, depth int) (any, error) {
	object := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, malformed("", "the body is not one valid JSON document")
		}
		name, _ := token.(string)
		if _, twice := object[name]; twice {
			return nil, malformed(join(path, name), "this field is given twice")
		}
		if object[name], err = parseTree(d, join(path, name), depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, err
}

const maxParam = 64

// join names a nested field. A name comes from outside and is shown in the
// error, so it is cut and stripped.
func join(path, name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 0x21 || r > 0x7e {
			return -1
		}
		return r
	}, name[:min(len(name), maxParam)])
	if path == "" {
		return name
	}
	return path + "." + name
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	timeType        = reflect.TypeFor[time.Time]()
)

// checkNames refuses names that t does not have, in exactly its spelling, and
// missing required ones.
func checkNames(v any, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == timeType || reflect.PointerTo(t).Implements(unmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return nil
	}
	switch value := v.(type) {
	case map[string]any:
		switch t.Kind() {
		case reflect.Struct:
			return checkStruct(value, t, path)
		case reflect.Map:
			for name, inner := range value {
				if err := checkNames(inner, t.Elem(), join(path, name)); err != nil {
					return err
				}
			}
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for _, inner := range value {
				if err := checkNames(inner, t.Elem(), path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkStruct(doc map[string]any, t reflect.Type, path string) error {
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" && f.IsExported() {
			fields[name] = f
		}
	}
	for name, inner := range doc {
		f, known := fields[name]
		if !known {
			return malformed(join(path, name), "this field does not exist here")
		}
		if err := checkNames(inner, f.Type, join(path, name)); err != nil {
			return err
		}
	}
	for name, f := range fields {
		if value, given := doc[name]; f.Tag.Get("api") == "required" && (!given || value == nil) {
			return malformed(join(path, name), "this field is required")
		}
	}
	return nil
}
