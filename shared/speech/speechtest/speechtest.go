// Package speechtest is the suite that every speech adapter must pass. A vendor's
// test is one line:
//
//	func TestSpeech(t *testing.T) { speechtest.Run(t, Registration()) }
//
// It reads transcripts from the vendor's testdata/speech/*.txtar, with the
// sections and the -update flag of package modeltest, except:
//
//	request.json   {"transcribe": {…}} or {"synthesize": {…}}; audio is
//	               "wav:MILLISECONDS", "ogg:MILLISECONDS" or "raw:TEXT"
//	response.json  golden: the transcription, or the audio's content type,
//	               bytes and usage
//
// Which scenarios must exist follows from what the vendor has; streams are cut
// at every byte and ended at every byte; no error may show vendor text, the URL
// or the key.
package speechtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/speech"
)

// scenarios that must exist, by service.
func required(e providers.Entry) (must, mustNot []string) {
	stt := []string{"transcribe", "transcribe_verbose", "transcribe_usage", "transcribe_measured", "error_stt_401", "error_stt_402",
		"error_stt_429", "error_stt_500", "error_stt_format", "error_stt_empty", "error_stt_html", "error_stt_malformed"}
	stream := []string{"transcribe_stream", "transcribe_stream_ignored", "error_stt_stream_cut"}
	tts := []string{"synthesize", "synthesize_pcm", "error_tts_401", "error_tts_429", "error_tts_json", "error_tts_empty",
		"error_tts_cut", "error_tts_long"}
	sort := func(has bool, names []string) {
		if has {
			must = append(must, names...)
		} else {
			mustNot = append(mustNot, names...)
		}
	}
	streams := false
	if e.NewTranscriber != nil {
		_, streams = e.NewTranscriber().(speech.StreamTranscriber)
	}
	sort(e.NewTranscriber != nil, stt)
	sort(streams, stream)
	sort(e.NewSynthesizer != nil, tts)
	return must, mustNot
}

type transcribe struct {
	Model, Audio, Filename, Language, Prompt string
	Format                                   speech.Format
	WordTimes, SegmentTimes, Stream          bool
	Translate                                bool
	Temperature                              *float64
	Extra                                    map[string][]string
}

type scenario struct {
	*replay.Transcript
	in struct {
		Transcribe *transcribe               `json:"transcribe"`
		Synthesize *speech.SynthesizeRequest `json:"synthesize"`
	}
}

// Run runs the suite for one vendor. The current directory is the vendor's
// folder.
func Run(t *testing.T, entry providers.Entry) {
	t.Helper()
	list := replay.Load(t, filepath.Join("testdata", "speech"))
	have := map[string]bool{}
	for _, tr := range list {
		have[tr.Name] = true
	}
	must, mustNot := required(entry)
	for _, n := range must {
		if !have[n] {
			t.Errorf("scenario %s is missing", n)
		}
	}
	for _, n := range mustNot {
		if have[n] {
			t.Errorf("scenario %s exists, but the vendor has no such service", n)
		}
	}
	for _, tr := range list {
		s := &scenario{Transcript: tr}
		s.Strict(t, "request.json", &s.in)
		t.Run(s.Name, func(t *testing.T) { s.run(t, entry) })
	}
}

// outcome is what one call gave.
type outcome struct {
	events []speech.TextEvent
	result any
	err    error
}

func (s *scenario) try(t *testing.T, entry providers.Entry, x *replay.Exchange) outcome {
	t.Helper()
	if s.in.Synthesize != nil {
		return synthesize(entry, speech.SynthesizeCall{Target: replay.Target(x), Request: s.in.Synthesize})
	}
	call := speech.TranscribeCall{Target: replay.Target(x), Request: s.in.Transcribe.request(t)}
	tr := entry.NewTranscriber()
	if !s.in.Transcribe.Stream {
		out, err := tr.Transcribe(context.Background(), call)
		if err != nil {
			return outcome{err: err}
		}
		return outcome{result: out}
	}
	st, err := tr.(speech.StreamTranscriber).StreamTranscribe(context.Background(), call)
	if err != nil {
		return outcome{err: err}
	}
	defer func() { _ = st.Close() }()
	var o outcome
	for {
		ev, err := st.Next()
		if err == io.EOF {
			return o
		}
		if err != nil {
			o.err = err
			return o
		}
		o.events = append(o.events, ev)
		if ev.Done != nil {
			o.result = ev.Done
		}
	}
}

func synthesize(entry providers.Entry, call speech.SynthesizeCall) outcome {
	a, err := entry.NewSynthesizer().Synthesize(context.Background(), call)
	if err != nil {
		return outcome{err: err}
	}
	defer func() { _ = a.Body.Close() }()
	b, err := io.ReadAll(a.Body)
	return outcome{err: err, result: map[string]any{"content_type": a.ContentType, "audio": string(b), "usage": a.Usage(),
		"provider_request_id": a.ProviderRequestID}}
}

func (in *transcribe) request(t *testing.T) *speech.TranscribeRequest {
	t.Helper()
	return &speech.TranscribeRequest{Model: in.Model, Audio: recording(t, in.Audio), Filename: in.Filename, Language: in.Language,
		Prompt: in.Prompt, Format: in.Format, WordTimes: in.WordTimes, SegmentTimes: in.SegmentTimes, Stream: in.Stream,
		Translate: in.Translate, Temperature: in.Temperature, Extra: in.Extra}
}

// recording makes audio from its description, so that transcripts stay readable.
func recording(t *testing.T, what string) []byte {
	t.Helper()
	kind, arg, _ := strings.Cut(what, ":")
	ms, err := strconv.Atoi(arg)
	switch {
	case kind == "raw":
		return []byte(arg)
	case err != nil:
		t.Fatalf("audio %q is not understood", what)
	case kind == "wav":
		// 1 kHz, 8 bit, mono: one byte is one millisecond.
		b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\xe8\x03\x00\x00\xe8\x03\x00\x00\x01\x00\x08\x00data")
		b = binary.LittleEndian.AppendUint32(b, uint32(ms))
		return append(b, bytes.Repeat([]byte("."), ms)...)
	case kind == "ogg":
		page := func(pos uint64) []byte {
			b := append([]byte("OggS\x00\x02"), binary.LittleEndian.AppendUint64(nil, pos)...)
			return append(b, make([]byte, 13)...)
		}
		b := append(page(0), "OpusHead\x01\x01\x00\x00"...)
		return append(b, page(uint64(ms)*48)...)
	}
	t.Fatalf("audio %q is not understood", what)
	return nil
}

func (s *scenario) run(t *testing.T, entry providers.Entry) {
	if (s.in.Transcribe == nil) == (s.in.Synthesize == nil) {
		t.Fatal("request.json needs transcribe or synthesize")
	}
	x := s.exchange(nil)
	o := s.try(t, entry, x)
	if strings.HasPrefix(s.Name, "error_") != (o.err != nil) {
		t.Fatalf("error %v", o.err)
	}
	if x.Calls > 1 {
		t.Fatalf("%d requests were sent", x.Calls)
	}
	// Binary bytes would make the file unreadable; quoted, they stay one line.
	sent := x.Sent
	if s.in.Transcribe != nil && bytes.ContainsRune(sent, 0) {
		sent = []byte(readable(string(sent)))
	}
	s.Compare(t, "wire-request.http", sent)
	s.Compare(t, "events.jsonl", lines(o.events))
	if o.err != nil {
		s.Compare(t, "error.json", s.CheckError(t, string(entry.ID), o.err))
		s.Compare(t, "response.json", nil)
	} else {
		s.Compare(t, "response.json", replay.Pretty(o.result))
	}
	s.Save(t)
	if s.Section("wire-response.sse") != nil || s.in.Synthesize != nil && o.err == nil {
		s.recut(t, entry, o)
	}
}

func readable(sent string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(sent, "\n") {
		q := strconv.QuoteToASCII(line)
		if strings.Contains(q, `\x`) {
			b.WriteString(q + "\n")
		} else {
			b.WriteString(strings.ReplaceAll(line, "\r", ""))
		}
	}
	return b.String()
}

// exchange answers with the transcript; error_tts_cut breaks off after its body.
func (s *scenario) exchange(pieces [][]byte) *replay.Exchange {
	x := &replay.Exchange{Reply: s.Reply, Pieces: pieces}
	if strings.HasSuffix(s.Name, "_cut") {
		x.End = io.ErrUnexpectedEOF
	}
	return x
}

func lines(events []speech.TextEvent) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, ev := range events {
		_ = enc.Encode(ev)
	}
	return b.Bytes()
}

func (s *scenario) recut(t *testing.T, entry providers.Entry, want outcome) {
	body := s.Reply.Body
	for i := 1; i < len(body); i++ {
		got := s.try(t, entry, s.exchange([][]byte{body[:i:i], body[i:]}))
		if fault.CodeOf(got.err) != fault.CodeOf(want.err) || !reflect.DeepEqual(got.events, want.events) || !reflect.DeepEqual(got.result, want.result) {
			t.Fatalf("cut at %d: %v, %v", i, fmt.Sprint(got.result), got.err)
		}
	}
	if s.in.Synthesize != nil {
		return
	}
	for i := range body {
		got := s.try(t, entry, &replay.Exchange{Reply: s.Reply, Pieces: [][]byte{body[:i:i]}})
		if len(got.events) > len(want.events) || !reflect.DeepEqual(got.events, want.events[:len(got.events):len(got.events)]) && len(got.events) > 0 {
			t.Fatalf("ended at %d: events were made up", i)
		}
		if got.err == nil && got.result == nil {
			t.Fatalf("ended at %d: no error", i)
		}
		if got.err != nil && fault.CodeOf(got.err) != fault.ProviderError {
			t.Fatalf("ended at %d: %v", i, got.err)
		}
	}
}
