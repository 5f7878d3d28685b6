// Package cartesia connects Cartesia: its key, its host and its voices. Speech is
// not served yet.
//
// Every request states a date in Cartesia-Version, which fixes the meaning of
// fields; the key travels as a bearer token. Source: docs.cartesia.ai, API
// conventions and list voices; read 2026-11-22.
package cartesia

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

// version is the date whose documentation this package follows.
const version = "2025-04-16"

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "sk_car_", MinLen: 16, MaxLen: 256}
	v := wire.Vendor{ID: taxonomy.Cartesia, Key: key, Header: map[string]string{"Cartesia-Version": version}}
	return providers.Entry{
		ID:             taxonomy.Cartesia,
		Title:          "Cartesia",
		VoiceOnly:      true,
		DefaultBaseURL: "https://api.cartesia.ai",
		Hosts:          []string{"api.cartesia.ai"},
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "cartesia.CheckKey", "/voices?limit=1")
		},
		ListVoices: func(ctx context.Context, t model.Target) ([]speech.Voice, error) {
			return listVoices(ctx, t, &v)
		},
	}
}

func listVoices(ctx context.Context, t model.Target, v *wire.Vendor) ([]speech.Voice, error) {
	const op = "cartesia.ListVoices"
	var out listing.Voices
	err := listing.Pages(v, op, func(after string) (string, error) {
		path := "/voices?limit=100"
		if after != "" {
			path += "&starting_after=" + url.QueryEscape(after)
		}
		var page struct {
			Data []struct {
				ID       string `json:"id"`
				Name     string `json:"name"`
				Language string `json:"language"`
			} `json:"data"`
			More bool   `json:"has_more"`
			Next string `json:"next_page"`
		}
		if err := listing.JSON(ctx, t, v, wire.Request{Op: op, Path: path}, &page); err != nil {
			return "", err
		}
		for _, voice := range page.Data {
			out.Add(voice.ID, voice.Name, voice.Language)
		}
		if !page.More {
			return "", nil
		}
		if page.Next == "" && len(page.Data) > 0 {
			page.Next = page.Data[len(page.Data)-1].ID
		}
		return page.Next, nil
	})
	return out.List, err
}
