package anthropicmessages

import (
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// StreamEncoder turns events into the frames of a messages stream. It is for one
// stream and not safe for concurrent use.
type StreamEncoder struct {
	shape   Shape
	start   model.Event
	started bool // message_start is out
	index   int  // of the open or next block
	open    model.PartKind
	openAt  int // index of the open reasoning block in the model's own count
	// closing is the signature that the open thinking block still gets.
	closing model.Reasoned
	callID  string
	usage   model.Usage
	stop    string
	failed  bool
}

// NewStreamEncoder makes an encoder.
func NewStreamEncoder(s Shape) *StreamEncoder { return &StreamEncoder{shape: s} }

// Append appends the frames of one event to dst; some events have none.
func (e *StreamEncoder) Append(dst []byte, ev model.Event) []byte {
	switch ev.Kind {
	case model.EventStart:
		// Held until something must be shown: by then usage may be known.
		e.start = ev
		return dst
	case model.EventUsage:
		if ev.Usage != nil {
			e.usage = *ev.Usage
		}
		return dst
	case model.EventText, model.EventRefusal:
		if ev.Text == "" {
			return dst
		}
		dst = e.block(dst, model.PartText, 0, `{"type":"text","text":""}`)
		return e.delta(dst, `{"type":"text_delta","text":`, ev.Text)
	case model.EventReasoning:
		return e.reasoning(dst, &ev)
	case model.EventToolStart:
		return e.toolStart(dst, &ev)
	case model.EventToolArgs:
		return e.delta(dst, `{"type":"input_json_delta","partial_json":`, ev.Text)
	case model.EventToolEnd:
		return e.toolEnd(dst, &ev)
	case model.EventFinish:
		e.stop, e.failed = stopReason(ev.Finish, ev.Native), ev.Finish == model.FinishError
		return e.close(e.begin(dst))
	case model.EventEnd:
		return e.end(dst)
	}
	return dst
}

func frame(dst []byte, name string) []byte {
	dst = append(append(dst, "event: "...), name...)
	dst = append(dst, "\ndata: {\"type\":\""...)
	return append(append(dst, name...), '"')
}

func done(dst []byte) []byte { return append(dst, "}\n\n"...) }

// begin sends message_start once.
func (e *StreamEncoder) begin(dst []byte) []byte {
	if e.started {
		return dst
	}
	e.started = true
	id, name := e.shape.over(e.start.ID, e.start.Name)
	dst = append(frame(dst, "message_start"), `,"message":`...)
	o := jsonwire.Begin(dst)
	o.String("id", id)
	o.String("type", "message")
	o.String("role", "assistant")
	o.String("model", name)
	o.Raw("content", []byte("[]"))
	o.Raw("stop_reason", []byte("null"))
	o.Raw("stop_sequence", []byte("null"))
	o.Name("usage")
	o.B = appendUsage(o.B, &e.usage)
	return done(o.End())
}

// block opens a block of a kind unless it is open.
func (e *StreamEncoder) block(dst []byte, kind model.PartKind, at int, head string) []byte {
	if e.open == kind && e.openAt == at && kind != model.PartToolCall {
		return dst
	}
	dst = e.close(e.begin(dst))
	e.open, e.openAt = kind, at
	dst = append(frame(dst, "content_block_start"), `,"index":`...)
	dst = strconv.AppendInt(dst, int64(e.index), 10)
	dst = append(append(dst, `,"content_block":`...), head...)
	return done(dst)
}

func (e *StreamEncoder) delta(dst []byte, open, text string) []byte {
	dst = append(frame(dst, "content_block_delta"), `,"index":`...)
	dst = strconv.AppendInt(dst, int64(e.index), 10)
	dst = append(append(dst, `,"delta":`...), open...)
	return done(append(jsonwire.AppendString(dst, text), '}'))
}

// close ends the open block. A thinking block gets its signature last.
func (e *StreamEncoder) close(dst []byte) []byte {
	if e.open == "" {
		return dst
	}
	if e.open == model.PartReasoning {
		if s := opaque.Signature(&e.closing, nativeFormat); s != "" {
			dst = e.delta(dst, `{"type":"signature_delta","signature":`, s)
		}
	}
	dst = append(frame(dst, "content_block_stop"), `,"index":`...)
	dst = done(strconv.AppendInt(dst, int64(e.index), 10))
	e.index++
	e.open, e.closing = "", model.Reasoned{}
	return dst
}

func (e *StreamEncoder) reasoning(dst []byte, ev *model.Event) []byte {
	if r := ev.Reasoning; r != nil && r.Data != "" {
		return e.redacted(dst, opaque.Data(r, nativeFormat))
	}
	dst = e.block(dst, model.PartReasoning, ev.Index, `{"type":"thinking","thinking":"","signature":""}`)
	if r := ev.Reasoning; r != nil {
		if r.Signature != "" {
			e.closing.Signature = r.Signature
		}
		if r.Format != "" {
			e.closing.Format = r.Format
		}
	}
	if ev.Text == "" {
		return dst
	}
	return e.delta(dst, `{"type":"thinking_delta","thinking":`, ev.Text)
}

// redacted sends a whole block of opaque data.
func (e *StreamEncoder) redacted(dst []byte, data string) []byte {
	o := jsonwire.Begin(nil)
	o.String("type", "redacted_thinking")
	o.String("data", data)
	dst = e.close(e.begin(dst))
	dst = e.block(dst, "redacted", e.index, string(o.End()))
	return e.close(dst)
}

func (e *StreamEncoder) toolStart(dst []byte, ev *model.Event) []byte {
	if ev.Signature != "" {
		dst = e.redacted(dst, opaque.Call(ev.ID, ev.Signature))
	}
	e.callID = ev.ID
	o := jsonwire.Begin(nil)
	o.String("type", "tool_use")
	o.String("id", ev.ID)
	o.String("name", ev.Name)
	o.Raw("input", []byte("{}"))
	return e.block(dst, model.PartToolCall, ev.Index, string(o.End()))
}

func (e *StreamEncoder) toolEnd(dst []byte, ev *model.Event) []byte {
	dst = e.close(dst)
	if ev.Signature != "" {
		dst = e.redacted(dst, opaque.Call(e.callID, ev.Signature))
	}
	return dst
}

func (e *StreamEncoder) end(dst []byte) []byte {
	if e.failed {
		return e.AppendError(dst, fault.New(fault.ProviderError, "anthropicmessages.end", "the model did not finish its answer; try again"), e.shape.RequestID)
	}
	dst = append(frame(dst, "message_delta"), `,"delta":{"stop_reason":`...)
	dst = jsonwire.AppendString(dst, e.stop)
	dst = append(dst, `,"stop_sequence":null},"usage":`...)
	dst = done(appendUsage(dst, &e.usage))
	return done(frame(dst, "message_stop"))
}

// AppendError appends the frame that ends a broken stream. No message_stop
// follows, so that no SDK takes the answer for complete.
func (e *StreamEncoder) AppendError(dst []byte, err error, requestID string) []byte {
	dst = append(dst, "event: error\ndata: "...)
	return append(EncodeError(dst, err, requestID), '\n', '\n')
}
