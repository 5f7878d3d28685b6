// Package rotationtest holds an in-memory store of vault jobs and [Run], the
// suite that every store has to pass together with a vault store: each row of
// the recovery table, with real cryptography.
//
// It is imported by _test files only.
package rotationtest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// Memory is a [rotation.Store] in memory. It is safe for concurrent use.
type Memory struct {
	vault *vaulttest.Store

	mu    sync.Mutex
	jobs  map[string]rotation.Job
	slots map[string]string
	rows  []audit.Row
}

// NewMemory returns an empty store whose rings are those of a vault store.
func NewMemory(v *vaulttest.Store) *Memory {
	return &Memory{vault: v, jobs: map[string]rotation.Job{}, slots: map[string]string{}}
}

// Lose removes the record of a job, and only that.
func (m *Memory) Lose(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.jobs, id)
}

// Rows lists the audit rows of jobs.
func (m *Memory) Rows() []audit.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows)
}

// Job implements [rotation.Store].
func (m *Memory) Job(_ context.Context, id string) (rotation.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.jobs[id]
	if !ok {
		return rotation.Job{}, rotation.ErrAbsent
	}
	return clone(j), nil
}

// Jobs implements [rotation.Store].
func (m *Memory) Jobs(_ context.Context, after string, limit int) ([]rotation.Job, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []rotation.Job
	for _, j := range m.jobs {
		if after == "" || j.ID < after {
			out = append(out, clone(j))
		}
	}
	slices.SortFunc(out, func(a, b rotation.Job) int { return strings.Compare(b.ID, a.ID) })
	if len(out) <= limit {
		return out, "", nil
	}
	return out[:limit], out[limit-1].ID, nil
}

// Open implements [rotation.Store].
func (m *Memory) Open(context.Context) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.slots), nil
}

// Write implements [rotation.Store].
func (m *Memory) Write(_ context.Context, w rotation.Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, exists := m.jobs[w.Job.ID]
	if exists != (w.Job.Rev > 1) || exists && stored.Rev != w.Job.Rev-1 {
		return rotation.ErrLost
	}
	slot := w.Job.Kind.Slot()
	if holder := m.slots[slot]; w.Slot == rotation.TakeSlot && holder != "" && holder != w.Job.ID && (w.Over == "" || holder != w.Over) {
		return rotation.ErrTaken
	}
	if w.Ring != nil {
		if err := m.vault.SetRing(*w.Ring); err != nil {
			return err
		}
	}
	m.jobs[w.Job.ID] = clone(w.Job)
	switch w.Slot {
	case rotation.TakeSlot:
		m.slots[slot] = w.Job.ID
	case rotation.FreeSlot:
		if m.slots[slot] == w.Job.ID {
			delete(m.slots, slot)
		}
	}
	if w.Audit != nil {
		m.rows = append(m.rows, *w.Audit)
	}
	return nil
}

func clone(j rotation.Job) rotation.Job {
	j.Failures = slices.Clone(j.Failures)
	return j
}
