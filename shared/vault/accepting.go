package vault

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Accepted are the values of a field that verify a signature, the live one first.
type Accepted struct {
	Values []secret.Text
	// Versions are the numbers of the values, in their order.
	Versions []int
	// Complete is false if another value exists that did not open: a signature
	// that matches then still counts, but a mismatch proves nothing.
	Complete bool
}

// Accepting opens the values of a field that verify at now. v is a [Vault].
// Errors: as [Vault.Reveal].
func Accepting(ctx context.Context, v interface {
	RevealAll(ctx context.Context, cred Credential, use Use, f func(version int, live bool, plain []byte) error) error
}, cred Credential, use Use, now time.Time) (Accepted, error) {
	retired := map[int]bool{}
	for _, d := range cred.Head.Drains {
		// The event's clock counts too: it may be ahead of the vault's.
		retired[d.Version] = retired[d.Version] || d.Field == use.Field && !now.Before(d.Until)
	}
	var out Accepted
	err := v.RevealAll(ctx, cred, use, func(version int, live bool, plain []byte) error {
		if live || !retired[version] {
			out.Values, out.Versions = append(out.Values, secret.New(plain)), append(out.Versions, version)
		}
		return nil
	})
	if err != nil && len(out.Values) == 0 {
		return Accepted{}, err
	}
	out.Complete = err == nil
	return out, nil
}
