// Package openai is the vendor OpenAI: chat completions, embeddings,
// transcription, translation and speech.
//
// Facts beside the format itself, from openai-go v3.96.0 (the types and their
// comments) and developers.openai.com/docs (error codes, reasoning, images,
// files and audio as inputs), read 2026-11; which models take what is checked
// against anomalyco/models.dev of 2026-07-02:
//   - max_tokens is deprecated and refused by reasoning models, so that
//     max_completion_tokens is sent to all.
//   - stop is refused by o3 and o4-mini; reasoning models of before GPT-5.1 fix
//     temperature, top_p and the penalties and return no logprobs.
//   - Thinking is not returned by chat completions, only counted.
//   - Images come as png, jpeg, webp or gif, by URL or bytes; audio as wav or mp3
//     to the audio models only; files as bytes or an ID, never by URL.
//   - An account without money answers 429 with the code insufficient_quota.
//   - The list of models needs a key, so it checks the key as well.
//   - Voices have no list in the API; the names are those of AudioSpeechNewParams.
package openai

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
	baseURL = "https://api.openai.com/v1"
	host    = "api.openai.com"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "sk-", MinLen: 20, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.OpenAI, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{Vendor: vendor(), MaxTokensField: "max_completion_tokens", CacheKey: true, Models: models()}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.OpenAI,
		Title:          "OpenAI",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn,
			taxonomy.CapAudioOut, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		// "For supported providers, this immediately stops model processing and billing", OpenAI among
		// them (openrouter.ai/docs/api-reference/streaming, stream cancellation, read 2026-11-22).
		CancelStopsBilling: true,
		NewChat:            newChat,
		Lacks:              chat().Lacks,
		NewEmbedder:        func() model.Embedder { return embeddings.New(embeddings.Config{Vendor: v, Base64: true, Tokens: true}) },
		NewTranscriber:     func() speech.Transcriber { return audioapi.NewTranscriber(v) },
		NewSynthesizer:     func() speech.Synthesizer { return audioapi.NewSynthesizer(v) },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/models")
		},
		ListVoices: listVoices,
	}
}

// listVoices returns the vendor's fixed names; nothing is asked.
func listVoices(context.Context, model.Target) ([]speech.Voice, error) {
	names := []string{"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"}
	out := make([]speech.Voice, len(names))
	for i, n := range names {
		out[i] = speech.Voice{ID: n, Name: n}
	}
	return out, nil
}
