package openaiaudio

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/speech"
)

const opForm = "openaiaudio.ParseTranscription"

// Limits of one form.
const (
	maxParts     = 256
	maxField     = 64 << 10
	maxReference = 2 << 20
	maxListed    = 64
)

func bad(op, param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

// ParseTranscription reads the form of POST /v1/audio/transcriptions, or of
// /v1/audio/translations if translate is set. contentType is the request's
// Content-Type. The audio is a copy of the body's bytes.
func ParseTranscription(contentType string, body []byte, translate bool) (*speech.TranscribeRequest, error) {
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil || mt != "multipart/form-data" || params["boundary"] == "" || len(params["boundary"]) > 200 {
		return nil, bad(opForm, "", "send the audio as multipart/form-data with a file and a model")
	}
	p := parser{r: speech.TranscribeRequest{Translate: translate, Format: speech.FormatJSON}, seen: map[string]bool{}}
	mr := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		part, err := mr.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil || n >= maxParts {
			return nil, bad(opForm, "", "the form is broken, cut short or has too many parts")
		}
		if err := p.part(part); err != nil {
			return nil, err
		}
	}
	return p.finish()
}

type parser struct {
	r        speech.TranscribeRequest
	seen     map[string]bool
	haveFile bool
}

func (p *parser) part(part *multipart.Part) error {
	name := strings.TrimSuffix(part.FormName(), "[]")
	if name == "" || len(name) > 64 {
		return bad(opForm, "", "a part of the form has no usable name")
	}
	if name == "file" {
		return p.file(part)
	}
	limit := int64(maxField)
	if name == "known_speaker_references" {
		limit = maxReference
	}
	raw, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return bad(opForm, name, "the form is cut short")
	}
	if int64(len(raw)) > limit {
		return bad(opForm, name, "the field is too long")
	}
	if !utf8.Valid(raw) {
		return bad(opForm, name, "the field is not valid UTF-8")
	}
	return p.field(name, string(raw))
}

func (p *parser) file(part *multipart.Part) error {
	if p.haveFile {
		return bad(opForm, "file", "the form has more than one file")
	}
	p.haveFile = true
	audio, err := io.ReadAll(part)
	if err != nil {
		return bad(opForm, "file", "the file is cut short")
	}
	if len(audio) == 0 {
		return bad(opForm, "file", "the file is empty")
	}
	p.r.Audio, p.r.Filename = audio, part.FileName()
	p.r.MIME, _, _ = mime.ParseMediaType(part.Header.Get("Content-Type"))
	if len(p.r.Filename) > 255 {
		return bad(opForm, "file", "the file name is longer than 255 characters")
	}
	return nil
}

// lists are the fields that may come more than once.
func (p *parser) list(name string) *[]string {
	switch name {
	case "languages":
		return &p.r.Languages
	case "keywords":
		return &p.r.Keywords
	case "known_speaker_names":
		return &p.r.SpeakerNames
	case "known_speaker_references":
		return &p.r.SpeakerReferences
	}
	return nil
}

func (p *parser) field(name, v string) error {
	if l := p.list(name); l != nil {
		if *l = append(*l, v); len(*l) > maxListed {
			return bad(opForm, name, "the list has more than 64 entries")
		}
		return nil
	}
	switch name {
	case "timestamp_granularities":
		switch v {
		case "word":
			p.r.WordTimes = true
		case "segment":
			p.r.SegmentTimes = true
		default:
			return bad(opForm, name, "a timestamp granularity is word or segment")
		}
		return nil
	case "include":
		if v != "logprobs" {
			return bad(opForm, name, "only logprobs can be included")
		}
		p.r.Logprobs = true
		return nil
	}
	if p.seen[name] {
		return bad(opForm, name, "the field is given twice")
	}
	p.seen[name] = true
	return p.scalar(name, v)
}

func (p *parser) scalar(name, v string) error {
	switch name {
	case "model":
		p.r.Model = v
	case "language":
		if len(v) > 16 {
			return bad(opForm, name, "language must be a code such as en or pt-BR")
		}
		p.r.Language = v
	case "prompt":
		p.r.Prompt = v
	case "temperature":
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
			return bad(opForm, name, "temperature must be a number between 0 and 1")
		}
		p.r.Temperature = &f
	case "response_format":
		switch f := speech.Format(v); f {
		case speech.FormatJSON, speech.FormatText, speech.FormatSRT, speech.FormatVTT, speech.FormatVerboseJSON, speech.FormatDiarizedJSON:
			p.r.Format = f
		default:
			return bad(opForm, name, "the format must be json, text, srt, vtt, verbose_json or diarized_json")
		}
	case "stream":
		b, err := strconv.ParseBool(v)
		if err != nil {
			return bad(opForm, name, "stream must be true or false")
		}
		p.r.Stream = b
	case "chunking_strategy":
		if v != "auto" && (jsonwire.Check([]byte(v)) != nil || v[0] != '{') {
			return bad(opForm, name, "chunking_strategy must be auto or a JSON object")
		}
		p.r.ChunkingStrategy = v
	default:
		if p.r.Extra == nil {
			p.r.Extra = map[string][]string{}
		}
		p.r.Extra[name] = []string{v}
	}
	return nil
}

func (p *parser) finish() (*speech.TranscribeRequest, error) {
	r := &p.r
	switch {
	case !p.haveFile:
		return nil, bad(opForm, "file", "the form has no file")
	case r.Model == "" || len(r.Model) > 256:
		return nil, bad(opForm, "model", "model is required, for example \"openrouter/openai/whisper-1\"")
	case (r.WordTimes || r.SegmentTimes) && r.Format != speech.FormatVerboseJSON:
		return nil, bad(opForm, "timestamp_granularities", "timestamps need response_format verbose_json")
	case r.Stream && r.Format != speech.FormatJSON && r.Format != speech.FormatText && r.Format != speech.FormatDiarizedJSON:
		return nil, bad(opForm, "stream", "this response_format cannot be streamed")
	case r.Translate && r.Stream:
		return nil, bad(opForm, "stream", "translations cannot be streamed")
	case len(r.SpeakerNames) != len(r.SpeakerReferences):
		return nil, bad(opForm, "known_speaker_references", "each known speaker needs one name and one reference")
	}
	return r, nil
}

// EncodeTranscription renders an answer in the format the client asked for.
func EncodeTranscription(dst []byte, t *speech.Transcription, r *speech.TranscribeRequest) (body []byte, contentType string) {
	const text, asJSON = "text/plain; charset=utf-8", "application/json"
	switch r.Format {
	case speech.FormatText:
		return append(append(dst, t.Text...), '\n'), text
	case speech.FormatSRT:
		return append(dst, t.SRT()...), text
	case speech.FormatVTT:
		return append(dst, t.VTT()...), text
	case speech.FormatVerboseJSON:
		return appendVerbose(dst, t, r), asJSON
	case speech.FormatDiarizedJSON:
		return appendDiarized(dst, t), asJSON
	}
	o := jsonwire.Begin(dst)
	o.String("text", t.Text)
	if len(t.Logprobs) > 0 {
		o.Raw("logprobs", t.Logprobs)
	}
	appendUsage(&o, &t.Usage)
	return o.End(), asJSON
}

func task(r *speech.TranscribeRequest) string {
	if r.Translate {
		return "translate"
	}
	return "transcribe"
}

func seconds(o *jsonwire.Object, name string, ms int64) { o.Raw(name, []byte(speech.Seconds(ms))) }

func appendVerbose(dst []byte, t *speech.Transcription, r *speech.TranscribeRequest) []byte {
	o := jsonwire.Begin(dst)
	o.String("task", task(r))
	o.String("language", t.Language)
	seconds(&o, "duration", t.Duration)
	o.String("text", t.Text)
	if r.SegmentTimes || !r.WordTimes {
		o.Name("segments")
		o.B = append(o.B, '[')
		for i := range t.Segments {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			o.B = appendSegment(o.B, &t.Segments[i], i)
		}
		o.B = append(o.B, ']')
	}
	if r.WordTimes {
		o.Name("words")
		o.B = append(o.B, '[')
		for i := range t.Words {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			w := jsonwire.Begin(o.B)
			w.String("word", t.Words[i].Text)
			seconds(&w, "start", t.Words[i].Start)
			seconds(&w, "end", t.Words[i].End)
			o.B = w.End()
		}
		o.B = append(o.B, ']')
	}
	appendUsage(&o, &t.Usage)
	return o.End()
}

func appendSegment(dst []byte, s *speech.Segment, id int) []byte {
	o := jsonwire.Begin(dst)
	o.Int("id", int64(id))
	o.Int("seek", s.Seek)
	seconds(&o, "start", s.Start)
	seconds(&o, "end", s.End)
	o.String("text", s.Text)
	o.Name("tokens")
	o.B = append(o.B, '[')
	for i, n := range s.Tokens {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = strconv.AppendInt(o.B, int64(n), 10)
	}
	o.B = append(o.B, ']')
	// SDKs with typed segments want these numbers to exist.
	for _, n := range [...]struct {
		name string
		v    *json.Number
	}{{"temperature", s.Temperature}, {"avg_logprob", s.AvgLogprob}, {"compression_ratio", s.CompressionRatio},
		{"no_speech_prob", s.NoSpeechProb}} {
		v := "0"
		if n.v != nil && json.Valid([]byte(*n.v)) {
			v = string(*n.v)
		}
		o.Raw(n.name, []byte(v))
	}
	return o.End()
}

func appendDiarized(dst []byte, t *speech.Transcription) []byte {
	o := jsonwire.Begin(dst)
	o.String("task", "transcribe")
	seconds(&o, "duration", t.Duration)
	o.String("text", t.Text)
	o.Name("segments")
	o.B = append(o.B, '[')
	for i := range t.Segments {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = appendSpoken(o.B, &t.Segments[i], i)
	}
	o.B = append(o.B, ']')
	appendUsage(&o, &t.Usage)
	return o.End()
}

func appendSpoken(dst []byte, s *speech.Segment, n int) []byte {
	o := jsonwire.Begin(dst)
	o.String("type", "transcript.text.segment")
	o.String("id", "seg_"+strconv.Itoa(n))
	seconds(&o, "start", s.Start)
	seconds(&o, "end", s.End)
	o.String("text", s.Text)
	o.String("speaker", s.Speaker)
	return o.End()
}

// appendUsage writes the usage member: tokens if the vendor counts them, else
// the duration.
func appendUsage(o *jsonwire.Object, u *speech.Usage) {
	k := &u.Tokens
	if k.InputTotal()+k.OutputTotal() == 0 && u.AudioIn == 0 {
		return
	}
	o.Name("usage")
	n := jsonwire.Begin(o.B)
	if k.InputTotal()+k.OutputTotal() > 0 {
		n.String("type", "tokens")
		n.Int("input_tokens", k.InputTotal())
		n.Name("input_token_details")
		d := jsonwire.Begin(n.B)
		d.Int("text_tokens", k.InputTotal()-k.InputAudio)
		d.Int("audio_tokens", k.InputAudio)
		n.B = d.End()
		n.Int("output_tokens", k.OutputTotal())
		n.Int("total_tokens", k.InputTotal()+k.OutputTotal())
	} else {
		n.String("type", "duration")
		seconds(&n, "seconds", u.AudioIn)
	}
	o.B = n.End()
}

// TranscriptionStream turns text events into frames. It is for one stream.
type TranscriptionStream struct{ segments int }

// Append appends the frame of one event. The event with Done ends the stream.
func (s *TranscriptionStream) Append(dst []byte, ev speech.TextEvent) []byte {
	dst = append(dst, "data: "...)
	switch {
	case ev.Done != nil:
		o := jsonwire.Begin(dst)
		o.String("type", "transcript.text.done")
		o.String("text", ev.Done.Text)
		if len(ev.Done.Logprobs) > 0 {
			o.Raw("logprobs", ev.Done.Logprobs)
		}
		appendUsage(&o, &ev.Done.Usage)
		dst = o.End()
	case ev.Segment != nil:
		dst = appendSpoken(dst, ev.Segment, s.segments)
		s.segments++
	default:
		o := jsonwire.Begin(dst)
		o.String("type", "transcript.text.delta")
		o.String("delta", ev.Delta)
		if len(ev.Logprobs) > 0 {
			o.Raw("logprobs", ev.Logprobs)
		}
		dst = o.End()
	}
	return append(dst, '\n', '\n')
}
