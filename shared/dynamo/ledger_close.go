package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Attributes of closed months. A shard takes entries from aClosed on.
const (
	aClosed   = "cl"
	aFencedAt = "clt"
	aSum      = "sum"
	aPart     = "part"
)

// takesEntries is the part of a condition on a shard that keeps entries out of
// closed months; :at is the time of the earliest one that is written.
const takesEntries = "(attribute_not_exists(#cl) OR #cl <= :at)"

// Closable implements credit.CloseStore.
func (s *LedgerStore) Closable(ctx context.Context, bucket string, now time.Time, limit int) ([]string, error) {
	items, err := s.dueIn(ctx, bucket, now, limit)
	if err != nil {
		return nil, ledgerUnavailable("dynamo.Closable", err)
	}
	out := make([]string, 0, len(items))
	for _, it := range items {
		pk, ok := strings.CutPrefix(read(it).str(table.PK), "A#")
		org, _, isShard := strings.Cut(pk, "#")
		if ok && isShard && table.ValidID(org) {
			out = append(out, org)
		}
	}
	return out, nil
}

// CloseNext implements credit.CloseStore.
func (s *LedgerStore) CloseNext(ctx context.Context, org string, at time.Time) error {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, homeShard)),
		UpdateExpression: aws.String("SET #hx = :hx, #exp = :at"), ConditionExpression: aws.String("attribute_exists(#ver)"),
		ExpressionAttributeNames:  map[string]string{"#hx": table.HoldsPK, "#exp": table.HoldsSK, "#ver": aVersion},
		ExpressionAttributeValues: item{":hx": str(table.CloseBucket(org)), ":at": millis(at)}})
	if out != didWrite {
		return ledgerUnavailable("dynamo.CloseNext", nil)
	}
	return nil
}

// Fence implements credit.CloseStore. Home is first: from then on a shard that is
// added takes its fence.
func (s *LedgerStore) Fence(ctx context.Context, a credit.Account, month, now time.Time) error {
	for i, done := 0, false; !done; i++ {
		in := &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(a.Org, i)),
			UpdateExpression: aws.String("SET #cl = :cl, #ver = #ver + :one"), ConditionExpression: aws.String("attribute_exists(#ver) AND (attribute_not_exists(#cl) OR #cl <= :cl)"),
			ExpressionAttributeNames:  map[string]string{"#cl": aClosed, "#ver": aVersion},
			ExpressionAttributeValues: item{":cl": millis(month), ":one": num(1)}}
		if i == homeShard {
			in.UpdateExpression = aws.String(*in.UpdateExpression + ", #clt = :now")
			in.ExpressionAttributeNames["#clt"] = aFencedAt
			in.ExpressionAttributeValues[":now"] = millis(now)
		}
		switch out, _ := s.actUpdate(ctx, in); out {
		case didWrite, didFailCondition: // a later fence stands
		default:
			return ledgerUnavailable("dynamo.Fence", nil)
		}
		if i == homeShard {
			// Shards are counted behind the fence of the one that counts them.
			home, err := s.db.get(ctx, table.Ledger, table.Balance(a.Org, homeShard), true)
			if err != nil {
				return ledgerUnavailable("dynamo.Fence", err)
			}
			a.Shards = make([]credit.Shard, shardsOf(home))
		}
		done = i+1 >= len(a.Shards)
	}
	return nil
}

// Openings implements credit.CloseStore.
func (s *LedgerStore) Openings(ctx context.Context, org string, limit int) ([]credit.Opening, error) {
	const op = "dynamo.Openings"
	items, err := s.db.query(ctx, query{role: table.Ledger, pk: table.Opening(org, time.Time{}).PK, limit: int32(limit), descending: true, consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]credit.Opening, len(items))
	for i, it := range items {
		if out[i], err = parseOpening(org, it); err != nil {
			return nil, ledgerRead(op, err)
		}
	}
	return out, nil
}

func parseOpening(org string, it item) (credit.Opening, error) {
	r := read(it)
	o := credit.Opening{Org: org, Sum: credit.Micro(r.num(aSum)), Entries: int(r.num(aRequests)), At: r.time(aCreated), Place: r.str(aPart)}
	month, err := time.Parse("200601", r.str(table.SK))
	if r.err == nil && err != nil {
		r.fail(table.SK)
	}
	o.Month = month
	return o, r.err
}

// SetOpening implements credit.CloseStore.
func (s *LedgerStore) SetOpening(ctx context.Context, o credit.Opening) error {
	const op = "dynamo.SetOpening"
	it := keyItem(table.Opening(o.Org, o.Month))
	it[aSum], it[aRequests], it[aCreated] = num(int64(o.Sum)), num(int64(o.Entries)), millis(o.At)
	ledgerText(it, aPart, o.Place)
	_, err := s.db.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: s.db.name(table.Ledger), Item: it,
		ConditionExpression:                 aws.String("attribute_not_exists(#pk) OR attribute_exists(#part)"),
		ExpressionAttributeNames:            map[string]string{"#pk": table.PK, "#part": aPart},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, there := conditionFailed(err); there {
		was, err := parseOpening(o.Org, old)
		if err != nil {
			return ledgerRead(op, err)
		}
		if o.Place == "" && (was.Sum != o.Sum || was.Entries != o.Entries) {
			return fault.New(fault.Internal, op, "a closed month adds up to something else than it did, reconcile deeply")
		}
		return nil
	}
	if err != nil {
		return ledgerUnavailable(op, err)
	}
	return nil
}
