package opener

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
)

// LeaseTime is how long a refresh may take before another one may begin, if the
// refresh token can be used again.
const LeaseTime = 30 * time.Second

// ErrNotUsed is wrapped by an [Exchange] whose refresh token was certainly not
// used: the vendor was not reached, or refused before it looked (429). The next
// refresh may then use the same token.
var ErrNotUsed = errors.New("opener: the refresh token was not used")

// Exchange calls the vendor's token endpoint with the current value and returns
// the fields that changed, among those the integration has; others keep their
// value. It must not use a new access token: that is for after the refresh.
type Exchange func(ctx context.Context, current Value) (integration.Values, error)

// Refresh gets new tokens for the value seen, once: of several callers one calls
// the vendor, the others get its result, or unavailable with a delay while it
// runs. Errors: not_found; provider_key_invalid (reason refresh_unfinished) if
// the account must be connected again; unavailable (reason refresh_running);
// vault_unavailable; those of exchange.
func (o *Opener) Refresh(ctx context.Context, org, id string, seen int64, exchange Exchange) (Value, error) {
	if err := validRef(org, id); err != nil {
		return Value{}, err
	}
	for range tries {
		i, err := o.head(ctx, org, id)
		if err != nil {
			return Value{}, err
		}
		current, again, err := o.read(ctx, i)
		if again {
			continue
		}
		if err != nil || current.Rev != seen {
			return current, err // somebody refreshed meanwhile
		}
		held, err := o.take(ctx, i)
		if errors.Is(err, integration.ErrLost) {
			continue
		}
		if err != nil {
			return Value{}, err
		}
		return o.exchange(ctx, held, current, exchange)
	}
	return Value{}, busy(integration.LostRace, "the integration changes too often at the moment, try again")
}

// take takes the lease for the value of i.
func (o *Opener) take(ctx context.Context, i integration.Integration) (integration.Integration, error) {
	now := o.o.Now()
	if l := i.Lease; l.Owner != "" && l.Rev == i.Rev {
		switch {
		case now.Before(l.Until):
			return i, busy(integration.RefreshRunning, "a refresh is running, try again")
		case !i.ReusableRefresh:
			return i, fault.Wrap(fault.ProviderKeyInvalid, "opener.Refresh", messages[integration.RefreshUnfinished], integration.RefreshUnfinished)
		}
	}
	next := o.next(i)
	next.Lease = integration.Lease{Owner: next.WriteID, Until: next.UpdatedAt.Add(LeaseTime), Rev: i.Rev}
	err := integration.Commit(ctx, o.o.Store, integration.Change{Next: &next})
	if err != nil && !errors.Is(err, integration.ErrLost) {
		// The lease may stand without an owner who knows of it. It was not used: the
		// next caller must not take it for an unfinished refresh.
		o.release(ctx, next)
		return i, integration.StoreFault(err)
	}
	return next, err
}

// exchange calls the vendor and writes what it gave.
func (o *Opener) exchange(ctx context.Context, i integration.Integration, current Value, exchange Exchange) (Value, error) {
	changed, err := exchange(ctx, current)
	if err == nil {
		err = checkExchange(i, changed)
	}
	if err != nil {
		if errors.Is(err, ErrNotUsed) || i.ReusableRefresh {
			o.release(ctx, i)
		}
		return Value{}, err
	}
	values := maps.Clone(current.Values)
	maps.Copy(values, changed)
	// The answer must not be lost with the caller's patience.
	ctx = context.WithoutCancel(ctx)
	mine := func(again integration.Integration) bool {
		return again.Lease.Owner == i.Lease.Owner && again.Rev == i.Rev
	}
	next, err := o.put(ctx, i, values, mine)
	for n := 0; err != nil && !errors.Is(err, integration.ErrLost) && n < tries; n++ {
		if again, readErr := o.head(ctx, i.Org, i.ID); readErr == nil {
			if again.Rev > i.Rev {
				return o.Open(ctx, i.Org, i.ID) // it was written after all, or another value was
			}
			next, err = o.put(ctx, again, values, mine)
		}
	}
	if err != nil {
		if errors.Is(err, integration.ErrLost) {
			return o.Open(ctx, i.Org, i.ID) // replaced or refreshed by another
		}
		return Value{}, err
	}
	o.event(i, Refreshed, "")
	return o.value(next, values), nil
}

func checkExchange(i integration.Integration, changed integration.Values) error {
	if err := changed.Check(); err != nil {
		return err
	}
	for name, text := range changed {
		known := false
		for _, f := range i.Fields {
			known = known || f == name
		}
		if !known || text.IsZero() {
			return fault.New(fault.InvalidRequest, "opener.Refresh", "the exchange returned an empty value or a field that the integration does not have").WithParam(name)
		}
	}
	return nil
}

// release gives the lease of i back, if it still has it.
func (o *Opener) release(ctx context.Context, i integration.Integration) {
	for range tries {
		stored, err := o.o.Store.Integration(ctx, i.Org, i.ID)
		if err != nil || stored.Lease.Owner != i.Lease.Owner {
			return
		}
		next := o.next(stored)
		next.Lease = integration.Lease{}
		if err := integration.Commit(ctx, o.o.Store, integration.Change{Next: &next}); !errors.Is(err, integration.ErrLost) {
			return
		}
	}
}
