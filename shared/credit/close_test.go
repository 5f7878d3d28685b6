package credit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// bigMonth is an organisation with many entries in one month, whose reading stops
// after some pages.
type bigMonth struct {
	Store
	per      int // entries per partition
	pages    int // before it stops
	read     int
	openings []Opening
}

func (b *bigMonth) Journal(_ context.Context, org string, _ time.Time, _ int, after string, limit int) ([]Entry, error) {
	if b.pages--; b.pages < 0 {
		return nil, fault.New(fault.LedgerUnavailable, "test", "stopped")
	}
	from := 0
	for from < b.per && entryAt(org, from).SortKey() <= after {
		from += limit // pages begin at multiples
	}
	page := make([]Entry, 0, limit)
	for i := from; i < min(from+limit, b.per); i++ {
		page = append(page, entryAt(org, i))
	}
	b.read += len(page)
	return page, nil
}

func entryAt(org string, i int) Entry {
	return Entry{Org: org, Kind: UsageEntry, At: time.UnixMilli(int64(1_700_000_000_000 + i)), Amount: -1, Request: fmt.Sprintf("r%06d", i), Attempt: 1}
}

func (b *bigMonth) Openings(context.Context, string, int) ([]Opening, error) { return b.openings, nil }
func (b *bigMonth) SetOpening(_ context.Context, o Opening) error {
	b.openings = []Opening{o}
	return nil
}

// TestAddUpGoesOn: a month with more entries than a run reads is added up by
// several, none of them twice.
func TestAddUpGoesOn(t *testing.T) {
	b := &bigMonth{per: 12_500}
	l := New(b, Options{})
	last := Opening{Org: "o", Month: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Sum: 200_000}
	runs := 0
	for ; ; runs++ {
		b.pages = 40
		o, err := l.addUp(t.Context(), last, t0)
		if err == nil {
			if want := Micro(200_000 - table.EntryBuckets*b.per); o.Sum != want || o.Entries != table.EntryBuckets*b.per || o.Place != "" {
				t.Fatalf("%+v, want a sum of %d", o, want)
			}
			break
		}
		if runs > 10 || len(b.openings) == 0 || b.openings[0].Place == "" {
			t.Fatalf("after %d runs %+v %v", runs, b.openings, err)
		}
	}
	// What was read after the last draft of a run is read again, no more.
	if runs < 2 || b.read > table.EntryBuckets*b.per+runs*(draftEvery+2*journalPage) {
		t.Errorf("%d runs read %d entries", runs+1, b.read)
	}
	b.openings = []Opening{{Org: "o", Month: last.Month.AddDate(0, 1, 0), Place: "9|E#"}}
	if _, err := l.addUp(t.Context(), last, t0); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a place that does not exist: %v", err)
	}
}

func TestNotBefore(t *testing.T) {
	closed := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ used, now, at time.Time }{
		"open":        {closed, closed.Add(time.Hour), closed},
		"late":        {closed.Add(-time.Hour), closed.Add(time.Hour), closed.Add(time.Hour)},
		"late, lags":  {closed.Add(-time.Hour), closed.Add(-time.Minute), closed},
		"none closed": {closed, closed, closed},
	} {
		e := Entry{At: c.used}.NotBefore(closed, c.now)
		if !e.At.Equal(c.at) || e.UsedAt.IsZero() == (c.at != c.used) || !e.UsedAt.IsZero() && e.UsedAt != c.used {
			t.Errorf("%s: at %v, used at %v", name, e.At, e.UsedAt)
		}
	}
	if e := (Entry{At: closed}).NotBefore(time.Time{}, closed.Add(time.Hour)); !e.At.Equal(closed) {
		t.Errorf("no month is closed: %v", e.At)
	}
}

// failing is a page full of organisations that cannot be looked at.
type failing struct {
	Store
	asked int
}

func (f *failing) Closable(_ context.Context, _ string, _ time.Time, limit int) ([]string, error) {
	f.asked++
	due := make([]string, limit)
	for i := range due {
		due[i] = fmt.Sprint("org", i)
	}
	return due, nil
}

func (f *failing) Account(context.Context, string) (Account, error) {
	return Account{}, fault.New(fault.LedgerUnavailable, "test", "down")
}

// TestClosingThatFailsEverywhere: organisations that stay due are left to the next
// run, they are not asked for again and again.
func TestClosingThatFailsEverywhere(t *testing.T) {
	f := &failing{}
	r, err := New(f, Options{}).CloseMonths(t.Context(), time.Now())
	buckets := len(table.AllCloseBuckets())
	if err != nil || f.asked != buckets || r.Failed != buckets*closePage {
		t.Fatalf("%+v, asked %d times: %v", r, f.asked, err)
	}
}
