package audioapi

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// maxInput bounds the text of one call, in code points: OpenAI's limit.
const maxInput = 4096

// Synthesizer speaks text with POST /audio/speech. It is stateless and safe for
// concurrent use.
type Synthesizer struct{ v wire.Vendor }

// NewSynthesizer makes a synthesizer.
func NewSynthesizer(v wire.Vendor) *Synthesizer { return &Synthesizer{v: v} }

// formatTypes are the media types of the dialect's formats.
var formatTypes = map[speech.AudioFormat]string{
	speech.AudioMP3: "audio/mpeg", speech.AudioOpus: "audio/ogg", speech.AudioAAC: "audio/aac",
	speech.AudioFLAC: "audio/flac", speech.AudioWAV: "audio/wav", speech.AudioPCM: "audio/pcm",
}

// Synthesize implements [speech.Synthesizer].
func (s *Synthesizer) Synthesize(ctx context.Context, call speech.SynthesizeCall) (*speech.Audio, error) {
	r := call.Request
	format := r.Format
	if format == "" {
		format = speech.AudioMP3
	}
	if formatTypes[format] == "" {
		return nil, s.v.Refuse(opSynthesize, fault.InvalidRequest, "response_format", "the format must be mp3, opus, aac, flac, wav or pcm")
	}
	chars := utf8.RuneCountInString(r.Input)
	switch {
	case chars == 0:
		return nil, s.v.Refuse(opSynthesize, fault.InvalidRequest, "input", "there is no text to speak")
	case chars > maxInput:
		return nil, s.v.Refuse(opSynthesize, fault.InvalidRequest, "input", "the text is longer than 4096 characters, split it")
	}
	body := speechBody(r, format)
	ans, err := wire.Do(ctx, call.Target, &s.v, wire.Request{Op: opSynthesize, Method: http.MethodPost, Path: "/audio/speech",
		ContentType: "application/json", Accept: "audio/*", Body: bytes.NewReader(body), Size: int64(len(body)), Stream: true})
	if err != nil {
		return nil, err
	}
	ctype, params, err := s.contentType(ans, format)
	if err != nil {
		_ = ans.Body.Close()
		return nil, err
	}
	a := &audioBody{body: ans.Body, chars: int64(chars), pcm: format == speech.AudioPCM, rate: 24000, channels: 1}
	a.parameters(params)
	if err := a.prime(&s.v); err != nil {
		_ = ans.Body.Close()
		return nil, err
	}
	return &speech.Audio{ContentType: ctype, Body: a, Usage: a.usage, ProviderRequestID: ans.RequestID}, nil
}

func speechBody(r *speech.SynthesizeRequest, format speech.AudioFormat) []byte {
	o := jsonwire.Begin(make([]byte, 0, len(r.Input)*9/8+len(r.Instructions)+256))
	o.String("model", r.Model)
	o.String("input", r.Input)
	if r.VoiceID != "" {
		o.Name("voice")
		v := jsonwire.Begin(o.B)
		v.String("id", r.VoiceID)
		o.B = v.End()
	} else {
		o.StringIf("voice", r.Voice)
	}
	o.StringIf("instructions", r.Instructions)
	o.String("response_format", string(format))
	if r.Speed != nil {
		o.Name("speed")
		o.B = jsonwire.AppendFloat(o.B, *r.Speed)
	}
	return o.End()
}

// contentType checks that the answer is audio. JSON is an error with status
// 200; a server that does not say gets the type of the format that was asked for.
func (s *Synthesizer) contentType(ans *wire.Answer, format speech.AudioFormat) (string, map[string]string, error) {
	raw := ans.Header.Get("Content-Type")
	mt, params, err := mime.ParseMediaType(raw)
	switch {
	case raw == "" || err == nil && mt == "application/octet-stream":
		return formatTypes[format], nil, nil
	case err == nil && mt == "application/json":
		body, err := ans.Body.ReadAll(0)
		if err != nil {
			return "", nil, err
		}
		return "", nil, s.v.Decide(opSynthesize, http.StatusBadGateway, ans.Header, body)
	case err == nil && strings.HasPrefix(mt, "audio/"):
		return mime.FormatMediaType(mt, params), params, nil
	}
	return "", nil, s.v.Malformed(opSynthesize)
}

// audioBody counts what passes. Usage may be asked for from another goroutine
// than the reader's.
type audioBody struct {
	body           *wire.Body
	first          []byte
	err            error
	chars          int64
	pcm            bool
	rate, channels int

	mu sync.Mutex
	n  int64
}

// parameters takes rate and channels of raw PCM from the content type, as in
// audio/pcm;rate=24000;channels=1.
func (a *audioBody) parameters(p map[string]string) {
	if n, err := strconv.Atoi(p["rate"]); err == nil && n >= 4000 && n <= 384000 {
		a.rate = n
	}
	if n, err := strconv.Atoi(p["channels"]); err == nil && n >= 1 && n <= 16 {
		a.channels = n
	}
}

// prime waits for the first bytes, so that a failure can still be answered by
// another vendor.
func (a *audioBody) prime(v *wire.Vendor) error {
	buf := make([]byte, 8<<10)
	for {
		n, err := a.body.Read(buf)
		if n > 0 {
			a.first, a.err = buf[:n], err
			return nil
		}
		if err == io.EOF {
			return v.Cut(opSynthesize)
		}
		if err != nil {
			return err
		}
	}
}

// Read implements [io.Reader].
func (a *audioBody) Read(p []byte) (n int, err error) {
	switch {
	case len(a.first) > 0:
		n = copy(p, a.first)
		a.first = a.first[n:]
	case a.err != nil:
		return 0, a.err
	default:
		n, err = a.body.Read(p)
	}
	a.mu.Lock()
	a.n += int64(n)
	a.mu.Unlock()
	return n, err
}

// Close implements [io.Closer].
func (a *audioBody) Close() error { return a.body.Close() }

func (a *audioBody) usage() speech.Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := speech.Usage{Characters: a.chars, BytesOut: a.n, Tokens: model.Usage{Source: model.UsageNone}, Source: model.UsageEstimated}
	if a.pcm {
		u.AudioOut = speech.PCMDuration(a.n, a.rate, a.channels, 16)
	}
	return u
}
