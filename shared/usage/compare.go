package usage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
)

// differences compares rows with what they should be, in order of their keys.
func differences(want map[table.Key]credit.UsageRow, rows []credit.UsageRow) (out []Mismatch) {
	got := make(map[table.Key]credit.UsageRow, len(rows))
	for _, row := range rows {
		got[row.Key()] = row
	}
	for key, w := range want {
		if m, differs := difference(w, got[key]); differs {
			m.Row = w
			out = append(out, m)
		}
	}
	for key, g := range got {
		if _, there := want[key]; !there {
			if m, differs := difference(credit.UsageRow{}, g); differs {
				m.Row = g
				out = append(out, m)
			}
		}
	}
	slices.SortFunc(out, func(a, b Mismatch) int { return strings.Compare(a.Row.Key().SK, b.Row.Key().SK) })
	return out
}

func difference(want, got credit.UsageRow) (Mismatch, bool) {
	want.Usage.Source, got.Usage.Source = billing.NoUsage, billing.NoUsage
	switch {
	case want.Cost != got.Cost:
		return Mismatch{What: "cost", Want: int64(want.Cost), Got: int64(got.Cost)}, true
	case want.Paid != got.Paid:
		return Mismatch{What: "paid", Want: int64(want.Paid), Got: int64(got.Paid)}, true
	case want.Shadow != got.Shadow:
		return Mismatch{What: "shadow", Want: int64(want.Shadow), Got: int64(got.Shadow)}, true
	case want.Requests != got.Requests:
		return Mismatch{What: "requests", Want: want.Requests, Got: got.Requests}, true
	case want.Usage != got.Usage:
		return Mismatch{What: "units"}, true
	}
	return Mismatch{}, false
}

func print(found []Mismatch) string { return fmt.Sprintf("%+v", found) }

func listed(list, more []Mismatch) []Mismatch {
	return append(list, more[:min(len(more), maxListed-min(len(list), maxListed))]...)
}
