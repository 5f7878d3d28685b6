// Package commercialtest has an in-memory [commercial.Store] and the suite that it
// and the one of shared/dynamo pass. It is imported by tests only.
package commercialtest

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Rows takes audit rows.
type Rows interface {
	PutAudit(ctx context.Context, row audit.Row) error
}

// Memory implements [commercial.Store] and [commercial.Allowance]. Safe for
// concurrent use.
type Memory struct {
	rows Rows

	mu       sync.Mutex
	tiers    commercial.Tiers
	version  int64
	own      map[string]*commercial.Terms
	versions map[string]int64
	// Free is what every allowance took.
	Free int64
}

// New returns an empty store that writes audit rows to rows.
func New(rows Rows) *Memory {
	return &Memory{rows: rows, own: map[string]*commercial.Terms{}, versions: map[string]int64{}}
}

// Tiers implements [commercial.Store].
func (m *Memory) Tiers(context.Context) (commercial.Tiers, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.tiers), m.version, nil
}

// PutTiers implements [commercial.Store].
func (m *Memory) PutTiers(ctx context.Context, t commercial.Tiers, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen != m.version {
		return conflict()
	}
	m.tiers, m.version = maps.Clone(t), seen+1
	return m.rows.PutAudit(ctx, row)
}

// Organisation implements [commercial.Store].
func (m *Memory) Organisation(_ context.Context, org string) (*commercial.Terms, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own[org], m.versions[org], nil
}

// PutOrganisation implements [commercial.Store].
func (m *Memory) PutOrganisation(ctx context.Context, org string, t *commercial.Terms, seen int64, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen != m.versions[org] {
		return conflict()
	}
	m.own[org], m.versions[org] = t, seen+1
	return m.rows.PutAudit(ctx, row)
}

// FreeUsed implements [commercial.Allowance].
func (m *Memory) FreeUsed(context.Context, string, time.Time) (int64, error) { return m.Free, nil }

func conflict() error {
	return fault.New(fault.Conflict, "commercialtest", "somebody else changed this meanwhile")
}

// Run checks a store that holds nothing of the organisations a and b.
func Run(t *testing.T, s commercial.Store) {
	ctx := t.Context()
	n := 0
	op := func() audit.Op {
		n++
		return audit.Op{Actor: "operator:k", ID: "op" + string(rune('a'+n)), At: time.Date(2026, 11, 22, 0, 0, n, 0, time.UTC)}
	}
	svc := commercial.Service{Store: s}
	surcharge := commercial.Terms{Model: commercial.OptionalSurcharge, SurchargeBPS: 500, PrivateFee: 7, FreeRequests: 1000}
	flat := commercial.Terms{Model: commercial.FlatPlatformFee, FlatFee: 20_000}

	before, _, err := s.Tiers(ctx)
	if err != nil || len(before) != 0 {
		t.Fatalf("%v %v", before, err)
	}
	for _, step := range []struct {
		change map[taxonomy.Tier]*commercial.Terms
		want   commercial.Tiers
	}{
		{map[taxonomy.Tier]*commercial.Terms{taxonomy.Enterprise: &surcharge}, commercial.Tiers{taxonomy.Enterprise: surcharge}},
		{map[taxonomy.Tier]*commercial.Terms{taxonomy.Pro: &flat}, commercial.Tiers{taxonomy.Enterprise: surcharge, taxonomy.Pro: flat}},
		{map[taxonomy.Tier]*commercial.Terms{taxonomy.Enterprise: nil}, commercial.Tiers{taxonomy.Pro: flat}},
	} {
		if _, err := svc.SetTiers(ctx, op(), step.change); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.Tiers(ctx); err != nil || !reflect.DeepEqual(got, step.want) {
			t.Fatalf("%v %v, want %v", got, err, step.want)
		}
	}
	_, seen, _ := s.Tiers(ctx)
	for _, stale := range []int64{0, seen - 1, seen + 1} {
		if err := s.PutTiers(ctx, nil, stale, op().Row("operator", "tiers.billing", "tiers")); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("version %d of %d: %v", stale, seen, err)
		}
	}

	for _, want := range []*commercial.Terms{&surcharge, nil, &flat} {
		if err := svc.SetOrganisation(ctx, op(), "a", want); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.Organisation(ctx, "a"); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v %v, want %v", got, err, want)
		}
	}
	if got, v, err := s.Organisation(ctx, "b"); got != nil || v != 0 || err != nil {
		t.Errorf("another organisation has %v %d %v", got, v, err)
	}
	if err := s.PutOrganisation(ctx, "a", nil, 2, op().Row("a", "billing.update", "a")); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a stale version: %v", err)
	}
	bad := commercial.Terms{Model: commercial.TierBundled, FlatFee: 1}
	if err := svc.SetOrganisation(ctx, op(), "a", &bad); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("%v", err)
	}
	if _, err := svc.SetTiers(ctx, op(), map[taxonomy.Tier]*commercial.Terms{taxonomy.Free: &bad}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("%v", err)
	}
	if got, _, err := s.Organisation(ctx, "a"); err != nil || !reflect.DeepEqual(got, &flat) {
		t.Errorf("a refused change left %v %v", got, err)
	}
}
