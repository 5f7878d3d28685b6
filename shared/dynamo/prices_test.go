package dynamo_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

func openPrices(t *testing.T) *dynamo.PriceStore {
	t.Helper()
	fx := dynamotest.Open(t, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return db.Prices()
}

func price(model string, rate int64) billing.Row {
	return billing.Row{Provider: "p", Model: model, Meter: billing.InputText, RatePico: rate, TierFrom: 3, MinUnits: 4, Source: "src", SourceDate: "2026-01-01"}
}

func priceOp(i int) audit.Op {
	return audit.Op{Actor: "operator:o1", ID: fmt.Sprint("op", i), At: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
}

// importRow makes the row of an import; the version makes its id its own.
func importRow(version string) audit.Row {
	return priceOp(0).Part(version).Row("operator", "prices.import", version)
}

func TestPriceStore(t *testing.T) {
	s, ctx := openPrices(t), t.Context()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	if ix, err := s.Index(ctx); err != nil || ix.At(now) != "" {
		t.Fatalf("empty: %+v %v", ix, err)
	}
	many := make([]billing.Row, 0, 60)
	for i := range 60 {
		many = append(many, price("m"+string(rune('A'+i)), int64(i)))
	}
	first, err := s.Import(ctx, many, time.Time{}, now, true, importRow)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.Book(ctx, first.Version)
	if err != nil || len(stored.Rows) != 60 || stored.Rows[7] != first.Rows[7] || !stored.EffectiveFrom.Equal(now) {
		t.Fatalf("stored: %v", err)
	}
	second, err := s.Import(ctx, []billing.Row{price("mA", 99)}, now.Add(-time.Hour), now.Add(time.Minute), false, importRow)
	if err != nil || len(second.Rows) != 60 {
		t.Fatalf("merge: %v", err)
	}
	at := func(when time.Time) string {
		t.Helper()
		ix, err := s.Index(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return ix.At(when)
	}
	if at(now.Add(time.Hour)) != first.Version {
		t.Fatal("a version was active without being activated")
	}
	if err := s.Activate(ctx, second.Version, now.Add(2*time.Minute), priceOp(0).Row("operator", "prices.activate", second.Version)); err != nil {
		t.Fatal(err)
	}
	// Activating never changes the past.
	if at(now.Add(time.Minute)) != first.Version || at(now.Add(2*time.Minute)) != second.Version {
		t.Fatal("activation")
	}
	later, err := s.Import(ctx, []billing.Row{price("mB", 5)}, now.Add(24*time.Hour), now.Add(3*time.Minute), true, importRow)
	if err != nil || at(now.Add(23*time.Hour)) != second.Version || at(now.Add(24*time.Hour)) != later.Version {
		t.Fatalf("future: %v", err)
	}
	// What is imported for later is laid over what applies then, and what is
	// imported for now leaves the later version as it is.
	latest, err := s.Import(ctx, []billing.Row{price("mC", 6)}, now.Add(48*time.Hour), now.Add(4*time.Minute), true, importRow)
	if err != nil || latest.RowsOf("p", "mB")[0].RatePico != 5 || latest.RowsOf("p", "mC")[0].RatePico != 6 {
		t.Fatalf("over the scheduled one: %v", err)
	}
	urgent, err := s.Import(ctx, []billing.Row{price("mD", 7)}, time.Time{}, now.Add(5*time.Minute), true, importRow)
	if err != nil || at(now.Add(6*time.Minute)) != urgent.Version || at(now.Add(24*time.Hour)) != later.Version || at(now.Add(48*time.Hour)) != latest.Version ||
		urgent.RowsOf("p", "mB")[0].RatePico != 1 || latest.RowsOf("p", "mD")[0].RatePico != 3 {
		t.Fatalf("for now: %v", err)
	}
	ix, err := s.Index(ctx)
	if next, ok := ix.Scheduled(now.Add(6 * time.Minute)); err != nil || !ok || next.Version != later.Version {
		t.Fatalf("scheduled: %+v %v", next, err)
	}
	if err := s.Activate(ctx, "p000009-nope", now, audit.Row{}); fault.CodeOf(err) != fault.NotFound {
		t.Fatalf("unknown: %v", err)
	}
	if _, err := s.Book(ctx, "p000009-nope"); fault.CodeOf(err) != fault.NotFound {
		t.Fatalf("unknown: %v", err)
	}
}

// TestPriceImportRace: imports that race are refused or kept, never lost.
func TestPriceImportRace(t *testing.T) {
	s, ctx := openPrices(t), t.Context()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	var kept atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			row := func(version string) audit.Row { return priceOp(i).Row("operator", "prices.import", version) }
			if _, err := s.Import(ctx, []billing.Row{price("race", int64(i))}, time.Time{}, now, true, row); err == nil {
				kept.Add(1)
			} else if fault.CodeOf(err) != fault.Conflict {
				t.Errorf("race: %v", err)
			}
		})
	}
	wg.Wait()
	ix, err := s.Index(ctx)
	if err != nil || int64(len(ix.Books)) != kept.Load() || kept.Load() == 0 {
		t.Fatalf("%d books, %d kept: %v", len(ix.Books), kept.Load(), err)
	}
	seen := map[string]bool{}
	for _, b := range ix.Books {
		if seen[b.Version] {
			t.Fatalf("version %s twice", b.Version)
		}
		seen[b.Version] = true
	}
}
