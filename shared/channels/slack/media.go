package slack

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

var fileID = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

// attach reads the recordings among a message's files. A clip that was recorded in
// Slack has the subtype slack_audio and a name that begins so; its media type may
// say video (docs.slack.dev/reference/objects/file-object, read 2026-11;
// github.com/openclaw/openclaw/pull/14941).
func attach(env *channel.Envelope, files []any) {
	for _, f := range files {
		o, _ := f.(channel.Object)
		a := channel.Attachment{ID: o.Str("id"), MIME: o.Str("mimetype"), Name: o.Str("name"), Size: count(o, "size"), Millis: count(o, "duration_ms")}
		switch {
		case !fileID.MatchString(a.ID):
			continue
		case o.Str("subtype") == "slack_audio", strings.HasPrefix(a.Name, "audio_message"):
			a.Kind = channel.VoiceNote
		case strings.HasPrefix(a.MIME, "audio/"):
			a.Kind = channel.AudioFile
		default:
			continue
		}
		env.Attach(a)
	}
}

// count reads a number that may be absent, 0 if it is.
func count(o channel.Object, name string) int64 {
	n, _ := o[name].(json.Number)
	v, _ := strconv.ParseInt(n.String(), 10, 64)
	return max(v, 0)
}

// Fetch downloads a file from where files.info says, with the bot token and the
// scope files:read. Without access the answer is a page with status 200.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	if !fileID.MatchString(a.ID) {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaGone}
	}
	o, f := ask(ctx, c, "files.info", url.Values{"file": {a.ID}})
	if f != nil {
		return channel.File{}, vendorapi.Unanswered(f)
	}
	file := o.Obj("file")
	if count(file, "size") > channel.MaxMedia {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaTooLarge}
	}
	address := file.Str("url_private_download")
	if address == "" {
		address = file.Str("url_private")
	}
	return vendorapi.Download(ctx, c, address, channel.MaxMedia, vendorapi.Bearer)
}

// ask calls a method whose arguments are no JSON.
func ask(ctx context.Context, c channel.Call, method string, args url.Values) (channel.Object, *channel.Failure) {
	r, f := vendorapi.Get(ctx, c, "/"+method+"?"+args.Encode(), vendorapi.Bearer)
	if f != nil {
		return nil, f
	}
	return answered(r)
}

// VoiceForm is MP3, which every client plays beside the message.
func (Adapter) VoiceForm(webhook.Config) channel.VoiceForm {
	return channel.VoiceForm{Format: "mp3", MaxBytes: channel.MaxMedia}
}

// sendVoice uploads speech and shares it with its text: nothing is posted before the
// last of three calls (docs.slack.dev/messaging/working-with-files, read 2026-11). The
// vendor's answer names the file, not the message.
func sendVoice(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	o, f := ask(ctx, c, "files.getUploadURLExternal", url.Values{"filename": {"voice.mp3"}, "length": {strconv.Itoa(len(out.Voice))}})
	if f != nil {
		return "", vendorapi.NotPosted(f)
	}
	id := o.Str("file_id")
	if !fileID.MatchString(id) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "answer_without_id"}
	}
	if f := vendorapi.PutFile(ctx, c, o.Str("upload_url"), "audio/mpeg", out.Voice); f != nil {
		return "", vendorapi.NotPosted(f)
	}
	comment, _ := shown(out)
	body := map[string]any{"files": []any{map[string]any{"id": id, "title": "Voice"}}, "channel_id": out.To, "initial_comment": comment}
	if out.Thread != "" {
		body["thread_ts"] = out.Thread
	}
	if _, f := call(ctx, c, "files.completeUploadExternal", body); f != nil {
		return "", f
	}
	return id, nil
}
