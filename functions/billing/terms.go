package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/org"
)

// terms reads the commercial policy of an organisation.
type terms struct {
	orgs interface {
		Org(ctx context.Context, id string) (org.Org, error)
	}
	features interface {
		Tiers(ctx context.Context) (org.Tiers, int64, error)
	}
	policies interface {
		Tiers(ctx context.Context) (commercial.Tiers, int64, error)
		Organisation(ctx context.Context, id string) (*commercial.Terms, int64, error)
	}
}

// Of is the policy in the form of a payment's metadata. Errors: those of the
// stores; there is no payment without a policy.
func (t terms) Of(ctx context.Context, id string) (map[string]string, error) {
	o, err := t.orgs.Org(ctx, id)
	if err != nil {
		return nil, err
	}
	features, _, err := t.features.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	tiers, _, err := t.policies.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	own, _, err := t.policies.Organisation(ctx, id)
	if err != nil {
		return nil, err
	}
	return commercial.Metadata(commercial.Resolve(string(o.Tier), features.Has(o.Tier, org.FeatureBYOK), tiers, own)), nil
}
