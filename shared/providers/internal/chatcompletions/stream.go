package chatcompletions

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// firstChunk has the fields that are the same in every chunk and read once.
type firstChunk struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Created count  `json:"created"`
}

type chunk struct {
	Choices []chunkChoice `json:"choices"`
	Usage   rawValue      `json:"usage"`
	Error   rawValue      `json:"error"`
	// Groq's place for usage and for an error that ended the stream early
	// (groq-sdk 1.6.0, ChatCompletionChunk.XGroq, read 2026-11).
	XGroq struct {
		Usage rawValue `json:"usage"`
		Error rawValue `json:"error"`
	} `json:"x_groq"`
}

type chunkChoice struct {
	Index        int        `json:"index"`
	Delta        chunkDelta `json:"delta"`
	FinishReason string     `json:"finish_reason"`
	Native       string     `json:"native_finish_reason"`
	Logprobs     rawValue   `json:"logprobs"`
	Error        rawValue   `json:"error"`
	// Usage is Kimi's place for it: the last choice instead of the chunk.
	Usage rawValue `json:"usage"`
}

type chunkDelta struct {
	Content   content      `json:"content"`
	Refusal   string       `json:"refusal"`
	Reasoning string       `json:"reasoning"`
	Content2  string       `json:"reasoning_content"`
	Details   []wireDetail `json:"reasoning_details"`
	ToolCalls []wireCall   `json:"tool_calls"`
	Audio     rawValue     `json:"audio"`
	Images    rawValue     `json:"images"`
}

// stream turns chunks into events. queue holds the events of the chunk being
// handed out and is reused.
type stream struct {
	cfg   *Config
	ans   *wire.Answer
	sse   *sse.Reader
	chunk chunk
	queue []model.Event
	// exclude leaves thinking out of the events.
	exclude bool
	next    int
	err     error
	begun   bool
	id      string
	tools   tools
	block   blocks
	finish  model.Event
	done    bool
}

func newStream(cfg *Config, ans *wire.Answer) *stream {
	return &stream{cfg: cfg, ans: ans, sse: sse.NewReader(ans.Body), queue: make([]model.Event, 0, 8)}
}

// NewStream decodes a body that was received some other way, for tools that
// show a translation and for tests. It does not wait for the first content.
func (c *Chat) NewStream(body io.Reader) model.Stream {
	return &stream{cfg: &c.c, sse: sse.NewReader(body), queue: make([]model.Event, 0, 8)}
}

// prime reads until there is an event worth showing. The start event alone is
// not: a vendor that announces itself and then fails can still be replaced.
func (s *stream) prime() error {
	for {
		for i := range s.queue {
			if k := s.queue[i].Kind; k != model.EventStart && k != model.EventUsage {
				return nil
			}
		}
		s.read()
		if s.err != nil && s.err != io.EOF {
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
func (s *stream) Close() error {
	if s.ans == nil {
		return nil
	}
	return s.ans.Body.Close()
}

func (s *stream) put(ev model.Event) { s.queue = append(s.queue, ev) }

// read takes one frame of the vendor and queues what it says. It sets err at
// the end, after everything that came before it was queued.
func (s *stream) read() {
	ev, err := s.sse.Next()
	switch {
	case err != nil:
		s.err = s.ended(err)
	case string(ev.Data) == "[DONE]":
		s.done = true
		s.err = s.ended(io.EOF)
	case ev.Name == "error":
		s.err = s.errorEvent(ev.Data)
	default:
		s.err = s.frame(ev.Data)
	}
}

func (s *stream) header() http.Header {
	if s.ans == nil {
		return nil
	}
	return s.ans.Header
}

func (s *stream) errorEvent(data []byte) error {
	var in struct {
		Error rawValue `json:"error"`
	}
	if json.Unmarshal(data, &in) == nil && len(in.Error) > 0 {
		data = in.Error
	}
	return s.cfg.errStream(data, s.header())
}

// ended decides whether the end of the body is the end of the answer.
func (s *stream) ended(err error) error {
	if errors.Is(err, sse.ErrTooLarge) {
		return s.cfg.Vendor.Malformed(op)
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	complete := s.finish.Kind != 0 && err == io.EOF
	if !complete && s.done && s.cfg.DoneEnds && s.begun {
		s.finished("", "")
		complete = true
	}
	if !complete {
		return s.cfg.Vendor.Cut(op)
	}
	s.put(model.Event{Kind: model.EventEnd})
	return io.EOF
}

func (s *stream) frame(data []byte) error {
	if s.begun && s.finish.Kind == 0 {
		if text, ok := fastText(data); ok {
			s.block.close()
			s.put(model.Event{Kind: model.EventText, Text: text})
			return nil
		}
	}
	data = validUTF8(data)
	for i := range s.chunk.Choices {
		s.chunk.Choices[i] = chunkChoice{}
	}
	s.chunk.Choices, s.chunk.Usage, s.chunk.Error = s.chunk.Choices[:0], s.chunk.Usage[:0], s.chunk.Error[:0]
	s.chunk.XGroq.Usage, s.chunk.XGroq.Error = s.chunk.XGroq.Usage[:0], s.chunk.XGroq.Error[:0]
	// null would be read as a chunk that says nothing.
	if json.Unmarshal(data, &s.chunk) != nil || string(bytes.TrimSpace(data)) == "null" {
		return s.cfg.Vendor.Malformed(op)
	}
	switch {
	case len(s.chunk.Error) > 0:
		return s.cfg.Vendor.DecideBody(op, data, s.header())
	case len(s.chunk.XGroq.Error) > 0:
		return s.cfg.errStream(s.chunk.XGroq.Error, s.header())
	}
	if !s.begun {
		if err := s.start(data); err != nil {
			return err
		}
	}
	for i := range s.chunk.Choices {
		ch := &s.chunk.Choices[i]
		if ch.Index != 0 {
			// Only one choice is ever asked for.
			return s.cfg.Vendor.Malformed(op)
		}
		if err := s.choice(ch); err != nil {
			return err
		}
	}
	if raw := s.chunk.usage(); len(raw) > 0 {
		u := s.cfg.usage(raw)
		s.put(model.Event{Kind: model.EventUsage, Usage: &u})
	}
	return nil
}

func (c *chunk) usage() rawValue {
	switch {
	case len(c.Usage) > 0:
		return c.Usage
	case len(c.XGroq.Usage) > 0:
		return c.XGroq.Usage
	case len(c.Choices) > 0:
		return c.Choices[0].Usage
	}
	return nil
}

func (s *stream) start(data []byte) error {
	var f firstChunk
	if json.Unmarshal(data, &f) != nil {
		return s.cfg.Vendor.Malformed(op)
	}
	s.begun, s.id = true, clip(f.ID)
	ev := model.Event{Kind: model.EventStart, ID: s.id, Name: clip(f.Model), Created: int64(f.Created)}
	if s.ans != nil {
		ev.RequestID = s.ans.RequestID
	}
	s.put(ev)
	return nil
}

func (s *stream) choice(ch *chunkChoice) error {
	if len(ch.Error) > 0 {
		return s.cfg.errStream(ch.Error, s.header())
	}
	d := &ch.Delta
	if len(d.Audio) > 0 || len(d.Images) > 2 {
		return s.cfg.unsupported()
	}
	if s.finish.Kind != 0 {
		if d.Content.text != "" || len(d.Content.chunks) > 0 || d.Refusal != "" || len(d.ToolCalls) > 0 {
			return s.cfg.Vendor.Malformed(op)
		}
		return nil
	}
	s.reasoning(d)
	if d.Content.text != "" {
		s.block.close()
		ev := model.Event{Kind: model.EventText, Text: d.Content.text}
		if len(ch.Logprobs) > 0 {
			ev.Logprobs = append(json.RawMessage(nil), ch.Logprobs...)
		}
		s.put(ev)
	}
	s.chunks(d.Content.chunks)
	if d.Refusal != "" {
		s.block.close()
		s.put(model.Event{Kind: model.EventRefusal, Text: d.Refusal})
	}
	for i := range d.ToolCalls {
		s.block.close()
		if !s.tools.add(s, &d.ToolCalls[i]) {
			return s.cfg.Vendor.Malformed(op)
		}
	}
	if raw := broken[ch.FinishReason]; raw != "" {
		return s.cfg.errStream([]byte(raw), s.header())
	}
	if ch.FinishReason != "" {
		s.finished(ch.FinishReason, ch.Native)
	}
	return nil
}

func (s *stream) finished(reason, native string) {
	s.tools.end(s)
	s.finish = model.Event{Kind: model.EventFinish}
	s.finish.Finish, s.finish.Native = finish(reason, native, s.tools.n > 0)
	s.put(s.finish)
}

// chunks queues content that came as an array.
func (s *stream) chunks(list []contentChunk) {
	for i := range list {
		ch := &list[i]
		if !ch.thinking {
			s.block.close()
			s.put(model.Event{Kind: model.EventText, Text: ch.text})
			continue
		}
		ev := model.Event{Kind: model.EventReasoning, Text: ch.text}
		if r := ch.signed(string(s.cfg.Vendor.ID)); r != (model.Reasoned{}) {
			ev.Reasoning = &r
		}
		if !s.exclude {
			ev.Index = s.block.at("", 0)
			s.put(ev)
		}
	}
}

func (s *stream) reasoning(d *chunkDelta) {
	if s.exclude {
		return
	}
	if len(d.Details) > 0 {
		for i := range d.Details {
			det := &d.Details[i]
			s.put(model.Event{Kind: model.EventReasoning, Index: s.block.at(det.Type, det.Index), Text: det.text(),
				Reasoning: det.rest()})
		}
		return
	}
	text := d.Reasoning
	if text == "" {
		text = d.Content2
	}
	if text != "" {
		s.put(model.Event{Kind: model.EventReasoning, Index: s.block.at("", 0), Text: text})
	}
}

// blocks numbers blocks of thinking. A block goes on while type and index of its
// pieces stay the same and nothing else comes between.
type blocks struct {
	n     int
	open  bool
	kind  string
	index int
}

// at is the number of the block that a piece belongs to.
func (b *blocks) at(kind string, index int) int {
	if b.open && b.kind == kind && b.index == index {
		return b.n - 1
	}
	b.open, b.kind, b.index = true, kind, index
	b.n++
	return b.n - 1
}

func (b *blocks) close() { b.open = false }

// tools follows the tool calls of a stream. Calls never interleave here: one is
// open at a time.
type tools struct {
	n        int
	open     bool
	wireID   string
	wireIdx  int
	anyArgs  bool
	deferred string
}

// add queues what one tool delta says; false means it makes no sense.
func (t *tools) add(s *stream, d *wireCall) bool {
	idx := 0
	if d.Index != nil {
		idx = *d.Index
	} else if t.open && d.ID == "" {
		idx = t.wireIdx
	} else if d.Index == nil && t.n > 0 {
		idx = t.wireIdx + 1
	}
	// Some servers give every parallel call index 0 but its own ID.
	fresh := !t.open || idx != t.wireIdx || d.ID != "" && d.ID != t.wireID && d.Function.Name != ""
	if fresh {
		if d.Function.Name == "" {
			// A piece of a call that was closed already, or of none.
			return t.n > 0 && d.Function.Arguments == "" && d.ID == ""
		}
		t.end(s)
		if t.n >= maxTools {
			return false
		}
		t.open, t.wireID, t.wireIdx, t.anyArgs = true, d.ID, idx, false
		t.n++
		id := d.ID
		if id == "" {
			id = madeUpID(s.id, t.n-1)
		}
		s.put(model.Event{Kind: model.EventToolStart, Index: t.n - 1, ID: id, Name: d.Function.Name,
			Signature: d.ExtraContent.Google.Signature})
	} else if sig := d.ExtraContent.Google.Signature; sig != "" {
		t.deferred = sig
	}
	if d.Function.Arguments != "" {
		t.anyArgs = true
		s.put(model.Event{Kind: model.EventToolArgs, Index: t.n - 1, Text: string(d.Function.Arguments)})
	}
	return true
}

func (t *tools) end(s *stream) {
	if !t.open {
		return
	}
	if !t.anyArgs {
		s.put(model.Event{Kind: model.EventToolArgs, Index: t.n - 1, Text: "{}"})
	}
	s.put(model.Event{Kind: model.EventToolEnd, Index: t.n - 1, Signature: t.deferred})
	t.open, t.deferred = false, ""
}
