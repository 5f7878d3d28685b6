package openaiaudio

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/speech"
)

const opSpeech = "openaiaudio.ParseSpeech"

// maxInput bounds the text of one request, in code points. Vendors have lower
// limits of their own.
const maxInput = 32768

// ParseSpeech reads the body of POST /v1/audio/speech.
func ParseSpeech(body []byte) (*speech.SynthesizeRequest, error) {
	if err := jsonwire.Check(body); err != nil {
		return nil, bad(opSpeech, "", err.Error())
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil || all == nil {
		return nil, bad(opSpeech, "", "the body must be a JSON object")
	}
	r := &speech.SynthesizeRequest{}
	var format, sse string
	for _, f := range [...]struct {
		name string
		into *string
		most int
	}{{"model", &r.Model, 256}, {"input", &r.Input, 4 * maxInput}, {"instructions", &r.Instructions, 16384},
		{"language", &r.Language, 16}, {"response_format", &format, 16}, {"stream_format", &sse, 16}} {
		if v := take(all, f.name); v != nil && (json.Unmarshal(v, f.into) != nil || v[0] != '"' || len(*f.into) > f.most) {
			return nil, bad(opSpeech, f.name, f.name+" must be a string that is not too long")
		}
	}
	switch {
	case r.Model == "":
		return nil, bad(opSpeech, "model", "model is required, for example \"openrouter/openai/gpt-4o-mini-tts\"")
	case r.Input == "":
		return nil, bad(opSpeech, "input", "input is required: the text to speak")
	case utf8.RuneCountInString(r.Input) > maxInput:
		return nil, bad(opSpeech, "input", "the text is longer than 32768 characters, split it")
	}
	if err := voice(r, take(all, "voice")); err != nil {
		return nil, err
	}
	if err := delivery(r, format, sse); err != nil {
		return nil, err
	}
	if v := take(all, "speed"); v != nil {
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || math.IsNaN(f) || f < 0.25 || f > 4 {
			return nil, bad(opSpeech, "speed", "speed must be a number between 0.25 and 4")
		}
		r.Speed = &f
	}
	if len(all) > 0 {
		r.Extra = all
	}
	return r, nil
}

func take(all map[string]json.RawMessage, name string) json.RawMessage {
	v := all[name]
	delete(all, name)
	if string(v) == "null" {
		return nil
	}
	return v
}

func voice(r *speech.SynthesizeRequest, v json.RawMessage) error {
	if v == nil {
		return nil
	}
	var in struct {
		ID string `json:"id"`
	}
	switch {
	case v[0] == '"' && json.Unmarshal(v, &r.Voice) == nil && len(r.Voice) <= 256:
		return nil
	case v[0] == '{' && json.Unmarshal(v, &in) == nil && in.ID != "" && len(in.ID) <= 256:
		r.VoiceID = in.ID
		return nil
	}
	return bad(opSpeech, "voice", "voice must be a name or an object with an id")
}

func delivery(r *speech.SynthesizeRequest, format, sse string) error {
	switch f := speech.AudioFormat(format); f {
	case "":
		r.Format = speech.AudioMP3
	case speech.AudioMP3, speech.AudioOpus, speech.AudioAAC, speech.AudioFLAC, speech.AudioWAV, speech.AudioPCM:
		r.Format = f
	default:
		return bad(opSpeech, "response_format", "the format must be mp3, opus, aac, flac, wav or pcm")
	}
	switch sse {
	case "", "audio":
	case "sse":
		r.SSE = true
	default:
		return bad(opSpeech, "stream_format", "stream_format must be audio or sse")
	}
	return nil
}

// AppendAudioDelta appends the frame of a piece of audio, for stream_format sse.
func AppendAudioDelta(dst, audio []byte) []byte {
	dst = append(dst, `data: {"type":"speech.audio.delta","audio":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, audio)
	return append(dst, "\"}\n\n"...)
}

// AppendAudioDone appends the last frame. The token counts are the vendor's; a
// vendor that bills characters or seconds has none, and then they are 0.
func AppendAudioDone(dst []byte, u speech.Usage) []byte {
	o := jsonwire.Begin(append(dst, "data: "...))
	o.String("type", "speech.audio.done")
	o.Name("usage")
	n := jsonwire.Begin(o.B)
	n.Int("input_tokens", u.Tokens.InputTotal())
	n.Int("output_tokens", u.Tokens.OutputTotal())
	n.Int("total_tokens", u.Tokens.InputTotal()+u.Tokens.OutputTotal())
	n.Int("characters", u.Characters)
	o.B = n.End()
	return append(o.End(), '\n', '\n')
}
