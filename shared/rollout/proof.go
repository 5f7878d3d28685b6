package rollout

import (
	"context"
	"slices"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
)

// Connections lists an organisation's connections.
type Connections interface {
	Connections(ctx context.Context, org string) ([]connection.Connection, error)
}

// Counters reads legacy counters.
type Counters interface {
	// Counter gives the zero counter in mode credit if there is none.
	Counter(ctx context.Context, org string) (legacytokens.Counter, error)
}

// Evidence is a [Proof] made of what is stored: an organisation shows that connections
// work by one that its vendor answered for, and that the ledger works by a cutover
// that has ended. Safe for concurrent use.
type Evidence struct {
	Connections Connections
	Counters    Counters
}

// Shows implements [Proof].
func (e Evidence) Shows(ctx context.Context, subject, orgID string) (string, error) {
	switch subject {
	case AIConnections:
		all, err := e.Connections.Connections(ctx, orgID)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(all, works) {
			return "", nil
		}
		return "has no enabled connection whose last probe went well", nil
	case CreditLedger:
		c, err := e.Counters.Counter(ctx, orgID)
		switch {
		case err != nil:
			return "", err
		case c.Cutover.IsZero():
			return "has not been cut over from a legacy counter", nil
		case c.Mode != org.LedgerCredit:
			return "is in ledger mode " + string(c.Mode), nil
		}
		return "", nil
	}
	return "", fault.New(fault.Internal, "rollout.Shows", "internal error, try again later")
}

func works(c connection.Connection) bool {
	return c.Enabled && c.Status == connection.Active && c.Health.Status == connection.Healthy
}
