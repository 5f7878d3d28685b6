package anthropicmessages

import (
	"time"

	"encoding/json"

	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Shape is what an answer needs beside the model's words. ID and Model replace
// the vendor's, if set.
type Shape struct {
	ID, Model string
	// RequestID is ours, for the error that ends a stream.
	RequestID string
}

func (s *Shape) over(id, name string) (string, string) {
	if s.ID != "" {
		id = s.ID
	}
	if s.Model != "" {
		name = s.Model
	}
	return id, name
}

// EncodeResponse appends a message object. It fails with fault.ProviderError for
// an answer whose end the dialect has no word for.
func EncodeResponse(dst []byte, r *model.Response, s Shape) ([]byte, error) {
	if r.Finish == model.FinishError {
		return nil, fault.New(fault.ProviderError, "anthropicmessages.EncodeResponse", "the model did not finish its answer; try again")
	}
	id, name := s.over(r.ID, r.Model)
	o := jsonwire.Begin(dst)
	o.String("id", id)
	o.String("type", "message")
	o.String("role", "assistant")
	o.String("model", name)
	o.Name("content")
	o.B = append(o.B, '[')
	first := true
	for i := range r.Message.Parts {
		o.B = appendPart(o.B, &r.Message.Parts[i], &first)
	}
	o.B = append(o.B, ']')
	o.String("stop_reason", stopReason(r.Finish, r.NativeFinish))
	o.Raw("stop_sequence", []byte("null"))
	o.Name("usage")
	o.B = appendUsage(o.B, &r.Usage)
	return o.End(), nil
}

// appendPart appends the blocks of one part; some parts have none.
func appendPart(b []byte, p *model.Part, first *bool) []byte {
	block := func() jsonwire.Object {
		if !*first {
			b = append(b, ',')
		}
		*first = false
		return jsonwire.Begin(b)
	}
	switch p.Kind {
	case model.PartText, model.PartRefusal:
		if p.Text == "" {
			return b
		}
		o := block()
		o.String("type", "text")
		o.String("text", p.Text)
		return o.End()
	case model.PartReasoning:
		return appendThinking(block(), p.Reasoning)
	case model.PartToolCall:
		if p.Call.Signature != "" {
			o := block()
			o.String("type", "redacted_thinking")
			o.String("data", opaque.Call(p.Call.ID, p.Call.Signature))
			b = o.End()
		}
		o := block()
		o.String("type", "tool_use")
		o.String("id", p.Call.ID)
		o.String("name", p.Call.Name)
		o.Raw("input", input(p.Call.Args))
		return o.End()
	}
	return b
}

func appendThinking(o jsonwire.Object, r *model.Reasoned) []byte {
	if r.Data != "" {
		o.String("type", "redacted_thinking")
		o.String("data", opaque.Data(r, nativeFormat))
		return o.End()
	}
	o.String("type", "thinking")
	o.String("thinking", r.Text)
	o.String("signature", opaque.Signature(r, nativeFormat))
	return o.End()
}

// input is the arguments as an object. Models write arguments that are no JSON;
// the dialect has no place for those, so they are shown under a name of ours.
func input(args string) []byte {
	if jsonwire.Check([]byte(args)) == nil && args[0] == '{' {
		return []byte(args)
	}
	var compact json.RawMessage
	if json.Unmarshal([]byte(args), &compact) == nil && len(compact) > 0 && compact[0] == '{' {
		return compact
	}
	o := jsonwire.Begin(nil)
	o.String("_invalid_json", args)
	return o.End()
}

// stopReasons are the native words that say more than ours.
var stopReasons = map[string]bool{"stop_sequence": true, "pause_turn": true, "model_context_window_exceeded": true}

func stopReason(finish model.FinishReason, native string) string {
	if stopReasons[native] {
		return native
	}
	switch finish {
	case model.FinishToolCalls:
		return "tool_use"
	case model.FinishLength:
		return "max_tokens"
	case model.FinishContentFilter:
		return "refusal"
	case model.FinishCreditExhausted:
		// Not a word of this dialect; its SDKs hand on words they do not know.
		return string(finish)
	}
	return "end_turn"
}

func appendUsage(b []byte, u *model.Usage) []byte {
	o := jsonwire.Begin(b)
	o.Int("input_tokens", u.Input+u.InputAudio+u.InputImage)
	o.Int("cache_creation_input_tokens", u.CacheWrite5m+u.CacheWrite1h)
	o.Int("cache_read_input_tokens", u.CachedRead)
	o.Name("cache_creation")
	c := jsonwire.Begin(o.B)
	c.Int("ephemeral_5m_input_tokens", u.CacheWrite5m)
	c.Int("ephemeral_1h_input_tokens", u.CacheWrite1h)
	o.B = c.End()
	o.Int("output_tokens", u.OutputTotal())
	if u.Reasoning > 0 {
		o.Name("output_tokens_details")
		d := jsonwire.Begin(o.B)
		d.Int("thinking_tokens", u.Reasoning)
		o.B = d.End()
	}
	return o.End()
}

// Listed is an entry of the model list. max_input_tokens and max_tokens are fields
// of the vendor's own list (@anthropic-ai/sdk 1.12.0, ModelInfo); 0 = null.
type Listed struct {
	ID                        string
	Created                   time.Time // zero = not known
	MaxInputTokens, MaxTokens int64
}

// EncodeModels appends the answer of GET /v1/models in this dialect.
func EncodeModels(dst []byte, list []Listed) []byte {
	dst = append(dst, `{"data":[`...)
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = EncodeModel(dst, list[i])
	}
	o := jsonwire.Begin(nil)
	o.Bool("has_more", false)
	if len(list) > 0 {
		o.String("first_id", list[0].ID)
		o.String("last_id", list[len(list)-1].ID)
	} else {
		o.Raw("first_id", []byte("null"))
		o.Raw("last_id", []byte("null"))
	}
	return append(append(dst, "],"...), o.End()[1:]...)
}

// EncodeModel appends one model object.
func EncodeModel(dst []byte, l Listed) []byte {
	o := jsonwire.Begin(dst)
	o.String("type", "model")
	o.String("id", l.ID)
	o.String("display_name", l.ID)
	created := l.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	o.String("created_at", created.UTC().Format(time.RFC3339))
	for _, f := range [...]struct {
		name string
		n    int64
	}{{"max_input_tokens", l.MaxInputTokens}, {"max_tokens", l.MaxTokens}} {
		if f.n > 0 {
			o.Int(f.name, f.n)
		} else {
			o.Raw(f.name, []byte("null"))
		}
	}
	return o.End()
}

// EncodeCount appends the answer of count_tokens.
func EncodeCount(dst []byte, tokens int64) []byte {
	o := jsonwire.Begin(dst)
	o.Int("input_tokens", tokens)
	return o.End()
}

// errorTypes are the words this dialect has for a status.
var errorTypes = map[int]string{400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
	404: "not_found_error", 409: "invalid_request_error", 413: "request_too_large", 424: "authentication_error", 429: "rate_limit_error",
	503: "overloaded_error", 504: "timeout_error"}

// EncodeError appends the error envelope of an answer. Only the code, the public
// message and the fields beside them are shown, never a cause.
func EncodeError(dst []byte, err error, requestID string) []byte {
	f := fault.As(err)
	if f == nil {
		f = fault.New(fault.Internal, "anthropicmessages.EncodeError", "internal error, try again later")
	}
	o := jsonwire.Begin(append(dst, `{"type":"error","error":`...))
	kind := errorTypes[f.Code.Status()]
	if kind == "" {
		kind = "api_error"
	}
	o.String("type", kind)
	o.String("message", f.Message)
	o.String("code", string(f.Code))
	o.StringIf("param", f.Param)
	o.StringIf("provider", f.Provider)
	o.Bool("retryable", f.Retryable())
	if f.RetryAfter > 0 {
		o.Int("retry_after", int64((f.RetryAfter+999_999_999)/1_000_000_000))
	}
	if f.RequestID != "" {
		requestID = f.RequestID
	}
	dst = append(o.End(), `,"request_id":`...)
	return append(jsonwire.AppendString(dst, requestID), '}')
}
