package audioapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// Transcriber uploads recordings as multipart forms. It is stateless and safe
// for concurrent use.
type Transcriber struct{ v wire.Vendor }

// NewTranscriber makes a multipart transcriber; it also streams.
func NewTranscriber(v wire.Vendor) speech.StreamTranscriber { return &Transcriber{v: v} }

// Transcribe implements [speech.Transcriber].
func (t *Transcriber) Transcribe(ctx context.Context, call speech.TranscribeCall) (*speech.Transcription, error) {
	ans, err := t.send(ctx, call, false)
	if err != nil {
		return nil, err
	}
	return finish(&t.v, ans, call.Request)
}

// StreamTranscribe implements [speech.StreamTranscriber]. A server that does not
// stream answers with the whole text, which then is the only event.
func (t *Transcriber) StreamTranscribe(ctx context.Context, call speech.TranscribeCall) (speech.TextStream, error) {
	ans, err := t.send(ctx, call, true)
	if err != nil {
		return nil, err
	}
	if mt, _, _ := mime.ParseMediaType(ans.Header.Get("Content-Type")); mt != "text/event-stream" {
		done, err := finish(&t.v, ans, call.Request)
		if err != nil {
			return nil, err
		}
		return &textStream{queue: []speech.TextEvent{{Done: done}}, finished: true}, nil
	}
	s := newTextStream(&t.v, ans, call.Request)
	if err := s.prime(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (t *Transcriber) send(ctx context.Context, call speech.TranscribeCall, stream bool) (*wire.Answer, error) {
	kind, err := container(&t.v, call.Request)
	if err != nil {
		return nil, err
	}
	if stream && (call.Request.Translate || call.Request.WordTimes || call.Request.SegmentTimes) {
		return nil, t.v.Refuse(opTranscribe, fault.InvalidRequest, "stream", "translations and timestamps cannot be streamed")
	}
	f := newForm(call.Request)
	writeFields(f, call.Request, stream)
	body := f.close("voice."+string(kind), mediaTypes[kind], call.Request.Audio)
	path := "/audio/transcriptions"
	if call.Request.Translate {
		path = "/audio/translations"
	}
	return wire.Do(ctx, call.Target, &t.v, wire.Request{Op: opTranscribe, Method: http.MethodPost, Path: path,
		ContentType: "multipart/form-data; boundary=" + f.boundary, Accept: "application/json", Body: bytes.NewReader(body),
		Size: int64(len(body)), Stream: stream})
}

// wireFormat is the response_format to ask for: one that has what the client's
// format needs.
func wireFormat(f speech.Format) string {
	switch f {
	case speech.FormatSRT, speech.FormatVTT, speech.FormatVerboseJSON:
		return "verbose_json"
	case speech.FormatDiarizedJSON:
		return "diarized_json"
	}
	return "json"
}

func writeFields(f *form, r *speech.TranscribeRequest, stream bool) {
	f.field("model", r.Model)
	f.field("response_format", wireFormat(r.Format))
	f.fieldIf("language", r.Language)
	f.fieldIf("prompt", r.Prompt)
	if r.Temperature != nil {
		f.field("temperature", string(jsonwire.AppendFloat(nil, *r.Temperature)))
	}
	if r.WordTimes {
		f.field("timestamp_granularities[]", "word")
	}
	if r.SegmentTimes {
		f.field("timestamp_granularities[]", "segment")
	}
	if r.Logprobs {
		f.field("include[]", "logprobs")
	}
	f.fieldIf("chunking_strategy", r.ChunkingStrategy)
	for _, list := range [...]struct {
		name   string
		values []string
	}{{"languages[]", r.Languages}, {"keywords[]", r.Keywords}, {"known_speaker_names[]", r.SpeakerNames},
		{"known_speaker_references[]", r.SpeakerReferences}} {
		for _, v := range list.values {
			f.field(list.name, v)
		}
	}
	writeExtra(f, r)
	if stream {
		f.field("stream", "true")
	}
}

// CarriesExtra implements [speech.ExtraCarrier].
func (t *Transcriber) CarriesExtra() bool { return true }

// writeExtra passes on fields we do not know, in the order of their names.
func writeExtra(f *form, r *speech.TranscribeRequest) {
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if wire.CleanID(strings.TrimSuffix(name, "[]")) {
			for _, v := range r.Extra[name] {
				f.field(name, v)
			}
		}
	}
}

// form writes a multipart body into one buffer of the right size. The boundary
// is fixed text that is made longer until it does not occur in the content, so
// that equal requests have equal bytes.
type form struct {
	b        []byte
	boundary string
}

func newForm(r *speech.TranscribeRequest) *form {
	boundary := "latchkey-form-boundary"
	for occurs(r, boundary) {
		boundary += "-"
	}
	return &form{b: make([]byte, 0, len(r.Audio)+4096), boundary: boundary}
}

func occurs(r *speech.TranscribeRequest, boundary string) bool {
	if bytes.Contains(r.Audio, []byte(boundary)) {
		return true
	}
	lists := [][]string{{r.Model, r.Language, r.Prompt, r.ChunkingStrategy}, r.Languages, r.Keywords, r.SpeakerNames, r.SpeakerReferences}
	for _, values := range r.Extra {
		lists = append(lists, values)
	}
	for _, list := range lists {
		for _, s := range list {
			if strings.Contains(s, boundary) {
				return true
			}
		}
	}
	return false
}

func (f *form) part(headers string) {
	f.b = append(f.b, "--"...)
	f.b = append(f.b, f.boundary...)
	f.b = append(f.b, "\r\nContent-Disposition: form-data; "...)
	f.b = append(f.b, headers...)
	f.b = append(f.b, "\r\n\r\n"...)
}

func (f *form) field(name, value string) {
	f.part(`name="` + name + `"`)
	f.b = append(f.b, value...)
	f.b = append(f.b, '\r', '\n')
}

func (f *form) fieldIf(name, value string) {
	if value != "" {
		f.field(name, value)
	}
}

func (f *form) close(filename, mediaType string, audio []byte) []byte {
	f.part(`name="file"; filename="` + filename + "\"\r\nContent-Type: " + mediaType)
	f.b = append(f.b, audio...)
	f.b = append(f.b, "\r\n--"...)
	f.b = append(f.b, f.boundary...)
	return append(f.b, "--\r\n"...)
}

// JSONTranscriber sends recordings as base64 inside JSON, OpenRouter's native
// form. It is stateless and safe for concurrent use.
type JSONTranscriber struct{ v wire.Vendor }

// NewJSONTranscriber makes a JSON transcriber.
func NewJSONTranscriber(v wire.Vendor) *JSONTranscriber { return &JSONTranscriber{v: v} }

// Transcribe implements [speech.Transcriber]. The fields this form does not have
// are refused rather than dropped.
func (t *JSONTranscriber) Transcribe(ctx context.Context, call speech.TranscribeCall) (*speech.Transcription, error) {
	r := call.Request
	kind, err := container(&t.v, r)
	if err != nil {
		return nil, err
	}
	for _, f := range [...]struct {
		name string
		used bool
	}{{"prompt", r.Prompt != ""}, {"translate", r.Translate}, {"include", r.Logprobs}, {"keywords", len(r.Keywords) > 0},
		{"languages", len(r.Languages) > 0}, {"chunking_strategy", r.ChunkingStrategy != ""},
		{"known_speaker_names", len(r.SpeakerNames)+len(r.SpeakerReferences) > 0},
		{"response_format", r.Format == speech.FormatDiarizedJSON}} {
		if f.used {
			return nil, t.v.Refuse(opTranscribe, fault.InvalidRequest, f.name, "this provider does not have this option, leave it out")
		}
	}
	body := jsonBody(r, kind)
	ans, err := wire.Do(ctx, call.Target, &t.v, wire.Request{Op: opTranscribe, Method: http.MethodPost,
		Path: "/audio/transcriptions", ContentType: "application/json", Accept: "application/json",
		Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return nil, err
	}
	return finish(&t.v, ans, r)
}

func jsonBody(r *speech.TranscribeRequest, kind speech.Container) []byte {
	o := jsonwire.Begin(make([]byte, 0, base64.StdEncoding.EncodedLen(len(r.Audio))+512))
	o.String("model", r.Model)
	o.Name("input_audio")
	o.B = append(o.B, `{"data":"`...)
	o.B = base64.StdEncoding.AppendEncode(o.B, r.Audio)
	o.B = append(o.B, `","format":`...)
	o.B = append(jsonwire.AppendString(o.B, string(kind)), '}')
	o.StringIf("language", r.Language)
	if r.Temperature != nil {
		o.Name("temperature")
		o.B = jsonwire.AppendFloat(o.B, *r.Temperature)
	}
	if f := wireFormat(r.Format); f != "json" {
		o.String("response_format", f)
	}
	var times []string
	if r.WordTimes {
		times = append(times, "word")
	}
	if r.SegmentTimes {
		times = append(times, "segment")
	}
	if len(times) > 0 {
		list, _ := json.Marshal(times)
		o.Raw("timestamp_granularities", list)
	}
	return o.End()
}
