package geminigenerate

import (
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// StreamEncoder turns events into the frames of streamGenerateContent?alt=sse.
// It is for one stream and not safe for concurrent use.
type StreamEncoder struct {
	shape  Shape
	call   model.ToolCall
	args   strings.Builder
	usage  model.Usage
	finish model.FinishReason
	native string
}

// NewStreamEncoder makes an encoder.
func NewStreamEncoder(s Shape) *StreamEncoder { return &StreamEncoder{shape: s} }

// Append appends the frames of one event to dst; some events have none. A
// function call is one part in this dialect, so its fragments are joined.
func (e *StreamEncoder) Append(dst []byte, ev model.Event) []byte {
	switch ev.Kind {
	case model.EventStart:
		if e.shape.Model == "" {
			e.shape.Model = ev.Name
		}
		if e.shape.ID == "" {
			e.shape.ID = ev.ID
		}
	case model.EventText, model.EventRefusal:
		return e.part(dst, &model.Part{Kind: model.PartText, Text: ev.Text})
	case model.EventReasoning:
		r := model.Reasoned{Text: ev.Text}
		if ev.Reasoning != nil {
			r = *ev.Reasoning
			r.Text = ev.Text
		}
		if r.Text == "" && r.Signature == "" && r.Data == "" {
			return dst
		}
		return e.part(dst, &model.Part{Kind: model.PartReasoning, Reasoning: &r})
	case model.EventToolStart:
		e.call = model.ToolCall{ID: ev.ID, Name: ev.Name, Signature: ev.Signature}
		e.args.Reset()
	case model.EventToolArgs:
		e.args.WriteString(ev.Text)
	case model.EventToolEnd:
		e.call.Args = e.args.String()
		if ev.Signature != "" {
			e.call.Signature = ev.Signature
		}
		return e.part(dst, &model.Part{Kind: model.PartToolCall, Call: &e.call})
	case model.EventUsage:
		if ev.Usage != nil {
			e.usage = *ev.Usage
		}
	case model.EventFinish:
		e.finish, e.native = ev.Finish, ev.Native
	case model.EventEnd:
		if e.finish == model.FinishError {
			return e.AppendError(dst, fault.New(fault.ProviderError, "geminigenerate.end", "the model did not finish its answer; try again"), e.shape.ID)
		}
		return e.frame(dst, nil, finishReason(e.finish, e.native), &e.usage)
	}
	return dst
}

func (e *StreamEncoder) part(dst []byte, p *model.Part) []byte {
	return e.frame(dst, part(p), "", nil)
}

func (e *StreamEncoder) frame(dst, parts []byte, finish string, usage *model.Usage) []byte {
	return append(e.shape.append(append(dst, "data: "...), parts, finish, usage), "\r\n\r\n"...)
}

// AppendError appends the frame that ends a broken stream. No finishReason
// follows, so that no SDK takes the answer for complete.
func (e *StreamEncoder) AppendError(dst []byte, err error, requestID string) []byte {
	dst = append(dst, "data: "...)
	return append(EncodeError(dst, err, requestID), "\r\n\r\n"...)
}
