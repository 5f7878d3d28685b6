package anthropic

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// purpose is what a body is for.
type purpose uint8

const (
	whole purpose = iota
	streamed
	counted
)

// encoded is a request in the API's form.
type encoded struct {
	vendor  *wire.Vendor
	profile profile
	purpose purpose
	body    []byte
	// forced is the tool whose arguments are the answer's text, "" if none.
	forced string
	// maxTokens is the limit that is sent.
	maxTokens int
	// thinks says that thinking was asked for.
	thinks bool
	// effort is output_config.effort, "" if none was asked for.
	effort string
}

func (c *Chat) encode(r *model.Request, why purpose) (*encoded, error) {
	e := &encoded{profile: profileOf(r.Model), purpose: why}
	e.vendor = c.vendor(&e.profile)
	if r.Model == "" {
		return nil, e.refuse("model", "a model name is required")
	}
	thinking, err := e.thinking(r)
	if err != nil {
		return nil, err
	}
	if err := e.output(r); err != nil {
		return nil, err
	}
	o := jsonwire.Begin(make([]byte, 0, sizeHint(r)))
	o.String("model", r.Model)
	if why != counted {
		o.Int("max_tokens", int64(e.maxTokens))
	}
	if err := e.messages(&o, r); err != nil {
		return nil, err
	}
	if err := e.tools(&o, r); err != nil {
		return nil, err
	}
	if len(thinking) > 0 {
		o.Raw("thinking", thinking)
	}
	e.outputConfig(&o, r)
	if err := e.limits(&o, r); err != nil {
		return nil, err
	}
	if err := e.extra(&o, r); err != nil {
		return nil, err
	}
	e.body = o.End()
	return e, nil
}

// sizeHint avoids growing the buffer for the usual request.
func sizeHint(r *model.Request) int {
	n := 1024
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			p := &r.Messages[i].Parts[j]
			n += 64 + len(p.Text)*17/16
			if p.Media != nil {
				n += len(p.Media.Base64) + 128
			}
		}
	}
	for i := range r.Tools {
		n += len(r.Tools[i].Schema) + len(r.Tools[i].Description) + 128
	}
	return n + len(r.Output.Schema)
}

const minBudget = 1024

// thinking decides the form of the thinking parameter and the effort.
func (e *encoded) thinking(r *model.Request) ([]byte, error) {
	p, t := &e.profile, r.Reasoning
	if e.maxTokens = r.MaxOutputTokens; e.maxTokens <= 0 {
		e.maxTokens = p.maxTokens
		if t.MaxTokens >= e.maxTokens {
			e.maxTokens = t.MaxTokens + 4096
		}
	}
	if t.IsZero() {
		return nil, nil
	}
	effort := t.Effort
	if effort == "minimal" {
		effort = "low"
	}
	if effort == "none" || t.Enabled != nil && !*t.Enabled {
		if t.MaxTokens > 0 || effort != "" && effort != "none" {
			return nil, e.refuse("reasoning", "reasoning is both switched off and asked for, state one of them")
		}
		return e.noThinking()
	}
	if effort == "" && t.MaxTokens == 0 && t.Enabled == nil && p.off == offOmit {
		// Only hiding was asked for, and there is nothing to hide.
		return nil, nil
	}
	e.thinks = true
	switch {
	case !p.budget && !p.adaptive:
		return nil, e.refuse("reasoning", "this model cannot reason, leave reasoning out")
	case t.MaxTokens > 0 && !p.budget:
		return nil, e.refuse("reasoning", "this model takes a reasoning effort, not a token budget")
	case t.MaxTokens > 0 && effort != "" && !p.adaptive:
		return nil, e.refuse("reasoning", "this model takes a reasoning effort or a token budget, not both")
	}
	if p.adaptive {
		if effort != "" && !slices.Contains(p.efforts, effort) {
			return nil, e.refuse("reasoning", "this model takes the reasoning efforts "+strings.Join(p.efforts, ", "))
		}
		e.effort = effort
	}
	if t.MaxTokens == 0 && p.adaptive {
		return []byte(`{"type":"adaptive"` + e.display(t.Exclude) + `}`), nil
	}
	return e.budget(t, effort)
}

func (e *encoded) noThinking() ([]byte, error) {
	switch e.profile.off {
	case offDisabled:
		return []byte(`{"type":"disabled"}`), nil
	case offBetween:
		return []byte(`{"type":"between_tools"}`), nil
	case offNever:
		return nil, e.refuse("reasoning", "this model always reasons; ask for a low effort instead, or leave reasoning out")
	}
	return nil, nil
}

// display says whether thinking is shown: newer models hide it unless asked.
func (e *encoded) display(exclude bool) string {
	switch {
	case exclude:
		return `,"display":"omitted"`
	case e.profile.hidden:
		return `,"display":"summarized"`
	}
	return ""
}

// budget is the older form of thinking, a share of the output limit if only an
// effort was stated.
func (e *encoded) budget(t model.Reasoning, effort string) ([]byte, error) {
	n := t.MaxTokens
	if n == 0 {
		percent, ok := map[string]int{"low": 20, "": 50, "medium": 50, "high": 80, "xhigh": 95, "max": 95}[effort]
		if !ok {
			return nil, e.refuse("reasoning", "this reasoning effort is not known, use low, medium, high, xhigh or max")
		}
		n = max(e.maxTokens*percent/100, minBudget)
	}
	if n < minBudget || n >= e.maxTokens {
		return nil, e.refuse("reasoning", "this model's reasoning budget must be at least 1024 tokens and below the output limit, raise the limit or leave reasoning out")
	}
	o := jsonwire.Begin(nil)
	o.String("type", "enabled")
	o.Int("budget_tokens", int64(n))
	return append(append(o.B, e.display(t.Exclude)...), '}'), nil
}

// output decides how a form of the answer is asked for.
func (e *encoded) output(r *model.Request) error {
	switch r.Output.Kind {
	case model.OutputText:
		return nil
	case model.OutputJSONSchema:
		if len(r.Output.Schema) == 0 {
			return e.refuse("response_format", "a JSON schema is required")
		}
		if e.profile.schema {
			return nil
		}
		e.forced = toolName(r.Output.Name)
	case model.OutputJSONObject:
		e.forced = "json"
	default:
		return e.refuse("response_format", "this response format is not known")
	}
	if len(r.Tools) > 0 || e.thinks || !e.profile.force {
		return e.refuse("response_format", "this model gives this form of JSON only without tools and reasoning; ask for a JSON schema with a newer model, or for text")
	}
	return nil
}

// toolName makes a name the API takes from a schema's name.
func toolName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return "output"
	}
	return s[:min(len(s), 64)]
}

func (e *encoded) outputConfig(o *jsonwire.Object, r *model.Request) {
	format := r.Output.Kind == model.OutputJSONSchema && e.forced == ""
	if e.effort == "" && !format {
		return
	}
	o.Name("output_config")
	n := jsonwire.Begin(o.B)
	n.StringIf("effort", e.effort)
	if format {
		n.Name("format")
		n.B = append(n.B, `{"type":"json_schema","schema":`...)
		n.B = append(append(n.B, r.Output.Schema...), '}')
	}
	o.B = n.End()
}

func (e *encoded) tools(o *jsonwire.Object, r *model.Request) error {
	if e.forced != "" {
		schema := r.Output.Schema
		if len(schema) == 0 {
			schema = []byte(`{"type":"object"}`)
		}
		o.Name("tools")
		o.B = append(o.B, '[')
		o.B = append(e.tool(o.B, &model.Tool{Name: e.forced, Description: r.Output.Description, Schema: schema}), ']')
		o.Name("tool_choice")
		o.B = append(o.B, `{"type":"tool","name":`...)
		o.B = append(jsonwire.AppendString(o.B, e.forced), `,"disable_parallel_tool_use":true}`...)
		return nil
	}
	if len(r.Tools) > 0 {
		o.Name("tools")
		o.B = append(o.B, '[')
		for i := range r.Tools {
			t := &r.Tools[i]
			if t.Strict != nil && *t.Strict && !e.profile.schema {
				return e.refuse("tools", "this model has no strict tools, leave strict out")
			}
			if i > 0 {
				o.B = append(o.B, ',')
			}
			o.B = e.tool(o.B, t)
		}
		o.B = append(o.B, ']')
	}
	return e.choice(o, r)
}

func (e *encoded) tool(b []byte, t *model.Tool) []byte {
	o := jsonwire.Begin(b)
	o.String("name", t.Name)
	o.StringIf("description", t.Description)
	if len(t.Schema) > 0 {
		o.Raw("input_schema", t.Schema)
	} else {
		o.Raw("input_schema", []byte(`{"type":"object","properties":{}}`))
	}
	if t.Strict != nil && *t.Strict {
		o.Bool("strict", true)
	}
	return append(cache(o.B, t.CacheTTL), '}')
}

// choice writes tool_choice, which the API takes only together with tools.
func (e *encoded) choice(o *jsonwire.Object, r *model.Request) error {
	mode := r.ToolChoice.Mode
	one := r.Parallel != nil && !*r.Parallel
	forced := mode == model.ChoiceRequired || mode == model.ChoiceNamed
	switch {
	case forced && len(r.Tools) == 0:
		return e.refuse("tool_choice", "a tool can only be required when tools are given")
	case forced && (e.thinks || !e.profile.force):
		return e.refuse("tool_choice", "this model cannot be forced to call a tool while it reasons, use auto")
	case len(r.Tools) == 0, mode == model.ChoiceDefault && !one:
		return nil
	}
	o.Name("tool_choice")
	n := jsonwire.Begin(o.B)
	switch mode {
	case model.ChoiceNone:
		n.String("type", "none")
		one = false
	case model.ChoiceRequired:
		n.String("type", "any")
	case model.ChoiceNamed:
		n.String("type", "tool")
		n.String("name", r.ToolChoice.Name)
	default:
		n.String("type", "auto")
	}
	if one {
		n.Bool("disable_parallel_tool_use", true)
	}
	o.B = n.End()
	return nil
}

// cache appends a cache marker as a further member of the object that b ends in.
func cache(b []byte, ttl string) []byte {
	switch ttl {
	case "":
		return b
	case "1h":
		return append(b, `,"cache_control":{"type":"ephemeral","ttl":"1h"}`...)
	}
	return append(b, `,"cache_control":{"type":"ephemeral"}`...)
}

// limits writes sampling, stop sequences, the end user and the stream flag.
func (e *encoded) limits(o *jsonwire.Object, r *model.Request) error {
	if err := e.sampling(o, &r.Sampling); err != nil || e.purpose == counted {
		return err
	}
	if len(r.Stop) > 0 {
		o.Name("stop_sequences")
		o.B = append(o.B, '[')
		for i, s := range r.Stop {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			o.B = jsonwire.AppendString(o.B, s)
		}
		o.B = append(o.B, ']')
	}
	if r.User != "" {
		o.Name("metadata")
		n := jsonwire.Begin(o.B)
		n.String("user_id", r.User)
		o.B = n.End()
	}
	if e.purpose == streamed {
		o.Bool("stream", true)
	}
	return nil
}

func (e *encoded) sampling(o *jsonwire.Object, s *model.Sampling) error {
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"frequency_penalty", s.FrequencyPenalty}, {"presence_penalty", s.PresencePenalty}} {
		if f.v != nil && *f.v != 0 {
			return e.refuse(f.name, "this provider has no "+f.name+", leave it out")
		}
	}
	if s.Seed != nil {
		return e.refuse("seed", "this provider has no seed, leave it out")
	}
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"temperature", s.Temperature}, {"top_p", s.TopP}} {
		switch {
		case f.v == nil || *f.v == 1:
			continue
		case !e.profile.sampling:
			return e.refuse(f.name, "this model has no "+f.name+", leave it out")
		case math.IsNaN(*f.v) || *f.v < 0 || *f.v > 1:
			return e.refuse(f.name, "this provider takes values from 0 to 1")
		case e.purpose != counted:
			o.Name(f.name)
			o.B = jsonwire.AppendFloat(o.B, *f.v)
		}
	}
	if s.TopK != nil {
		if !e.profile.sampling {
			return e.refuse("top_k", "this model has no top_k, leave it out")
		}
		if e.purpose != counted {
			o.Int("top_k", int64(*s.TopK))
		}
	}
	return nil
}

// extra passes on fields of the same dialect that we do not know, in the order of
// their names.
func (e *encoded) extra(o *jsonwire.Object, r *model.Request) error {
	if r.Dialect != model.DialectMessages {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if name == "fallbacks" {
			return e.refuse(name, "this field would let the provider choose another model, set fallbacks of the agent or the organisation instead")
		}
		if owned[name] || e.purpose == counted && !countable[name] || !json.Valid(r.Extra[name]) {
			continue
		}
		o.B = append(o.B, ',')
		o.B = jsonwire.AppendString(o.B, name)
		o.B = append(o.B, ':')
		o.B = append(o.B, r.Extra[name]...)
	}
	return nil
}

// owned are the fields this package writes itself.
var owned = map[string]bool{"model": true, "max_tokens": true, "messages": true, "system": true, "tools": true, "tool_choice": true,
	"thinking": true, "output_config": true, "output_format": true, "temperature": true, "top_p": true, "top_k": true,
	"stop_sequences": true, "metadata": true, "stream": true}

// countable are the unknown fields that count_tokens takes as well.
var countable = map[string]bool{"cache_control": true, "context_management": true, "mcp_servers": true, "speed": true}
