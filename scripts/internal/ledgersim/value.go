package ledgersim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// value is one attribute value. Strings and integers are kept for comparing;
// everything else is only carried.
type value struct {
	kind byte // S, N, or 'x' for the others
	text string
	n    int64
	raw  json.RawMessage
}

var errValue = errors.New("ledgersim: not an attribute value")

// UnmarshalJSON reads {"S":"text"}, {"N":"1"} and anything else as it is.
func (v *value) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) < 7 || b[0] != '{' {
		return fmt.Errorf("%w: %.40s", errValue, b)
	}
	v.raw = bytes.Clone(b)
	if b[1] != '"' || b[3] != '"' || b[4] != ':' || b[2] != 'S' && b[2] != 'N' {
		v.kind = 'x'
		return nil
	}
	if err := json.Unmarshal(b[5:len(b)-1], &v.text); err != nil {
		return err
	}
	v.kind = b[2]
	if v.kind == 'N' {
		var err error
		if v.n, err = strconv.ParseInt(v.text, 10, 64); err != nil {
			return fmt.Errorf("%w: only integers are known: %.40s", errValue, b)
		}
	}
	return nil
}

// MarshalJSON writes the value as it came.
func (v value) MarshalJSON() ([]byte, error) { return v.raw, nil }

func number(n int64) value {
	t := strconv.FormatInt(n, 10)
	return value{kind: 'N', text: t, n: n, raw: json.RawMessage(`{"N":"` + t + `"}`)}
}

func (v value) equal(o value) bool { return v.kind == o.kind && bytes.Equal(v.raw, o.raw) }

// compare orders two values of a kind; ok is false for any others.
func (v value) compare(o value) (c int, ok bool) {
	switch {
	case v.kind != o.kind || v.kind == 'x':
		return 0, false
	case v.kind == 'N':
		return cmpInt(v.n, o.n), true
	}
	return bytes.Compare([]byte(v.text), []byte(o.text)), true
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// item is a stored item.
type item map[string]value

// size is about what DynamoDB counts: names and values, a number by its digits.
func (it item) size() int {
	n := 0
	for name, v := range it {
		n += len(name)
		switch v.kind {
		case 'S':
			n += len(v.text)
		case 'N':
			n += len(v.text)/2 + 2
		default:
			n += len(v.raw)
		}
	}
	return n
}

func (it item) clone() item {
	out := make(item, len(it)+4)
	for name, v := range it {
		out[name] = v
	}
	return out
}
