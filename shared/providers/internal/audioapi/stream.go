package audioapi

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// textStream reads transcript.text.* events.
type textStream struct {
	v        *wire.Vendor
	ans      *wire.Answer
	sse      *sse.Reader
	audio    []byte
	queue    []speech.TextEvent
	segments []speech.Segment
	err      error
	finished bool
}

func newTextStream(v *wire.Vendor, ans *wire.Answer, r *speech.TranscribeRequest) *textStream {
	return &textStream{v: v, ans: ans, sse: sse.NewReader(ans.Body), audio: r.Audio}
}

func (s *textStream) prime() error {
	for len(s.queue) == 0 {
		if s.read(); s.err != nil {
			return s.err
		}
	}
	return nil
}

// Next implements [speech.TextStream].
func (s *textStream) Next() (speech.TextEvent, error) {
	for len(s.queue) == 0 {
		if s.err != nil {
			return speech.TextEvent{}, s.err
		}
		if s.finished {
			return speech.TextEvent{}, io.EOF
		}
		s.read()
	}
	ev := s.queue[0]
	s.queue = s.queue[1:]
	return ev, nil
}

// Close implements [speech.TextStream].
func (s *textStream) Close() error {
	if s.ans == nil {
		return nil
	}
	return s.ans.Body.Close()
}

func (s *textStream) read() {
	ev, err := s.sse.Next()
	switch {
	case errors.Is(err, sse.ErrTooLarge):
		s.err = s.v.Malformed(opTranscribe)
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		s.err = s.v.Cut(opTranscribe)
	case err != nil:
		s.err = err
	case string(ev.Data) == "[DONE]":
		s.err = s.v.Cut(opTranscribe)
	default:
		s.err = s.frame(ev.Data)
	}
}

func (s *textStream) frame(data []byte) error {
	var in struct {
		Type     string          `json:"type"`
		Delta    string          `json:"delta"`
		Logprobs json.RawMessage `json:"logprobs"`
		Error    json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &in) != nil {
		return s.v.Malformed(opTranscribe)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return s.v.DecideInBand(opTranscribe, in.Error, s.ans.Header)
	}
	switch in.Type {
	case "transcript.text.delta":
		if in.Delta != "" {
			ev := speech.TextEvent{Delta: in.Delta}
			if string(in.Logprobs) != "null" {
				ev.Logprobs = in.Logprobs
			}
			s.queue = append(s.queue, ev)
		}
	case "transcript.text.segment":
		var w wireSegment
		if json.Unmarshal(data, &w) != nil || len(s.segments) >= maxSegments {
			return s.v.Malformed(opTranscribe)
		}
		seg, ok := w.segment()
		if !ok {
			return s.v.Malformed(opTranscribe)
		}
		s.segments = append(s.segments, seg)
		s.queue = append(s.queue, speech.TextEvent{Segment: &seg})
	case "transcript.text.done":
		done, err := decode(s.v, data, s.audio)
		if err != nil {
			return err
		}
		done.ProviderRequestID = s.ans.RequestID
		if len(done.Segments) == 0 {
			done.Segments = s.segments
		}
		s.queue = append(s.queue, speech.TextEvent{Done: done})
		s.finished = true
	}
	return nil
}
