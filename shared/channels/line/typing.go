package line

import (
	"context"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// The sign is shown for at most 60 seconds, or until a message comes
// (developers.line.biz/en/docs/messaging-api/use-loading-indicator, read 2026-11).
const (
	loadingSeconds = 20
	typingLife     = 18 * time.Second
)

// Typing shows that an answer is being made, in a conversation with one person; LINE
// has no sign for others.
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	if !in.Direct || !botForm.MatchString(in.Space) {
		return 0, false
	}
	r, f := vendorapi.Post(ctx, c, "/v2/bot/chat/loading/start", map[string]any{"chatId": in.Space, "loadingSeconds": loadingSeconds}, vendorapi.Bearer)
	return typingLife, f == nil && (r.Status == http.StatusAccepted || r.Status == http.StatusOK) && r.Body != nil
}
