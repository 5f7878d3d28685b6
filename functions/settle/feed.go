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

// tell sends an event for every entry of the batch and looks at the balances that
// they moved. It returns the entries for which all of that was done, and their
// records; the others are delivered again.
func (f *Feed) tell(ctx context.Context, b *batch, now time.Time) (told []credit.Entry, at []int) {
	if len(b.entries) == 0 {
		return nil, nil
	}
	fresh, failed := f.Alerts.Check(ctx, b.entries, now)
	if len(fresh) > 0 {
		f.Log.InfoContext(ctx, "alerts", "alerts", len(fresh))
		f.Outbox.SendKept(ctx, fresh)
	}
	events := make([]outbox.Event, len(b.entries))
	for i, e := range b.entries {
		events[i] = outbox.EntryEvent(f.Stage, e)
	}
	if !f.send(ctx, events) {
		b.fail(b.entriesAt...)
		return nil, nil
	}
	for i, e := range b.entries {
		if err := failed[e.Org]; err != nil && e.Amount != 0 {
			f.Log.WarnContext(ctx, "balance not looked at", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
			// An item that cannot be read stays so; the entry has been told.
			if fault.CodeOf(err) != fault.Internal {
				b.fail(b.entriesAt[i])
				continue
			}
		}
		told, at = append(told, e), append(at, b.entriesAt[i])
	}
	return told, at
}

// anomalies tells of what cannot be processed.
func (f *Feed) anomalies(ctx context.Context, b *batch) {
	events := make([]outbox.Event, len(b.poison))
	for i, p := range b.poison {
		events[i] = outbox.AnomalyEvent(f.Stage, p)
	}
	if !f.send(ctx, events) {
		b.fail(b.poisonAt...)
	}
}

func (f *Feed) send(ctx context.Context, events []outbox.Event) bool {
	if len(events) == 0 {
		return true
	}
	err := f.Outbox.Send(ctx, events)
	if err != nil {
		f.Log.ErrorContext(ctx, "events neither sent nor kept", "events", len(events), "code", string(fault.CodeOf(err)))
	}
	return err == nil
}
