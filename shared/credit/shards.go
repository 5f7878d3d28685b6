package credit

import (
	"context"
	"slices"
	"time"
)

// MaxShards bounds the balance shards of an organisation: good for about 1,000
// requests a second.
const MaxShards = 128

const (
	// shardRate is the reservations per second that one balance takes in comfort.
	shardRate = 8
	// shardDepth is how many of the largest holds each shard must be able to have
	// open; below that sharding only strands credit.
	shardDepth = 20
	// shardLull is how much lower the wanted number must be before fewer are used.
	shardLull = 4
	// shardBusy is how many open attempts make the sweep measure an organisation.
	shardBusy = 8
	// shardPause is the shortest time that is measured over, and in which settlement
	// looks at an organisation once: a load that grows within seconds must get its
	// shards before so many callers meet on one that nobody gets through.
	shardPause = 2 * time.Second
	// shardKeep is the age at which a stored measurement is replaced although
	// nothing changes.
	shardKeep = 30 * time.Second
	// shardSpan bounds how old a measurement may be to be compared with.
	shardSpan = 2 * time.Minute
)

// Load is a measurement: how many reservations had been made at a time, those that
// met others on their way counted for that, too, and how many shards the callers
// were told to use.
type Load struct {
	Reserves int64
	At       time.Time
	InUse    int
}

// WantedShards is how many balance shards an organisation should use: the power
// of two that brings each down to 8 reservations a second, as long as the
// available credit gives each shard room for 20 of its largest holds. It grows at
// once and shrinks only when a quarter would do over a longer time, so that it does
// not swing. It is a pure function.
func WantedShards(reserves int64, over time.Duration, available, largestHold Micro, inUse int) int {
	inUse = max(inUse, 1)
	if over <= 0 || reserves < 0 {
		return inUse
	}
	perSecond := reserves * int64(time.Second) / int64(over)
	want := 1
	for want < MaxShards && perSecond > int64(want*shardRate) {
		want *= 2
	}
	for want > 1 && available/Micro(want)/shardDepth < largestHold {
		want /= 2
	}
	if want < inUse && available/Micro(inUse)/shardDepth >= largestHold && (want*shardLull > inUse || over < shardKeep) {
		return inUse
	}
	return want
}

// busy is what a sweep saw of one organisation.
type busy struct {
	open    int
	largest Micro
	sharded bool
}

func (s *sweeper) saw(o Open) {
	if o.Hold == 0 {
		return
	}
	if s.busy == nil {
		s.busy = map[string]*busy{}
	}
	b := s.busy[o.Payer()]
	if b == nil {
		b = &busy{}
		s.busy[o.Payer()] = b
	}
	b.open++
	b.largest = max(b.largest, o.Hold)
	b.sharded = b.sharded || o.Shard > 0
}

// reshape fits the shards of busy organisations to their load. A failure leaves
// it to the next sweep.
func (l *Ledger) reshape(ctx context.Context, s *sweeper) {
	orgs := make([]string, 0, len(s.busy))
	for org, b := range s.busy {
		if b.open >= shardBusy || b.sharded {
			orgs = append(orgs, org)
		}
	}
	slices.Sort(orgs)
	for _, org := range orgs {
		if ctx.Err() != nil {
			return
		}
		if _, changed, err := l.Reshape(ctx, Busy{Org: org, LargestHold: s.busy[org].largest}, s.now); err == nil && changed {
			s.report.Reshaped++
		}
	}
}

// Reshape measures an organisation's load since an earlier measurement, b's own or
// the stored one, gives it the balance shards it needs and spreads its credit over
// those in use. No credit is made or lost: it moves between shards in transactions
// that sum to 0. Holds keep the shard they were taken from. Of several at once one
// changes the number and the others do nothing, also for shardPause after it. It
// returns the new measurement and whether the number in use changed. Errors:
// not_found, ledger_unavailable; conflict if the account changed meanwhile.
func (l *Ledger) Reshape(ctx context.Context, b Busy, now time.Time) (load Load, changed bool, err error) {
	a, err := l.store.Account(ctx, b.Org)
	if err != nil {
		return Load{}, false, err
	}
	inUse, age := max(a.Load.InUse, 1), now.Sub(a.Load.At).Abs()
	load = Load{Reserves: a.Reserves(), At: now, InUse: inUse}
	if age < shardPause {
		return load, false, nil
	}
	// The latest measurement shows a load that grows; only a long one, that it is
	// gone and not only between two bursts.
	for _, before := range [...]Load{b.Before, a.Load} {
		if since := now.Sub(before.At); load.InUse <= inUse && since >= shardPause && since <= shardSpan {
			load.InUse = WantedShards(load.Reserves-before.Reserves, since, a.Available, b.LargestHold, inUse)
		}
	}
	want := load.InUse
	if want == inUse && age < shardKeep {
		return load, false, nil
	}
	if len(a.Shards) >= want {
		if ok, err := l.store.Measure(ctx, a, load); err != nil || !ok {
			return load, false, err
		}
	}
	for len(a.Shards) < want {
		// A transaction holds a hundred writes, so the last step takes two.
		if err := l.store.Split(ctx, a, min(want, shardStep*(len(a.Shards)/shardStep+1)), load); err != nil {
			return load, false, err
		}
		if a, err = l.store.Account(ctx, b.Org); err != nil {
			return load, false, err
		}
	}
	return load, want != inUse, l.rearrange(ctx, a, inUse, want)
}

// shardStep bounds the shards that are added at once.
const shardStep = 64

// rearrange tells callers the number of shards, and moves credit to where they
// look for it: before they do, or after they have stopped looking elsewhere.
func (l *Ledger) rearrange(ctx context.Context, a Account, inUse, want int) error {
	spread := func() error {
		if len(a.Shards) == 1 {
			return nil
		}
		return l.store.Spread(ctx, a, want)
	}
	if want > inUse {
		if err := spread(); err != nil {
			return err
		}
	}
	// Also an unchanged number: whoever measured last may not have come this far.
	if err := l.store.Publish(ctx, a.Org, want); err != nil || want > inUse {
		return err
	}
	return spread()
}

// Move takes Amount from one shard's available credit, or gives it if negative.
type Move struct {
	Shard  int
	Amount Micro
}

// Moves lists what has to move so that the first use shards have about the same
// and the others nothing; a debt stays where it is only if there is nothing to
// pay it with. The moves sum to 0, none takes what is not there, and small
// differences are left alone. It is a pure function.
func Moves(shards []Shard, use int) []Move {
	use = min(max(use, 1), len(shards))
	var total Micro
	debt := false
	for _, s := range shards {
		total += s.Available
		debt = debt || s.Available < 0
	}
	share, rest := max(total, 0)/Micro(use), Micro(0)
	small := share / 4
	if debt {
		small = 0
	}
	moves := make([]Move, 0, len(shards))
	var given, needed Micro
	for i, s := range shards {
		target := share
		if i >= use {
			target = 0
		}
		if d := s.Available - target; d > 0 && (i >= use || d > small) {
			moves = append(moves, Move{i, d})
			given += d
		} else if d < 0 && (s.Available < 0 || -d > small) {
			moves = append(moves, Move{i, d})
			needed -= d
		}
	}
	// Both sides are brought to the smaller one; the rest stays with the last.
	limit := min(given, needed)
	surplus, short := given-limit, needed-limit
	for i := len(moves) - 1; i >= 0; i-- {
		m := &moves[i]
		switch {
		case m.Amount > 0 && surplus > 0:
			rest = min(surplus, m.Amount)
			m.Amount, surplus = m.Amount-rest, surplus-rest
		case m.Amount < 0 && short > 0:
			rest = min(short, -m.Amount)
			m.Amount, short = m.Amount+rest, short-rest
		}
	}
	if surplus != 0 || short != 0 {
		return nil
	}
	return slices.DeleteFunc(moves, func(m Move) bool { return m.Amount == 0 })
}
