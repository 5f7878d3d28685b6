package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// served is the document as clients get it.
type served struct{ doc object }

func readServed(body []byte) (served, error) {
	var s served
	err := json.Unmarshal(body, &s.doc)
	return s, err
}

// operation finds a route in the document.
func (s served) operation(r route) object {
	path, _ := s.doc["paths"].(object)[r.path].(object)
	op, _ := path[strings.ToLower(r.method)].(object)
	return op
}

func schemaOf(content any) any {
	c, _ := content.(object)
	media, _ := c["content"].(object)["application/json"].(object)
	return media["schema"]
}

// check validates a value against a schema of the served document, as far as
// the document uses JSON Schema.
func (s served) check(schema, value any, at string) error {
	sc, ok := schema.(object)
	if !ok {
		return fmt.Errorf("%s: no schema", at)
	}
	if ref, ok := sc["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		return s.check(s.doc["components"].(object)["schemas"].(object)[name], value, at)
	}
	if one, ok := sc["oneOf"].([]any); ok {
		matched := 0
		var last error
		for _, alternative := range one {
			if err := s.check(alternative, value, at); err == nil {
				matched++
			} else {
				last = err
			}
		}
		if matched != 1 {
			return fmt.Errorf("%s: %d alternatives match (%v)", at, matched, last)
		}
		return nil
	}
	if err := checkType(sc["type"], value); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if enum, ok := sc["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%s: %v is not one of %v", at, value, enum)
	}
	switch v := value.(type) {
	case string:
		if sc["format"] == "date-time" {
			if at0, err := time.Parse(time.RFC3339, v); err != nil || at0.Location() != time.UTC {
				return fmt.Errorf("%s: %q is not a UTC time", at, v)
			}
		}
	case []any:
		for i, item := range v {
			if err := s.check(sc["items"], item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case object:
		return s.checkObject(sc, v, at)
	}
	return nil
}

func (s served) checkObject(sc, v object, at string) error {
	required, _ := sc["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	properties, _ := sc["properties"].(object)
	for name, inner := range v {
		schema, known := properties[name]
		if !known {
			if schema = sc["additionalProperties"]; schema == false || schema == nil && properties != nil {
				return fmt.Errorf("%s: %s is not in the schema", at, name)
			}
		}
		if o, ok := schema.(object); !ok || len(o) == 0 {
			continue
		}
		if err := s.check(schema, inner, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func checkType(want, value any) error {
	if list, ok := want.([]any); ok {
		for _, w := range list {
			if checkType(w, value) == nil {
				return nil
			}
		}
		return fmt.Errorf("%T is none of %v", value, list)
	}
	got := ""
	switch v := value.(type) {
	case nil:
		got = "null"
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		if got = "number"; v == math.Trunc(v) && want == "integer" {
			got = "integer"
		}
	case []any:
		got = "array"
	case object:
		got = "object"
	}
	if want != nil && want != got {
		return fmt.Errorf("%s where %v belongs", got, want)
	}
	return nil
}
