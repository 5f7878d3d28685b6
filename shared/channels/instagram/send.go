package instagram

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxText is the limit of a message's text in bytes of UTF-8
// (developers.facebook.com/docs/messenger-platform/instagram/features/send-message,
// read 2026-11).
const maxText = 1000

// Split writes an answer as plain text.
func (Adapter) Split(text string) []channel.Piece {
	return meta.Split(text, maxText, func(s string) int { return len(s) })
}

// sender is who speaks for the account, and the call to where that is: the linked page
// at the Graph API, if there is one. An API base that was moved serves both.
func sender(c channel.Call) (string, channel.Call) {
	page := c.Config.Get(pageID)
	if page == "" {
		return c.Config.Get(accountID), c
	}
	c.BaseURL = graph(c.BaseURL)
	return page, c
}

// graph is where pages are: an API base that was moved serves both.
func graph(base string) string {
	if base == apiBase {
		return meta.GraphBase
	}
	return base
}

// Send posts one message.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	from, c := sender(c)
	if f := messaging().Ready(from, out.To); f != nil {
		return "", f
	}
	said := map[string]any{"text": out.Text}
	if out.Voice != nil {
		id, f := upload(ctx, c, from, out.Voice)
		if f != nil {
			return "", vendorapi.NotPosted(f)
		}
		said = map[string]any{"attachment": map[string]any{"type": "MEDIA_SHARE", "payload": map[string]any{"id": id}}}
	}
	return meta.Posted(vendorapi.Post(ctx, c, meta.Messages(from), map[string]any{"recipient": meta.Recipient(out.To), "message": said}, vendorapi.Bearer))
}

// maxAudio is the largest recording that is taken.
const maxAudio = 25 << 20

// VoiceForm is WAV, one of the forms that Instagram takes (aac, m4a, wav and mp4, not
// MP3), of a page's account only: an upload is documented for pages, over Facebook
// Login
// (developers.facebook.com/documentation/business-messaging/instagram-messaging/features/attachment-upload,
// of 2026-04-01, read 2026-11). No text goes with it.
func (Adapter) VoiceForm(c webhook.Config) channel.VoiceForm {
	if c.Get(pageID) == "" {
		return channel.VoiceForm{}
	}
	return channel.VoiceForm{Format: "wav", MaxBytes: maxAudio, Captionless: true}
}

// upload leaves speech with Meta, for a message that names it (the same page). Nothing
// is posted by it.
func upload(ctx context.Context, c channel.Call, page string, voice []byte) (string, *channel.Failure) {
	ctx, cancel := context.WithTimeout(ctx, vendorapi.UploadTime)
	defer cancel()
	r, f := vendorapi.Upload(ctx, c, "/"+page+"/message_attachments", vendorapi.Form{Field: "filedata", Name: "voice.wav", MIME: "audio/wav", File: voice,
		Fields: [][2]string{{"platform", "instagram"}, {"message", `{"attachment":{"type":"audio","payload":{"is_reusable":"true"}}}`}}}, vendorapi.Bearer)
	if f != nil {
		return "", f
	}
	o, f := meta.MessagingCodes().Answered(r)
	if f != nil {
		return "", f
	}
	id := o.Str("attachment_id")
	if !meta.Digits(id) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "answer_without_id"}
	}
	return id, nil
}

// Fetch downloads a recording.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	return meta.Fetch(ctx, c, a)
}

// Typing shows that an answer is being written
// (developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/messaging-api/sender-actions,
// read 2026-11).
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	from, c := sender(c)
	return messaging().Typing(ctx, c, from, in)
}
