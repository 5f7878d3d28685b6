package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// fakeFeed keeps what it was given.
type fakeFeed struct {
	sent, kept []string
	failed     map[string]error
	sendErr    error
}

func feed(f *fakeFeed) *Feed {
	return &Feed{Alerts: f, Outbox: f, Stage: "test", Log: slog.New(slog.DiscardHandler)}
}

func (f *fakeFeed) Check(_ context.Context, entries []credit.Entry, _ time.Time) ([]outbox.Event, map[string]error) {
	var fresh []outbox.Event
	for _, e := range entries {
		if e.Org == "low" {
			fresh = append(fresh, outbox.Event{ID: "al_1", Type: outbox.TypeLow})
		}
	}
	return fresh, f.failed
}

func (f *fakeFeed) Send(_ context.Context, list []outbox.Event) error {
	for _, e := range list {
		f.sent = append(f.sent, e.Type+" "+e.ID)
	}
	return f.sendErr
}

func (f *fakeFeed) SendKept(_ context.Context, list []outbox.Event) {
	for _, e := range list {
		f.kept = append(f.kept, e.ID)
	}
}

// TestMarkedLast: an entry is projected, which marks it, only after all else was done
// for it; what was not is looked at by the next review of its organisation.
func TestMarkedLast(t *testing.T) {
	entries := func(r *events.DynamoDBEventRecord) (credit.Change, error) {
		org, request, _ := strings.Cut(r.EventID, "/")
		return credit.Change{Kind: credit.ChangeEntry, Entry: credit.Entry{ID: "e_" + request, Org: org, Request: request, Amount: -1}}, nil
	}
	down := fault.New(fault.LedgerUnavailable, "", "")
	for name, c := range map[string]struct {
		feed            fakeFeed
		projected, soon string
	}{
		"all done":           {projected: "a b undecided", soon: "other"},
		"not told":           {feed: fakeFeed{sendErr: down}, soon: "acme other"},
		"a balance not read": {feed: fakeFeed{failed: map[string]error{"acme": down}}, projected: "undecided", soon: "acme other"},
		"a broken level":     {feed: fakeFeed{failed: map[string]error{"acme": fault.New(fault.Internal, "", "")}}, projected: "a b undecided", soon: "other"},
	} {
		ledger := &fakeLedger{}
		h := &Handler{Ledger: ledger, Decode: entries, Feed: feed(&c.feed), Now: func() time.Time { return time.Unix(99, 0) }, Log: slog.New(slog.DiscardHandler)}
		if _, err := h.Handle(t.Context(), event("entry:acme/a", "entry:acme/b", "entry:other/undecided")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ledger.projected, " "); got != c.projected {
			t.Errorf("%s: projected %q, want %q", name, got, c.projected)
		}
		if got := strings.Join(ledger.soon, " "); got != c.soon {
			t.Errorf("%s: looked at soon %q, want %q", name, got, c.soon)
		}
	}
}

// TestFeed: every entry is told, whatever becomes of its row; poison is told as an
// anomaly; what could not be told is delivered again.
func TestFeed(t *testing.T) {
	entries := func(r *events.DynamoDBEventRecord) (credit.Change, error) {
		org, request, _ := strings.Cut(r.EventID, "/")
		if r.EventName == "entry" {
			return credit.Change{Kind: credit.ChangeEntry, Entry: credit.Entry{ID: "e_" + request, Org: org, Request: request, Amount: -1}}, nil
		}
		return decode(r)
	}
	for name, c := range map[string]struct {
		records    []string
		feed       fakeFeed
		sent, kept int
		anomalies  int
		failed     string
	}{
		"entries":               {records: []string{"entry:acme/a", "used:b", "entry:acme/undecided"}, sent: 2, failed: "seq2"},
		"poison":                {records: []string{"used:poison", "bad:R#x", "entry:acme/poison"}, sent: 4, anomalies: 3},
		"an alert":              {records: []string{"entry:low/a"}, sent: 1, kept: 1},
		"a balance not read":    {records: []string{"entry:acme/a", "entry:other/b"}, feed: fakeFeed{failed: map[string]error{"other": fault.New(fault.LedgerUnavailable, "", "")}}, sent: 2, failed: "seq1"},
		"a level that is wrong": {records: []string{"entry:acme/a"}, feed: fakeFeed{failed: map[string]error{"acme": fault.New(fault.Internal, "", "")}}, sent: 1},
		"not told":              {records: []string{"used:a", "bad:R#x", "entry:acme/b"}, feed: fakeFeed{sendErr: errors.New("down")}, sent: 2, anomalies: 1, failed: "seq1"},
		"nothing to tell":       {records: []string{"used:a"}, feed: fakeFeed{sendErr: errors.New("down")}},
	} {
		h := &Handler{Ledger: &fakeLedger{}, Decode: entries, Feed: feed(&c.feed), Now: func() time.Time { return time.Unix(99, 0) }, Log: slog.New(slog.DiscardHandler)}
		resp, err := h.Handle(t.Context(), event(c.records...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		failed := ""
		for _, f := range resp.BatchItemFailures {
			failed += f.ItemIdentifier
		}
		anomalies := len(slices.DeleteFunc(slices.Clone(c.feed.sent), func(s string) bool { return !strings.HasPrefix(s, outbox.TypeAnomaly) }))
		if failed != c.failed || len(c.feed.sent) != c.sent || len(c.feed.kept) != c.kept || anomalies != c.anomalies {
			t.Errorf("%s: failed %q, sent %v, kept %v", name, failed, c.feed.sent, c.feed.kept)
		}
	}
}
