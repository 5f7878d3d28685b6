package openaiaudio

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/speech"
)

// form writes pairs of name and value; "file" becomes an upload.
func form(t testing.TB, pairs ...string) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary("bound")
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "file" {
			f, _ := w.CreateFormFile("file", "note.oga")
			_, _ = f.Write([]byte(pairs[i+1]))
			continue
		}
		_ = w.WriteField(pairs[i], pairs[i+1])
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func TestParseTranscription(t *testing.T) {
	ct, body := form(t, "file", "OggSxx", "model", "p/m", "language", "de", "prompt", "names", "temperature", "0.2",
		"response_format", "verbose_json", "timestamp_granularities[]", "word", "timestamp_granularities", "segment",
		"include[]", "logprobs", "stream", "False", "chunking_strategy", `{"type":"server_vad"}`, "languages[]", "de", "languages[]", "en",
		"keywords", "Latchkey", "known_speaker_names[]", "a", "known_speaker_references[]", "data:x", "mystery", "1")
	r, err := ParseTranscription(ct, body, false)
	if err != nil {
		t.Fatal(err)
	}
	temp := 0.2
	want := &speech.TranscribeRequest{Model: "p/m", Audio: []byte("OggSxx"), Filename: "note.oga", MIME: "application/octet-stream",
		Language: "de", Prompt: "names", Temperature: &temp, Format: speech.FormatVerboseJSON, WordTimes: true, SegmentTimes: true,
		Logprobs: true, ChunkingStrategy: `{"type":"server_vad"}`, Languages: []string{"de", "en"}, Keywords: []string{"Latchkey"},
		SpeakerNames: []string{"a"}, SpeakerReferences: []string{"data:x"}, Extra: map[string][]string{"mystery": {"1"}}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
}

func TestTranscriptionRefusals(t *testing.T) {
	ok := []string{"file", "x", "model", "m"}
	for name, tt := range map[string]struct {
		pairs []string
		param string
	}{
		"no file": {[]string{"model", "m"}, "file"}, "no model": {[]string{"file", "x"}, "model"}, "empty file": {[]string{"file", "", "model", "m"}, "file"},
		"two files": {append([]string{"file", "y"}, ok...), "file"}, "two models": {append([]string{"model", "y"}, ok...), "model"},
		"format": {append([]string{"response_format", "xml"}, ok...), "response_format"}, "temperature": {append([]string{"temperature", "NaN"}, ok...), "temperature"},
		"granularity":        {append([]string{"timestamp_granularities[]", "line"}, ok...), "timestamp_granularities"},
		"times without json": {append([]string{"timestamp_granularities[]", "word"}, ok...), "timestamp_granularities"},
		"stream":             {append([]string{"stream", "maybe"}, ok...), "stream"}, "stream srt": {append([]string{"stream", "1", "response_format", "srt"}, ok...), "stream"},
		"include": {append([]string{"include[]", "all"}, ok...), "include"}, "chunking": {append([]string{"chunking_strategy", "{"}, ok...), "chunking_strategy"},
		"utf8": {append([]string{"prompt", "\xff"}, ok...), "prompt"}, "long": {append([]string{"prompt", strings.Repeat("x", 70000)}, ok...), "prompt"},
		"speakers": {append([]string{"known_speaker_names[]", "a"}, ok...), "known_speaker_references"}, "language": {append([]string{"language", strings.Repeat("x", 20)}, ok...), "language"},
	} {
		ct, body := form(t, tt.pairs...)
		_, err := ParseTranscription(ct, body, false)
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != tt.param {
			t.Errorf("%s: %v", name, err)
		}
	}
	ct, body := form(t, ok...)
	for name, tt := range map[string]struct {
		ct   string
		body []byte
	}{"json": {"application/json", body}, "no boundary": {"multipart/form-data", body}, "cut": {ct, body[:len(body)-20]}, "none": {"", body}, "empty": {ct, nil}} {
		if _, err := ParseTranscription(tt.ct, tt.body, false); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func number(s string) *json.Number { n := json.Number(s); return &n }

func TestEncodeTranscription(t *testing.T) {
	tr := &speech.Transcription{Text: "Hi \"you\"", Language: "english", Duration: 1500,
		Segments: []speech.Segment{{Start: 0, End: 1500, Text: "Hi", Speaker: "A", AvgLogprob: number("-0.5"), Tokens: []int{1, 2}}},
		Words:    []speech.Word{{Start: 0, End: 250, Text: "Hi"}},
		Usage:    speech.Usage{AudioIn: 1500, AudioInSource: model.UsageProvider, Source: model.UsageProvider}}
	const usage = `"usage":{"type":"duration","seconds":1.5}}`
	for name, tt := range map[string]struct {
		r    speech.TranscribeRequest
		want string
		ct   string
	}{
		"json": {speech.TranscribeRequest{Format: "json"}, `{"text":"Hi \"you\"",` + usage, "application/json"},
		"text": {speech.TranscribeRequest{Format: "text"}, "Hi \"you\"\n", "text/plain; charset=utf-8"},
		"srt":  {speech.TranscribeRequest{Format: "srt"}, "1\n00:00:00,000 --> 00:00:01,500\nHi\n\n", "text/plain; charset=utf-8"},
		"vtt":  {speech.TranscribeRequest{Format: "vtt"}, "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHi\n\n", "text/plain; charset=utf-8"},
		"verbose": {speech.TranscribeRequest{Format: "verbose_json"}, `{"task":"transcribe","language":"english","duration":1.5,"text":"Hi \"you\"","segments":[{"id":0,"seek":0,"start":0,"end":1.5,"text":"Hi","tokens":[1,2],"temperature":0,"avg_logprob":-0.5,"compression_ratio":0,"no_speech_prob":0}],` + usage,
			"application/json"},
		"words":    {speech.TranscribeRequest{Format: "verbose_json", WordTimes: true, Translate: true}, `{"task":"translate","language":"english","duration":1.5,"text":"Hi \"you\"","words":[{"word":"Hi","start":0,"end":0.25}],` + usage, "application/json"},
		"diarized": {speech.TranscribeRequest{Format: "diarized_json"}, `{"task":"transcribe","duration":1.5,"text":"Hi \"you\"","segments":[{"type":"transcript.text.segment","id":"seg_0","start":0,"end":1.5,"text":"Hi","speaker":"A"}],` + usage, "application/json"},
	} {
		got, ct := EncodeTranscription(nil, tr, &tt.r)
		if string(got) != tt.want || ct != tt.ct {
			t.Errorf("%s: %s (%s)", name, got, ct)
		}
	}
	tr.Usage.Tokens = model.Usage{Input: 4, InputAudio: 10, Output: 5}
	if got, _ := EncodeTranscription(nil, tr, &speech.TranscribeRequest{}); !strings.Contains(string(got), `"usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":5,"total_tokens":19}`) {
		t.Errorf("%s", got)
	}
}

func TestTranscriptionStream(t *testing.T) {
	var s TranscriptionStream
	b := s.Append(nil, speech.TextEvent{Delta: "Hi"})
	b = s.Append(b, speech.TextEvent{Segment: &speech.Segment{End: 1000, Text: "Hi", Speaker: "A"}})
	b = s.Append(b, speech.TextEvent{Done: &speech.Transcription{Text: "Hi", Usage: speech.Usage{AudioIn: 1000}}})
	want := "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n" +
		"data: {\"type\":\"transcript.text.segment\",\"id\":\"seg_0\",\"start\":0,\"end\":1,\"text\":\"Hi\",\"speaker\":\"A\"}\n\n" +
		"data: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"duration\",\"seconds\":1}}\n\n"
	if string(b) != want {
		t.Errorf("%s", b)
	}
}

func TestParseSpeech(t *testing.T) {
	r, err := ParseSpeech([]byte(`{"model":"p/m","input":"Grüße","voice":{"id":"v_1"},"instructions":"calm","response_format":"pcm","speed":1.5,"stream_format":"sse","x":1}`))
	speed := 1.5
	want := &speech.SynthesizeRequest{Model: "p/m", Input: "Grüße", VoiceID: "v_1", Instructions: "calm", Format: speech.AudioPCM, Speed: &speed, SSE: true,
		Extra: map[string]json.RawMessage{"x": json.RawMessage("1")}}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = ParseSpeech([]byte(`{"model":"m","input":"x","voice":"alloy"}`)); err != nil || r.Format != speech.AudioMP3 || r.Voice != "alloy" {
		t.Fatalf("%+v, %v", r, err)
	}
	for body, param := range map[string]string{`{"input":"x"}`: "model", `{"model":"m"}`: "input", `{"model":"m","input":5}`: "input",
		`{"model":"m","input":"x","voice":7}`: "voice", `{"model":"m","input":"x","voice":{}}`: "voice", `{"model":"m","input":"x","speed":9}`: "speed",
		`{"model":"m","input":"x","speed":"1"}`: "speed", `{"model":"m","input":"x","response_format":"ogg"}`: "response_format",
		`{"model":"m","input":"x","stream_format":"ws"}`: "stream_format", `[]`: "", `{`: "", `null`: "", `{"model":"m","model":"n","input":"x"}`: "",
		`{"model":"m","input":"` + strings.Repeat("ä", 32769) + `"}`: "input"} {
		_, err := ParseSpeech([]byte(body))
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != param {
			t.Errorf("%.80s: %v", body, err)
		}
	}
}

func TestSpeechFrames(t *testing.T) {
	if got := string(AppendAudioDelta(nil, []byte("abc"))); got != "data: {\"type\":\"speech.audio.delta\",\"audio\":\"YWJj\"}\n\n" {
		t.Error(got)
	}
	if got := string(AppendAudioDone(nil, speech.Usage{Characters: 3})); got != "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0,\"total_tokens\":0,\"characters\":3}}\n\n" {
		t.Error(got)
	}
}

func FuzzParseTranscription(f *testing.F) {
	ct, body := form(f, "file", "x", "model", "m", "stream", "true")
	f.Add(ct, body)
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--"))
	f.Fuzz(func(t *testing.T, ct string, body []byte) {
		r, err := ParseTranscription(ct, body, true)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		if len(r.Audio) == 0 || r.Model == "" {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzParseSpeech(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":"x","voice":{"id":"v"},"speed":1e0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := ParseSpeech(body); err == nil && (r.Model == "" || r.Input == "") || err != nil && fault.CodeOf(err) != fault.InvalidRequest {
			t.Fatalf("%+v, %v", r, err)
		}
	})
}
