package audioapi

import (
	"bytes"
	"context"
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// PlainTranscriber uploads recordings as multipart forms to vendors whose form
// has no response_format: times come when granularities are asked for
// (@mistralai/mistralai 2.7.0, AudioTranscriptionRequest, read 2026-11). It is
// stateless and safe for concurrent use.
type PlainTranscriber struct{ v wire.Vendor }

// NewPlainTranscriber makes a transcriber without response formats.
func NewPlainTranscriber(v wire.Vendor) *PlainTranscriber { return &PlainTranscriber{v: v} }

// CarriesExtra implements [speech.ExtraCarrier].
func (t *PlainTranscriber) CarriesExtra() bool { return true }

// Transcribe implements [speech.Transcriber]. The fields this form does not have
// are refused rather than dropped.
func (t *PlainTranscriber) Transcribe(ctx context.Context, call speech.TranscribeCall) (*speech.Transcription, error) {
	r := call.Request
	kind, err := container(&t.v, r)
	if err != nil {
		return nil, err
	}
	for _, f := range [...]struct {
		name string
		used bool
	}{{"prompt", r.Prompt != ""}, {"translate", r.Translate}, {"include", r.Logprobs}, {"languages", len(r.Languages) > 0},
		{"chunking_strategy", r.ChunkingStrategy != ""}, {"keywords", len(r.Keywords) > 0},
		{"known_speaker_names", len(r.SpeakerNames)+len(r.SpeakerReferences) > 0}} {
		if f.used {
			return nil, t.v.Refuse(opTranscribe, fault.InvalidRequest, f.name, "this provider does not have this option, leave it out")
		}
	}
	f := newForm(r)
	f.field("model", r.Model)
	f.fieldIf("language", r.Language)
	if r.Temperature != nil {
		f.field("temperature", string(jsonwire.AppendFloat(nil, *r.Temperature)))
	}
	diarized := r.Format == speech.FormatDiarizedJSON
	if diarized {
		f.field("diarize", "true")
	}
	if r.WordTimes {
		f.field("timestamp_granularities", "word")
	}
	if r.SegmentTimes || diarized || !r.WordTimes && wireFormat(r.Format) == "verbose_json" {
		f.field("timestamp_granularities", "segment")
	}
	writeExtra(f, r)
	body := f.close("voice."+string(kind), mediaTypes[kind], r.Audio)
	ans, err := wire.Do(ctx, call.Target, &t.v, wire.Request{Op: opTranscribe, Method: http.MethodPost, Path: "/audio/transcriptions",
		ContentType: "multipart/form-data; boundary=" + f.boundary, Accept: "application/json", Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return nil, err
	}
	return finish(&t.v, ans, r)
}
