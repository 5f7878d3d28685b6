package geminigenerate

import (
	"math"
	"net/http"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Shape is what an answer needs beside the model's words. Model replaces the
// vendor's, if set.
type Shape struct{ ID, Model string }

// EncodeResponse appends a GenerateContentResponse. An answer that failed fails
// with fault.ProviderError.
func EncodeResponse(dst []byte, r *model.Response, s Shape) ([]byte, error) {
	if r.Finish == model.FinishError {
		return nil, fault.New(fault.ProviderError, "geminigenerate.EncodeResponse", "the model did not finish its answer; try again")
	}
	var parts []byte
	for i := range r.Message.Parts {
		if b := part(&r.Message.Parts[i]); b != nil {
			if len(parts) > 0 {
				parts = append(parts, ',')
			}
			parts = append(parts, b...)
		}
	}
	if s.Model == "" {
		s.Model = r.Model
	}
	if s.ID == "" {
		s.ID = r.ID
	}
	return s.append(dst, parts, finishReason(r.Finish, r.NativeFinish), &r.Usage), nil
}

// append writes a response or a chunk of one. finish may be empty, usage nil.
func (s *Shape) append(dst, parts []byte, finish string, usage *model.Usage) []byte {
	o := jsonwire.Begin(dst)
	o.Name("candidates")
	o.B = append(o.B, '[')
	c := jsonwire.Begin(o.B)
	c.Name("content")
	c.B = append(append(append(c.B, `{"parts":[`...), parts...), `],"role":"model"}`...)
	c.StringIf("finishReason", finish)
	if finish == exhausted {
		c.String("finishMessage", string(model.FinishCreditExhausted)+": the organisation has no more credits for this answer")
	}
	c.Int("index", 0)
	o.B = append(c.End(), ']')
	if usage != nil && usage.Source != "" && usage.Source != model.UsageNone {
		o.Name("usageMetadata")
		o.B = appendUsage(o.B, usage)
	}
	o.String("modelVersion", s.Model)
	o.StringIf("responseId", s.ID)
	return o.End()
}

// part encodes one part, nil for kinds that have no place in an answer.
func part(p *model.Part) []byte {
	o := jsonwire.Begin(nil)
	switch p.Kind {
	case model.PartText, model.PartRefusal:
		o.String("text", p.Text)
	case model.PartReasoning:
		o.String("text", p.Reasoning.Text)
		if p.Reasoning.Text != "" {
			o.Bool("thought", true)
		}
		o.StringIf("thoughtSignature", opaque.AsSignature(p.Reasoning, nativeFormat))
	case model.PartToolCall:
		o.Name("functionCall")
		c := jsonwire.Begin(o.B)
		c.String("id", p.Call.ID)
		c.String("name", p.Call.Name)
		c.Raw("args", args(p.Call.Args))
		o.B = c.End()
		o.StringIf("thoughtSignature", p.Call.Signature)
	case model.PartImage:
		o.Name("inlineData")
		m := jsonwire.Begin(o.B)
		m.String("mimeType", p.Media.MIME)
		m.String("data", p.Media.Base64)
		o.B = m.End()
	default:
		return nil
	}
	return o.End()
}

// args is the arguments as an object. Models write arguments that are no JSON;
// the dialect has no place for those, so they are shown under a name of ours.
func args(text string) []byte {
	if jsonwire.Check([]byte(text)) == nil && text[0] == '{' {
		return []byte(text)
	}
	o := jsonwire.Begin(nil)
	o.String("_invalid_json", text)
	return o.End()
}

// filters are the native words for a filtered answer that say more than ours.
var filters = map[string]bool{"SAFETY": true, "RECITATION": true, "BLOCKLIST": true, "PROHIBITED_CONTENT": true, "SPII": true,
	"IMAGE_SAFETY": true, "LANGUAGE": true}

// exhausted is not a word of this dialect; its SDKs hand on words they do not know.
const exhausted = "CREDIT_EXHAUSTED"

func finishReason(f model.FinishReason, native string) string {
	switch {
	case f == model.FinishLength:
		return "MAX_TOKENS"
	case f == model.FinishContentFilter && filters[native]:
		return native
	case f == model.FinishContentFilter:
		return "SAFETY"
	case f == model.FinishCreditExhausted:
		return exhausted
	}
	return "STOP"
}

func appendUsage(b []byte, u *model.Usage) []byte {
	o := jsonwire.Begin(b)
	o.Int("promptTokenCount", u.InputTotal())
	if u.CachedRead > 0 {
		o.Int("cachedContentTokenCount", u.CachedRead)
	}
	o.Int("candidatesTokenCount", u.Output+u.OutputAudio)
	if u.Reasoning > 0 {
		o.Int("thoughtsTokenCount", u.Reasoning)
	}
	o.Int("totalTokenCount", u.InputTotal()+u.OutputTotal())
	return o.End()
}

// EncodeCount appends the answer of countTokens.
func EncodeCount(dst []byte, tokens int64) []byte {
	o := jsonwire.Begin(dst)
	o.Int("totalTokens", tokens)
	return o.End()
}

// statuses are the words of google.rpc.Code for a status.
var statuses = map[int]string{http.StatusBadRequest: "INVALID_ARGUMENT", http.StatusUnauthorized: "UNAUTHENTICATED",
	http.StatusPaymentRequired: "FAILED_PRECONDITION", http.StatusForbidden: "PERMISSION_DENIED", http.StatusNotFound: "NOT_FOUND",
	http.StatusConflict: "ABORTED", http.StatusRequestEntityTooLarge: "INVALID_ARGUMENT", http.StatusFailedDependency: "FAILED_PRECONDITION",
	http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusBadGateway: "UNAVAILABLE", http.StatusServiceUnavailable: "UNAVAILABLE",
	http.StatusGatewayTimeout: "DEADLINE_EXCEEDED"}

// EncodeError appends the error envelope of an answer or a stream. Only the
// code, the public message and the fields beside them are shown, never a cause.
func EncodeError(dst []byte, err error, requestID string) []byte {
	f := fault.As(err)
	if f == nil {
		f = fault.New(fault.Internal, "geminigenerate.EncodeError", "internal error, try again later")
	}
	o := jsonwire.Begin(append(dst, `{"error":`...))
	o.Int("code", int64(f.Code.Status()))
	o.String("message", f.Message)
	status := statuses[f.Code.Status()]
	if status == "" {
		status = "INTERNAL"
	}
	o.String("status", status)
	o.String("type", string(f.Code))
	o.StringIf("param", f.Param)
	if f.RequestID != "" {
		requestID = f.RequestID
	}
	o.String("request_id", requestID)
	o.StringIf("provider", f.Provider)
	o.Bool("retryable", f.Retryable())
	o.Name("details")
	o.B = append(o.B, `[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":`...)
	o.B = jsonwire.AppendString(o.B, string(f.Code))
	o.B = append(o.B, `,"domain":"latchkey"}`...)
	if requestID != "" {
		o.B = append(o.B, `,{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":`...)
		o.B = append(jsonwire.AppendString(o.B, requestID), '}')
	}
	if f.RetryAfter > 0 {
		seconds := int64(math.Ceil(f.RetryAfter.Seconds()))
		o.B = append(o.B, `,{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
		o.B = append(strconv.AppendInt(o.B, seconds, 10), `s"}`...)
		o.B = append(o.B, ']')
		o.Int("retry_after", seconds)
		return append(o.End(), '}')
	}
	o.B = append(o.B, ']')
	return append(o.End(), '}')
}
