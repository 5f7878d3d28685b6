package channel

import (
	"time"
	"unicode/utf8"
)

// MediaKind is what an attachment is.
type MediaKind string

// Media kinds. Adapters tell of what can be listened to only.
const (
	// VoiceNote was recorded in the messenger, in place of text.
	VoiceNote MediaKind = "voice"
	// AudioFile is any other recording.
	AudioFile MediaKind = "audio"
)

// Attachment is what a vendor says of a file that came with a message. Nothing
// of it is trusted but the ID, which [Envelope.Attach] bounds with the rest.
type Attachment struct {
	// ID is what the file is fetched by.
	ID   string    `json:"id"`
	Kind MediaKind `json:"kind"`
	// MIME is the declared type, Size the declared bytes, Millis the declared
	// length; empty or 0 = not stated.
	MIME   string `json:"mime,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Millis int64  `json:"ms,omitempty"`
	Name   string `json:"name,omitempty"`
	// SHA256 is the content's, in lower-case hex; empty = not stated.
	SHA256 string `json:"sha256,omitempty"`
}

// Bounds of an attachment's description and of how many a message may have.
const (
	MaxAttachments = 10
	maxMediaID     = 2048 // some are addresses
	maxMediaMIME   = 128
	maxMediaName   = 255
)

// Attach adds an attachment. One whose ID cannot be used, or beyond the tenth, is
// left out; what is malformed beside the ID is taken for not stated.
func (e *Envelope) Attach(a Attachment) {
	if len(e.Media) == MaxAttachments || a.ID == "" || len(a.ID) > maxMediaID || !plainText(a.ID) {
		return
	}
	if len(a.MIME) > maxMediaMIME || !plainText(a.MIME) {
		a.MIME = ""
	}
	if len(a.Name) > maxMediaName || !utf8.ValidString(a.Name) {
		a.Name = ""
	}
	a.Size, a.Millis = max(a.Size, 0), max(a.Millis, 0)
	e.Media = append(e.Media, a)
}

// plainText is printable ASCII with spaces.
func plainText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Recording is the attachment that was said instead of written; ok is false
// without one. Of several it is the first.
func (e Envelope) Recording() (a Attachment, ok bool) {
	if len(e.Media) == 0 {
		return a, false
	}
	return e.Media[0], true
}

// Empty reports a message in which nothing is said.
func (e Envelope) Empty() bool { return e.Text == "" && len(e.Media) == 0 }

// Limits of a fetched file.
const (
	// MaxMedia is the most bytes of one, MaxMediaTime the longest a fetch may take
	// (channels reference, row 48).
	MaxMedia     = 20 << 20
	MaxMediaTime = 60 * time.Second
)

// File is a fetched attachment. MIME is what the bytes are.
type File struct {
	Bytes []byte
	MIME  string
}

// MediaCode is the audit code of a file that was not fetched.
type MediaCode string

// Media codes.
const (
	// MediaRefused: the file lies where the vendor's files do not lie.
	MediaRefused MediaCode = "media.ssrf_refused"
	// NotMedia: the answer is a page, or not what it was declared to be.
	NotMedia MediaCode = "media.not_media"
	// MediaTooLarge: above [MaxMedia], or the vendor's own limit.
	MediaTooLarge MediaCode = "media.too_large"
	// MediaGone: the vendor does not have it, or not for us.
	MediaGone MediaCode = "media.gone"
	// MediaAltered: the content has another digest than the signed message says.
	MediaAltered MediaCode = "media.digest_mismatch"
	// MediaUnavailable: the vendor did not deliver it, which may pass.
	MediaUnavailable MediaCode = "media.unavailable"
)

// MediaFailure is why a file was not fetched. It holds no text of the vendor.
type MediaFailure struct {
	Code MediaCode
	// Retry says that it may pass, not before RetryAfter.
	Retry      bool
	RetryAfter time.Duration
	// TokenRejected says that the credential itself was refused.
	TokenRejected bool
	// Detail is a vendor's error code from a known list, or empty.
	Detail string
}

// VoiceForm is how a vendor takes a spoken message.
type VoiceForm struct {
	// Format is a name of the speech contract: "opus" (in Ogg), "mp3" or "wav".
	Format   string
	MaxBytes int
	// Captionless: no text goes with it.
	Captionless bool
}

// MaxCaption is how many UTF-16 units of text every vendor takes whole, with a
// spoken message or as one message of its own.
const MaxCaption = 1000
