// Package googlespeech connects Google Cloud Text-to-Speech: an API key of a
// project, and its voices. Speech is not served yet.
//
// The key travels in x-goog-api-key, never in the URL. Recognition (Speech-to-Text
// v2) wants OAuth instead of an API key, so a connection of this kind can only
// ever speak. Source: cloud.google.com/text-to-speech/docs/reference/rest/v1/voices/list;
// read 2026-11.
package googlespeech

import (
	"context"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "x-goog-api-key", Prefix: "AIza", MinLen: 16, MaxLen: 512}
	v := wire.Vendor{ID: taxonomy.GoogleSpeech, Key: key, Errors: wire.Errors{
		{Code: "api_key_invalid", Fault: fault.ProviderKeyInvalid},
		{Code: "unauthenticated", Fault: fault.ProviderKeyInvalid},
		{Code: "resource_exhausted", Fault: fault.ProviderRateLimited},
	}}
	return providers.Entry{
		ID:             taxonomy.GoogleSpeech,
		Title:          "Google Cloud Text-to-Speech",
		VoiceOnly:      true,
		DefaultBaseURL: "https://texttospeech.googleapis.com/v1",
		Hosts:          []string{"texttospeech.googleapis.com"},
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "googlespeech.CheckKey", "/voices?languageCode=en-GB")
		},
		ListVoices: func(ctx context.Context, t model.Target) ([]speech.Voice, error) {
			return listVoices(ctx, t, &v)
		},
	}
}

func listVoices(ctx context.Context, t model.Target, v *wire.Vendor) ([]speech.Voice, error) {
	var in struct {
		Voices []struct {
			Name      string   `json:"name"`
			Languages []string `json:"languageCodes"`
		} `json:"voices"`
	}
	if err := listing.JSON(ctx, t, v, wire.Request{Op: "googlespeech.ListVoices", Path: "/voices"}, &in); err != nil {
		return nil, err
	}
	var out listing.Voices
	for _, voice := range in.Voices {
		language := ""
		if len(voice.Languages) > 0 {
			language = voice.Languages[0]
		}
		out.Add(voice.Name, voice.Name, language)
	}
	return out.List, nil
}
