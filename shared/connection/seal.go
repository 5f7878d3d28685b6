package connection

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// KeyField is the name of the one secret field of a connection's credential.
const KeyField = "api_key"

// Ref names the connection's credential in the vault.
func (c Connection) Ref() vault.Ref {
	return vault.Ref{Org: c.Org, ID: c.ID, Provider: string(c.Provider), Class: c.Class}
}

func class(p Provider) taxonomy.CredentialClass {
	if p.VoiceOnly {
		return taxonomy.VoiceKey
	}
	return taxonomy.AIKey
}

func (c Connection) credential(op audit.Op, key secret.Text) vault.NewCredential {
	return vault.NewCredential{Ref: c.Ref(), Origin: c.Origin, Op: op, Fields: map[string]secret.Text{KeyField: key}}
}

// seal stores the key of a new connection. If the vault knows the key already,
// that may be what a crash left of an earlier create: credentials without a
// connection are revoked, then it is tried once more.
func (s *Service) seal(ctx context.Context, op audit.Op, c Connection, key secret.Text) (vault.Head, error) {
	head, err := s.Vault.Create(ctx, c.credential(op, key))
	if vault.ReasonOf(err) != vault.Duplicate {
		return head, err
	}
	cleaned, cleanErr := s.revokeOrphans(ctx, op, c.Org)
	if cleanErr != nil {
		return vault.Head{}, cleanErr
	}
	if !cleaned {
		return vault.Head{}, err
	}
	return s.Vault.Create(ctx, c.credential(op, key))
}

// orphanAge is longer than any request lives: a younger credential may belong to
// a create that is still running.
const orphanAge = 2 * time.Minute

func (s *Service) revokeOrphans(ctx context.Context, op audit.Op, orgID string) (cleaned bool, err error) {
	heads, err := s.Vault.Heads(ctx, orgID)
	if err != nil {
		return false, err
	}
	for _, h := range heads {
		ours := h.Ref.Class == taxonomy.AIKey || h.Ref.Class == taxonomy.VoiceKey
		if !ours || h.Status != vault.Active || op.At.Sub(h.CreatedAt) < orphanAge {
			continue
		}
		_, err := s.Store.Connection(ctx, orgID, h.Ref.ID)
		if fault.CodeOf(err) != fault.NotFound {
			if err != nil {
				return false, err
			}
			continue
		}
		if _, err := s.Vault.Revoke(ctx, h.Ref, op); err != nil {
			return false, err
		}
		cleaned = true
	}
	return cleaned, nil
}

// once keeps what one operation did, for when it is tried again after a lost
// race: the vendor is asked once and the vault is written once.
type once struct {
	health *Health
	sealed *vault.Head
}

// replaceKey puts a new key behind next, after its vendor took it. A credential
// that is newer than the connection says was rotated by a call that did not
// finish: then the connection takes over the stored key if it is the same one.
func (s *Service) replaceKey(ctx context.Context, op audit.Op, next Connection, p Provider, r rotation, did *once) (Connection, error) {
	if next.Status != Active {
		return Connection{}, fault.New(fault.Conflict, "connection.Rotate", "this connection is revoked; create a new one")
	}
	if err := checkKey(p, r.key, next.Hint); err != nil {
		return Connection{}, err
	}
	if did.health == nil {
		h, err := s.validate(ctx, op, next, r.key)
		if err != nil {
			return Connection{}, err
		}
		did.health = &h
	}
	if did.sealed == nil {
		head, err := s.rotate(ctx, op, next, r)
		if err != nil {
			return Connection{}, err
		}
		did.sealed = &head
	}
	next.Keyless, next.Cooldown, next.Health = false, Cooldown{}, *did.health
	return next.sealed(*did.sealed), nil
}

// sealed is c with what the vault says of its key.
func (c Connection) sealed(h vault.Head) Connection {
	c.Hint, c.Fingerprint, c.PreviousUntil = h.Hint(), h.Fingerprint(), time.Time{}
	for _, d := range h.Drains {
		if d.Field == KeyField && d.Until.After(c.PreviousUntil) {
			c.PreviousUntil = d.Until
		}
	}
	return c
}

// rotation is a new key and how long the one it replaces is kept.
type rotation struct {
	key     secret.Text
	overlap time.Duration
}

func (s *Service) rotate(ctx context.Context, op audit.Op, c Connection, r rotation) (vault.Head, error) {
	stored, err := s.Vault.Head(ctx, c.Org, c.Class, c.ID)
	if fault.CodeOf(err) == fault.NotFound && c.Keyless {
		return s.Vault.Create(ctx, c.credential(op, r.key))
	}
	if err != nil {
		return vault.Head{}, err
	}
	if r.overlap == 0 && len(stored.Drains) > 0 {
		// Who wants no overlap wants none with an earlier rotation either.
		if _, err := s.Drains.FinishRotation(ctx, c.Ref(), KeyField, op); err != nil {
			return vault.Head{}, err
		}
	}
	head, err := s.Vault.Rotate(ctx, vault.Rotation{Ref: c.Ref(), Origin: c.Origin, Op: op, Overlap: r.overlap,
		Fields: map[string]secret.Text{KeyField: r.key}})
	if vault.ReasonOf(err) == vault.Duplicate && stored.Fingerprint() != c.Fingerprint && stored.Origin == c.Origin {
		alone, listErr := s.alone(ctx, stored)
		if listErr != nil {
			return vault.Head{}, listErr
		}
		if alone {
			return stored, nil
		}
	}
	return head, err
}

// alone reports whether no other credential can be the one that a new key is a
// duplicate of.
func (s *Service) alone(ctx context.Context, mine vault.Head) (bool, error) {
	heads, err := s.Vault.Heads(ctx, mine.Ref.Org)
	if err != nil {
		return false, err
	}
	for _, h := range heads {
		if h.Ref.ID != mine.Ref.ID && h.Status == vault.Active && h.Ref.Provider == mine.Ref.Provider && h.Origin == mine.Origin {
			return false, nil
		}
	}
	return true, nil
}
