package legacytokens

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// Drains lists the organisations in draining, those that have been longest first. It
// may be a moment behind.
type Drains interface {
	Draining(ctx context.Context, now time.Time, limit int) (orgs []string, err error)
}

// drainBatch bounds the organisations that one run looks at.
const drainBatch = 100

// Finisher ends drains: credits alone pay from when the last call that the counter
// pays for has ended. Safe for concurrent use; two at once do the same work.
type Finisher struct {
	Service *Service
	Drains  Drains
	// Actor is who the audit row names, NewID makes the operation's id.
	Actor string
	NewID func(now time.Time) string
}

// Finish ends the drains that can be and returns how many. One that fails does not
// keep the others; the error is that of the first. Errors: ledger_unavailable.
func (f Finisher) Finish(ctx context.Context, now time.Time) (done int, err error) {
	orgs, err := f.Drains.Draining(ctx, now, drainBatch)
	if err != nil {
		return 0, err
	}
	for _, id := range orgs {
		finished, e := f.finish(ctx, id, now)
		if finished {
			done++
		}
		if err == nil {
			err = e
		}
	}
	return done, err
}

func (f Finisher) finish(ctx context.Context, id string, now time.Time) (bool, error) {
	c, err := f.Service.Store.Counter(ctx, id)
	if err != nil || c.Mode != org.LedgerDraining || c.Open != 0 {
		return false, err
	}
	_, err = f.Service.Change(ctx, audit.Op{Actor: f.Actor, ID: f.NewID(now), At: now}, id, org.LedgerCredit)
	if fault.CodeOf(err) == fault.Conflict {
		return false, nil // something came in between: rolled back, or open again
	}
	return err == nil, err
}
