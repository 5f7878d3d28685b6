package credit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/table"
)

// endless are organisations of one partition, of which one has more entries than can
// be read before the time of a run is over.
type endless struct {
	Store
	large  string
	opened time.Time
	// fenced is from when on balances take entries.
	fenced time.Time
	months map[string]Opening
	next   map[string]time.Time
	over   context.CancelFunc
	looked []string
}

var errDown = errors.New("down")

func (e *endless) Closable(_ context.Context, bucket string, now time.Time, limit int) (due []string, err error) {
	if bucket != table.AllCloseBuckets()[0] {
		return nil, nil
	}
	for org, at := range e.next {
		if !at.After(now) {
			due = append(due, org)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return cmp.Or(e.next[a].Compare(e.next[b]), cmp.Compare(a, b)) })
	return due[:min(limit, len(due))], nil
}

func (e *endless) CloseNext(ctx context.Context, org string, at time.Time) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.next[org] = at
	return nil
}

func (e *endless) Account(_ context.Context, org string) (Account, error) {
	e.looked = append(e.looked, org)
	return Account{Org: org, Opened: e.opened, Shards: []Shard{{Closed: e.fenced}}}, nil
}

func (e *endless) Journal(ctx context.Context, org string, _ time.Time, _ int, _ string, _ int) ([]Entry, error) {
	if org == e.large {
		e.over()
		return nil, cmp.Or(ctx.Err(), errDown)
	}
	return nil, nil
}

func (e *endless) Openings(_ context.Context, org string, _ int) ([]Opening, error) {
	if o, there := e.months[org]; there {
		return []Opening{o}, nil
	}
	return nil, nil
}

func (e *endless) SetOpening(_ context.Context, o Opening) error {
	e.months[o.Org] = o
	return nil
}

func (e *endless) Usage(context.Context, string, string, string) ([]UsageRow, error) { return nil, nil }
func (e *endless) Holds(context.Context, string) ([]Open, error)                     { return nil, nil }
func (e *endless) Postings(context.Context, string) ([]Posting, error)               { return nil, nil }

// run is one run of the sweep, which may be cut short.
func (e *endless) run(t *testing.T, now time.Time) CloseReport {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e.over, e.looked = cancel, nil
	r, err := New(e, Options{Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}).CloseMonths(ctx, now)
	if err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	return r
}

// TestReviewsThatDoNotFit: an organisation whose review takes more than a run is put
// behind the others before it is begun, whatever becomes of it.
func TestReviewsThatDoNotFit(t *testing.T) {
	now := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	e := &endless{large: "large", opened: now.AddDate(0, 0, -3), months: map[string]Opening{},
		next: map[string]time.Time{"large": now.Add(-time.Hour), "small": now, "other": now}}
	if r := e.run(t, now); r.Failed != 1 || r.Reviewed != 0 || e.looked[0] != "large" {
		t.Fatalf("first run: %+v, looked at %v", r, e.looked)
	}
	if at := now.Add(reviewAgain); !e.next["large"].Equal(at) {
		t.Errorf("the large one is due at %v, want %v", e.next["large"], at)
	}
	now = now.Add(time.Minute)
	if r := e.run(t, now); r.Reviewed != 2 || r.Failed != 0 || slices.Contains(e.looked, "large") {
		t.Fatalf("others behind it are not reviewed: %+v, looked at %v", r, e.looked)
	}
	if at := now.Add(reviewEvery); !e.next["small"].Equal(at) || !e.next["other"].Equal(at) {
		t.Errorf("next %v, want %v for those that were reviewed", e.next, at)
	}
}

// TestMonthsThatDoNotFit: a month that takes more than a run does not keep those behind
// it from being closed.
func TestMonthsThatDoNotFit(t *testing.T) {
	now := time.Date(2026, 4, 2, 12, 0, 0, 0, time.UTC)
	march, april := month(now).AddDate(0, -1, 0), month(now)
	e := &endless{large: "large", opened: march, months: map[string]Opening{"large": {Org: "large", Month: march}, "small": {Org: "small", Month: march}},
		next: map[string]time.Time{"large": now.Add(-time.Hour), "small": now}, fenced: april}
	if r := e.run(t, now); r.Failed != 1 || r.Closed != 0 || !e.next["large"].Equal(now.Add(closeAgain)) {
		t.Fatalf("first run: %+v, next %v", r, e.next)
	}
	if r := e.run(t, now.Add(time.Minute)); r.Failed != 0 || r.Closed != 1 || !e.months["small"].Month.Equal(april) {
		t.Fatalf("the one behind it is not closed: %+v, %+v", r, e.months)
	}
}

// TestFailureAfterItIsPutOff: an organisation that fails when it is not due any more
// does not take the place of one behind it.
func TestFailureAfterItIsPutOff(t *testing.T) {
	now := time.Date(2026, 4, 2, 12, 0, 0, 0, time.UTC)
	march, april := month(now).AddDate(0, -1, 0), month(now)
	e := &endless{large: "org000", opened: march, months: map[string]Opening{}, next: map[string]time.Time{}, fenced: april}
	for i := range closePage + 1 {
		org := fmt.Sprintf("org%03d", i)
		e.months[org], e.next[org] = Opening{Org: org, Month: march}, now.Add(time.Duration(i-closePage)*time.Second)
	}
	e.over = func() {}
	r, err := New(e, Options{Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}).CloseMonths(t.Context(), now)
	if err != nil || r.Failed != 1 || r.Closed != closePage || len(e.looked) < closePage+1 {
		t.Fatalf("%+v, %v; looked at %d", r, err, len(e.looked))
	}
}

// refusing is a store whose rows take no entry.
type refusing struct{ Store }

func (refusing) Unseen(_ context.Context, entries []Entry) ([]Entry, error) { return entries, nil }

func (refusing) Project(_ context.Context, entries []Entry, _ time.Time) []Verdict {
	out := make([]Verdict, len(entries))
	for i := range out {
		out[i].Result = Poisoned
	}
	return out
}

// TestPoisonIsNotCaught: what no row takes is told and does not count as caught.
func TestPoisonIsNotCaught(t *testing.T) {
	now := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	told := 0
	l := New(refusing{}, Options{Tell: func(_ context.Context, entries []Entry, _ time.Time) error {
		told += len(entries)
		return nil
	}})
	if n, err := l.missed(t.Context(), []Entry{entryAt("o", 0)}, now); err != nil || n != 0 || told != 1 {
		t.Errorf("caught %d, told %d: %v", n, told, err)
	}
}
