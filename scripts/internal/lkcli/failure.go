package lkcli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// failure is why a command ended with exit code 1: the API's error, or one of
// our own with a code that the API does not have.
type failure struct {
	Message    string
	Type       string
	Code       string
	Param      string
	RequestID  string
	Retryable  bool
	RetryAfter int64 // seconds
	Status     int   // of HTTP, 0 without an answer
	// raw is the API's own document.
	raw []byte
	// shown says that the person has been told, answered that the standard
	// output already holds the answer.
	shown, answered bool
}

func (f *failure) Error() string { return f.line() }

// failed makes an error of the tool itself. Such codes are unreachable,
// bad_answer, output, file, failed, interrupted, not_balanced, not_judged,
// rejected, rotation_failed and provider_not_available; usage belongs to wrong calls.
func failed(code, message string) *failure {
	return &failure{Code: code, Type: "client_error", Message: message}
}

// line is the error for people.
func (f *failure) line() string {
	var b strings.Builder
	b.WriteString(clean(f.Message))
	b.WriteString(" [" + clean(f.Code))
	if f.Param != "" {
		b.WriteString(", field " + clean(f.Param))
	}
	if f.Status != 0 {
		fmt.Fprintf(&b, ", status %d", f.Status)
	}
	if f.RequestID != "" {
		b.WriteString(", request " + clean(f.RequestID))
	}
	if f.RetryAfter > 0 {
		fmt.Fprintf(&b, ", try again in %d s", f.RetryAfter)
	}
	return b.String() + "]"
}

// errorDocument is the API's error form.
type errorDocument struct {
	Error *errorDetail `json:"error"`
}

type errorDetail struct {
	Message    string  `json:"message"`
	Type       string  `json:"type"`
	Code       string  `json:"code"`
	Param      *string `json:"param"`
	RequestID  string  `json:"request_id"`
	Retryable  bool    `json:"retryable"`
	RetryAfter int64   `json:"retry_after,omitempty"`
}

// document is the error for machines, with a line break.
func (f *failure) document() []byte {
	if f.raw != nil {
		return append(bytes.Clone(f.raw), '\n')
	}
	d := errorDetail{Message: f.Message, Type: f.Type, Code: f.Code, RequestID: f.RequestID, Retryable: f.Retryable, RetryAfter: f.RetryAfter}
	if f.Param != "" {
		d.Param = &f.Param
	}
	return encode(errorDocument{&d})
}

// refusal reads an error answer. Anything but the API's form comes from
// something in between, whose text is not repeated.
func refusal(status int, requestID string, body []byte) *failure {
	var doc errorDocument
	if json.Unmarshal(body, &doc) != nil || doc.Error == nil || doc.Error.Code == "" {
		f := failed("bad_answer", fmt.Sprintf("the server answered %d without the API's error; check the URL", status))
		f.Status, f.RequestID = status, requestID
		return f
	}
	d := doc.Error
	f := &failure{Message: d.Message, Type: d.Type, Code: d.Code, RequestID: d.RequestID, Retryable: d.Retryable, RetryAfter: d.RetryAfter,
		Status: status, raw: compact(body)}
	if d.Param != nil {
		f.Param = *d.Param
	}
	// All bad keys get one equal body, so their request is named in the header
	// only.
	if f.RequestID == "" {
		f.RequestID = requestID
	}
	return f
}

// encode writes one line of JSON without HTML escapes.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(`{"error":{"message":"the answer could not be written as JSON","type":"client_error","code":"failed","param":null,"request_id":"","retryable":false}}` + "\n")
	}
	return b.Bytes()
}

// compact removes line breaks and spaces; the text must be valid JSON.
func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
