package opener

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
)

// commit writes a change, with the values as the new copy of next.Rev if sealed
// is set, in one transaction. Errors: integration.ErrLost if the head changed,
// a vault's fault if the values could not be sealed, others.
func (o *Opener) commit(ctx context.Context, old integration.Integration, c integration.Change, values integration.Values, sealed bool) error {
	if !sealed {
		return integration.Commit(ctx, o.o.Store, c)
	}
	v, err := o.o.Seal(o.o.Store.Paired(c))
	if err != nil {
		return err
	}
	now := o.o.Now()
	op := audit.Op{Actor: o.o.Actor, ID: o.o.NewID(now), At: now}
	fields := map[string]secret.Text{integration.Payload: integration.Frame(old.Credential, c.Next.Rev, values)}
	if old.New.Rev == 0 {
		_, err = v.Create(ctx, vault.NewCredential{Ref: old.Ref(), Label: old.Label, Fields: fields, Op: op})
	} else {
		_, err = v.Rotate(ctx, vault.Rotation{Ref: old.Ref(), Fields: fields, Op: op})
	}
	if err == nil {
		return nil
	}
	stored, readErr := o.o.Store.Integration(ctx, old.Org, old.ID)
	switch {
	case readErr != nil:
		return err
	case stored.WriteID == c.Next.WriteID:
		return nil
	case stored.Version != old.Version, fault.CodeOf(err) == fault.Conflict:
		return integration.ErrLost // also if only the credential was touched, as by a rotation of keys
	}
	return err
}

// put writes a new value: to every copy that the mode has, or if one of two
// cannot be sealed, to the other. still decides whether a head that was read
// again may still be written. Errors: integration.ErrLost if still says no.
func (o *Opener) put(ctx context.Context, i integration.Integration, values integration.Values, still func(integration.Integration) bool) (integration.Integration, error) {
	for range tries {
		next, err := o.putOnce(ctx, i, values)
		if err == nil || !errors.Is(err, integration.ErrLost) {
			return next, err
		}
		if i, err = o.head(ctx, i.Org, i.ID); err != nil {
			return i, err
		}
		if !still(i) {
			return i, integration.ErrLost
		}
	}
	return i, busy(integration.LostRace, "the integration changes too often at the moment, try again")
}

func (o *Opener) putOnce(ctx context.Context, i integration.Integration, values integration.Values) (integration.Integration, error) {
	next := o.next(i)
	next.Rev++
	next.Lease, next.Quarantine, next.Fields = integration.Lease{}, integration.Quarantine{}, values.Names()
	// Without the key service the hash is missing, which is known by its absence.
	next.Fingerprint, _ = integration.HashValues(ctx, o.o.Vault, i.Credential, values)
	c := integration.Change{Next: &next}
	if i.WritesLegacy() {
		legacy, err := o.sealLegacy(ctx, i, next.Rev, values)
		switch {
		case err == nil:
			next.Legacy.Rev = next.Rev
			next.Legacy.Hash, _ = integration.HashLegacy(ctx, o.o.Vault, i.Credential, legacy.Fields)
			c.Legacy = &legacy
		case !i.WritesNew():
			return i, err
		default:
			o.event(i, LegacyBehind, reasonOf(err))
		}
	}
	var failed error
	if i.WritesNew() {
		next.New.Rev = next.Rev
		if failed = o.commit(ctx, i, c, values, true); failed == nil {
			return next, nil
		}
		if c.Legacy == nil || errors.Is(failed, integration.ErrLost) {
			return i, failed
		}
	}
	next.New.Rev, next.New.VerifiedAt = i.New.Rev, integration.NewHead{}.VerifiedAt
	if err := o.commit(ctx, i, c, nil, false); err != nil {
		if errors.Is(err, integration.ErrLost) {
			return i, err
		}
		return i, integration.StoreFault(err)
	}
	if failed != nil {
		o.event(i, NewBehind, integration.VaultFailed)
	}
	return next, nil
}

// migrate makes the new copy of the current value, or brings it up to date, on
// the condition that the head is the one that was read. Losing that race is
// success: whoever won has made it or changed the value.
func (o *Opener) migrate(ctx context.Context, i integration.Integration, values integration.Values) error {
	err := o.migrateOnce(ctx, i, values)
	switch {
	case err == nil:
		o.event(i, Migrated, "")
	case errors.Is(err, integration.ErrLost):
		err = nil
	default:
		o.event(i, MigrateFailed, reasonOf(err))
	}
	return err
}

func (o *Opener) migrateOnce(ctx context.Context, i integration.Integration, values integration.Values) error {
	legacy, err := o.o.Store.Legacy(ctx, i.Org, i.ID)
	if err != nil || legacy.Rev != i.Legacy.Rev {
		return integration.ErrLost // purged or written meanwhile
	}
	hash, err := integration.HashLegacy(ctx, o.o.Vault, i.Credential, legacy.Fields)
	if err != nil {
		return unusable(integration.VaultFailed, err)
	}
	if i.Legacy.Hash != "" && !same(i.Legacy.Hash, hash) {
		return unusable(integration.HashMismatch, nil)
	}
	if values.Check() != nil {
		return unusable(integration.TooLarge, nil)
	}
	next := o.next(i)
	if next.Fingerprint, err = integration.HashValues(ctx, o.o.Vault, i.Credential, values); err != nil {
		return unusable(integration.VaultFailed, err)
	}
	next.New = integration.NewHead{Rev: i.Rev}
	c := integration.Change{Next: &next, Guard: integration.Guard{Migration: true, LegacyHash: i.Legacy.Hash, NewRev: i.New.Rev}}
	if err := o.commit(ctx, i, c, values, true); err != nil {
		if errors.Is(err, integration.ErrLost) {
			return err
		}
		return unusable(integration.VaultFailed, err)
	}
	return nil
}

// syncLegacy brings a legacy copy up to date that new_only left behind.
func (o *Opener) syncLegacy(ctx context.Context, i integration.Integration, values integration.Values) error {
	legacy, err := o.sealLegacy(ctx, i, i.Rev, values)
	if err != nil {
		return err
	}
	next := o.next(i)
	next.Legacy.Rev = i.Rev
	if next.Legacy.Hash, err = integration.HashLegacy(ctx, o.o.Vault, i.Credential, legacy.Fields); err != nil {
		return unusable(integration.VaultFailed, err)
	}
	if err := integration.Commit(ctx, o.o.Store, integration.Change{Next: &next, Legacy: &legacy}); err != nil {
		return err
	}
	o.event(i, LegacySynced, "")
	return nil
}

// Replace writes a value that came from outside, as after connecting an account
// again. It ends a refresh that was left unfinished. The fields must be those
// the integration has. Errors: invalid_request, not_found, vault_unavailable,
// unavailable.
func (o *Opener) Replace(ctx context.Context, org, id string, values integration.Values) (Value, error) {
	if err := values.Check(); err != nil {
		return Value{}, err
	}
	if err := validRef(org, id); err != nil {
		return Value{}, err
	}
	i, err := o.head(ctx, org, id)
	if err != nil {
		return Value{}, err
	}
	if err := sameFields(i, values); err != nil {
		return Value{}, err
	}
	next, err := o.put(ctx, i, values, func(again integration.Integration) bool { return again.Credential == i.Credential })
	if errors.Is(err, integration.ErrLost) {
		return Value{}, integration.StoreFault(integration.ErrAbsent)
	}
	if err != nil {
		return Value{}, err
	}
	return o.value(next, values), nil
}

func sameFields(i integration.Integration, values integration.Values) error {
	names := values.Names()
	if len(names) != len(i.Fields) {
		return fault.New(fault.InvalidRequest, "opener", "give exactly the fields that the integration has").WithParam("fields")
	}
	for n := range names {
		if names[n] != i.Fields[n] {
			return fault.New(fault.InvalidRequest, "opener", "give exactly the fields that the integration has").WithParam("fields")
		}
	}
	return nil
}

// value is what was just written.
func (o *Opener) value(i integration.Integration, values integration.Values) Value {
	from := FromNew
	if !i.NewCurrent() || i.Mode == integration.LegacyOnly {
		from = FromLegacy
	}
	return Value{Values: values, Rev: i.Rev, From: from}
}
