package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Errors says which fault a vendor's error is. The first rule that matches
// wins; without one the HTTP status decides.
type Errors []Rule

// Rule matches an error answer. Empty fields match everything.
type Rule struct {
	Status int
	// Code matches the vendor's error code, type or one of its detailed reasons,
	// lower case.
	Code string
	// Contains matches a part of the vendor's message, lower case. It is for
	// vendors that say it nowhere else; the text itself is dropped.
	Contains string
	Fault    fault.Code
}

// maxRetryAfter bounds what a vendor can make us tell a client.
const maxRetryAfter = 24 * time.Hour

// messages are what a client reads; they say what to do.
var messages = map[fault.Code]string{
	fault.ProviderKeyInvalid:     "the provider rejected the API key, check or replace the connection's key",
	fault.ProviderQuotaExhausted: "the provider account has no credit or quota left, top it up at the provider",
	fault.ProviderRateLimited:    "the provider's rate limit is reached, retry later",
	fault.ProviderOverloaded:     "the provider is overloaded or has no capacity for this model, retry later",
	fault.ProviderError:          "the provider failed to answer, retry later",
	fault.ProviderTimeout:        "the provider did not answer in time, retry later",
	fault.ContextLengthExceeded:  "the request is longer than the model's context, shorten it",
	fault.ContentFiltered:        "the provider's content policy refused the request",
	fault.InvalidRequest:         "the provider refused the request as invalid, check its parameters and the model name",
	fault.UnsupportedMedia:       "the model cannot take this kind or format of media",
	fault.TooLarge:               "the request is larger than the provider accepts",
}

// vendorError is the union of the error shapes seen in the wild: OpenAI's
// envelope, a bare string with its code beside it (xAI), and FastAPI's detail, at
// the top or as the message (Mistral).
type vendorError struct {
	Code, Type, Message, Param string
	Status                     int
	details
}

// Decide turns an error answer into a fault. body may be anything.
func (v *Vendor) Decide(op string, status int, h http.Header, body []byte) error {
	e := parseError(body)
	e.amazon(h, body)
	return v.decide(op, status, h, e)
}

// DecideInBand turns an error that came inside a 200 answer or a stream into a
// fault. raw is the value of the error field; a numeric code is its status.
func (v *Vendor) DecideInBand(op string, raw []byte, h http.Header) error {
	e := errorValue(raw)
	status := e.Status
	if status == 0 {
		status = http.StatusBadGateway
	}
	return v.decide(op, status, h, e)
}

// DecideBody is [Vendor.DecideInBand] for a whole answer or frame whose error
// field is set, because some vendors put the code beside it.
func (v *Vendor) DecideBody(op string, body []byte, h http.Header) error {
	e := parseError(body)
	status := e.Status
	if status == 0 {
		status = http.StatusBadGateway
	}
	return v.decide(op, status, h, e)
}

func (v *Vendor) decide(op string, status int, h http.Header, e vendorError) error {
	code := v.Errors.match(status, e)
	f := v.fault(code, op, messages[code], nil)
	switch code {
	case fault.InvalidRequest, fault.UnsupportedMedia:
		if p := cleanParam(e.Param); p != "" {
			f.Param = p
		}
	case fault.ProviderRateLimited, fault.ProviderOverloaded, fault.ProviderQuotaExhausted, fault.ProviderError, fault.ProviderTimeout:
		if f.RetryAfter = RetryAfter(h); f.RetryAfter == 0 {
			f.RetryAfter = e.Wait
		}
	}
	return f
}

func (rules Errors) match(status int, e vendorError) fault.Code {
	text := strings.ToLower(e.Message)
	code, kind := strings.ToLower(e.Code), strings.ToLower(e.Type)
	for _, r := range rules {
		if (r.Status == 0 || r.Status == status) && (r.Code == "" || r.Code == code || r.Code == kind || e.has(r.Code)) &&
			(r.Contains == "" || strings.Contains(text, r.Contains)) {
			return r.Fault
		}
	}
	return byStatus(status)
}

func byStatus(status int) fault.Code {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.ProviderKeyInvalid
	case http.StatusPaymentRequired:
		return fault.ProviderQuotaExhausted
	case http.StatusTooManyRequests:
		return fault.ProviderRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, 524:
		return fault.ProviderTimeout
	case http.StatusServiceUnavailable, 529:
		return fault.ProviderOverloaded
	case http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case http.StatusUnsupportedMediaType:
		return fault.UnsupportedMedia
	case http.StatusConflict, http.StatusTooEarly:
		return fault.ProviderError
	}
	if status >= 400 && status < 500 {
		return fault.InvalidRequest
	}
	return fault.ProviderError
}

func parseError(body []byte) vendorError {
	var top struct {
		Error   json.RawMessage `json:"error"`
		Code    json.RawMessage `json:"code"`
		Type    json.RawMessage `json:"type"`
		Message json.RawMessage `json:"message"`
		Param   json.RawMessage `json:"param"`
		Detail  json.RawMessage `json:"detail"`
	}
	if element, ok := jsonwire.Only(bytes.TrimSpace(body)); ok {
		// A stream's error may come as a list of one.
		body = element
	}
	if json.Unmarshal(body, &top) != nil {
		return vendorError{}
	}
	if present(top.Error) {
		e := errorValue(top.Error)
		if e.Code == "" {
			e.Code = text(top.Code)
		}
		return e
	}
	e := vendorError{Code: text(top.Code), Type: text(top.Type), Message: text(top.Message), Param: text(top.Param)}
	if e.Message == "" {
		e.detail(top.Detail)
	}
	if e.Message == "" {
		var nested struct {
			Detail json.RawMessage `json:"detail"`
		}
		if json.Unmarshal(top.Message, &nested) == nil {
			e.detail(nested.Detail)
		}
	}
	return e
}

// detail reads FastAPI's detail: a sentence, or a list of what is wrong where.
func (e *vendorError) detail(raw json.RawMessage) {
	var list []struct {
		Type string            `json:"type"`
		Msg  string            `json:"msg"`
		Loc  []json.RawMessage `json:"loc"`
	}
	if e.Message = text(raw); e.Message != "" || json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return
	}
	e.Type, e.Message = list[0].Type, list[0].Msg
	var path []string
	for _, step := range list[0].Loc {
		if s := text(step); s != "" && s != "body" {
			path = append(path, s)
		} else if s == "" {
			path = append(path, string(step))
		}
	}
	e.Param = strings.Join(path, ".")
}

func errorValue(raw []byte) vendorError {
	var in struct {
		Code     json.RawMessage `json:"code"`
		Type     json.RawMessage `json:"type"`
		Message  json.RawMessage `json:"message"`
		Param    json.RawMessage `json:"param"`
		Status   json.RawMessage `json:"status"`
		Details  json.RawMessage `json:"details"`
		Metadata struct {
			ErrorType json.RawMessage `json:"error_type"`
		} `json:"metadata"`
	}
	if s := text(raw); s != "" {
		return vendorError{Message: s}
	}
	if json.Unmarshal(raw, &in) != nil {
		return vendorError{}
	}
	e := vendorError{Code: text(in.Code), Type: text(in.Type), Message: text(in.Message), Param: text(in.Param)}
	if e.Type == "" {
		e.Type = text(in.Metadata.ErrorType)
	}
	if e.Type == "" {
		e.Type = text(in.Status)
	}
	e.details = parseDetails(in.Details)
	for _, candidate := range []json.RawMessage{in.Code, in.Status} {
		if n, err := strconv.Atoi(string(candidate)); err == nil && n >= 400 && n < 600 {
			e.Status = n
			break
		}
	}
	return e
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// text is the string a value holds, "" if it is not a string.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// RetryAfter reads how long a vendor asks to wait: retry-after-ms, Retry-After
// in seconds, or Retry-After as a date, which is compared with the vendor's own
// Date header so that no clock is needed. Zero means it did not say.
func RetryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return bounded(ms / 1000)
	}
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return bounded(s)
	}
	until, err1 := http.ParseTime(v)
	now, err2 := http.ParseTime(h.Get("Date"))
	if err1 != nil || err2 != nil {
		return 0
	}
	return bounded(until.Sub(now).Seconds())
}

func bounded(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	if seconds > maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}

// paramHeads are the fields a vendor may name. What it writes is only passed on
// if it starts with one of them and goes on with names and numbers.
var paramHeads = map[string]bool{
	"model": true, "messages": true, "tools": true, "tool_choice": true, "parallel_tool_calls": true,
	"response_format": true, "max_tokens": true, "max_completion_tokens": true, "temperature": true, "top_p": true,
	"top_k": true, "frequency_penalty": true, "presence_penalty": true, "seed": true, "stop": true,
	"reasoning": true, "reasoning_effort": true, "stream": true, "stream_options": true, "user": true, "input": true,
	"voice": true, "speed": true, "instructions": true, "file": true, "language": true, "prompt": true,
	"timestamp_granularities": true, "logprobs": true, "top_logprobs": true, "modalities": true, "audio": true,
	"chunking_strategy": true, "dimensions": true, "encoding_format": true,
}

func cleanParam(p string) string {
	if len(p) > 64 {
		return ""
	}
	end := 0
	for end < len(p) && (p[end] == '_' || p[end] >= 'a' && p[end] <= 'z') {
		end++
	}
	if !paramHeads[p[:end]] || strings.Trim(p[end:], "abcdefghijklmnopqrstuvwxyz_.[]0123456789") != "" {
		return ""
	}
	return p
}
