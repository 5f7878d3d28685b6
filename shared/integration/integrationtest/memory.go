// Package integrationtest holds what tests of integrations need: a store in
// memory, the suite that every store has to pass, a vendor with single-use
// refresh tokens, and a model that runs random sequences of reads, refreshes,
// mode changes, backfills and crashes.
//
// It is imported by _test files and by no function.
package integrationtest

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// Memory is an [integration.Store] with the vault's store in memory. It is safe
// for concurrent use.
type Memory struct {
	// Vault is the store of the credentials.
	Vault *vaulttest.Store

	mu     sync.Mutex
	heads  map[[2]string]integration.Integration
	legacy map[[2]string]integration.LegacyCopy
	rows   []audit.Row
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{Vault: vaulttest.NewStore(), heads: map[[2]string]integration.Integration{}, legacy: map[[2]string]integration.LegacyCopy{}}
}

// Rows returns the audit rows in the order of writing.
func (m *Memory) Rows() []audit.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows)
}

// Integration implements [integration.Store].
func (m *Memory) Integration(_ context.Context, org, id string) (integration.Integration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.heads[[2]string{org, id}]
	if !ok {
		return integration.Integration{}, integration.ErrAbsent
	}
	return copyHead(i), nil
}

// Integrations implements [integration.Store].
func (m *Memory) Integrations(_ context.Context, org, after string, limit int) ([]integration.Integration, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []integration.Integration
	for k, i := range m.heads {
		if k[0] == org && k[1] > after {
			out = append(out, copyHead(i))
		}
	}
	slices.SortFunc(out, func(a, b integration.Integration) int { return cmp.Compare(a.ID, b.ID) })
	if len(out) <= limit {
		return out, "", nil
	}
	return out[:limit], out[limit-1].ID, nil
}

// Legacy implements [integration.Store].
func (m *Memory) Legacy(_ context.Context, org, id string) (integration.LegacyCopy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.legacy[[2]string{org, id}]
	if !ok {
		return integration.LegacyCopy{}, integration.ErrAbsent
	}
	c.Fields = slices.Clone(c.Fields)
	return c, nil
}

// WriteIntegration implements [integration.Store].
func (m *Memory) WriteIntegration(ctx context.Context, c integration.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holds(c) {
		return integration.ErrLost
	}
	m.apply(c)
	return nil
}

func (m *Memory) holds(c integration.Change) bool {
	if c.Row != nil && slices.ContainsFunc(m.rows, func(r audit.Row) bool { return r.Org == c.Row.Org && r.ID == c.Row.ID && r.At.Equal(c.Row.At) }) {
		return false // a row is written once
	}
	if c.Remove != nil {
		old, ok := m.heads[[2]string{c.Remove.Org, c.Remove.ID}]
		return ok && old.Version == c.Remove.Version
	}
	if c.Next == nil {
		return true
	}
	old, ok := m.heads[[2]string{c.Next.Org, c.Next.ID}]
	g := c.Guard
	switch {
	case ok != (c.Next.Version > 1) || ok && old.Version != c.Next.Version-1:
		return false
	case g.Mode != "" && old.Mode != g.Mode:
		return false
	case g.Migration && (old.Legacy.Hash != g.LegacyHash || old.New.Rev != g.NewRev):
		return false
	case !g.VerifiedBy.IsZero() && (old.New.Rev == 0 || old.New.VerifiedAt.IsZero() || old.New.VerifiedAt.After(g.VerifiedBy)):
		return false
	}
	return true
}

func (m *Memory) apply(c integration.Change) {
	if c.Row != nil {
		m.rows = append(m.rows, *c.Row)
	}
	if c.Remove != nil {
		k := [2]string{c.Remove.Org, c.Remove.ID}
		delete(m.heads, k)
		delete(m.legacy, k)
		return
	}
	if c.Next == nil {
		return
	}
	k := [2]string{c.Next.Org, c.Next.ID}
	m.heads[k] = copyHead(*c.Next)
	if c.Legacy != nil {
		m.legacy[k] = integration.LegacyCopy{Rev: c.Legacy.Rev, Fields: slices.Clone(c.Legacy.Fields)}
	}
	if c.DropLegacy {
		delete(m.legacy, k)
	}
}

// copyHead copies what a head shares.
func copyHead(i integration.Integration) integration.Integration {
	next := i.Next(i.WriteID, i.UpdatedAt)
	next.Version, next.UpdatedAt = i.Version, i.UpdatedAt
	return next
}

// Paired implements [integration.Store].
func (m *Memory) Paired(c integration.Change) vault.Store { return &paired{m, c} }

type paired struct {
	m *Memory
	c integration.Change
}

func (p *paired) LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]vault.Credential, error) {
	return p.m.Vault.LoadClass(ctx, org, class)
}

func (p *paired) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error) {
	return p.m.Vault.Load(ctx, org, class, id)
}

func (p *paired) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	return p.m.Vault.Head(ctx, org, class, id)
}

func (p *paired) Heads(ctx context.Context, org string) ([]vault.Head, error) {
	return p.m.Vault.Heads(ctx, org)
}

func (p *paired) Write(ctx context.Context, c vault.Change) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if !p.m.holds(p.c) {
		return vault.ErrLost
	}
	c.Row = nil // that of the whole change says it all
	if err := p.m.Vault.Write(ctx, c); err != nil {
		return err
	}
	p.m.apply(p.c)
	return nil
}

func (p *paired) Ring(ctx context.Context) (vault.Ring, error) { return p.m.Vault.Ring(ctx) }
