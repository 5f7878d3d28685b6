package chatcompletions

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// ReasoningStyle is how a model is asked for thinking.
type ReasoningStyle uint8

// Reasoning styles. ReasoningNone refuses requests that ask for thinking.
const (
	ReasoningNone     ReasoningStyle = iota
	ReasoningEffort                  // reasoning_effort: "low"
	ReasoningObject                  // reasoning: {effort, max_tokens, exclude, enabled}
	ReasoningThinking                // thinking: {type: "enabled"}, and reasoning_effort if the model has efforts
)

// ReplayStyle is how earlier thinking is sent back to a model.
type ReplayStyle uint8

// Replay styles. ReplayNone leaves earlier thinking out.
const (
	ReplayNone    ReplayStyle = iota
	ReplayDetails             // reasoning_details: [...], or reasoning when there is only text
	ReplayContent             // reasoning_content: "..."
	// ReplayContentCalls is ReplayContent for models that want the field with
	// every tool call, empty if there was no thinking.
	ReplayContentCalls
	ReplayPlain  // reasoning: "..."
	ReplayChunks // content: [{type: "thinking", thinking: [...]}, ...]
)

// Model is one row of a vendor's table: what some of its models take.
type Model struct {
	// Match are model IDs; a "*" at the end stands for any rest. None matches
	// every model.
	Match []string
	Media Media
	// Reasoning is how thinking is asked for, Efforts which efforts there are
	// (none means the vendor decides), EffortOn the effort that turns thinking on
	// when a request says no more than that.
	Reasoning ReasoningStyle
	Efforts   []string
	EffortOn  string
	// Shown and Hidden are sent for thinking that is returned or excluded.
	Shown, Hidden Field
	Replay        ReplayStyle
	// TopK says that top_k is a known parameter.
	TopK bool
	// Without are parameters the model refuses, as the client writes them:
	// "seed", "stop", "logprobs", "tool_choice.required", "tool_choice.named",
	// "response_format.json_schema", or "parallel_tool_calls" for a value of
	// false.
	Without []string
	// Fixed are parameters with the only values the model takes.
	Fixed []Fixed
}

// Field is a member of the request body with its JSON text. The zero Field is
// none.
type Field struct{ Name, JSON string }

// Fixed is a number that a model does not let one choose.
type Fixed struct {
	Name   string
	Values []float64
}

// Media says which parts a model takes beside text. The zero value takes none.
type Media struct {
	// ImageURL takes images by address, ImageData by their bytes; ImageTypes are
	// the media types of bytes, none means all.
	ImageURL, ImageData bool
	ImageTypes          []string
	Audio               AudioForm
	// AudioFormats are the formats of audio, none means all.
	AudioFormats []string
	// Files is how files are written; FileURL takes them by address as well.
	Files   FileForm
	FileURL bool
	// InTools says that tool results may hold images.
	InTools bool
}

// AudioForm is how audio is written.
type AudioForm uint8

// Audio forms.
const (
	AudioNone   AudioForm = iota
	AudioObject           // input_audio: {data, format}
	AudioBare             // input_audio: "<base64>"
)

// FileForm is how files are written.
type FileForm uint8

// File forms.
const (
	FileNone     FileForm = iota
	FilePart              // file: {filename, file_data | file_id}
	FileDocument          // document_url: "https:... or data:...", PDF only
)

// row finds what holds for a model.
func (c *Config) row(id string) *Model {
	for i := range c.Models {
		if m := &c.Models[i]; len(m.Match) == 0 || slices.ContainsFunc(m.Match, func(p string) bool { return matches(p, id) }) {
			return m
		}
	}
	return &Model{}
}

// Lacks lists the capabilities that a model's row refuses.
func (c Config) Lacks(id string) []taxonomy.Capability {
	m := c.row(id)
	var out []taxonomy.Capability
	if !m.Media.ImageURL && !m.Media.ImageData {
		out = append(out, taxonomy.CapVision)
	}
	if m.Media.Audio == AudioNone {
		out = append(out, taxonomy.CapAudioIn)
	}
	if slices.Contains(m.Without, "tools") {
		out = append(out, taxonomy.CapTools)
	}
	return out
}

func matches(pattern, id string) bool {
	head, open := strings.CutSuffix(pattern, "*")
	return id == pattern || open && strings.HasPrefix(id, head)
}

// admit refuses what the model is known not to take.
func (c *encoder) admit(r *model.Request) error {
	m, s := c.m, &r.Sampling
	for _, p := range [...]struct {
		name string
		used bool
	}{
		{"temperature", s.Temperature != nil}, {"top_p", s.TopP != nil}, {"frequency_penalty", s.FrequencyPenalty != nil},
		{"presence_penalty", s.PresencePenalty != nil}, {"seed", s.Seed != nil}, {"stop", len(r.Stop) > 0},
		{"tools", len(r.Tools) > 0}, {"parallel_tool_calls", r.Parallel != nil && !*r.Parallel},
		{"tool_choice.required", r.ToolChoice.Mode == model.ChoiceRequired}, {"tool_choice.named", r.ToolChoice.Mode == model.ChoiceNamed},
		{"response_format.json_schema", r.Output.Kind == model.OutputJSONSchema},
	} {
		if p.used && slices.Contains(m.Without, p.name) {
			return c.withoutParam(p.name)
		}
	}
	if r.Dialect == model.DialectChat {
		for _, name := range m.Without {
			if r.Extra[name] != nil {
				return c.withoutParam(name)
			}
		}
	}
	for _, f := range m.Fixed {
		if v := s.Number(f.Name); v != nil && !slices.Contains(f.Values, *v) {
			return c.refuse(f.Name, "this model does not let one choose this value, leave it out")
		}
	}
	return nil
}

func (c *encoder) withoutParam(name string) error {
	param, _, _ := strings.Cut(name, ".")
	return c.refuse(param, "this model does not have this option, leave it out or choose another model")
}

// Uncarried implements [model.Carrier].
func (c *Chat) Uncarried(id string, r *model.Request) (out []string) {
	m := c.c.row(id)
	for _, name := range [...]string{model.FieldTemperature, model.FieldTopP, model.FieldFrequencyPenalty, model.FieldPresencePenalty, model.FieldSeed} {
		if r.Sampling.Has(name) && slices.Contains(m.Without, name) {
			out = append(out, name)
		}
	}
	for _, f := range m.Fixed {
		if v := r.Sampling.Number(f.Name); v != nil && !slices.Contains(f.Values, *v) {
			out = append(out, f.Name)
		}
	}
	if r.Sampling.TopK != nil && !m.TopK {
		out = append(out, model.FieldTopK)
	}
	if c.c.NoUser && r.User != "" {
		out = append(out, model.FieldUser)
	}
	for name := range r.Extra {
		if r.Dialect != model.DialectChat || slices.Contains(m.Without, name) {
			out = append(out, name)
		}
	}
	return out
}
