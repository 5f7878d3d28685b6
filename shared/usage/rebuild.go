// Package usage builds the usage rows of an organisation anew from the journal of
// its entries, while calls go on.
//
// Rows have versions. [Rebuilder.Run] begins a new one, into which settle projects
// from then on beside the one that is read; copies the whole journal into it, each
// entry at most once by the same marks; compares every month's rows with a replay
// of the entries; and only then makes it the one that is read and removes the
// older. An entry that settle saw before the beginning is in the journal that is
// copied, one that it sees later is projected into both: none is missed and none
// counts twice.
//
// Every step is stored when it is done, so a run that is cut short, by its time or
// by a crash, is continued by the next; of two at once one is refused. A
// difference counts only if three comparisons, seconds apart, agree on it: entries
// that were just written are projected a moment later. With one the older version
// stays.
//
// Limits: the marks that keep an entry from counting twice live for seven days, in
// which a rebuild must end; a settlement that was under way when the older version
// was removed can leave a row of it behind, which nobody reads.
package usage

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Version is where an organisation's rows stand.
type Version struct {
	Org      string
	Live     int64 // is read
	Building int64 // 0 for none
	Last     int64 // the highest that ever was; none is used twice
	Old      int64 // is being removed, if Cleaning
	Cleaning bool
	Place    string // how far the building is
	Checked  int    // entries copied
	Repaired int    // rows that were wrong in the version that is being replaced
	Round    int64  // counts the writes of this record
}

// Store keeps versions and rows.
type Store interface {
	Version(ctx context.Context, org string) (Version, error)
	// SetVersion stores v if nobody has since v.Round, with the audit row if there is
	// one, and returns it with the next; conflict otherwise.
	SetVersion(ctx context.Context, v Version, row *audit.Row) (Version, error)
	// CopyInto adds entries to the rows of a version, each once.
	CopyInto(ctx context.Context, entries []credit.Entry, version int64, now time.Time) []credit.Verdict
	// Rows lists the rows of a version of the days from..to.
	Rows(ctx context.Context, org string, version int64, from, to string) ([]credit.UsageRow, error)
	// RemoveRows deletes up to limit rows of a version and says how many.
	RemoveRows(ctx context.Context, org string, version int64, limit int) (int, error)
}

// Journal reads what was written.
type Journal interface {
	Account(ctx context.Context, org string) (credit.Account, error)
	// Journal returns up to limit entries of one of the partitions of a month,
	// by sort key, above after.
	Journal(ctx context.Context, org string, month time.Time, bucket int, after string, limit int) ([]credit.Entry, error)
}

// Mismatch is a row that differs. Day, Model and so on name it; Want and Got are
// costs, or numbers of requests where the costs agree.
type Mismatch struct {
	Row       credit.UsageRow
	What      string // cost, requests or units
	Want, Got int64
}

// Report is the result of a run. Complete says that nothing is left to do, Step and
// Month are what is next otherwise. Repaired are rows that were wrong in the version
// that is being replaced, as far as this run met them; RepairedRows counts those of
// the runs before, too.
type Report struct {
	Complete     bool
	Step         string // copy, compare or clean
	Month        time.Time
	Checked      int
	Mismatches   []Mismatch
	Repaired     []Mismatch
	RepairedRows int
}

// Rebuilder builds. Safe for concurrent use.
type Rebuilder struct {
	Store   Store
	Journal Journal
	// Wait pauses between comparisons; a timer if nil.
	Wait func(context.Context, time.Duration) error
}

const (
	pageSize   = 200
	comparings = 12
	sameRounds = 3
	pause      = 2 * time.Second
	// maxListed bounds the rows that a report names.
	maxListed = 100
	skew      = time.Hour
)

// Run rebuilds, or goes on with what an earlier run began, until it is done or ctx
// ends; the latter is no error. Op is whose decision it is: its audit row is written
// with the beginning. Errors: not_found without an account, conflict if
// somebody else is at it, ledger_unavailable.
func (r *Rebuilder) Run(ctx context.Context, org string, op audit.Op, now time.Time) (Report, error) {
	acc, err := r.Journal.Account(ctx, org)
	if err != nil {
		return Report{}, err
	}
	v, err := r.Store.Version(ctx, org)
	if err == nil && v.Building == 0 && !v.Cleaning {
		v.Last++
		v.Building, v.Place, v.Checked, v.Repaired = v.Last, placeOf(copying, month(acc.Opened.Add(-skew)), 0, ""), 0, 0
		row := op.Row(org, "usage.rebuild", org, "version", strconv.FormatInt(v.Building, 10))
		v, err = r.Store.SetVersion(ctx, v, &row)
	}
	var rep Report
	if err == nil && v.Building > 0 {
		v, err = r.build(ctx, &rep, v, now)
	}
	if err == nil && v.Cleaning {
		err = r.clean(ctx, v)
	}
	rep.Checked, rep.RepairedRows = v.Checked, v.Repaired
	if rep.Step = cleaning; v.Building > 0 {
		rep.Step, rep.Month, _, _, _ = parsePlace(v.Place)
	}
	if err != nil && ctx.Err() != nil {
		return rep, nil
	}
	rep.Complete = err == nil
	return rep, err
}

const (
	copying   = "copy"
	comparing = "compare"
	cleaning  = "clean"
)

// build copies month by month, then compares month by month, then makes the new
// version the one that is read.
func (r *Rebuilder) build(ctx context.Context, rep *Report, v Version, now time.Time) (Version, error) {
	step, m, bucket, after, err := parsePlace(v.Place)
	if err != nil {
		return v, err
	}
	last, first := month(now.Add(skew)), time.Time{}
	if acc, err := r.Journal.Account(ctx, v.Org); err != nil {
		return v, err
	} else {
		first = month(acc.Opened.Add(-skew))
	}
	for step == copying {
		entries, err := r.Journal.Journal(ctx, v.Org, m, bucket, after, pageSize)
		if err != nil {
			return v, err
		}
		for _, verdict := range r.Store.CopyInto(ctx, entries, v.Building, now) {
			if verdict.Result != credit.Applied && verdict.Result != credit.Done {
				return v, fault.New(fault.LedgerUnavailable, "usage.Rebuild", "an entry could not be copied, try again")
			}
		}
		v.Checked += count(entries)
		switch {
		case len(entries) == pageSize:
			after = entries[pageSize-1].SortKey()
		case bucket+1 < table.EntryBuckets:
			bucket, after = bucket+1, ""
		case m.Before(last):
			m, bucket, after = m.AddDate(0, 1, 0), 0, ""
		default:
			step, m, bucket, after = comparing, first, 0, ""
		}
		v.Place = placeOf(step, m, bucket, after)
		if v, err = r.Store.SetVersion(ctx, v, nil); err != nil {
			return v, err
		}
	}
	// Each month that agrees is stored: a run that is cut short begins with the one
	// after it.
	for ; !m.After(last); m = m.AddDate(0, 1, 0) {
		repaired, err := r.compare(ctx, rep, v, m)
		if err != nil {
			return v, err
		}
		if len(rep.Mismatches) > 0 {
			v.Old, v.Cleaning, v.Building, v.Place = v.Building, true, 0, ""
			return r.Store.SetVersion(ctx, v, nil)
		}
		v.Place, v.Repaired = placeOf(comparing, m.AddDate(0, 1, 0), 0, ""), v.Repaired+repaired
		if v, err = r.Store.SetVersion(ctx, v, nil); err != nil {
			return v, err
		}
	}
	v.Old, v.Cleaning, v.Live, v.Building, v.Place = v.Live, true, v.Building, 0, ""
	return r.Store.SetVersion(ctx, v, nil)
}

// compare replays a month and looks for rows that differ; it says how many did in
// the version that is being replaced.
func (r *Rebuilder) compare(ctx context.Context, rep *Report, v Version, m time.Time) (repaired int, err error) {
	from, to := m.Format(time.DateOnly), m.AddDate(0, 1, -1).Format(time.DateOnly)
	var before string
	same := 0
	for range comparings {
		rows, err := r.Store.Rows(ctx, v.Org, v.Building, from, to)
		if err != nil {
			return 0, err
		}
		want, err := r.replay(ctx, v.Org, m)
		if err != nil {
			return 0, err
		}
		found := differences(want, rows)
		if len(found) == 0 {
			live, err := r.Store.Rows(ctx, v.Org, v.Live, from, to)
			if err != nil {
				return 0, err
			}
			wrong := differences(want, live)
			rep.Repaired = listed(rep.Repaired, wrong)
			return len(wrong), nil
		}
		if now := print(found); now == before {
			same++
		} else {
			before, same = now, 1
		}
		if same == sameRounds {
			rep.Mismatches = listed(rep.Mismatches, found)
			return 0, nil
		}
		if err := r.wait(ctx); err != nil {
			return 0, err
		}
	}
	return 0, fault.New(fault.LedgerUnavailable, "usage.Rebuild", "usage changed during every comparison, try again when it is calmer")
}

func (r *Rebuilder) wait(ctx context.Context) error {
	if r.Wait != nil {
		return r.Wait(ctx, pause)
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// replay adds up the entries of a month.
func (r *Rebuilder) replay(ctx context.Context, org string, m time.Time) (map[table.Key]credit.UsageRow, error) {
	want := map[table.Key]credit.UsageRow{}
	for bucket := range table.EntryBuckets {
		for after := ""; ; {
			entries, err := r.Journal.Journal(ctx, org, m, bucket, after, pageSize)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if !e.Kind.OfRequest() {
					continue
				}
				row := credit.RowOf(e)
				if sum, there := want[row.Key()]; there {
					sum.Add(row)
					row = sum
				}
				want[row.Key()] = row
			}
			if len(entries) < pageSize {
				break
			}
			after = entries[len(entries)-1].SortKey()
		}
	}
	return want, nil
}

func (r *Rebuilder) clean(ctx context.Context, v Version) error {
	for {
		n, err := r.Store.RemoveRows(ctx, v.Org, v.Old, pageSize)
		if err != nil {
			return err
		}
		if n < pageSize {
			v.Cleaning, v.Old = false, 0
			_, err := r.Store.SetVersion(ctx, v, nil)
			return err
		}
	}
}

func count(entries []credit.Entry) (n int) {
	for _, e := range entries {
		if e.Kind.OfRequest() {
			n++
		}
	}
	return n
}

func month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

func placeOf(step string, m time.Time, bucket int, after string) string {
	return strings.Join([]string{step, m.Format("200601"), strconv.Itoa(bucket), after}, "|")
}

func parsePlace(s string) (step string, m time.Time, bucket int, after string, err error) {
	parts := strings.SplitN(s, "|", 4)
	if len(parts) == 4 && (parts[0] == copying || parts[0] == comparing) {
		if m, err = time.Parse("200601", parts[1]); err == nil {
			bucket, err = strconv.Atoi(parts[2])
		}
		if err == nil {
			return parts[0], m, bucket, parts[3], nil
		}
	}
	return "", m, 0, "", fault.New(fault.Internal, "usage.Rebuild", "internal error, try again later")
}
