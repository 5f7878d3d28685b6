package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/serve"
)

// scripted is an answer; it notes how it was left.
type scripted struct {
	events    []model.Event
	abandoned int
}

func (s *scripted) Next() (model.Event, error) {
	if len(s.events) == 0 {
		return model.Event{}, io.EOF
	}
	ev := s.events[0]
	s.events = s.events[1:]
	return ev, nil
}

func (s *scripted) Abandon()           { s.abandoned++ }
func (s *scripted) Info() gateway.Info { return gateway.Info{} }

// leaving is a client that takes some writes and is gone then.
type leaving struct {
	http.ResponseWriter
	writes int
}

func (l *leaving) Write(p []byte) (int, error) {
	if l.writes--; l.writes < 0 {
		return 0, io.ErrClosedPipe
	}
	return l.ResponseWriter.Write(p)
}

// TestClientThatLeaves: the answer is abandoned at the first write that fails,
// which is not the same as closed, and nothing more of it is asked for here.
func TestClientThatLeaves(t *testing.T) {
	for writes := range 5 {
		s := &scripted{events: []model.Event{{Kind: model.EventStart}, {Kind: model.EventText, Text: "a"}, {Kind: model.EventText, Text: "b"},
			{Kind: model.EventFinish, Finish: model.FinishStop}, {Kind: model.EventEnd}}}
		answer := httptest.NewRecorder()
		err := relay(&serve.Exchange{W: &leaving{answer, writes}}, s, openaichat.NewStreamEncoder(openaichat.Shape{Model: "m"}), "r1")
		// The last write comes with the end, when there is nothing to be abandoned.
		want, left := 1, 4-writes
		if writes == 4 {
			want, left = 0, 0
		}
		if err == nil || s.abandoned != want || len(s.events) != left {
			t.Errorf("after %d writes: abandoned %d times, %d events unread, %v", writes, s.abandoned, len(s.events), err)
		}
	}
	s := &scripted{events: []model.Event{{Kind: model.EventStart}, {Kind: model.EventFinish, Finish: model.FinishCreditExhausted}, {Kind: model.EventEnd}}}
	answer := httptest.NewRecorder()
	if err := relay(&serve.Exchange{W: answer}, s, openaichat.NewStreamEncoder(openaichat.Shape{Model: "m"}), "r1"); err != nil || s.abandoned != 0 ||
		!strings.Contains(answer.Body.String(), `"finish_reason":"credit_exhausted"`) || !strings.HasSuffix(answer.Body.String(), "data: [DONE]\n\n") {
		t.Errorf("%v, %s", err, answer.Body)
	}
}
