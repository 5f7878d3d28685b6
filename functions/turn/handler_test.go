package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/topology"
)

type runner struct {
	got     []turn.Delivery
	results map[string]turn.Result
}

func (r *runner) Run(_ context.Context, d turn.Delivery) turn.Result {
	if string(d.Body) == "panic" {
		panic("secret in a panic")
	}
	r.got = append(r.got, d)
	return r.results[d.ID]
}

type visibility struct {
	calls map[string]time.Duration
	err   error
}

func (v visibility) Change(_ context.Context, handle string, after time.Duration) error {
	v.calls[handle] = after
	return v.err
}

type clock struct{ at time.Time }

func (c *clock) AtLeast(at time.Time) { c.at = at }

func message(id, group, body string) events.SQSMessage {
	return events.SQSMessage{MessageId: id, ReceiptHandle: "h-" + id, Body: body,
		Attributes: map[string]string{"MessageGroupId": group, "ApproximateReceiveCount": "3", "SentTimestamp": "1772600767000"}}
}

func TestHandle(t *testing.T) {
	r, v, c, log := &runner{results: map[string]turn.Result{"b": {Retry: true, After: 7 * time.Second}}}, visibility{calls: map[string]time.Duration{}}, &clock{}, &bytes.Buffer{}
	h := &Handler{Turns: r, Visibility: v, Clock: c, Log: slog.New(slog.NewTextHandler(log, nil))}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "inv1"})
	resp, err := h.Handle(ctx, events.SQSEvent{Records: []events.SQSMessage{
		message("a", "g1", "x"), message("b", "g2", "x"), message("c", "g2", "x"), message("d", "g1", "x"), message("e", "g3", "panic"),
	}})
	var failed []string
	for _, f := range resp.BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	if err != nil || strings.Join(failed, "") != "bce" {
		t.Fatalf("%v %v", failed, err)
	}
	if want := map[string]time.Duration{"h-b": 7 * time.Second, "h-c": 7 * time.Second, "h-e": panicRetry}; !reflect.DeepEqual(v.calls, want) {
		t.Fatalf("%v", v.calls)
	}
	if len(r.got) != 3 || r.got[2].ID != "d" || r.got[0].Receive != 3 || r.got[0].Owner != "inv1" || string(r.got[0].Body) != "x" {
		t.Fatalf("%+v", r.got)
	}
	if !c.at.Equal(time.UnixMilli(1772600767000)) || strings.Contains(log.String(), "secret in") {
		t.Fatalf("%v %s", c.at, log)
	}
}

func TestVisibilityFailureStillHandsBack(t *testing.T) {
	r := &runner{results: map[string]turn.Result{"a": {Retry: true}}}
	h := &Handler{Turns: r, Visibility: visibility{map[string]time.Duration{}, errors.New("x")}, Clock: &clock{}, Log: slog.New(slog.DiscardHandler)}
	m := message("a", "g", "x")
	m.Attributes = nil
	resp, err := h.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{m}})
	if err != nil || len(resp.BatchItemFailures) != 1 || r.got[0].Receive != 1 || r.got[0].Owner != "h-a" {
		t.Fatalf("%+v %v", resp, err)
	}
	if resp, _ := h.Handle(t.Context(), events.SQSEvent{}); resp.BatchItemFailures == nil {
		t.Fatal("an absent list would mean that the whole batch failed to some readers")
	}
}

// TestUnpricedIsLogged: the line that an alarm is made of is written for a missing
// price, and for no other error.
func TestUnpricedIsLogged(t *testing.T) {
	var log bytes.Buffer
	m := metered{log: slog.New(slog.NewJSONHandler(&log, nil))}
	m.unpriced(t.Context(), "acme", nil)
	m.unpriced(t.Context(), "acme", fault.New(fault.InsufficientCredits, "x", "y"))
	if log.Len() > 0 {
		t.Fatalf("%s", log.String())
	}
	m.unpriced(t.Context(), "acme", fault.New(fault.PriceMissing, "x", "y"))
	for _, metric := range topology.Metrics() {
		if metric.Name == topology.UnpricedMetric && (!strings.Contains(log.String(), `"msg":"`+metric.Message+`"`) || !strings.Contains(log.String(), `"org":"acme"`)) {
			t.Errorf("%s is not logged: %s", metric.Name, log.String())
		}
	}
}

// TestReceptions: the turn knows when the queue gives a message up.
func TestReceptions(t *testing.T) {
	for _, f := range topology.Functions() {
		if f.Name == topology.Turn && f.Queue.MaxReceive != turn.Receptions {
			t.Errorf("the queue delivers %d times, the turn counts to %d", f.Queue.MaxReceive, turn.Receptions)
		}
	}
}

// TestAlarmsOfTheAudit: the lines that alarms are made of, for nothing else.
func TestAlarmsOfTheAudit(t *testing.T) {
	of := map[string]turn.Code{topology.TurnAlarm: turn.TenantGuard, topology.GaveUpMetric: turn.GaveUp}
	for _, m := range topology.Metrics() {
		if of[m.Name] == "" {
			continue
		}
		for _, code := range []turn.Code{turn.TenantGuard, turn.GaveUp, turn.Done, turn.Retry, turn.Ended} {
			want := 0
			if code == of[m.Name] {
				want = 1
			}
			var log bytes.Buffer
			auditLog{slog.New(slog.NewJSONHandler(&log, nil))}.Record(t.Context(), turn.Event{Code: code, Install: "i1"})
			if got := strings.Count(log.String(), `"msg":"`+m.Message+`"`); got != want || !strings.Contains(log.String(), `"msg":"audit"`) {
				t.Errorf("%s: %s", code, log.String())
			}
		}
	}
}
