package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// fakeAlerts fails for organisations, and tells of those that are low.
type fakeAlerts struct{ failed map[string]error }

func (f fakeAlerts) Check(_ context.Context, entries []credit.Entry, _ time.Time) (fresh []outbox.Event, failed map[string]error) {
	for _, e := range entries {
		if e.Org == "low" {
			fresh = append(fresh, outbox.Event{ID: "al_1", Type: outbox.TypeLow})
		}
	}
	return fresh, f.failed
}

// TestMissed: entries that the stream lost are told as settle would have; only what
// was told and looked at counts as done.
func TestMissed(t *testing.T) {
	down := fault.New(fault.LedgerUnavailable, "", "")
	for name, c := range map[string]struct {
		failed map[string]error
		send   error
		want   error
	}{
		"told":             {},
		"not told":         {send: errors.New("down"), want: errors.New("down")},
		"not looked at":    {failed: map[string]error{"acme": down}, want: down},
		"cannot be looked": {failed: map[string]error{"acme": fault.New(fault.Internal, "", "")}},
	} {
		out := &fakeEvents{err: c.send}
		m := &Missed{Alerts: fakeAlerts{c.failed}, Outbox: out, Stage: "test"}
		err := m.Tell(t.Context(), []credit.Entry{{ID: "e_1", Org: "acme", Amount: -1}, {ID: "e_2", Org: "low", Amount: -1}}, time.Unix(9, 0))
		if (err == nil) != (c.want == nil) || err != nil && err.Error() != c.want.Error() {
			t.Errorf("%s: %v", name, err)
		}
		if len(out.sent) != 2 || out.sent[0].ID != "e_1" || out.sent[1].Type != outbox.TypeEntry || len(out.kept) != 1 {
			t.Errorf("%s: sent %v, kept %v", name, out.sent, out.kept)
		}
	}
}
