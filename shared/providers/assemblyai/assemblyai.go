// Package assemblyai connects AssemblyAI: its key and its hosts. The API lists
// neither models nor voices. Transcription is not served yet.
//
// The key travels in Authorization without a scheme. A list of at most one
// transcript proves it. Source: assemblyai.com/docs/api-reference (list
// transcripts); read 2026-11.
package assemblyai

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "Authorization", MinLen: 16, MaxLen: 256}
	v := wire.Vendor{ID: taxonomy.AssemblyAI, Key: key}
	return providers.Entry{
		ID:             taxonomy.AssemblyAI,
		Title:          "AssemblyAI",
		VoiceOnly:      true,
		DefaultBaseURL: "https://api.assemblyai.com/v2",
		Hosts:          []string{"api.assemblyai.com", "api.eu.assemblyai.com"},
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "assemblyai.CheckKey", "/transcript?limit=1")
		},
	}
}
