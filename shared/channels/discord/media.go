package discord

import (
	"context"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Fetch downloads a recording from the address that the signed command names, which
// must lie at Discord. The address is the permission: no token goes there.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	return vendorapi.Download(ctx, c, a.ID, channel.MaxMedia, nil)
}
