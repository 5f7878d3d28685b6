package connection

import (
	"context"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Store keeps connections. Each write puts its audit row in the same
// transaction and keeps a key fingerprint unique among an organisation's active
// connections.
type Store interface {
	// Connection reads one connection consistently; not_found if absent.
	Connection(ctx context.Context, org, id string) (Connection, error)
	// Connections lists all connections of an organisation, consistently.
	Connections(ctx context.Context, org string) ([]Connection, error)
	// CreateConnection fails with conflict if the id or the fingerprint is
	// taken.
	CreateConnection(ctx context.Context, c Connection, row audit.Row) error
	// UpdateConnection replaces old by next if old's version is still stored,
	// else it fails with conflict; it fails with [fault.Conflict] and param
	// api_key if next's fingerprint is taken by another connection.
	UpdateConnection(ctx context.Context, old, next Connection, row audit.Row) error
	// DeleteConnection removes the connection if old's version is still stored,
	// else it fails with conflict.
	DeleteConnection(ctx context.Context, old Connection, row audit.Row) error
}

// Vault keeps the keys; [vault.Vault] implements it.
type Vault interface {
	Create(ctx context.Context, c vault.NewCredential) (vault.Head, error)
	Rotate(ctx context.Context, r vault.Rotation) (vault.Head, error)
	Revoke(ctx context.Context, ref vault.Ref, by audit.Op) (vault.Head, error)
	Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error)
	Heads(ctx context.Context, org string) ([]vault.Head, error)
}

// Provider is what the rules need to know of a vendor that has an adapter.
type Provider struct {
	ID             taxonomy.Provider
	DefaultBaseURL string // empty: the connection must name one
	Capabilities   []taxonomy.Capability
	KeyRequired    bool
	VoiceOnly      bool // its keys have class voice_key
	DefaultBilling taxonomy.BillingSource
	// CheckKey refuses what cannot be a key of this vendor.
	CheckKey func(secret.Text) error
	// CheckURL refuses a base URL that a tenant's key must not be sent to.
	CheckURL func(string) error
}

// Service carries the rules for connections.
type Service struct {
	Store     Store
	Vault     Vault
	Providers []Provider
}

// MaxPerOrg bounds the connections of one organisation, which are read with
// every request.
const MaxPerOrg = 100

// Draft is a new connection. Zero pointers take the defaults.
type Draft struct {
	ID       string
	Provider string
	Key      secret.Text
	Patch
}

// Patch changes a connection; nil and an empty key mean unchanged.
type Patch struct {
	Label                 *string
	BaseURL               *string
	Key                   secret.Text
	Priority              *int64
	Enabled               *bool
	Models                *[]string
	BillingSource         *string
	AllowPlatformFallback *bool
	DefaultVoiceID        *string
}

// Create seals the key and makes the connection. It fails with billing_denied
// naming the tiers that have byok, invalid_request, or conflict when the
// organisation already uses this key.
func (s *Service) Create(ctx context.Context, op audit.Op, o org.Org, tiers org.Tiers, d Draft) (Connection, error) {
	if err := tiers.Require(o.Tier, org.FeatureBYOK); err != nil {
		return Connection{}, err
	}
	p, err := s.provider(d.Provider)
	if err != nil {
		return Connection{}, err
	}
	existing, err := s.Store.Connections(ctx, o.ID)
	if err != nil {
		return Connection{}, err
	}
	if len(existing) >= MaxPerOrg {
		return Connection{}, fault.New(fault.Conflict, "connection.Create", "an organisation can have at most 100 connections; delete one first")
	}
	key := d.Key
	if key.IsZero() {
		key = d.Patch.Key
	}
	d.Patch.Key = secret.Text{}
	c := Connection{
		ID: d.ID, Org: o.ID, Provider: p.ID, Label: string(p.ID), Enabled: true, BillingSource: p.DefaultBilling,
		Priority: int64(len(ForModel(existing, p.ID, ""))), Capabilities: p.Capabilities, Health: Health{Status: Unknown},
		Status: Active, Class: class(p), Keyless: key.IsZero(), CreatedAt: op.At.UTC().Truncate(time.Millisecond), Version: 1,
	}
	if c, err = d.Patch.apply(c, p); err != nil {
		return Connection{}, err
	}
	if c.Keyless && p.KeyRequired {
		return Connection{}, invalid("api_key", "this provider needs an api_key")
	}
	if err := checkKey(p, key, ""); err != nil {
		return Connection{}, err
	}
	return s.create(ctx, op, c, key)
}

func (s *Service) create(ctx context.Context, op audit.Op, c Connection, key secret.Text) (Connection, error) {
	if !c.Keyless {
		head, err := s.seal(ctx, op, c, key)
		if err != nil {
			return Connection{}, err
		}
		c.Hint, c.Fingerprint = head.Hint(), head.Fingerprint()
	}
	err := s.Store.CreateConnection(ctx, c, op.Row(c.Org, "connection.create", c.ID, "provider", string(c.Provider),
		"label", c.Label, "billing_source", string(c.BillingSource), "fingerprint", c.Fingerprint))
	if err == nil {
		return c, nil
	}
	// An unknown outcome may have been written: only a connection that is surely
	// absent has its key taken back.
	stored, readErr := s.Store.Connection(ctx, c.Org, c.ID)
	if readErr == nil {
		return stored, nil
	}
	if fault.CodeOf(readErr) == fault.NotFound && !c.Keyless {
		if _, revokeErr := s.Vault.Revoke(ctx, c.Ref(), op); revokeErr != nil {
			return Connection{}, revokeErr
		}
	}
	return Connection{}, err
}

// Update applies a patch. A new base URL needs the key again, because a key may
// only go where it was meant to go; a new key clears cooldown and failures.
func (s *Service) Update(ctx context.Context, op audit.Op, orgID, id string, patch Patch) (Connection, error) {
	var sealed *vault.Head
	return s.change(ctx, orgID, id, func(old Connection) (Connection, audit.Row, error) {
		p, err := s.provider(string(old.Provider))
		if err != nil {
			return Connection{}, audit.Row{}, err
		}
		next, err := patch.apply(old, p)
		if err != nil {
			return Connection{}, audit.Row{}, err
		}
		moved := next.BaseURL != old.BaseURL
		if moved && !old.Keyless && patch.Key.IsZero() {
			return Connection{}, audit.Row{}, invalid("api_key", "changing base_url needs the api_key again")
		}
		if moved {
			next.Cooldown, next.Health = Cooldown{}, Health{Status: Unknown}
		}
		if !patch.Key.IsZero() {
			if next, err = s.replaceKey(ctx, op, next, p, patch.Key, &sealed); err != nil {
				return Connection{}, audit.Row{}, err
			}
		}
		return next, op.Row(orgID, "connection.update", id, "changed", patch.names(), "fingerprint", next.Fingerprint), nil
	})
}

// Rotate replaces the key. The old one is not used by any request that starts
// afterwards.
func (s *Service) Rotate(ctx context.Context, op audit.Op, orgID, id string, key secret.Text) (Connection, error) {
	if key.IsZero() {
		return Connection{}, invalid("api_key", "the new api_key is needed")
	}
	var sealed *vault.Head
	return s.change(ctx, orgID, id, func(old Connection) (Connection, audit.Row, error) {
		p, err := s.provider(string(old.Provider))
		if err != nil {
			return Connection{}, audit.Row{}, err
		}
		next, err := s.replaceKey(ctx, op, old, p, key, &sealed)
		return next, op.Row(orgID, "connection.rotate", id, "provider", string(old.Provider), "fingerprint", next.Fingerprint), err
	})
}

// Revoke ends a connection: first it stops being selected, then its key is
// revoked. Repeating it finishes what a crash left.
func (s *Service) Revoke(ctx context.Context, op audit.Op, orgID, id string) (Connection, error) {
	c, err := s.change(ctx, orgID, id, func(old Connection) (Connection, audit.Row, error) {
		next := old
		next.Status = Revoked
		return next, op.Row(orgID, "connection.revoke", id, "provider", string(old.Provider)), nil
	})
	if err != nil || c.Keyless {
		return c, err
	}
	_, err = s.Vault.Revoke(ctx, c.Ref(), op)
	return c, err
}

// Delete revokes and removes a connection.
func (s *Service) Delete(ctx context.Context, op audit.Op, orgID, id string) error {
	for try := 1; ; try++ {
		// Each row of one operation needs its own key.
		first := op
		first.ID += "-revoke"
		c, err := s.Revoke(ctx, first, orgID, id)
		if err != nil {
			return err
		}
		err = s.Store.DeleteConnection(ctx, c, op.Row(orgID, "connection.delete", id, "provider", string(c.Provider)))
		if fault.CodeOf(err) != fault.Conflict || try == maxTries {
			return err
		}
	}
}

// change reads, changes and writes one connection, again when a cooldown was
// written in between.
func (s *Service) change(ctx context.Context, orgID, id string, f func(Connection) (Connection, audit.Row, error)) (Connection, error) {
	for try := 1; ; try++ {
		old, err := s.Store.Connection(ctx, orgID, id)
		if err != nil {
			return Connection{}, err
		}
		next, row, err := f(old)
		if err != nil {
			return Connection{}, err
		}
		if next.Status == old.Status && old.Status == Revoked && row.Action == "connection.revoke" {
			return old, nil
		}
		next.Version = old.Version + 1
		err = s.Store.UpdateConnection(ctx, old, next, row)
		if err == nil {
			return next, nil
		}
		taken := fault.As(err).Param == "api_key"
		if fault.CodeOf(err) != fault.Conflict || taken || try == maxTries {
			return Connection{}, err
		}
	}
}

func (s *Service) provider(word string) (Provider, error) {
	id, _ := taxonomy.ParseProvider(word)
	names := make([]string, 0, len(s.Providers))
	for _, p := range s.Providers {
		if p.ID == id {
			return p, nil
		}
		names = append(names, string(p.ID))
	}
	return Provider{}, invalid("provider", "this provider is not available; available are "+strings.Join(names, ", "))
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "connection", message).WithParam(param)
}
