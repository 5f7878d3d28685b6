package openai

import "github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"

// models is what OpenAI's models take in chat completions; see the package's
// comment for the sources. A model that is not named gets the last row, in which
// only what holds for the whole API is refused.
func models() []chatcompletions.Model {
	images := chatcompletions.Media{ImageURL: true, ImageData: true, ImageTypes: imageTypes(), Files: chatcompletions.FilePart}
	fixed := []chatcompletions.Fixed{{Name: "temperature", Values: []float64{1}}, {Name: "top_p", Values: []float64{1}},
		{Name: "frequency_penalty", Values: []float64{0}}, {Name: "presence_penalty", Values: []float64{0}}}
	return []chatcompletions.Model{
		{
			Match: []string{"gpt-audio*", "gpt-4o-audio*", "gpt-4o-mini-audio*"},
			Media: chatcompletions.Media{Audio: chatcompletions.AudioObject, AudioFormats: []string{"wav", "mp3"}},
		},
		{Match: []string{"gpt-3.5*", "gpt-4", "gpt-4-0*"}},
		{Match: []string{"gpt-4*", "chatgpt-4o*", "gpt-5-chat*"}, Media: images},
		{
			Match:     []string{"o3-mini*"},
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "medium", "high"}, EffortOn: "medium",
			Without: []string{"logprobs", "top_logprobs"}, Fixed: fixed,
		},
		{
			Match: []string{"o1*", "o3*", "o4*"}, Media: images,
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "medium", "high"}, EffortOn: "medium",
			Without: []string{"stop", "logprobs", "top_logprobs"}, Fixed: fixed,
		},
		{
			Match: []string{"gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*"}, Media: images,
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"minimal", "low", "medium", "high"}, EffortOn: "medium",
			Without: []string{"logprobs", "top_logprobs"}, Fixed: fixed,
		},
		{Media: images, Reasoning: chatcompletions.ReasoningEffort, EffortOn: "medium"},
	}
}

func imageTypes() []string { return []string{"image/png", "image/jpeg", "image/webp", "image/gif"} }
