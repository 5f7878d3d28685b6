package vault

import (
	"context"
	"slices"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Keys lists the configured wrapping keys, the first one first.
func (v *Vault) Keys() []string { return slices.Clone(v.kek.Keys()) }

// Ring returns the key ring; one that was never stored names the first
// configured key with epoch 0. Errors: vault_unavailable.
func (v *Vault) Ring(ctx context.Context) (Ring, error) { return v.ring(ctx, "vault.Ring") }

func (v *Vault) ring(ctx context.Context, op string) (Ring, error) {
	r, err := v.store.Ring(ctx)
	if err != nil {
		return Ring{}, storeFault(op, err)
	}
	keys := v.kek.Keys()
	if r.Epoch == 0 && len(keys) > 0 {
		r.Current = keys[0]
	}
	// A function that was not told of the key yet must not fall back to another.
	if !slices.Contains(keys, r.Current) {
		return Ring{}, reasonFault(op, KeyIncorrect, nil)
	}
	return r, nil
}

// probe is the credential that [Vault.Probe] makes data keys for. Nothing is
// stored under it.
func probe() Ref {
	return Ref{Org: "operator", ID: "probe", Provider: "probe", Class: taxonomy.AIKey}
}

// Probe does with two keys what a rotation from one to the other will do, so
// that a key that cannot be used is found before anything depends on it. It
// returns the id of the key material that wraps under to at present. from may be
// equal to to. Errors: vault_unavailable with the key's reason.
func (v *Vault) Probe(ctx context.Context, from, to string) (material string, err error) {
	const op = "vault.Probe"
	ectx := v.encryptionContext(probe())
	key, err := v.kek.GenerateDataKey(ctx, from, ectx)
	if err != nil {
		return "", keyFault(op, err)
	}
	defer clear(key.Plain)
	moved, err := v.kek.ReEncrypt(ctx, key.Wrapped, to, ectx)
	if err != nil {
		return "", keyFault(op, err)
	}
	plain, err := v.kek.Decrypt(ctx, moved, ectx)
	if err != nil {
		return "", keyFault(op, err)
	}
	defer clear(plain)
	if !slices.Equal(plain, key.Plain) {
		return "", keyFault(op, &KeyError{Reason: KeyUnexpected})
	}
	return moved.Material, nil
}

// ProbeWrite makes sure that data keys can be wrapped under a key, as far as a
// function that never decrypts can know. Errors: vault_unavailable with the
// key's reason.
func (v *Vault) ProbeWrite(ctx context.Context, arn string) error {
	key, err := v.kek.GenerateDataKey(ctx, arn, v.encryptionContext(probe()))
	if err != nil {
		return keyFault("vault.ProbeWrite", err)
	}
	clear(key.Plain)
	return nil
}
