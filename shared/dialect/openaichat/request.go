package openaichat

import (
	"encoding/json"
	"math"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

const op = "openaichat.ParseRequest"

// Meta is what a client asked for beside the model call itself.
type Meta struct {
	// IncludeUsage is stream_options.include_usage.
	IncludeUsage bool
}

func bad(param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

func badMedia(param, message string) error {
	return fault.New(fault.UnsupportedMedia, op, message).WithParam(param)
}

// fields are the top-level members that are left to read.
type fields struct{ *body.Object }

// ParseRequest reads the body of POST /v1/chat/completions. It fails with
// fault.InvalidRequest or fault.UnsupportedMedia.
func ParseRequest(text []byte) (*model.Request, Meta, error) {
	object, err := body.Parse(op, text)
	if err != nil {
		return nil, Meta{}, err
	}
	f := fields{object}
	r := &model.Request{Dialect: model.DialectChat}
	var meta Meta
	for _, step := range []func(*model.Request, *Meta) error{f.basics, f.messages, f.tools, f.choice, f.output, f.limits,
		f.sampling, f.stop, f.reasoning, f.provider, f.refuse} {
		if err := step(r, &meta); err != nil {
			return nil, Meta{}, err
		}
	}
	if r.Extra, err = f.Rest(); err != nil {
		return nil, Meta{}, err
	}
	return r, meta, nil
}

func (f fields) basics(r *model.Request, meta *Meta) (err error) {
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
	if v := f.Take("stream_options"); v != nil {
		var so struct {
			IncludeUsage bool `json:"include_usage"`
		}
		if json.Unmarshal(v, &so) != nil {
			return bad("stream_options", "stream_options must be an object such as {\"include_usage\": true}")
		}
		meta.IncludeUsage = so.IncludeUsage
	}
	return nil
}

func (f fields) limits(r *model.Request, _ *Meta) error {
	older, err := f.Int("max_tokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	newer, err := f.Int("max_completion_tokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if older != nil && newer != nil && *older != *newer {
		return bad("max_tokens", "max_tokens and max_completion_tokens differ, give one of them")
	}
	if newer == nil {
		newer = older
	}
	if newer != nil {
		r.MaxOutputTokens = int(*newer)
	}
	return nil
}

func (f fields) sampling(r *model.Request, _ *Meta) (err error) {
	s := &r.Sampling
	for _, k := range [...]struct {
		name            string
		into            **float64
		lowest, highest float64
	}{{"temperature", &s.Temperature, 0, 2}, {"top_p", &s.TopP, 0, 1},
		{"frequency_penalty", &s.FrequencyPenalty, -2, 2}, {"presence_penalty", &s.PresencePenalty, -2, 2}} {
		if *k.into, err = f.Float(k.name, k.lowest, k.highest); err != nil {
			return err
		}
	}
	topK, err := f.Int("top_k", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if topK != nil {
		k := int(*topK)
		s.TopK = &k
	}
	s.Seed, err = f.Int("seed", math.MinInt64, math.MaxInt64)
	return err
}

func (f fields) stop(r *model.Request, _ *Meta) error {
	v := f.Take("stop")
	if v == nil {
		return nil
	}
	if v[0] == '"' {
		r.Stop = make([]string, 1)
		if json.Unmarshal(v, &r.Stop[0]) != nil {
			return bad("stop", "stop must be a string or an array of strings")
		}
		return nil
	}
	if json.Unmarshal(v, &r.Stop) != nil || len(r.Stop) > body.MaxStops {
		return bad("stop", "stop must be a string or an array of at most 16 strings")
	}
	return nil
}

// efforts are the words of the dialect; which of them a model takes is the
// vendor's matter.
var efforts = map[string]bool{"none": true, "minimal": true, "low": true, "medium": true, "high": true, "xhigh": true, "max": true}

func (f fields) reasoning(r *model.Request, _ *Meta) (err error) {
	effort, err := f.String("reasoning_effort")
	if err != nil {
		return err
	}
	var in struct {
		Effort    string `json:"effort"`
		MaxTokens int    `json:"max_tokens"`
		Exclude   bool   `json:"exclude"`
		Enabled   *bool  `json:"enabled"`
	}
	if v := f.Take("reasoning"); v != nil {
		if json.Unmarshal(v, &in) != nil || in.MaxTokens < 0 {
			return bad("reasoning", "reasoning must be an object with effort, max_tokens, exclude or enabled")
		}
	}
	if in.Effort != "" && effort != "" && in.Effort != effort {
		return bad("reasoning_effort", "reasoning_effort and reasoning.effort differ, give one of them")
	}
	if in.Effort == "" {
		in.Effort = effort
	}
	if in.Effort != "" && !efforts[in.Effort] {
		return bad("reasoning_effort", "the reasoning effort must be none, minimal, low, medium, high, xhigh or max")
	}
	include, err := f.Bool("include_reasoning")
	if err != nil {
		return err
	}
	r.Reasoning = model.Reasoning{Effort: in.Effort, MaxTokens: in.MaxTokens, Enabled: in.Enabled,
		Exclude: in.Exclude || include != nil && !*include}
	return nil
}

// provider reads the one member of OpenRouter's routing preferences that asks
// something of us: that nothing of the request is left out (its documentation,
// provider routing, read 2026-11). Alone it is taken, because the gateway tells the
// vendor; with others it stays among the unknown fields.
func (f fields) provider(r *model.Request, _ *Meta) error {
	v := f.Peek("provider")
	if len(v) == 0 || v[0] != '{' {
		return nil
	}
	preferences, err := body.Parse(op, v)
	if err != nil {
		return bad("provider", "provider must be an object")
	}
	strict, err := preferences.Bool("require_parameters")
	if err != nil {
		return bad("provider.require_parameters", "provider.require_parameters must be true or false")
	}
	r.Strict = strict != nil && *strict
	if rest, err := preferences.Rest(); err == nil && len(rest) == 0 && strict != nil {
		_ = f.Take("provider")
	}
	return nil
}

// refuse turns down what nobody would honour.
func (f fields) refuse(r *model.Request, _ *Meta) error {
	n, err := f.Int("n", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if n != nil && *n != 1 {
		return bad("n", "only one choice per request is supported, leave n out")
	}
	for _, name := range [...]string{"functions", "function_call"} {
		if f.Take(name) != nil {
			return bad(name, "functions are replaced by tools and tool_choice")
		}
	}
	if v := f.Peek("modalities"); v != nil && r.Stream {
		var words []string
		if json.Unmarshal(v, &words) != nil {
			return bad("modalities", "modalities must be an array of words")
		}
		for _, w := range words {
			if w != "text" {
				return badMedia("modalities", "answers in audio or images cannot be streamed, ask without stream")
			}
		}
	}
	return nil
}
