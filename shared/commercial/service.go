package commercial

import (
	"context"
	"maps"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Store keeps terms. A change and its audit row are one transaction; it fails with
// conflict unless the stored version is seen.
type Store interface {
	// Tiers returns the operator's terms of tiers and their version.
	Tiers(ctx context.Context) (Tiers, int64, error)
	PutTiers(ctx context.Context, t Tiers, seen int64, row audit.Row) error
	// Organisation returns an organisation's own terms, nil if it has none.
	Organisation(ctx context.Context, org string) (*Terms, int64, error)
	PutOrganisation(ctx context.Context, org string, t *Terms, seen int64, row audit.Row) error
}

// Allowance knows how many requests of the month of t an organisation's free
// allowance took.
type Allowance interface {
	FreeUsed(ctx context.Context, org string, t time.Time) (int64, error)
}

// Service reads and changes terms. Safe for concurrent use.
type Service struct {
	Store     Store
	Allowance Allowance
}

// operator owns the audit rows of terms of tiers.
const operator = "operator"

// SetTiers changes the terms of the named tiers, nil for those of the table; the
// others keep theirs. Errors: invalid_request, conflict, unavailable.
func (s *Service) SetTiers(ctx context.Context, op audit.Op, change map[taxonomy.Tier]*Terms) (Tiers, error) {
	for _, t := range change {
		if t != nil {
			if err := t.Check(); err != nil {
				return nil, err
			}
		}
	}
	current, seen, err := s.Store.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(current)
	if next == nil {
		next = Tiers{}
	}
	for tier, t := range change {
		delete(next, tier)
		if t != nil {
			next[tier] = *t
		}
	}
	return next, s.Store.PutTiers(ctx, next, seen, op.Row(operator, "tiers.billing", "tiers"))
}

// SetOrganisation sets an organisation's own terms, nil for those of its tier.
// Errors: invalid_request, conflict, unavailable.
func (s *Service) SetOrganisation(ctx context.Context, op audit.Op, org string, t *Terms) error {
	if t != nil {
		if err := t.Check(); err != nil {
			return err
		}
	}
	_, seen, err := s.Store.Organisation(ctx, org)
	if err != nil {
		return err
	}
	return s.Store.PutOrganisation(ctx, org, t, seen, op.Row(org, "billing.update", org))
}
