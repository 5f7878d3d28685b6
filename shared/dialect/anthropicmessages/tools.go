package anthropicmessages

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
		Type         string          `json:"type"`
		Name         string          `json:"name"`
		Description  string          `json:"description"`
		Schema       json.RawMessage `json:"input_schema"`
		Strict       *bool           `json:"strict"`
		CacheControl *cacheControl   `json:"cache_control"`
	}
	if json.Unmarshal(v, &list) != nil || len(list) > body.MaxTools {
		return bad("tools", "tools must be an array of at most 512 tools with name, description and input_schema")
	}
	names := make(map[string]bool, len(list))
	for i := range list {
		t := &list[i]
		at := "tools[" + strconv.Itoa(i) + "]"
		switch {
		case t.Type != "" && t.Type != "custom":
			return bad(at+".type", "only custom tools are offered here; tools that run on the vendor's side are not")
		case !body.ToolName(t.Name):
			return bad(at+".name", "a tool name has 1 to 64 letters, digits, underscores, dots or dashes")
		case names[t.Name]:
			return bad(at+".name", "two tools have the same name")
		case len(t.Schema) == 0 || t.Schema[0] != '{':
			return bad(at+".input_schema", "a tool needs an input_schema object")
		}
		names[t.Name] = true
		ttl, err := t.CacheControl.ttl(at)
		if err != nil {
			return err
		}
		r.Tools = append(r.Tools, model.Tool{Name: t.Name, Description: t.Description, Schema: t.Schema, Strict: t.Strict, CacheTTL: ttl})
	}
	return nil
}

func (f fields) choice(r *model.Request) error {
	v := f.Take("tool_choice")
	if v == nil {
		return nil
	}
	var in struct {
		Type            string `json:"type"`
		Name            string `json:"name"`
		DisableParallel *bool  `json:"disable_parallel_tool_use"`
	}
	const message = "tool_choice must be an object whose type is auto, any, tool (with a name) or none"
	if json.Unmarshal(v, &in) != nil {
		return bad("tool_choice", message)
	}
	switch in.Type {
	case "auto":
		r.ToolChoice.Mode = model.ChoiceAuto
	case "any":
		r.ToolChoice.Mode = model.ChoiceRequired
	case "none":
		r.ToolChoice.Mode = model.ChoiceNone
	case "tool":
		r.ToolChoice = model.ToolChoice{Mode: model.ChoiceNamed, Name: in.Name}
	default:
		return bad("tool_choice", message)
	}
	if in.DisableParallel != nil {
		parallel := !*in.DisableParallel
		r.Parallel = &parallel
	}
	if !body.Offers(r.Tools, r.ToolChoice) {
		return bad("tool_choice", "tool_choice asks for a tool that tools does not offer")
	}
	return nil
}

type cacheControl struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

func (c *cacheControl) ttl(at string) (string, error) {
	switch {
	case c == nil:
		return "", nil
	case c.Type != "ephemeral":
		return "", bad(at+".cache_control.type", "cache_control must have type ephemeral")
	case c.TTL == "" || c.TTL == "5m":
		return "5m", nil
	case c.TTL == "1h":
		return c.TTL, nil
	}
	return "", bad(at+".cache_control.ttl", "ttl must be 5m or 1h")
}
