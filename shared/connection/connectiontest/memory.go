// Package connectiontest holds an in-memory store of connections and the suite
// that every implementation runs. It is imported by _test files only.
package connectiontest

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
)

// Memory implements [connection.Store], [connection.CooldownStore],
// [connection.HealthStore], [connection.OfferStore] and [connection.Limiter]. It is safe for concurrent
// use.
type Memory struct {
	// Audit gets the rows; nil drops them.
	Audit audit.Store
	// Before is called before each write, to let another writer in between or to
	// fail; nil does nothing.
	Before func(action string) error

	mu     sync.Mutex
	conns  map[string]connection.Connection
	counts map[string]int64
	offers map[string]connection.Offers
}

// NewMemory returns an empty store that writes its audit rows to rows.
func NewMemory(rows audit.Store) *Memory {
	return &Memory{Audit: rows, conns: map[string]connection.Connection{}}
}

func (m *Memory) before(action string) error {
	if m.Before == nil {
		return nil
	}
	return m.Before(action)
}

func (m *Memory) record(ctx context.Context, row audit.Row) error {
	if m.Audit == nil {
		return nil
	}
	return m.Audit.PutAudit(ctx, row)
}

// taken reports whether another active connection holds c's key for its origin.
func (m *Memory) taken(c connection.Connection) bool {
	if c.Status != connection.Active || c.Fingerprint == "" {
		return false
	}
	for _, x := range m.conns {
		if x.Org == c.Org && x.ID != c.ID && x.Status == connection.Active && x.Fingerprint == c.Fingerprint && x.Origin == c.Origin {
			return true
		}
	}
	return false
}

func lost() error { return fault.New(fault.Conflict, "connectiontest", "changed meanwhile") }

func keyTaken() error {
	return fault.New(fault.Conflict, "connectiontest", "another connection uses this key").WithParam("api_key")
}

// Connection implements [connection.Store].
func (m *Memory) Connection(_ context.Context, org, id string) (connection.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.conns[org+"/"+id]
	if !ok {
		return connection.Connection{}, fault.New(fault.NotFound, "connectiontest", "there is no such connection")
	}
	return c, nil
}

// Connections implements [connection.Store].
func (m *Memory) Connections(_ context.Context, org string) ([]connection.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []connection.Connection
	for _, c := range m.conns {
		if c.Org == org {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b connection.Connection) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// CreateConnection implements [connection.Store].
func (m *Memory) CreateConnection(ctx context.Context, c connection.Connection, row audit.Row) error {
	if err := m.before("create"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.conns[c.Org+"/"+c.ID]; ok {
		return lost()
	}
	if m.taken(c) {
		return keyTaken()
	}
	m.conns[c.Org+"/"+c.ID] = c
	return m.record(ctx, row)
}

// UpdateConnection implements [connection.Store].
func (m *Memory) UpdateConnection(ctx context.Context, old, next connection.Connection, row audit.Row) error {
	if err := m.before("update"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns[old.Org+"/"+old.ID].Version != old.Version {
		return lost()
	}
	if m.taken(next) {
		return keyTaken()
	}
	m.conns[old.Org+"/"+old.ID] = next
	return m.record(ctx, row)
}

// DeleteConnection implements [connection.Store].
func (m *Memory) DeleteConnection(ctx context.Context, old connection.Connection, row audit.Row) error {
	if err := m.before("delete"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns[old.Org+"/"+old.ID].Version != old.Version {
		return lost()
	}
	delete(m.conns, old.Org+"/"+old.ID)
	delete(m.offers, old.Org+"/"+old.ID)
	return m.record(ctx, row)
}

// SetCooldown implements [connection.CooldownStore].
func (m *Memory) SetCooldown(_ context.Context, org, id string, c connection.Cooldown, seen int64) error {
	if err := m.before("cool"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored := m.conns[org+"/"+id]
	if stored.Version != seen {
		return lost()
	}
	stored.Cooldown = c
	stored.Version++
	m.conns[org+"/"+id] = stored
	return nil
}
