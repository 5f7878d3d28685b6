package responsesapi

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// sameMeaning are fields of the chat dialect that the format has as well.
var sameMeaning = [...]string{"metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier"}

func (c *Chat) encode(r *model.Request, stream bool) ([]byte, error) {
	if err := c.admit(r); err != nil {
		return nil, err
	}
	o := jsonwire.Begin(make([]byte, 0, 2048))
	o.String("model", r.Model)
	o.Name("input")
	var err error
	if o.B, err = c.input(o.B, r.Messages); err != nil {
		return nil, err
	}
	appendTools(&o, r)
	if err := c.text(&o, &r.Output); err != nil {
		return nil, err
	}
	if r.MaxOutputTokens > 0 {
		o.Int("max_output_tokens", int64(r.MaxOutputTokens))
	}
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"temperature", r.Sampling.Temperature}, {"top_p", r.Sampling.TopP}} {
		if f.v == nil {
			continue
		}
		if math.IsNaN(*f.v) || math.IsInf(*f.v, 0) {
			return nil, c.refuse(f.name, "the value must be a finite number")
		}
		o.Name(f.name)
		o.B = jsonwire.AppendFloat(o.B, *f.v)
	}
	effort := r.Reasoning.Effort
	if effort == "" && r.Reasoning.Enabled != nil {
		if effort = "medium"; !*r.Reasoning.Enabled {
			effort = "none"
		}
	}
	if effort != "" {
		o.Name("reasoning")
		e := jsonwire.Begin(o.B)
		e.String("effort", effort)
		o.B = e.End()
	}
	o.Raw("include", []byte(`["reasoning.encrypted_content"]`))
	o.Bool("store", false)
	o.StringIf("user", r.User)
	if stream {
		o.Bool("stream", true)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if carries(r.Dialect, name) && json.Valid(r.Extra[name]) {
			o.B = append(o.B, ',')
			o.B = append(append(jsonwire.AppendString(o.B, name), ':'), r.Extra[name]...)
		}
	}
	return o.End(), nil
}

// carries reports whether an unknown field of a dialect is sent.
func carries(dialect, name string) bool {
	switch dialect {
	case model.DialectChat:
		return slices.Contains(sameMeaning[:], name)
	case model.DialectResponses:
		return !owned[name]
	}
	return false
}

// owned are the fields this package writes itself, or that would make the vendor
// keep state.
var owned = map[string]bool{"model": true, "input": true, "instructions": true, "tools": true, "tool_choice": true, "text": true,
	"max_output_tokens": true, "temperature": true, "top_p": true, "reasoning": true, "include": true, "store": true, "user": true,
	"stream": true, "stream_options": true, "parallel_tool_calls": true, "previous_response_id": true, "conversation": true,
	"background": true, "truncation": true, "prompt": true}

// Uncarried implements [model.Carrier].
func (c *Chat) Uncarried(_ string, r *model.Request) (out []string) {
	for _, name := range [...]string{model.FieldTopK, model.FieldFrequencyPenalty, model.FieldPresencePenalty, model.FieldSeed} {
		if r.Sampling.Has(name) {
			out = append(out, name)
		}
	}
	for name := range r.Extra {
		if !carries(r.Dialect, name) {
			out = append(out, name)
		}
	}
	return out
}

func (c *Chat) admit(r *model.Request) error {
	s := &r.Sampling
	switch {
	case r.Model == "":
		return c.refuse("model", "a model name is required")
	case len(r.Messages) == 0:
		return c.refuse("messages", "at least one message is required")
	case r.Reasoning.MaxTokens > 0:
		return c.refuse("reasoning", "this model takes a reasoning effort, not a token budget")
	}
	for _, p := range [...]struct {
		name string
		used bool
	}{{"top_k", s.TopK != nil}, {"frequency_penalty", s.FrequencyPenalty != nil}, {"presence_penalty", s.PresencePenalty != nil},
		{"seed", s.Seed != nil}, {"stop", len(r.Stop) > 0}} {
		if p.used {
			return c.refuse(p.name, "this model does not have this option, leave it out or choose another model")
		}
	}
	return nil
}

func appendTools(o *jsonwire.Object, r *model.Request) {
	if len(r.Tools) > 0 {
		o.Name("tools")
		o.B = append(o.B, '[')
		for i := range r.Tools {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			t := &r.Tools[i]
			f := jsonwire.Begin(o.B)
			f.String("type", "function")
			f.String("name", t.Name)
			f.StringIf("description", t.Description)
			if len(t.Schema) > 0 {
				f.Raw("parameters", t.Schema)
			} else {
				f.Raw("parameters", []byte(`{"type":"object","properties":{}}`))
			}
			// Unlike chat completions, the format is strict unless told otherwise.
			f.Bool("strict", t.Strict != nil && *t.Strict)
			o.B = f.End()
		}
		o.B = append(o.B, ']')
	}
	switch r.ToolChoice.Mode {
	case model.ChoiceDefault:
	case model.ChoiceNamed:
		o.Name("tool_choice")
		n := jsonwire.Begin(o.B)
		n.String("type", "function")
		n.String("name", r.ToolChoice.Name)
		o.B = n.End()
	default:
		o.String("tool_choice", string(r.ToolChoice.Mode))
	}
	if r.Parallel != nil {
		o.Bool("parallel_tool_calls", *r.Parallel)
	}
}

func (c *Chat) text(o *jsonwire.Object, out *model.Output) error {
	switch out.Kind {
	case model.OutputText:
		return nil
	case model.OutputJSONObject:
		o.Raw("text", []byte(`{"format":{"type":"json_object"}}`))
		return nil
	case model.OutputJSONSchema:
		o.Name("text")
		o.B = append(o.B, `{"format":`...)
		f := jsonwire.Begin(o.B)
		f.String("type", "json_schema")
		name := out.Name
		if name == "" {
			name = "output"
		}
		f.String("name", name)
		f.StringIf("description", out.Description)
		if out.Strict != nil {
			f.Bool("strict", *out.Strict)
		}
		schema := out.Schema
		if len(schema) == 0 {
			schema = []byte("{}")
		}
		f.Raw("schema", schema)
		o.B = append(f.End(), '}')
		return nil
	}
	return c.refuse("response_format", "this response format is not known")
}
