package main

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// Missed tells of entries that the stream lost, as settle tells of the others.
type Missed struct {
	// Alerts finds balances that run low.
	Alerts interface {
		Check(ctx context.Context, entries []credit.Entry, now time.Time) (fresh []outbox.Event, failed map[string]error)
	}
	Outbox interface {
		Send(ctx context.Context, events []outbox.Event) error
		SendKept(ctx context.Context, events []outbox.Event)
	}
	Stage string
}

// Tell sends an event for every entry. Whatever fails, they are told again.
func (m *Missed) Tell(ctx context.Context, entries []credit.Entry, now time.Time) error {
	fresh, failed := m.Alerts.Check(ctx, entries, now)
	if len(fresh) > 0 {
		m.Outbox.SendKept(ctx, fresh)
	}
	events := make([]outbox.Event, len(entries))
	for i, e := range entries {
		events[i] = outbox.EntryEvent(m.Stage, e)
	}
	if err := m.Outbox.Send(ctx, events); err != nil {
		return err
	}
	for _, err := range failed {
		// An item that cannot be read stays so; the entries have been told.
		if fault.CodeOf(err) != fault.Internal {
			return err
		}
	}
	return nil
}
