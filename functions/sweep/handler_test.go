package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

type fakeSweeper struct {
	now    time.Time
	report credit.SweepReport

	ended   int
	endErr  error
	endedAt time.Time

	closed   credit.CloseReport
	closeErr error
	closedAt time.Time

	err   error
	block bool
}

func (f *fakeSweeper) Sweep(ctx context.Context, now time.Time, _, budget int) (credit.SweepReport, error) {
	f.now = now
	if f.block {
		<-ctx.Done()
		return f.report, ctx.Err()
	}
	if budget <= 0 {
		return f.report, fault.New(fault.Internal, "test", "unbounded")
	}
	return f.report, f.err
}

func (f *fakeSweeper) ExpireGrants(_ context.Context, now time.Time) (int, error) {
	f.endedAt = now
	return f.ended, f.endErr
}

func (f *fakeSweeper) CloseMonths(_ context.Context, now time.Time) (credit.CloseReport, error) {
	f.closedAt = now
	return f.closed, f.closeErr
}

type fakeProber struct {
	now time.Time
	n   int
	err error
}

func (f *fakeProber) Run(_ context.Context, now time.Time) (int, error) {
	f.now = now
	return f.n, f.err
}

func (f *fakeEvents) SendKept(_ context.Context, events []outbox.Event) {
	f.kept = append(f.kept, events...)
}

type fakeEvents struct {
	flushed int
	kept    []outbox.Event
	sent    []outbox.Event
	err     error
}

func (f *fakeEvents) Send(_ context.Context, events []outbox.Event) error {
	f.sent = append(f.sent, events...)
	return f.err
}

func (f *fakeEvents) Flush(_ context.Context, budget int) (int, bool, error) {
	f.flushed += budget
	return 3, true, f.err
}

type fakeDrains struct {
	at  time.Time
	n   int
	err error
}

func (f *fakeDrains) Finish(_ context.Context, now time.Time) (int, error) {
	f.at = now
	return f.n, f.err
}

type fakeWake struct{ at time.Time }

func (f *fakeWake) Wake(_ context.Context, now time.Time) { f.at = now }

func TestHandle(t *testing.T) {
	var ev events.CloudWatchEvent
	if err := json.Unmarshal([]byte(`{"time":"2026-01-02T03:04:00Z"}`), &ev); err != nil {
		t.Fatal(err)
	}
	f := &fakeSweeper{report: credit.SweepReport{Expired: 1, Settled: 2, Released: 3, Complete: true, Unbilled: 7, Left: 8,
		Found: []credit.Poison{{PK: "R#o#r", SK: "REQ", Reason: "balance_refused", At: ev.Time}}}, ended: 5, closed: credit.CloseReport{Closed: 6}}
	probes, woken, orders, kept := &fakeProber{n: 4}, &fakeWake{}, &fakeWake{}, &fakeEvents{err: fault.New(fault.LedgerUnavailable, "test", "down")}
	drains := &fakeDrains{n: 9}
	waiting := &fakeDrains{n: 10}
	h := &Handler{Ledger: f, Drains: drains, Approvals: waiting, Probes: probes, Rotations: woken, Replenish: orders, Events: kept, Log: slog.New(slog.DiscardHandler)}
	a, err := h.Handle(t.Context(), ev)
	if err != nil || !f.now.Equal(time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)) {
		t.Fatalf("%v at %v", err, f.now)
	}
	if kept.flushed != eventBudget {
		t.Errorf("flushed %d", kept.flushed)
	}
	if len(kept.sent) != 1 || kept.sent[0].Type != outbox.TypeAnomaly {
		t.Errorf("told %+v", kept.sent)
	}
	if !woken.at.Equal(f.now) || !orders.at.Equal(f.now) {
		t.Errorf("jobs were woken at %v, standing orders at %v", woken.at, orders.at)
	}
	if raw, _ := json.Marshal(a); string(raw) != `{"expired":1,"settled":2,"released":3,"grants_expired":5,"probes":4,"months_closed":6,"unbilled":7,"poison":8,"drained":9,"approvals":10}` {
		t.Errorf("answer: %s", raw)
	}
	if _, err := h.Handle(t.Context(), events.CloudWatchEvent{}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("no time: %v", err)
	}
	// Drains that cannot be ended fail nothing else.
	drains.n, drains.err = 1, fault.New(fault.LedgerUnavailable, "test", "down")
	if a, err := h.Handle(t.Context(), ev); err != nil || a.Drained != 1 || !drains.at.Equal(f.now) {
		t.Errorf("drains down: %+v %v at %v", a, err, drains.at)
	}
	waiting.n, waiting.err = 1, fault.New(fault.Unavailable, "test", "down")
	if a, err := h.Handle(t.Context(), ev); err != nil || a.Approvals != 1 || !waiting.at.Equal(f.now) {
		t.Errorf("decisions down: %+v %v at %v", a, err, waiting.at)
	}
	// Probes that cannot be handed over do not undo what the ledger did.
	probes.n, probes.err = 1, fault.New(fault.Unavailable, "test", "down")
	if a, err := h.Handle(t.Context(), ev); err != nil || a.Expired != 1 || a.Probes != 1 || !probes.now.Equal(f.now) {
		t.Errorf("probes down: %+v %v at %v", a, err, probes.now)
	}
	// Grants that cannot be ended do not keep holds from being swept.
	f.endErr = fault.New(fault.LedgerUnavailable, "test", "down")
	if a, err := h.Handle(t.Context(), ev); fault.CodeOf(err) != fault.LedgerUnavailable || a.Expired != 1 || a.GrantsExpired != 5 || !f.endedAt.Equal(f.now) {
		t.Errorf("grants down: %+v %v", a, err)
	}
	// Nor does a month that cannot be closed fail the run.
	f.endErr, f.closeErr = nil, fault.New(fault.LedgerUnavailable, "test", "down")
	if a, err := h.Handle(t.Context(), ev); err != nil || a.MonthsClosed != 6 || !f.closedAt.Equal(f.now) {
		t.Errorf("months down: %+v %v", a, err)
	}
	f.closeErr, f.err = nil, fault.New(fault.LedgerUnavailable, "test", "down")
	if _, err := h.Handle(t.Context(), ev); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Errorf("down: %v", err)
	}
	// Out of time: what was done is answered, the next run goes on.
	f.err, f.block = nil, true
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(sweepReserve+20*time.Millisecond))
	defer cancel()
	if a, err := h.Handle(ctx, ev); err != nil || a.Expired != 1 || ctx.Err() != nil {
		t.Errorf("out of time: %+v %v", a, err)
	}
}

// TestMetricsAreLogged: the lines that alarms are made of have their fields, with the
// figures that are meant.
func TestMetricsAreLogged(t *testing.T) {
	var log bytes.Buffer
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	report := credit.SweepReport{Left: 3, Poisoned: 4, Unbilled: 5, UnbilledAtMost: 6}
	means := map[string]float64{topology.PoisonMetric: 3, topology.UnbilledMetric: 6}
	h := &Handler{Ledger: &fakeSweeper{report: report, closed: credit.CloseReport{Mismatches: []credit.Mismatch{{Org: "o", What: "posted"}}}}, Probes: &fakeProber{}, Rotations: &fakeWake{}, Replenish: &fakeWake{}, Drains: &fakeDrains{}, Approvals: &fakeDrains{},
		Events: &fakeEvents{}, Log: slog.New(slog.NewJSONHandler(&log, nil))}
	if _, err := h.Handle(t.Context(), events.CloudWatchEvent{Time: at}); err != nil {
		t.Fatal(err)
	}
	for _, m := range topology.Metrics() {
		found := m.Function != topology.Sweep
		for line := range strings.Lines(log.String()) {
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == m.Message {
				value, number := fields[m.Field].(float64)
				found = number && value == means[m.Name] || m.Field == ""
			}
		}
		if !found {
			t.Errorf("nothing logs %s: %s", m.Name, log.String())
		}
	}
}

// TestStartOf: runs that never finish still start everywhere within an hour or so.
func TestStartOf(t *testing.T) {
	seen := map[int]bool{}
	for i := range len(table.AllHoldBuckets()) {
		s := startOf(time.Unix(int64(i)*60+1_000_000_000, 0))
		if s < 0 || s >= len(table.AllHoldBuckets()) {
			t.Fatalf("start %d", s)
		}
		seen[s] = true
	}
	if len(seen) != len(table.AllHoldBuckets()) {
		t.Errorf("%d of %d partitions are started at", len(seen), len(table.AllHoldBuckets()))
	}
}
