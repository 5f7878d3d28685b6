package dynamo

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/table"
)

// What counts against the limits of a subject is one item of the config table,
// beside the subject, so that the reads of a request yield it at no further
// call: a number per counter and window ("c." and its name), and the expiry of
// each slot ("s." and its name). A claim costs two write units per subject, its
// end one; a subject is limited to what one item takes, about as much as a
// balance (see package credit).
const (
	counterPrefix = "c."
	slotPrefix    = "s."
	countsSuffix  = "#COUNTS"
)

func countsKey(s limit.Subject) table.Key {
	if s.Key != "" {
		return table.KeyCounts(s.Org, s.Key)
	}
	return table.OrgCounts(s.Org)
}

func isCounts(it item) bool { return strings.HasSuffix(read(it).str(table.SK), countsSuffix) }

// decodeCounts gives the zero state for an absent item.
func decodeCounts(it item) (limit.State, error) {
	var st limit.State
	r := read(it)
	for name := range it {
		if counter, ok := strings.CutPrefix(name, counterPrefix); ok {
			if st.Counters == nil {
				st.Counters = make(map[string]int64, len(it))
			}
			st.Counters[counter] = r.num(name)
		}
		if slot, ok := strings.CutPrefix(name, slotPrefix); ok {
			if st.Slots == nil {
				st.Slots = make(map[string]time.Time, len(it))
			}
			st.Slots[slot] = r.time(name)
		}
	}
	return st, r.err
}

// claimRounds bounds how often a reserve is built anew because the state of a
// limit had changed. Each further round means that somebody else cleared slots.
const claimRounds = 8

// errNewerState says that a claim lost its condition and has now seen the state
// that there is, which leaves room.
var errNewerState = errors.New("dynamo: limits changed meanwhile")

// claims adds the writes of the claims to a transaction.
func (s *LedgerStore) claims(acts []types.TransactWriteItem, claims []limit.Claim) ([]types.TransactWriteItem, []int) {
	if len(claims) == 0 {
		return acts, nil
	}
	at := make([]int, len(claims))
	for i := range claims {
		at[i] = -1
		ch := claims[i].Change()
		if ch.Empty() {
			continue
		}
		x := countsExpression(ch)
		at[i] = len(acts)
		u := &types.Update{TableName: s.db.name(table.Config), Key: keyItem(countsKey(ch.Subject)),
			UpdateExpression: aws.String(x.update()), ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
		if len(x.where) > 0 {
			u.ConditionExpression = aws.String(x.condition())
		}
		acts = append(acts, types.TransactWriteItem{Update: u})
	}
	return acts, at
}

func (r reservation) overLimit(reasons []types.CancellationReason) bool {
	return slices.ContainsFunc(r.limits, func(i int) bool { return failedCondition(reasons, i) })
}

// reclaim judges the claims by the state that refused them. It returns why there
// is no room, or errNewerState if there is.
func reclaim(claims []limit.Claim, res reservation, reasons []types.CancellationReason) error {
	for i, at := range res.limits {
		if !failedCondition(reasons, at) {
			continue
		}
		seen, err := decodeCounts(reasons[at].Item)
		if err != nil {
			return storedBadly("dynamo.Reserve", err)
		}
		claims[i].Seen = seen
		if err := claims[i].Check(); err != nil {
			return err
		}
	}
	return errNewerState
}

// CountLimits writes claims for which nothing is reserved: all of them or none. It
// implements gateway.LimitStore. once makes a repetition after a lost answer
// count once.
func (s *LedgerStore) CountLimits(ctx context.Context, once string, claims []limit.Claim) error {
	const op = "dynamo.CountLimits"
	claims = slices.Clone(claims)
	for round := range claimRounds {
		acts, at := s.claims(nil, claims)
		if len(acts) == 0 {
			return nil
		}
		out, reasons, _ := s.act(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: acts,
			ClientRequestToken: s.token(table.Config, "count", claims[0].Subject.Org, once, strconv.Itoa(round))}, nil)
		res := reservation{limits: at}
		switch {
		case out == didWrite:
			return nil
		case out == didRefuse:
			return fault.New(fault.Internal, op, "internal error, try again later")
		case out != didCancel || !res.overLimit(reasons):
			return ledgerUnavailable(op, nil)
		}
		if err := reclaim(claims, res, reasons); !errors.Is(err, errNewerState) {
			return err
		}
	}
	return ledgerUnavailable(op, errNewerState)
}

// FinishLimit ends what a claim of a request reserved. It implements
// gateway.LimitStore. A change that must not be applied twice is not repeated
// when it was not answered: what was reserved stays counted then.
func (s *LedgerStore) FinishLimit(ctx context.Context, ch limit.Change) error {
	const op = "dynamo.FinishLimit"
	if ch.Empty() {
		return nil
	}
	x := countsExpression(ch)
	in := &dynamodb.UpdateItemInput{TableName: s.db.name(table.Config), Key: keyItem(countsKey(ch.Subject)),
		UpdateExpression: aws.String(x.update()), ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values}
	if len(x.where) > 0 {
		in.ConditionExpression = aws.String(x.condition())
	}
	silent := 0
	for try := range ledgerTries {
		if try > 0 && backoff(ctx, try-1) != nil {
			break
		}
		switch out, _ := s.update(ctx, in, silent); out {
		case didWrite, didFailCondition: // without its slot it has ended before
			return nil
		case didRefuse:
			return fault.New(fault.Internal, op, "internal error, try again later")
		case didNotAnswer:
			if ch.Once() {
				return ledgerUnavailable(op, nil)
			}
			silent++
		}
	}
	return ledgerUnavailable(op, nil)
}

// expression collects the parts of an update of a counts item.
type expression struct {
	set, remove, where []string
	names              map[string]string
	values             item
}

func (x *expression) name(attribute string) string {
	alias := "#" + strconv.Itoa(len(x.names))
	x.names[alias] = attribute
	return alias
}

func (x *expression) value(v types.AttributeValue) string {
	alias := ":" + strconv.Itoa(len(x.values))
	x.values[alias] = v
	return alias
}

func (x *expression) update() string {
	out := "SET " + strings.Join(x.set, ", ")
	if len(x.remove) > 0 {
		out += " REMOVE " + strings.Join(x.remove, ", ")
	}
	return out
}

func (x *expression) condition() string { return strings.Join(x.where, " AND ") }

func countsExpression(ch limit.Change) *expression {
	x := &expression{names: make(map[string]string, 8), values: make(item, 8)}
	counters := make(map[string]string, len(ch.Adds))
	for _, a := range ch.Adds {
		n := x.name(counterPrefix + a.Counter)
		counters[a.Counter] = n
		x.set = append(x.set, n+" = if_not_exists("+n+", "+x.value(num(a.Absent))+") + "+x.value(num(a.By)))
	}
	for _, b := range ch.Bounds {
		n := counters[b.Counter]
		below := n + " < " + x.value(num(b.Below))
		if b.Below > 0 {
			// An absent counter is 0.
			below = "(attribute_not_exists(" + n + ") OR " + below + ")"
		}
		x.where = append(x.where, below)
	}
	if ch.Take != "" {
		x.set = append(x.set, x.name(slotPrefix+ch.Take)+" = "+x.value(millis(ch.Until)))
	}
	gone := ch.Clear
	if ch.Free != "" {
		gone = append(slices.Clone(gone), ch.Free)
	}
	for _, slot := range gone {
		n := x.name(slotPrefix + slot)
		x.remove = append(x.remove, n)
		x.where = append(x.where, "attribute_exists("+n+")")
	}
	for _, counter := range ch.Drop {
		x.remove = append(x.remove, x.name(counterPrefix+counter))
	}
	return x
}
