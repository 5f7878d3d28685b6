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

// replaceKey puts a new key behind next. sealed keeps the result for a second
// try of the same operation, which must not rotate twice. A credential that is
// newer than the connection says was rotated by a call that did not finish: then
// the connection takes over the stored key if it is the same one.
func (s *Service) replaceKey(ctx context.Context, op audit.Op, next Connection, p Provider, key secret.Text, sealed **vault.Head) (Connection, error) {
	if next.Status != Active {
		return Connection{}, fault.New(fault.Conflict, "connection.Rotate", "this connection is revoked; create a new one")
	}
	if err := checkKey(p, key, next.Hint); err != nil {
		return Connection{}, err
	}
	if *sealed == nil {
		head, err := s.rotate(ctx, op, next, key)
		if err != nil {
			return Connection{}, err
		}
		*sealed = &head
	}
	next.Keyless, next.Hint, next.Fingerprint = false, (*sealed).Hint(), (*sealed).Fingerprint()
	next.Cooldown, next.Health = Cooldown{}, Health{Status: Unknown}
	return next, nil
}

func (s *Service) rotate(ctx context.Context, op audit.Op, c Connection, key secret.Text) (vault.Head, error) {
	stored, err := s.Vault.Head(ctx, c.Org, c.Class, c.ID)
	if fault.CodeOf(err) == fault.NotFound && c.Keyless {
		return s.Vault.Create(ctx, c.credential(op, key))
	}
	if err != nil {
		return vault.Head{}, err
	}
	head, err := s.Vault.Rotate(ctx, vault.Rotation{Ref: c.Ref(), Origin: c.Origin, Op: op,
		Fields: map[string]secret.Text{KeyField: key}})
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
