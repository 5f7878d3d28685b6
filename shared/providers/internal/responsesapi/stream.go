package responsesapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

type wireEvent struct {
	Type         string       `json:"type"`
	Delta        string       `json:"delta"`
	OutputIndex  int          `json:"output_index"`
	SummaryIndex int          `json:"summary_index"`
	Item         wireItem     `json:"item"`
	Response     wireResponse `json:"response"`
}

// stream turns events of the format into ours.
type stream struct {
	cfg     *Config
	ans     *wire.Answer
	sse     *sse.Reader
	exclude bool
	queue   []model.Event
	next    int
	err     error
	begun   bool
	// tool is the output index of the open call, -1 if none.
	tool, tools int
	args        bool
	// block counts items of thinking, summary is the part being written.
	block, summary int
	ended          bool
}

func newStream(cfg *Config, ans *wire.Answer, exclude bool) *stream {
	return &stream{cfg: cfg, ans: ans, sse: sse.NewReader(ans.Body), exclude: exclude, tool: -1, summary: -1}
}

func (s *stream) prime() error {
	for {
		for i := range s.queue {
			if k := s.queue[i].Kind; k != model.EventStart && k != model.EventUsage {
				return nil
			}
		}
		if s.read(); s.err != nil && s.err != io.EOF {
			return s.err
		}
	}
}

// Next implements [model.Stream].
func (s *stream) Next() (model.Event, error) {
	for s.next >= len(s.queue) {
		if s.err != nil {
			return model.Event{}, s.err
		}
		s.queue, s.next = s.queue[:0], 0
		s.read()
	}
	ev := s.queue[s.next]
	s.next++
	return ev, nil
}

// Close implements [model.Stream].
func (s *stream) Close() error { return s.ans.Body.Close() }

func (s *stream) put(ev model.Event) { s.queue = append(s.queue, ev) }

func (s *stream) header() http.Header { return s.ans.Header }

func (s *stream) read() {
	if s.ended {
		s.err = io.EOF
		return
	}
	ev, err := s.sse.Next()
	switch {
	case errors.Is(err, sse.ErrTooLarge):
		s.err = s.cfg.Vendor.Malformed(op)
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		s.err = s.cfg.Vendor.Cut(op)
	case err != nil:
		s.err = err
	default:
		s.err = s.frame(validUTF8(ev.Data))
	}
}

func (s *stream) frame(data []byte) error {
	var ev wireEvent
	if json.Unmarshal(data, &ev) != nil {
		return s.cfg.Vendor.Malformed(op)
	}
	if !s.begun && ev.Type != "response.created" && ev.Type != "error" && ev.Type != "response.failed" {
		return s.cfg.Vendor.Malformed(op)
	}
	switch ev.Type {
	case "response.created":
		if !s.begun {
			s.begun = true
			s.put(model.Event{Kind: model.EventStart, ID: clip(ev.Response.ID), Name: clip(ev.Response.Model),
				Created: created(ev.Response.Created), RequestID: s.ans.RequestID})
		}
	case "response.output_text.delta":
		s.text(model.EventText, ev.Delta)
	case "response.refusal.delta":
		s.text(model.EventRefusal, ev.Delta)
	case "response.reasoning_summary_text.delta":
		s.thought(&ev)
	case "response.output_item.added":
		return s.added(&ev)
	case "response.function_call_arguments.delta":
		if ev.OutputIndex != s.tool {
			return s.cfg.Vendor.Malformed(op)
		}
		if ev.Delta != "" {
			s.args = true
			s.put(model.Event{Kind: model.EventToolArgs, Index: s.tools - 1, Text: ev.Delta})
		}
	case "response.output_item.done":
		s.done(&ev)
	case "response.completed", "response.incomplete":
		return s.finish(&ev.Response)
	case "response.failed":
		return s.cfg.Vendor.DecideInBand(op, ev.Response.Error, s.header())
	case "error":
		// The fields of the error stand in the event or below error.
		return s.cfg.Vendor.DecideBody(op, data, s.header())
	}
	return nil
}

func (s *stream) text(kind model.EventKind, delta string) {
	if delta != "" {
		s.put(model.Event{Kind: kind, Text: delta})
	}
}

func (s *stream) thought(ev *wireEvent) {
	if s.exclude || ev.Delta == "" {
		return
	}
	text := ev.Delta
	if s.summary >= 0 && ev.SummaryIndex != s.summary {
		text = "\n\n" + text
	}
	s.summary = ev.SummaryIndex
	s.put(model.Event{Kind: model.EventReasoning, Index: s.block, Text: text, Reasoning: &model.Reasoned{Summary: true}})
}

func (s *stream) added(ev *wireEvent) error {
	if ev.Item.Type != "function_call" {
		return nil
	}
	if s.tool >= 0 || ev.Item.Name == "" || ev.Item.CallID == "" || s.tools >= maxItems {
		return s.cfg.Vendor.Malformed(op)
	}
	s.tool, s.args = ev.OutputIndex, false
	s.tools++
	s.put(model.Event{Kind: model.EventToolStart, Index: s.tools - 1, ID: ev.Item.CallID, Name: ev.Item.Name})
	return nil
}

func (s *stream) done(ev *wireEvent) {
	switch {
	case ev.Item.Type == "reasoning":
		if r := ev.Item.reasoned(); r.Data != "" && !s.exclude {
			s.put(model.Event{Kind: model.EventReasoning, Index: s.block, Reasoning: &r})
		}
		s.block++
		s.summary = -1
	case ev.Item.Type == "function_call" && ev.OutputIndex == s.tool:
		s.endTool()
	}
}

func (s *stream) endTool() {
	if s.tool < 0 {
		return
	}
	if !s.args {
		s.put(model.Event{Kind: model.EventToolArgs, Index: s.tools - 1, Text: "{}"})
	}
	s.put(model.Event{Kind: model.EventToolEnd, Index: s.tools - 1})
	s.tool = -1
}

func (s *stream) finish(r *wireResponse) error {
	if present(r.Error) {
		return s.cfg.Vendor.DecideInBand(op, r.Error, s.header())
	}
	if r.Status != "completed" && r.Status != "incomplete" {
		return s.cfg.Vendor.Malformed(op)
	}
	s.endTool()
	ev := model.Event{Kind: model.EventFinish}
	ev.Finish, ev.Native = r.finish(s.tools > 0)
	s.put(ev)
	if present(r.Usage) {
		u := usage(r.Usage)
		s.put(model.Event{Kind: model.EventUsage, Usage: &u})
	}
	s.put(model.Event{Kind: model.EventEnd})
	s.ended = true
	return nil
}
