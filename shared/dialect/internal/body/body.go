// Package body reads request bodies for the dialects: one strict JSON object
// whose members are taken one by one, so that what is left over is known, and
// the few forms that several dialects share.
//
// Every refusal is a *fault.Error with code invalid_request that names the field
// in Param. An [Object] is for one body and not safe for concurrent use.
package body

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Limits that hold in every dialect.
const (
	MaxMessages = 10000
	MaxParts    = 1000
	MaxTools    = 512
	MaxStops    = 16
	MaxName     = 256
	maxExtra    = 64
	maxURL      = 8192
)

// Object is a JSON object whose members are being taken.
type Object struct {
	op string
	m  map[string]json.RawMessage
}

// Parse checks that text is exactly one strict JSON object. op names the reader
// in errors.
func Parse(op string, text []byte) (*Object, error) {
	o := &Object{op: op}
	if err := jsonwire.Check(text); err != nil {
		return nil, o.Bad("", err.Error())
	}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); trimmed[0] != '{' || json.Unmarshal(text, &o.m) != nil {
		return nil, o.Bad("", "the body must be a JSON object")
	}
	return o, nil
}

// Bad makes the refusal of a field.
func (o *Object) Bad(param, message string) error {
	return fault.New(fault.InvalidRequest, o.op, message).WithParam(param)
}

// Rest returns the members that were not taken, nil if there are none.
func (o *Object) Rest() (map[string]json.RawMessage, error) {
	if len(o.m) > maxExtra {
		return nil, o.Bad("", "the body has too many unknown fields")
	}
	if len(o.m) == 0 {
		return nil, nil
	}
	return o.m, nil
}

// Peek returns a member without taking it, nil if it is absent.
func (o *Object) Peek(name string) json.RawMessage { return o.m[name] }

// Put adds a member, unless v is nil.
func (o *Object) Put(name string, v json.RawMessage) {
	if v != nil {
		o.m[name] = v
	}
}

// Take removes a member and returns its value, nil if it is absent or null.
func (o *Object) Take(name string) json.RawMessage {
	v, ok := o.m[name]
	delete(o.m, name)
	if !ok || string(v) == "null" {
		return nil
	}
	return v
}

// String takes a string member, empty if it is absent.
func (o *Object) String(name string) (string, error) {
	v := o.Take(name)
	if v == nil {
		return "", nil
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return "", o.Bad(name, name+" must be a string")
	}
	return s, nil
}

// Bool takes a boolean member, nil if it is absent.
func (o *Object) Bool(name string) (*bool, error) {
	v := o.Take(name)
	if v == nil {
		return nil, nil
	}
	b := string(v) == "true"
	if !b && string(v) != "false" {
		return nil, o.Bad(name, name+" must be true or false")
	}
	return &b, nil
}

// Int takes a whole number within bounds, nil if it is absent.
func (o *Object) Int(name string, lowest, highest int64) (*int64, error) {
	v := o.Take(name)
	if v == nil {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < lowest || n > highest {
		return nil, o.Bad(name, name+" must be a whole number between "+strconv.FormatInt(lowest, 10)+" and "+strconv.FormatInt(highest, 10))
	}
	return &n, nil
}

// Float takes a number within bounds, nil if it is absent.
func (o *Object) Float(name string, lowest, highest float64) (*float64, error) {
	v := o.Take(name)
	if v == nil {
		return nil, nil
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil || n < lowest || n > highest || math.IsNaN(n) {
		return nil, o.Bad(name, name+" must be a number between "+strconv.FormatFloat(lowest, 'g', -1, 64)+" and "+strconv.FormatFloat(highest, 'g', -1, 64))
	}
	return &n, nil
}

// ToolName reports whether s can name a tool or a schema everywhere.
func ToolName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Offers reports whether a forced choice can be made from the tools.
func Offers(tools []model.Tool, choice model.ToolChoice) bool {
	if choice.Mode != model.ChoiceRequired && choice.Mode != model.ChoiceNamed {
		return true
	}
	for i := range tools {
		if choice.Mode == model.ChoiceRequired || tools[i].Name == choice.Name {
			return true
		}
	}
	return false
}

// WebURL reports whether s is an http or https URL of bounded length.
func WebURL(s string) bool {
	return len(s) <= maxURL && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://"))
}

// DataURL splits a base64 data URL into m.
func DataURL(s string, m *model.Media) bool {
	head, data, ok := strings.Cut(strings.TrimPrefix(s, "data:"), ";base64,")
	if !ok || !strings.HasPrefix(s, "data:") || head == "" || len(head) > 128 || !IsBase64(data) {
		return false
	}
	m.MIME, _, _ = strings.Cut(head, ";")
	m.Base64 = data
	return IsMIME(m.MIME)
}

// IsMIME reports whether s has the form of a media type without parameters.
func IsMIME(s string) bool {
	return len(s) <= 128 && strings.Count(s, "/") == 1 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.+-_") == ""
}

// IsBase64 checks standard padded base64 without decoding it into memory first.
func IsBase64(s string) bool {
	if s == "" || len(s)%4 != 0 {
		return false
	}
	text := strings.TrimRight(s, "=")
	if len(s)-len(text) > 2 {
		return false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '+' && c != '/' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	_, err := base64.StdEncoding.DecodeString(s[len(s)-4:])
	return err == nil
}
