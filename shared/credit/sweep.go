package credit

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Open is an attempt that still has a hold or waits for settlement.
type Open struct {
	Org, Request string
	Attempt      int
	Owner        string
	State        State
	Shard        int
	Hold         Micro
	Created      time.Time
	Expires      time.Time
	Source       taxonomy.BillingSource
	Stamp        Stamp
	// HasCheckpoint, Checkpoint and CheckpointUsage are what a running call
	// stored last.
	HasCheckpoint   bool
	Checkpoint      Micro
	CheckpointUsage billing.Usage
	// Used is set in state USED.
	Used Used
	// Agency pays, if set; Day is where the draw counts.
	Agency, Day string
	// Unreadable says that the item cannot be understood; the hold is what could be
	// made out.
	Unreadable bool
	// Poison is why settlement cannot process the attempt, empty if it can.
	Poison string
}

// StaleAfter is how old a USED attempt is before the sweep settles it in place
// of the stream.
const StaleAfter = time.Minute

const (
	sweepPage  = 100
	sweepBatch = 49
)

// SweepReport tells what a sweep did. Next is the position at which the next
// one goes on, Complete says that this one saw everything.
type SweepReport struct {
	Expired, Settled, Released, Undecided, Poisoned int
	// Unbilled counts attempts that ended without usage although the vendor may have
	// been called; they are worth at most UnbilledAtMost, what they held.
	Unbilled       int
	UnbilledAtMost Micro
	// Healed counts records of poison that are gone, Left those that remain and that
	// nobody has dismissed.
	Healed, Left int
	// Found is the poison that this sweep found.
	Found []Poison
	// Reshaped counts organisations whose number of balance shards changed.
	Reshaped int
	Next     int
	Complete bool
}

// Sweep ends abandoned attempts: overdue ones are expired, or settled at their
// last checkpoint; USED ones older than [StaleAfter] are settled. It walks the
// index partitions from position start, ends early when ctx does or budget
// attempts were looked at, and says where it stopped. Several sweeps may run at
// once. One that sees everything fits the balance shards of busy organisations to
// their load. The error is that of storage; the report holds what was done before it.
func (l *Ledger) Sweep(ctx context.Context, now time.Time, start, budget int) (SweepReport, error) {
	return l.walk(ctx, sweeper{now: now, expire: true, stale: StaleAfter}, start, budget)
}

// ExpireDue is a [Ledger.Sweep] that only ends overdue attempts.
func (l *Ledger) ExpireDue(ctx context.Context, now time.Time) (SweepReport, error) {
	return l.walk(ctx, sweeper{now: now, expire: true, stale: -1}, 0, 0)
}

// SettleStale is a [Ledger.Sweep] that only settles USED attempts that are older
// than the given age.
func (l *Ledger) SettleStale(ctx context.Context, now time.Time, olderThan time.Duration) (SweepReport, error) {
	return l.walk(ctx, sweeper{now: now, stale: olderThan}, 0, 0)
}

// sweeper is one walk.
type sweeper struct {
	now    time.Time
	expire bool
	stale  time.Duration // negative: leave USED alone
	// poison is not touched by the walk: it is tried before it.
	poison map[table.Key]bool
	busy   map[string]*busy
	report SweepReport
}

func (l *Ledger) walk(ctx context.Context, s sweeper, start, budget int) (SweepReport, error) {
	if err := l.retryPoison(ctx, &s); err != nil {
		return s.report, err
	}
	buckets := table.AllHoldBuckets()
	if start < 0 {
		start = 0
	}
	seen := 0
	for i := range buckets {
		s.report.Next = (start + i) % len(buckets)
		cursor := ""
		for {
			if ctx.Err() != nil || budget > 0 && seen >= budget {
				return s.report, nil
			}
			page, next, err := l.store.Open(ctx, buckets[s.report.Next], cursor, sweepPage)
			if err != nil {
				return s.report, err
			}
			seen += len(page)
			if err := l.sweepPage(ctx, &s, page); err != nil {
				return s.report, err
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	s.report.Complete = true
	if s.expire && s.stale >= 0 {
		l.reshape(ctx, &s)
	}
	return s.report, nil
}

func (l *Ledger) sweepPage(ctx context.Context, s *sweeper, page []Open) error {
	var stale []Used
	for _, o := range page {
		s.saw(o)
		key := table.Request(o.Org, o.Request, o.Attempt)
		switch {
		case s.poison[key]:
		case o.Unreadable:
			if err := l.found(ctx, s, Poison{PK: key.PK, SK: key.SK, Reason: Unreadable, At: s.now}); err != nil {
				return err
			}
		case o.State == UsedState:
			if s.stale >= 0 && !o.Used.At.After(s.now.Add(-s.stale)) {
				stale = append(stale, o.Used)
			}
		case (o.State == Dispatched || o.State == Held) && s.expire && o.Expires.Before(s.now):
			u, used, err := l.end(ctx, s, o)
			if err != nil {
				return err
			}
			if used {
				stale = append(stale, u)
			}
		}
	}
	for len(stale) > 0 {
		n := min(len(stale), sweepBatch)
		r := l.Settle(ctx, stale[:n], s.now)
		s.report.Settled += r.Settled + r.Late
		s.report.Released += r.Released
		s.report.Undecided += r.Undecided
		s.report.Poisoned += r.Poisoned
		for i, v := range r.Verdicts {
			if v.Result == Poisoned {
				key := table.Request(stale[i].Org, stale[i].Request, stale[i].Attempt)
				s.report.Found = append(s.report.Found, Poison{PK: key.PK, SK: key.SK, Reason: v.Reason, At: s.now})
				s.report.Left++
			}
		}
		stale = stale[n:]
	}
	return nil
}

// expired counts an attempt that was expired.
func (s *sweeper) expired(o Open) {
	s.report.Expired++
	if o.State == Dispatched {
		s.report.Unbilled++
		s.report.UnbilledAtMost += o.Hold
	}
}

// end expires an overdue attempt, or reports its checkpoint as used.
func (l *Ledger) end(ctx context.Context, s *sweeper, o Open) (Used, bool, error) {
	if o.HasCheckpoint {
		return l.store.UseCheckpoint(ctx, o, s.now)
	}
	ok, err := l.store.Expire(ctx, o, s.now)
	if ok {
		s.expired(o)
	}
	if r := refusedOf(err); r != "" {
		key := table.Request(o.Org, o.Request, o.Attempt)
		s.report.Poisoned++
		return Used{}, false, l.found(ctx, s, Poison{PK: key.PK, SK: key.SK, Reason: r, At: s.now})
	}
	return Used{}, false, err
}
