// Package elevenlabs connects ElevenLabs: its key, its hosts, and its lists of
// models and voices. Speech is not served yet.
//
// The key travels in xi-api-key. Keys may be restricted to some abilities; one
// that may not list models is answered with 401 and counts as rejected. Source:
// elevenlabs.io/docs/api-reference (list models, list voices v2) and the types of
// elevenlabs-python; read 2026-11.
package elevenlabs

import (
	"context"
	"net/url"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "xi-api-key", Prefix: "sk_", MinLen: 16, MaxLen: 256}
	v := wire.Vendor{ID: taxonomy.ElevenLabs, Key: key}
	return providers.Entry{
		ID:             taxonomy.ElevenLabs,
		Title:          "ElevenLabs",
		VoiceOnly:      true,
		DefaultBaseURL: "https://api.elevenlabs.io",
		// The further hosts keep data in one region.
		Hosts:          []string{"api.elevenlabs.io", "api.us.elevenlabs.io", "api.eu.residency.elevenlabs.io", "api.in.residency.elevenlabs.io"},
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return listModels(ctx, t, &v)
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "elevenlabs.CheckKey", "/v1/models")
		},
		ListVoices: func(ctx context.Context, t model.Target) ([]speech.Voice, error) {
			return listVoices(ctx, t, &v)
		},
	}
}

func listModels(ctx context.Context, t model.Target, v *wire.Vendor) ([]model.Listed, error) {
	const op = "elevenlabs.ListModels"
	var in []struct {
		ID    string `json:"model_id"`
		Name  string `json:"name"`
		Speak bool   `json:"can_do_text_to_speech"`
	}
	if err := listing.JSON(ctx, t, v, wire.Request{Op: op, Path: "/v1/models"}, &in); err != nil {
		return nil, err
	}
	if len(in) > listing.MaxEntries {
		return nil, v.Malformed(op)
	}
	out := []model.Listed{}
	for _, m := range in {
		if m.Speak && wire.CleanID(m.ID) {
			out = append(out, model.Listed{ID: m.ID, Name: wire.Showable(m.Name), Inputs: []string{"text"}, Outputs: []string{"audio"}})
		}
	}
	return out, nil
}

func listVoices(ctx context.Context, t model.Target, v *wire.Vendor) ([]speech.Voice, error) {
	const op = "elevenlabs.ListVoices"
	var out listing.Voices
	err := listing.Pages(v, op, func(token string) (string, error) {
		path := "/v2/voices?page_size=100"
		if token != "" {
			path += "&next_page_token=" + url.QueryEscape(token)
		}
		var page struct {
			Voices []struct {
				ID     string            `json:"voice_id"`
				Name   string            `json:"name"`
				Labels map[string]string `json:"labels"`
			} `json:"voices"`
			More bool   `json:"has_more"`
			Next string `json:"next_page_token"`
		}
		if err := listing.JSON(ctx, t, v, wire.Request{Op: op, Path: path}, &page); err != nil {
			return "", err
		}
		for _, voice := range page.Voices {
			out.Add(voice.ID, voice.Name, voice.Labels["language"])
		}
		if !page.More {
			return "", nil
		}
		return page.Next, nil
	})
	return out.List, err
}
