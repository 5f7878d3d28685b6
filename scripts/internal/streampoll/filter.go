package streampoll

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxPattern is Lambda's limit of one filter pattern in characters.
const maxPattern = 4096

// filter is a compiled event pattern. A field of the pattern is either an
// object (descend) or a list of alternatives for a leaf value.
//
// Rules as EventBridge documents them: all fields must match, alternatives of
// a list are ORed, "$or" lists patterns of which one must match; of an array in
// the event any element may match; exists looks at leaves only, so an object is
// never "existing". Numbers match numbers: DynamoDB writes {"N":"12"} as text,
// which exact strings match and numeric does not.
type filter struct {
	fields map[string]*filter
	or     []*filter
	leaf   []alternative
}

// alternative reports whether it matches a value; present is false and the value
// nil when the event has no such field.
type alternative func(value any, present bool) bool

func compileFilters(patterns []string) ([]*filter, error) {
	filters := make([]*filter, len(patterns))
	for i, text := range patterns {
		if len(text) > maxPattern {
			return nil, fmt.Errorf("streampoll: filter %d is longer than %d characters", i+1, maxPattern)
		}
		value, err := decode([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("streampoll: filter %d is not JSON: %w", i+1, err)
		}
		object, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("streampoll: filter %d is not a JSON object", i+1)
		}
		if filters[i], err = compileObject(object); err != nil {
			return nil, fmt.Errorf("streampoll: filter %d: %w", i+1, err)
		}
	}
	return filters, nil
}

func decode(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the value")
	}
	return v, nil
}

func compileObject(object map[string]any) (*filter, error) {
	if len(object) == 0 {
		return nil, fmt.Errorf("an object of the pattern is empty")
	}
	f := &filter{fields: map[string]*filter{}}
	for name, value := range object {
		var err error
		switch v := value.(type) {
		case map[string]any:
			f.fields[name], err = compileObject(v)
		case []any:
			if name == "$or" {
				f.or, err = compileOr(v)
			} else {
				f.fields[name], err = compileLeaf(v)
			}
		default:
			err = fmt.Errorf("field %q must be an object or a list", name)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func compileOr(list []any) ([]*filter, error) {
	var out []*filter
	for _, value := range list {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("$or must list objects")
		}
		f, err := compileObject(object)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("$or is empty")
	}
	return out, nil
}

func compileLeaf(list []any) (*filter, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("a list of the pattern is empty")
	}
	f := &filter{}
	for _, value := range list {
		var a alternative
		var err error
		switch v := value.(type) {
		case map[string]any:
			a, err = compileOperator(v)
		case []any:
			err = fmt.Errorf("a list may not hold a list")
		default:
			a = onAnyElement(func(got any) bool { return equal(v, got) })
		}
		if err != nil {
			return nil, err
		}
		f.leaf = append(f.leaf, a)
	}
	return f, nil
}

func compileOperator(operator map[string]any) (alternative, error) {
	if len(operator) != 1 {
		return nil, fmt.Errorf("an operator must have exactly one name")
	}
	for name, argument := range operator {
		switch name {
		case "exists":
			want, ok := argument.(bool)
			if !ok {
				return nil, fmt.Errorf("exists needs true or false")
			}
			return func(value any, present bool) bool { return (present && isLeaf(value)) == want }, nil
		case "numeric":
			return compileNumeric(argument)
		case "anything-but":
			return compileAnythingBut(argument)
		default:
			test, err := compileText(name, argument)
			if err != nil {
				return nil, err
			}
			return onAnyElement(test), nil
		}
	}
	return nil, nil
}

// compileText compiles the operators that look at a string.
func compileText(name string, argument any) (func(any) bool, error) {
	tests := map[string]func(value, argument string) bool{
		"prefix": strings.HasPrefix, "suffix": strings.HasSuffix, "equals-ignore-case": strings.EqualFold,
	}
	test, known := tests[name]
	if !known {
		return nil, fmt.Errorf("operator %q is not supported", name)
	}
	text, ok := argument.(string)
	if !ok {
		return nil, fmt.Errorf("%s needs a string", name)
	}
	return func(got any) bool {
		s, ok := got.(string)
		return ok && test(s, text)
	}, nil
}

func compileAnythingBut(argument any) (alternative, error) {
	var excluded func(any) bool
	switch v := argument.(type) {
	case map[string]any:
		if len(v) != 1 {
			return nil, fmt.Errorf("anything-but takes one operator")
		}
		for name, inner := range v {
			test, err := compileText(name, inner)
			if err != nil {
				return nil, err
			}
			excluded = test
		}
	case []any:
		if len(v) == 0 {
			return nil, fmt.Errorf("anything-but is empty")
		}
		excluded = func(got any) bool {
			return slices.ContainsFunc(v, func(want any) bool { return equal(want, got) })
		}
	default:
		excluded = func(got any) bool { return equal(v, got) }
	}
	return onAnyElement(func(got any) bool { return isLeaf(got) && !excluded(got) }), nil
}

func compileNumeric(argument any) (alternative, error) {
	list, ok := argument.([]any)
	if !ok || (len(list) != 2 && len(list) != 4) {
		return nil, fmt.Errorf("numeric needs [operator, number] once or twice")
	}
	type bound struct {
		operator string
		number   float64
	}
	var bounds []bound
	for i := 0; i < len(list); i += 2 {
		operator, _ := list[i].(string)
		number, ok := list[i+1].(json.Number)
		value, err := number.Float64()
		if !slices.Contains([]string{"=", "<", "<=", ">", ">="}, operator) || !ok || err != nil {
			return nil, fmt.Errorf("numeric needs [operator, number] with = < <= > >=")
		}
		bounds = append(bounds, bound{operator, value})
	}
	return onAnyElement(func(got any) bool {
		number, ok := got.(json.Number)
		value, err := number.Float64()
		if !ok || err != nil {
			return false
		}
		for _, b := range bounds {
			if !compare(value, b.operator, b.number) {
				return false
			}
		}
		return true
	}), nil
}

func compare(a float64, operator string, b float64) bool {
	switch operator {
	case "=":
		return a == b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

func equal(want, got any) bool {
	w, wantNumber := want.(json.Number)
	g, gotNumber := got.(json.Number)
	if wantNumber && gotNumber {
		a, errA := w.Float64()
		b, errB := g.Float64()
		return errA == nil && errB == nil && a == b
	}
	return isLeaf(got) && want == got
}

func isLeaf(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// onAnyElement applies a test to a value, or to the elements of an array.
func onAnyElement(test func(any) bool) alternative {
	return func(value any, present bool) bool {
		if !present {
			return false
		}
		if list, ok := value.([]any); ok {
			return slices.ContainsFunc(list, test)
		}
		return test(value)
	}
}

// matches applies the filter; an absent object is descended into, because
// exists:false below it holds.
func (f *filter) matches(value any, present bool) bool {
	if f.leaf != nil {
		return slices.ContainsFunc(f.leaf, func(a alternative) bool { return a(value, present) })
	}
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(element any) bool { return f.matches(element, true) })
	}
	object, _ := value.(map[string]any)
	for name, sub := range f.fields {
		inner, there := object[name]
		if !sub.matches(inner, there) {
			return false
		}
	}
	if f.or != nil {
		return slices.ContainsFunc(f.or, func(alternative *filter) bool { return alternative.matches(value, present) })
	}
	return true
}

// wanted reports whether any filter matches the record, or there is none.
func wanted(filters []*filter, event json.RawMessage) (bool, error) {
	if len(filters) == 0 {
		return true, nil
	}
	value, err := decode(event)
	if err != nil {
		return false, fmt.Errorf("streampoll: reading a record back: %w", err)
	}
	return slices.ContainsFunc(filters, func(f *filter) bool { return f.matches(value, true) }), nil
}
