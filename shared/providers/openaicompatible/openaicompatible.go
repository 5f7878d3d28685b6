// Package openaicompatible is any server that speaks the OpenAI dialect at an
// address the organisation names: vLLM, Ollama, LM Studio, llama.cpp and hosted
// services alike.
//
// Such servers differ in what they leave out, so the adapter is tolerant: a key
// is optional, [DONE] without a finish reason ends an answer (Ollama's
// compatibility layer has sent such streams: pydantic/pydantic-ai issue 6610),
// errors are told apart by their text where there is no code. It asks for
// max_tokens, which all of them know, and for reasoning_effort. Earlier thinking
// is not sent back: most servers refuse or ignore it.
//
// The address is checked by package egress when it is saved and at every
// connection; this package only appends paths to it.
package openaicompatible

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/audioapi"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/embeddings"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", MinLen: 1}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.OpenAICompatible, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{
		Vendor:   vendor(),
		DoneEnds: true,
		Models: []chatcompletions.Model{{
			Media: chatcompletions.Media{ImageURL: true, ImageData: true, Audio: chatcompletions.AudioObject,
				Files: chatcompletions.FilePart, FileURL: true},
			Reasoning: chatcompletions.ReasoningEffort,
			TopK:      true,
		}},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:    taxonomy.OpenAICompatible,
		Title: "OpenAI-compatible endpoint",
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn,
			taxonomy.CapAudioOut, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		DefaultBilling: taxonomy.Private,
		NewChat:        func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:          chat().Lacks,
		NewEmbedder:    func() model.Embedder { return embeddings.New(embeddings.Config{Vendor: v, Tokens: true}) },
		NewTranscriber: func() speech.Transcriber { return audioapi.NewTranscriber(v) },
		NewSynthesizer: func() speech.Synthesizer { return audioapi.NewSynthesizer(v) },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/models")
		},
	}
}
