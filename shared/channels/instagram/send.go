package instagram

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
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
	if c.BaseURL == apiBase {
		c.BaseURL = meta.GraphBase
	}
	return page, c
}

// Send posts one message.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	from, c := sender(c)
	if f := messaging().Ready(from, out.To); f != nil {
		return "", f
	}
	return meta.Posted(vendorapi.Post(ctx, c, meta.Messages(from), map[string]any{"recipient": meta.Recipient(out.To),
		"message": map[string]any{"text": out.Text}}, vendorapi.Bearer))
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
