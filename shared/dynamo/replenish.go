package dynamo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topup"
)

// Attributes of standing orders.
const (
	aOn        = "on"
	aBuy       = "buy"
	aCap       = "cap"
	aMonth     = "month"
	aSpent     = "spent"
	aSerial    = "serial"
	aCurrent   = "cur"
	aBegun     = "begun"
	aFailures  = "fails"
	aNotBefore = "notbefore"
	aWhy       = "why"
)

var (
	_ topup.ReplenishStore = TopUps{}
	_ topup.Queue          = TopUps{}
)

// Replenish implements [topup.ReplenishStore].
func (s TopUps) Replenish(ctx context.Context, org string) (topup.Replenish, error) {
	const op = "dynamo.Replenish"
	it, err := s.ledger.db.get(ctx, table.Ledger, table.Replenish(org), true)
	if err != nil {
		return topup.Replenish{}, ledgerUnavailable(op, err)
	}
	if it == nil {
		return topup.Replenish{Org: org}, nil
	}
	r := read(it)
	out := topup.Replenish{Org: org, Enabled: r.bool(aOn), Threshold: billing.Micro(r.num(aThreshold)), Amount: billing.Micro(r.num(aBuy)),
		MonthlyCap: billing.Micro(r.num(aCap)), Month: r.str(aMonth), Spent: r.num(aSpent), Serial: r.num(aSerial), Current: r.str(aCurrent),
		Begun: r.time(aBegun), Customer: r.str(aCustomer), Method: r.str(aPayMethod), Failures: int(r.num(aFailures)), NotBefore: r.time(aNotBefore),
		Reason: topup.Reason(r.str(aWhy)), Rev: r.num(aRev)}
	if r.err == nil && out.Rev < 1 {
		r.fail(aRev)
	}
	return out, ledgerRead(op, r.err)
}

// WriteReplenish implements [topup.ReplenishStore].
func (s TopUps) WriteReplenish(ctx context.Context, r topup.Replenish, c topup.Changes) error {
	const op = "dynamo.WriteReplenish"
	db := s.ledger.db
	acts := []types.TransactWriteItem{s.revision(replenishItem(r), r.Rev)}
	if t := c.TopUp; t != nil {
		it := topUpItem(*t)
		k := table.TopUp(t.ID)
		it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
		acts = append(acts, s.revision(it, t.Rev))
	}
	if c.Event != nil {
		acts = append(acts, ledgerPut(db.name(table.Usage), keptItem(*c.Event), ""))
	}
	if c.Row == nil {
		return s.commit(ctx, op, &dynamodb.TransactWriteItemsInput{TransactItems: acts,
			ClientRequestToken: s.ledger.token(table.Ledger, "replenish", r.Org, fmt.Sprintf("%+v %+v", r, c.TopUp))})
	}
	lost, err := db.commitWithAudit(ctx, op, *c.Row, acts...)
	if err == nil && lost != nil {
		return fault.New(fault.Conflict, op, "this was changed meanwhile, read it again")
	}
	return err
}

// revision puts an item in the place of the revision before it.
func (s TopUps) revision(it item, rev int64) types.TransactWriteItem {
	put := &types.Put{TableName: s.ledger.db.name(table.Ledger), Item: it, ConditionExpression: aws.String("#rev = :old"),
		ExpressionAttributeNames: map[string]string{"#rev": aRev}, ExpressionAttributeValues: item{":old": num(rev - 1)}}
	if rev == 1 {
		put.ConditionExpression, put.ExpressionAttributeNames, put.ExpressionAttributeValues = aws.String(ifAbsent), ledgerPKName, nil
	}
	return types.TransactWriteItem{Put: put}
}

// replenishItem lies in the index while somebody has to look after it: from when
// a payment may begin, or one that is under way.
func replenishItem(r topup.Replenish) item {
	it := keyItem(table.Replenish(r.Org))
	it[aOn], it[aThreshold], it[aBuy], it[aCap] = boolean(r.Enabled), num(int64(r.Threshold)), num(int64(r.Amount)), num(int64(r.MonthlyCap))
	it[aSpent], it[aSerial], it[aFailures], it[aRev] = num(r.Spent), num(r.Serial), num(int64(r.Failures)), num(r.Rev)
	it[aNotBefore], it[aBegun] = millis(r.NotBefore), millis(r.Begun)
	ledgerText(it, aMonth, r.Month)
	ledgerText(it, aCurrent, r.Current)
	ledgerText(it, aCustomer, r.Customer)
	ledgerText(it, aPayMethod, r.Method)
	ledgerText(it, aWhy, string(r.Reason))
	switch {
	case r.Current != "":
		it[table.HoldsPK], it[table.HoldsSK] = str(table.ReplenishBucket(r.Org)), num(r.Begun.UnixMilli())
	case r.Enabled:
		it[table.HoldsPK], it[table.HoldsSK] = str(table.ReplenishBucket(r.Org)), num(r.NotBefore.UnixMilli())
	}
	return it
}

// DueReplenish implements [topup.Queue].
func (s TopUps) DueReplenish(ctx context.Context, bucket int, now time.Time, after string, limit int) (orgs []string, next string, err error) {
	const op = "dynamo.DueReplenish"
	db := s.ledger.db
	in := &dynamodb.QueryInput{
		TableName: db.name(table.Ledger), IndexName: aws.String(table.HoldsIndex), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression: aws.String("#hx = :hx AND #exp <= :now"), ExpressionAttributeNames: dueNames,
		ExpressionAttributeValues: item{":hx": str(table.AllReplenishBuckets()[bucket]), ":now": num(now.UnixMilli())},
	}
	if org, at, ok := strings.Cut(after, "|"); ok {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, "", fault.Wrap(fault.Internal, op, "internal error, try again later", err)
		}
		in.ExclusiveStartKey = keyItem(table.Replenish(org))
		in.ExclusiveStartKey[table.HoldsPK], in.ExclusiveStartKey[table.HoldsSK] = in.ExpressionAttributeValues[":hx"], num(n)
	}
	page, err := db.api.Query(ctx, in)
	if err != nil {
		return nil, "", ledgerUnavailable(op, err)
	}
	for _, it := range page.Items {
		if org, ok := strings.CutPrefix(read(it).str(table.PK), table.Payer("").PK); ok && table.ValidID(org) {
			orgs = append(orgs, org)
		}
	}
	if last := read(page.LastEvaluatedKey); len(page.LastEvaluatedKey) > 0 {
		org, _ := strings.CutPrefix(last.str(table.PK), table.Payer("").PK)
		next = org + "|" + strconv.FormatInt(last.num(table.HoldsSK), 10)
	}
	return orgs, next, nil
}
