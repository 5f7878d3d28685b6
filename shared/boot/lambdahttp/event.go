package lambdahttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// Request is the event of a function URL, format 2.0: of it, what becomes part of
// an http.Request. Cookies have a field of their own there and are not among the
// headers; nothing here reads them.
type Request struct {
	rawPath, rawQuery, domainName, method, sourceIP, body string

	headers   http.Header
	base64    bool
	timeEpoch int64 // milliseconds
}

var errEvent = errors.New("lambdahttp: the event is not one of a function URL")

// UnmarshalJSON reads an event whose syntax encoding/json has checked, as it does
// before it calls this. Names are exact; the last of repeated ones counts. A value
// of another kind than documented fails, null leaves a field empty.
func (e *Request) UnmarshalJSON(b []byte) error {
	*e = Request{}
	// One copy, of which the fields are parts.
	d := reader{text: string(b)}
	d.object(func(name string) {
		switch name {
		case "rawPath":
			d.string(&e.rawPath)
		case "rawQueryString":
			d.string(&e.rawQuery)
		case "body":
			d.string(&e.body)
		case "isBase64Encoded":
			e.base64 = d.bool()
		case "headers":
			e.headers = d.headers()
		case "requestContext":
			d.object(func(name string) { e.context(&d, name) })
		default:
			d.skip()
		}
	})
	if d.failed {
		return errEvent
	}
	return nil
}

func (e *Request) context(d *reader, name string) {
	switch name {
	case "domainName":
		d.string(&e.domainName)
	case "timeEpoch":
		e.timeEpoch = d.int()
	case "http":
		d.object(func(name string) {
			switch name {
			case "method":
				d.string(&e.method)
			case "sourceIp":
				d.string(&e.sourceIP)
			default:
				d.skip()
			}
		})
	default:
		d.skip()
	}
}

// reader goes through valid JSON. After a failure it stands at the end.
type reader struct {
	text   string
	at     int
	failed bool
}

func (d *reader) fail() { d.failed, d.at = true, len(d.text) }

// peek is the next byte that is no space, 0 at the end.
func (d *reader) peek() byte {
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// null takes null.
func (d *reader) null() bool {
	if d.peek() == 'n' {
		d.skip()
		return true
	}
	return false
}

// object calls field for each name, which must take the value.
func (d *reader) object(field func(name string)) {
	if d.null() {
		return
	}
	if d.peek() != '{' {
		d.fail()
		return
	}
	d.at++
	for !d.failed {
		switch d.peek() {
		case '}':
			d.at++
			return
		case ',':
			d.at++
		}
		var name string
		d.string(&name)
		if d.peek() != ':' {
			d.fail()
			return
		}
		d.at++
		field(name)
	}
}

// quoted takes a string as it stands, with its quotes. plain says that it holds no
// escape and nothing that encoding/json would replace.
func (d *reader) quoted() (token string, plain bool) {
	if d.peek() != '"' {
		d.fail()
		return `""`, true
	}
	plain = true
	for i := d.at + 1; i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			token = d.text[d.at : i+1]
			d.at = i + 1
			return token, plain
		case c == '\\':
			plain = false
			i++
		case c >= 0x80:
			plain = false // perhaps no UTF-8
		}
	}
	d.fail()
	return `""`, true
}

func (d *reader) string(to *string) {
	if d.null() {
		return
	}
	token, plain := d.quoted()
	if plain {
		*to = token[1 : len(token)-1]
		return
	}
	if json.Unmarshal([]byte(token), to) != nil {
		d.fail()
	}
}

// skip takes a value of any kind.
func (d *reader) skip() {
	depth := 0
	for d.at < len(d.text) {
		switch d.peek() {
		case '"':
			d.quoted()
		case '{', '[':
			depth++
			d.at++
		case '}', ']':
			depth--
			d.at++
		case ',', ':':
			d.at++
			continue
		default:
			d.word()
		}
		if depth <= 0 {
			return
		}
	}
}

// word takes a number, true, false or null.
func (d *reader) word() string {
	d.peek()
	from := d.at
	for d.at < len(d.text) && !strings.ContainsRune(" \t\r\n,:]}", rune(d.text[d.at])) {
		d.at++
	}
	if from == d.at {
		d.fail()
	}
	return d.text[min(from, d.at):d.at]
}

func (d *reader) bool() bool {
	switch d.word() {
	case "true":
		return true
	case "false", "null":
		return false
	}
	d.fail()
	return false
}

func (d *reader) int() int64 {
	w := d.word()
	if w == "null" {
		return 0
	}
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		d.fail()
	}
	return n
}

// headers have one value each: what a client repeated is joined by commas.
func (d *reader) headers() http.Header {
	h := make(http.Header, 24)
	values := make([]string, 0, 24)
	d.object(func(name string) {
		var value string
		d.string(&value)
		name = textproto.CanonicalMIMEHeaderKey(name)
		if h[name] != nil {
			h[name] = append(h[name], value) // names that differ in case
			return
		}
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	})
	return h
}
