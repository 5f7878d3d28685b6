// Package installtest holds the contract of the install stores as a suite and an
// in-memory implementation of it.
package installtest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
)

// Memory implements [install.Store] and [install.BindingStore].
type Memory struct {
	mu       sync.Mutex
	installs map[string]install.Install
	bindings map[string][]install.Binding
	claims   map[string]string
	// Rows are the audit rows written.
	Rows []audit.Row
	// Fail, if set, is asked before every read with the method's name.
	Fail func(method string) error
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{installs: map[string]install.Install{}, bindings: map[string][]install.Binding{}, claims: map[string]string{}}
}

func missing() error { return fault.New(fault.NotFound, "installtest", "there is no such install") }

func taken(field string) error {
	return fault.New(fault.Conflict, "installtest", "taken").WithParam(field)
}

// Install implements [install.Store].
func (m *Memory) Install(_ context.Context, id string) (install.Install, []install.Binding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		if err := m.Fail("Install"); err != nil {
			return install.Install{}, nil, err
		}
	}
	i, ok := m.installs[id]
	if !ok {
		return install.Install{}, nil, missing()
	}
	return i, slices.Clone(m.bindings[id]), nil
}

// Version gives the number that every change of an install or its bindings raises.
func (m *Memory) Version(_ context.Context, id string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		if err := m.Fail("Version"); err != nil {
			return 0, err
		}
	}
	i, ok := m.installs[id]
	if !ok {
		return 0, missing()
	}
	return i.Version, nil
}

// raise makes the version of an install another one.
func (m *Memory) raise(id string) {
	i := m.installs[id]
	i.Version++
	m.installs[id] = i
}

// InstallOf implements [install.Store].
func (m *Memory) InstallOf(ctx context.Context, provider, app, tenant string) (install.Install, []install.Binding, error) {
	m.mu.Lock()
	id, ok := m.claims["tenant#"+provider+"#"+app+"#"+tenant]
	m.mu.Unlock()
	if !ok {
		return install.Install{}, nil, missing()
	}
	return m.Install(ctx, id)
}

// Installs implements [install.Store].
func (m *Memory) Installs(_ context.Context, org, after string, limit int) ([]install.Install, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []install.Install
	for _, i := range m.installs {
		if i.Org == org && i.ID > after {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b install.Install) int { return strings.Compare(a.ID, b.ID) })
	if len(out) > limit {
		return out[:limit], out[limit-1].ID, nil
	}
	return out, "", nil
}

func key(i install.Install, c install.Claim) string {
	if c.Token != "" {
		return "token#" + c.Token
	}
	return "tenant#" + string(i.Provider) + "#" + c.App + "#" + c.Tenant
}

// CreateInstall implements [install.Store].
func (m *Memory) CreateInstall(_ context.Context, i install.Install, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.installs[i.ID]; ok {
		return taken("")
	}
	return m.put(install.Install{}, i, row)
}

func (m *Memory) put(old, next install.Install, row audit.Row) error {
	for _, c := range next.Claims {
		if holder, ok := m.claims[key(next, c)]; ok && holder != next.ID {
			why := install.ErrTenantInUse
			if c.Token != "" {
				why = install.ErrTokenInUse
			}
			return fault.Wrap(fault.Conflict, "installtest", "taken", why).WithParam(c.Field)
		}
	}
	for _, c := range old.Claims {
		delete(m.claims, key(old, c))
	}
	for _, c := range next.Claims {
		m.claims[key(next, c)] = next.ID
	}
	m.installs[next.ID] = next
	m.Rows = append(m.Rows, row)
	return nil
}

// UpdateInstall implements [install.Store].
func (m *Memory) UpdateInstall(_ context.Context, old, next install.Install, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if next.Version <= old.Version {
		return fault.Wrap(fault.Internal, "installtest", "internal", install.ErrVersionKept)
	}
	if m.installs[old.ID].Version != old.Version {
		return taken("")
	}
	return m.put(old, next, row)
}

func (m *Memory) find(b install.Binding) int {
	return slices.IndexFunc(m.bindings[b.Install], func(o install.Binding) bool { return o.ID == b.ID })
}

// CreateBinding implements [install.BindingStore].
func (m *Memory) CreateBinding(_ context.Context, b install.Binding, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(b) >= 0 {
		return fault.Wrap(fault.Conflict, "installtest", "taken", install.ErrAmbiguous).WithParam("selector")
	}
	if _, ok := m.installs[b.Install]; !ok {
		return missing()
	}
	m.bindings[b.Install] = append(m.bindings[b.Install], b)
	m.raise(b.Install)
	m.Rows = append(m.Rows, row)
	return nil
}

// UpdateBinding implements [install.BindingStore].
func (m *Memory) UpdateBinding(_ context.Context, b install.Binding, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.find(b)
	if k < 0 {
		return missing()
	}
	m.bindings[b.Install][k] = b
	m.raise(b.Install)
	m.Rows = append(m.Rows, row)
	return nil
}

// DeleteBinding implements [install.BindingStore].
func (m *Memory) DeleteBinding(_ context.Context, b install.Binding, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.find(b)
	if k < 0 {
		return missing()
	}
	m.bindings[b.Install] = slices.Delete(m.bindings[b.Install], k, k+1)
	m.raise(b.Install)
	m.Rows = append(m.Rows, row)
	return nil
}
