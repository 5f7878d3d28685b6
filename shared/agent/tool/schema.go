package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Schema is a checked schema of arguments: an object of JSON Schema with the
// keywords that are enforced here. Properties that are not declared are refused
// unless additionalProperties is true.
type Schema struct {
	Types      []string
	Properties map[string]*Schema
	Required   []string
	Open       bool // additionalProperties: true
	Items      *Schema
	Enum       []any
	Pattern    *regexp.Regexp
	min, max   *float64 // of a number
	least      int64    // of a length, in characters or items
	most       int64
}

// Limits of a schema and of arguments.
const (
	maxSchema     = 16 << 10
	maxDepth      = 6
	maxProperties = 64
	maxEnum       = 100
	maxPattern    = 200
	maxArguments  = 32 << 10
)

// ParseSchema reads a schema strictly. Keywords that would not be enforced are
// refused. Errors: invalid_request, param parameters.
func ParseSchema(raw json.RawMessage) (*Schema, error) {
	if len(raw) > maxSchema {
		return nil, invalid("parameters", "the schema is larger than 16 KiB")
	}
	v, err := decode(raw)
	if err != nil {
		return nil, invalid("parameters", "the parameters must be a JSON schema of an object")
	}
	s, err := schemaOf(v, 1, "parameters")
	if err != nil {
		return nil, err
	}
	if !slices.Equal(s.Types, []string{"object"}) {
		return nil, invalid("parameters", `the parameters' type is "object"`)
	}
	return s, nil
}

// decode reads exactly one JSON value, numbers as they were written.
func decode(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("tool: more than one value")
	}
	return v, nil
}

func schemaOf(v any, depth int, at string) (*Schema, error) {
	m, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return nil, invalid("parameters", at+" must be a schema, at most 6 levels deep")
	}
	s := &Schema{most: math.MaxInt64}
	for key, value := range m {
		if !s.keyword(key, value, depth, at) {
			return nil, invalid("parameters", at+": "+strconv.Quote(key)+" is not enforced here or has a value that it cannot have; "+
				"use type, properties, required, additionalProperties (true or false), items, enum, const, minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, title, description, default, examples and format")
		}
	}
	for _, name := range s.Required {
		if s.Properties[name] == nil {
			return nil, invalid("parameters", at+": a required property is not declared")
		}
	}
	if len(s.Types) == 0 {
		return nil, invalid("parameters", at+" needs a type")
	}
	return s, nil
}

// keyword takes one keyword; false if it is not one or has another value.
func (s *Schema) keyword(key string, v any, depth int, at string) (ok bool) {
	switch key {
	case "title", "description", "format":
		_, ok = v.(string)
	case "default", "examples":
		ok = true // for the model; checked with the argument
	case "type":
		s.Types, ok = types(v)
	case "properties":
		ok = s.properties(v, depth, at)
	case "required":
		s.Required, ok = words(v)
	case "additionalProperties":
		s.Open, ok = v.(bool)
	case "items":
		var err error
		s.Items, err = schemaOf(v, depth+1, at+"[]")
		ok = err == nil
	case "enum":
		s.Enum, ok = v.([]any)
		ok = ok && len(s.Enum) > 0 && len(s.Enum) <= maxEnum && !slices.ContainsFunc(s.Enum, func(e any) bool { return !scalar(e) })
	case "const":
		s.Enum, ok = []any{v}, scalar(v)
	case "minimum":
		s.min, ok = float(v)
	case "maximum":
		s.max, ok = float(v)
	case "minLength", "minItems":
		s.least, ok = count(v)
	case "maxLength", "maxItems":
		s.most, ok = count(v)
	case "pattern":
		ok = s.pattern(v)
	}
	return ok
}

func (s *Schema) pattern(v any) bool {
	text, ok := v.(string)
	if !ok || len(text) > maxPattern {
		return false
	}
	re, err := regexp.Compile(text)
	s.Pattern = re
	return err == nil
}

func (s *Schema) properties(v any, depth int, at string) bool {
	m, ok := v.(map[string]any)
	if !ok || len(m) > maxProperties {
		return false
	}
	s.Properties = map[string]*Schema{}
	for name, sub := range m {
		p, err := schemaOf(sub, depth+1, at+"."+name)
		if err != nil || name == "" || len(name) > 64 {
			return false
		}
		s.Properties[name] = p
	}
	return true
}

func types(v any) ([]string, bool) {
	list := []string{}
	if one, ok := v.(string); ok {
		list = append(list, one)
	} else if list, ok = words(v); !ok {
		return nil, false
	}
	known := []string{"object", "array", "string", "integer", "number", "boolean", "null"}
	return list, len(list) > 0 && !slices.ContainsFunc(list, func(t string) bool { return !slices.Contains(known, t) })
}

func words(v any) ([]string, bool) {
	items, ok := v.([]any)
	if !ok || len(items) > maxProperties {
		return nil, false
	}
	out := make([]string, 0, len(items))
	for _, i := range items {
		w, ok := i.(string)
		if !ok {
			return nil, false
		}
		out = append(out, w)
	}
	return out, true
}

func scalar(v any) bool {
	switch v.(type) {
	case string, bool, nil, json.Number:
		return true
	}
	return false
}

func float(v any) (*float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	f, err := n.Float64()
	return &f, err == nil
}

func count(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil && i >= 0
}

// Check reads arguments and says what is wrong with them in words for the model,
// "" for nothing. What it returns is exactly what was checked.
func (s *Schema) Check(args string) (map[string]any, string) {
	if len(args) > maxArguments {
		return nil, "the arguments are larger than 32 KiB"
	}
	v, err := decode([]byte(args))
	if err != nil {
		return nil, "the arguments are not valid JSON"
	}
	if wrong := s.wrong(v, "arguments"); wrong != "" {
		return nil, wrong
	}
	m, _ := v.(map[string]any)
	return m, ""
}

// wrong says what is wrong with a value, which its path names.
func (s *Schema) wrong(v any, at string) string {
	if !slices.ContainsFunc(s.Types, func(t string) bool { return isType(v, t) }) {
		return at + " must be of type " + s.Types[0]
	}
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e any) bool { return e == v }) {
		return at + " is not one of the values that are allowed"
	}
	switch x := v.(type) {
	case map[string]any:
		return s.wrongObject(x, at)
	case []any:
		if n := int64(len(x)); n < s.least || n > s.most {
			return at + " has too few or too many items"
		}
		for i, e := range x {
			if s.Items == nil {
				break
			}
			if w := s.Items.wrong(e, at+"["+strconv.Itoa(i)+"]"); w != "" {
				return w
			}
		}
	case string:
		if n := int64(utf8.RuneCountInString(x)); n < s.least || n > s.most {
			return at + " is too short or too long"
		}
		if s.Pattern != nil && !s.Pattern.MatchString(x) {
			return at + " does not match the pattern " + s.Pattern.String()
		}
	case json.Number:
		f, err := x.Float64()
		if err != nil || s.min != nil && f < *s.min || s.max != nil && f > *s.max {
			return at + " is outside of the range that is allowed"
		}
	}
	return ""
}

func (s *Schema) wrongObject(m map[string]any, at string) string {
	for _, name := range s.Required {
		if _, ok := m[name]; !ok {
			return at + "." + name + " is missing"
		}
	}
	for _, name := range sorted(m) {
		p := s.Properties[name]
		if p == nil && !s.Open {
			return at + " has a property that is not declared: " + strconv.Quote(name)
		}
		if p == nil {
			continue
		}
		if w := p.wrong(m[name], at+"."+name); w != "" {
			return w
		}
	}
	return ""
}

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func isType(v any, t string) bool {
	switch x := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	case json.Number:
		if t == "integer" {
			_, err := x.Int64()
			return err == nil
		}
		return t == "number"
	}
	return false
}
