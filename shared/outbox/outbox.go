// Package outbox tells the outside what happened in the ledger: every entry,
// every alert about a balance and everything that settlement could not process
// becomes an event on the stage's event bus.
//
// Guarantee: an event is put on the bus at least once. What the bus does not take
// is kept in a table and sent by the next sweep; only if that fails, too, [Outbox.Send]
// returns an error, upon which the caller must come back with the same events.
// The id of an event ("id" in its detail) is derived from what it tells, so a
// repeat has the same id and consumers drop it by that.
//
// Flow: settle builds events ([EntryEvent] and its like) -> [Outbox.Send] -> bus,
// or table; sweep -> [Outbox.Flush] -> bus. The answer of the bus is read entry by
// entry: a request that succeeds can hold entries that failed.
//
// Limits: events arrive in no order; a refusal that no repeat can change (none is
// known) keeps its event in the table, where every sweep reports it.
package outbox

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Event is one message. Detail is a JSON object whose "id" is ID.
type Event struct {
	ID     string
	Type   string // the detail type
	At     time.Time
	Detail []byte
}

// Bus takes events.
type Bus interface {
	// Put offers 1 to [BatchEvents] events of together at most [BatchBytes] and
	// returns the indexes of those that were not taken. An error means that it
	// is not known whether any was.
	Put(ctx context.Context, events []Event) (refused []int, err error)
}

// Store keeps events that could not be sent.
type Store interface {
	// Keep stores events; one that is kept already stays as it is.
	Keep(ctx context.Context, events []Event) error
	// Kept returns up to limit kept events with ids above after, by id.
	Kept(ctx context.Context, after string, limit int) ([]Event, error)
	// Drop forgets events by id.
	Drop(ctx context.Context, ids []string) error
}

// Bounds of one request to a bus (EventBridge: 10 entries, 256 KB with all
// fields; user guide "Sending events with PutEvents", read 2026-11). The rest is
// left to the other fields.
const (
	BatchEvents = 10
	BatchBytes  = 240 << 10
)

// MaxDetail bounds one detail, in bytes. The longest that is built, an entry
// with every name at its bound, is a tenth of it.
const MaxDetail = 32 << 10

const (
	putTries = 3
	putLimit = 2 * time.Second // of one try
	putPause = 50 * time.Millisecond
)

// Outbox sends events. Safe for concurrent use.
type Outbox struct {
	Bus   Bus
	Store Store
	// Wait pauses before a repeat; a timer if nil.
	Wait func(context.Context, time.Duration) error
}

// Send puts events on the bus and keeps what it does not take. Errors:
// ledger_unavailable if something could be neither sent nor kept; some of the
// events may have been sent.
func (o *Outbox) Send(ctx context.Context, events []Event) error {
	left := o.put(ctx, events)
	if len(left) == 0 {
		return nil
	}
	if err := o.Store.Keep(ctx, left); err != nil {
		return fault.Wrap(fault.LedgerUnavailable, "outbox.Send", "events could be neither sent nor kept, try again", err)
	}
	return nil
}

// SendKept puts events on the bus that the store keeps already, and forgets those
// that were taken. Whatever fails is the next sweep's.
func (o *Outbox) SendKept(ctx context.Context, events []Event) {
	_ = o.Store.Drop(ctx, without(events, o.put(ctx, events))) // one left there is sent twice
}

// without lists the ids of all that are not in left.
func without(all, left []Event) (ids []string) {
	stay := make(map[string]bool, len(left))
	for _, e := range left {
		stay[e.ID] = true
	}
	for _, e := range all {
		if !stay[e.ID] {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// put offers all events, batch by batch, and returns those that were not taken.
// Behind a batch of which nothing was taken the others are not tried: the bus is
// down, and settlement must not wait for it.
func (o *Outbox) put(ctx context.Context, events []Event) (left []Event) {
	for len(events) > 0 {
		n, size := 0, 0
		for n < len(events) && n < BatchEvents && (n == 0 || size+len(events[n].Detail) <= BatchBytes) {
			size += len(events[n].Detail)
			n++
		}
		rest := o.batch(ctx, events[:n])
		left = append(left, rest...)
		if len(rest) == n {
			return append(left, events[n:]...)
		}
		events = events[n:]
	}
	return left
}

// batch offers one batch up to putTries times, each time what is left of it.
func (o *Outbox) batch(ctx context.Context, batch []Event) []Event {
	for try := range putTries {
		if try > 0 && o.wait(ctx, putPause<<try) != nil {
			return batch
		}
		limited, cancel := context.WithTimeout(ctx, putLimit)
		refused, err := o.Bus.Put(limited, batch)
		cancel()
		if err != nil {
			continue
		}
		left := make([]Event, 0, len(refused))
		for _, i := range refused {
			left = append(left, batch[i])
		}
		if batch = left; len(batch) == 0 {
			return nil
		}
	}
	return batch
}

func (o *Outbox) wait(ctx context.Context, d time.Duration) error {
	if o.Wait != nil {
		return o.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// flushPage is how many kept events are read at once.
const flushPage = 100

// Flush sends up to budget kept events. It ends at the first one that the bus
// does not take; left says that there are some. The error is that of the store.
func (o *Outbox) Flush(ctx context.Context, budget int) (sent int, left bool, err error) {
	for after := ""; sent < budget; {
		page, err := o.Store.Kept(ctx, after, min(flushPage, budget-sent))
		if err != nil || len(page) == 0 {
			return sent, false, err
		}
		after = page[len(page)-1].ID
		rest := o.put(ctx, page)
		gone := without(page, rest)
		if err := o.Store.Drop(ctx, gone); err != nil {
			return sent, true, err
		}
		if sent += len(gone); len(rest) > 0 {
			return sent, true, nil
		}
	}
	return sent, true, nil
}
