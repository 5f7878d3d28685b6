package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
	"github.com/latchkey/latchkey/shared/widget"
)

// Ingester takes a request to the queue.
type Ingester interface {
	Handle(ctx context.Context, r ingest.Request) ingest.Response
}

// Clock takes the time of the event, so that what is stored and what is opened
// carry the platform's time.
type Clock interface{ Exact(at time.Time) }

// Handler translates between HTTP API events and the webhook path.
type Handler struct {
	Ingest Ingester
	Clock  Clock
	Log    *slog.Logger
}

// Handle answers one request. It never returns an error: the vendor must see a
// status of ours, and a retry when something of ours broke.
func (h *Handler) Handle(ctx context.Context, e events.APIGatewayV2HTTPRequest) (resp events.APIGatewayV2HTTPResponse, err error) {
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type says enough to find it.
			h.Log.ErrorContext(ctx, "webhook panic", "request_id", e.RequestContext.RequestID, "type", fmt.Sprintf("%T", v))
			resp, err = unavailable(), nil
		}
	}()
	if below(e) == widget.Path {
		r := widget.Serve(e.RequestContext.HTTP.Method, e.RawQueryString, e.Headers["if-none-match"])
		return events.APIGatewayV2HTTPResponse{StatusCode: r.Status, Headers: r.Header, Body: r.Body}, nil
	}
	// Without the event's time no signature can be judged.
	if e.RequestContext.TimeEpoch <= 0 {
		h.Log.ErrorContext(ctx, "webhook event without time", "request_id", e.RequestContext.RequestID)
		return unavailable(), nil
	}
	at := time.UnixMilli(e.RequestContext.TimeEpoch).UTC()
	h.Clock.Exact(at)
	return answer(h.Ingest.Handle(ctx, translate(e, at))), nil
}

// translate makes the request. Body bytes are decoded only when the flag says
// so; nothing is rebuilt from parsed parts.
func translate(e events.APIGatewayV2HTTPRequest, at time.Time) ingest.Request {
	provider, install := target(e)
	r := ingest.Request{
		Provider: provider, Install: install, Now: at, RequestID: e.RequestContext.RequestID,
		Source: prefix(e.RequestContext.HTTP.SourceIP),
		Input: webhook.Input{Method: e.RequestContext.HTTP.Method, Path: e.RawPath, RawQuery: e.RawQueryString,
			Header: webhook.FromSingle(e.Headers), Body: []byte(e.Body)},
	}
	if !e.IsBase64Encoded {
		r.TooLarge = len(e.Body) > ingest.MaxBody
		return r
	}
	// Bounded before it is decoded.
	if r.Input.Body = nil; len(e.Body) > base64.StdEncoding.EncodedLen(ingest.MaxBody) {
		r.TooLarge = true
		return r
	}
	body, err := base64.StdEncoding.DecodeString(e.Body)
	if r.Undecodable = err != nil; err == nil {
		r.Input.Body = body
	}
	return r
}

// below is the path below the stage's name where the address has one.
func below(e events.APIGatewayV2HTTPRequest) string {
	path := e.RawPath
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage+"/"); ok {
			path = "/" + rest
		}
	}
	return path
}

// target reads provider and install from /webhooks/{provider}/{install}. Any other
// path names nothing.
func target(e events.APIGatewayV2HTTPRequest) (provider, install string) {
	parts := strings.Split(below(e), "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "webhooks" {
		return "", ""
	}
	return parts[2], parts[3]
}

// prefix is the network of an address: enough to see where a flood comes from,
// not enough to follow a person.
func prefix(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

func answer(r ingest.Response) events.APIGatewayV2HTTPResponse {
	headers := map[string]string{"content-type": r.ContentType, "cache-control": "no-store", "x-content-type-options": "nosniff"}
	maps.Copy(headers, r.Header)
	if len(r.Allow) > 0 {
		headers["allow"] = strings.Join(r.Allow, ", ")
	}
	return events.APIGatewayV2HTTPResponse{StatusCode: r.Status, Headers: headers, Body: r.Body}
}

func unavailable() events.APIGatewayV2HTTPResponse {
	return answer(ingest.Response{Status: http.StatusServiceUnavailable, ContentType: "application/json",
		Body: `{"error":{"type":"webhook_error","code":"unavailable","message":"unavailable, try again","retryable":true}}`})
}

// auditLog writes audit records as log lines: this function may not write the
// table that holds the organisations' audit rows.
type auditLog struct{ *slog.Logger }

// Record implements [ingest.Recorder].
func (l auditLog) Record(ctx context.Context, e ingest.Event) {
	l.InfoContext(ctx, "audit", "code", string(e.Code), "at", e.At, "org", e.Org, "install", e.Install, "provider", string(e.Provider),
		"event_id", e.EventID, "request_id", e.RequestID, "source", e.Source, "body_sha256", e.BodySHA256,
		"secret_versions", e.SecretVersions, "retiring_secret", e.RetiringSecret, "retired_secret", e.RetiredSecret, "url_hint", string(e.URLHint), "suppressed", e.Suppressed)
	if e.Code.Pages() {
		l.ErrorContext(ctx, "audit alarm", "code", string(e.Code), "org", e.Org, "install", e.Install, "request_id", e.RequestID)
	}
}
