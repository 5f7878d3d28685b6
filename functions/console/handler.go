package main

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

// Clock takes the time of the event, so that everything a request writes carries
// the platform's time.
type Clock interface{ Exact(at time.Time) }

// Handler translates between HTTP API events and the admin API.
type Handler struct {
	API   *admin.API
	Clock Clock
	Log   *slog.Logger
}

// Handle answers one request. It never returns an error: a failed invocation
// would be answered by the gateway in another form.
func (h *Handler) Handle(ctx context.Context, e events.APIGatewayV2HTTPRequest) (resp events.APIGatewayV2HTTPResponse, err error) {
	id := e.RequestContext.RequestID
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type says enough to find it.
			h.Log.ErrorContext(ctx, "console panic", "request_id", id, "type", fmt.Sprintf("%T", v))
			resp, err = answer(admin.Failure(fault.New(fault.Internal, "console.Handle", "internal error, try again later"), id)), nil
		}
	}()
	at := time.UnixMilli(e.RequestContext.TimeEpoch).UTC()
	h.Clock.Exact(at)
	req, err := translate(e, at)
	if err != nil {
		return answer(admin.Failure(err, id)), nil
	}
	return answer(h.API.Serve(ctx, req)), nil
}

func translate(e events.APIGatewayV2HTTPRequest, at time.Time) (admin.Request, error) {
	req := admin.Request{Method: e.RequestContext.HTTP.Method, Path: e.RawPath, ID: e.RequestContext.RequestID, Now: at,
		Header: func(name string) []string {
			if v, ok := e.Headers[name]; ok {
				return []string{v}
			}
			return nil
		}}
	if e.RequestContext.TimeEpoch <= 0 || req.ID == "" {
		return req, fault.New(fault.Internal, "console.translate", "internal error, try again later")
	}
	query, err := url.ParseQuery(e.RawQueryString)
	if err != nil {
		return req, fault.New(fault.InvalidRequest, "console.translate", "the query of the URL is malformed")
	}
	req.Query, req.Body = query, []byte(e.Body)
	if e.IsBase64Encoded {
		if req.Body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return req, fault.New(fault.InvalidRequest, "console.translate", "the body cannot be read")
		}
	}
	return req, nil
}

func answer(r admin.Response) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{StatusCode: r.Status, Headers: r.Header, Body: string(r.Body)}
}

// logError writes the one line of a failed request. The cause is named by its
// type only: its text may come from outside.
func logError(log *slog.Logger) func(context.Context, string, *fault.Error) {
	return func(ctx context.Context, requestID string, f *fault.Error) {
		log.ErrorContext(ctx, "console request failed", "request_id", requestID, "code", string(f.Code), "op", f.Op,
			"cause", strings.TrimPrefix(fmt.Sprintf("%T", f.Err), "*"), "status", http.StatusText(f.Code.Status()))
	}
}
