package chatcompletions

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Encode is the body that would be sent for a request. It exists for tools that
// show a translation; [Chat.Complete] and [Chat.Stream] use the same bytes.
func (c *Chat) Encode(r *model.Request, stream bool) ([]byte, error) { return c.encode(r, stream) }

// encoder writes one request; m is the row of its model.
type encoder struct {
	*Chat
	m *Model
}

func (c *Chat) encode(r *model.Request, stream bool) ([]byte, error) {
	return (&encoder{c, c.c.row(r.Model)}).request(r, stream)
}

func (c *encoder) request(r *model.Request, stream bool) ([]byte, error) {
	if r.Model == "" {
		return nil, c.refuse("model", "a model name is required")
	}
	if len(r.Messages) == 0 {
		return nil, c.refuse("messages", "at least one message is required")
	}
	if err := c.admit(r); err != nil {
		return nil, err
	}
	o := jsonwire.Begin(make([]byte, 0, sizeHint(r)))
	o.String("model", r.Model)
	o.Name("messages")
	var err error
	if o.B, err = c.messages(o.B, r.Messages); err != nil {
		return nil, err
	}
	c.tools(&o, r)
	if err := c.output(&o, r); err != nil {
		return nil, err
	}
	if r.MaxOutputTokens > 0 {
		o.Int(c.c.MaxTokensField, int64(r.MaxOutputTokens))
	}
	if err := c.sampling(&o, &r.Sampling); err != nil {
		return nil, err
	}
	if len(r.Stop) > 0 {
		o.Name("stop")
		o.B = appendStrings(o.B, r.Stop)
	}
	if err := c.reasoning(&o, r); err != nil {
		return nil, err
	}
	if !c.c.NoUser {
		o.StringIf("user", r.User)
	}
	if c.c.CacheKey {
		o.StringIf(cacheKey, r.CacheKey)
	}
	if stream {
		o.Bool("stream", true)
		if !c.c.NoStreamOptions {
			o.Raw("stream_options", []byte(`{"include_usage":true}`))
		}
	}
	if err := c.extra(&o, r); err != nil {
		return nil, err
	}
	if r.Strict && c.c.Strict.Name != "" && !c.says(r, c.c.Strict.Name) {
		o.Raw(c.c.Strict.Name, []byte(c.c.Strict.JSON))
	}
	return o.End(), nil
}

// sizeHint avoids growing the buffer for the usual request.
func sizeHint(r *model.Request) int {
	n := 512
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			p := &r.Messages[i].Parts[j]
			n += 64 + len(p.Text) + len(p.Text)/16
			if p.Media != nil {
				n += len(p.Media.Base64) + len(p.Media.URL) + 128
			}
			if p.Call != nil {
				n += len(p.Call.Args)*9/8 + 128
			}
			if p.Result != nil {
				n += len(p.Result.Text())*9/8 + 128
			}
		}
	}
	for i := range r.Tools {
		n += len(r.Tools[i].Schema) + len(r.Tools[i].Description) + 128
	}
	return n + len(r.Output.Schema)
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonwire.AppendString(b, s)
	}
	return append(b, ']')
}

func (c *encoder) tools(o *jsonwire.Object, r *model.Request) {
	if len(r.Tools) > 0 {
		o.Name("tools")
		o.B = append(o.B, '[')
		for i := range r.Tools {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			o.B = c.tool(o.B, &r.Tools[i])
		}
		o.B = append(o.B, ']')
	}
	switch r.ToolChoice.Mode {
	case model.ChoiceDefault:
	case model.ChoiceNamed:
		o.Name("tool_choice")
		o.B = append(o.B, `{"type":"function","function":{"name":`...)
		o.B = append(jsonwire.AppendString(o.B, r.ToolChoice.Name), "}}"...)
	case model.ChoiceRequired:
		o.String("tool_choice", c.c.RequiredChoice)
	default:
		o.String("tool_choice", string(r.ToolChoice.Mode))
	}
	if r.Parallel != nil && !slices.Contains(c.m.Without, "parallel_tool_calls") {
		o.Bool("parallel_tool_calls", *r.Parallel)
	}
}

func (c *encoder) tool(b []byte, t *model.Tool) []byte {
	b = append(b, `{"type":"function","function":`...)
	f := jsonwire.Begin(b)
	f.String("name", t.Name)
	f.StringIf("description", t.Description)
	if len(t.Schema) > 0 {
		f.Raw("parameters", t.Schema)
	} else if c.c.NeedsParameters {
		f.Raw("parameters", []byte(`{"type":"object","properties":{}}`))
	}
	if t.Strict != nil {
		f.Bool("strict", *t.Strict)
	}
	return append(c.cache(f.End(), t.CacheTTL), '}')
}

// cache appends a cache marker as a further member of the object that b ends in.
func (c *encoder) cache(b []byte, ttl string) []byte {
	if ttl == "" || !c.c.CacheControl {
		return b
	}
	b = append(b, `,"cache_control":{"type":"ephemeral"`...)
	if ttl != "5m" {
		b = append(b, `,"ttl":`...)
		b = jsonwire.AppendString(b, ttl)
	}
	return append(b, '}')
}

func (c *encoder) output(o *jsonwire.Object, r *model.Request) error {
	switch r.Output.Kind {
	case model.OutputText:
		return nil
	case model.OutputJSONObject:
		o.Raw("response_format", []byte(`{"type":"json_object"}`))
		return nil
	case model.OutputJSONSchema:
		o.Name("response_format")
		o.B = append(o.B, `{"type":"json_schema","json_schema":`...)
		s := jsonwire.Begin(o.B)
		name := r.Output.Name
		if name == "" {
			name = "output"
		}
		s.String("name", name)
		s.StringIf("description", r.Output.Description)
		if r.Output.Strict != nil {
			s.Bool("strict", *r.Output.Strict)
		}
		if len(r.Output.Schema) > 0 {
			s.Raw("schema", r.Output.Schema)
		}
		o.B = append(s.End(), '}')
		return nil
	}
	return c.refuse("response_format", "this response format is not known")
}

func (c *encoder) sampling(o *jsonwire.Object, s *model.Sampling) error {
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"temperature", s.Temperature}, {"top_p", s.TopP}, {"frequency_penalty", s.FrequencyPenalty},
		{"presence_penalty", s.PresencePenalty}} {
		if f.v == nil {
			continue
		}
		if math.IsNaN(*f.v) || math.IsInf(*f.v, 0) {
			return c.refuse(f.name, "the value must be a finite number")
		}
		o.Name(f.name)
		o.B = jsonwire.AppendFloat(o.B, *f.v)
	}
	if s.TopK != nil {
		if !c.m.TopK {
			return c.refuse("top_k", "this provider has no top_k, leave it out")
		}
		o.Int("top_k", int64(*s.TopK))
	}
	if s.Seed != nil {
		o.Int(c.c.SeedField, *s.Seed)
	}
	return nil
}

func (c *encoder) reasoning(o *jsonwire.Object, req *model.Request) error {
	r, shown := req.Reasoning, c.m.Shown
	if r.Exclude {
		shown = c.m.Hidden
	}
	if shown.Name != "" && !c.says(req, shown.Name) {
		o.Raw(shown.Name, []byte(shown.JSON))
	}
	if c.m.Reasoning == ReasoningObject {
		c.reasoningObject(o, r)
		return nil
	}
	if r.Effort == "" && r.Enabled != nil {
		r.Effort = c.m.EffortOn
		if !*r.Enabled {
			r.Effort = effortNone
		}
	}
	off := r.Effort == effortNone
	switch {
	case r.MaxTokens > 0:
		return c.refuse("reasoning", "this model takes a reasoning effort, not a token budget")
	case r.Effort == "" && r.Enabled == nil:
		return nil
	case c.m.Reasoning == ReasoningNone && off:
		return nil
	case c.m.Reasoning == ReasoningNone:
		return c.refuse("reasoning", "this model cannot be asked for reasoning, leave it out")
	case c.m.Reasoning == ReasoningThinking:
		return c.thinking(o, r, off)
	}
	if r.Effort == "" {
		return nil
	}
	if !c.hasEffort(r.Effort) {
		return c.refuse("reasoning", "this model does not have this reasoning effort, choose another or leave it out")
	}
	o.String("reasoning_effort", r.Effort)
	return nil
}

// says reports whether the client gave the field itself.
func (c *encoder) says(r *model.Request, field string) bool {
	return r.Dialect == model.DialectChat && !owned[field] && json.Valid(r.Extra[field])
}

const effortNone = "none"

func (c *encoder) hasEffort(effort string) bool {
	return len(c.m.Efforts) == 0 || slices.Contains(c.m.Efforts, effort)
}

func (c *encoder) thinking(o *jsonwire.Object, r model.Reasoning, off bool) error {
	if off {
		if !c.hasEffort(effortNone) {
			return c.refuse("reasoning", "the reasoning of this model cannot be turned off")
		}
		o.Raw("thinking", []byte(`{"type":"disabled"}`))
		return nil
	}
	if r.Effort != "" && (len(c.m.Efforts) == 0 || !c.hasEffort(r.Effort)) {
		return c.refuse("reasoning", "this model does not have this reasoning effort, choose another or leave it out")
	}
	o.Raw("thinking", []byte(`{"type":"enabled"}`))
	o.StringIf("reasoning_effort", r.Effort)
	return nil
}

func (c *encoder) reasoningObject(o *jsonwire.Object, r model.Reasoning) {
	if r.IsZero() {
		return
	}
	o.Name("reasoning")
	n := jsonwire.Begin(o.B)
	n.StringIf("effort", r.Effort)
	if r.MaxTokens > 0 {
		n.Int("max_tokens", int64(r.MaxTokens))
	}
	if r.Exclude {
		n.Bool("exclude", true)
	}
	if r.Enabled != nil {
		n.Bool("enabled", *r.Enabled)
	}
	o.B = n.End()
}

// extra passes on fields we do not know, in the order of their names.
func (c *encoder) extra(o *jsonwire.Object, r *model.Request) error {
	if r.Dialect != model.DialectChat {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if slices.Contains(c.c.RefuseExtra, name) {
			return c.refuse(name, "this field would let the provider choose another model, set the model here instead")
		}
		if owned[name] || name == c.c.SeedField && r.Sampling.Seed != nil || name == cacheKey && c.c.CacheKey && r.CacheKey != "" || !json.Valid(r.Extra[name]) {
			continue
		}
		o.B = append(o.B, ',')
		o.B = jsonwire.AppendString(o.B, name)
		o.B = append(o.B, ':')
		if r.Strict && name == c.c.Strict.Name {
			o.B = appendMerged(o.B, c.c.Strict.JSON, r.Extra[name])
			continue
		}
		o.B = append(o.B, r.Extra[name]...)
	}
	return nil
}

// appendMerged appends the object that the client sent with ours in front, whose
// members hold. Anything but an object is the client's mistake, which the vendor
// tells.
func appendMerged(b []byte, ours string, theirs json.RawMessage) []byte {
	var all, own map[string]json.RawMessage
	if json.Unmarshal(theirs, &all) != nil || json.Unmarshal([]byte(ours), &own) != nil {
		return append(b, theirs...)
	}
	b = append(b, ours[:len(ours)-1]...)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if own[name] == nil {
			b = append(b, ',')
			b = append(append(jsonwire.AppendString(b, name), ':'), all[name]...)
		}
	}
	return append(b, '}')
}

// cacheKey routes requests with the same prefix to the same cache.
const cacheKey = "prompt_cache_key"

// owned are the fields this package writes itself. A second value for one of
// them would leave it to the vendor which holds.
var owned = map[string]bool{
	"model": true, "messages": true, "tools": true, "tool_choice": true, "parallel_tool_calls": true,
	"response_format": true, "max_tokens": true, "max_completion_tokens": true, "temperature": true, "top_p": true,
	"top_k": true, "frequency_penalty": true, "presence_penalty": true, "seed": true, "stop": true,
	"reasoning": true, "reasoning_effort": true, "include_reasoning": true, "user": true, "stream": true,
	"stream_options": true, "n": true,
}
