package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/boot/adminhttp"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
)

// Clock takes the time of the event, so that everything a request writes carries
// the platform's time.
type Clock interface{ Exact(at time.Time) }

// Handler translates between HTTP API events and the admin API, and the pages of
// package consent.
type Handler struct {
	API     *admin.API
	Consent *consent.Service
	Clock   Clock
	Log     *slog.Logger
}

// Handle answers one request. It never returns an error: a failed invocation
// would be answered by the gateway in another form.
func (h *Handler) Handle(ctx context.Context, e events.APIGatewayV2HTTPRequest) (resp events.APIGatewayV2HTTPResponse, err error) {
	id := e.RequestContext.RequestID
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type says enough to find it.
			h.Log.ErrorContext(ctx, "console panic", "request_id", id, "type", fmt.Sprintf("%T", v))
			resp, err = adminhttp.Answer(admin.Failure(fault.New(fault.Internal, "console.Handle", "internal error, try again later"), id)), nil
		}
	}()
	at := time.UnixMilli(e.RequestContext.TimeEpoch).UTC()
	h.Clock.Exact(at)
	req, err := adminhttp.Request(e, at)
	if strings.HasPrefix(e.RawPath, "/oauth/") {
		return h.visit(ctx, e, req), nil
	}
	if err != nil {
		return adminhttp.Answer(admin.Failure(err, id)), nil
	}
	return adminhttp.Answer(h.API.Serve(ctx, req)), nil
}

// visit answers a browser. A query that is malformed has no state in it.
func (h *Handler) visit(ctx context.Context, e events.APIGatewayV2HTTPRequest, req admin.Request) events.APIGatewayV2HTTPResponse {
	p := h.Consent.Serve(ctx, consent.Visit{Method: req.Method, Path: req.Path, Query: req.Query, Cookies: e.Cookies, Origin: e.Headers["origin"], Now: req.Now})
	h.Log.InfoContext(ctx, "page answered", "request_id", e.RequestContext.RequestID, "outcome", string(p.Outcome), "reason", p.Reason, "provider", p.Provider,
		"org", p.Org, "install", p.Install, "code", string(fault.CodeOf(p.Err)))
	return events.APIGatewayV2HTTPResponse{StatusCode: p.Status, Headers: p.Header, Cookies: p.Cookies, Body: p.Body}
}
