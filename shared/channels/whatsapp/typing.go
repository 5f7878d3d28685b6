package whatsapp

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
)

// typingLife is below the 25 seconds for which the sign is shown
// (developers.facebook.com/documentation/business-messaging/whatsapp/typing-indicators,
// of 2026-06-17).
const typingLife = 20 * time.Second

// Typing marks the message as read and shows that an answer is being written.
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	number := c.Config.Get(phoneNumberID)
	if !digits.MatchString(number) || in.Message == "" {
		return 0, false
	}
	_, f := call(ctx, c, "/"+number+"/messages", map[string]any{"messaging_product": "whatsapp", "status": "read", "message_id": in.Message,
		"typing_indicator": map[string]any{"type": "text"}})
	return typingLife, f == nil
}
