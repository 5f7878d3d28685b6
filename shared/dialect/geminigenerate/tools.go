package geminigenerate

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/model"
)

type wireDeclaration struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Schema      json.RawMessage `json:"parametersJsonSchema"`
	Schema2     json.RawMessage `json:"parameters_json_schema"`
}

func (f fields) tools(r *model.Request) error {
	v := f.take("tools")
	if v == nil {
		return nil
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(v, &list) != nil || len(list) > body.MaxTools {
		return bad("tools", "tools must be an array of {\"functionDeclarations\": […]}")
	}
	names := map[string]bool{}
	for i, tool := range list {
		at := "tools[" + strconv.Itoa(i) + "]"
		for member, value := range tool {
			if member != "functionDeclarations" && member != "function_declarations" && string(value) != "null" {
				return bad(at+"."+member, "only functionDeclarations are offered here; tools that run on the vendor's side are not")
			}
		}
		raw := tool["functionDeclarations"]
		if raw == nil {
			raw = tool["function_declarations"]
		}
		var declared []wireDeclaration
		if raw != nil && json.Unmarshal(raw, &declared) != nil {
			return bad(at+".functionDeclarations", "functionDeclarations must be an array of functions with a name")
		}
		for j := range declared {
			if err := declared[j].add(r, names, at+".functionDeclarations["+strconv.Itoa(j)+"]"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *wireDeclaration) add(r *model.Request, names map[string]bool, at string) error {
	switch {
	case !body.ToolName(d.Name):
		return bad(at+".name", "a function name has 1 to 64 letters, digits, underscores, dots or dashes")
	case names[d.Name]:
		return bad(at+".name", "two functions have the same name")
	case len(r.Tools) >= body.MaxTools:
		return bad("tools", "a request can offer at most 512 functions")
	}
	names[d.Name] = true
	schema := d.Schema
	if schema == nil {
		schema = d.Schema2
	}
	if schema == nil && d.Parameters != nil && string(d.Parameters) != "null" {
		var err error
		if schema, err = lowerTypes(d.Parameters); err != nil {
			return bad(at+".parameters", "parameters must be a schema object")
		}
	}
	if len(schema) > 0 && schema[0] != '{' {
		return bad(at+".parameters", "parameters must be a schema object")
	}
	r.Tools = append(r.Tools, model.Tool{Name: d.Name, Description: d.Description, Schema: schema})
	return nil
}

func (f fields) toolConfig(r *model.Request) error {
	v := f.take("toolConfig")
	if v == nil {
		return nil
	}
	type calling struct {
		Mode     string   `json:"mode"`
		Allowed  []string `json:"allowedFunctionNames"`
		Allowed2 []string `json:"allowed_function_names"`
	}
	var in struct {
		Calling  *calling `json:"functionCallingConfig"`
		Calling2 *calling `json:"function_calling_config"`
	}
	if json.Unmarshal(v, &in) != nil {
		return bad("toolConfig", "toolConfig must be an object with functionCallingConfig")
	}
	c := first(in.Calling, in.Calling2)
	if c == nil {
		return nil
	}
	const at = "toolConfig.functionCallingConfig"
	allowed := c.Allowed
	if len(allowed) == 0 {
		allowed = c.Allowed2
	}
	switch strings.ToUpper(c.Mode) {
	case "", "MODE_UNSPECIFIED", "AUTO", "VALIDATED":
		r.ToolChoice.Mode = model.ChoiceAuto
	case "NONE":
		r.ToolChoice.Mode = model.ChoiceNone
	case "ANY":
		r.ToolChoice.Mode = model.ChoiceRequired
	default:
		return bad(at+".mode", "the mode must be AUTO, ANY or NONE")
	}
	if len(allowed) > 0 {
		if r.ToolChoice.Mode != model.ChoiceRequired {
			return bad(at+".allowedFunctionNames", "allowedFunctionNames needs mode ANY")
		}
		if err := allow(r, allowed, at+".allowedFunctionNames"); err != nil {
			return err
		}
	}
	if !body.Offers(r.Tools, r.ToolChoice) {
		return bad(at+".mode", "the mode asks for a function that tools does not offer")
	}
	return nil
}

// allow keeps the named functions only: other dialects can force one function or
// any, so a choice among some is made by offering no others.
func allow(r *model.Request, names []string, at string) error {
	var kept []model.Tool
	for _, t := range r.Tools {
		for _, n := range names {
			if n == t.Name {
				kept = append(kept, t)
				break
			}
		}
	}
	if len(kept) == 0 {
		return bad(at, "tools offers none of the allowed functions")
	}
	if len(kept) == 1 {
		r.ToolChoice = model.ToolChoice{Mode: model.ChoiceNamed, Name: kept[0].Name}
		return nil
	}
	r.Tools = kept
	return nil
}

// lowerTypes turns the API's own schema form into JSON schema: its type names
// are upper case. Everything else, and the order of keys, stays as it is.
func lowerTypes(schema json.RawMessage) (json.RawMessage, error) {
	var out bytes.Buffer
	dec := json.NewDecoder(bytes.NewReader(schema))
	var check map[string]json.RawMessage
	if err := json.Unmarshal(schema, &check); err != nil {
		return nil, err
	}
	dec.UseNumber()
	w := &schemaWriter{dec: dec, out: &out}
	if err := w.value(""); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var schemaTypes = map[string]string{"STRING": "string", "NUMBER": "number", "INTEGER": "integer", "BOOLEAN": "boolean",
	"ARRAY": "array", "OBJECT": "object", "NULL": "null"}

// schemaWriter copies JSON tokens. Depth is bounded by the check of the body.
type schemaWriter struct {
	dec *json.Decoder
	out *bytes.Buffer
}

func (w *schemaWriter) value(key string) error {
	tok, err := w.dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		if s, isText := tok.(string); isText && key == "type" && schemaTypes[s] != "" {
			tok = schemaTypes[s]
		}
		raw, err := json.Marshal(tok)
		w.out.Write(raw)
		return err
	}
	w.out.WriteString(delim.String())
	for n := 0; w.dec.More(); n++ {
		if n > 0 {
			w.out.WriteByte(',')
		}
		// Members of properties are names, not keywords.
		inner := key
		if delim == '{' {
			name, err := w.dec.Token()
			if err != nil {
				return err
			}
			raw, err := json.Marshal(name)
			if err != nil {
				return err
			}
			w.out.Write(append(raw, ':'))
			inner, _ = name.(string)
			if key == "properties" {
				inner = ""
			}
		}
		if err := w.value(inner); err != nil {
			return err
		}
	}
	end, err := w.dec.Token()
	if err == nil {
		w.out.WriteString(end.(json.Delim).String())
	}
	return err
}
