package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/topology"
)

// fakeLedger gives each request the verdict that its name asks for.
type fakeLedger struct {
	settled, projected []string
	poison             []credit.Poison
	poisonErr          error
	now                time.Time
	measured           []string
	measureErr         error
	soon               []string
}

func (f *fakeLedger) ReviewSoon(_ context.Context, org string, _ time.Time) error {
	f.soon = append(f.soon, org)
	return nil
}

func (f *fakeLedger) Reshape(_ context.Context, b credit.Busy, now time.Time) (credit.Load, bool, error) {
	f.measured = append(f.measured, fmt.Sprint(b.Org, " ", b.LargestHold, " ", b.Before.Reserves, " ", now.Unix()))
	return credit.Load{Reserves: now.Unix()}, true, f.measureErr
}

func (f *fakeLedger) Settle(_ context.Context, used []credit.Used, now time.Time) (r credit.SettleReport) {
	f.now = now
	for _, u := range used {
		f.settled = append(f.settled, u.Request)
		r.Verdicts = append(r.Verdicts, verdict(u.Request))
	}
	return r
}

func (f *fakeLedger) Project(_ context.Context, entries []credit.Entry, _ time.Time) (r credit.SettleReport) {
	for _, e := range entries {
		f.projected = append(f.projected, e.Request)
		r.Verdicts = append(r.Verdicts, verdict(e.Request))
	}
	return r
}

func (f *fakeLedger) Poison(_ context.Context, p credit.Poison) error {
	f.poison = append(f.poison, p)
	return f.poisonErr
}

func verdict(request string) credit.Verdict {
	switch {
	case strings.HasPrefix(request, "undecided"):
		return credit.Verdict{Result: credit.Undecided}
	case strings.HasPrefix(request, "poison"):
		return credit.Verdict{Result: credit.Poisoned, Reason: "entry_exists"}
	}
	return credit.Verdict{Result: credit.Applied}
}

// decode reads the test's own record form: the event name is the kind, the event
// id the request.
func decode(r *events.DynamoDBEventRecord) (credit.Change, error) {
	switch r.EventName {
	case "used":
		return credit.Change{Kind: credit.ChangeUsed, Used: credit.Used{Request: r.EventID}}, nil
	case "entry":
		return credit.Change{Kind: credit.ChangeEntry, Entry: credit.Entry{Request: r.EventID}}, nil
	case "bad":
		return credit.Change{PK: r.EventID}, errors.New("unreadable")
	}
	return credit.Change{}, nil
}

func event(records ...string) events.DynamoDBEvent {
	var ev events.DynamoDBEvent
	for i, r := range records {
		name, id, _ := strings.Cut(r, ":")
		rec := events.DynamoDBEventRecord{EventName: name, EventID: id}
		rec.Change.SequenceNumber = "seq" + string(rune('0'+i))
		ev.Records = append(ev.Records, rec)
	}
	return ev
}

func TestHandle(t *testing.T) {
	for name, c := range map[string]struct {
		records   []string
		poisonErr error
		failed    string
		log       string
	}{
		"all done":             {records: []string{"used:a", "other:x", "entry:b"}},
		"first undecided only": {records: []string{"used:a", "entry:undecided1", "used:undecided2", "used:undecided3", "used:z"}, failed: "seq1"},
		"later used is first":  {records: []string{"entry:a", "used:undecided", "entry:undecided"}, failed: "seq1"},
		"poison never blocks":  {records: []string{"used:poison", "entry:poison", "used:a"}, log: "entry_exists"},
		"bad image":            {records: []string{"bad:R#x", "used:a"}, log: "unreadable"},
		"bad image not kept":   {records: []string{"used:a", "bad:R#x", "used:undecided"}, poisonErr: fault.New(fault.LedgerUnavailable, "", ""), failed: "seq1"},
		"empty":                {},
	} {
		ledger := &fakeLedger{poisonErr: c.poisonErr}
		var log bytes.Buffer
		h := &Handler{Ledger: ledger, Decode: decode, Now: func() time.Time { return time.Unix(99, 0) }, Feed: feed(&fakeFeed{}), Log: slog.New(slog.NewTextHandler(&log, nil))}
		resp, err := h.Handle(t.Context(), event(c.records...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		failed := ""
		for _, f := range resp.BatchItemFailures {
			failed += f.ItemIdentifier
		}
		if failed != c.failed {
			t.Errorf("%s: failed %q, want %q", name, failed, c.failed)
		}
		if !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: log %s", name, log.String())
		}
		want := 0
		for _, r := range c.records {
			if strings.HasPrefix(r, "used:") {
				want++
			}
		}
		if len(ledger.settled) != want {
			t.Errorf("%s: settled %v", name, ledger.settled)
		}
		if name == "bad image" && (len(ledger.poison) != 1 || ledger.poison[0].PK != "R#x" || ledger.poison[0].SK != "unknown") {
			t.Errorf("%s: %+v", name, ledger.poison)
		}
	}
}

// TestChargedIsLogged: the line that an alarm is made of sums what was charged, not
// what was left or refused.
func TestChargedIsLogged(t *testing.T) {
	var log bytes.Buffer
	amount := func(r *events.DynamoDBEventRecord) (credit.Change, error) {
		c, err := decode(r)
		c.Used.Amount = 7
		return c, err
	}
	h := &Handler{Ledger: &fakeLedger{}, Decode: amount, Now: func() time.Time { return time.Unix(99, 0) }, Feed: feed(&fakeFeed{}), Log: slog.New(slog.NewJSONHandler(&log, nil))}
	if _, err := h.Handle(t.Context(), event("used:a", "used:poison", "used:undecided", "used:b")); err != nil {
		t.Fatal(err)
	}
	for _, m := range topology.Metrics() {
		if m.Function == topology.Settle && !strings.Contains(log.String(), `"msg":"`+m.Message+`","`+m.Field+`":14,`) {
			t.Errorf("%s is not logged: %s", m.Name, log.String())
		}
	}
}

// TestHandleClock: now comes from the records, so that a shifted stack agrees.
func TestHandleClock(t *testing.T) {
	ledger := &fakeLedger{}
	h := &Handler{Ledger: ledger, Decode: decode, Now: func() time.Time { return time.Unix(99, 0) }, Feed: feed(&fakeFeed{}), Log: slog.New(slog.DiscardHandler)}
	ev := event("used:a", "used:b")
	if _, _ = h.Handle(t.Context(), ev); !ledger.now.Equal(time.Unix(99, 0)) {
		t.Errorf("without times: %v", ledger.now)
	}
	newest := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	ev.Records[0].Change.ApproximateCreationDateTime = events.SecondsEpochTime{Time: newest}
	ev.Records[1].Change.ApproximateCreationDateTime = events.SecondsEpochTime{Time: newest.Add(-time.Hour)}
	if _, _ = h.Handle(t.Context(), ev); !ledger.now.Equal(newest) {
		t.Errorf("with times: %v", ledger.now)
	}
}

// TestFit: of which several attempts come by is measured, with its largest hold,
// once in some seconds; a measurement that fails fails nothing.
func TestFit(t *testing.T) {
	ledger := &fakeLedger{measureErr: fault.New(fault.LedgerUnavailable, "", "")}
	decode := func(r *events.DynamoDBEventRecord) (credit.Change, error) {
		return credit.Change{Kind: credit.ChangeUsed, Used: credit.Used{Org: r.EventName, Request: r.EventID, Hold: credit.Micro(len(r.EventID))}}, nil
	}
	now := time.Unix(100, 0)
	h := &Handler{Ledger: ledger, Decode: decode, Now: func() time.Time { return now }, Feed: feed(&fakeFeed{}), Log: slog.New(slog.DiscardHandler)}
	deliver := func(records ...string) {
		t.Helper()
		resp, err := h.Handle(t.Context(), event(records...))
		if err != nil || len(resp.BatchItemFailures) != 0 {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	deliver("hot:a", "hot:bbb", "calm:c", "hot:d")
	deliver("hot:ee", "hot:ffffff", "hot:g", "hot:h", "hot:i", "calm:j", "calm:k")
	now = now.Add(time.Second)
	deliver("hot:l")
	now = now.Add(time.Second)
	deliver("hot:m")
	now = now.Add(time.Hour)
	deliver("calm:n")
	if want := []string{"hot 3 0 100", "hot 6 100 102"}; !slices.Equal(ledger.measured, want) {
		t.Fatalf("measured %q", ledger.measured)
	}
}
