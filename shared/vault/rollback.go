package vault

import (
	"context"
	"slices"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// NoEarlierValue says that no replaced value of the field is accepted any more.
const NoEarlierValue Reason = "no_earlier_value"

// draining returns the newest replaced value of a field that is still accepted.
func (v *Vault) draining(h Head, field string) (Drain, bool) {
	now := v.now()
	for i := len(h.Drains) - 1; i >= 0; i-- {
		if d := h.Drains[i]; d.Field == field && now.Before(d.Until) {
			return d, true
		}
	}
	return Drain{}, false
}

// Rollback undoes the last rotation of a field while its overlap runs: the value
// that was replaced is live again, and the newer one is deleted, because whoever
// rolls back does not trust it. ActiveVersion does not go back, so that no
// version number is ever used twice. Nothing is decrypted. Errors:
// invalid_request, not_found (also reason revoked), conflict (reason
// no_earlier_value, duplicate, lost_race), vault_unavailable.
func (v *Vault) Rollback(ctx context.Context, ref Ref, field string, by audit.Op) (Head, error) {
	const op = "vault.Rollback"
	if err := firstOf(checkRef(op, ref), checkOp(op, by)); err != nil {
		return Head{}, err
	}
	old, err := v.writable(ctx, op, ref)
	if err != nil {
		return Head{}, err
	}
	back, ok := v.draining(old, field)
	if !ok {
		return Head{}, fault.Wrap(fault.Conflict, op, "no earlier value is kept any more; rotate to the value you want", NoEarlierValue)
	}
	h := v.next(old, by.Actor)
	h.Drains = slices.DeleteFunc(h.Drains, func(d Drain) bool { return d.Field == field && d.Version == back.Version })
	i := slices.IndexFunc(h.Fields, func(f Field) bool { return f.Name == field })
	if i < 0 {
		return Head{}, reasonFault(op, NoSuchField, nil)
	}
	h.Fields[i] = Field{Name: field, Version: back.Version, Hint: back.Hint, Fingerprint: back.Fingerprint}
	h.heal()
	// Another credential may have taken the value while it was only draining.
	if err := v.refuseDuplicates(ctx, op, h, map[string]secret.Text{field: {}}); err != nil {
		return Head{}, err
	}
	return v.commit(ctx, op, h, Change{Delete: released(old, h), Row: h.row(by, "rollback", map[string]secret.Text{field: {}})})
}

// RevealPrevious opens the newest replaced value of one field whose overlap
// still runs, for a caller whose vendor has just refused the live one. ok is
// false, and f is not called, if there is none. Otherwise as [Vault.Reveal].
func (v *Vault) RevealPrevious(ctx context.Context, cred Credential, use Use, f func(plain []byte) error) (ok bool, err error) {
	const op = "vault.RevealPrevious"
	if _, err := v.usable(ctx, op, cred, use); err != nil {
		return false, err
	}
	d, ok := v.draining(cred.Head, use.Field)
	if !ok {
		return false, nil
	}
	plain, err := v.open(ctx, op, cred, use, d.Version)
	if err != nil {
		return true, err
	}
	return true, secret.Lend(plain, f)
}

// LiveVersion is the version that holds a field's live value, 0 without such a
// field. After a rollback it is older than ActiveVersion.
func (h Head) LiveVersion(field string) int {
	f, _ := h.field(field)
	return f.Version
}
