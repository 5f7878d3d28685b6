package main

import (
	"io"
	"net/http"

	"github.com/latchkey/latchkey/shared/dialect/openaiaudio"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/serve"
	"github.com/latchkey/latchkey/shared/speech"
)

// handler routes the paths of speech recognition.
func handler(s *serve.Server) http.Handler {
	mux := http.NewServeMux()
	for path, translate := range map[string]bool{"/v1/audio/transcriptions": false, "/v1/audio/translations": true} {
		mux.Handle("POST "+path, s.Handle(org.ScopeAudio, func(x *serve.Exchange) error { return transcribe(x, translate) }))
	}
	mux.Handle("/", s.NotFound())
	return mux
}

func transcribe(x *serve.Exchange, translate bool) error {
	request, err := openaiaudio.ParseTranscription(x.R.Header.Get("Content-Type"), x.Body, translate)
	if err != nil {
		return err
	}
	if request.Stream {
		return stream(x, request)
	}
	t, err := x.Gateway().Transcribe(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	// The gateway reports what could not be written; the text is the client's.
	_ = t.Commit(x.R.Context())
	x.Describe(t.Info(), false)
	body, contentType := openaiaudio.EncodeTranscription(nil, t.Result, request)
	return x.Reply(contentType, body)
}

func stream(x *serve.Exchange, request *speech.TranscribeRequest) error {
	s, err := x.Gateway().TranscribeStream(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	defer s.Close()
	x.Describe(s.Info(), true)
	x.Begin(http.StatusOK, openaichat.ContentType)
	var frames openaiaudio.TranscriptionStream
	var buf []byte
	for {
		ev, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			buf = openaichat.NewStreamEncoder(openaichat.Shape{}).AppendError(buf[:0], x.Public(err), s.Info().RequestID)
			_, _ = x.W.Write(buf)
			return err
		}
		if buf = frames.Append(buf[:0], ev); len(buf) == 0 {
			continue
		}
		if _, err := x.W.Write(buf); err != nil {
			s.Abandon()
			return fault.Wrap(fault.Internal, "stt.stream", "the client left", err)
		}
	}
}
