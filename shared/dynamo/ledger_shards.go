package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Attributes of balance shards. The number of shards and the last measurement
// stand on the home shard only.
const (
	aMoved    = "mv"
	aReserves = "n"
	aShards   = "s"
	aLoadN    = "ln"
	aLoadAt   = "lt"
	aLoadUse  = "lu"
	// aInUse is how many shards the calls of an organisation use, beside its
	// configuration.
	aInUse = "shards"
)

// shardItem is an empty shard, which takes entries from closed on.
func shardItem(org string, shard int, due, closed time.Time, mode string, epoch int64) item {
	it := keyItem(table.Balance(org, shard))
	for _, name := range [...]string{aPosted, aHeld, aAvail, aMoved, aReserves, aVersion} {
		it[name] = num(0)
	}
	it[aMode] = str(mode)
	if epoch > 0 {
		it[aEpoch] = num(epoch)
	}
	if !due.IsZero() {
		it[aNext] = millis(due)
	}
	if !closed.IsZero() {
		it[aClosed] = millis(closed)
	}
	return it
}

func parseShard(it item) (credit.Shard, error) {
	r := read(it)
	sh := credit.Shard{Posted: credit.Micro(r.num(aPosted)), Held: credit.Micro(r.num(aHeld)), Available: credit.Micro(r.num(aAvail)),
		Moved: credit.Micro(r.num(aMoved)), Version: r.num(aVersion), Reserves: r.num(aReserves), Due: r.time(aNext), Closed: r.time(aClosed),
		Mode: r.str(aMode), Epoch: r.num(aEpoch), Counted: periods(r, paidPrefix)}
	return sh, r.err
}

// errNoShard says that a shard that should be there is not.
var errNoShard = fmt.Errorf("%w: a balance shard is missing", errItem)

// parseAccount sums the shards, home first.
func parseAccount(org string, items []item) (credit.Account, error) {
	r := read(items[0])
	a := credit.Account{Org: org, Mode: r.str(aMode), Epoch: r.num(aEpoch), Opened: r.time(aOpened), CreditLine: credit.Micro(r.num(aLine)),
		Seq: r.num(aSeq), NextExpiry: r.time(aNext), Closed: r.time(aClosed), FencedAt: r.time(aFencedAt),
		Load: credit.Load{Reserves: r.num(aLoadN), At: r.time(aLoadAt), InUse: int(r.num(aLoadUse))}}
	for _, it := range items {
		if it == nil {
			return a, errNoShard
		}
		sh, err := parseShard(it)
		if err != nil {
			return a, err
		}
		a.Posted += sh.Posted
		a.Held += sh.Held
		a.Version += sh.Version
		a.Shards = append(a.Shards, sh)
	}
	// Not what the shards say is available: credit may move while they are read.
	a.Available = a.Posted - a.Held + a.CreditLine
	return a, r.err
}

// accountGroup bounds what one call reads.
const accountGroup = 100

// accountReads bounds reading again because shards were added meanwhile.
const accountReads = 4

// shards reads all balance shards of an organisation, home first; nil if there is
// no account. They are read one after the other, so credit that moves meanwhile
// may be seen twice or not at all; what is posted and held may not. No
// transaction reads them: on a busy balance it would meet a writer every time.
func (s *LedgerStore) shards(ctx context.Context, org string) ([]item, error) {
	home, err := s.db.get(ctx, table.Ledger, table.Balance(org, homeShard), true)
	if err != nil || home == nil {
		return nil, err
	}
	for range accountReads {
		n := shardsOf(home)
		if n == 1 {
			return []item{home}, nil
		}
		items := make([]item, n)
		for from := 0; from < n; from += accountGroup {
			keys := make([]table.Key, min(accountGroup, n-from))
			for i := range keys {
				keys[i] = table.Balance(org, from+i)
			}
			found, err := s.batchGet(ctx, keys)
			if err != nil {
				return nil, err
			}
			for i, k := range keys {
				items[from+i] = found[k]
			}
		}
		if home = items[homeShard]; shardsOf(home) == n {
			return items, nil
		}
	}
	return nil, errors.New("dynamo: the shards changed during every read")
}

func shardsOf(home item) int {
	return int(min(max(read(home).num(aShards), 1), credit.MaxShards))
}

// measured adds the writes of a measurement to an update of the home shard: only
// the first of those who saw the same one before may write the next.
func measured(x *expression, was, load credit.Load) {
	at := x.name(aLoadAt)
	x.set = append(x.set, x.name(aLoadN)+" = "+x.value(num(load.Reserves)), at+" = "+x.value(millis(load.At)),
		x.name(aLoadUse)+" = "+x.value(num(int64(load.InUse))))
	if was.At.IsZero() {
		x.where = append(x.where, "attribute_not_exists("+at+")")
	} else {
		x.where = append(x.where, at+" = "+x.value(millis(was.At)))
	}
}

// insistTries bounds what changes a balance that is so busy that hardly anybody
// gets through: some seconds of tries without a pause to speak of.
const insistTries = 300

// insist writes a transaction that relieves a busy item. Waiting longer from try
// to try, as everybody else does, it would come through last.
func (s *LedgerStore) insist(ctx context.Context, acts []types.TransactWriteItem) (out writeOutcome) {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: freshToken()}
	silent := 0
	for try := range insistTries {
		if try > 0 && s.db.pace.backoff(ctx, -1) != nil {
			return out
		}
		switch out, _ = s.transact(ctx, in, silent); out {
		case didNothing:
		case didNotAnswer:
			if silent++; silent >= ledgerUnanswered {
				return out
			}
		default:
			return out
		}
	}
	return out
}

// Measure implements credit.ShardStore.
func (s *LedgerStore) Measure(ctx context.Context, a credit.Account, load credit.Load) (bool, error) {
	x := &expression{names: map[string]string{}, values: item{}}
	measured(x, a.Load, load)
	x.where = append(x.where, "attribute_exists("+x.name(aVersion)+")")
	switch s.insist(ctx, []types.TransactWriteItem{{Update: &types.Update{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(a.Org, homeShard)),
		UpdateExpression: aws.String(x.update()), ConditionExpression: aws.String(x.condition()),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values}}}) {
	case didWrite:
		return true, nil
	case didCancel:
		return false, nil
	}
	return false, ledgerUnavailable("dynamo.Measure", nil)
}

// Split implements credit.ShardStore. New shards refuse from when the home shard
// does, and take entries from when it does; the condition is that neither changed.
// They get their part of home's credit at once, because a home that is busy enough
// to be split is hard to write.
func (s *LedgerStore) Split(ctx context.Context, a credit.Account, n int, load credit.Load) error {
	const op = "dynamo.Split"
	ledger, due := s.db.name(table.Ledger), a.Shards[homeShard].Due
	added := n - len(a.Shards)
	share := max(a.Shards[homeShard].Available, 0) / credit.Micro(added+1)
	given := num(int64(share) * int64(added))
	x := &expression{names: map[string]string{"#s": aShards, "#ver": aVersion, "#avail": aAvail, "#mv": aMoved, "#md": aMode},
		values: item{":md": str(a.Mode), ":n": num(int64(n)), ":one": num(1), ":was": num(int64(len(a.Shards))), ":given": given, ":zero": num(0)}}
	x.set = []string{"#s = :n", "#ver = #ver + :one", "#avail = #avail - :given", "#mv = if_not_exists(#mv, :zero) - :given"}
	// A debt at home is nothing to give, and no reason not to split.
	x.where = []string{"attribute_exists(#ver)", "#md = :md", "(attribute_not_exists(#s) OR #s = :was)"}
	if share > 0 { // a debt at home is nothing to give, and no reason not to split
		x.where = append(x.where, "#avail >= :given")
	}
	measured(x, a.Load, load)
	for name, t := range map[string]time.Time{aNext: due, aClosed: a.Closed} {
		if n := x.name(name); t.IsZero() {
			x.where = append(x.where, "attribute_not_exists("+n+")")
		} else {
			x.where = append(x.where, n+" = "+x.value(millis(t)))
		}
	}
	acts := []types.TransactWriteItem{{Update: &types.Update{TableName: ledger, Key: keyItem(table.Balance(a.Org, homeShard)),
		UpdateExpression: aws.String(x.update()), ConditionExpression: aws.String(x.condition()), ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values}}}
	for i := len(a.Shards); i < n; i++ {
		it := shardItem(a.Org, i, due, a.Closed, a.Mode, a.Epoch)
		it[aAvail], it[aMoved] = num(int64(share)), num(int64(share))
		acts = append(acts, ledgerPut(ledger, it, ifAbsent))
	}
	switch s.insist(ctx, acts) {
	case didWrite:
		return nil
	case didCancel:
		return fault.New(fault.Conflict, op, "the balance changed meanwhile, try again")
	}
	return ledgerUnavailable(op, nil)
}

// spreadGroup bounds the shards of one transaction of a spread: on a busy balance
// many at once would meet a writer every time.
const spreadGroup = 6

// Spread implements credit.ShardStore.
func (s *LedgerStore) Spread(ctx context.Context, a credit.Account, use int) error {
	moves := credit.Moves(a.Shards, use)
	givers := slices.DeleteFunc(slices.Clone(moves), func(m credit.Move) bool { return m.Amount < 0 })
	takers := slices.DeleteFunc(moves, func(m credit.Move) bool { return m.Amount > 0 })
	var groups [][]credit.Move
	for len(givers) > 0 && len(takers) > 0 {
		var group []credit.Move
		for len(givers) > 0 && len(takers) > 0 && len(group) < spreadGroup {
			n := min(givers[0].Amount, -takers[0].Amount)
			group = add(add(group, givers[0].Shard, n), takers[0].Shard, -n)
			if givers[0].Amount -= n; givers[0].Amount == 0 {
				givers = givers[1:]
			}
			if takers[0].Amount += n; takers[0].Amount == 0 {
				takers = takers[1:]
			}
		}
		groups = append(groups, group)
	}
	errs := make([]error, len(groups))
	s.db.pace.Each(ctx, len(groups), func(ctx context.Context, i int) { errs[i] = s.move(ctx, a.Org, groups[i]) })
	return errors.Join(errs...)
}

// add sums moves per shard: two writes of one item are refused.
func add(batch []credit.Move, shard int, n credit.Micro) []credit.Move {
	if i := slices.IndexFunc(batch, func(m credit.Move) bool { return m.Shard == shard }); i >= 0 {
		batch[i].Amount += n
		return batch
	}
	return append(batch, credit.Move{Shard: shard, Amount: n})
}

// setDue makes a shard refuse from a time on, never if it is zero, under a
// condition over #nx and :was. A lost condition is success.
func (s *LedgerStore) setDue(ctx context.Context, org string, shard int, due time.Time, condition string, was time.Time) error {
	in := &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, shard)),
		UpdateExpression: aws.String("SET #nx = :due, #ver = #ver + :one"), ConditionExpression: aws.String("attribute_exists(#ver) AND " + condition),
		ExpressionAttributeNames:  map[string]string{"#nx": aNext, "#ver": aVersion},
		ExpressionAttributeValues: item{":due": millis(due), ":one": num(1), ":was": millis(was)}}
	if due.IsZero() {
		in.UpdateExpression = aws.String("SET #ver = #ver + :one REMOVE #nx")
		delete(in.ExpressionAttributeValues, ":due")
	}
	if out, _ := s.actUpdate(ctx, in); out != didWrite && out != didFailCondition {
		return ledgerUnavailable("dynamo.setDue", nil)
	}
	return nil
}

// dueEarlier makes the shards besides home refuse no later than a grant ends. It
// stands before the posting, so that no shard is ever late.
func (s *LedgerStore) dueEarlier(ctx context.Context, a credit.Account, due time.Time) error {
	if due.IsZero() {
		return nil
	}
	for i := 1; i < len(a.Shards); i++ {
		if err := s.setDue(ctx, a.Org, i, due, "(attribute_not_exists(#nx) OR #nx > :was)", due); err != nil {
			return err
		}
	}
	return nil
}

// level follows a change of the home shard of a sharded balance: the credit is
// spread again, and refusals that somebody lifted between the two writes are set
// again. A spread that fails is made up for by the sweep.
func (s *LedgerStore) level(ctx context.Context, a credit.Account, due time.Time) error {
	if len(a.Shards) <= 1 {
		return nil
	}
	if err := s.dueEarlier(ctx, a, due); err != nil {
		return err
	}
	if now, err := s.Account(ctx, a.Org); err == nil {
		_ = s.Spread(ctx, now, max(now.Load.InUse, 1))
	}
	return nil
}

// sooner is the earlier of two times, of which a zero one does not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Publish implements credit.ShardStore: the number goes where a request's
// configuration is read.
func (s *LedgerStore) Publish(ctx context.Context, org string, inUse int) error {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Config), Key: keyItem(table.Shards(org)),
		UpdateExpression: aws.String("SET #u = :u"), ExpressionAttributeNames: map[string]string{"#u": aInUse},
		ExpressionAttributeValues: item{":u": num(int64(inUse))}})
	if out != didWrite {
		return ledgerUnavailable("dynamo.Publish", nil)
	}
	return nil
}

func decodeInUse(it item) (int, error) {
	r := read(it)
	n := r.num(aInUse)
	if r.err == nil && (n < 0 || n > credit.MaxShards) {
		r.fail(aInUse + strconv.FormatInt(n, 10))
	}
	return int(n), r.err
}
