package telegram

import (
	"context"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// attach reads a voice note or an audio file
// (core.telegram.org/bots/api#voice and #audio, read 2026-11).
func attach(env *channel.Envelope, o channel.Object, kind channel.MediaKind) {
	if o == nil {
		return
	}
	a := channel.Attachment{ID: o.Str("file_id"), Kind: kind, MIME: o.Str("mime_type"), Name: o.Str("file_name"), Size: count(o, "file_size")}
	a.Millis = min(count(o, "duration"), maxSeconds) * 1000
	env.Attach(a)
}

// maxSeconds is far above what Telegram records.
const maxSeconds = 1 << 30

// count reads a number that may be absent, 0 if it is.
func count(o channel.Object, name string) int64 {
	text, _ := integer(o, name)
	n, _ := strconv.ParseInt(text, 10, 64)
	return max(n, 0)
}

// Fetch downloads a file: getFile names a path, below which the file lies for an
// hour, at most 20 MB (core.telegram.org/bots/api#getfile, read 2026-11).
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	o, f := call(ctx, c, "getFile", map[string]any{"file_id": a.ID})
	if f != nil {
		return channel.File{}, vendorapi.Unanswered(f)
	}
	result := o.Obj("result")
	path := result.Str("file_path")
	if !filePath(path) {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaRefused}
	}
	if count(result, "file_size") > channel.MaxMedia {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaTooLarge}
	}
	return vendorapi.Download(ctx, c, c.BaseURL+"/file/bot"+tokenMark+"/"+path, channel.MaxMedia, inPath)
}

// filePath is a relative path that stays below the bot's own.
func filePath(s string) bool {
	if s == "" || len(s) > 512 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") != "" {
		return false
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// VoiceForm is Ogg Opus: what else sendVoice takes is no voice message in every
// client; at most 50 MB (core.telegram.org/bots/api#sendvoice, read 2026-11).
func (Adapter) VoiceForm(webhook.Config) channel.VoiceForm {
	return channel.VoiceForm{Format: "opus", MaxBytes: 50 << 20}
}

// sendVoice posts speech with its text as caption, once.
func sendVoice(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	form := vendorapi.Form{Field: "voice", Name: "voice.ogg", MIME: "audio/ogg", File: out.Voice,
		Fields: [][2]string{{"chat_id", out.To}, {"caption", out.Text}}}
	if _, ok := number(out.To); !ok {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "chat_malformed"}
	}
	if out.Format != "" {
		form.Fields = append(form.Fields, [2]string{"caption_entities", out.Format})
	}
	if out.Thread != "" {
		if _, ok := number(out.Thread); !ok {
			return "", &channel.Failure{Certainty: channel.Refused, Code: "topic_malformed"}
		}
		form.Fields = append(form.Fields, [2]string{"message_thread_id", out.Thread})
	}
	r, f := vendorapi.Upload(ctx, c, "/bot"+tokenMark+"/sendVoice", form, inPath)
	if f != nil {
		return "", f
	}
	o, f := answered(r)
	if f != nil {
		return "", f
	}
	return posted(o)
}
