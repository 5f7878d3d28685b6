package egress

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
)

// sniffed is a file format that is known by its first bytes.
type sniffed struct {
	// types are what it may be called, the usual name first.
	types []string
	is    func(b []byte) bool
}

// sniffBytes is as much as any format needs.
const sniffBytes = 64

func begins(magic string) func([]byte) bool {
	return func(b []byte) bool { return bytes.HasPrefix(b, []byte(magic)) }
}

// boxed reports an ISO base media file whose major brand is one of these.
func boxed(brands ...string) func([]byte) bool {
	return func(b []byte) bool {
		return len(b) >= 12 && string(b[4:8]) == "ftyp" && slices.ContainsFunc(brands, func(s string) bool { return strings.HasPrefix(string(b[8:12]), s) })
	}
}

func riff(form string) func([]byte) bool {
	return func(b []byte) bool { return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == form }
}

// mpegAudio reports a frame header of layer I to III with a possible rate, or an
// ID3 tag before it.
func mpegAudio(b []byte) bool {
	return bytes.HasPrefix(b, []byte("ID3")) ||
		len(b) >= 3 && b[0] == 0xff && b[1]&0xe0 == 0xe0 && b[1]&0x18 != 0x08 && b[1]&0x06 != 0 && b[2]&0xf0 != 0xf0 && b[2]&0x0c != 0x0c
}

// adts reports AAC frames: layer 0 where MPEG audio has 1 to 3.
func adts(b []byte) bool { return len(b) >= 2 && b[0] == 0xff && b[1]&0xf6 == 0xf0 }

// formats are what messages carry. The signatures are those of the formats'
// specifications, as also listed in the WHATWG MIME Sniffing Standard
// (mimesniff.spec.whatwg.org, read 2026-11) where that knows them.
var formats = []sniffed{
	{[]string{"image/jpeg", "image/jpg", "image/pjpeg"}, begins("\xff\xd8\xff")},
	{[]string{"image/png", "image/x-png"}, begins("\x89PNG\r\n\x1a\n")},
	{[]string{"image/gif"}, func(b []byte) bool { return begins("GIF87a")(b) || begins("GIF89a")(b) }},
	{[]string{"image/webp"}, riff("WEBP")},
	{[]string{"image/heic", "image/heif"}, boxed("heic", "heix", "mif1", "msf1", "hevc")},
	{[]string{"image/avif"}, boxed("avif", "avis")},
	{[]string{"audio/ogg", "audio/opus", "audio/vorbis", "video/ogg", "application/ogg"}, begins("OggS")},
	{[]string{"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"}, riff("WAVE")},
	{[]string{"audio/flac", "audio/x-flac"}, begins("fLaC")},
	{[]string{"audio/amr", "audio/amr-wb"}, begins("#!AMR")},
	{[]string{"audio/aiff", "audio/x-aiff"}, func(b []byte) bool { return len(b) >= 12 && string(b[:4]) == "FORM" && string(b[8:11]) == "AIF" }},
	{[]string{"audio/mp4", "audio/m4a", "audio/x-m4a", "audio/aac", "video/mp4"}, boxed("M4A", "M4B")},
	{[]string{"video/3gpp", "audio/3gpp", "video/3gpp2", "audio/3gpp2"}, boxed("3g")},
	{[]string{"video/quicktime", "video/mp4"}, boxed("qt  ")},
	{[]string{"video/mp4", "audio/mp4", "audio/m4a", "audio/x-m4a", "video/quicktime"}, boxed("isom", "iso", "mp4", "avc1", "dash", "M4V", "f4v", "MSNV")},
	{[]string{"video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"}, begins("\x1aE\xdf\xa3")},
	{[]string{"application/pdf"}, begins("%PDF-")},
	{[]string{"audio/aac", "audio/aacp", "audio/x-aac"}, adts},
	{[]string{"audio/mpeg", "audio/mp3", "audio/x-mpeg", "audio/mpeg3"}, mpegAudio},
}

// MediaType decides what a file is: what it declares if its first 64 bytes agree,
// what they say if it declares nothing. ok is false if the bytes are of no known
// format or of another one than declared. It is for files that come with a
// vendor's credential, and so not through [Egress.Media].
func MediaType(declared string, first []byte) (name string, ok bool) {
	i := slices.IndexFunc(formats, func(f sniffed) bool { return f.is(first) })
	if i < 0 {
		return "", false
	}
	types := formats[i].types
	switch declared {
	case "", "application/octet-stream", "binary/octet-stream", "application/x-binary":
		return types[0], true
	}
	mt, _, err := mime.ParseMediaType(declared)
	if err != nil || !slices.Contains(types, mt) {
		return "", false
	}
	return mt, true
}

// allowedType matches a media type against a list of "audio/ogg" and "audio/*".
func allowedType(name string, list []string) bool {
	family, _, _ := strings.Cut(name, "/")
	return slices.Contains(list, name) || slices.Contains(list, family+"/*")
}

// sniff looks at the first bytes of a complete answer and sets its Content-Type
// to what they are. Other answers keep theirs: they are the caller's to refuse.
func (g *guarded) sniff(host Host, resp *http.Response) error {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil
	}
	first := make([]byte, sniffBytes)
	n, err := io.ReadFull(resp.Body, first)
	first = first[:n]
	// Exactly: an answer that was cut wraps the same error and is no short file.
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // see above
		return err
	}
	name, ok := MediaType(resp.Header.Get("Content-Type"), first)
	if resp.StatusCode != http.StatusOK || !ok || !allowedType(name, g.types) {
		return fault.Wrap(fault.UnsupportedMedia, "egress", "the file is not of a kind that is accepted here", &Error{Kind: g.kind, Host: host, Reason: NotMedia})
	}
	resp.Header.Set("Content-Type", name)
	resp.Body = joined{io.MultiReader(bytes.NewReader(first), resp.Body), resp.Body}
	return nil
}
