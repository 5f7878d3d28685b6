package discord

import (
	"context"
	"encoding/json"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Fetch downloads a recording from the address that the signed command names, which
// must lie at Discord. The address is the permission: no token goes there.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	return vendorapi.Download(ctx, c, a.ID, channel.MaxMedia, nil)
}

// maxFile is the most bytes of a file in a server without boosts (the reference,
// "Uploading Files", read 2026-11).
const maxFile = 10 << 20

// VoiceForm is MP3, which every client plays beside the text. A voice message of
// Discord's own (flag 8192) takes no text, and its flag is dropped in answers to
// commands (github.com/Rapptz/discord.py/pull/9459, read 2026-11).
func (Adapter) VoiceForm(webhook.Config) channel.VoiceForm {
	return channel.VoiceForm{Format: "mp3", MaxBytes: maxFile}
}

// speak posts or edits a message with its speech as an attachment, in one request (the
// reference, "Uploading Files", read 2026-11). The list of attachments is stated,
// because an edit takes those away that are not in it.
func speak(ctx context.Context, c channel.Call, m posting, put vendorapi.Token) (vendorapi.Reply, *channel.Failure) {
	const name = "voice.mp3"
	m.body["attachments"] = []any{map[string]any{"id": "0", "filename": name}}
	said, err := json.Marshal(m.body)
	if err != nil {
		return vendorapi.Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return vendorapi.Upload(ctx, c, m.path, vendorapi.Form{Method: m.method, Fields: [][2]string{{"payload_json", string(said)}},
		Field: "files[0]", Name: name, MIME: "audio/mpeg", File: m.voice}, put)
}
