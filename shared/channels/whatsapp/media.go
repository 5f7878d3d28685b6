package whatsapp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// mediaID names a file at Meta. It becomes a part of a path.
var mediaID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// maxAudio is the largest audio file that WhatsApp carries
// (developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media, of 2026-06-16).
const maxAudio = 16 << 20

// attach reads an audio message, whose description has neither size nor length
// (the same documentation, webhooks/reference/messages/audio, read 2026-11).
func attach(env *channel.Envelope, o channel.Object) {
	a := channel.Attachment{ID: o.Str("id"), Kind: channel.AudioFile, MIME: o.Str("mime_type"), SHA256: digest(o.Str("sha256"))}
	if o.Bool("voice") {
		a.Kind = channel.VoiceNote
	}
	if mediaID.MatchString(a.ID) {
		env.Attach(a)
	}
}

// digest reads a SHA-256 as hex: webhooks write it in base64, the API in hex. What
// is neither is none.
func digest(s string) string {
	if b, err := hex.DecodeString(s); err == nil && len(b) == sha256.Size {
		return strings.ToLower(s)
	}
	if b, err := base64.StdEncoding.DecodeString(s); err == nil && len(b) == sha256.Size {
		return hex.EncodeToString(b)
	}
	return ""
}

// Fetch downloads a file: its ID gives a URL that is good for five minutes and
// wants the token. The content must have the digest of the signed notification, or
// else of the API's answer.
func (Adapter) Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	if !mediaID.MatchString(a.ID) {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaGone}
	}
	path := "/" + a.ID
	if number := c.Config.Get(phoneNumberID); digits.MatchString(number) {
		path += "?phone_number_id=" + number // which must own the file then
	}
	r, f := vendorapi.Get(ctx, c, path, vendorapi.Bearer)
	if f != nil {
		return channel.File{}, vendorapi.Unanswered(f)
	}
	o, f := answered(r)
	if f != nil {
		return channel.File{}, vendorapi.Unanswered(f)
	}
	if n, ok := o["file_size"].(json.Number); ok {
		if size, err := n.Int64(); err == nil && size > maxAudio {
			return channel.File{}, &channel.MediaFailure{Code: channel.MediaTooLarge}
		}
	}
	want := a.SHA256
	if want == "" {
		want = digest(o.Str("sha256"))
	}
	file, failure := vendorapi.Download(ctx, c, o.Str("url"), maxAudio, vendorapi.Bearer)
	if failure != nil {
		return channel.File{}, failure
	}
	if sum := sha256.Sum256(file.Bytes); want != "" && hex.EncodeToString(sum[:]) != want {
		return channel.File{}, &channel.MediaFailure{Code: channel.MediaAltered}
	}
	return file, nil
}

// VoiceForm is Ogg Opus: what else is taken is shown as a file. It has no caption.
func (Adapter) VoiceForm(webhook.Config) channel.VoiceForm {
	return channel.VoiceForm{Format: "opus", MaxBytes: maxAudio, Captionless: true}
}

// upload stores speech at Meta and returns its ID. Nothing is posted by that.
func upload(ctx context.Context, c channel.Call, number string, voice []byte) (string, *channel.Failure) {
	const kind = "audio/ogg; codecs=opus"
	ctx, cancel := context.WithTimeout(ctx, vendorapi.UploadTime)
	defer cancel()
	r, f := vendorapi.Upload(ctx, c, "/"+number+"/media", vendorapi.Form{Field: "file", Name: "voice.ogg", MIME: kind, File: voice,
		Fields: [][2]string{{"messaging_product", "whatsapp"}, {"type", kind}}}, vendorapi.Bearer)
	if f != nil {
		return "", f
	}
	o, f := answered(r)
	if f != nil {
		return "", f
	}
	id := o.Str("id")
	if !mediaID.MatchString(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}
