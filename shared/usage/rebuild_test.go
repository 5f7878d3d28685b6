package usage

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
)

// losing is a store whose new version never gets its rows.
type losing struct {
	v    Version
	rows []audit.Row
}

func (l *losing) Version(context.Context, string) (Version, error) { return l.v, nil }

func (l *losing) SetVersion(_ context.Context, v Version, row *audit.Row) (Version, error) {
	if row != nil {
		l.rows = append(l.rows, *row)
	}
	v.Round++
	l.v = v
	return v, nil
}

func (l *losing) CopyInto(_ context.Context, entries []credit.Entry, _ int64, _ time.Time) []credit.Verdict {
	out := make([]credit.Verdict, len(entries))
	for i := range out {
		out[i].Result = credit.Applied
	}
	return out
}

func (l *losing) Rows(context.Context, string, int64, string, string) ([]credit.UsageRow, error) {
	return nil, nil
}

func (l *losing) RemoveRows(context.Context, string, int64, int) (int, error) { return 0, nil }

// one is a journal of one entry.
type one struct{ at time.Time }

func (o one) Account(context.Context, string) (credit.Account, error) {
	return credit.Account{Org: "acme", Opened: o.at}, nil
}

func (o one) Journal(_ context.Context, org string, month time.Time, bucket int, after string, _ int) ([]credit.Entry, error) {
	if bucket != 0 || after != "" || month.Month() != o.at.Month() {
		return nil, nil
	}
	return []credit.Entry{{ID: "e_1", Org: org, Kind: credit.UsageEntry, At: o.at, Amount: -7, Request: "r", Attempt: 1}}, nil
}

// TestRebuildThatDiffers: rows that do not come out as the entries say never become
// the ones that are read, and the report names them.
func TestRebuildThatDiffers(t *testing.T) {
	at := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	store := &losing{v: Version{Org: "acme"}}
	waits := 0
	r := &Rebuilder{Store: store, Journal: one{at}, Wait: func(context.Context, time.Duration) error { waits++; return nil }}
	rep, err := r.Run(t.Context(), "acme", audit.Op{Actor: "operator:k", ID: "op1", At: at}, at)
	if err != nil || len(rep.Mismatches) != 1 || rep.Mismatches[0].What != "cost" || rep.Mismatches[0].Want != 7 {
		t.Fatalf("%+v %v", rep, err)
	}
	if store.v.Live != 0 || store.v.Building != 0 || store.v.Last != 1 || len(store.rows) != 1 || waits != sameRounds-1 {
		t.Fatalf("%+v, %d rows, %d waits", store.v, len(store.rows), waits)
	}
}
