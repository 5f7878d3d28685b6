package openaichat

import (
	"strconv"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// ContentType is the media type of a stream.
const ContentType = "text/event-stream"

// StreamEncoder turns events into the frames of a chat completions stream. It is
// for one stream and not safe for concurrent use.
type StreamEncoder struct {
	shape Shape
	head  []byte
	tail  []byte
	usage model.Usage
}

// NewStreamEncoder makes an encoder.
func NewStreamEncoder(s Shape) *StreamEncoder { return &StreamEncoder{shape: s} }

// Append appends the frames of one event to dst; some events have none. The end
// event appends the usage chunk, if asked for and known, and the [DONE] line.
func (e *StreamEncoder) Append(dst []byte, ev model.Event) []byte {
	switch ev.Kind {
	case model.EventStart:
		e.begin(&ev)
		return e.close(append(e.open(dst), `{"role":"assistant","content":""}`...), nil)
	case model.EventText:
		return e.close(e.member(dst, `{"content":`, ev.Text), ev.Logprobs)
	case model.EventRefusal:
		return e.close(e.member(dst, `{"refusal":`, ev.Text), nil)
	case model.EventReasoning:
		return e.reasoning(dst, &ev)
	case model.EventToolStart:
		return e.toolStart(dst, &ev)
	case model.EventToolArgs:
		dst = append(e.open(dst), `{"tool_calls":[{"index":`...)
		dst = strconv.AppendInt(dst, int64(ev.Index), 10)
		dst = append(dst, `,"function":{"arguments":`...)
		return e.close(append(jsonwire.AppendString(dst, ev.Text), "}}]}"...), nil)
	case model.EventToolEnd:
		return e.toolEnd(dst, &ev)
	case model.EventUsage:
		if ev.Usage != nil {
			e.usage = *ev.Usage
		}
	case model.EventFinish:
		return e.finish(dst, &ev)
	case model.EventEnd:
		return append(e.usageChunk(dst), "data: [DONE]\n\n"...)
	}
	return dst
}

// begin prepares the parts that are the same in every chunk.
func (e *StreamEncoder) begin(ev *model.Event) {
	id, name, created := e.shape.over(ev.ID, ev.Name, ev.Created)
	o := jsonwire.Begin([]byte("data: "))
	o.String("id", id)
	o.String("object", "chat.completion.chunk")
	o.Int("created", created)
	o.String("model", name)
	o.Name("choices")
	e.head = append(o.B, '[')
	e.tail = []byte("]}\n\n")
	if e.shape.IncludeUsage {
		e.tail = []byte("],\"usage\":null}\n\n")
	}
}

func (e *StreamEncoder) open(dst []byte) []byte {
	return append(append(dst, e.head...), `{"index":0,"delta":`...)
}

func (e *StreamEncoder) close(dst, logprobs []byte) []byte {
	dst = append(dst, `,"logprobs":`...)
	dst = orNull(dst, logprobs)
	dst = append(dst, `,"finish_reason":null}`...)
	return append(dst, e.tail...)
}

func (e *StreamEncoder) member(dst []byte, open, text string) []byte {
	dst = append(e.open(dst), open...)
	return append(jsonwire.AppendString(dst, text), '}')
}

func (e *StreamEncoder) reasoning(dst []byte, ev *model.Event) []byte {
	d := jsonwire.Begin(e.open(dst))
	d.StringIf("reasoning", ev.Text)
	if e.shape.ReasoningContent {
		d.StringIf("reasoning_content", ev.Text)
	}
	d.Name("reasoning_details")
	d.B = append(d.B, '[')
	d.B = append(appendDetail(d.B, ev.Reasoning, ev.Text, ev.Index), ']')
	return e.close(d.End(), nil)
}

func (e *StreamEncoder) toolStart(dst []byte, ev *model.Event) []byte {
	dst = append(e.open(dst), `{"tool_calls":[`...)
	t := jsonwire.Begin(dst)
	t.Int("index", int64(ev.Index))
	t.String("id", ev.ID)
	t.String("type", "function")
	t.Name("function")
	f := jsonwire.Begin(t.B)
	f.String("name", ev.Name)
	f.String("arguments", "")
	t.B = f.End()
	appendSignature(&t, ev.Signature)
	return e.close(append(t.End(), "]}"...), nil)
}

// toolEnd has no frame of its own in this dialect, unless a signature came last.
func (e *StreamEncoder) toolEnd(dst []byte, ev *model.Event) []byte {
	if ev.Signature == "" {
		return dst
	}
	dst = append(e.open(dst), `{"tool_calls":[`...)
	t := jsonwire.Begin(dst)
	t.Int("index", int64(ev.Index))
	appendSignature(&t, ev.Signature)
	return e.close(append(t.End(), "]}"...), nil)
}

func (e *StreamEncoder) finish(dst []byte, ev *model.Event) []byte {
	dst = append(e.open(dst), `{},"logprobs":null,"finish_reason":`...)
	dst = jsonwire.AppendString(dst, string(ev.Finish))
	if ev.Native != "" {
		dst = append(dst, `,"native_finish_reason":`...)
		dst = jsonwire.AppendString(dst, ev.Native)
	}
	return append(append(dst, '}'), e.tail...)
}

// usageChunk is the last chunk before [DONE]. Unknown usage has none: zeros
// would be read as a free answer.
func (e *StreamEncoder) usageChunk(dst []byte) []byte {
	if !e.shape.IncludeUsage || e.usage.Source == "" || e.usage.Source == model.UsageNone {
		return dst
	}
	dst = append(append(dst, e.head...), `],"usage":`...)
	return append(appendUsage(dst, &e.usage, &e.shape), "}\n\n"...)
}

// AppendError appends the frame that ends a broken stream. No [DONE] follows, so
// that no SDK takes the answer for complete.
func (e *StreamEncoder) AppendError(dst []byte, err error, requestID string) []byte {
	dst = append(dst, "data: "...)
	return append(EncodeError(dst, err, requestID), '\n', '\n')
}

// AppendComment appends a comment line, which SDKs skip: keep-alives while a
// model thinks, and timings. Line breaks in text are replaced.
func AppendComment(dst []byte, text string) []byte {
	dst = append(dst, ": "...)
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == '\n' || c == '\r' {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '\n', '\n')
}

// errorTypes are the words this dialect has for a code's status.
var errorTypes = map[int]string{400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota",
	403: "permission_error", 404: "not_found_error", 409: "conflict_error", 413: "invalid_request_error",
	424: "provider_authentication_error", 429: "rate_limit_error"}

// EncodeError appends the error envelope of an answer or a stream. Only the
// code, the public message and the fields beside them are shown, never a cause.
func EncodeError(dst []byte, err error, requestID string) []byte {
	f := fault.As(err)
	if f == nil {
		f = fault.New(fault.Internal, "openaichat.EncodeError", "internal error, try again later")
	}
	o := jsonwire.Begin(append(dst, `{"error":`...))
	o.String("message", f.Message)
	kind := errorTypes[f.Code.Status()]
	if kind == "" {
		kind = "api_error"
	}
	o.String("type", kind)
	o.String("code", string(f.Code))
	o.Name("param")
	if f.Param != "" {
		o.B = jsonwire.AppendString(o.B, f.Param)
	} else {
		o.B = append(o.B, "null"...)
	}
	if f.RequestID != "" {
		requestID = f.RequestID
	}
	o.String("request_id", requestID)
	o.StringIf("provider", f.Provider)
	o.Bool("retryable", f.Retryable())
	if f.RetryAfter > 0 {
		o.Int("retry_after", int64((f.RetryAfter+999_999_999)/1_000_000_000))
	}
	return append(o.End(), '}')
}
