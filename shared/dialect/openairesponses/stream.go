package openairesponses

import (
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// StreamEncoder turns events into the frames of a responses stream. It is for
// one stream and not safe for concurrent use.
type StreamEncoder struct {
	shape    Shape
	start    model.Event
	sequence int64
	items    [][]byte // finished

	open   model.PartKind
	openAt int // index of the open reasoning block in the model's own count
	text   strings.Builder
	note   model.Reasoned
	call   model.ToolCall

	usage  model.Usage
	finish model.FinishReason
}

// NewStreamEncoder makes an encoder.
func NewStreamEncoder(s Shape) *StreamEncoder { return &StreamEncoder{shape: s} }

// Append appends the frames of one event to dst; some events have none.
func (e *StreamEncoder) Append(dst []byte, ev model.Event) []byte {
	switch ev.Kind {
	case model.EventStart:
		e.start = ev
		dst = e.whole(dst, "response.created", "in_progress")
		return e.whole(dst, "response.in_progress", "in_progress")
	case model.EventText:
		return e.words(dst, model.PartText, "response.output_text.delta", ev.Text)
	case model.EventRefusal:
		return e.words(dst, model.PartRefusal, "response.refusal.delta", ev.Text)
	case model.EventReasoning:
		return e.reasoning(dst, &ev)
	case model.EventToolStart:
		return e.toolStart(dst, &ev)
	case model.EventToolArgs:
		e.text.WriteString(ev.Text)
		return e.delta(dst, "response.function_call_arguments.delta", "fc", ev.Text)
	case model.EventToolEnd:
		return e.toolEnd(dst, &ev)
	case model.EventUsage:
		if ev.Usage != nil {
			e.usage = *ev.Usage
		}
	case model.EventFinish:
		e.finish = ev.Finish
		return e.close(dst)
	case model.EventEnd:
		if e.finish == model.FinishError {
			return e.AppendError(dst, fault.New(fault.ProviderError, "openairesponses.end", "the model did not finish its answer; try again"), e.shape.ID)
		}
		s := status(e.finish)
		return e.whole(dst, "response."+s, s)
	}
	return dst
}

// frame opens an event; done closes it.
func (e *StreamEncoder) frame(dst []byte, name string) jsonwire.Object {
	dst = append(append(dst, "event: "...), name...)
	dst = append(dst, "\ndata: "...)
	o := jsonwire.Begin(dst)
	o.String("type", name)
	o.Int("sequence_number", e.sequence)
	e.sequence++
	return o
}

func done(o jsonwire.Object) []byte { return append(o.End(), "\n\n"...) }

// whole sends an event that carries the response as it stands.
func (e *StreamEncoder) whole(dst []byte, name, status string) []byte {
	o := e.frame(dst, name)
	var usage *model.Usage
	items, finish := e.items, e.finish
	if status == "in_progress" {
		items, finish = nil, ""
	} else {
		usage = &e.usage
	}
	o.Raw("response", e.shape.append(nil, e.start.Name, e.start.Created, status, finish, items, usage))
	return done(o)
}

// item sends an event about an output item.
func (e *StreamEncoder) item(dst []byte, name string, item []byte) []byte {
	o := e.frame(dst, name)
	o.Int("output_index", int64(len(e.items)))
	o.Raw("item", item)
	return done(o)
}

// at names the item, and the part within it, that an event is about.
func (e *StreamEncoder) at(dst []byte, name, kind string) jsonwire.Object {
	o := e.frame(dst, name)
	o.String("item_id", e.id(kind))
	o.Int("output_index", int64(len(e.items)))
	switch kind {
	case "msg":
		o.Int("content_index", 0)
	case "rs":
		o.Int("summary_index", 0)
	}
	return o
}

func (e *StreamEncoder) id(kind string) string {
	if kind == "rs" && e.note.ID != "" {
		return e.note.ID
	}
	return e.shape.itemID(kind, len(e.items))
}

func (e *StreamEncoder) delta(dst []byte, name, kind, text string) []byte {
	o := e.at(dst, name, kind)
	o.String("delta", text)
	if name == "response.output_text.delta" {
		o.Raw("logprobs", []byte("[]"))
	}
	return done(o)
}

func (e *StreamEncoder) begin(kind model.PartKind, at int) {
	e.open, e.openAt = kind, at
	e.text.Reset()
}

// words continues or opens a message with text or a refusal.
func (e *StreamEncoder) words(dst []byte, kind model.PartKind, name, text string) []byte {
	if text == "" {
		return dst
	}
	if e.open != kind {
		dst = e.close(dst)
		e.begin(kind, 0)
		dst = e.item(dst, "response.output_item.added", e.shape.messageItem(nil, "in_progress", len(e.items)))
		o := e.at(dst, "response.content_part.added", "msg")
		o.Raw("part", part(kind, ""))
		dst = done(o)
	}
	e.text.WriteString(text)
	return e.delta(dst, name, "msg", text)
}

func part(kind model.PartKind, text string) []byte {
	if kind == model.PartRefusal {
		return refusalPart(text)
	}
	return textPart(text)
}

func (e *StreamEncoder) reasoning(dst []byte, ev *model.Event) []byte {
	if e.open != model.PartReasoning || e.openAt != ev.Index {
		dst = e.close(dst)
		e.begin(model.PartReasoning, ev.Index)
		e.note = model.Reasoned{}
		if ev.Reasoning != nil {
			e.note.ID = ev.Reasoning.ID
		}
		dst = e.item(dst, "response.output_item.added", e.shape.reasoningItem(&e.note, "", len(e.items)))
	}
	if r := ev.Reasoning; r != nil {
		e.note.Data += r.Data
		if r.Signature != "" {
			e.note.Signature = r.Signature
		}
		if r.Format != "" {
			e.note.Format = r.Format
		}
	}
	if ev.Text == "" {
		return dst
	}
	if e.text.Len() == 0 {
		o := e.at(dst, "response.reasoning_summary_part.added", "rs")
		o.Raw("part", []byte(`{"type":"summary_text","text":""}`))
		dst = done(o)
	}
	e.text.WriteString(ev.Text)
	return e.delta(dst, "response.reasoning_summary_text.delta", "rs", ev.Text)
}

func (e *StreamEncoder) toolStart(dst []byte, ev *model.Event) []byte {
	dst = e.close(dst)
	if ev.Signature != "" {
		dst = e.signature(dst, ev.ID, ev.Signature)
	}
	e.call = model.ToolCall{ID: ev.ID, Name: ev.Name}
	e.begin(model.PartToolCall, ev.Index)
	return e.item(dst, "response.output_item.added", e.shape.callItem(&e.call, "in_progress", len(e.items)))
}

func (e *StreamEncoder) toolEnd(dst []byte, ev *model.Event) []byte {
	dst = e.close(dst)
	if ev.Signature != "" {
		dst = e.signature(dst, e.call.ID, ev.Signature)
	}
	return dst
}

// signature sends a whole item that carries the signature of a call.
func (e *StreamEncoder) signature(dst []byte, callID, signature string) []byte {
	item := e.shape.signatureItem(callID, signature, len(e.items))
	dst = e.item(dst, "response.output_item.added", item)
	dst = e.item(dst, "response.output_item.done", item)
	e.items = append(e.items, item)
	return dst
}

// close ends the open item.
func (e *StreamEncoder) close(dst []byte) []byte {
	kind, text := e.open, e.text.String()
	if kind == "" {
		return dst
	}
	var item []byte
	switch kind {
	case model.PartText, model.PartRefusal:
		name, member := "response.output_text.done", "text"
		if kind == model.PartRefusal {
			name, member = "response.refusal.done", "refusal"
		}
		o := e.at(dst, name, "msg")
		o.String(member, text)
		if kind == model.PartText {
			o.Raw("logprobs", []byte("[]"))
		}
		o = e.at(done(o), "response.content_part.done", "msg")
		o.Raw("part", part(kind, text))
		dst = done(o)
		item = e.shape.messageItem(part(kind, text), "completed", len(e.items))
	case model.PartReasoning:
		if text != "" {
			o := e.at(dst, "response.reasoning_summary_text.done", "rs")
			o.String("text", text)
			o = e.at(done(o), "response.reasoning_summary_part.done", "rs")
			o.Name("part")
			p := jsonwire.Begin(o.B)
			p.String("type", "summary_text")
			p.String("text", text)
			o.B = p.End()
			dst = done(o)
		}
		item = e.shape.reasoningItem(&e.note, text, len(e.items))
	case model.PartToolCall:
		e.call.Args = text
		o := e.at(dst, "response.function_call_arguments.done", "fc")
		o.String("name", e.call.Name)
		o.String("arguments", text)
		dst = done(o)
		item = e.shape.callItem(&e.call, "completed", len(e.items))
	}
	e.open = ""
	e.text.Reset()
	dst = e.item(dst, "response.output_item.done", item)
	e.items = append(e.items, item)
	return dst
}

// AppendError appends the frame that ends a broken stream. No completed response
// follows, so that no SDK takes the answer for complete. What the reference documents
// stands at the top; the same once more under "error" is what the API really sends and
// what the official SDKs throw for (openai-node core/streaming, read 2026-11).
func (e *StreamEncoder) AppendError(dst []byte, err error, requestID string) []byte {
	f := fault.As(err)
	if f == nil {
		f = fault.New(fault.Internal, "openairesponses.AppendError", "internal error, try again later")
	}
	if f.RequestID != "" {
		requestID = f.RequestID
	}
	o := e.frame(dst, "error")
	said := func(o *jsonwire.Object) {
		o.String("code", string(f.Code))
		o.String("message", f.Message)
		if f.Param == "" {
			o.Raw("param", []byte("null"))
		} else {
			o.String("param", f.Param)
		}
		o.String("request_id", requestID)
	}
	said(&o)
	inner := jsonwire.Begin(nil)
	inner.String("type", "server_error")
	said(&inner)
	o.Raw("error", inner.End())
	return done(o)
}
