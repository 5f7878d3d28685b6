package opener

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/integration"
)

// Counts is the result of a page of [Opener.Backfill].
type Counts struct {
	Seen int
	// Migrated new copies were made or brought up to date, Synced legacy ones.
	Migrated, Synced int
	// Verified new copies were opened and are equal.
	Verified int
	// Skipped need nothing: legacy_only by choice, or purged.
	Skipped int
	Failed  []Failure
}

// Failure is one integration that could not be dealt with.
type Failure struct {
	ID     string
	Reason integration.Reason
}

// Backfill deals with the integrations of an organisation after cursor, at most
// limit: makes missing copies, brings the one that is behind up to date, opens
// and compares. It may be repeated and cut anywhere. One integration's failure
// is counted and does not stop the others. next is empty at the end. Errors:
// unavailable, if the list cannot be read.
func (o *Opener) Backfill(ctx context.Context, org, cursor string, limit int) (counts Counts, next string, err error) {
	heads, next, err := o.o.Store.Integrations(ctx, org, cursor, limit)
	if err != nil {
		return counts, "", integration.StoreFault(err)
	}
	for _, h := range heads {
		counts.Seen++
		if err := o.settle(ctx, h.Org, h.ID, &counts); err != nil {
			counts.Failed = append(counts.Failed, Failure{ID: h.ID, Reason: reasonOf(err)})
		}
	}
	return counts, next, nil
}

// settle brings one integration to where its mode wants it.
func (o *Opener) settle(ctx context.Context, org, id string, counts *Counts) error {
	for range tries {
		i, err := o.head(ctx, org, id)
		if err != nil {
			return err
		}
		done, err := o.settleOnce(ctx, i, counts)
		if done || err != nil && !errors.Is(err, integration.ErrLost) {
			return err
		}
	}
	return integration.LostRace
}

// settleOnce does the next thing that is missing. done says that nothing is.
func (o *Opener) settleOnce(ctx context.Context, i integration.Integration, counts *Counts) (done bool, err error) {
	if i.Mode == integration.Purged || i.Mode == integration.LegacyOnly && i.Quarantine.Reason == "" {
		counts.Skipped++
		return true, nil
	}
	v, again, err := o.read(ctx, i)
	if again || err != nil {
		return false, err
	}
	switch {
	case i.WritesNew() && !i.NewCurrent():
		if err := o.migrate(ctx, i, v.Values); err != nil {
			return false, err
		}
		counts.Migrated++
		return false, nil
	case i.WritesLegacy() && !i.LegacyCurrent():
		if err := o.syncLegacy(ctx, i, v.Values); err != nil {
			return false, err
		}
		counts.Synced++
		return false, nil
	}
	if i.Mode == integration.LegacyOnly {
		o.quarantine(ctx, i, "") // it opens again
		counts.Skipped++
		return true, nil
	}
	return o.verify(ctx, i, counts)
}

// verify opens the new copy and compares it with the legacy one, where there is
// one of the same value, and with the hash that was noted when it was written.
func (o *Opener) verify(ctx context.Context, i integration.Integration, counts *Counts) (done bool, err error) {
	values, rev, err := o.openNew(ctx, i)
	if err != nil {
		return false, err
	}
	if rev != i.Rev {
		return false, nil
	}
	equal := true
	if i.LegacyCurrent() {
		legacy, rev, err := o.openLegacy(ctx, i)
		if err != nil {
			return false, err
		}
		if rev != i.Rev {
			return false, nil
		}
		equal = values.Equal(legacy)
	}
	hash, err := integration.HashValues(ctx, o.o.Vault, i.Credential, values)
	if err != nil {
		return false, unusable(integration.VaultFailed, err)
	}
	equal = equal && (i.Fingerprint == "" || same(i.Fingerprint, hash))
	next := o.next(i)
	next.Fingerprint, next.Quarantine = hash, integration.Quarantine{}
	if next.New.VerifiedAt.IsZero() {
		next.New.VerifiedAt = next.UpdatedAt
	}
	if !equal {
		next.New.VerifiedAt, next.Fingerprint = integration.NewHead{}.VerifiedAt, i.Fingerprint
		next.Quarantine = integration.Quarantine{Reason: integration.CopiesDiffer, At: next.UpdatedAt}
	}
	if i.New.VerifiedAt != next.New.VerifiedAt || i.Fingerprint != next.Fingerprint || i.Quarantine.Reason != next.Quarantine.Reason {
		if err := integration.Commit(ctx, o.o.Store, integration.Change{Next: &next}); err != nil {
			return false, err
		}
	}
	if !equal {
		return true, integration.CopiesDiffer
	}
	counts.Verified++
	return true, nil
}
