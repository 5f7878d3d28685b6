package admin

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// errorBody is the error of every answer above 399.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Message   string     `json:"message"`
	Type      string     `json:"type"`
	Code      fault.Code `json:"code"`
	Param     *string    `json:"param"`
	RequestID string     `json:"request_id"`
	Provider  string     `json:"provider,omitempty"`
	Retryable bool       `json:"retryable"`
	// RetryAfter is in seconds.
	RetryAfter int64 `json:"retry_after,omitempty"`
}

// Failure is the answer to an error that arose before or around [API.Serve].
func Failure(err error, requestID string) Response {
	resp := failure(err, requestID)
	finish(&resp, requestID)
	return resp
}

// finish adds the headers that every answer has.
func finish(resp *Response, requestID string) {
	if resp.Header == nil {
		resp.Header = map[string]string{}
	}
	resp.Header["x-request-id"] = requestID
	resp.Header["cache-control"] = "no-store"
	resp.Header["x-content-type-options"] = "nosniff"
}

// failure writes an error. The 401 holds no request id (the header does), so
// that the answers to all bad keys are equal byte for byte.
func failure(err error, requestID string) Response {
	f := fault.As(err)
	d := errorDetail{Message: f.Message, Type: errorType(f.Code.Status()), Code: f.Code, RequestID: requestID,
		Provider: f.Provider, Retryable: f.Retryable()}
	if f.Param != "" {
		d.Param = &f.Param
	}
	if f.RequestID != "" {
		d.RequestID = f.RequestID
	}
	header := jsonHeader()
	if f.RetryAfter > 0 {
		d.RetryAfter = int64((f.RetryAfter + time.Second - 1) / time.Second)
		header["retry-after"] = strconv.FormatInt(d.RetryAfter, 10)
	}
	if f.Code == fault.GatewayAuth {
		d.RequestID = ""
		header["www-authenticate"] = "Bearer"
	}
	body, encodeErr := encode(errorBody{Error: d})
	if encodeErr != nil {
		body = []byte(`{"error":{"message":"internal error, try again later","type":"api_error","code":"internal","param":null,"request_id":"","retryable":false}}`)
	}
	return Response{Status: f.Code.Status(), Header: header, Body: body}
}

func errorType(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "billing_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 409:
		return "conflict_error"
	case 429:
		return "rate_limit_error"
	}
	if status < 500 {
		return "invalid_request_error"
	}
	return "api_error"
}

// encode writes compact JSON without the HTML escapes, which only make URLs hard
// to read.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
