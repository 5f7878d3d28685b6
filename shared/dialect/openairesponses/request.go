package openairesponses

import (
	"encoding/json"
	"math"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

const op = "openairesponses.ParseRequest"

// Dialect is the [model.Request.Dialect] of this dialect.
const Dialect = model.DialectResponses

// nativeFormat is the [model.Reasoned] format of reasoning items of a vendor of
// this dialect, as OpenRouter names it (its reasoning documentation, 2026-11).
const nativeFormat = "openai-responses-v1"

// Meta is what the answer repeats of the request.
type Meta struct {
	Instructions string
	// Tools and ToolChoice are the client's JSON, nil if absent.
	Tools, ToolChoice json.RawMessage
	Metadata          json.RawMessage
}

func bad(param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

func badMedia(param, message string) error {
	return fault.New(fault.UnsupportedMedia, op, message).WithParam(param)
}

type fields struct{ *body.Object }

// ParseRequest reads the body of POST /v1/responses. It fails with
// fault.InvalidRequest or fault.UnsupportedMedia.
func ParseRequest(text []byte) (*model.Request, Meta, error) {
	object, err := body.Parse(op, text)
	if err != nil {
		return nil, Meta{}, err
	}
	f := fields{object}
	r := &model.Request{Dialect: Dialect}
	meta := Meta{Tools: f.Peek("tools"), ToolChoice: f.Peek("tool_choice"), Metadata: f.Peek("metadata")}
	for _, step := range []func(*model.Request) error{f.refuse, f.basics, meta.instructions(f), f.input, f.tools, f.choice, f.text,
		f.sampling, f.reasoning} {
		if err := step(r); err != nil {
			return nil, Meta{}, err
		}
	}
	if r.Extra, err = f.Rest(); err != nil {
		return nil, Meta{}, err
	}
	return r, meta, nil
}

// refuse turns down what needs a store, and takes what has no meaning without
// one.
func (f fields) refuse(*model.Request) error {
	for _, name := range [...]string{"previous_response_id", "conversation", "prompt"} {
		if f.Take(name) != nil {
			return bad(name, "nothing is stored here: send the whole conversation as input")
		}
	}
	for _, name := range [...]string{"store", "background"} {
		on, err := f.Bool(name)
		if err != nil {
			return err
		}
		if on != nil && *on {
			return bad(name, "nothing is stored here: leave "+name+" out or false")
		}
	}
	how, err := f.String("truncation")
	if err != nil {
		return err
	}
	if how != "" && how != "disabled" {
		return bad("truncation", "the input is never cut: truncation must be disabled")
	}
	return f.include()
}

func (f fields) include() error {
	v := f.Take("include")
	if v == nil {
		return nil
	}
	var words []string
	if json.Unmarshal(v, &words) != nil {
		return bad("include", "include must be an array of words")
	}
	for _, w := range words {
		// It is always included. Results of tools that run nowhere are never there.
		if w == "message.output_text.logprobs" {
			return bad("include", "logprobs are not offered in this dialect")
		}
	}
	return nil
}

func (f fields) basics(r *model.Request) (err error) {
	if r.Model, err = f.String("model"); err != nil {
		return err
	}
	if r.Model == "" || len(r.Model) > body.MaxName {
		return bad("model", "model is required, for example \"openrouter/openai/gpt-4o-mini\"")
	}
	if r.User, err = f.String("user"); err != nil {
		return err
	}
	if len(r.User) > body.MaxName {
		return bad("user", "user is longer than 256 characters")
	}
	stream, err := f.Bool("stream")
	if err != nil {
		return err
	}
	r.Stream = stream != nil && *stream
	_ = f.Take("stream_options")
	limit, err := f.Int("max_output_tokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if limit != nil {
		r.MaxOutputTokens = int(*limit)
	}
	return nil
}

func (m *Meta) instructions(f fields) func(*model.Request) error {
	return func(r *model.Request) (err error) {
		if m.Instructions, err = f.String("instructions"); err != nil {
			return err
		}
		if m.Instructions != "" {
			r.Messages = append(r.Messages, model.Message{Role: model.RoleSystem, Parts: []model.Part{model.Text(m.Instructions)}})
		}
		return nil
	}
}

func (f fields) sampling(r *model.Request) (err error) {
	s := &r.Sampling
	if s.Temperature, err = f.Float("temperature", 0, 2); err != nil {
		return err
	}
	s.TopP, err = f.Float("top_p", 0, 1)
	return err
}

// efforts are the words of the dialect; which of them a model takes is the
// vendor's matter.
var efforts = map[string]bool{"none": true, "minimal": true, "low": true, "medium": true, "high": true, "xhigh": true, "max": true}

func (f fields) reasoning(r *model.Request) error {
	v := f.Take("reasoning")
	if v == nil {
		return nil
	}
	var in struct {
		Effort string `json:"effort"`
	}
	if json.Unmarshal(v, &in) != nil {
		return bad("reasoning", "reasoning must be an object with an effort")
	}
	if in.Effort != "" && !efforts[in.Effort] {
		return bad("reasoning.effort", "the effort must be none, minimal, low, medium, high, xhigh or max")
	}
	r.Reasoning.Effort = in.Effort
	return nil
}

func (f fields) text(r *model.Request) error {
	v := f.Take("text")
	if v == nil {
		return nil
	}
	var in struct {
		Format *struct {
			Type        string          `json:"type"`
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Schema      json.RawMessage `json:"schema"`
			Strict      *bool           `json:"strict"`
		} `json:"format"`
		Verbosity json.RawMessage `json:"verbosity"`
	}
	if json.Unmarshal(v, &in) != nil {
		return bad("text", "text must be an object with a format")
	}
	if s := string(in.Verbosity); s != "" && s != "null" && s != `"medium"` {
		return bad("text.verbosity", "verbosity is not offered in this dialect; say it in the instructions")
	}
	if in.Format == nil {
		return nil
	}
	switch in.Format.Type {
	case "text":
	case "json_object":
		r.Output.Kind = model.OutputJSONObject
	case "json_schema":
		if len(in.Format.Schema) == 0 || in.Format.Schema[0] != '{' {
			return bad("text.format.schema", "json_schema needs a schema object")
		}
		if !body.ToolName(in.Format.Name) {
			return bad("text.format.name", "a schema name has 1 to 64 letters, digits, underscores, dots or dashes")
		}
		r.Output = model.Output{Kind: model.OutputJSONSchema, Name: in.Format.Name, Description: in.Format.Description,
			Schema: in.Format.Schema, Strict: in.Format.Strict}
	default:
		return bad("text.format.type", "the type must be text, json_object or json_schema")
	}
	return nil
}
