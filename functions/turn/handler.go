package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/latchkey/latchkey/shared/agent/turn"
)

// Runner runs one reception of a queue message.
type Runner interface {
	Run(ctx context.Context, d turn.Delivery) turn.Result
}

// Visibility sets when a message that is handed back is received again.
type Visibility interface {
	Change(ctx context.Context, receiptHandle string, after time.Duration) error
}

// Clock moves to the time of a queued event if that is later than its own.
type Clock interface{ AtLeast(at time.Time) }

// Handler runs the turns of a queue event.
type Handler struct {
	Turns      Runner
	Visibility Visibility
	Clock      Clock
	Log        *slog.Logger
}

// Handle runs the messages one after another and answers those to be received
// again. After a failure the later messages of the same group are handed back
// untried: the queue would deliver them out of order otherwise.
func (h *Handler) Handle(ctx context.Context, ev events.SQSEvent) (events.SQSEventResponse, error) {
	resp := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	waiting := map[string]time.Duration{}
	for _, m := range ev.Records {
		group := m.Attributes["MessageGroupId"]
		after, blocked := waiting[group]
		if !blocked {
			r := h.run(ctx, m)
			if !r.Retry {
				continue
			}
			after = r.After
			waiting[group] = after
		}
		resp.BatchItemFailures = append(resp.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		if err := h.Visibility.Change(ctx, m.ReceiptHandle, after); err != nil {
			// It comes back anyway, when the queue's own time is up.
			h.Log.WarnContext(ctx, "visibility not changed", "message_id", m.MessageId, "type", fmt.Sprintf("%T", err))
		}
	}
	return resp, nil
}

// panicRetry is the wait after a panic, which a second try seldom cures.
const panicRetry = 30 * time.Second

func (h *Handler) run(ctx context.Context, m events.SQSMessage) (result turn.Result) {
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; its type says enough to find it.
			h.Log.ErrorContext(ctx, "turn panic", "message_id", m.MessageId, "type", fmt.Sprintf("%T", v))
			result = turn.Result{Retry: true, After: panicRetry}
		}
	}()
	if ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64); err == nil && ms > 0 {
		h.Clock.AtLeast(time.UnixMilli(ms))
	}
	receive, err := strconv.ParseInt(m.Attributes["ApproximateReceiveCount"], 10, 64)
	if err != nil || receive < 1 {
		receive = 1
	}
	return h.Turns.Run(ctx, turn.Delivery{Body: []byte(m.Body), ID: m.MessageId, Receive: receive, Owner: owner(ctx, m)})
}

// owner is unique per invocation and message.
func owner(ctx context.Context, m events.SQSMessage) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok && lc.AwsRequestID != "" {
		return lc.AwsRequestID
	}
	return m.ReceiptHandle
}

// auditLog writes audit records as log lines.
type auditLog struct{ *slog.Logger }

// Record implements [turn.Recorder].
func (l auditLog) Record(ctx context.Context, e turn.Event) {
	l.InfoContext(ctx, "audit", "code", string(e.Code), "detail", e.Detail, "at", e.At, "org", e.Org, "install", e.Install, "turn", e.Turn, "event_id", e.EventID)
	if e.Code == turn.GaveUp {
		l.ErrorContext(ctx, "a message was given up", "code", e.Detail, "org", e.Org, "install", e.Install, "turn", e.Turn)
	}
	if e.Code.Pages() {
		l.ErrorContext(ctx, "audit alarm", "code", string(e.Code), "org", e.Org, "install", e.Install, "turn", e.Turn)
	}
}
