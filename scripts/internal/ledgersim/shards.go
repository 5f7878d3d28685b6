package ledgersim

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
)

// split gives an organisation its shards before the run.
func (m *sim) split(ctx context.Context, org string) error {
	for {
		a, err := m.store.Account(ctx, org)
		if err != nil {
			return err
		}
		if len(a.Shards) >= m.s.Shards {
			if err := m.store.Publish(ctx, org, m.s.Shards); err != nil {
				return err
			}
			return m.store.Spread(ctx, a, m.s.Shards)
		}
		if err := m.store.Split(ctx, a, min(m.s.Shards, len(a.Shards)+64), credit.Load{At: m.c.time().Add(-time.Hour), InUse: m.s.Shards}); err != nil {
			return err
		}
	}
}
