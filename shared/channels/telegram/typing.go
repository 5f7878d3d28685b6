package telegram

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
)

// typingLife is below the five seconds for which the sign is shown
// (core.telegram.org/bots/api#sendchataction, read 2026-11).
const typingLife = 4 * time.Second

// Typing shows "typing" in the chat or topic.
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	chat, ok := number(in.Space)
	if !ok {
		return 0, false
	}
	body := map[string]any{"chat_id": chat, "action": "typing"}
	if in.Thread != "" {
		if body["message_thread_id"], ok = number(in.Thread); !ok {
			return 0, false
		}
	}
	_, f := call(ctx, c, "sendChatAction", body)
	return typingLife, f == nil
}
