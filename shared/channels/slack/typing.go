package slack

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
)

// thinking is the status, shown behind the app's name.
const thinking = "is thinking…"

// Typing sets the status of the thread that the answer goes to. It lasts until the
// app posts there, at most two minutes, and needs chat:write only, also in rooms
// (docs.slack.dev/reference/methods/assistant.threads.setStatus and
// docs.slack.dev/changelog/2026/03/05/set-status-scope-update, read 2026-11). Outside
// of threads there is none.
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	if in.Thread == "" {
		return 0, false
	}
	_, f := call(ctx, c, "assistant.threads.setStatus", map[string]any{"channel_id": in.Space, "thread_ts": in.Thread, "status": thinking})
	return 0, f == nil
}
