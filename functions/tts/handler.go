package main

import (
	"io"
	"net/http"

	"github.com/latchkey/latchkey/shared/dialect/openaiaudio"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/serve"
)

// handler routes the paths of speech synthesis.
func handler(s *serve.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/audio/speech", s.Handle(org.ScopeAudio, speak))
	mux.Handle("/", s.NotFound())
	return mux
}

func speak(x *serve.Exchange) error {
	request, err := openaiaudio.ParseSpeech(x.Body)
	if err != nil {
		return err
	}
	s, err := x.Gateway().Synthesize(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	defer s.Close()
	x.Describe(s.Info(), true)
	if request.SSE {
		x.Begin(http.StatusOK, openaichat.ContentType)
		return frames(x, s)
	}
	return pass(x, s)
}

// pass hands audio on as it arrives. The status waits for the first of it.
func pass(x *serve.Exchange, s *gateway.SpokenText) error {
	buf := make([]byte, 32<<10)
	for begun := false; ; {
		n, err := s.Read(buf)
		if !begun && (n > 0 || err == io.EOF) {
			begun = true
			x.Begin(http.StatusOK, s.ContentType)
		}
		if n > 0 {
			if _, werr := x.W.Write(buf[:n]); werr != nil {
				return fault.Wrap(fault.Internal, "tts.pass", "the client left", werr)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if begun {
				// Raw audio has no place for an error.
				serve.Break(x.W)
			}
			return err
		}
	}
}

// frames wraps audio into events.
func frames(x *serve.Exchange, s *gateway.SpokenText) error {
	audio := make([]byte, 24<<10)
	var out []byte
	for {
		n, err := s.Read(audio)
		out = out[:0]
		if n > 0 {
			out = openaiaudio.AppendAudioDelta(out, audio[:n])
		}
		switch {
		case err == io.EOF:
			out = openaiaudio.AppendAudioDone(out, s.Usage())
		case err != nil:
			out = openaichat.NewStreamEncoder(openaichat.Shape{}).AppendError(out, x.Public(err), s.Info().RequestID)
		}
		if _, werr := x.W.Write(out); werr != nil {
			return fault.Wrap(fault.Internal, "tts.frames", "the client left", werr)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
