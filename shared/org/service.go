package org

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Store keeps organisations. Each write puts its audit row in the same
// transaction.
type Store interface {
	// CreateOrg fails with conflict if the id is taken.
	CreateOrg(ctx context.Context, o Org, row audit.Row) error
	// Org fails with not_found.
	Org(ctx context.Context, id string) (Org, error)
	// UpdateOrg replaces the organisation, and its offer if it has one ([Org.Offer]), if the stored version is o.Version-1,
	// else it fails with conflict.
	UpdateOrg(ctx context.Context, o Org, row audit.Row) error
	// Orgs lists organisations by id; parent limits to the clients of an agency.
	Orgs(ctx context.Context, parent, after string, limit int) (orgs []Org, next string, err error)
}

// KeyStore keeps key records. Each write puts its audit row in the same
// transaction.
type KeyStore interface {
	// CreateKey fails with conflict if the id is taken.
	CreateKey(ctx context.Context, k Key, row audit.Row) error
	// Key returns nil without error when there is no such key.
	Key(ctx context.Context, org, id string) (*Key, error)
	// Keys lists keys by id.
	Keys(ctx context.Context, org, after string, limit int) (keys []Key, next string, err error)
	// RevokeKey marks a key revoked; a second call keeps the first time and
	// writes nothing. It fails with not_found.
	RevokeKey(ctx context.Context, org, id string, row audit.Row) error
}

// ConfigStore keeps settings and the operator's tier overrides. Each write puts
// its audit row in the same transaction.
type ConfigStore interface {
	// Settings returns the stored settings and their version; the defaults and 0
	// when nothing is stored.
	Settings(ctx context.Context, org string) (Settings, int64, error)
	// PutSettings stores settings as version seen+1, here and on the
	// organisation; it fails with conflict if the stored version is not seen.
	PutSettings(ctx context.Context, org string, s Settings, seen int64, row audit.Row) error
	// Tiers returns the overrides and their version.
	Tiers(ctx context.Context) (Tiers, int64, error)
	// PutTiers stores the overrides as version seen+1 or fails with conflict.
	PutTiers(ctx context.Context, t Tiers, seen int64, row audit.Row) error
}

// Ledger opens the account of a new organisation.
type Ledger interface {
	// OpenAccount must be idempotent.
	OpenAccount(ctx context.Context, org string, now time.Time) error
}

// Service carries the rules for organisations, keys, settings and tiers.
type Service struct {
	Orgs   Store
	Keys   KeyStore
	Config ConfigStore
	Ledger Ledger
	// Sharing is needed where organisations with clients are changed or created.
	Sharing SharingStore
	Random  io.Reader // of the key secrets; crypto/rand outside tests
}

// Draft is a new organisation.
type Draft struct {
	ID       string // made by the caller; the same id for a repeat of the same request
	Name     string
	Tier     taxonomy.Tier
	ParentID string
	Limits   Limits
}

// Create makes an organisation. The ledger account comes first, so that there is
// never an organisation without one: after a crash in between, the same request
// with the same id opens nothing twice and finishes. A repeat with equal content
// returns the stored organisation, other content fails with conflict.
func (s *Service) Create(ctx context.Context, op audit.Op, d Draft) (Org, error) {
	o := Org{ID: d.ID, Name: d.Name, Tier: d.Tier, ParentID: d.ParentID, Status: Active, LedgerMode: LedgerCredit,
		Limits: d.Limits, Version: 1, CreatedAt: op.At.UTC().Truncate(time.Millisecond)}
	if err := s.checkNew(ctx, o); err != nil {
		return Org{}, err
	}
	if err := s.Ledger.OpenAccount(ctx, o.ID, op.At); err != nil {
		return Org{}, err
	}
	err := s.Orgs.CreateOrg(ctx, o, op.Row(o.ID, "org.create", o.ID, "tier", string(o.Tier), "parent_org_id", o.ParentID))
	if err == nil {
		return o, s.adopt(ctx, op, o)
	}
	if fault.CodeOf(err) != fault.Conflict {
		return o, err
	}
	stored, getErr := s.Orgs.Org(ctx, o.ID)
	if getErr != nil {
		return Org{}, getErr
	}
	if stored.Name != o.Name || stored.Tier != o.Tier || stored.ParentID != o.ParentID || stored.Limits != o.Limits {
		return Org{}, err
	}
	return stored, s.adopt(ctx, op, stored)
}

func (s *Service) checkNew(ctx context.Context, o Org) error {
	if err := CheckID(o.ID); err != nil {
		return err
	}
	if err := CheckName("name", o.Name); err != nil {
		return err
	}
	if _, ok := taxonomy.ParseTier(string(o.Tier)); !ok {
		return invalid("tier", "tier is free, pro, agency or enterprise")
	}
	if err := o.Limits.Check(); err != nil {
		return err
	}
	if o.ParentID == "" {
		return nil
	}
	if err := CheckID(o.ParentID); err != nil {
		return invalid("parent_org_id", "parent_org_id is not an organisation")
	}
	parent, err := s.Orgs.Org(ctx, o.ParentID)
	if fault.CodeOf(err) == fault.NotFound || err == nil && parent.ParentID != "" {
		return invalid("parent_org_id", "parent_org_id must be an existing organisation that has no parent itself")
	}
	if err != nil {
		return err
	}
	tiers, _, err := s.Config.Tiers(ctx)
	if err != nil {
		return err
	}
	return tiers.Require(parent.Tier, FeatureAgency)
}

// Patch changes an organisation; nil means unchanged.
type Patch struct {
	Name   *string
	Tier   *taxonomy.Tier
	Status *Status
	Limits *Limits
}

// Update applies a patch to the stored organisation. It fails with not_found,
// invalid_request, or conflict when someone else changed it meanwhile.
func (s *Service) Update(ctx context.Context, op audit.Op, id string, p Patch) (Org, error) {
	o, err := s.Orgs.Org(ctx, id)
	if err != nil {
		return Org{}, err
	}
	var changed []string
	if p.Name != nil {
		if err := CheckName("name", *p.Name); err != nil {
			return Org{}, err
		}
		o.Name, changed = *p.Name, append(changed, "name")
	}
	if p.Tier != nil {
		tier, ok := taxonomy.ParseTier(string(*p.Tier))
		if !ok {
			return Org{}, invalid("tier", "tier is free, pro, agency or enterprise")
		}
		o.Tier, changed = tier, append(changed, "tier")
	}
	if p.Status != nil {
		if *p.Status != Active && *p.Status != Suspended {
			return Org{}, invalid("status", "status is active or suspended")
		}
		o.Status, changed = *p.Status, append(changed, "status")
	}
	if p.Limits != nil {
		if err := p.Limits.Check(); err != nil {
			return Org{}, err
		}
		o.Limits, changed = *p.Limits, append(changed, "limits")
	}
	if len(changed) == 0 {
		return o, nil
	}
	if o.Sharing.Version > 0 && (p.Tier != nil || p.Status != nil) {
		o.Sharing.Version++ // whether clients may draw depends on both
	}
	o.Version++
	return o, s.Orgs.UpdateOrg(ctx, o, op.Row(id, "org.update", id,
		"changed", strings.Join(changed, " "), "tier", string(o.Tier), "status", string(o.Status)))
}

// KeyDraft is a new key.
type KeyDraft struct {
	ID        string // made by the caller, without underscore
	Name      string
	Scopes    []Scope
	AgentID   string
	ExpiresAt time.Time
	Limits    Limits
}

// IssueKey makes a key for an organisation, or an operator key when org is
// [Operator] (the caller decides who may ask for that). The key itself is
// returned here and can never be read again.
func (s *Service) IssueKey(ctx context.Context, op audit.Op, org string, d KeyDraft) (Key, secret.Text, error) {
	k := Key{ID: d.ID, Org: org, Name: d.Name, Scopes: d.Scopes, AgentID: d.AgentID, Limits: d.Limits,
		CreatedAt: op.At.UTC().Truncate(time.Millisecond), ExpiresAt: d.ExpiresAt.UTC().Truncate(time.Millisecond)}
	if d.ExpiresAt.IsZero() {
		k.ExpiresAt = time.Time{}
	}
	if err := checkKey(k, op.At); err != nil {
		return Key{}, secret.Text{}, err
	}
	text, hash, err := Mint(org, k.ID, s.Random)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	k.Hash = hash
	words := make([]string, len(k.Scopes))
	for i, sc := range k.Scopes {
		words[i] = string(sc)
	}
	row := op.Row(org, "key.create", k.ID, "scopes", strings.Join(words, " "), "agent_id", k.AgentID)
	if err := s.Keys.CreateKey(ctx, k, row); err != nil {
		return Key{}, secret.Text{}, err
	}
	return k, text, nil
}

func checkKey(k Key, now time.Time) error {
	if err := CheckName("name", k.Name); err != nil {
		return err
	}
	if len(k.Scopes) == 0 {
		return invalid("scopes", "a key needs at least one scope: invoke, audio, admin, billing or read")
	}
	if err := CheckAgentID(k.AgentID); err != nil {
		return err
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now) {
		return invalid("expires_at", "expires_at must lie in the future")
	}
	return k.Limits.Check()
}

// RevokeKey ends a key at once. Repeating it is no error.
func (s *Service) RevokeKey(ctx context.Context, op audit.Op, org, id string) error {
	return s.Keys.RevokeKey(ctx, org, id, op.Row(org, "key.revoke", id))
}

// Lookup authenticates a presented key string: shape, record, digest. It fails
// with [Unauthorized], or with unavailable when the record cannot be read.
func (s *Service) Lookup(ctx context.Context, presented string, now time.Time) (Key, error) {
	p, err := ParseKey(presented)
	if err != nil {
		return Key{}, err
	}
	rec, err := s.Keys.Key(ctx, p.Org, p.ID)
	if err != nil {
		return Key{}, err
	}
	if err := Authenticate(rec, p, now); err != nil {
		return Key{}, err
	}
	return *rec, nil
}

// PutSettings replaces the settings. seen is the version the caller read, or
// negative to replace whatever is stored.
func (s *Service) PutSettings(ctx context.Context, op audit.Op, org string, next Settings, seen int64) (Settings, int64, error) {
	var err error
	if next.Legacy == nil {
		if next, err = next.Normalise(); err != nil {
			return Settings{}, 0, err
		}
	}
	if seen < 0 {
		if _, seen, err = s.Config.Settings(ctx, org); err != nil {
			return Settings{}, 0, err
		}
	}
	err = s.Config.PutSettings(ctx, org, next, seen, op.Row(org, "settings.update", org))
	return next, seen + 1, err
}

// PutTiers changes the features of tiers; tiers that change does not name keep
// theirs.
func (s *Service) PutTiers(ctx context.Context, op audit.Op, change func(Tiers) Tiers) (Tiers, error) {
	current, seen, err := s.Config.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	next := change(current.Clone())
	return next, s.Config.PutTiers(ctx, next, seen, op.Row(Operator, "tiers.update", "tiers"))
}
