package openairesponses

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/model"
)

func (f fields) tools(r *model.Request) error {
	v := f.Take("tools")
	if v == nil {
		return nil
	}
	var list []struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	}
	if json.Unmarshal(v, &list) != nil || len(list) > body.MaxTools {
		return bad("tools", "tools must be an array of at most 512 tools of type function")
	}
	names := make(map[string]bool, len(list))
	for i := range list {
		t := &list[i]
		at := "tools[" + strconv.Itoa(i) + "]"
		if string(t.Parameters) == "null" {
			t.Parameters = nil
		}
		switch {
		case t.Type != "function":
			return bad(at+".type", "only tools of type function are offered here; tools that run on the vendor's side are not")
		case !body.ToolName(t.Name):
			return bad(at+".name", "a tool name has 1 to 64 letters, digits, underscores, dots or dashes")
		case names[t.Name]:
			return bad(at+".name", "two tools have the same name")
		case len(t.Parameters) > 0 && t.Parameters[0] != '{':
			return bad(at+".parameters", "parameters must be a JSON schema object")
		}
		names[t.Name] = true
		r.Tools = append(r.Tools, model.Tool{Name: t.Name, Description: t.Description, Schema: t.Parameters, Strict: t.Strict})
	}
	return nil
}

func (f fields) choice(r *model.Request) (err error) {
	if r.Parallel, err = f.Bool("parallel_tool_calls"); err != nil {
		return err
	}
	v := f.Take("tool_choice")
	if v == nil {
		return nil
	}
	const message = "tool_choice must be \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"name\": …}"
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
			Type string `json:"type"`
			Name string `json:"name"`
		}
		if json.Unmarshal(v, &in) != nil || in.Type != "function" || in.Name == "" {
			return bad("tool_choice", message)
		}
		r.ToolChoice = model.ToolChoice{Mode: model.ChoiceNamed, Name: in.Name}
	}
	if !body.Offers(r.Tools, r.ToolChoice) {
		return bad("tool_choice", "tool_choice asks for a tool that tools does not offer")
	}
	return nil
}
