package vault

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Accepting returns the values of a field that verify a signature at now, the
// live one first. complete is false if another value exists that did not open: a
// signature that matches then still counts, but a mismatch proves nothing. v is a
// [Vault]. Errors: as [Vault.Reveal].
func Accepting(ctx context.Context, v interface {
	RevealAll(ctx context.Context, cred Credential, use Use, f func(version int, live bool, plain []byte) error) error
}, cred Credential, use Use, now time.Time) (values []secret.Text, complete bool, err error) {
	retired := map[int]bool{}
	for _, d := range cred.Head.Drains {
		// The event's clock counts too: it may be ahead of the vault's.
		retired[d.Version] = retired[d.Version] || d.Field == use.Field && !now.Before(d.Until)
	}
	err = v.RevealAll(ctx, cred, use, func(version int, live bool, plain []byte) error {
		if live || !retired[version] {
			values = append(values, secret.New(plain))
		}
		return nil
	})
	if err != nil && len(values) == 0 {
		return nil, false, err
	}
	return values, err == nil, nil
}
