package messenger

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxText is the limit of a message's text in characters; the larger count is taken,
// UTF-16 units
// (developers.facebook.com/docs/messenger-platform/reference/send-api, read 2026-11).
const maxText = 2000

// maxAudio is the largest recording that is taken (the same reference).
const maxAudio = 25 << 20

// Split writes an answer as plain text.
func (Adapter) Split(text string) []channel.Piece { return meta.Split(text, maxText, markdown.Units) }

// Send posts one message, as an answer to one of the person. The turn travels as
// metadata, which echoes repeat.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	page := c.Config.Get(pageID)
	if f := messaging().Ready(page, out.To); f != nil {
		return "", f
	}
	message := map[string]any{"metadata": out.TurnID + "/" + strconv.Itoa(out.Part)}
	if out.Voice != nil {
		return speak(ctx, c, page, out, message)
	}
	message["text"] = out.Text
	return meta.Posted(vendorapi.Post(ctx, c, meta.Messages(page), map[string]any{"messaging_type": "RESPONSE",
		"recipient": meta.Recipient(out.To), "message": message}, vendorapi.Bearer))
}

// VoiceForm is MP3, which the Send API shows with controls. No text goes with it.
func (Adapter) VoiceForm(webhook.Config) channel.VoiceForm {
	return channel.VoiceForm{Format: "mp3", MaxBytes: maxAudio, Captionless: true}
}

// speak uploads and posts speech in one request
// (developers.facebook.com/docs/messenger-platform/send-messages/saving-assets,
// "Saving from file", read 2026-11), so that it may have been posted whenever the
// answer is lost.
func speak(ctx context.Context, c channel.Call, page string, out channel.Outgoing, message map[string]any) (string, *channel.Failure) {
	message["attachment"] = map[string]any{"type": "audio", "payload": map[string]any{"is_reusable": false}}
	to, err := json.Marshal(meta.Recipient(out.To))
	said, err2 := json.Marshal(message)
	if err != nil || err2 != nil {
		return "", &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return meta.Posted(vendorapi.Upload(ctx, c, meta.Messages(page), vendorapi.Form{Field: "filedata", Name: "voice.mp3", MIME: "audio/mpeg", File: out.Voice,
		Fields: [][2]string{{"messaging_type", "RESPONSE"}, {"recipient", string(to)}, {"message", string(said)}}}, vendorapi.Bearer))
}

// Fetch downloads a recording.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	return meta.Fetch(ctx, c, a)
}

// Typing shows that an answer is being written.
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	return messaging().Typing(ctx, c, c.Config.Get(pageID), in)
}
