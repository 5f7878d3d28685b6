// Package adminhttp translates between the events of an HTTP API and the admin
// API, for the functions that serve a part of it.
//
// A body is decoded only when the event says that it is base64; how long it may
// be is the admin API's rule and, before it, API Gateway's (10 MB). Everything
// here is safe for concurrent use.
package adminhttp

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/fault"
)

// Request reads an event. at is its time. Errors: internal for an event without
// time or request id; invalid_request for a malformed query or body.
func Request(e events.APIGatewayV2HTTPRequest, at time.Time) (admin.Request, error) {
	const op = "adminhttp.Request"
	req := admin.Request{Method: e.RequestContext.HTTP.Method, Path: e.RawPath, ID: e.RequestContext.RequestID, Now: at,
		Header: func(name string) []string {
			if v, ok := e.Headers[name]; ok {
				return []string{v}
			}
			return nil
		}}
	if e.RequestContext.TimeEpoch <= 0 || req.ID == "" {
		return req, fault.New(fault.Internal, op, "internal error, try again later")
	}
	query, err := url.ParseQuery(e.RawQueryString)
	if err != nil {
		return req, fault.New(fault.InvalidRequest, op, "the query of the URL is malformed")
	}
	req.Query, req.Body = query, []byte(e.Body)
	if e.IsBase64Encoded {
		if req.Body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return req, fault.New(fault.InvalidRequest, op, "the body cannot be read")
		}
	}
	return req, nil
}

// Answer is a response as an HTTP API takes it.
func Answer(r admin.Response) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{StatusCode: r.Status, Headers: r.Header, Body: string(r.Body)}
}

// LogError returns what writes the one line of a failed request. The
// cause is named by its type only: its text may come from outside.
func LogError(log *slog.Logger) func(context.Context, string, *fault.Error) {
	return func(ctx context.Context, requestID string, f *fault.Error) {
		log.ErrorContext(ctx, "admin request failed", "request_id", requestID, "code", string(f.Code), "op", f.Op,
			"cause", strings.TrimPrefix(fmt.Sprintf("%T", f.Err), "*"), "status", http.StatusText(f.Code.Status()))
	}
}
