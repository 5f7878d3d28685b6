package credit

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Opening is what had been posted to an organisation, over all shards, when a
// month began: the sum of all entries before it.
type Opening struct {
	Org   string
	Month time.Time // its first instant, UTC
	Sum   Micro
	// Entries is the number of entries of the month before.
	Entries int
	At      time.Time
	// Place is how far the month before has been added up, empty if it has.
	Place string
}

// CloseStore closes months.
type CloseStore interface {
	// Closable lists up to limit organisations of an index partition that are due to
	// be looked at, those that are due longest first.
	Closable(ctx context.Context, bucket string, now time.Time, limit int) ([]string, error)
	// CloseNext says when an organisation is due the next time, to be closed or to be
	// reviewed.
	CloseNext(ctx context.Context, org string, at time.Time) error
	// Fence makes every shard of the balance, and those that are added later,
	// refuse entries of before a month. It never takes such a refusal back.
	Fence(ctx context.Context, a Account, month, now time.Time) error
	// Openings lists openings, newest first, all if limit is 0.
	Openings(ctx context.Context, org string, limit int) ([]Opening, error)
	// SetOpening stores an opening, unless a finished one is there: then it is an
	// internal error if that one says something else.
	SetOpening(ctx context.Context, o Opening) error
}

const (
	// closeAfter is how long a month waits for entries that a clock which lags, or a
	// stream, brings late.
	closeAfter = time.Hour
	// closeAtLatest is when a month is closed although attempts made in it are open:
	// no hold lives longer, so these are poison. Their entries belong to the month
	// in which they are repaired.
	closeAtLatest = maxHoldLife + closeAfter
	// closeAgain is when an organisation whose attempts are still open is looked at
	// again, or one whose month did not add up within a run.
	closeAgain = 10 * time.Minute
	// fenceRest stands between the refusal of further entries and adding up: a
	// transaction that passed before may be seen in part for a moment, and the
	// clocks of two sweeps may differ.
	fenceRest     = 5 * time.Minute
	closePage     = 100
	maxClosePages = 1000
	// journalPage is how many entries are read at once, draftEvery after how many of
	// them the sum is kept.
	journalPage = 1000
	draftEvery  = 20_000
)

// CloseReport tells what a run closed. Waiting organisations have a month that is
// over and not closed yet; Failed ones could not be closed and are tried again.
type CloseReport struct {
	Closed, Waiting, Failed int
	// Reviewed organisations were reconciled, and their entries looked through for
	// those that the stream lost; Caught counts those. Restless balances did not stand
	// still for it and are looked at again.
	Reviewed, Caught, Restless int
	// Mismatches are what the balances of organisations that were reviewed, or whose
	// month was closed, differ by from their entries and holds.
	Mismatches []Mismatch
}

// CloseMonths closes the months that are over, so that reconciling and whoever
// else adds up reads one month of entries instead of all. A month is closed an hour
// after its end, or as soon as no attempt made in it is open, at most a day later:
// first every shard refuses entries of before its end, in the transactions that
// write them, and settlement then writes them into the current month; some minutes
// after that its entries are added up, from then on they cannot change, and the
// balance is reconciled. In between each organisation is reviewed once a day, some of
// them in a run. An organisation that takes more than a run is put behind the others
// before it is begun. Runs may be cut short, repeated and overlap. It ends early when
// ctx does. The error is that of storage.
func (l *Ledger) CloseMonths(ctx context.Context, now time.Time) (CloseReport, error) {
	var r CloseReport
	for _, bucket := range table.AllCloseBuckets() {
		// An organisation that was looked at is not due any more, unless that failed
		// before it was put off: then it is left to the next run.
		failed := map[string]bool{}
		for pages := 0; ctx.Err() == nil && pages < maxClosePages; pages++ {
			due, err := l.store.Closable(ctx, bucket, now, closePage)
			if err != nil {
				return r, err
			}
			listed := len(due)
			due = slices.DeleteFunc(due, func(org string) bool { return failed[org] })
			for _, org := range due {
				if ctx.Err() != nil {
					return r, nil
				}
				closed, waits, err := l.closeMonths(ctx, &r, org, now)
				r.Closed += closed
				if closed > 0 && err == nil {
					r.Mismatches = append(r.Mismatches, l.reconcileClosed(ctx, org, now)...)
				}
				if err != nil {
					r.Failed++
					failed[org] = true
				} else if waits {
					r.Waiting++
				}
			}
			if listed < closePage || len(due) == 0 || len(failed) >= closePage {
				break
			}
		}
	}
	return r, nil
}

// closeMonths takes the next step for one organisation.
func (l *Ledger) closeMonths(ctx context.Context, r *CloseReport, org string, now time.Time) (closed int, waits bool, err error) {
	acc, err := l.store.Account(ctx, org)
	if err != nil {
		return 0, false, err
	}
	last, err := l.newest(ctx, acc)
	if err != nil {
		return 0, false, err
	}
	if last.Month.Before(now.AddDate(0, -maxMonths, 0)) {
		return 0, false, fault.New(fault.Internal, "credit.CloseMonths", "the account says nothing of when it was opened")
	}
	target := month(now.Add(-closeAfter))
	if !last.Month.Before(target) {
		return 0, false, l.review(ctx, r, acc, closeDue(last.Month), now)
	}
	if fenced(acc).Before(target) {
		if open, err := l.openBefore(ctx, org, target); err != nil {
			return 0, false, err
		} else if open && now.Before(target.Add(closeAtLatest)) {
			return 0, true, l.store.CloseNext(ctx, org, now.Add(closeAgain))
		}
		if err := l.store.Fence(ctx, acc, target, now); err != nil {
			return 0, false, err
		}
		return 0, true, l.store.CloseNext(ctx, org, now.Add(fenceRest))
	}
	if rested := acc.FencedAt.Add(fenceRest); now.Before(rested) {
		return 0, true, l.store.CloseNext(ctx, org, rested)
	}
	// What is added up is kept as a draft; a run that is cut short lets others before it.
	if err := l.store.CloseNext(ctx, org, now.Add(closeAgain)); err != nil {
		return 0, false, err
	}
	for last.Month.Before(target) {
		if last, err = l.addUp(ctx, last, now); err != nil || ctx.Err() != nil {
			return closed, false, err
		}
		closed++
	}
	return closed, false, l.store.CloseNext(ctx, org, earlier(closeDue(last.Month), now.Add(reviewEvery)))
}

// closedReads bounds the reads of a reconcile in a sweep, which must not wait long
// for a balance that moves.
const closedReads = 4

// reconcileClosed reconciles an organisation whose month was closed. A balance that
// did not stand still is not looked at.
func (l *Ledger) reconcileClosed(ctx context.Context, org string, now time.Time) []Mismatch {
	r, err := l.reconcile(ctx, org, now, false, closedReads)
	if err != nil {
		return nil
	}
	return r.Mismatches
}

// closeDue is when the month that begins at m is due to be closed.
func closeDue(m time.Time) time.Time { return m.AddDate(0, 1, 0).Add(closeAfter) }

// FirstLook is when the sweep looks at an account for the first time.
func FirstLook(opened time.Time) time.Time {
	return earlier(closeDue(month(opened)), opened.Add(reviewEvery))
}

// fenced is from when on every shard takes entries.
func fenced(a Account) (t time.Time) {
	for i, s := range a.Shards {
		if i == 0 || s.Closed.Before(t) {
			t = s.Closed
		}
	}
	return t
}

func (l *Ledger) openBefore(ctx context.Context, org string, end time.Time) (bool, error) {
	holds, err := l.store.Holds(ctx, org)
	for _, h := range holds {
		if h.Created.Before(end) {
			return true, err
		}
	}
	return false, err
}

// newest is the newest opening, before all entries if no month was closed.
func (l *Ledger) newest(ctx context.Context, a Account) (Opening, error) {
	found, err := l.store.Openings(ctx, a.Org, 2) // of two one at most is unfinished
	for _, o := range found {
		if o.Place == "" {
			return o, err
		}
	}
	return Opening{Org: a.Org, Month: month(a.Opened.Add(-clockSkew))}, err
}

// addUp makes the opening of the month after last's, or goes on with it.
func (l *Ledger) addUp(ctx context.Context, last Opening, now time.Time) (Opening, error) {
	next := Opening{Org: last.Org, Month: last.Month.AddDate(0, 1, 0), Sum: last.Sum, At: now}
	found, err := l.store.Openings(ctx, last.Org, 1)
	if err != nil {
		return next, err
	}
	bucket, after := 0, ""
	if len(found) > 0 && found[0].Month.Equal(next.Month) && found[0].Place != "" {
		next.Sum, next.Entries = found[0].Sum, found[0].Entries
		if bucket, after, err = parseDraft(found[0].Place); err != nil {
			return next, err
		}
	}
	kept := next.Entries
	for ; bucket < table.EntryBuckets; bucket, after = bucket+1, "" {
		for more := true; more; {
			page, err := l.store.Journal(ctx, last.Org, last.Month, bucket, after, journalPage)
			if err != nil {
				return next, err
			}
			for _, e := range page {
				next.Sum += e.Amount
			}
			next.Entries += len(page)
			if more = len(page) == journalPage; !more {
				continue
			}
			after = page[len(page)-1].SortKey()
			if next.Entries-kept >= draftEvery {
				kept, next.Place = next.Entries, strconv.Itoa(bucket)+"|"+after
				if err := l.store.SetOpening(ctx, next); err != nil {
					return next, err
				}
			}
		}
	}
	next.Place = ""
	return next, l.store.SetOpening(ctx, next)
}

func parseDraft(place string) (bucket int, after string, err error) {
	n, after, ok := strings.Cut(place, "|")
	bucket, err = strconv.Atoi(n)
	if !ok || err != nil || bucket < 0 || bucket >= table.EntryBuckets {
		return 0, "", fault.New(fault.Internal, "credit.CloseMonths", "a stored ledger item cannot be read")
	}
	return bucket, after, nil
}

// eachEntry calls fn for every entry of a month, partition by partition.
func (l *Ledger) eachEntry(ctx context.Context, org string, m time.Time, fn func(Entry)) error {
	for bucket := range table.EntryBuckets {
		for after := ""; ; {
			page, err := l.store.Journal(ctx, org, m, bucket, after, journalPage)
			if err != nil {
				return err
			}
			for _, e := range page {
				fn(e)
			}
			if len(page) < journalPage {
				break
			}
			after = page[len(page)-1].SortKey()
		}
	}
	return nil
}
