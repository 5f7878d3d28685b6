package bedrock

import (
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Formats by media type (ImageFormat, DocumentFormat and AudioFormat of the service
// model).
var (
	imageFormats = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}

	documentFormats = map[string]string{"application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx", "text/html": "html", "text/plain": "txt",
		"text/markdown": "md"}

	audioFormats = map[string]string{"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/flac": "flac",
		"audio/aac": "aac", "audio/ogg": "ogg", "audio/opus": "opus", "audio/webm": "webm", "audio/mp4": "m4a", "audio/x-m4a": "m4a",
		"mp3": "mp3", "wav": "wav", "flac": "flac", "aac": "aac", "ogg": "ogg", "opus": "opus", "webm": "webm", "m4a": "m4a"}
)

// blob writes format and bytes as member name of o.
func blob(o *jsonwire.Object, name, format, documentName, base64 string) {
	o.Name(name)
	n := jsonwire.Begin(o.B)
	n.String("format", format)
	n.StringIf("name", documentName)
	n.Name("source")
	s := jsonwire.Begin(n.B)
	s.String("bytes", base64)
	n.B = s.End()
	o.B = n.End()
}

func (e *encoded) image(o *jsonwire.Object, m *model.Media) error {
	format := imageFormats[m.MIME]
	switch {
	case m.Base64 == "":
		return e.c.refuseMedia("this provider does not fetch images, send the image as bytes")
	case format == "":
		return e.c.refuseMedia("this provider takes images as PNG, JPEG, GIF or WebP, with their media type")
	}
	blob(o, "image", format, "", m.Base64)
	return nil
}

func (e *encoded) audio(o *jsonwire.Object, m *model.Media) error {
	kind := m.MIME
	if kind == "" {
		kind = m.Format
	}
	format := audioFormats[kind]
	switch {
	case !e.profile.audio:
		return e.c.refuseMedia("this model takes no audio")
	case m.Base64 == "":
		return e.c.refuseMedia("this provider does not fetch audio, send it as bytes")
	case format == "":
		return e.c.refuseMedia("this provider takes audio as MP3, WAV, FLAC, AAC, OGG, Opus, WebM or M4A, with its format")
	}
	blob(o, "audio", format, "", m.Base64)
	return nil
}

func (e *encoded) document(o *jsonwire.Object, m *model.Media) error {
	format := documentFormats[m.MIME]
	switch {
	case m.Base64 == "":
		return e.c.refuseMedia("this provider does not fetch files, send the file as bytes")
	case format == "":
		return e.c.refuseMedia("this provider takes files as PDF, CSV, Word, Excel, HTML, plain text or Markdown, with their media type")
	}
	blob(o, "document", format, e.documentName(m.Name), m.Base64)
	return nil
}

// documentName makes a name that the API takes, letters, digits, hyphens, brackets
// and single spaces, and that no other document of the request has.
func (e *encoded) documentName(s string) string {
	// The format is stated beside the name.
	if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= 5 {
		s = s[:i]
	}
	var b strings.Builder
	gap := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-()[]", c) >= 0:
			if gap && b.Len() > 0 {
				b.WriteByte(' ')
			}
			gap = false
			b.WriteByte(c)
		default:
			gap = true
		}
		if b.Len() >= maxDocumentName {
			break
		}
	}
	name := b.String()
	if name == "" {
		name = "document"
	}
	if e.names == nil {
		e.names = map[string]int{}
	}
	for base := name; e.names[name] > 0; {
		e.names[base]++
		name = base + " " + strconv.Itoa(e.names[base])
	}
	e.names[name]++
	return name
}

// maxDocumentName is below the API's 200, so that a number has room.
const maxDocumentName = 180
