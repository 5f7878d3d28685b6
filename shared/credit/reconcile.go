package credit

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Mismatch is a difference between what is stored and what it should be.
type Mismatch struct {
	Org  string
	What string // posted, held, available, moved, legs, kinds, or opening 2006-01
	// Want is the computed figure, Got the stored one.
	Want, Got Micro
}

// ReconcileReport is the result of a reconcile. Checked is the number of entries
// and holds that were added up.
type ReconcileReport struct {
	OK         bool
	Checked    int
	Mismatches []Mismatch
}

const (
	// reconcileRounds equal differences make a mismatch; one alone is only a
	// suspect: a read can see one item of a transaction before the other.
	reconcileRounds = 3
	reconcilePause  = 2 * time.Second
	reconcileReads  = 40
)

// Reconcile adds up an organisation's entries and holds and compares them with
// the balance. It begins at the newest opening, so that it reads the entries of
// one month. Reads are bracketed by two reads of the balance and discarded if
// it changed; a difference counts only if three such reads, seconds apart, agree
// on it. Errors: ledger_unavailable, also when the balance never stood still.
func (l *Ledger) Reconcile(ctx context.Context, org string, now time.Time) (ReconcileReport, error) {
	return l.reconcile(ctx, org, now, false, reconcileReads)
}

// ReconcileDeep is a [Ledger.Reconcile] that goes through every month there ever
// was and compares each opening with the entries before it.
func (l *Ledger) ReconcileDeep(ctx context.Context, org string, now time.Time) (ReconcileReport, error) {
	return l.reconcile(ctx, org, now, true, reconcileReads)
}

func (l *Ledger) reconcile(ctx context.Context, org string, now time.Time, deep bool, reads int) (ReconcileReport, error) {
	var last []Mismatch
	same := 0
	for range reads {
		found, checked, stable, err := l.audit(ctx, org, now, deep)
		if err != nil {
			return ReconcileReport{}, err
		}
		if stable {
			if len(found) == 0 {
				return ReconcileReport{OK: true, Checked: checked}, nil
			}
			if equalMismatches(found, last) {
				same++
			} else {
				last, same = found, 1
			}
			if same == reconcileRounds {
				return ReconcileReport{Checked: checked, Mismatches: found}, nil
			}
		}
		if err := l.wait(ctx, reconcilePause); err != nil {
			return ReconcileReport{}, fault.Wrap(fault.LedgerUnavailable, "credit.Reconcile", "there was not enough time to reconcile, try again", err)
		}
	}
	return ReconcileReport{}, fault.New(fault.LedgerUnavailable, "credit.Reconcile", "the balance changed during every read, try again when it is calmer")
}

// audit is one bracketed read.
func (l *Ledger) audit(ctx context.Context, org string, now time.Time, deep bool) (found []Mismatch, checked int, stable bool, err error) {
	before, err := l.store.Account(ctx, org)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, 0, true, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	sum, err := l.addAll(ctx, before, now, deep)
	if err != nil {
		return nil, 0, false, err
	}
	checked = sum.entries
	var held Micro
	holds, err := l.store.Holds(ctx, org)
	if err != nil {
		return nil, 0, false, err
	}
	for _, h := range holds {
		checked++
		held += h.Hold
	}
	postings, err := l.store.Postings(ctx, org)
	if err != nil {
		return nil, 0, false, err
	}
	after, err := l.store.Account(ctx, org)
	if err != nil || after.Version != before.Version {
		return nil, 0, false, err
	}
	return append(sum.openings, compare(before, sum.posted, held, sum.crooked, postings)...), checked, true, nil
}

// sums are the entries added up.
type sums struct {
	posted   Micro
	crooked  Micro // how many entries have legs that do not fit
	entries  int
	openings []Mismatch
}

func (s *sums) add(e Entry) {
	s.entries++
	s.posted += e.Amount
	var legs, ours Micro
	for _, leg := range e.Legs {
		legs += leg.Amount
		if leg.Account == AccountOrg {
			ours += leg.Amount
		}
	}
	if legs != 0 || ours != e.Amount {
		s.crooked++
	}
}

// addAll adds up the entries since the newest opening, or with deep all of them.
func (l *Ledger) addAll(ctx context.Context, a Account, now time.Time, deep bool) (sums, error) {
	var s sums
	months := monthsOf(a, now)
	opening := map[time.Time]Opening{}
	if deep {
		openings, err := l.store.Openings(ctx, a.Org, 0)
		if err != nil {
			return s, err
		}
		for _, o := range openings {
			if o.Place == "" {
				opening[o.Month] = o
			}
		}
	} else {
		last, err := l.newest(ctx, a)
		if err != nil {
			return s, err
		}
		s.posted = last.Sum
		months = slices.DeleteFunc(months, func(m time.Time) bool { return m.Before(last.Month) })
	}
	for _, m := range months {
		if o, closed := opening[m]; closed && o.Sum != s.posted {
			s.openings = append(s.openings, Mismatch{Org: a.Org, What: "opening " + m.Format("2006-01"), Want: s.posted, Got: o.Sum})
		}
		if err := l.eachEntry(ctx, a.Org, m, s.add); err != nil {
			return s, err
		}
	}
	return s, nil
}

func compare(a Account, posted, held, crooked Micro, postings []Posting) []Mismatch {
	var out []Mismatch
	check := func(what string, want, got Micro) {
		if want != got {
			out = append(out, Mismatch{Org: a.Org, What: what, Want: want, Got: got})
		}
	}
	check("posted", posted, a.Posted)
	check("held", held, a.Held)
	var moved, available Micro
	for _, s := range a.Shards {
		moved += s.Moved
		available += s.Available
	}
	check("available", a.Posted-a.Held+a.CreditLine, available)
	check("legs", 0, crooked)
	check("moved", 0, moved)
	f, ok := Fold(upTo(postings, a.Seq), a.Posted)
	if !ok {
		check("kinds", 0, a.Posted)
		return out
	}
	var kinds Micro
	for _, v := range f.ByKind() {
		kinds += v
	}
	check("kinds", a.Posted, kinds)
	return out
}

func equalMismatches(a, b []Mismatch) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
