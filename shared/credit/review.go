package credit

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

const (
	// reviewEvery is how often an organisation is reviewed.
	reviewEvery = 24 * time.Hour
	// reviewSoon is when one is reviewed that the stream failed for, reviewAgain when
	// one is whose review did not get to its end, or whose balance did not stand still.
	reviewSoon  = 10 * time.Minute
	reviewAgain = time.Hour
	// reviewMost bounds the reviews of a run, reviewRestless those that end without a
	// result, which take longest. The others are put off by reviewLater.
	reviewMost     = 20
	reviewRestless = 3
	reviewLater    = 5 * time.Minute
	// reviewDays is how many days before today are looked through for entries that
	// nobody projected. What marks the others lives for seven, so none counts twice.
	reviewDays = 5
	// reviewRest is left to the stream, which brings an entry within a second.
	reviewRest = 15 * time.Minute
	reviewPage = 100
)

// errNotProjected says that the usage rows could not be written.
func errNotProjected() error {
	return fault.New(fault.LedgerUnavailable, "credit.CloseMonths", "usage rows cannot be written, try again")
}

// ReviewSoon has an organisation looked at whose entries could not be projected or
// told, should the stream give them up. The error is that of storage; without it the
// next daily review finds them.
func (l *Ledger) ReviewSoon(ctx context.Context, org string, now time.Time) error {
	return l.store.LookSooner(ctx, org, now.Add(reviewSoon))
}

// review reconciles an organisation, and projects and tells what the stream has
// lost of its entries. Nothing of a balance is written, whatever is found. closing is
// when its month is due to be closed.
func (l *Ledger) review(ctx context.Context, r *CloseReport, a Account, closing, now time.Time) error {
	if r.Reviewed >= reviewMost || r.Restless >= reviewRestless {
		return l.store.CloseNext(ctx, a.Org, earlier(closing, now.Add(reviewLater)))
	}
	// One that is cut short must not stand before the others again, nor one that
	// cannot be told.
	if err := l.store.CloseNext(ctx, a.Org, earlier(closing, now.Add(reviewAgain))); err != nil {
		return err
	}
	caught, err := l.catchUp(ctx, a, now)
	r.Caught += caught
	if err != nil {
		return err
	}
	next := now.Add(reviewEvery)
	found, err := l.reconcile(ctx, a.Org, now, false, closedReads)
	if err != nil {
		r.Restless++
		next = now.Add(reviewAgain)
	} else {
		r.Reviewed++
		r.Mismatches = append(r.Mismatches, found.Mismatches...)
	}
	return l.store.CloseNext(ctx, a.Org, earlier(closing, next))
}

// catchUp tells and projects the entries of the last days that nobody projected,
// the latest days first. An entry is marked when all was done for it, so what is not
// marked was given up on the way, or is on it. It says how many there were.
func (l *Ledger) catchUp(ctx context.Context, a Account, now time.Time) (caught int, err error) {
	today := now.UTC().Truncate(24 * time.Hour)
	from := today.AddDate(0, 0, -reviewDays)
	stored, err := l.store.Usage(ctx, a.Org, from.Format(time.DateOnly), today.Format(time.DateOnly))
	if err != nil {
		return 0, err
	}
	rows := make(map[table.Key]UsageRow, len(stored))
	for _, row := range stored {
		rows[row.Key()] = row
	}
	opened := a.Opened.Add(-clockSkew)
	for day := today; !day.Before(from) && day.AddDate(0, 0, 1).After(opened); day = day.AddDate(0, 0, -1) {
		behind, others, err := l.behind(ctx, a.Org, day, rows)
		if err != nil {
			return caught, err
		}
		missed := func(page []Entry) error {
			n, err := l.missed(ctx, page, now)
			caught += n
			return err
		}
		if behind {
			err = l.eachOfDay(ctx, a.Org, day, missed)
		} else {
			err = missed(others)
		}
		if err != nil {
			return caught, err
		}
	}
	return caught, nil
}

// behind reports whether the rows of a day differ from its entries. Entries that
// are in no row are returned: they are few.
func (l *Ledger) behind(ctx context.Context, org string, day time.Time, rows map[table.Key]UsageRow) (behind bool, others []Entry, err error) {
	want := map[table.Key]UsageRow{}
	err = l.eachOfDay(ctx, org, day, func(page []Entry) error {
		for _, e := range page {
			if !e.Kind.OfRequest() {
				others = append(others, e)
				continue
			}
			row := RowOf(e)
			if sum, there := want[row.Key()]; there {
				sum.Add(row)
				row = sum
			}
			want[row.Key()] = row
		}
		return nil
	})
	for key, w := range want {
		behind = behind || !sameFigures(w, rows[key])
	}
	return behind, others, err
}

func sameFigures(a, b UsageRow) bool {
	a.Usage.Source, b.Usage.Source = billing.NoUsage, billing.NoUsage // rows do not keep it
	return a.Cost == b.Cost && a.Paid == b.Paid && a.Requests == b.Requests && a.Usage == b.Usage
}

// missed tells and projects those of the entries that nobody projected.
func (l *Ledger) missed(ctx context.Context, entries []Entry, now time.Time) (n int, err error) {
	old := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if !e.At.After(now.Add(-reviewRest)) {
			old = append(old, e)
		}
	}
	for len(old) > 0 {
		page := old[:min(len(old), reviewPage)]
		old = old[len(page):]
		unseen, err := l.store.Unseen(ctx, page)
		if err != nil {
			return n, err
		}
		if len(unseen) == 0 {
			continue
		}
		if err := l.tell(ctx, unseen, now); err != nil {
			return n, err
		}
		for _, v := range l.store.Project(ctx, unseen, now) {
			switch v.Result {
			case Undecided:
				return n, errNotProjected()
			case Poisoned:
				// Gets no mark, so it is met again until it is too old, and told again
				// under the same id; it was not caught.
			default:
				n++
			}
		}
	}
	return n, nil
}

// eachOfDay calls fn for the entries of a day, page by page.
func (l *Ledger) eachOfDay(ctx context.Context, org string, day time.Time, fn func([]Entry) error) error {
	end := day.AddDate(0, 0, 1)
	for bucket := range table.EntryBuckets {
		for after, more := table.EntriesFrom(day), true; more; {
			page, err := l.store.Journal(ctx, org, day, bucket, after, journalPage)
			if err != nil {
				return err
			}
			more = len(page) == journalPage
			for i, e := range page {
				if !e.At.Before(end) {
					page, more = page[:i], false
					break
				}
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].SortKey()
			if err := fn(page); err != nil {
				return err
			}
		}
	}
	return nil
}
