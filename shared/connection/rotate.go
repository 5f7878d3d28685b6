package connection

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
)

// DefaultOverlap is how long a replaced key is kept when nobody says,
// MaxOverlap the longest.
const (
	DefaultOverlap = time.Hour
	MaxOverlap     = 7 * 24 * time.Hour
)

// Rotate replaces the key. Requests that start afterwards use the new one; for
// the overlap the old one stays behind it, in case the vendor refuses the new
// one. Zero ends it at once, and with it what an earlier rotation left. The new
// key is shown to its vendor first, errors as [Service.Create].
func (s *Service) Rotate(ctx context.Context, op audit.Op, orgID, id string, key secret.Text, overlap time.Duration) (Connection, error) {
	if key.IsZero() {
		return Connection{}, invalid("api_key", "the new api_key is needed")
	}
	if overlap < 0 || overlap > MaxOverlap {
		return Connection{}, invalid("overlap_seconds", "overlap_seconds is 0 (the old key ends at once) to 604800 (7 days)")
	}
	var did once
	return s.change(ctx, orgID, id, func(old Connection) (Connection, audit.Row, error) {
		p, err := s.provider(string(old.Provider))
		if err != nil {
			return Connection{}, audit.Row{}, err
		}
		next, err := s.replaceKey(ctx, op, old, p, rotation{key, overlap}, &did)
		return next, op.Row(orgID, "connection.rotate", id, "provider", string(old.Provider), "fingerprint", next.Fingerprint), err
	})
}

// Rollback makes the key live again that the last rotation replaced, while its
// overlap runs, and ends the newer one. Health is unknown until the next probe.
// It fails with conflict when no earlier key is kept, or when another connection
// uses it by now.
func (s *Service) Rollback(ctx context.Context, op audit.Op, orgID, id string) (Connection, error) {
	var head *vault.Head
	return s.change(ctx, orgID, id, func(old Connection) (Connection, audit.Row, error) {
		if old.Status != Active || old.Keyless {
			return Connection{}, audit.Row{}, fault.New(fault.Conflict, "connection.Rollback", "this connection has no key to go back to")
		}
		if head == nil {
			h, err := s.rollback(ctx, op, old)
			if err != nil {
				return Connection{}, audit.Row{}, err
			}
			head = &h
		}
		next := old.sealed(*head)
		next.Cooldown, next.Health = Cooldown{}, Health{Status: Unknown}
		return next, op.Row(orgID, "connection.rollback", id, "provider", string(old.Provider), "fingerprint", next.Fingerprint), nil
	})
}

// rollback undoes the rotation in the vault. A call that stopped half way did so
// already; then the connection takes over what the vault has.
func (s *Service) rollback(ctx context.Context, op audit.Op, c Connection) (vault.Head, error) {
	head, err := s.Drains.Rollback(ctx, c.Ref(), KeyField, op)
	if vault.ReasonOf(err) != vault.NoEarlierValue {
		return head, err
	}
	stored, readErr := s.Vault.Head(ctx, c.Org, c.Class, c.ID)
	if readErr == nil && stored.Status == vault.Active && stored.Fingerprint() != c.Fingerprint {
		return stored, nil
	}
	return vault.Head{}, err
}
