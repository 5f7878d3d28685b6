package speech

import (
	"context"
	"encoding/json"
	"io"

	"github.com/latchkey/latchkey/shared/model"
)

// Format is how a transcription is answered.
type Format string

// Transcription formats of the OpenAI audio dialect.
const (
	FormatJSON         Format = "json"
	FormatText         Format = "text"
	FormatSRT          Format = "srt"
	FormatVTT          Format = "vtt"
	FormatVerboseJSON  Format = "verbose_json"
	FormatDiarizedJSON Format = "diarized_json"
)

// TranscribeRequest asks for the text of a recording.
type TranscribeRequest struct {
	// Model is the vendor's own model ID.
	Model string
	// Audio is the whole recording. Adapters only read it.
	Audio []byte
	// Filename is what the client called it; its extension often decides how a
	// vendor reads the bytes. MIME is the declared media type.
	Filename string
	MIME     string
	// Translate asks for English text whatever is spoken.
	Translate bool
	// Language is ISO-639-1 or BCP-47, "" to detect.
	Language string
	Prompt   string
	// Temperature is nil for the vendor's default.
	Temperature *float64
	// Format is what the client wants to read; adapters choose a wire format
	// that can answer it.
	Format Format
	// WordTimes and SegmentTimes are timestamp_granularities.
	WordTimes    bool
	SegmentTimes bool
	// Logprobs is include[]=logprobs.
	Logprobs bool
	Stream   bool
	// ChunkingStrategy is "auto" or a JSON object, "" if not given.
	ChunkingStrategy string
	// Languages, Keywords and the known speakers are fields of newer models.
	Languages         []string
	Keywords          []string
	SpeakerNames      []string
	SpeakerReferences []string
	// Extra are form fields the parser did not know.
	Extra map[string][]string
}

// Segment is a stretch of speech. Times are milliseconds from the start.
type Segment struct {
	Start   int64  `json:"start_ms"`
	End     int64  `json:"end_ms"`
	Text    string `json:"text"`
	Speaker string `json:"speaker,omitempty"`
	// AvgLogprob, CompressionRatio, NoSpeechProb and Temperature are whisper's,
	// as the vendor wrote them; nil if it did not.
	AvgLogprob       *json.Number `json:"avg_logprob,omitempty"`
	CompressionRatio *json.Number `json:"compression_ratio,omitempty"`
	NoSpeechProb     *json.Number `json:"no_speech_prob,omitempty"`
	Temperature      *json.Number `json:"temperature,omitempty"`
	Seek             int64        `json:"seek,omitempty"`
	Tokens           []int        `json:"tokens,omitempty"`
}

// Word is one word with its time in milliseconds.
type Word struct {
	Start   int64  `json:"start_ms"`
	End     int64  `json:"end_ms"`
	Text    string `json:"text"`
	Speaker string `json:"speaker,omitempty"`
}

// Transcription is the text of a recording.
type Transcription struct {
	Text string `json:"text"`
	// Language is the vendor's word: a code or a name such as "english".
	Language string `json:"language,omitempty"`
	// Duration is the length of the audio in milliseconds, 0 if unknown.
	Duration          int64           `json:"duration_ms,omitempty"`
	Segments          []Segment       `json:"segments,omitempty"`
	Words             []Word          `json:"words,omitempty"`
	Logprobs          json.RawMessage `json:"logprobs,omitempty"`
	Usage             Usage           `json:"usage"`
	ProviderRequestID string          `json:"provider_request_id,omitempty"`
}

// TranscribeCall is one attempt at one request.
type TranscribeCall struct {
	model.Target
	Request *TranscribeRequest
}

// Transcriber turns audio into text. Implementations are stateless and safe for
// concurrent use; codes as in [model.Chat], unsupported_media for audio the
// vendor refuses, too_large for audio above its limit.
type Transcriber interface {
	Transcribe(ctx context.Context, call TranscribeCall) (*Transcription, error)
}

// StreamTranscriber is a [Transcriber] that can also deliver text as it is
// recognised. StreamTranscribe returns with the first delta, or with the error
// that came instead; the caller closes the stream.
type StreamTranscriber interface {
	Transcriber
	StreamTranscribe(ctx context.Context, call TranscribeCall) (TextStream, error)
}

// TextEvent is one step of a [TextStream]: a delta, a diarised segment, or the
// final transcription, which holds the whole text and the usage and is last.
type TextEvent struct {
	Delta    string          `json:"delta,omitempty"`
	Logprobs json.RawMessage `json:"logprobs,omitempty"`
	Segment  *Segment        `json:"segment,omitempty"`
	Done     *Transcription  `json:"done,omitempty"`
}

// TextStream is text as it is recognised. Next returns io.EOF after the event
// with Done, and a *fault.Error for a stream that was cut. It is not safe for
// concurrent use, except for Close.
type TextStream interface {
	Next() (TextEvent, error)
	Close() error
}

// AudioFormat names an audio encoding of the OpenAI dialect.
type AudioFormat string

// Audio formats. PCM is 24 kHz signed 16 bit little endian mono unless the
// content type says otherwise; opus is Ogg.
const (
	AudioMP3  AudioFormat = "mp3"
	AudioOpus AudioFormat = "opus"
	AudioAAC  AudioFormat = "aac"
	AudioFLAC AudioFormat = "flac"
	AudioWAV  AudioFormat = "wav"
	AudioPCM  AudioFormat = "pcm"
)

// SynthesizeRequest asks for text to be spoken.
type SynthesizeRequest struct {
	// Model is the vendor's own model ID.
	Model string `json:"model"`
	Input string `json:"input"`
	// Voice is a voice name; VoiceID is set instead when the client wrote an
	// object with an id.
	Voice        string      `json:"voice,omitempty"`
	VoiceID      string      `json:"voice_id,omitempty"`
	Instructions string      `json:"instructions,omitempty"`
	Format       AudioFormat `json:"format,omitempty"`
	// Speed is nil for the vendor's default.
	Speed    *float64 `json:"speed,omitempty"`
	Language string   `json:"language,omitempty"`
	// SSE is the dialect's stream_format sse.
	SSE bool `json:"sse,omitempty"`
	// Extra are top-level fields the parser did not know.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
}

// SynthesizeCall is one attempt at one request.
type SynthesizeCall struct {
	model.Target
	Request *SynthesizeRequest
}

// Audio is speech as it arrives. The caller closes Body. Reading fails with a
// *fault.Error if the vendor cuts the stream. Usage is complete only when Body
// has returned io.EOF, and may be asked for at any time before for what was
// used so far.
type Audio struct {
	// ContentType is the vendor's, checked to be audio.
	ContentType       string
	Body              io.ReadCloser
	Usage             func() Usage
	ProviderRequestID string
}

// Synthesizer turns text into audio. Synthesize returns with the first bytes of
// audio, or with the error that came instead. Implementations are stateless and
// safe for concurrent use; codes as in [model.Chat].
type Synthesizer interface {
	Synthesize(ctx context.Context, call SynthesizeCall) (*Audio, error)
}

// Voice is a voice as a vendor's list shows it.
type Voice struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Language string `json:"language,omitempty"`
}

// Usage is what a speech call consumed. Vendors bill one of seconds, characters
// or tokens; all that is known is filled in and the price book chooses.
type Usage struct {
	// AudioIn is the length of the audio sent, in milliseconds; AudioInSource
	// says who counted it.
	AudioIn       int64             `json:"audio_in_ms,omitempty"`
	AudioInSource model.UsageSource `json:"audio_in_source,omitempty"`
	// Characters are Unicode code points of the text sent.
	Characters int64 `json:"characters,omitempty"`
	// AudioOut is the length of the audio received, in milliseconds, when the
	// format lets us count it.
	AudioOut int64 `json:"audio_out_ms,omitempty"`
	// BytesOut is the size of the audio received.
	BytesOut int64 `json:"bytes_out,omitempty"`
	// Tokens holds the vendor's token counts. Its Source is none when the
	// vendor does not count tokens.
	Tokens model.Usage `json:"tokens"`
	// Source is provider if the vendor reported the quantity it bills,
	// estimated if we counted it, none if nothing is known.
	Source model.UsageSource `json:"source"`
}
