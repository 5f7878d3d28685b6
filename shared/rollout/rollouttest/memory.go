// Package rollouttest has an in-memory [rollout.Store] and the suite that it and the
// one of shared/dynamo pass. It is imported by tests only.
package rollouttest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/rollout"
)

// Rows takes audit rows.
type Rows interface {
	PutAudit(ctx context.Context, row audit.Row) error
}

// Memory implements [rollout.Store]. Safe for concurrent use.
type Memory struct {
	rows Rows

	mu     sync.Mutex
	stages map[string]rollout.Record
}

// New returns an empty store that writes audit rows to rows.
func New(rows Rows) *Memory { return &Memory{rows: rows, stages: map[string]rollout.Record{}} }

// Stage implements [rollout.Store].
func (m *Memory) Stage(_ context.Context, subject string) (rollout.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.stages[subject]
	r.Subject, r.Orgs = subject, slices.Clone(r.Orgs)
	return r, nil
}

// Stages implements [rollout.Store].
func (m *Memory) Stages(context.Context) ([]rollout.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []rollout.Record
	for _, r := range m.stages {
		r.Orgs = slices.Clone(r.Orgs)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b rollout.Record) int { return strings.Compare(a.Subject, b.Subject) })
	return out, nil
}

// PutStage implements [rollout.Store].
func (m *Memory) PutStage(ctx context.Context, next rollout.Record, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen != m.stages[next.Subject].Version {
		return fault.New(fault.Conflict, "rollouttest", "somebody else changed this meanwhile")
	}
	next.Version, next.Orgs = seen+1, slices.Clone(next.Orgs)
	m.stages[next.Subject] = next
	return m.rows.PutAudit(ctx, row)
}

// Run checks a store that holds nothing.
func Run(t *testing.T, s rollout.Store) {
	ctx := t.Context()
	at := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	row := func(id string) audit.Row {
		return audit.Op{Actor: "operator:k", ID: id, At: at}.Row(org.Operator, "rollout.promote", "a")
	}
	if r, err := s.Stage(ctx, "a"); err != nil || r.Version != 0 || r.Stage != "" || r.Subject != "a" {
		t.Fatalf("%+v %v", r, err)
	}
	first := rollout.Record{Subject: "a", Stage: rollout.Canary, Orgs: []string{"x", "y"}, By: "operator:k", At: at, Version: 1}
	second := rollout.Record{Subject: "a", Stage: rollout.Off, Reason: "it broke", By: "operator:l", At: at.Add(time.Second), Version: 2}
	other := rollout.Record{Subject: "b", Stage: rollout.On, Orgs: []string{"z"}, By: "operator:k", At: at, Version: 1}
	for i, want := range []rollout.Record{first, other, second} {
		if err := s.PutStage(ctx, want, want.Version-1, row("put"+string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Stage(ctx, want.Subject); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
	}
	for _, stale := range []int64{0, 1, 3} {
		if err := s.PutStage(ctx, first, stale, row("stale"+string(rune('0'+stale)))); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("version %d of 2: %v", stale, err)
		}
	}
	if got, err := s.Stages(ctx); err != nil || !reflect.DeepEqual(got, []rollout.Record{second, other}) {
		t.Errorf("%+v %v", got, err)
	}
}
