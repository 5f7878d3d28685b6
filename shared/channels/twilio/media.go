package twilio

import (
	"context"
	"regexp"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// mediaForm is the address of a file, at the API or one of its regions
// (www.twilio.com/docs/messaging/api/media-resource and docs/global-infrastructure, read
// 2026-11). Its path is asked for at our API base, whatever the host was.
var mediaForm = regexp.MustCompile(`^https://api(?:\.[a-z0-9-]{1,32}){0,2}\.twilio\.com(/2010-04-01/Accounts/(AC[0-9A-Za-z]{32})/Messages/(?:SM|MM)[0-9A-Za-z]{32}/Media/ME[0-9A-Za-z]{32})$`)

// Fetch downloads a recording, whose ID is the address in the signed form: the
// account's own only.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	m := mediaForm.FindStringSubmatch(a.ID)
	if m == nil || m[2] != c.Config.Get(accountSID) {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaRefused}
	}
	return vendorapi.DownloadBehind(ctx, c, m[1], channel.MaxMedia, basic(c.Config))
}
