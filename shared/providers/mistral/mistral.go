// Package mistral is the vendor Mistral AI: chat completions, embeddings and
// transcription.
//
// Facts that differ from plain chat completions, from @mistralai/mistralai 2.7.0
// (types generated from Mistral's OpenAPI document) and docs.mistral.ai
// (reasoning, function calling, vision, audio, document understanding), read
// 2026-11:
//   - A tool call's ID is exactly nine of a-z, A-Z, 0-9; others are a 400
//     (mistralai/client-js issue 69, zed-industries/zed issue 53034).
//   - "any" is the word for a required tool; tools need parameters.
//   - The seed is random_seed. Unknown fields are a 422 with a list of what is
//     wrong; user and stream_options are not sent, usage always comes.
//   - Thinking comes as chunks in content, whole and streamed, and goes back in
//     the same form; arguments of tools come as text or as an object.
//   - Audio is a bare base64 string, PDFs are document_url.
//   - The finish reasons are stop, length, model_length, tool_calls and error.
//   - A key is checked with the list of models, which needs one.
package mistral

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
	baseURL = "https://api.mistral.ai/v1"
	host    = "api.mistral.ai"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Mistral, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{
		Vendor:          vendor(),
		SeedField:       "random_seed",
		NoUser:          true,
		RequiredChoice:  "any",
		NineCharIDs:     true,
		NeedsParameters: true,
		NoStreamOptions: true,
		TextRefusals:    true,
		Models:          models(),
	}
}

// models is what Mistral's models take; anomalyco/models.dev of 2026-07-02 says
// which see images.
func models() []chatcompletions.Model {
	seeing := chatcompletions.Media{ImageURL: true, ImageData: true, ImageTypes: []string{"image/png", "image/jpeg", "image/webp", "image/gif"},
		Files: chatcompletions.FileDocument, FileURL: true}
	return []chatcompletions.Model{
		{Match: []string{"voxtral*"}, Media: chatcompletions.Media{Audio: chatcompletions.AudioBare}},
		{Match: []string{"codestral*", "open-mistral*", "open-mixtral*", "mistral-nemo*"}},
		{
			// These think when asked to (docs.mistral.ai, reasoning); which
			// efforts a model has is for the vendor to say, it adds to them.
			Match: []string{"mistral-small*", "mistral-medium*", "mistral-large*", "magistral*"}, Media: seeing,
			Reasoning: chatcompletions.ReasoningEffort, EffortOn: "high", Replay: chatcompletions.ReplayChunks,
		},
		{Media: seeing, Reasoning: chatcompletions.ReasoningEffort, EffortOn: "high"},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.Mistral,
		Title:          "Mistral AI",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn,
			taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		NewChat:        func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:          chat().Lacks,
		NewEmbedder: func() model.Embedder {
			return embeddings.New(embeddings.Config{Vendor: v, DimensionsField: "output_dimension", NoUser: true})
		},
		NewTranscriber: func() speech.Transcriber { return audioapi.NewPlainTranscriber(v) },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/models")
		},
	}
}
