// Package openrouter is the vendor OpenRouter: chat completions, transcription
// and speech behind one key.
//
// Facts that differ from plain chat completions, from openrouter.ai/docs (API
// reference, errors and debugging, streaming, reasoning tokens, prompt caching,
// speech-to-text, text-to-speech; read 2026-11):
//   - An error may come with status 200, in the body or in the middle of a
//     stream; its numeric code is then the status.
//   - While a stream waits, comment lines ": OPENROUTER PROCESSING" are sent.
//   - Thinking is asked for with a reasoning object and returned as
//     reasoning_details, which must go back unchanged.
//   - usage carries cost; it is kept in [model.Usage.Raw] and means nothing to us.
//   - The list of models is public, so a key is checked with GET /key.
//   - The native transcription body is JSON with base64 audio, not multipart.
//
// The optional headers HTTP-Referer and X-Title are not sent: they would tell a
// third party which product an organisation uses. A strict request is passed on as
// provider.require_parameters (docs, provider routing, read 2026-11). The fields models, route and
// preset are refused, because they would let the vendor answer with another
// model than the one that was planned, priced and gated.
package openrouter

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

const (
	baseURL = "https://openrouter.ai/api/v1"
	host    = "openrouter.ai"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "sk-or-", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.OpenRouter, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{
		Vendor:       vendor(),
		CacheControl: true,
		RefuseExtra:  []string{"models", "preset", "route"},
		Strict:       chatcompletions.Field{Name: "provider", JSON: `{"require_parameters":true}`},
		// One row for all: what a model behind OpenRouter takes, it says itself.
		Models: []chatcompletions.Model{{
			Media: chatcompletions.Media{ImageURL: true, ImageData: true, Audio: chatcompletions.AudioObject,
				Files: chatcompletions.FilePart, FileURL: true},
			Reasoning: chatcompletions.ReasoningObject,
			Replay:    chatcompletions.ReplayDetails,
			TopK:      true,
		}},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.OpenRouter,
		Title:          "OpenRouter",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn,
			taxonomy.CapAudioOut, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		// CancelStopsBilling is not set: whose model answers decides it, and many are listed as
		// billed to their end (openrouter.ai/docs/api-reference/streaming, read 2026-11-22).
		NewChat:        func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:          chat().Lacks,
		NewEmbedder:    func() model.Embedder { return embeddings.New(embeddings.Config{Vendor: v, Tokens: true}) },
		NewTranscriber: func() speech.Transcriber { return audioapi.NewJSONTranscriber(v) },
		NewSynthesizer: func() speech.Synthesizer { return audioapi.NewSynthesizer(v) },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/key")
		},
	}
}
