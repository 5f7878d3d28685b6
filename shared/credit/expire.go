package credit

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// DueGrant is a grant whose time is over.
type DueGrant struct {
	Org, ID string
	EndsAt  time.Time
}

// GrantEnd is one step of the end of a grant, written in one transaction if the
// account still has the version and the number of postings that it was computed
// from.
type GrantEnd struct {
	Grant   Posting
	Account Account
	// Expiry takes what nobody can use any more, Renewal is the grant of the next
	// period; nil if there is none.
	Expiry, Renewal *Posting
	// Again is when the grant has to be looked at again because running calls
	// hold credits of it; zero if it is over for good.
	Again time.Time
	// NextExpiry is that of the account afterwards.
	NextExpiry time.Time
}

// ExpiryStore is what ends grants.
type ExpiryStore interface {
	// Due lists the grants of an index partition that end at now or before, oldest
	// first.
	Due(ctx context.Context, bucket string, now time.Time, limit int) ([]DueGrant, error)
	// End writes a step; ok is false if the account or the grant changed.
	End(ctx context.Context, e GrantEnd) (ok bool, err error)
}

const (
	duePage = 100
	// lingerFor is when a grant that running calls hold is looked at again.
	lingerFor = time.Minute
	// endTries bounds the tries against a balance that moves.
	endTries = 8
	// endSteps bounds what one sweep does for one grant and its renewals.
	endSteps = 400
)

// ExpireGrants ends every grant whose time is over: what no running call holds
// of it is taken off, a grant with a rollover is renewed. What a call reserved
// before the end stays capturable; what such a call leaves is taken off by a
// later run. Runs may overlap and be repeated. It answers how many steps it
// took; the error is that of storage.
func (l *Ledger) ExpireGrants(ctx context.Context, now time.Time) (int, error) {
	steps := 0
	for _, bucket := range table.AllGrantBuckets() {
		for {
			due, err := l.store.Due(ctx, bucket, now, duePage)
			if err != nil || ctx.Err() != nil {
				return steps, err
			}
			progress := 0
			for _, d := range due {
				n, err := l.expire(ctx, d, now)
				steps += n
				progress += n
				if err != nil {
					return steps, err
				}
			}
			// A page without progress met only what others are working on.
			if len(due) < duePage || progress == 0 {
				break
			}
		}
	}
	return steps, nil
}

// expire ends a grant and then those of its renewals that are over as well.
func (l *Ledger) expire(ctx context.Context, d DueGrant, now time.Time) (steps int, err error) {
	for id := d.ID; id != "" && steps < endSteps; {
		next, done, err := l.endGrant(ctx, d.Org, id, now)
		if err != nil || !done {
			return steps, err
		}
		steps, id = steps+1, next
	}
	return steps, nil
}

// endGrant takes one step; renewal is the id of the next grant to end.
func (l *Ledger) endGrant(ctx context.Context, org, id string, now time.Time) (renewal string, done bool, err error) {
	for range endTries {
		// Before the balance: a call that ends in between counts as running.
		holds, err := l.store.Holds(ctx, org)
		if err != nil {
			return "", false, err
		}
		acc, err := l.store.Account(ctx, org)
		if err != nil {
			return "", false, err
		}
		postings, err := l.store.Postings(ctx, org)
		if err != nil {
			return "", false, err
		}
		end, ok := planEnd(acc, postings, holds, id, now)
		if !ok {
			return "", false, nil
		}
		if end.Expiry != nil && len(acc.Shards) > 1 && acc.Shards[0].Available < -end.Expiry.Amount {
			// What is taken off must be where it is taken from.
			if err := l.store.Spread(ctx, acc, 1); err != nil {
				return "", false, err
			}
			continue
		}
		if ok, err = l.store.End(ctx, end); err != nil {
			return "", false, err
		}
		if !ok {
			if err := l.wait(ctx, 20*time.Millisecond); err != nil {
				return "", false, nil
			}
			continue
		}
		if end.Renewal != nil && !end.Renewal.ExpiresAt.After(now) {
			renewal = end.Renewal.ID
		}
		return renewal, true, nil
	}
	return "", false, nil
}

// planEnd computes a step of the end of a grant. ok is false if there is nothing
// to do, or what was read does not fit together.
func planEnd(acc Account, postings []Posting, holds []Open, id string, now time.Time) (e GrantEnd, ok bool) {
	postings = upTo(postings, acc.Seq)
	i := slices.IndexFunc(postings, func(p Posting) bool { return p.ID == id })
	if i < 0 || postings[i].ExpiresAt.IsZero() || postings[i].ExpiresAt.After(now) {
		return GrantEnd{}, false
	}
	g := postings[i]
	f, ok := Fold(postings, acc.Posted)
	if !ok {
		return GrantEnd{}, false
	}
	// Until the first step nothing is reserved, so everything that is held was
	// before the end. Afterwards only the older calls have a share.
	held := acc.Held
	if g.Ended {
		held = min(held, heldBefore(holds, g.ExpiresAt))
	}
	at := slices.IndexFunc(f.Grants, func(b GrantBalance) bool { return b.ID == id })
	left := f.Grants[at].Remaining
	free := f.free(held)[at].Remaining
	e = GrantEnd{Grant: g, Account: acc, NextExpiry: nextExpiry(postings, id)}
	seq, base := acc.Seq, acc.Posted
	if now.Before(acc.Closed) { // a clock that lags
		now = acc.Closed
	}
	if free > 0 {
		seq++
		e.Expiry = &Posting{ID: expiryID(g, postings), Org: g.Org, Origin: ExpiryEntry, Kind: g.Kind, Amount: -free, At: now, Of: g.ID, Seq: seq, Base: base}
		base -= free
	}
	if left > free {
		e.Again = now.Add(lingerFor)
	}
	if next := renew(g, free, now); next != nil {
		next.Seq, next.Base = seq+1, base
		e.Renewal = next
		e.NextExpiry = earlier(e.NextExpiry, next.ExpiresAt)
	}
	return e, true
}

// renew is the grant of the period after g, nil if there is none.
func renew(g Posting, free Micro, now time.Time) *Posting {
	amount := min(max(free, g.Rollover.Min), g.Rollover.Max)
	if g.Ended || amount <= 0 {
		return nil
	}
	end, ok := periodEnd(g.Kind, g.ExpiresAt)
	if !ok {
		return nil
	}
	return &Posting{ID: "g_" + shortHash(g.ID, g.ExpiresAt.UTC().Format(time.RFC3339Nano)), Org: g.Org, Origin: GrantEntry, Kind: g.Kind,
		Amount: amount, At: now, ExpiresAt: end, Rollover: g.Rollover}
}

// expiryID tells the steps of one grant apart.
func expiryID(g Posting, postings []Posting) string {
	n := 0
	for _, p := range postings {
		if p.Origin == ExpiryEntry && p.Of == g.ID {
			n++
		}
	}
	return "x_" + shortHash(g.Org, g.ID, strconv.Itoa(n))
}

// nextExpiry is the earliest end of the grants other than id that have not been
// ended.
func nextExpiry(postings []Posting, id string) (next time.Time) {
	for _, p := range postings {
		if p.ID != id && !p.Ended {
			next = earlier(next, p.ExpiresAt)
		}
	}
	return next
}

// earlier is the earlier of two times, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func heldBefore(holds []Open, t time.Time) (sum Micro) {
	for _, h := range holds {
		if h.Created.Before(t) {
			sum += h.Hold
		}
	}
	return sum
}

// Steps are the postings of the end in the order in which they are made.
func (e GrantEnd) Steps() []Posting {
	var out []Posting
	for _, p := range [...]*Posting{e.Expiry, e.Renewal} {
		if p != nil {
			out = append(out, *p)
		}
	}
	slices.SortFunc(out, func(a, b Posting) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

// ErrExpiryDue is what a reserve is refused with between the end of a grant and
// its folding.
func ErrExpiryDue(op string) error {
	f := fault.New(fault.LedgerUnavailable, op, "credits of this organisation have just expired and are being taken off, try again in a minute")
	f.RetryAfter = 15 * time.Second
	return f
}
