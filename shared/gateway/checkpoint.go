package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// A checkpoint is written after this much time or output, so that a crash loses
// at most one interval.
const (
	checkpointEvery  = 5 * time.Second
	checkpointTokens = 2000
	// lastCheckpointAfter is how long the usage is tried to be written before what
	// is known of it goes into a checkpoint: that write has the same window in which
	// the process can die, so most calls need none.
	lastCheckpointAfter = 200 * time.Millisecond
)

// checkpoints are what a running call has stored of its usage so far.
type checkpoints struct {
	at      time.Time
	output  int64
	running chan struct{} // closed when the write has ended
	cancel  context.CancelFunc
}

// progress writes a checkpoint when one is due, beside the stream. A checkpoint
// that fails is tried again at the next interval: the call must not suffer.
func (m *Meter) progress(ctx context.Context, usage func() billing.Usage, output int64) {
	now := m.a.c.now()
	if m.saved.at.IsZero() {
		m.saved.at = m.reservedAt
	}
	if m.done || now.Sub(m.saved.at) < checkpointEvery && output-m.saved.output < checkpointTokens {
		return
	}
	m.saved.at, m.saved.output = now, output
	m.save(ctx, usage())
}

// save writes a checkpoint beside the stream, one at a time.
func (m *Meter) save(ctx context.Context, u billing.Usage) {
	m.checkpointed()
	amount, _ := m.cost(u)
	hold, done := m.hold, make(chan struct{})
	cctx, cancel := detached(ctx)
	m.saved.running, m.saved.cancel = done, cancel
	go func() {
		defer close(done)
		_ = m.a.g.o.Ledger.Checkpoint(cctx, hold, u, amount)
	}()
}

// checkpointed waits for the checkpoint that is being written.
func (m *Meter) checkpointed() {
	if m.saved.running != nil {
		<-m.saved.running
		m.saved.cancel()
		m.saved.running = nil
	}
}

// used writes the outcome. Where that takes long a checkpoint is written beside
// it, so that the attempt is charged also if this process dies.
func (m *Meter) used(ctx context.Context, o credit.Outcome) error {
	var late sync.WaitGroup
	late.Add(1)
	stop := m.a.g.o.Later(lastCheckpointAfter, func() {
		defer late.Done()
		if o.Kind != credit.Refused {
			_ = m.a.g.o.Ledger.Checkpoint(ctx, m.hold, o.Usage, o.Amount)
		}
	})
	err := m.a.g.o.Ledger.Used(ctx, m.hold, o)
	if stop() {
		late.Done()
	}
	late.Wait()
	return err
}
