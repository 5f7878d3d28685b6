package bedrock

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// encoded is a request in the API's form, and what reading its answer needs.
type encoded struct {
	c       *Chat
	profile profile
	body    []byte
	// forced is the tool whose arguments are the answer's text, "" if none.
	forced string
	// thinks says that reasoning was asked for, hide that it is not to be shown.
	thinks, hide bool
	// limit is the output limit that is sent, 0 for none.
	limit int
	// effort is the effort of a Claude model, "" if none was asked for.
	effort string
	// fields are the members of additionalModelRequestFields.
	fields jsonwire.Object
	// names counts documents by name: each must have its own.
	names map[string]int
}

func (c *Chat) encode(r *model.Request) (*encoded, error) {
	e := &encoded{c: c, profile: profileOf(r.Model), limit: r.MaxOutputTokens, fields: jsonwire.Begin(nil)}
	for _, step := range []func(*model.Request) error{e.reasoning, e.output} {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	o := jsonwire.Begin(make([]byte, 0, sizeHint(r)))
	for _, step := range []func(*jsonwire.Object, *model.Request) error{e.messages, e.inference, e.tools} {
		if err := step(&o, r); err != nil {
			return nil, err
		}
	}
	e.outputConfig(&o, r)
	if len(e.fields.B) > 1 {
		o.Raw("additionalModelRequestFields", e.fields.End())
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
	return n + len(r.Output.Schema)*9/8
}

// reasoning decides how reasoning is asked for.
func (e *encoded) reasoning(r *model.Request) error {
	p, t := &e.profile, r.Reasoning
	effort := t.Effort
	if effort == "minimal" {
		effort = "low"
	}
	stopped := effort == "none" || t.Enabled != nil && !*t.Enabled
	asked := effort != "" && effort != "none" || t.MaxTokens > 0 || t.Enabled != nil && *t.Enabled
	e.hide = t.Exclude && p.form != formClaude
	switch {
	case asked && stopped:
		return e.c.refuse("reasoning", "reasoning is both switched off and asked for, state one of them")
	case stopped && p.form != formUnknown:
		return e.stop()
	case !asked && !stopped && (t.IsZero() || p.form != formClaude || p.off == offOmit):
		// Only hiding was asked for, which the other families have no word for:
		// what comes is left out.
		return nil
	}
	e.thinks = true
	switch {
	case p.form == formUnknown:
		return e.c.refuse("reasoning", "it is not known how this model takes reasoning, leave reasoning out")
	case p.form == formNone && (p.off != offNever || effort != "" || t.MaxTokens > 0):
		return e.c.refuse("reasoning", "this model's reasoning cannot be set, leave reasoning out")
	case t.MaxTokens > 0 && !p.budget:
		return e.c.refuse("reasoning", "this model takes a reasoning effort, not a token budget")
	case t.MaxTokens > 0 && effort != "" && !p.adaptive:
		return e.c.refuse("reasoning", "this model takes a reasoning effort or a token budget, not both")
	case effort != "" && len(p.efforts) > 0 && !p.takesEffort(effort):
		return e.c.refuse("reasoning", "this model takes the reasoning efforts "+strings.Join(p.efforts, ", "))
	}
	switch p.form {
	case formClaude:
		return e.thinking(t, effort)
	case formNova:
		return e.nova(r, effort)
	case formFlat:
		e.fields.StringIf("reasoning_effort", effort)
	case formNested:
		if effort != "" {
			e.nested(effort)
		}
	}
	return nil
}

func (e *encoded) nested(effort string) {
	e.fields.Name("reasoning")
	n := jsonwire.Begin(e.fields.B)
	n.String("effort", effort)
	e.fields.B = n.End()
}

// stop switches reasoning off.
func (e *encoded) stop() error {
	switch e.profile.off {
	case offNever:
		return e.c.refuse("reasoning", "this model always reasons; ask for a low effort instead, or leave reasoning out")
	case offDisabled:
		e.fields.Raw("thinking", []byte(`{"type":"disabled"}`))
	case offBetween:
		e.fields.Raw("thinking", []byte(`{"type":"between_tools"}`))
	case offEffort:
		e.nested("none")
	}
	return nil
}

// nova asks a Nova 2 model. At high effort it refuses limits and sampling.
func (e *encoded) nova(r *model.Request, effort string) error {
	if effort == "" {
		effort = "medium"
	}
	s := &r.Sampling
	if effort == "high" && (r.MaxOutputTokens > 0 || s.Temperature != nil || s.TopP != nil || s.TopK != nil) {
		return e.c.refuse("reasoning", "at high effort this model takes no output limit, temperature, top_p and top_k; use medium or leave them out")
	}
	e.fields.Name("reasoningConfig")
	n := jsonwire.Begin(e.fields.B)
	n.String("type", "enabled")
	n.String("maxReasoningEffort", effort)
	e.fields.B = n.End()
	return nil
}

// thinking asks a Claude model.
func (e *encoded) thinking(t model.Reasoning, effort string) error {
	p := &e.profile
	if p.adaptive {
		e.effort = effort
	}
	display := ""
	switch {
	case t.Exclude:
		display = "omitted"
	case p.hidden:
		display = "summarized"
	}
	e.fields.Name("thinking")
	n := jsonwire.Begin(e.fields.B)
	if t.MaxTokens == 0 && p.adaptive {
		n.String("type", "adaptive")
	} else {
		budget, err := e.budget(t.MaxTokens, effort)
		if err != nil {
			return err
		}
		n.String("type", "enabled")
		n.Int("budget_tokens", int64(budget))
	}
	n.StringIf("display", display)
	e.fields.B = n.End()
	return nil
}

// budget is the thinking budget of older models, a share of the output limit if
// only an effort was stated. It must be below the limit, so one is sent.
func (e *encoded) budget(n int, effort string) (int, error) {
	if e.limit <= 0 {
		e.limit = max(defaultLimit, n+4096)
	}
	if n == 0 {
		percent, ok := map[string]int{"low": 20, "": 50, "medium": 50, "high": 80, "xhigh": 95, "max": 95}[effort]
		if !ok {
			return 0, e.c.refuse("reasoning", "this reasoning effort is not known, use low, medium, high, xhigh or max")
		}
		n = max(e.limit*percent/100, minBudget)
	}
	if n < minBudget || n >= e.limit {
		return 0, e.c.refuse("reasoning", "this model's reasoning budget must be at least 1024 tokens and below the output limit, raise the limit or leave reasoning out")
	}
	return n, nil
}

// output decides how a form of the answer is asked for.
func (e *encoded) output(r *model.Request) error {
	switch r.Output.Kind {
	case model.OutputText:
		return nil
	case model.OutputJSONSchema:
		if len(r.Output.Schema) == 0 {
			return e.c.refuse("response_format", "a JSON schema is required")
		}
		if e.profile.schema {
			return nil
		}
		e.forced = toolName(r.Output.Name)
	case model.OutputJSONObject:
		e.forced = "json"
	default:
		return e.c.refuse("response_format", "this response format is not known")
	}
	if len(r.Tools) > 0 || e.thinks || !e.profile.force {
		return e.c.refuse("response_format", "this model gives this form of JSON only without tools and reasoning, or not at all; ask for a JSON schema with a newer model, or for text")
	}
	return nil
}

// toolName makes a name the API takes from a schema's name.
func toolName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune(idChars, r) {
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return "output"
	}
	return s[:min(len(s), maxName)]
}

// outputConfig writes structured output, and the effort of a Claude model: beside a
// format in the API's own field, else among the model's fields, where versions of
// the service know it that have no such field.
func (e *encoded) outputConfig(o *jsonwire.Object, r *model.Request) {
	if r.Output.Kind != model.OutputJSONSchema || e.forced != "" {
		if e.effort != "" {
			e.fields.Name("output_config")
			n := jsonwire.Begin(e.fields.B)
			n.String("effort", e.effort)
			e.fields.B = n.End()
		}
		return
	}
	o.Name("outputConfig")
	n := jsonwire.Begin(o.B)
	n.Name("textFormat")
	n.B = append(n.B, `{"type":"json_schema","structure":{"jsonSchema":`...)
	s := jsonwire.Begin(n.B)
	s.String("schema", string(r.Output.Schema))
	s.StringIf("name", r.Output.Name)
	s.StringIf("description", r.Output.Description)
	n.B = append(s.End(), "}}"...)
	n.StringIf("effort", e.effort)
	o.B = n.End()
}

// inference writes inferenceConfig, and top_k among the model's fields.
func (e *encoded) inference(o *jsonwire.Object, r *model.Request) error {
	n := jsonwire.Begin(nil)
	if e.limit > 0 {
		n.Int("maxTokens", int64(e.limit))
	}
	if err := e.sampling(&n, &r.Sampling); err != nil {
		return err
	}
	if len(r.Stop) > 0 {
		n.Name("stopSequences")
		n.B = append(n.B, '[')
		for i, s := range r.Stop {
			if s == "" {
				return e.c.refuse("stop", "a stop sequence is empty")
			}
			if i > 0 {
				n.B = append(n.B, ',')
			}
			n.B = jsonwire.AppendString(n.B, s)
		}
		n.B = append(n.B, ']')
	}
	if len(n.B) > 1 {
		o.Raw("inferenceConfig", n.End())
	}
	return nil
}

func (e *encoded) sampling(n *jsonwire.Object, s *model.Sampling) error {
	for _, f := range [...]struct {
		name string
		v    *float64
	}{{"frequency_penalty", s.FrequencyPenalty}, {"presence_penalty", s.PresencePenalty}} {
		if f.v != nil && *f.v != 0 {
			return e.c.refuse(f.name, "this provider has no "+f.name+", leave it out")
		}
	}
	if s.Seed != nil {
		return e.c.refuse("seed", "this provider has no seed, leave it out")
	}
	for _, f := range [...]struct {
		name, field string
		v           *float64
	}{{"temperature", "temperature", s.Temperature}, {"top_p", "topP", s.TopP}} {
		switch {
		case f.v == nil, *f.v == 1 && (e.profile.ones || !e.profile.sampling):
			continue
		case !e.profile.sampling:
			return e.c.refuse(f.name, "this model has no "+f.name+", leave it out")
		case math.IsNaN(*f.v) || *f.v < 0 || *f.v > 1:
			return e.c.refuse(f.name, "this provider takes values from 0 to 1")
		}
		n.Name(f.field)
		n.B = jsonwire.AppendFloat(n.B, *f.v)
	}
	if s.TopK == nil {
		return nil
	}
	switch e.profile.topK {
	case "top":
		e.fields.Int("top_k", int64(*s.TopK))
	case "nested":
		e.fields.Name("inferenceConfig")
		k := jsonwire.Begin(e.fields.B)
		k.Int("topK", int64(*s.TopK))
		e.fields.B = k.End()
	default:
		return e.c.refuse("top_k", "this model has no top_k, leave it out")
	}
	return nil
}

// emptySchema is that of a tool without arguments.
const emptySchema = `{"type":"object","properties":{}}`

// tools writes toolConfig.
func (e *encoded) tools(o *jsonwire.Object, r *model.Request) error {
	list, choice := r.Tools, r.ToolChoice
	forced := choice.Mode == model.ChoiceRequired || choice.Mode == model.ChoiceNamed
	switch {
	case forced && len(list) == 0:
		return e.c.refuse("tool_choice", "a tool can only be required when tools are given")
	case forced && (e.thinks && e.profile.form == formClaude || e.profile.form == formClaude && !e.profile.force):
		return e.c.refuse("tool_choice", "this model cannot be forced to call a tool while it reasons, use auto")
	case len(list) > 0 && r.Parallel != nil && !*r.Parallel && choice.Mode != model.ChoiceNone:
		return e.c.refuse("parallel_tool_calls", "this provider cannot be kept from calling several tools at once, leave parallel_tool_calls out")
	}
	called := calledTools(r)
	switch {
	case e.forced != "":
		schema := r.Output.Schema
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object"}`)
		}
		called = slices.DeleteFunc(called, func(t model.Tool) bool { return t.Name == e.forced })
		list = append([]model.Tool{{Name: e.forced, Description: r.Output.Description, Schema: schema}}, called...)
		choice = model.ToolChoice{Mode: model.ChoiceNamed, Name: e.forced}
	case len(called) == 0 && (len(list) == 0 || choice.Mode == model.ChoiceNone):
		return nil
	case len(list) == 0:
		list = called
	}
	o.Name("toolConfig")
	n := jsonwire.Begin(o.B)
	n.Name("tools")
	n.B = append(n.B, '[')
	for i := range list {
		if i > 0 {
			n.B = append(n.B, ',')
		}
		if err := e.tool(&n, &list[i]); err != nil {
			return err
		}
	}
	n.B = append(n.B, ']')
	e.choice(&n, choice)
	o.B = n.End()
	return nil
}

// calledTools are tools with the names of the calls in a conversation, in the order
// of the first call.
func calledTools(r *model.Request) (out []model.Tool) {
	seen := map[string]bool{}
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if c := r.Messages[i].Parts[j].Call; c != nil && !seen[c.Name] {
				seen[c.Name] = true
				out = append(out, model.Tool{Name: c.Name, Schema: json.RawMessage(`{"type":"object"}`)})
			}
		}
	}
	return out
}

func (e *encoded) tool(n *jsonwire.Object, t *model.Tool) error {
	if t.Name == "" || len(t.Name) > maxName || strings.Trim(t.Name, idChars) != "" {
		return e.c.refuse("tools", "the name of a tool must have 1 to 64 letters, digits, underscores and hyphens")
	}
	if t.Strict != nil && *t.Strict && !e.profile.schema {
		return e.c.refuse("tools", "this model has no strict tools, leave strict out")
	}
	n.B = append(n.B, `{"toolSpec":`...)
	s := jsonwire.Begin(n.B)
	s.String("name", t.Name)
	s.StringIf("description", t.Description)
	s.Name("inputSchema")
	schema := t.Schema
	if len(schema) == 0 {
		schema = json.RawMessage(emptySchema)
	}
	s.B = append(append(append(s.B, `{"json":`...), schema...), '}')
	if t.Strict != nil && *t.Strict {
		s.Bool("strict", true)
	}
	n.B = append(s.End(), '}')
	if e.profile.cacheTools {
		n.B = e.cachePoint(n.B, t.CacheTTL)
	}
	return nil
}

// choice writes toolChoice. There is none for "call no tool".
func (e *encoded) choice(n *jsonwire.Object, c model.ToolChoice) {
	switch c.Mode {
	case model.ChoiceAuto:
		n.Raw("toolChoice", []byte(`{"auto":{}}`))
	case model.ChoiceRequired:
		n.Raw("toolChoice", []byte(`{"any":{}}`))
	case model.ChoiceNamed:
		n.Name("toolChoice")
		n.B = append(jsonwire.AppendString(append(n.B, `{"tool":{"name":`...), c.Name), "}}"...)
	}
}

// cachePoint appends a cache point as a further element of the array that b ends
// in.
func (e *encoded) cachePoint(b []byte, ttl string) []byte {
	switch {
	case ttl == "" || !e.profile.cache:
		return b
	case ttl == "1h" && e.profile.cacheHour:
		return append(b, `,{"cachePoint":{"type":"default","ttl":"1h"}}`...)
	}
	return append(b, `,{"cachePoint":{"type":"default"}}`...)
}
