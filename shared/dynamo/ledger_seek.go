package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

const (
	// seekRounds bounds the places that a hold is tried at. Each round after the
	// first means that another caller took credit, or moved it, meanwhile.
	seekRounds = 24
	// seekDonors bounds the shards that give in one transaction of a hundred.
	seekDonors = 90
	// seekLooks is how many pictures of all shards must show too little where the
	// shards change between any two; one suffices where they do not.
	seekLooks = 3
)

// seeker looks for a shard with enough credit for one hold. It belongs to one
// call.
type seeker struct {
	s       *LedgerStore
	org     string
	need    credit.Micro
	owner   string
	attempt int
	inUse   int
	// fixed holds stay on the shard home, which is 0 for the others.
	fixed bool
	home  int
	// stamped callers know who pays and follow changes of it.
	stamped bool

	rounds, hops int
	// Of the pictures that showed too little.
	looks   int
	version int64
}

func (k *seeker) first() int { return credit.Pick(k.owner, k.attempt, 0, k.inUse) }

func (k *seeker) hop() int {
	k.hops++
	return credit.Pick(k.owner, k.attempt, k.hops, k.inUse)
}

// next is the shard to try after one refused. The error is why the hold is
// refused: insufficient_credits only after all shards were seen at one moment
// with too little between them.
func (k *seeker) next(ctx context.Context, r refusedBy, now time.Time, stamp credit.Stamp) (int, error) {
	k.rounds++
	rd := read(r.shard)
	switch {
	case r.shard == nil || k.fixed:
	case !k.stamped && rd.str(aMode) != credit.ModeCredit, k.stamped && !onShard(r.shard, stamp):
		if rd.has(aShards) {
			return 0, notCharged()
		}
		// A change of mode may not have reached this shard; home knows.
		return k.gather(ctx, now)
	}
	if refuses(rd.time(aNext), now) {
		if rd.has(aShards) { // home knows
			return 0, credit.ErrExpiryDue("dynamo.Reserve")
		}
		return k.gather(ctx, now)
	}
	if k.inUse <= 1 && rd.has(aShards) && shardsOf(r.shard) == 1 {
		return 0, tooLittle(k.need, credit.Micro(rd.num(aAvail)))
	}
	if !k.fixed && k.hops == 0 && k.inUse > 2 {
		return k.hop(), nil
	}
	return k.gather(ctx, now)
}

// gather reads all shards and takes the fullest. If none has enough, but all
// together do, their credit is brought to one: the home shard, where the next
// callers find it, too. So however many ask at once, credit is brought together
// once, and from then on it is as with one shard.
func (k *seeker) gather(ctx context.Context, now time.Time) (int, error) {
	const op = "dynamo.Reserve"
	if k.rounds > 2 {
		if err := k.s.db.pace.backoff(ctx, k.rounds); err != nil {
			return 0, ledgerUnavailable(op, err)
		}
	}
	a, err := k.look(ctx)
	for err == nil && a.Available < k.need && len(a.Shards) > 1 && !k.short(a) {
		a, err = k.look(ctx)
	}
	switch {
	case err != nil:
		return 0, ledgerRead(op, err)
	case len(a.Shards) == 0:
		return 0, tooLittle(k.need, 0)
	case !k.fixed && a.Mode != credit.ModeCredit:
		return 0, notCharged()
	case refuses(a.NextExpiry, now):
		return 0, credit.ErrExpiryDue(op)
	case a.Available < k.need:
		return 0, tooLittle(k.need, a.Available)
	}
	if !k.fixed {
		if err := k.s.alignShards(ctx, &a); err != nil {
			return 0, err
		}
	}
	fullest := k.home
	for i, sh := range a.Shards {
		// Home was folded since: the first caller that a shard refuses says so.
		if i > 0 && refuses(sh.Due, now) {
			if err := k.s.setDue(ctx, k.org, i, a.NextExpiry, "#nx = :was", sh.Due); err != nil {
				return 0, err
			}
		}
		if !k.fixed && usable(a, i) && sh.Available > a.Shards[fullest].Available {
			fullest = i
		}
	}
	if a.Shards[fullest].Available >= k.need {
		return fullest, nil
	}
	return k.home, k.s.move(ctx, k.org, k.collect(a.Shards))
}

// short reports whether a picture with too little is enough to refuse: nothing was
// written since the one before, or it is the last of several. What is posted and
// held adds up in each, in an order in which the calls might have been.
func (k *seeker) short(a credit.Account) bool {
	same := k.looks > 0 && k.version == a.Version
	k.looks, k.version = k.looks+1, a.Version
	return same || k.looks >= seekLooks
}

// look reads all shards; an organisation without an account has none.
func (k *seeker) look(ctx context.Context) (credit.Account, error) {
	items, err := k.s.shards(ctx, k.org)
	if err != nil || items == nil {
		return credit.Account{}, err
	}
	return parseAccount(k.org, items)
}

// collect moves credit to home: all of it, or for a hold that stays what it needs.
// Where that met writers before, fewer give at once, those with the most.
func (k *seeker) collect(shards []credit.Shard) []credit.Move {
	donors := max(seekDonors>>max(k.rounds-2, 0), 2)
	order := make([]int, len(shards))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(shards[j].Available, shards[i].Available) })
	var moves []credit.Move
	missing := k.need - shards[k.home].Available // a debt there is paid, too
	var sum credit.Micro
	for _, i := range order {
		if n := shards[i].Available; i != k.home && n > 0 && len(moves) < donors && (!k.fixed || sum < missing) {
			if k.fixed {
				n = min(n, missing-sum)
			}
			moves = append(moves, credit.Move{Shard: i, Amount: n})
			sum += n
		}
	}
	return append(moves, credit.Move{Shard: k.home, Amount: -sum})
}

// move writes moves that sum to 0 in one transaction. One that met another one,
// or lost a condition, moved nothing: then others took or moved the credit.
func (s *LedgerStore) move(ctx context.Context, org string, moves []credit.Move) error {
	acts := make([]types.TransactWriteItem, len(moves))
	for i, m := range moves {
		acts[i] = s.side(org, m)
	}
	// Whatever became of it, the sums hold, and who needs them looks again.
	out, _, _ := s.act(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: freshToken()}, nil)
	if out == didRefuse {
		return fault.New(fault.Internal, "dynamo.move", "the credit ledger refused a malformed request")
	}
	return nil
}

func notCharged() error {
	return fault.Wrap(fault.BillingDenied, "dynamo.Reserve", "this organisation is not charged through the credit ledger, platform credits cannot be used", errOtherStamp)
}

func tooLittle(need, available credit.Micro) error {
	return fault.New(fault.InsufficientCredits, "dynamo.Reserve", fmt.Sprintf(
		"not enough credits: this request needs up to %d micro-credits, %d are available, add credits or lower the output limit",
		need, max(available, 0)))
}

// refuses reports whether a balance that refuses from a time on does at now.
func refuses(from, now time.Time) bool { return !from.IsZero() && !from.After(now) }
