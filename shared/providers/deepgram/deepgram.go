// Package deepgram connects Deepgram: its key, its hosts, and its public models,
// of which those for speech are the voices. Speech is not served yet.
//
// The key travels as Authorization: Token. The list of models is open to keys of
// any scope; /v1/auth/token describes the key itself. Source:
// developers.deepgram.com/reference/manage/models/list and the authentication
// guide; read 2026-11-22.
package deepgram

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "Authorization", Scheme: "Token", MinLen: 16, MaxLen: 512}
	v := wire.Vendor{ID: taxonomy.Deepgram, Key: key}
	return providers.Entry{
		ID:             taxonomy.Deepgram,
		Title:          "Deepgram",
		VoiceOnly:      true,
		DefaultBaseURL: "https://api.deepgram.com/v1",
		Hosts:          []string{"api.deepgram.com", "api.eu.deepgram.com", "api.au.deepgram.com", "api.in.deepgram.com"},
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return listModels(ctx, t, &v)
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "deepgram.CheckKey", "/auth/token")
		},
		ListVoices: func(ctx context.Context, t model.Target) ([]speech.Voice, error) {
			return listVoices(ctx, t, &v)
		},
	}
}

type entry struct {
	Name      string   `json:"name"`
	Canonical string   `json:"canonical_name"`
	Languages []string `json:"languages"`
}

type models struct {
	Listen []entry `json:"stt"`
	Speak  []entry `json:"tts"`
}

func read(ctx context.Context, t model.Target, v *wire.Vendor, op string) (in models, err error) {
	if err = listing.JSON(ctx, t, v, wire.Request{Op: op, Path: "/models"}, &in); err == nil && len(in.Listen)+len(in.Speak) > listing.MaxEntries {
		err = v.Malformed(op)
	}
	return in, err
}

// listModels names each model once: the API lists its versions by language.
func listModels(ctx context.Context, t model.Target, v *wire.Vendor) ([]model.Listed, error) {
	in, err := read(ctx, t, v, "deepgram.ListModels")
	if err != nil {
		return nil, err
	}
	out, seen := []model.Listed{}, map[string]bool{}
	add := func(list []entry, inputs, outputs string) {
		for _, e := range list {
			if wire.CleanID(e.Canonical) && !seen[e.Canonical] {
				seen[e.Canonical] = true
				out = append(out, model.Listed{ID: e.Canonical, Name: wire.Showable(e.Name), Inputs: []string{inputs}, Outputs: []string{outputs}})
			}
		}
	}
	add(in.Listen, "audio", "text")
	add(in.Speak, "text", "audio")
	return out, nil
}

func listVoices(ctx context.Context, t model.Target, v *wire.Vendor) ([]speech.Voice, error) {
	in, err := read(ctx, t, v, "deepgram.ListVoices")
	var out listing.Voices
	for _, e := range in.Speak {
		out.Add(e.Canonical, e.Name, first(e.Languages))
	}
	return out.List, err
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
