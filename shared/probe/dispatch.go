package probe

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/topology"
)

// maxPerRun bounds the connections that one run of sweep hands over.
const maxPerRun = 4 * MaxBatch

// Queue lists connections whose next probe is due.
type Queue interface {
	// DueProbes lists the connections that were due first, at most limit. It may
	// be some seconds behind.
	DueProbes(ctx context.Context, now time.Time, limit int) ([]connection.Name, error)
}

// AsyncInvoker hands an event to a function and does not wait.
type AsyncInvoker interface {
	InvokeAsync(ctx context.Context, function string, payload []byte) error
}

// Dispatcher hands what is due to the function conform.
type Dispatcher struct {
	Queue   Queue
	Invoker AsyncInvoker
}

// Run hands over what is due at now and returns how many connections that were,
// also with an error. What is handed over twice is probed once.
func (d Dispatcher) Run(ctx context.Context, now time.Time) (int, error) {
	due, err := d.Queue.DueProbes(ctx, now, maxPerRun)
	if err != nil {
		return 0, err
	}
	n := 0
	for batch := range slices.Chunk(due, MaxBatch) {
		refs := make([]Ref, len(batch))
		for i, c := range batch {
			refs[i] = Ref{c.Org, c.ID}
		}
		payload, err := json.Marshal(Event{Batch: refs, At: now})
		if err != nil {
			return n, fault.Wrap(fault.Internal, "probe.Run", "internal error, try again later", err)
		}
		if err := d.Invoker.InvokeAsync(ctx, topology.Conform, payload); err != nil {
			return n, err
		}
		n += len(batch)
	}
	return n, nil
}
