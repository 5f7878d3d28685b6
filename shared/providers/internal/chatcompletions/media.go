package chatcompletions

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

func (c *encoder) part(o *jsonwire.Object, p *model.Part) error {
	switch p.Kind {
	case model.PartText:
		o.String("type", "text")
		o.String("text", p.Text)
		return nil
	case model.PartReasoning:
		c.thinkingChunk(o, p.Reasoning)
		return nil
	case model.PartImage:
		return c.image(o, p.Media)
	case model.PartAudio:
		return c.audio(o, p.Media)
	case model.PartFile:
		return c.file(o, p.Media)
	}
	return c.refuse("messages", "a message holds a part that does not belong to its role")
}

// thinkingChunk sends a signature only to the vendor that made it.
func (c *encoder) thinkingChunk(o *jsonwire.Object, r *model.Reasoned) {
	o.String("type", "thinking")
	o.Name("thinking")
	o.B = append(o.B, `[{"type":"text","text":`...)
	o.B = append(jsonwire.AppendString(o.B, r.Text), "}]"...)
	if r.Format == string(c.c.Vendor.ID) {
		o.StringIf("signature", r.Signature)
	}
}

func (c *encoder) image(o *jsonwire.Object, m *model.Media) error {
	take := &c.m.Media
	switch {
	case !take.ImageURL && !take.ImageData:
		return c.refuseMedia("this model takes no images")
	case m.Base64 == "" && m.URL == "" || m.Base64 != "" && m.MIME == "":
		return c.refuseMedia("an image must be given as a URL or as bytes with their media type")
	case m.Base64 == "" && !take.ImageURL:
		return c.refuseMedia("this provider does not fetch images, send the image's bytes")
	case m.Base64 != "" && !take.ImageData:
		return c.refuseMedia("this provider takes images by URL only")
	case m.Base64 != "" && len(take.ImageTypes) > 0 && !slices.Contains(take.ImageTypes, strings.ToLower(m.MIME)):
		return c.refuseMedia("this model does not take this image format, send png or jpeg")
	}
	o.String("type", "image_url")
	o.Name("image_url")
	u := jsonwire.Begin(o.B)
	u.String("url", m.DataURL())
	u.StringIf("detail", m.Detail)
	o.B = u.End()
	return nil
}

func (c *encoder) audio(o *jsonwire.Object, m *model.Media) error {
	take := &c.m.Media
	if take.Audio == AudioNone {
		return c.refuseMedia("this model takes no audio in messages")
	}
	format := m.Format
	if format == "" {
		format = audioFormats[m.MIME]
	}
	if m.Base64 == "" || format == "" {
		return c.refuseMedia("audio must be given as bytes with their format, such as wav or mp3")
	}
	if len(take.AudioFormats) > 0 && !slices.Contains(take.AudioFormats, format) {
		return c.refuseMedia("this model does not take this audio format, send wav or mp3")
	}
	o.String("type", "input_audio")
	if take.Audio == AudioBare {
		o.String("input_audio", m.Base64)
		return nil
	}
	o.Name("input_audio")
	a := jsonwire.Begin(o.B)
	a.String("data", m.Base64)
	a.String("format", format)
	o.B = a.End()
	return nil
}

var audioFormats = map[string]string{
	"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3",
	"audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/aac": "aac",
}

func (c *encoder) file(o *jsonwire.Object, m *model.Media) error {
	switch c.m.Media.Files {
	case FilePart:
		return c.filePart(o, m)
	case FileDocument:
		return c.document(o, m)
	}
	return c.refuseMedia("this model takes no files in messages")
}

func (c *encoder) filePart(o *jsonwire.Object, m *model.Media) error {
	if m.FileID == "" && m.Base64 == "" && !c.m.Media.FileURL {
		return c.refuseMedia("this provider does not fetch files, send the file's bytes")
	}
	o.String("type", "file")
	o.Name("file")
	f := jsonwire.Begin(o.B)
	f.StringIf("filename", m.Name)
	switch {
	case m.FileID != "":
		f.String("file_id", m.FileID)
	case m.Base64 != "" && m.MIME == "":
		return c.refuseMedia("a file must be given with its media type")
	default:
		f.String("file_data", m.DataURL())
	}
	o.B = f.End()
	return nil
}

func (c *encoder) document(o *jsonwire.Object, m *model.Media) error {
	if m.FileID != "" || m.Base64 == "" && m.URL == "" || m.Base64 != "" && m.MIME != "application/pdf" {
		return c.refuseMedia("this provider takes PDF files only, by URL or by their bytes")
	}
	o.String("type", "document_url")
	o.String("document_url", m.DataURL())
	o.StringIf("document_name", m.Name)
	return nil
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// callID is a tool call's ID in the form the vendor takes. The same ID always
// becomes the same nine characters, so calls and results still meet; two IDs
// meet by accident about once in 10^16 pairs.
func (c *encoder) callID(id string) string {
	if !c.c.NineCharIDs || len(id) == 9 && strings.Trim(id, idAlphabet) == "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	var b [9]byte
	for i := range b {
		b[i] = idAlphabet[(int(sum[2*i])<<8|int(sum[2*i+1]))%len(idAlphabet)]
	}
	return string(b[:])
}
