package line

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// maxMillis is far above what LINE records.
const maxMillis = 1 << 40

// attach reads a recording that lies at LINE; one that lies elsewhere is nobody's
// whose token or host we know.
func attach(env *channel.Envelope, m channel.Object) {
	if m.Obj("contentProvider").Str("type") != "line" {
		return
	}
	a := channel.Attachment{ID: env.Message, Kind: channel.VoiceNote, MIME: "audio/mp4"}
	if d, ok := m["duration"].(json.Number); ok {
		if ms, err := d.Int64(); err == nil {
			a.Millis = min(max(ms, 0), maxMillis)
		}
	}
	env.Attach(a)
}

// Fetch downloads a recording by its message's id. A large one is being prepared at
// first, which is status 202 (developers.line.biz/en/reference/messaging-api/#get-content,
// read 2026-11).
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	if strings.Trim(a.ID, "0123456789") != "" || a.ID == "" {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaRefused}
	}
	return vendorapi.Download(ctx, c, c.DataURL+"/v2/bot/message/"+a.ID+"/content", channel.MaxMedia, vendorapi.Bearer)
}
