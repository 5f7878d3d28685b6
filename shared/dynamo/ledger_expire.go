package dynamo

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
)

var (
	dueNames   = map[string]string{"#hx": table.HoldsPK, "#exp": table.HoldsSK}
	endedNames = map[string]string{"#pk": table.PK, "#done": aEnded, "#hx": table.HoldsPK, "#exp": table.HoldsSK}
)

// Due implements credit.ExpiryStore.
func (s *LedgerStore) Due(ctx context.Context, bucket string, now time.Time, limit int) ([]credit.DueGrant, error) {
	items, err := s.dueIn(ctx, bucket, now, limit)
	if err != nil {
		return nil, ledgerUnavailable("dynamo.Due", err)
	}
	out := make([]credit.DueGrant, 0, len(items))
	for _, it := range items {
		r := read(it)
		org, ok := strings.CutPrefix(r.str(table.PK), "G#")
		if ok && r.err == nil {
			out = append(out, credit.DueGrant{Org: org, ID: r.str(table.SK), EndsAt: r.time(table.HoldsSK)})
		}
	}
	return out, nil
}

// dueIn lists what is due in an index partition, due longest first.
func (s *LedgerStore) dueIn(ctx context.Context, bucket string, now time.Time, limit int) ([]map[string]types.AttributeValue, error) {
	page, err := s.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName: s.db.name(table.Ledger), IndexName: aws.String(table.HoldsIndex), Limit: aws.Int32(int32(min(limit, 100))),
		KeyConditionExpression: aws.String("#hx = :hx AND #exp <= :now"), ExpressionAttributeNames: dueNames,
		ExpressionAttributeValues: item{":hx": str(bucket), ":now": millis(now)},
	})
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}

// End implements credit.ExpiryStore.
func (s *LedgerStore) End(ctx context.Context, e credit.GrantEnd) (bool, error) {
	const op = "dynamo.End"
	ledger := s.db.name(table.Ledger)
	acc := e.Account
	ended := &types.Update{
		TableName: ledger, Key: keyItem(table.Grant(e.Grant.Org, e.Grant.ID)),
		UpdateExpression: aws.String("SET #done = :yes REMOVE #hx"), ConditionExpression: aws.String("attribute_exists(#hx)"),
		ExpressionAttributeNames:  map[string]string{"#done": aEnded, "#hx": table.HoldsPK},
		ExpressionAttributeValues: item{":yes": boolean(true)},
	}
	if !e.Again.IsZero() {
		ended.UpdateExpression = aws.String("SET #done = :yes, #exp = :again")
		ended.ConditionExpression = aws.String("attribute_exists(#pk) AND attribute_exists(#hx)")
		ended.ExpressionAttributeNames = endedNames
		ended.ExpressionAttributeValues[":again"] = millis(e.Again)
	}
	steps := e.Steps()
	seq := acc.Seq
	var moved credit.Micro
	token := []string{e.Grant.Org, e.Grant.ID, strconv.FormatInt(acc.Version, 10), strconv.FormatInt(e.Again.UnixMilli(), 10)}
	for _, p := range steps {
		seq, moved = p.Seq, moved+p.Amount
		token = append(token, p.ID, strconv.FormatInt(int64(p.Amount), 10), strconv.FormatInt(p.At.UnixMilli(), 10))
	}
	at := acc.Closed // a step that posts nothing fits into any month
	if len(steps) > 0 {
		at = steps[0].At
	}
	balance := s.postBalance(acc, moved, seq, e.NextExpiry, at)
	// Everything was computed from this version: a call that ended meanwhile
	// changes what is left.
	balance.ConditionExpression = aws.String(*balance.ConditionExpression + " AND #ver = :ver")
	balance.ExpressionAttributeValues[":ver"] = num(acc.Shards[homeShard].Version)
	acts := []types.TransactWriteItem{{Update: ended}, {Update: balance}}
	for _, p := range steps {
		acts = append(acts, ledgerPut(ledger, postingItem(p), ifAbsent), ledgerPut(ledger, entryItem(p.Entry()), ifAbsent))
	}
	out, _, _ := s.act(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: s.token(table.Ledger, "end", token...)}, nil)
	switch out {
	case didWrite:
		return true, s.level(ctx, acc, time.Time{})
	case didCancel:
		return false, nil
	}
	return false, ledgerUnavailable(op, nil)
}
