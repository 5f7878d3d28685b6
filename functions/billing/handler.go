package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/boot/adminhttp"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/topup"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Clock takes the time of the event, so that everything a request writes carries
// the platform's time.
type Clock interface {
	Exact(at time.Time)
	AtLeast(at time.Time)
}

// Orders runs standing orders; [topup.Replenisher] implements it.
type Orders interface {
	Run(ctx context.Context, org string, now time.Time) (topup.Step, error)
}

// Sales moves the ledger to what a notice says; [topup.Service] implements it.
type Sales interface {
	Apply(ctx context.Context, n topup.Notice, now time.Time) (topup.TopUp, topup.Outcome, error)
}

// Secrets opens what verifies the vendor's messages; [payment.Opener] implements
// it.
type Secrets interface {
	Accepting(ctx context.Context, now time.Time) (values []secret.Text, complete bool, err error)
}

// Handler translates between HTTP API events, the admin API and the vendor's
// messages.
type Handler struct {
	API     *admin.API
	Orders  Orders
	Sales   Sales
	Secrets Secrets
	Clock   Clock
	Log     *slog.Logger
}

// messagePath is where the vendor's messages arrive.
const messagePath = "/billing/stripe"

// Handle answers an HTTP request, or looks after the standing orders that sweep
// hands over. A body cannot become such an event: the gateway puts it into one of
// its own.
func (h *Handler) Handle(ctx context.Context, raw json.RawMessage) (any, error) {
	ev, ours, err := topup.ParseEvent(raw)
	if err != nil {
		return nil, err
	}
	if ours {
		return h.replenish(ctx, ev)
	}
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, "billing.Handle", "the event cannot be read", err)
	}
	return h.serve(ctx, e)
}

// Looked is what became of the standing orders of an event, by step.
type Looked struct {
	Steps map[topup.Step]int `json:"steps"`
}

// replenish takes a step of each order. An error fails the invocation when the
// others have had theirs: it is seen, and the platform's repetition is harmless.
func (h *Handler) replenish(ctx context.Context, ev topup.Event) (Looked, error) {
	// The event may have waited in the platform's queue.
	h.Clock.AtLeast(ev.At)
	out := Looked{Steps: map[topup.Step]int{}}
	var failed error
	for _, org := range ev.Replenish {
		step, err := h.Orders.Run(ctx, org, ev.At)
		if err != nil {
			failed = err
			h.Log.ErrorContext(ctx, "standing order failed", "org", org, "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
			continue
		}
		out.Steps[step]++
		if step != topup.Idle {
			h.Log.InfoContext(ctx, "standing order", "org", org, "outcome", string(step))
		}
	}
	return out, failed
}

// serve answers one request. It never returns an error: a failed invocation
// would be answered by the gateway in another form.
func (h *Handler) serve(ctx context.Context, e events.APIGatewayV2HTTPRequest) (resp events.APIGatewayV2HTTPResponse, err error) {
	id := e.RequestContext.RequestID
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type says enough to find it.
			h.Log.ErrorContext(ctx, "billing panic", "request_id", id, "type", fmt.Sprintf("%T", v))
			resp, err = adminhttp.Answer(admin.Failure(fault.New(fault.Internal, "billing.Handle", "internal error, try again later"), id)), nil
		}
	}()
	if e.RequestContext.TimeEpoch <= 0 || id == "" {
		return adminhttp.Answer(admin.Failure(fault.New(fault.Internal, "billing.Handle", "internal error, try again later"), id)), nil
	}
	at := time.UnixMilli(e.RequestContext.TimeEpoch).UTC()
	h.Clock.Exact(at)
	if e.RawPath == messagePath {
		if err := h.message(ctx, e, at); err != nil {
			return adminhttp.Answer(admin.Failure(err, id)), nil
		}
		return events.APIGatewayV2HTTPResponse{StatusCode: http.StatusOK, Headers: map[string]string{"content-type": "application/json"},
			Body: `{"received":true}`}, nil
	}
	req, err := adminhttp.Request(e, at)
	if err != nil {
		return adminhttp.Answer(admin.Failure(err, id)), nil
	}
	return adminhttp.Answer(h.API.Serve(ctx, req)), nil
}

// message verifies the raw bytes, and only then reads them. Nil means that the
// ledger says what the message says, or that the message is none of ours: the
// vendor sends everything else again for days.
func (h *Handler) message(ctx context.Context, e events.APIGatewayV2HTTPRequest, at time.Time) error {
	const op = "billing.message"
	if e.RequestContext.HTTP.Method != http.MethodPost {
		return fault.New(fault.MethodNotAllowed, op, "this path takes POST only")
	}
	if len(e.Body) > base64.StdEncoding.EncodedLen(stripe.MaxBody) {
		return fault.New(fault.TooLarge, op, "the message is too large")
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return fault.New(fault.InvalidRequest, op, "the body cannot be read")
		}
	}
	if len(body) > stripe.MaxBody {
		return fault.New(fault.TooLarge, op, "the message is too large")
	}
	values, complete, err := h.Secrets.Accepting(ctx, at)
	if err != nil {
		return err
	}
	in := webhook.Input{Method: http.MethodPost, Path: e.RawPath, Header: webhook.FromSingle(e.Headers), Body: body}
	if _, refusal := webhook.Verify(stripe.Signature(), in, values, at); refusal != nil {
		if !complete {
			return fault.New(fault.VaultUnavailable, op, "the message could not be checked, send it again")
		}
		h.Log.WarnContext(ctx, "payment message refused", "request_id", e.RequestContext.RequestID, "reason", string(refusal.Reason))
		return fault.New(fault.WebhookUnauthorized, op, "unauthorized")
	}
	n, err := stripe.Parse(body)
	if err != nil {
		// It is signed, so it is the vendor's: a form that we do not know. Refused
		// and seen, because an answer of success would lose a payment.
		h.Log.ErrorContext(ctx, "payment message not understood", "request_id", e.RequestContext.RequestID)
		return fault.New(fault.InvalidRequest, op, "the message cannot be read")
	}
	t, outcome, err := h.Sales.Apply(ctx, n, at)
	if err != nil {
		f := fault.As(err)
		h.Log.ErrorContext(ctx, "payment message failed", "request_id", e.RequestContext.RequestID, "event", n.ID, "kind", string(n.Kind), "code", string(f.Code), "op", f.Op)
		// Whatever it is, the vendor has to send the message again.
		return fault.New(fault.Unavailable, op, "the message was not processed, send it again")
	}
	level := slog.LevelInfo
	if outcome == topup.Refused {
		level = slog.LevelError
	}
	h.Log.Log(ctx, level, "payment message", "request_id", e.RequestContext.RequestID, "event", n.ID, "kind", string(n.Kind), "outcome", string(outcome),
		"org", t.Org, "record", t.ID)
	return nil
}
