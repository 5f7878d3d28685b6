// Package awswire holds the parts of the AWS JSON protocols that every local
// endpoint needs: who calls (the access key id of the credential scope), what
// is called (X-Amz-Target), bounded bodies, and answers and errors in the shape
// that the official SDKs turn into typed errors.
//
// Guarantees: a body above its bound is never read further; an [Error] is
// answered with the code in the header, in the body and, for query-compatible
// services, in X-Amzn-Query-Error; counting calls is safe for concurrent use.
//
// Not imitated: the SigV4 signature, its date and its expiry are not checked
// (the access key id alone names the caller, so the endpoints must only listen
// on the loopback address); session tokens, presigned query strings, the query
// and CBOR protocols, and compression of requests.
package awswire

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Protocol versions as they stand in the content type.
const (
	JSON10 = "1.0"
	JSON11 = "1.1"
)

// maxAccessKeyID is the length bound of an access key id (AWS: 16 to 128).
const maxAccessKeyID = 128

// Error is an error answer. It is a value of the error interface so that the
// engines can return it through ordinary returns.
type Error struct {
	// Status is the HTTP status; 0 means 400.
	Status int
	// Code is the shape name without namespace, for example NotFoundException.
	Code string
	// Message is shown to the developer. It never holds plaintext or keys.
	Message string
	// QueryCode is the code of the older query protocol, which wins over Code in
	// clients of query-compatible services (SQS). Empty: no such header.
	QueryCode string
	// Extra are further members of the error body, for example CancellationReasons.
	Extra map[string]any
}

// Error implements the error interface.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// HTTPStatus is the status the error is answered with.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// NewError builds a 400 answer.
func NewError(code, message string) *Error { return &Error{Code: code, Message: message} }

// AsError returns err as an [Error]; anything else becomes a 500 with a fixed
// text, because an internal error text could hold what must not leave.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: "the local endpoint failed; see its log"}
}

// Principal returns the access key id of the request's SigV4 credential scope,
// or "" when the request carries none or a malformed one.
func Principal(r *http.Request) string {
	auth := r.Header.Get("Authorization")
	if !strings.HasPrefix(auth, "AWS4-") {
		return ""
	}
	_, rest, ok := strings.Cut(auth, "Credential=")
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(rest, "/")
	if !ok || id == "" || len(id) > maxAccessKeyID || !alphanumeric(id) {
		return ""
	}
	return id
}

func alphanumeric(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Target splits X-Amz-Target into service prefix and operation. Both are empty
// when the header is missing or malformed.
func Target(r *http.Request) (service, operation string) {
	service, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !ok || service == "" || operation == "" || !alphanumeric(operation) {
		return "", ""
	}
	return service, operation
}

// ReadBody reads the whole body, at most limit bytes. A longer body is an
// [Error] with status 413.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var buf []byte
	var err error
	if r.ContentLength > 0 {
		buf = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, buf)
	} else {
		buf, err = io.ReadAll(io.LimitReader(r.Body, limit+1))
	}
	if err != nil {
		return nil, NewError("IncompleteBody", "the request body ended early")
	}
	if int64(len(buf)) > limit {
		return nil, tooLarge(limit)
	}
	return buf, nil
}

func tooLarge(limit int64) *Error {
	return &Error{
		Status:  http.StatusRequestEntityTooLarge,
		Code:    "RequestEntityTooLarge",
		Message: "the request body is larger than " + strconv.FormatInt(limit, 10) + " bytes",
	}
}

// Decode parses a JSON request body into v. Unknown members are ignored, as AWS
// does; anything else that does not fit is a SerializationException.
func Decode(body []byte, v any) error {
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return NewError("SerializationException", "the request body is not the JSON this operation takes")
	}
	return nil
}

// WriteJSON answers 200 with v in the given protocol version.
func WriteJSON(w http.ResponseWriter, version string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		WriteError(w, version, AsError(err))
		return
	}
	send(w, version, http.StatusOK, body)
}

// WriteError answers e in the given protocol version.
func WriteError(w http.ResponseWriter, version string, e *Error) {
	status := e.HTTPStatus()
	members := map[string]any{"__type": e.Code, "message": e.Message, "Message": e.Message}
	for k, v := range e.Extra {
		members[k] = v
	}
	body, err := json.Marshal(members)
	if err != nil {
		body = []byte(`{"__type":"InternalFailure"}`)
	}
	w.Header().Set("X-Amzn-Errortype", e.Code)
	if e.QueryCode != "" {
		fault := "Sender"
		if status >= http.StatusInternalServerError {
			fault = "Receiver"
		}
		w.Header().Set("X-Amzn-Query-Error", e.QueryCode+";"+fault)
	}
	send(w, version, status, body)
}

func send(w http.ResponseWriter, version string, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/x-amz-json-"+version)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", NewID())
	w.WriteHeader(status)
	// A failed write means the client has gone; nothing is left to tell it.
	_, _ = w.Write(body)
}

// NewID returns a random (version 4) UUID.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, per its documentation since Go 1.24
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return FormatUUID(b)
}

// FormatUUID writes 16 bytes in the 8-4-4-4-12 form.
func FormatUUID(b [16]byte) string {
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
