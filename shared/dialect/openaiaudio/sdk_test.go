package openaiaudio

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/shared/speech"
)

func serve(t *testing.T, handle func(w http.ResponseWriter, contentType string, body []byte)) openai.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		handle(w, r.Header.Get("Content-Type"), body)
	}))
	t.Cleanup(srv.Close)
	return openai.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey("lk_test"), option.WithMaxRetries(0))
}

func TestOpenAISDKTranscribes(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, ct string, body []byte) {
		r, err := ParseTranscription(ct, body, false)
		if err != nil {
			t.Error(err)
			return
		}
		if string(r.Audio) != "OggS…" || r.Filename != "voice.ogg" || r.Language != "de" || !r.WordTimes {
			t.Errorf("%+v", r)
		}
		out, kind := EncodeTranscription(nil, &speech.Transcription{Text: "Hallo", Duration: 1500, Words: []speech.Word{{End: 500, Text: "Hallo"}},
			Usage: speech.Usage{AudioIn: 1500}}, r)
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(out)
	})
	got, err := client.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{
		File: openai.File(strings.NewReader("OggS…"), "voice.ogg", "audio/ogg"), Model: "p/whisper-1", Language: openai.String("de"),
		ResponseFormat: openai.AudioResponseFormatVerboseJSON, TimestampGranularities: []string{"word"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != "Hallo" {
		t.Errorf("%s", got.RawJSON())
	}
}

func TestOpenAISDKStreamsTranscription(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, ct string, body []byte) {
		r, err := ParseTranscription(ct, body, false)
		if err != nil || !r.Stream {
			t.Errorf("%+v, %v", r, err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		var s TranscriptionStream
		b := s.Append(nil, speech.TextEvent{Delta: "Hal"})
		b = s.Append(b, speech.TextEvent{Delta: "lo"})
		_, _ = w.Write(s.Append(b, speech.TextEvent{Done: &speech.Transcription{Text: "Hallo"}}))
	})
	s := client.Audio.Transcriptions.NewStreaming(t.Context(), openai.AudioTranscriptionNewParams{
		File: openai.File(strings.NewReader("OggS"), "voice.ogg", "audio/ogg"), Model: "p/gpt-4o-transcribe"})
	text, done := "", ""
	for s.Next() {
		switch ev := s.Current(); ev.Type {
		case "transcript.text.delta":
			text += ev.Delta
		case "transcript.text.done":
			done = ev.Text
		}
	}
	if s.Err() != nil || text != "Hallo" || done != "Hallo" {
		t.Errorf("%q, %q, %v", text, done, s.Err())
	}
}

func TestOpenAISDKSpeaks(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ string, body []byte) {
		r, err := ParseSpeech(body)
		if err != nil || r.Input != "Hi" || r.Voice != "alloy" || r.Format != speech.AudioOpus {
			t.Errorf("%+v, %v", r, err)
		}
		_, _ = io.WriteString(w, "OggS")
	})
	resp, err := client.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "p/tts-1", Input: "Hi",
		Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}, ResponseFormat: openai.AudioSpeechNewParamsResponseFormatOpus})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, _ := io.ReadAll(resp.Body); string(b) != "OggS" {
		t.Errorf("%q", b)
	}
}
