package jsonwire

import "encoding/json"

// Cursor walks through one JSON object without building anything. It is for hot
// paths that look for a few members; a text it cannot follow makes it stop with
// ok false, and the caller falls back to encoding/json. Keys with escapes make
// it stop as well, equal keys do not.
type Cursor struct {
	c    checker
	some bool
}

// Walk starts at the object that b holds, ok is false if b holds none.
func Walk(b []byte) (w Cursor, ok bool) {
	w.c = checker{b: b, loose: true}
	w.c.space()
	if !w.c.at('{') {
		return w, false
	}
	w.c.i++
	return w, true
}

// Next returns the next member: its key and the text of its value, both parts of
// the walked text. more is false at the end of the object.
func (w *Cursor) Next() (key, value []byte, more, ok bool) {
	c := &w.c
	c.space()
	if c.at('}') {
		c.i++
		c.space()
		return nil, nil, false, c.i == len(c.b)
	}
	if w.some {
		if !c.at(',') {
			return nil, nil, false, false
		}
		c.i++
		c.space()
	}
	w.some = true
	if !c.at('"') {
		return nil, nil, false, false
	}
	start := c.i
	key, err := c.str()
	if err != nil || c.i-start != len(key)+2 {
		return nil, nil, false, false
	}
	if c.space(); !c.at(':') {
		return nil, nil, false, false
	}
	c.i++
	c.space()
	start = c.i
	if c.value(1) != nil {
		return nil, nil, false, false
	}
	return key, c.b[start:c.i], true, true
}

// Only returns the single element of the array that b holds.
func Only(b []byte) (element []byte, ok bool) {
	c := checker{b: b, loose: true}
	if !c.at('[') {
		return nil, false
	}
	c.i++
	c.space()
	start := c.i
	if c.value(1) != nil {
		return nil, false
	}
	end := c.i
	if c.space(); !c.at(']') {
		return nil, false
	}
	c.i++
	return b[start:end], c.i == len(b)
}

// Unquote returns the string that b, a valid JSON string, holds. b must be valid
// UTF-8.
func Unquote(b []byte) (string, bool) {
	if len(b) < 2 || b[0] != '"' {
		return "", false
	}
	for _, ch := range b {
		if ch == '\\' {
			var s string
			err := json.Unmarshal(b, &s)
			return s, err == nil
		}
	}
	return string(b[1 : len(b)-1]), true
}
