package jsonwire

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// MaxDepth bounds the nesting [Check] accepts.
const MaxDepth = 64

// Reasons why [Check] refuses a text.
var (
	ErrSyntax    = errors.New("the body is not valid JSON")
	ErrTrailing  = errors.New("the body has data after its JSON value")
	ErrDepth     = errors.New("the JSON is nested deeper than 64 levels")
	ErrDuplicate = errors.New("the JSON has the same key twice in one object")
	ErrUTF8      = errors.New("the JSON is not valid UTF-8")
)

// Check reports why b must not be parsed, or nil: it must be exactly one JSON
// value in valid UTF-8, nested at most [MaxDepth] deep, in which no object has a
// key twice. Parsers disagree about which of two equal keys holds, so a body
// with both could be checked as one thing and billed or sent as another.
func Check(b []byte) error {
	if !utf8.Valid(b) {
		return ErrUTF8
	}
	c := checker{b: b}
	c.space()
	if err := c.value(0); err != nil {
		return err
	}
	c.space()
	if c.i != len(b) {
		return ErrTrailing
	}
	return nil
}

type checker struct {
	b    []byte
	i    int
	keys [][]byte
	// loose leaves out the check for equal keys.
	loose bool
}

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

func (c *checker) value(depth int) error {
	if c.i >= len(c.b) {
		return ErrSyntax
	}
	switch c.b[c.i] {
	case '{':
		return c.object(depth + 1)
	case '[':
		return c.array(depth + 1)
	case '"':
		_, err := c.str()
		return err
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	}
	return c.number()
}

func (c *checker) word(w string) error {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return ErrSyntax
	}
	c.i += len(w)
	return nil
}

func (c *checker) digits() bool {
	start := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
	}
	return c.i > start
}

func (c *checker) at(b byte) bool { return c.i < len(c.b) && c.b[c.i] == b }

func (c *checker) number() error {
	if c.at('-') {
		c.i++
	}
	if c.at('0') {
		c.i++
	} else if !c.digits() {
		return ErrSyntax
	}
	if c.at('.') {
		c.i++
		if !c.digits() {
			return ErrSyntax
		}
	}
	if c.at('e') || c.at('E') {
		c.i++
		if c.at('+') || c.at('-') {
			c.i++
		}
		if !c.digits() {
			return ErrSyntax
		}
	}
	return nil
}

// str returns the text between the quotes, unescaped only if it has escapes.
func (c *checker) str() ([]byte, error) {
	start := c.i
	escaped := false
	for c.i++; c.i < len(c.b); c.i++ {
		switch ch := c.b[c.i]; {
		case ch == '"':
			c.i++
			if !escaped {
				return c.b[start+1 : c.i-1], nil
			}
			var s string
			if json.Unmarshal(c.b[start:c.i], &s) != nil {
				return nil, ErrSyntax
			}
			return []byte(s), nil
		case ch == '\\':
			escaped = true
			c.i++
		case ch < 0x20:
			return nil, ErrSyntax
		}
	}
	return nil, ErrSyntax
}

func (c *checker) array(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	c.i++
	if c.space(); c.at(']') {
		c.i++
		return nil
	}
	for {
		c.space()
		if err := c.value(depth); err != nil {
			return err
		}
		c.space()
		switch {
		case c.at(','):
			c.i++
		case c.at(']'):
			c.i++
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (c *checker) object(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	c.i++
	if c.space(); c.at('}') {
		c.i++
		return nil
	}
	first := len(c.keys)
	var seen map[string]bool
	for {
		if c.space(); !c.at('"') {
			return ErrSyntax
		}
		key, err := c.str()
		if err != nil {
			return err
		}
		if !c.loose {
			if c.keys = append(c.keys, key); !c.unique(first, &seen) {
				return ErrDuplicate
			}
		}
		if c.space(); !c.at(':') {
			return ErrSyntax
		}
		c.i++
		c.space()
		if err := c.value(depth); err != nil {
			return err
		}
		c.space()
		switch {
		case c.at(','):
			c.i++
		case c.at('}'):
			c.i++
			c.keys = c.keys[:first]
			return nil
		default:
			return ErrSyntax
		}
	}
}

// unique reports whether the newest key differs from the others of its object.
// Small objects are compared one by one, larger ones by a map, so that an object
// with a million keys is not a million squared comparisons.
func (c *checker) unique(first int, seen *map[string]bool) bool {
	key := c.keys[len(c.keys)-1]
	if *seen == nil {
		for _, k := range c.keys[first : len(c.keys)-1] {
			if string(k) == string(key) {
				return false
			}
		}
		if len(c.keys)-first < 16 {
			return true
		}
		*seen = make(map[string]bool, 32)
		for _, k := range c.keys[first:] {
			(*seen)[string(k)] = true
		}
		return true
	}
	if (*seen)[string(key)] {
		return false
	}
	(*seen)[string(key)] = true
	return true
}
