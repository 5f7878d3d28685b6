// Package orgtest holds an in-memory store of organisations, keys, settings,
// tiers and audit rows, and the suite that every implementation of those stores
// runs. It is imported by _test files only.
package orgtest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// Memory implements [org.Store], [org.KeyStore], [org.ConfigStore],
// [org.SharingStore] and [audit.Store]. It is safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	orgs     map[string]org.Org
	keys     map[string]org.Key // "<org>/<id>"
	settings map[string]org.Settings
	tiers    org.Tiers
	tiersV   int64
	rows     []audit.Row
	heads    map[string]audit.Head
	offers   map[string]agency.Offer
	clients  map[string]carried
}

type carried struct {
	client  agency.Client
	version int64
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{orgs: map[string]org.Org{}, keys: map[string]org.Key{}, settings: map[string]org.Settings{}, tiers: org.Tiers{},
		heads: map[string]audit.Head{}, offers: map[string]agency.Offer{}, clients: map[string]carried{}}
}

// Rows returns a copy of all audit rows in the order of writing.
func (m *Memory) Rows() []audit.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows)
}

func (m *Memory) put(row audit.Row) {
	if !slices.ContainsFunc(m.rows, func(r audit.Row) bool { return r.Org == row.Org && r.ID == row.ID && r.At.Equal(row.At) }) {
		row, m.heads[row.Org] = m.heads[row.Org].Next(row)
		m.rows = append(m.rows, row)
	}
}

// AuditHead implements [audit.Chain].
func (m *Memory) AuditHead(_ context.Context, id string) (audit.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heads[id], nil
}

// AuditMonth implements [audit.Chain].
func (m *Memory) AuditMonth(_ context.Context, id string, month time.Time, f func(audit.Stored) error) error {
	for _, r := range m.Rows() {
		if r.Org == id && r.At.Format("200601") == month.UTC().Format("200601") {
			if err := f(audit.Stored{Row: r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutAudit implements [audit.Store].
func (m *Memory) PutAudit(_ context.Context, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(row)
	return nil
}

// Audit implements [audit.Store].
func (m *Memory) Audit(_ context.Context, id, after string, limit int, _ time.Time) ([]audit.Row, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var mine []audit.Row
	for _, r := range m.rows {
		if r.Org == id && (after == "" || rowKey(r) < after) {
			mine = append(mine, r)
		}
	}
	slices.SortFunc(mine, func(a, b audit.Row) int { return cmp.Compare(rowKey(b), rowKey(a)) })
	if len(mine) <= limit {
		return mine, "", nil
	}
	return mine[:limit], rowKey(mine[limit-1]), nil
}

func rowKey(r audit.Row) string { return r.At.UTC().Format("20060102150405.000") + "#" + r.ID }

func conflict(message string) error { return fault.New(fault.Conflict, "orgtest", message) }

// CreateOrg implements [org.Store].
func (m *Memory) CreateOrg(_ context.Context, o org.Org, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.orgs[o.ID]; ok {
		return conflict("an organisation with this id exists already with other values")
	}
	m.orgs[o.ID] = o
	m.put(row)
	return nil
}

// Org implements [org.Store].
func (m *Memory) Org(_ context.Context, id string) (org.Org, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.orgs[id]
	if !ok {
		return org.Org{}, fault.New(fault.NotFound, "orgtest", "there is no such organisation")
	}
	return o, nil
}

// UpdateOrg implements [org.Store].
func (m *Memory) UpdateOrg(_ context.Context, o org.Org, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, ok := m.orgs[o.ID]
	if !ok || stored.Version != o.Version-1 {
		return conflict("this was changed by someone else meanwhile; read it again and repeat")
	}
	o.SettingsVersion = stored.SettingsVersion
	m.orgs[o.ID] = o
	if o.Sharing.Version > 0 {
		m.offers[o.ID] = o.Offer()
	}
	m.put(row)
	return nil
}

// Adopt stores an organisation as it is, without a row.
func (m *Memory) Adopt(o org.Org) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orgs[o.ID] = o
}

// Client implements [org.SharingStore].
func (m *Memory) Client(_ context.Context, id string) (agency.Client, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clients[id].client, m.clients[id].version, nil
}

// PutClient implements [org.SharingStore].
func (m *Memory) PutClient(_ context.Context, id string, c agency.Client, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clients[id].version != seen {
		return conflict("this was changed by someone else meanwhile; read it again and repeat")
	}
	m.clients[id] = carried{c, seen + 1}
	m.put(row)
	return nil
}

// Offer implements [org.SharingStore].
func (m *Memory) Offer(_ context.Context, id string) (agency.Offer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offers[id], nil
}

// Drawn implements [org.SharingStore]: nothing is.
func (m *Memory) Drawn(context.Context, string, string, []string) (int64, map[string]int64, error) {
	return 0, nil, nil
}

// ShardsInUse implements [org.SharingStore].
func (m *Memory) ShardsInUse(context.Context, string) (int, error) { return 0, nil }

// Orgs implements [org.Store].
func (m *Memory) Orgs(_ context.Context, parent, after string, limit int) ([]org.Org, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []org.Org
	for _, o := range m.orgs {
		if (parent == "" || o.ParentID == parent) && o.ID > after {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b org.Org) int { return cmp.Compare(a.ID, b.ID) })
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], all[limit-1].ID, nil
}

// CreateKey implements [org.KeyStore].
func (m *Memory) CreateKey(_ context.Context, k org.Key, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[k.Org+"/"+k.ID]; ok {
		return conflict("a key with this id exists already")
	}
	m.keys[k.Org+"/"+k.ID] = k
	m.put(row)
	return nil
}

// Key implements [org.KeyStore].
func (m *Memory) Key(_ context.Context, orgID, id string) (*org.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[orgID+"/"+id]
	if !ok {
		return nil, nil
	}
	return &k, nil
}

// Keys implements [org.KeyStore].
func (m *Memory) Keys(_ context.Context, orgID, after string, limit int) ([]org.Key, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []org.Key
	for _, k := range m.keys {
		if k.Org == orgID && k.ID > after {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b org.Key) int { return cmp.Compare(a.ID, b.ID) })
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], all[limit-1].ID, nil
}

// RevokeKey implements [org.KeyStore].
func (m *Memory) RevokeKey(_ context.Context, orgID, id string, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[orgID+"/"+id]
	if !ok {
		return fault.New(fault.NotFound, "orgtest", "there is no such key")
	}
	if k.RevokedAt.IsZero() {
		k.RevokedAt = row.At
		m.keys[orgID+"/"+id] = k
		m.put(row)
	}
	return nil
}

// Settings implements [org.ConfigStore].
func (m *Memory) Settings(_ context.Context, id string) (org.Settings, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.settings[id]
	if !ok {
		return org.DefaultSettings(), 0, nil
	}
	return s, m.orgs[id].SettingsVersion, nil
}

// PutSettings implements [org.ConfigStore].
func (m *Memory) PutSettings(_ context.Context, id string, s org.Settings, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.orgs[id]
	if !ok || o.SettingsVersion != seen {
		return conflict("this was changed by someone else meanwhile; read it again and repeat")
	}
	o.SettingsVersion++
	m.orgs[id], m.settings[id] = o, s
	m.put(row)
	return nil
}

// Tiers implements [org.ConfigStore].
func (m *Memory) Tiers(context.Context) (org.Tiers, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tiers.Clone(), m.tiersV, nil
}

// PutTiers implements [org.ConfigStore].
func (m *Memory) PutTiers(_ context.Context, t org.Tiers, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen != m.tiersV {
		return conflict("this was changed by someone else meanwhile; read it again and repeat")
	}
	m.tiers, m.tiersV = t.Clone(), seen+1
	m.put(row)
	return nil
}
