package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
)

// Rotations keeps the vault's jobs going: a job whose worker died or ran out of
// time gets the next one within a minute. It reads jobs and no credentials.
type Rotations struct {
	Store rotation.Store
	// Start hands an event to the rotate function.
	Start func(ctx context.Context, event []byte) error
	Log   *slog.Logger
}

// pruneMinute is the minute of the hour in which ended overlaps are removed.
const pruneMinute = 17

// Wake starts the rotate function if there is something for it to do. A failure
// is logged and left to the next minute: it must not stop the ledger's sweep.
func (r *Rotations) Wake(ctx context.Context, now time.Time) {
	prune := now.UTC().Minute() == pruneMinute
	waiting, err := rotation.Waiting(ctx, r.Store, now)
	if err == nil && (waiting || prune) {
		var event []byte
		if event, err = json.Marshal(map[string]any{"at": now.UTC(), "prune": prune}); err == nil {
			err = r.Start(ctx, event)
		}
	}
	if err != nil {
		r.Log.ErrorContext(ctx, "rotate was not started", "code", string(fault.CodeOf(err)))
	}
}
