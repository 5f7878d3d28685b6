package gemini

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

func (c *Chat) encode(r *model.Request) ([]byte, error) {
	p := profileOf(r.Model)
	o := jsonwire.Begin(make([]byte, 0, 1024))
	if err := c.contents(&o, r, &p); err != nil {
		return nil, err
	}
	if err := c.tools(&o, r); err != nil {
		return nil, err
	}
	if err := c.config(&o, r, &p); err != nil {
		return nil, err
	}
	if err := c.extra(&o, r); err != nil {
		return nil, err
	}
	return o.End(), nil
}

func (c *Chat) tools(o *jsonwire.Object, r *model.Request) error {
	mode := r.ToolChoice.Mode
	if len(r.Tools) == 0 {
		if mode == model.ChoiceRequired || mode == model.ChoiceNamed {
			return c.refuse("tool_choice", "a tool can only be required when tools are given")
		}
		return nil
	}
	if r.Parallel != nil && !*r.Parallel {
		return c.refuse("parallel_tool_calls", "this provider cannot be kept from calling several tools at once, leave parallel_tool_calls out")
	}
	strict := false
	o.Name("tools")
	o.B = append(o.B, `[{"functionDeclarations":[`...)
	for i := range r.Tools {
		t := &r.Tools[i]
		strict = strict || t.Strict != nil && *t.Strict
		if i > 0 {
			o.B = append(o.B, ',')
		}
		f := jsonwire.Begin(o.B)
		f.String("name", t.Name)
		f.StringIf("description", t.Description)
		if len(t.Schema) > 0 {
			f.Raw("parametersJsonSchema", t.Schema)
		}
		o.B = f.End()
	}
	o.B = append(o.B, "]}]"...)
	word := map[model.ChoiceMode]string{model.ChoiceNone: "NONE", model.ChoiceAuto: "AUTO", model.ChoiceRequired: "ANY", model.ChoiceNamed: "ANY"}[mode]
	if strict && (mode == model.ChoiceDefault || mode == model.ChoiceAuto) {
		// ANY holds calls to their schema already.
		word = "VALIDATED"
	}
	if word == "" {
		return nil
	}
	o.Name("toolConfig")
	o.B = append(o.B, `{"functionCallingConfig":`...)
	f := jsonwire.Begin(o.B)
	f.String("mode", word)
	if mode == model.ChoiceNamed {
		f.Name("allowedFunctionNames")
		f.B = append(jsonwire.AppendString(append(f.B, '['), r.ToolChoice.Name), ']')
	}
	o.B = append(f.End(), '}')
	return nil
}

// config writes generationConfig.
func (c *Chat) config(o *jsonwire.Object, r *model.Request, p *profile) error {
	g := jsonwire.Begin(nil)
	if err := c.sampling(&g, &r.Sampling); err != nil {
		return err
	}
	if r.MaxOutputTokens > 0 {
		g.Int("maxOutputTokens", int64(r.MaxOutputTokens))
	}
	if len(r.Stop) > 0 {
		g.Name("stopSequences")
		g.B = append(g.B, '[')
		for i, s := range r.Stop {
			if i > 0 {
				g.B = append(g.B, ',')
			}
			g.B = jsonwire.AppendString(g.B, s)
		}
		g.B = append(g.B, ']')
	}
	if err := c.output(&g, r, p); err != nil {
		return err
	}
	if err := c.thinking(&g, r.Reasoning, p); err != nil {
		return err
	}
	if len(g.B) > 1 {
		o.Raw("generationConfig", g.End())
	}
	return nil
}

func (c *Chat) sampling(g *jsonwire.Object, s *model.Sampling) error {
	for _, f := range [...]struct {
		name, field string
		v           *float64
		low, high   float64
	}{{"temperature", "temperature", s.Temperature, 0, 2}, {"top_p", "topP", s.TopP, 0, 1},
		{"frequency_penalty", "frequencyPenalty", s.FrequencyPenalty, -2, 2}, {"presence_penalty", "presencePenalty", s.PresencePenalty, -2, 2}} {
		if f.v == nil {
			continue
		}
		if math.IsNaN(*f.v) || *f.v < f.low || *f.v > f.high {
			return c.refuse(f.name, "the value is outside what this provider takes")
		}
		g.Name(f.field)
		g.B = jsonwire.AppendFloat(g.B, *f.v)
	}
	if s.TopK != nil {
		g.Int("topK", int64(*s.TopK))
	}
	if s.Seed != nil {
		if *s.Seed < math.MinInt32 || *s.Seed > math.MaxInt32 {
			return c.refuse("seed", "this provider takes a seed of 32 bits")
		}
		g.Int("seed", *s.Seed)
	}
	return nil
}

func (c *Chat) output(g *jsonwire.Object, r *model.Request, p *profile) error {
	switch r.Output.Kind {
	case model.OutputText:
		return nil
	case model.OutputJSONObject, model.OutputJSONSchema:
	default:
		return c.refuse("response_format", "this response format is not known")
	}
	if len(r.Tools) > 0 && !p.jsonTools {
		return c.refuse("response_format", "this model gives JSON only without tools, leave one of them out or use a newer model")
	}
	g.String("responseMimeType", "application/json")
	if r.Output.Kind == model.OutputJSONSchema {
		if len(r.Output.Schema) == 0 {
			return c.refuse("response_format", "a JSON schema is required")
		}
		g.Raw("responseJsonSchema", r.Output.Schema)
	}
	return nil
}

// budgets are thinking budgets for efforts, as Google's own OpenAI dialect
// translates them (ai.google.dev/gemini-api/docs/openai, read 2026-11).
var budgets = map[string]int{"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}

// levels are the thinking levels of version 3 for efforts.
var levels = map[string]string{"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}

func (c *Chat) thinking(g *jsonwire.Object, r model.Reasoning, p *profile) error {
	asked := r.Effort != "" && r.Effort != "none" || r.MaxTokens > 0 || r.Enabled != nil && *r.Enabled
	stopped := r.Effort == "none" || r.Enabled != nil && !*r.Enabled
	switch {
	case asked && stopped:
		return c.refuse("reasoning", "reasoning is both switched off and asked for, state one of them")
	case !asked && !stopped, stopped && !p.budget && !p.level:
		// Thoughts are not shown unless asked for: there is nothing to exclude.
		return nil
	case stopped && !p.canStop:
		return c.refuse("reasoning", "this model always reasons; ask for a low effort instead, or leave reasoning out")
	case stopped:
		g.Raw("thinkingConfig", []byte(`{"thinkingBudget":0}`))
		return nil
	case !p.budget && !p.level:
		return c.refuse("reasoning", "this model cannot reason, leave reasoning out")
	case p.level && r.MaxTokens > 0:
		return c.refuse("reasoning", "this model takes a reasoning effort, not a token budget")
	case r.MaxTokens > 0 && r.Effort != "":
		return c.refuse("reasoning", "this model takes a reasoning effort or a token budget, not both")
	}
	t := jsonwire.Begin(nil)
	if !r.Exclude {
		t.Bool("includeThoughts", true)
	}
	if err := c.depth(&t, r, p); err != nil {
		return err
	}
	if len(t.B) > 1 {
		g.Raw("thinkingConfig", t.End())
	}
	return nil
}

// depth writes how much to think.
func (c *Chat) depth(t *jsonwire.Object, r model.Reasoning, p *profile) error {
	switch {
	case r.MaxTokens > 0:
		if r.MaxTokens < p.minBudget || r.MaxTokens > p.maxBudget {
			return c.refuse("reasoning", "the reasoning budget is outside what this model takes")
		}
		t.Int("thinkingBudget", int64(r.MaxTokens))
	case r.Effort == "" && p.budget:
		t.Int("thinkingBudget", -1)
	case r.Effort == "":
	case p.budget:
		n, ok := budgets[r.Effort]
		if !ok {
			return c.refuse("reasoning", "this reasoning effort is not known, use minimal, low, medium, high, xhigh or max")
		}
		t.Int("thinkingBudget", int64(min(n, p.maxBudget)))
	default:
		level, ok := levels[r.Effort]
		if !ok {
			return c.refuse("reasoning", "this model takes the reasoning efforts minimal, low, medium and high")
		}
		if level == "MINIMAL" && !p.minimal {
			level = "LOW"
		}
		t.String("thinkingLevel", level)
	}
	return nil
}

// Uncarried implements [model.Carrier].
func (c *Chat) Uncarried(_ string, r *model.Request) (out []string) {
	if r.User != "" {
		out = append(out, model.FieldUser)
	}
	for name := range r.Extra {
		if r.Dialect != model.DialectGemini {
			out = append(out, name)
		}
	}
	return out
}

// extra passes on fields of the same dialect that we do not know, in the order of
// their names.
func (c *Chat) extra(o *jsonwire.Object, r *model.Request) error {
	if r.Dialect != model.DialectGemini {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if owned[name] || !json.Valid(r.Extra[name]) {
			continue
		}
		o.B = append(o.B, ',')
		o.B = jsonwire.AppendString(o.B, name)
		o.B = append(o.B, ':')
		o.B = append(o.B, r.Extra[name]...)
	}
	return nil
}

// owned are the fields this package writes itself, in both spellings that the API
// reads.
var owned = map[string]bool{"model": true, "contents": true, "tools": true, "toolConfig": true, "tool_config": true,
	"systemInstruction": true, "system_instruction": true, "generationConfig": true, "generation_config": true}
