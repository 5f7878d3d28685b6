package googlechat

import (
	"context"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// attach reads the recordings that were uploaded with a message. Files of Drive need
// another permission; what was recorded in Chat cannot be told from a file
// (developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages.attachments,
// read 2026-11).
func attach(env *channel.Envelope, m channel.Object) {
	for k, one := range m.List("attachment") {
		a, _ := one.(channel.Object)
		id, kind := a.Obj("attachmentDataRef").Str("resourceName"), a.Str("contentType")
		if k >= maxAnnotations {
			return
		}
		if strings.HasPrefix(kind, "audio/") && resource(id) {
			env.Attach(channel.Attachment{ID: id, Kind: channel.AudioFile, MIME: kind, Name: a.Str("contentName")})
		}
	}
}

// resource is a name that stays below its path.
func resource(s string) bool {
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=") != "" {
		return false
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Fetch downloads an upload with the token that sends
// (developers.google.com/workspace/chat/download-media-attachments, read 2026-11).
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	if !resource(a.ID) {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaRefused}
	}
	return vendorapi.Download(ctx, c, c.BaseURL+"/media/"+a.ID+"?alt=media", channel.MaxMedia, vendorapi.Bearer)
}
