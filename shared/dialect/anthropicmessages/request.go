package anthropicmessages

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

const op = "anthropicmessages.ParseRequest"

// API versions that are understood. In the later one temperature, top_p and
// top_k do not exist (vendor documentation, 2026-10).
const (
	Version2023 = "2023-06-01"
	Version2026 = "2026-10-21"
)

// nativeFormat is the [model.Reasoned] format of thinking that a vendor of this
// dialect made, as OpenRouter names it (its reasoning documentation, 2026-11).
const nativeFormat = "anthropic-claude-v1"

func bad(param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

func badMedia(param, message string) error {
	return fault.New(fault.UnsupportedMedia, op, message).WithParam(param)
}

type fields struct {
	*body.Object
	version string
	// counting says that the body is one of count_tokens, which needs no
	// max_tokens.
	counting bool
}

// ParseRequest reads the body of POST /v1/messages. version is the
// anthropic-version header; absent means the first. It fails with
// fault.InvalidRequest or fault.UnsupportedMedia.
func ParseRequest(text []byte, version string) (*model.Request, error) {
	return parse(text, version, false)
}

// ParseCount reads the body of POST /v1/messages/count_tokens. Errors as
// [ParseRequest].
func ParseCount(text []byte, version string) (*model.Request, error) {
	return parse(text, version, true)
}

func parse(text []byte, version string, counting bool) (*model.Request, error) {
	switch version {
	case "":
		version = Version2023
	case Version2023, Version2026:
	default:
		return nil, bad("anthropic-version", "the API version must be "+Version2023+" or "+Version2026)
	}
	object, err := body.Parse(op, text)
	if err != nil {
		return nil, err
	}
	f := fields{object, version, counting}
	r := &model.Request{Dialect: model.DialectMessages}
	for _, step := range []func(*model.Request) error{f.basics, f.system, f.messages, f.tools, f.choice, f.sampling, f.thinking, f.output, f.refuse} {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	if r.Extra, err = f.Rest(); err != nil {
		return nil, err
	}
	return r, nil
}

func (f fields) basics(r *model.Request) (err error) {
	if r.Model, err = f.String("model"); err != nil {
		return err
	}
	if r.Model == "" || len(r.Model) > body.MaxName {
		return bad("model", "model is required, for example \"openrouter/openai/gpt-4o-mini\"")
	}
	limit, err := f.Int("max_tokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	switch {
	case limit != nil:
		r.MaxOutputTokens = int(*limit)
	case !f.counting:
		return bad("max_tokens", "max_tokens is required: the most tokens the answer may have")
	}
	stream, err := f.Bool("stream")
	if err != nil {
		return err
	}
	r.Stream = stream != nil && *stream
	if v := f.Take("metadata"); v != nil {
		var in struct {
			UserID string `json:"user_id"`
		}
		if json.Unmarshal(v, &in) != nil || len(in.UserID) > body.MaxName {
			return bad("metadata", "metadata must be an object with a user_id of at most 256 characters")
		}
		r.User = in.UserID
	}
	if v := f.Take("stop_sequences"); v != nil && (json.Unmarshal(v, &r.Stop) != nil || len(r.Stop) > body.MaxStops) {
		return bad("stop_sequences", "stop_sequences must be an array of at most 16 strings")
	}
	return nil
}

func (f fields) system(r *model.Request) error {
	v := f.Take("system")
	if v == nil {
		return nil
	}
	parts, err := content(v, "system")
	if err != nil {
		return err
	}
	for i := range parts {
		if parts[i].Kind != model.PartText {
			return bad("system["+strconv.Itoa(i)+"].type", "system holds text only")
		}
	}
	if len(parts) > 0 {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleSystem, Parts: parts})
	}
	return nil
}

func (f fields) sampling(r *model.Request) (err error) {
	s := &r.Sampling
	if s.Temperature, err = f.Float("temperature", 0, 1); err != nil {
		return err
	}
	if s.TopP, err = f.Float("top_p", 0, 1); err != nil {
		return err
	}
	topK, err := f.Int("top_k", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if topK != nil {
		k := int(*topK)
		s.TopK = &k
	}
	if f.version != Version2023 {
		for name, given := range map[string]bool{"temperature": s.Temperature != nil, "top_p": s.TopP != nil, "top_k": s.TopK != nil} {
			if given {
				return bad(name, name+" does not exist in API version "+f.version+"; leave it out")
			}
		}
	}
	return nil
}

func (f fields) thinking(r *model.Request) error {
	v := f.Take("thinking")
	if v == nil {
		return nil
	}
	var in struct {
		Type    string `json:"type"`
		Budget  int    `json:"budget_tokens"`
		Display string `json:"display"`
	}
	if json.Unmarshal(v, &in) != nil {
		return bad("thinking", "thinking must be an object with a type")
	}
	on := true
	switch in.Type {
	case "enabled":
		if in.Budget < 1 {
			return bad("thinking.budget_tokens", "enabled thinking needs budget_tokens")
		}
		r.Reasoning.MaxTokens = in.Budget
	case "adaptive":
	case "disabled":
		on = false
	default:
		return bad("thinking.type", "the type must be enabled, adaptive or disabled")
	}
	switch in.Display {
	case "", "summarized", "full":
	case "omitted":
		r.Reasoning.Exclude = true
	default:
		return bad("thinking.display", "display must be summarized, full or omitted")
	}
	r.Reasoning.Enabled = &on
	return nil
}

// efforts are the words of the dialect; which a model takes is the vendor's
// matter.
var efforts = map[string]bool{"none": true, "minimal": true, "low": true, "medium": true, "high": true, "xhigh": true, "max": true}

func (f fields) output(r *model.Request) error {
	type format struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	var in struct {
		Effort string  `json:"effort"`
		Format *format `json:"format"`
	}
	at := "output_config"
	if v := f.Take("output_config"); v != nil && json.Unmarshal(v, &in) != nil {
		return bad(at, "output_config must be an object with effort or format")
	}
	// The beta's name of the same thing.
	if v := f.Take("output_format"); v != nil && in.Format == nil {
		at = "output_format"
		in.Format = &format{}
		if json.Unmarshal(v, in.Format) != nil {
			return bad(at, "output_format must be an object with a type and a schema")
		}
	}
	if in.Effort != "" && !efforts[in.Effort] {
		return bad("output_config.effort", "the effort must be none, minimal, low, medium, high, xhigh or max")
	}
	r.Reasoning.Effort = in.Effort
	if in.Format == nil {
		return nil
	}
	if in.Format.Type != "json_schema" || len(in.Format.Schema) == 0 || in.Format.Schema[0] != '{' {
		return bad(at, "the output format must be of type json_schema with a schema object")
	}
	strict := true
	r.Output = model.Output{Kind: model.OutputJSONSchema, Name: "answer", Schema: in.Format.Schema, Strict: &strict}
	return nil
}

// refuse turns down what would change the meaning of the call and that nobody
// here could honour.
func (f fields) refuse(*model.Request) error {
	for _, name := range [...]string{"mcp_servers", "container"} {
		if f.Take(name) != nil {
			return bad(name, name+" runs on the vendor's side and is not offered here; leave it out")
		}
	}
	return nil
}
