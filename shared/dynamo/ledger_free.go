package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

// aCount is how many requests a month's allowance took. It stops at the allowance.
const aCount = "n"

var countNames = map[string]string{"#n": aCount}

// counted is what a batch takes from the allowance of a month.
type counted struct {
	key         table.Key
	seen, taken int64
}

// allowance decides which attempts of a lane the allowance of their month pays for:
// in the order of the batch, those for which fewer requests than their allowance
// were counted. What was read is the condition of the transaction, so that no two
// settlements give the same place away. Nothing is read for attempts that do not
// count. A count that has reached the allowance never falls, and needs no condition.
func (s *LedgerStore) allowance(ctx context.Context, g []*due) (counted, error) {
	c := counted{key: laneOf(g[0].used).month}
	if c.key == (table.Key{}) {
		return c, nil
	}
	it, err := s.db.get(ctx, table.Ledger, c.key, true)
	if err != nil {
		return c, err
	}
	if c.seen, err = decodeFreeUsed(it); err != nil {
		return c, err
	}
	for _, d := range g {
		if d.used.Waived = c.seen+c.taken < d.used.Free; d.used.Waived {
			c.taken++
		}
	}
	return c, nil
}

// count is the write of what a batch took.
func (s *LedgerStore) count(c counted) types.TransactWriteItem {
	u := &types.Update{TableName: s.db.name(table.Ledger), Key: keyItem(c.key), UpdateExpression: aws.String("SET #n = :n"),
		ConditionExpression: aws.String("#n = :seen"), ExpressionAttributeNames: countNames,
		ExpressionAttributeValues: item{":n": num(c.seen + c.taken), ":seen": num(c.seen)}}
	if c.seen == 0 {
		u.ConditionExpression = aws.String("attribute_not_exists(#n)")
		delete(u.ExpressionAttributeValues, ":seen")
	}
	return types.TransactWriteItem{Update: u}
}

// FreeUsed implements credit.HoldStore.
func (s *LedgerStore) FreeUsed(ctx context.Context, org string, month time.Time) (int64, error) {
	it, err := s.db.get(ctx, table.Ledger, table.FreeRequests(org, month), true)
	if err != nil {
		return 0, ledgerUnavailable("dynamo.FreeUsed", err)
	}
	n, err := decodeFreeUsed(it)
	return n, ledgerRead("dynamo.FreeUsed", err)
}

// decodeFreeUsed gives 0 for an absent item.
func decodeFreeUsed(it item) (int64, error) {
	r := read(it)
	n := r.num(aCount)
	return n, r.err
}
