// Package groq is the vendor Groq, a fast host of open models: chat completions
// and transcription.
//
// Facts that differ from plain chat completions, from groq-sdk 1.6.0 (types
// generated from Groq's OpenAPI document) and console.groq.com/docs (reasoning,
// errors, speech to text), read 2026-11:
//   - In a stream, usage stands in x_groq.usage of the last chunk, and an error
//     that ended the answer in x_groq.error.
//   - GPT-OSS models return thinking unless include_reasoning is false; Qwen
//     models put it into the text unless reasoning_format is parsed or hidden, so
//     that one of them is always sent. It comes back as reasoning, and goes back
//     as such.
//   - The penalties, logit_bias and logprobs are "not yet supported by any of our
//     models"; only one choice is made.
//   - 413 with rate_limit_exceeded is a request above the account's tokens per
//     minute; 498 is a full flex tier; a failed tool call or JSON output is a 400
//     of the model's making.
//   - The list of models needs a key.
//   - Transcription has no diarisation and no stream.
package groq

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/audioapi"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL = "https://api.groq.com/openai/v1"
	host    = "api.groq.com"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "gsk_", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Groq, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{Vendor: vendor(), MaxTokensField: "max_completion_tokens", TextRefusals: true, Models: models()}
}

func models() []chatcompletions.Model {
	without := []string{"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs"}
	parsed := chatcompletions.Field{Name: "reasoning_format", JSON: `"parsed"`}
	hidden := chatcompletions.Field{Name: "reasoning_format", JSON: `"hidden"`}
	return []chatcompletions.Model{
		{
			Match:     []string{"openai/gpt-oss*"},
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "medium", "high"}, EffortOn: "medium",
			Hidden: chatcompletions.Field{Name: "include_reasoning", JSON: "false"},
			Replay: chatcompletions.ReplayPlain, Without: without,
		},
		{
			Match:     []string{"qwen/qwen3.8*"},
			Media:     chatcompletions.Media{ImageURL: true, ImageData: true},
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"none", "default", "low", "medium", "high"}, EffortOn: "default",
			Shown: parsed, Hidden: hidden, Replay: chatcompletions.ReplayPlain, Without: without,
		},
		{
			Match:     []string{"qwen/qwen3*"},
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"none", "default"}, EffortOn: "default",
			Shown: parsed, Hidden: hidden, Replay: chatcompletions.ReplayPlain, Without: without,
		},
		{Match: []string{"llama-3*"}, Without: without},
		{Match: []string{"groq/compound*", "compound-beta*"}, Without: append([]string{"tools"}, without...)},
		{Media: chatcompletions.Media{ImageURL: true, ImageData: true}, Reasoning: chatcompletions.ReasoningEffort, Without: without},
	}
}

// transcriber hides that the multipart transcriber can stream: Groq cannot.
type transcriber struct{ speech.Transcriber }

// CarriesExtra implements [speech.ExtraCarrier].
func (transcriber) CarriesExtra() bool { return true }

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.Groq,
		Title:          "Groq",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities:   []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		NewChat:        func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:          chat().Lacks,
		NewTranscriber: func() speech.Transcriber { return transcriber{audioapi.NewTranscriber(v)} },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/models")
		},
	}
}
