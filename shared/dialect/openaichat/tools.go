package openaichat

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/model"
)

func (f fields) tools(r *model.Request, _ *Meta) error {
	v := f.Take("tools")
	if v == nil {
		return nil
	}
	var list []struct {
		Type     string `json:"type"`
		Function *struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
			Strict      *bool           `json:"strict"`
		} `json:"function"`
		CacheControl *cacheControl `json:"cache_control"`
	}
	if json.Unmarshal(v, &list) != nil {
		return bad("tools", "tools must be an array of {\"type\": \"function\", \"function\": {…}}")
	}
	if len(list) > body.MaxTools {
		return bad("tools", "a request can offer at most 512 tools")
	}
	names := make(map[string]bool, len(list))
	for i := range list {
		t := &list[i]
		at := "tools[" + strconv.Itoa(i) + "]"
		if t.Type != "function" || t.Function == nil {
			return bad(at+".type", "only tools of type function are supported here")
		}
		fn := t.Function
		if !body.ToolName(fn.Name) {
			return bad(at+".function.name", "a tool name has 1 to 64 letters, digits, underscores, dots or dashes")
		}
		if names[fn.Name] {
			return bad(at+".function.name", "two tools have the same name")
		}
		names[fn.Name] = true
		if len(fn.Parameters) > 0 && fn.Parameters[0] != '{' && string(fn.Parameters) != "null" {
			return bad(at+".function.parameters", "parameters must be a JSON schema object")
		}
		if string(fn.Parameters) == "null" {
			fn.Parameters = nil
		}
		ttl, err := t.CacheControl.ttl(at)
		if err != nil {
			return err
		}
		r.Tools = append(r.Tools, model.Tool{Name: fn.Name, Description: fn.Description, Schema: fn.Parameters, Strict: fn.Strict, CacheTTL: ttl})
	}
	return nil
}

func (f fields) choice(r *model.Request, _ *Meta) (err error) {
	if r.Parallel, err = f.Bool("parallel_tool_calls"); err != nil {
		return err
	}
	v := f.Take("tool_choice")
	if v == nil {
		return nil
	}
	const message = "tool_choice must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}"
	if v[0] == '"' {
		var mode string
		_ = json.Unmarshal(v, &mode)
		switch m := model.ChoiceMode(mode); m {
		case model.ChoiceNone, model.ChoiceAuto, model.ChoiceRequired:
			r.ToolChoice.Mode = m
		default:
			return bad("tool_choice", message)
		}
	} else {
		var in struct {
			Type     string `json:"type"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		if json.Unmarshal(v, &in) != nil || in.Type != "function" || in.Function.Name == "" {
			return bad("tool_choice", message)
		}
		r.ToolChoice = model.ToolChoice{Mode: model.ChoiceNamed, Name: in.Function.Name}
	}
	if body.Offers(r.Tools, r.ToolChoice) {
		return nil
	}
	return bad("tool_choice", "tool_choice asks for a tool that tools does not offer")
}

func (f fields) output(r *model.Request, _ *Meta) error {
	v := f.Take("response_format")
	if v == nil {
		return nil
	}
	var in struct {
		Type   string `json:"type"`
		Schema *struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Schema      json.RawMessage `json:"schema"`
			Strict      *bool           `json:"strict"`
		} `json:"json_schema"`
	}
	if json.Unmarshal(v, &in) != nil {
		return bad("response_format", "response_format must be an object with a type")
	}
	switch in.Type {
	case "text":
	case "json_object":
		r.Output.Kind = model.OutputJSONObject
	case "json_schema":
		if in.Schema == nil || len(in.Schema.Schema) == 0 || in.Schema.Schema[0] != '{' {
			return bad("response_format.json_schema", "json_schema needs a schema object")
		}
		if !body.ToolName(in.Schema.Name) {
			return bad("response_format.json_schema.name", "a schema name has 1 to 64 letters, digits, underscores, dots or dashes")
		}
		r.Output = model.Output{Kind: model.OutputJSONSchema, Name: in.Schema.Name, Description: in.Schema.Description,
			Schema: in.Schema.Schema, Strict: in.Schema.Strict}
	default:
		return bad("response_format.type", "the type must be text, json_object or json_schema")
	}
	return nil
}
