package tool_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/fault"
)

const order = `{"type":"object","properties":{"id":{"type":"string","pattern":"^[A-Z]{2}$"},"n":{"type":"integer","minimum":1,"maximum":9},
	"size":{"type":"number"},"tags":{"type":"array","items":{"type":"string","minLength":2,"maxLength":3},"minItems":1,"maxItems":2},"kind":{"type":"string","enum":["a","b"]},
	"at":{"type":["string","null"]},"who":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":true},"one":{"type":"integer","const":7},"yes":{"type":"boolean"}},"required":["id"]}`

func TestArguments(t *testing.T) {
	s, err := tool.ParseSchema(json.RawMessage(order))
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		`{"id":"AB"}`: "",
		`{"id":"AB","n":9,"size":1.5,"tags":["xx"],"kind":"b","at":null,"who":{"name":"x","more":1},"one":7,"yes":false}`: "",
		`{"id":"AB"} x`:                     "not valid JSON",
		`{"id":"AB"`:                        "not valid JSON",
		`[]`:                                "must be of type object",
		`{}`:                                "arguments.id is missing",
		`{"id":5}`:                          "arguments.id must be of type string",
		`{"id":"ABC"}`:                      "arguments.id does not match",
		`{"id":"AB","n":0}`:                 "arguments.n is outside",
		`{"id":"AB","n":10}`:                "arguments.n is outside",
		`{"id":"AB","n":1.5}`:               "arguments.n must be of type integer",
		`{"id":"AB","size":"1"}`:            "arguments.size must be",
		`{"id":"AB","size":1e999}`:          "arguments.size is outside",
		`{"id":"AB","tags":[]}`:             "arguments.tags has too few",
		`{"id":"AB","tags":["x","yy"]}`:     "arguments.tags[0] is too short",
		`{"id":"AB","tags":["ééé","yyyy"]}`: "arguments.tags[1] is too short or too long",
		`{"id":"AB","kind":"c"}`:            "arguments.kind is not one",
		`{"id":"AB","at":1}`:                "arguments.at must be",
		`{"id":"AB","who":{}}`:              "arguments.who.name is missing",
		`{"id":"AB","one":8}`:               "arguments.one is not one",
		`{"id":"AB","yes":null}`:            "arguments.yes must be",
		`{"id":"AB","drop":"table"}`:        `not declared: "drop"`,
		`{"id":"` + strings.Repeat("A", 33<<10) + `"}`: "larger than 32 KiB",
	} {
		if _, got := s.Check(args); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%.60s: %q, want %q", args, got, want)
		}
	}
}

func TestSchemasThatAreRefused(t *testing.T) {
	object := func(p string) string { return `{"type":"object","properties":{"x":` + p + `}}` }
	deep := `{"type":"string"}`
	for range 6 {
		deep = object(deep)
	}
	for name, s := range map[string]string{
		"nothing": "", "no object": `{"type":"string"}`, "no schema": `[]`, "two values": `{"type":"object"} {}`, "no type": object(`{}`),
		"not enforced": object(`{"type":"string","oneOf":[]}`), "a reference": object(`{"$ref":"#/x"}`), "unknown type": object(`{"type":"date"}`),
		"undeclared required": `{"type":"object","required":["x"]}`, "pattern": object(`{"type":"string","pattern":"("}`), "long pattern": object(`{"type":"string","pattern":"` + strings.Repeat("a", 201) + `"}`),
		"negative length": object(`{"type":"string","minLength":-1}`), "text as a number": object(`{"type":"integer","minimum":"1"}`), "empty enum": object(`{"type":"string","enum":[]}`),
		"enum of objects": object(`{"type":"string","enum":[{}]}`), "open as a schema": `{"type":"object","additionalProperties":{"type":"string"}}`,
		"too deep": deep, "too large": object(`{"type":"string","description":"` + strings.Repeat("a", 17<<10) + `"}`),
	} {
		if _, err := tool.ParseSchema(json.RawMessage(s)); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "parameters" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSchema: no schema and no arguments bring it down, and what a schema admits is
// one JSON object.
func FuzzSchema(f *testing.F) {
	f.Add(order, `{"id":"AB"}`)
	f.Add(`{"type":"object","additionalProperties":true}`, `{"a":{"b":[1,null]}}`)
	f.Add(`{"type":["object"],"properties":{"x":{"type":"array","items":{"type":"integer","maximum":1e400}}}}`, `{"x":[1e400]}`)
	f.Fuzz(func(t *testing.T, schema, args string) {
		s, err := tool.ParseSchema(json.RawMessage(schema))
		if err != nil {
			return
		}
		m, wrong := s.Check(args)
		if wrong == "" && (m == nil || !json.Valid([]byte(args))) {
			t.Fatalf("%q admits %q", schema, args)
		}
	})
}
