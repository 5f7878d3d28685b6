package lambdahost

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Reasons why a call has no result. They are found in an [*Error] by errors.Is.
var (
	// ErrThrottled: no environment became free within Options.QueueWait (429).
	ErrThrottled = errors.New("no free environment")
	// ErrTimeout: the function reached Spec.Timeout and was killed.
	ErrTimeout = errors.New("timed out")
	// ErrCrashed: the process ended, or broke off its response, during the call.
	ErrCrashed = errors.New("process ended during the call")
	// ErrInit: the process ended, or reported an error, before its first event.
	ErrInit = errors.New("failed to start")
	// ErrRequestTooLarge: the event exceeds MaxRequestBytes (413).
	ErrRequestTooLarge = errors.New("event too large")
	// ErrResponseTooLarge: the response exceeds MaxResponseBytes, or
	// MaxStreamBytes when streamed.
	ErrResponseTooLarge = errors.New("response too large")
	// ErrBadResponse: the response is neither a valid prelude nor a valid
	// function-URL answer.
	ErrBadResponse = errors.New("invalid response")
	// ErrFunction: the handler returned an error (only from InvokeStream and its
	// body; Invoke reports it in Result.FunctionError).
	ErrFunction = errors.New("handler returned an error")
	// ErrUnknownFunction: no function of that name is registered (404).
	ErrUnknownFunction = errors.New("no such function")
	// ErrClosed: the host is shutting down.
	ErrClosed = errors.New("host is closed")
)

// Error is the failure of one call. Reason is one of the Err values of this
// package; Type and Message are what Lambda would put into its error document.
type Error struct {
	Reason    error
	Function  string
	RequestID string // empty when no invocation was begun
	Type      string // such as Runtime.ExitError
	Message   string
}

// Error names the function, the reason and the detail.
func (e *Error) Error() string {
	return fmt.Sprintf("function %s: %v: %s", e.Function, e.Reason, e.Message)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Reason }

// Payload is the error document {"errorType","errorMessage"} as Lambda's Invoke
// API would return it.
func (e *Error) Payload() []byte {
	b, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{e.Type, e.Message})
	if err != nil {
		return []byte(`{"errorType":"Runtime.Unknown","errorMessage":""}`)
	}
	return b
}

// newError is an Error of an invocation that was begun: Lambda puts the request
// id in front of such messages.
func newError(reason error, function, requestID, kind, message string) *Error {
	return &Error{
		Reason: reason, Function: function, RequestID: requestID, Type: kind,
		Message: "RequestId: " + requestID + " Error: " + message,
	}
}

// functionError reads the document a runtime posts to /error.
func functionError(function, requestID string, payload []byte) *Error {
	var doc struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	// A document that does not parse is still a function error, only nameless.
	if json.Unmarshal(payload, &doc) != nil || doc.Type == "" {
		doc.Type = "Runtime.Unknown"
	}
	return &Error{Reason: ErrFunction, Function: function, RequestID: requestID, Type: doc.Type, Message: doc.Message}
}
