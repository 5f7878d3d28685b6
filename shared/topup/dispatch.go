package topup

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Event hands standing orders to the function that sells: nobody else has the
// payment vendor's key. Nothing in it decides anything: each order is read anew.
type Event struct {
	Replenish []string  `json:"replenish"`
	At        time.Time `json:"at"`
}

// MaxBatch bounds the orders of one event.
const MaxBatch = 50

// ParseEvent reads an event of [Dispatcher]; ours is false for what is none.
// Errors: invalid_request.
func ParseEvent(raw []byte) (ev Event, ours bool, err error) {
	const op = "topup.ParseEvent"
	var probe struct {
		Replenish json.RawMessage `json:"replenish"`
	}
	if json.Unmarshal(raw, &probe) != nil || probe.Replenish == nil {
		return Event{}, false, nil
	}
	if json.Unmarshal(raw, &ev) != nil || len(ev.Replenish) == 0 || len(ev.Replenish) > MaxBatch || ev.At.IsZero() {
		return Event{}, true, fault.New(fault.InvalidRequest, op, "the event has 1 to 50 organisations and a time")
	}
	for _, org := range ev.Replenish {
		if !table.ValidID(org) {
			return Event{}, true, fault.New(fault.InvalidRequest, op, "the event names no organisation")
		}
	}
	return ev, true, nil
}

// Queue lists standing orders; shared/dynamo implements it.
type Queue interface {
	// DueReplenish lists organisations of a bucket whose order is on and may buy
	// at now, or has a payment under way; after goes on where next ended, next is
	// "" at the end. It may be some seconds behind.
	DueReplenish(ctx context.Context, bucket int, now time.Time, after string, limit int) (orgs []string, next string, err error)
}

// Dispatcher hands standing orders to the function that sells. It reads which
// ones there are, and no balance.
type Dispatcher struct {
	Queue Queue
	// Start hands an event to the function.
	Start func(ctx context.Context, event []byte) error
	Log   *slog.Logger
}

// Wake hands over every order once. What is handed over twice is looked at twice
// and paid once. A failure is logged and left to the next run.
func (d *Dispatcher) Wake(ctx context.Context, now time.Time) {
	for bucket := range table.AllReplenishBuckets() {
		for after, more := "", true; more; more = after != "" {
			orgs, next, err := d.Queue.DueReplenish(ctx, bucket, now, after, MaxBatch)
			if err == nil {
				err = d.hand(ctx, orgs, now)
			}
			if err != nil {
				d.Log.ErrorContext(ctx, "standing orders not handed over", "code", string(fault.CodeOf(err)))
				return
			}
			after = next
		}
	}
}

func (d *Dispatcher) hand(ctx context.Context, orgs []string, now time.Time) error {
	if len(orgs) == 0 {
		return nil
	}
	payload, err := json.Marshal(Event{Replenish: slices.Compact(orgs), At: now})
	if err != nil {
		return err
	}
	return d.Start(ctx, payload)
}
