package vault

import (
	"context"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// Use says which field is opened and what for; both are required and logged.
type Use struct {
	Field   string
	Purpose string
}

// Reveal opens the live value of one field and calls f with it; plain is cleared
// afterwards and must not be kept. cred must come from a load of the same
// request: nothing is read from the store. f's error is returned as it is; a
// panic in f is replaced by secret.ErrPanic. Errors: not_found (reason revoked,
// no_such_field), vault_unavailable.
func (v *Vault) Reveal(ctx context.Context, cred Credential, use Use, f func(plain []byte) error) error {
	const op = "vault.Reveal"
	field, err := v.usable(ctx, op, cred, use)
	if err != nil {
		return err
	}
	plain, err := v.open(ctx, op, cred, use, field.Version)
	if err != nil {
		return err
	}
	return secret.Lend(plain, f)
}

// RevealAll opens the live value of one field and those that still drain, newest
// first, and calls f once for each that opens: a verifier computes every
// signature whatever the others gave. An error after such calls says that
// another value did not open: an accepted signature stays accepted, but a
// refusal must then be answered as an outage, not as a bad signature. Errors of
// f end the loop and are returned as they are. Other errors: as [Vault.Reveal].
func (v *Vault) RevealAll(ctx context.Context, cred Credential, use Use, f func(version int, live bool, plain []byte) error) error {
	const op = "vault.RevealAll"
	field, err := v.usable(ctx, op, cred, use)
	if err != nil {
		return err
	}
	versions := []int{field.Version}
	now := v.now()
	for i := len(cred.Head.Drains) - 1; i >= 0; i-- {
		if d := cred.Head.Drains[i]; d.Field == use.Field && now.Before(d.Until) {
			versions = append(versions, d.Version)
		}
	}
	var failed error
	for _, n := range versions {
		plain, err := v.open(ctx, op, cred, use, n)
		if err != nil {
			if failed == nil {
				failed = err
			}
			continue
		}
		if err := secret.Lend(plain, func(b []byte) error { return f(n, n == field.Version, b) }); err != nil {
			return err
		}
	}
	return failed
}

// RevealRetired opens the replaced values of one field whose time to verify is
// over and that are not pruned yet, newest first, and calls f for each that opens.
// They prove nothing any more: it tells a person why a signature was refused.
// Errors: as [Vault.RevealAll].
func (v *Vault) RevealRetired(ctx context.Context, cred Credential, use Use, f func(version int, plain []byte) error) error {
	const op = "vault.RevealRetired"
	if _, err := v.usable(ctx, op, cred, use); err != nil {
		return err
	}
	now := v.now()
	var failed error
	for i := len(cred.Head.Drains) - 1; i >= 0; i-- {
		d := cred.Head.Drains[i]
		if d.Field != use.Field || now.Before(d.Until) {
			continue
		}
		plain, err := v.open(ctx, op, cred, use, d.Version)
		if err != nil {
			failed = err
			continue
		}
		if err := secret.Lend(plain, func(b []byte) error { return f(d.Version, b) }); err != nil {
			return err
		}
	}
	return failed
}

func (v *Vault) usable(ctx context.Context, op string, cred Credential, use Use) (Field, error) {
	if use.Purpose == "" {
		return Field{}, fault.New(fault.Internal, op, "internal error, try again later")
	}
	h := cred.Head
	field, ok := h.field(use.Field)
	reason := MalformedRecord
	switch {
	case h.Status == Revoked:
		reason = IsRevoked
	case h.Status == NeedsReentry:
		reason = AwaitsReentry
	case h.Status != Active || checkRef(op, h.Ref) != nil:
	case !ok:
		reason = NoSuchField
	default:
		return field, nil
	}
	v.onUse(ctx, Event{Ref: h.Ref, Version: field.Version, Field: use.Field, Purpose: use.Purpose, Cache: CacheNone, Outcome: reason})
	return Field{}, reasonFault(op, reason, nil)
}

// open opens one version of the field and reports it.
func (v *Vault) open(ctx context.Context, op string, cred Credential, use Use, version int) ([]byte, error) {
	began := v.now()
	plain, cache, err := v.openVersion(ctx, cred, use.Field, version)
	reason := Reason("")
	if err != nil {
		if reason = ReasonOf(err); reason == "" {
			reason, err = KeyUnexpected, &KeyError{Reason: KeyUnexpected, Err: err}
		}
	}
	v.onUse(ctx, Event{Ref: cred.Head.Ref, Version: version, Field: use.Field, Purpose: use.Purpose, Cache: cache, Outcome: reason,
		Latency: max(v.now().Sub(began), 0)})
	if err != nil {
		return nil, reasonFault(op, reason, err)
	}
	v.onReveal(plain)
	return plain, nil
}

func (v *Vault) openVersion(ctx context.Context, cred Credential, field string, version int) (plain []byte, cache string, err error) {
	ver, ok := cred.version(version)
	if !ok {
		return nil, CacheNone, VersionMissing
	}
	sealed, err := v.check(cred.Head, ver, field)
	if err != nil {
		return nil, CacheNone, err
	}
	ectx := v.encryptionContext(cred.Head.Ref)
	key, hit, err := v.cache.get(ctx, cacheID(ver.Key, ectx), func(ctx context.Context) ([]byte, error) {
		key, err := v.kek.Decrypt(ctx, ver.Key, ectx)
		if err == nil && len(key) != KeySize {
			clear(key)
			err = &KeyError{Reason: KeyUnexpected}
		}
		return key, err
	})
	cache = CacheMiss
	if hit {
		cache = CacheHit
	}
	if err != nil {
		return nil, cache, err
	}
	defer clear(key)
	plain, err = v.openField(key, cred.Head.Ref, version, field, sealed)
	return plain, cache, err
}
