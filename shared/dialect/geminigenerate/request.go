package geminigenerate

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

const op = "geminigenerate.ParseRequest"

// nativeFormat is the [model.Reasoned] format of thoughts of a vendor of this
// dialect, as OpenRouter names it (its reasoning documentation, 2026-11).
const nativeFormat = "google-gemini-v1"

func bad(param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

func badMedia(param, message string) error {
	return fault.New(fault.UnsupportedMedia, op, message).WithParam(param)
}

type fields struct{ *body.Object }

// take takes a member under its name or the snake_case form, which the API's
// clients use as well.
func (f fields) take(name string) json.RawMessage {
	v := f.Take(name)
	if w := f.Take(snake(name)); v == nil {
		v = w
	}
	return v
}

func snake(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c + 'a' - 'A')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ParseRequest reads the body of a call of the named model. stream says which
// method was called. It fails with fault.InvalidRequest or
// fault.UnsupportedMedia.
func ParseRequest(name string, stream bool, text []byte) (*model.Request, error) {
	if name == "" || len(name) > body.MaxName {
		return nil, bad("model", "the path must name a model, for example /v1beta/models/gemini/gemini-flash:generateContent")
	}
	object, err := body.Parse(op, text)
	if err != nil {
		return nil, err
	}
	f := fields{object}
	r := &model.Request{Dialect: model.DialectGemini, Model: name, Stream: stream}
	for _, step := range []func(*model.Request) error{f.system, f.contents, f.tools, f.toolConfig, f.generation, f.refuse} {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	if r.Extra, err = f.Rest(); err != nil {
		return nil, err
	}
	return r, nil
}

func (f fields) refuse(*model.Request) error {
	if f.take("cachedContent") != nil {
		return bad("cachedContent", "cached contents lie with the vendor and cannot be reached from here; send the contents themselves")
	}
	// The model is the one of the path.
	_ = f.take("model")
	return nil
}

func (f fields) generation(r *model.Request) error {
	v := f.take("generationConfig")
	if v == nil {
		return nil
	}
	object, err := body.Parse(op, v)
	if err != nil {
		return bad("generationConfig", "generationConfig must be an object")
	}
	g := fields{object}
	for _, step := range []func(*model.Request) error{g.limits, g.sampling, g.output, g.thinking} {
		if err := step(r); err != nil {
			f := fault.As(err)
			return f.WithParam("generationConfig." + f.Param)
		}
	}
	return nil
}

func (g fields) limits(r *model.Request) error {
	g.rename("maxOutputTokens", "candidateCount", "stopSequences")
	limit, err := g.Int("maxOutputTokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if limit != nil {
		r.MaxOutputTokens = int(*limit)
	}
	n, err := g.Int("candidateCount", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if n != nil && *n != 1 {
		return bad("candidateCount", "only one candidate per request is supported, leave candidateCount out")
	}
	if v := g.Take("stopSequences"); v != nil && (json.Unmarshal(v, &r.Stop) != nil || len(r.Stop) > body.MaxStops) {
		return bad("stopSequences", "stopSequences must be an array of at most 16 strings")
	}
	return nil
}

// rename lets the typed readers find members in snake_case form.
func (g fields) rename(names ...string) {
	for _, n := range names {
		if g.Peek(n) == nil {
			g.Put(n, g.Take(snake(n)))
		}
	}
}

func (g fields) sampling(r *model.Request) (err error) {
	g.rename("topP", "topK", "presencePenalty", "frequencyPenalty")
	s := &r.Sampling
	for _, k := range [...]struct {
		name            string
		into            **float64
		lowest, highest float64
	}{{"temperature", &s.Temperature, 0, 2}, {"topP", &s.TopP, 0, 1},
		{"frequencyPenalty", &s.FrequencyPenalty, -2, 2}, {"presencePenalty", &s.PresencePenalty, -2, 2}} {
		if *k.into, err = g.Float(k.name, k.lowest, k.highest); err != nil {
			return err
		}
	}
	// The vendor's own SDKs send topK as 40.0.
	topK, err := g.Float("topK", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if topK != nil {
		k := int(*topK)
		s.TopK = &k
	}
	s.Seed, err = g.Int("seed", math.MinInt64, math.MaxInt64)
	return err
}

func (g fields) output(r *model.Request) error {
	g.rename("responseMimeType", "responseModalities")
	kind, err := g.String("responseMimeType")
	if err != nil {
		return err
	}
	schema := g.take("responseJsonSchema")
	if v := g.take("responseSchema"); schema == nil && v != nil {
		if schema, err = lowerTypes(v); err != nil {
			return bad("responseSchema", "responseSchema must be a schema object")
		}
	}
	switch {
	case kind != "" && kind != "text/plain" && kind != "application/json":
		return bad("responseMimeType", "the answer can be text/plain or application/json")
	case schema != nil && kind != "application/json":
		return bad("responseMimeType", "a schema needs responseMimeType application/json")
	case schema != nil:
		if schema[0] != '{' {
			return bad("responseJsonSchema", "the schema must be an object")
		}
		strict := true
		r.Output = model.Output{Kind: model.OutputJSONSchema, Name: "answer", Schema: schema, Strict: &strict}
	case kind == "application/json":
		r.Output.Kind = model.OutputJSONObject
	}
	v := g.Take("responseModalities")
	var words []string
	if v != nil && json.Unmarshal(v, &words) != nil {
		return bad("responseModalities", "responseModalities must be an array of words")
	}
	for _, w := range words {
		if !strings.EqualFold(w, "text") {
			return badMedia("responseModalities", "answers are text here; speech has its own endpoint")
		}
	}
	return nil
}

func (g fields) thinking(r *model.Request) error {
	v := g.take("thinkingConfig")
	if v != nil {
		object, err := body.Parse(op, v)
		if err != nil {
			return bad("thinkingConfig", "thinkingConfig must be an object")
		}
		t := fields{object}
		t.rename("includeThoughts", "thinkingBudget", "thinkingLevel")
		if err := t.thought(r); err != nil {
			f := fault.As(err)
			return f.WithParam("thinkingConfig." + f.Param)
		}
	}
	// What is left steers details of one vendor; dropping it in silence would
	// change the answer.
	rest, err := g.Rest()
	if err != nil {
		return err
	}
	for name := range rest {
		return bad(name, "this generation field is not offered here; leave it out")
	}
	return nil
}

func (t fields) thought(r *model.Request) error {
	include, err := t.Bool("includeThoughts")
	if err != nil {
		return err
	}
	budget, err := t.Int("thinkingBudget", -1, math.MaxInt32)
	if err != nil {
		return err
	}
	level, err := t.String("thinkingLevel")
	if err != nil {
		return err
	}
	off, on := false, true
	switch {
	case budget != nil && *budget == 0:
		r.Reasoning.Enabled = &off
	case budget != nil && *budget > 0:
		r.Reasoning.Enabled, r.Reasoning.MaxTokens = &on, int(*budget)
	case budget != nil:
		r.Reasoning.Enabled = &on
	}
	switch word := strings.ToLower(level); word {
	case "", "thinking_level_unspecified":
	case "minimal", "low", "medium", "high":
		r.Reasoning.Effort = word
	default:
		return bad("thinkingLevel", "the level must be minimal, low, medium or high")
	}
	// Thoughts are shown only to those who ask.
	r.Reasoning.Exclude = include == nil || !*include
	return nil
}
