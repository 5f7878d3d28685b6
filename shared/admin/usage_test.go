package admin

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestUsagePages: every group comes once, also between rows that change, and a
// cursor serves only the question that gave it.
func TestUsagePages(t *testing.T) {
	var rows []credit.UsageRow
	for i := range 23 {
		rows = append(rows, credit.UsageRow{Day: "2026-11-01", Provider: "openrouter", Model: fmt.Sprintf("vendor/ü model@%02d", i), Source: taxonomy.Platform, Requests: int64(i)})
	}
	var got []credit.UsageRow
	p := page{limit: 7}
	for n := 1; ; n++ {
		out, next, err := usagePage(rows, p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, out...)
		if next == "" {
			if n != 4 {
				t.Errorf("%d pages", n)
			}
			break
		}
		if len(out) != 7 || !cursorText(next) {
			t.Fatalf("page of %d, cursor %q", len(out), next)
		}
		p.after = next
		rows[len(got)-1].Requests += 100 // usage goes on
		rows = append([]credit.UsageRow{{Day: "2026-10-01", Model: fmt.Sprint("late ", n)}}, rows...)
	}
	seen := map[string]bool{}
	for _, r := range got {
		if seen[r.Model] {
			t.Errorf("%s twice", r.Model)
		}
		seen[r.Model] = true
	}
	if len(got) != 23 {
		t.Errorf("%d groups", len(got))
	}
	if _, _, err := usagePage(rows[:1], p); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "cursor" {
		t.Errorf("a cursor of another question: %v", err)
	}
}
