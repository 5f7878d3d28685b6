package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// Watcher finds balances that run low; [alert.Watch] implements it.
type Watcher interface {
	Check(ctx context.Context, entries []credit.Entry, now time.Time) (fresh []outbox.Event, failed map[string]error)
}

// Sender puts events on the bus; [outbox.Outbox] implements it.
type Sender interface {
	Send(ctx context.Context, events []outbox.Event) error
	SendKept(ctx context.Context, events []outbox.Event)
}

// Feed tells the outside what a batch did.
type Feed struct {
	Alerts Watcher
	Outbox Sender
	Stage  string
	Log    *slog.Logger
}

// tell sends an event for every entry of the batch, also for one whose row is not
// written yet: its record may be given up before that, and an entry must be told
// at least once. What could be neither sent nor kept, and organisations whose
// balance could not be looked at, are delivered again.
func (f *Feed) tell(ctx context.Context, b *batch, now time.Time) {
	fresh, failed := f.Alerts.Check(ctx, b.entries, now)
	if len(fresh) > 0 {
		f.Log.InfoContext(ctx, "alerts", "alerts", len(fresh))
		f.Outbox.SendKept(ctx, fresh)
	}
	for i, e := range b.entries {
		if err := failed[e.Org]; err != nil && e.Amount != 0 {
			f.Log.WarnContext(ctx, "balance not looked at", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
			// An item that cannot be read stays so; the entry is told all the same.
			if fault.CodeOf(err) != fault.Internal {
				b.fail(b.entriesAt[i])
			}
		}
	}
	events := make([]outbox.Event, 0, len(b.entries)+len(b.poison))
	for _, e := range b.entries {
		events = append(events, outbox.EntryEvent(f.Stage, e))
	}
	for _, p := range b.poison {
		events = append(events, outbox.AnomalyEvent(f.Stage, p))
	}
	if len(events) == 0 {
		return
	}
	if err := f.Outbox.Send(ctx, events); err != nil {
		f.Log.ErrorContext(ctx, "events neither sent nor kept", "events", len(events), "code", string(fault.CodeOf(err)))
		for _, at := range [...][]int{b.entriesAt, b.poisonAt} {
			for _, i := range at {
				b.fail(i)
			}
		}
	}
}
