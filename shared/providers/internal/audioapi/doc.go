// Package audioapi speaks the OpenAI audio wire format: /audio/transcriptions,
// /audio/translations and /audio/speech, with multipart uploads, and the JSON
// variant of the first that OpenRouter has, and a form without response formats
// that Mistral has.
//
// A recording is sent under a name whose extension fits its bytes, because
// vendors decide by the extension and refuse some that clients use (.oga,
// .opus). Subtitles and plain text are not asked for: times are read as
// verbose_json and rendered by package speech, so the duration is always known.
//
// Usage: the vendor's billed seconds or tokens, else the duration it reports,
// else what package speech can measure (marked estimated). Characters of speech
// are counted here, in code points, as the vendors bill them.
//
// Sources: openai-go v3.96.0 audio types; openrouter.ai/docs speech-to-text and
// text-to-speech; both read 2026-11.
package audioapi

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

const (
	opTranscribe = "audioapi.Transcribe"
	opSynthesize = "audioapi.Synthesize"
)

// maxAudio bounds a recording that is sent on, in bytes: OpenAI's limit of the
// request, 25 MiB.
const maxAudio = 25 << 20

// mediaTypes are the containers vendors take and what to call them.
var mediaTypes = map[speech.Container]string{
	speech.ContainerWAV: "audio/wav", speech.ContainerOGG: "audio/ogg", speech.ContainerMP3: "audio/mpeg",
	speech.ContainerFLAC: "audio/flac", speech.ContainerMP4: "audio/mp4", speech.ContainerWebM: "audio/webm",
	speech.ContainerAAC: "audio/aac",
}

// extensions are what a name may say when the bytes say nothing.
var extensions = map[string]speech.Container{
	".wav": speech.ContainerWAV, ".ogg": speech.ContainerOGG, ".mp3": speech.ContainerMP3, ".mpga": speech.ContainerMP3,
	".mpeg": speech.ContainerMP3, ".flac": speech.ContainerFLAC, ".m4a": speech.ContainerMP4, ".mp4": speech.ContainerMP4,
	".webm": speech.ContainerWebM, ".aac": speech.ContainerAAC, ".oga": speech.ContainerOGG, ".opus": speech.ContainerOGG,
}

// container decides what a recording is, by its bytes first.
func container(v *wire.Vendor, r *speech.TranscribeRequest) (speech.Container, error) {
	if len(r.Audio) == 0 {
		return "", v.Refuse(opTranscribe, fault.InvalidRequest, "file", "the audio file is empty")
	}
	if len(r.Audio) > maxAudio {
		return "", v.Refuse(opTranscribe, fault.TooLarge, "file", "the audio file is larger than the provider accepts (25 MiB)")
	}
	c := speech.Sniff(r.Audio)
	if c == speech.ContainerUnknown {
		c = extensions[strings.ToLower(path.Ext(r.Filename))]
	}
	if c == speech.ContainerUnknown {
		return "", v.Refuse(opTranscribe, fault.UnsupportedMedia, "file",
			"the audio format is not recognised, send wav, mp3, ogg, flac, m4a or webm")
	}
	return c, nil
}

type wireUsage struct {
	Type    string      `json:"type"`
	Seconds json.Number `json:"seconds"`
	Input   *int64      `json:"input_tokens"`
	Output  int64       `json:"output_tokens"`
	Details struct {
		Audio int64 `json:"audio_tokens"`
		Text  int64 `json:"text_tokens"`
	} `json:"input_token_details"`
	// Mistral's names. Its total holds the audio's tokens, which stand nowhere
	// else (docs.mistral.ai, audio transcription, read 2026-11).
	PromptSeconds json.Number `json:"prompt_audio_seconds"`
	Prompt        *int64      `json:"prompt_tokens"`
	Completion    int64       `json:"completion_tokens"`
	Total         int64       `json:"total_tokens"`
}

// tokens are the counts in one vocabulary; ok is false if there are none.
func (u *wireUsage) tokens() (c model.Inclusive, ok bool) {
	switch {
	case u.Input != nil:
		return model.Inclusive{Input: *u.Input, InputAudio: u.Details.Audio, Output: u.Output}, true
	case u.Prompt != nil:
		c = model.Inclusive{Input: *u.Prompt, Output: u.Completion}
		if all := u.Total - u.Completion; u.Total <= model.MaxTokens && u.Completion >= 0 && *u.Prompt >= 0 && all > *u.Prompt {
			c.Input, c.InputAudio = all, all-*u.Prompt
		}
		return c, true
	}
	return c, false
}

// transcribeUsage puts together what is known about a transcription's cost.
// reported is the duration the vendor stated beside the usage, 0 if none.
func transcribeUsage(raw json.RawMessage, reported int64, audio []byte) speech.Usage {
	u := speech.Usage{Tokens: model.Usage{Source: model.UsageNone}, Source: model.UsageNone}
	var in wireUsage
	if len(raw) > 0 && string(raw) != "null" && json.Unmarshal(raw, &in) == nil {
		if c, ok := in.tokens(); ok {
			u.Tokens, u.Source = c.Split(), model.UsageProvider
		}
		if in.Seconds == "" {
			in.Seconds = in.PromptSeconds
		}
		if len(raw) <= 4<<10 {
			u.Tokens.Raw = append(json.RawMessage(nil), raw...)
		}
	}
	if ms, ok := speech.Milliseconds(in.Seconds); ok && ms > 0 {
		u.AudioIn, u.AudioInSource, u.Source = ms, model.UsageProvider, model.UsageProvider
	} else if reported > 0 {
		u.AudioIn, u.AudioInSource = reported, model.UsageProvider
	} else if ms, ok := speech.Measure(audio); ok {
		u.AudioIn, u.AudioInSource = ms, model.UsageEstimated
	}
	if u.Source == model.UsageNone && u.AudioIn > 0 {
		u.Source = u.AudioInSource
	}
	return u
}
