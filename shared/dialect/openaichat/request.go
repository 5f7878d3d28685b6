package openaichat

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

const op = "openaichat.ParseRequest"

// Limits of one request.
const (
	maxMessages = 10000
	maxParts    = 1000
	maxTools    = 512
	maxStops    = 16
	maxExtra    = 64
	maxName     = 256
)

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
type fields map[string]json.RawMessage

// ParseRequest reads the body of POST /v1/chat/completions. It fails with
// fault.InvalidRequest or fault.UnsupportedMedia.
func ParseRequest(body []byte) (*model.Request, Meta, error) {
	if err := jsonwire.Check(body); err != nil {
		return nil, Meta{}, bad("", err.Error())
	}
	var f fields
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '{' || json.Unmarshal(body, &f) != nil {
		return nil, Meta{}, bad("", "the body must be a JSON object")
	}
	r := &model.Request{Dialect: model.DialectChat}
	var meta Meta
	for _, step := range []func(*model.Request, *Meta) error{f.basics, f.messages, f.tools, f.choice, f.output, f.limits,
		f.sampling, f.stop, f.reasoning, f.refuse} {
		if err := step(r, &meta); err != nil {
			return nil, Meta{}, err
		}
	}
	if len(f) > maxExtra {
		return nil, Meta{}, bad("", "the body has too many unknown fields")
	}
	if len(f) > 0 {
		r.Extra = f
	}
	return r, meta, nil
}

// take removes a member and returns its value, nil if it is absent or null.
func (f fields) take(name string) json.RawMessage {
	v, ok := f[name]
	delete(f, name)
	if !ok || string(v) == "null" {
		return nil
	}
	return v
}

func (f fields) str(name string) (string, error) {
	v := f.take(name)
	if v == nil {
		return "", nil
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return "", bad(name, name+" must be a string")
	}
	return s, nil
}

func (f fields) boolean(name string) (*bool, error) {
	v := f.take(name)
	if v == nil {
		return nil, nil
	}
	b := string(v) == "true"
	if !b && string(v) != "false" {
		return nil, bad(name, name+" must be true or false")
	}
	return &b, nil
}

func (f fields) integer(name string, lowest, highest int64) (*int64, error) {
	v := f.take(name)
	if v == nil {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < lowest || n > highest {
		return nil, bad(name, name+" must be a whole number between "+strconv.FormatInt(lowest, 10)+" and "+strconv.FormatInt(highest, 10))
	}
	return &n, nil
}

func (f fields) number(name string, lowest, highest float64) (*float64, error) {
	v := f.take(name)
	if v == nil {
		return nil, nil
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil || n < lowest || n > highest || math.IsNaN(n) {
		return nil, bad(name, name+" must be a number between "+strconv.FormatFloat(lowest, 'g', -1, 64)+" and "+strconv.FormatFloat(highest, 'g', -1, 64))
	}
	return &n, nil
}

func (f fields) basics(r *model.Request, meta *Meta) (err error) {
	if r.Model, err = f.str("model"); err != nil {
		return err
	}
	if r.Model == "" || len(r.Model) > maxName {
		return bad("model", "model is required, for example \"openrouter/openai/gpt-4o-mini\"")
	}
	if r.User, err = f.str("user"); err != nil {
		return err
	}
	if len(r.User) > maxName {
		return bad("user", "user is longer than 256 characters")
	}
	stream, err := f.boolean("stream")
	if err != nil {
		return err
	}
	r.Stream = stream != nil && *stream
	if v := f.take("stream_options"); v != nil {
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
	older, err := f.integer("max_tokens", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	newer, err := f.integer("max_completion_tokens", 1, math.MaxInt32)
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
		if *k.into, err = f.number(k.name, k.lowest, k.highest); err != nil {
			return err
		}
	}
	topK, err := f.integer("top_k", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if topK != nil {
		k := int(*topK)
		s.TopK = &k
	}
	s.Seed, err = f.integer("seed", math.MinInt64, math.MaxInt64)
	return err
}

func (f fields) stop(r *model.Request, _ *Meta) error {
	v := f.take("stop")
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
	if json.Unmarshal(v, &r.Stop) != nil || len(r.Stop) > maxStops {
		return bad("stop", "stop must be a string or an array of at most 16 strings")
	}
	return nil
}

// efforts are the words of the dialect; which of them a model takes is the
// vendor's matter.
var efforts = map[string]bool{"none": true, "minimal": true, "low": true, "medium": true, "high": true, "xhigh": true, "max": true}

func (f fields) reasoning(r *model.Request, _ *Meta) (err error) {
	effort, err := f.str("reasoning_effort")
	if err != nil {
		return err
	}
	var in struct {
		Effort    string `json:"effort"`
		MaxTokens int    `json:"max_tokens"`
		Exclude   bool   `json:"exclude"`
		Enabled   *bool  `json:"enabled"`
	}
	if v := f.take("reasoning"); v != nil {
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
	include, err := f.boolean("include_reasoning")
	if err != nil {
		return err
	}
	r.Reasoning = model.Reasoning{Effort: in.Effort, MaxTokens: in.MaxTokens, Enabled: in.Enabled,
		Exclude: in.Exclude || include != nil && !*include}
	return nil
}

// refuse turns down what nobody would honour.
func (f fields) refuse(r *model.Request, _ *Meta) error {
	n, err := f.integer("n", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	if n != nil && *n != 1 {
		return bad("n", "only one choice per request is supported, leave n out")
	}
	for _, name := range [...]string{"functions", "function_call"} {
		if f.take(name) != nil {
			return bad(name, "functions are replaced by tools and tool_choice")
		}
	}
	if v, ok := f["modalities"]; ok && r.Stream {
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
