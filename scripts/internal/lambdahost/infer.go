package lambdahost

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Answer is an HTTP response that a handler returned as a payload.
type Answer struct {
	StatusCode int
	Headers    map[string]string
	Cookies    []string
	Body       []byte
	// Inferred: the payload had no statusCode, so status 200 and the JSON content
	// type are the platform's, not the handler's.
	Inferred bool
}

// Infer reads a payload by the rules of payload format 2.0, which HTTP API and
// function URL share: an object with a statusCode is {statusCode, headers,
// cookies, body, isBase64Encoded}; any other JSON is the body of a 200, a string
// without its quotes (AWS developer guides for both, read 2026). Unknown fields
// are ignored, as on AWS. An error means that the platform would answer 502
// (function URL) or 500 (HTTP API).
func Infer(payload []byte) (Answer, error) {
	if !json.Valid(payload) {
		return Answer{}, errors.New("the response is not JSON")
	}
	var doc struct {
		StatusCode      json.RawMessage            `json:"statusCode"`
		Headers         map[string]json.RawMessage `json:"headers"`
		Cookies         []string                   `json:"cookies"`
		Body            *string                    `json:"body"`
		IsBase64Encoded bool                       `json:"isBase64Encoded"`
	}
	trimmed := bytes.TrimSpace(payload)
	isObject := trimmed[0] == '{'
	var probe map[string]json.RawMessage
	if isObject {
		if err := json.Unmarshal(trimmed, &probe); err != nil {
			return Answer{}, errors.New("the response is not a JSON object")
		}
	}
	if _, has := probe["statusCode"]; !has {
		return inferred(trimmed)
	}
	if err := json.Unmarshal(trimmed, &doc); err != nil {
		return Answer{}, errors.New("the response has a statusCode but its headers, cookies, body or isBase64Encoded have the wrong type")
	}
	status, err := statusCode(doc.StatusCode)
	if err != nil {
		return Answer{}, err
	}
	headers, err := headerValues(doc.Headers)
	if err != nil {
		return Answer{}, err
	}
	out := Answer{StatusCode: status, Headers: headers, Cookies: doc.Cookies}
	if doc.Body != nil {
		out.Body = []byte(*doc.Body)
	}
	if doc.IsBase64Encoded {
		if out.Body, err = base64.StdEncoding.DecodeString(string(out.Body)); err != nil {
			return Answer{}, errors.New("isBase64Encoded is true but the body is not base64")
		}
	}
	return out, nil
}

func inferred(payload []byte) (Answer, error) {
	body := payload
	if payload[0] == '"' {
		var s string
		if err := json.Unmarshal(payload, &s); err != nil {
			return Answer{}, errors.New("the response is not JSON")
		}
		body = []byte(s)
	}
	return Answer{StatusCode: 200, Headers: map[string]string{"content-type": "application/json"}, Body: body, Inferred: true}, nil
}

// statusCode accepts a number or a string of digits. 1xx is refused: it is not a
// final answer.
func statusCode(raw json.RawMessage) (int, error) {
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil || n < 200 || n > 599 {
		return 0, fmt.Errorf("statusCode %.32s is not within 200 to 599", raw)
	}
	return n, nil
}

// headerValues turns strings, numbers and booleans into header values and drops
// nulls; lists and objects have no place in format 2.0.
func headerValues(in map[string]json.RawMessage) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for name, raw := range in {
		switch raw[0] {
		case '"':
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, fmt.Errorf("header %.64q is not a string", name)
			}
			out[name] = s
		case '[', '{':
			return nil, fmt.Errorf("header %.64q is not a string", name)
		case 'n':
		default:
			out[name] = string(raw)
		}
	}
	return out, nil
}

// stream turns a whole answer into the form of a streamed one.
func (a Answer) stream(requestID string) *Stream {
	if !hasHeader(a.Headers, "content-type") {
		// A function URL's default [MEM]; HTTP API has another one.
		a.Headers["content-type"] = "application/json"
	}
	return &Stream{
		RequestID: requestID, StatusCode: a.StatusCode, Headers: a.Headers, Cookies: a.Cookies,
		Body: io.NopCloser(bytes.NewReader(a.Body)), Size: len(a.Body),
	}
}

func hasHeader(headers map[string]string, name string) bool {
	for k := range headers {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}
