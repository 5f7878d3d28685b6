package audioapi

import (
	"cmp"
	"encoding/json"

	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// limits of one transcription.
const (
	maxSegments = 50000
	maxWords    = 500000
)

type wireTranscription struct {
	Text     *string         `json:"text"`
	Language string          `json:"language"`
	Duration flexNumber      `json:"duration"`
	Segments []wireSegment   `json:"segments"`
	Words    []wireWord      `json:"words"`
	Logprobs json.RawMessage `json:"logprobs"`
	Usage    json.RawMessage `json:"usage"`
	Error    json.RawMessage `json:"error"`
}

type wireSegment struct {
	Start            json.Number  `json:"start"`
	End              json.Number  `json:"end"`
	Text             string       `json:"text"`
	Speaker          string       `json:"speaker"`
	SpeakerID        string       `json:"speaker_id"`
	Seek             json.Number  `json:"seek"`
	Tokens           []int        `json:"tokens"`
	AvgLogprob       *json.Number `json:"avg_logprob"`
	CompressionRatio *json.Number `json:"compression_ratio"`
	NoSpeechProb     *json.Number `json:"no_speech_prob"`
	Temperature      *json.Number `json:"temperature"`
}

type wireWord struct {
	Word  string      `json:"word"`
	Start json.Number `json:"start"`
	End   json.Number `json:"end"`
}

// flexNumber is a number, or a number in a string: whisper-1 has sent the
// duration both ways.
type flexNumber json.Number

// UnmarshalJSON implements json.Unmarshaler.
func (n *flexNumber) UnmarshalJSON(b []byte) error {
	if len(b) >= 2 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	if string(b) != "null" {
		*n = flexNumber(b)
	}
	return nil
}

func finish(v *wire.Vendor, ans *wire.Answer, r *speech.TranscribeRequest) (*speech.Transcription, error) {
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	t, err := decode(v, body, r.Audio)
	if err != nil {
		return nil, err
	}
	t.ProviderRequestID = ans.RequestID
	return t, nil
}

func decode(v *wire.Vendor, body, audio []byte) (*speech.Transcription, error) {
	var in wireTranscription
	if json.Unmarshal(body, &in) != nil {
		return nil, v.Malformed(opTranscribe)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return nil, v.DecideInBand(opTranscribe, in.Error, nil)
	}
	if in.Text == nil || len(in.Segments) > maxSegments || len(in.Words) > maxWords {
		return nil, v.Malformed(opTranscribe)
	}
	t := &speech.Transcription{Text: *in.Text, Language: shortWord(in.Language)}
	t.Duration, _ = speech.Milliseconds(json.Number(in.Duration))
	for i := range in.Segments {
		s, ok := in.Segments[i].segment()
		if !ok {
			return nil, v.Malformed(opTranscribe)
		}
		t.Segments = append(t.Segments, s)
	}
	for i := range in.Words {
		w := &in.Words[i]
		start, ok1 := moment(w.Start)
		end, ok2 := moment(w.End)
		if !ok1 || !ok2 {
			return nil, v.Malformed(opTranscribe)
		}
		t.Words = append(t.Words, speech.Word{Start: start, End: end, Text: w.Word})
	}
	if string(in.Logprobs) != "null" {
		t.Logprobs = in.Logprobs
	}
	t.Usage = transcribeUsage(in.Usage, t.Duration, audio)
	if t.Duration == 0 {
		t.Duration = t.Usage.AudioIn
	}
	return t, nil
}

func (w *wireSegment) segment() (speech.Segment, bool) {
	start, ok1 := moment(w.Start)
	end, ok2 := moment(w.End)
	s := speech.Segment{Start: start, End: end, Text: w.Text, Speaker: shortWord(cmp.Or(w.Speaker, w.SpeakerID)), Tokens: w.Tokens,
		AvgLogprob: w.AvgLogprob, CompressionRatio: w.CompressionRatio, NoSpeechProb: w.NoSpeechProb, Temperature: w.Temperature}
	if n, err := w.Seek.Int64(); err == nil {
		s.Seek = n
	}
	return s, ok1 && ok2
}

// moment is a point in time. Models now and then put the first word slightly
// before the start; that is the start.
func moment(n json.Number) (int64, bool) {
	if n == "" || n[0] == '-' {
		return 0, true
	}
	return speech.Milliseconds(n)
}

func shortWord(s string) string {
	if len(s) > 64 {
		return ""
	}
	return s
}
