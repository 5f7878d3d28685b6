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

var holdsNames = map[string]string{"#hx": table.HoldsPK}

// Open implements credit.SweepStore. The index is eventually consistent, so
// every attempt is read by its key.
func (s *LedgerStore) Open(ctx context.Context, bucket, cursor string, limit int) ([]credit.Open, string, error) {
	const op = "dynamo.Open"
	in := &dynamodb.QueryInput{
		TableName: s.db.name(table.Ledger), IndexName: aws.String(table.HoldsIndex), Limit: aws.Int32(int32(min(limit, 100))),
		KeyConditionExpression: aws.String("#hx = :hx"), ExpressionAttributeNames: holdsNames,
		ExpressionAttributeValues: item{":hx": str(bucket)},
	}
	if cursor != "" {
		exp, key, _ := strings.Cut(cursor, "|")
		pk, sk, _ := strings.Cut(key, "|")
		in.ExclusiveStartKey = item{table.HoldsPK: str(bucket), table.HoldsSK: &types.AttributeValueMemberN{Value: exp},
			table.PK: str(pk), table.SK: str(sk)}
	}
	page, err := s.db.api.Query(ctx, in)
	if err != nil {
		return nil, "", ledgerUnavailable(op, err)
	}
	keys := make([]table.Key, len(page.Items))
	for i, it := range page.Items {
		r := read(it)
		keys[i] = table.Key{PK: r.str(table.PK), SK: r.str(table.SK)}
	}
	open, err := s.openByKey(ctx, keys)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if end := page.LastEvaluatedKey; len(end) > 0 {
		r := read(end)
		next = strconv.FormatInt(r.num(table.HoldsSK), 10) + "|" + r.str(table.PK) + "|" + r.str(table.SK)
	}
	return open, next, nil
}

// openByKey reads attempts consistently, in the order of the keys, and leaves
// out those that have ended. One that cannot be read does not hide the others.
func (s *LedgerStore) openByKey(ctx context.Context, keys []table.Key) (open []credit.Open, err error) {
	items, err := s.batchGet(ctx, keys)
	if err != nil {
		return nil, ledgerUnavailable("dynamo.Open", err)
	}
	open = make([]credit.Open, 0, len(keys))
	for _, k := range keys {
		it := items[k]
		if it == nil {
			continue
		}
		o, err := parseOpen(it)
		if err != nil {
			if o, ok := salvage(k, it); ok {
				open = append(open, o)
			}
			continue
		}
		if o.State == credit.UsedState || o.State == credit.Dispatched || o.State == credit.Held {
			open = append(open, o)
		}
	}
	return open, nil
}

// salvage makes out what it can of an attempt that cannot be read.
func salvage(k table.Key, it item) (credit.Open, bool) {
	org, request, attempt, err := requestKey(k.PK, k.SK)
	// Each attribute by itself: one that is bad must not hide another.
	return credit.Open{Org: org, Request: request, Attempt: attempt, Unreadable: true, State: credit.State(read(it).str(aState)),
		Shard: int(read(it).num(aShard)), Hold: credit.Micro(read(it).num(aHold)), Created: read(it).time(aCreated), Expires: read(it).time(table.HoldsSK),
		Agency: read(it).str(aAgency)}, err == nil
}

// batchGet reads up to 100 items of the ledger consistently.
func (s *LedgerStore) batchGet(ctx context.Context, keys []table.Key) (map[table.Key]item, error) {
	out := make(map[table.Key]item, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	name := s.db.tables[table.Ledger]
	want := make([]map[string]types.AttributeValue, len(keys))
	for i, k := range keys {
		want[i] = keyItem(k)
	}
	request := map[string]types.KeysAndAttributes{name: {Keys: want, ConsistentRead: aws.Bool(true)}}
	for try := 0; len(request) > 0; try++ {
		if try > 0 {
			if err := s.db.pace.backoff(ctx, try-1); err != nil {
				return nil, err
			}
		}
		res, err := s.db.api.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
		if err != nil {
			return nil, err
		}
		for _, it := range res.Responses[name] {
			r := read(it)
			out[table.Key{PK: r.str(table.PK), SK: r.str(table.SK)}] = it
		}
		request = res.UnprocessedKeys
	}
	return out, nil
}

var (
	expireNames     = map[string]string{"#st": aState, "#hold": aHold, "#xa": aExpiredAt, "#hx": table.HoldsPK, "#exp": table.HoldsSK, "#cka": aCheckAmt}
	giveBackNames   = map[string]string{"#held": aHeld, "#avail": aAvail, "#ver": aVersion}
	checkpointSwept = map[string]string{"#st": aState, "#own": aOwner, "#a": aAmount, "#ua": aUsedAt, "#oc": aOutcome, "#us": aUsage,
		"#est": aEstimated, "#rsn": aReason, "#cku": aCheckUse, "#cka": aCheckAmt, "#exp": table.HoldsSK}
)

// Expire implements credit.SweepStore. The hold becomes 0, so that usage that
// arrives later settles like any other.
func (s *LedgerStore) Expire(ctx context.Context, o credit.Open, now time.Time) (bool, error) {
	ledger := s.db.name(table.Ledger)
	key := table.Request(o.Org, o.Request, o.Attempt)
	in := &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: s.token(table.Ledger, "expire", key.PK, key.SK, o.Owner, strconv.FormatInt(int64(o.Hold), 10),
			strconv.FormatInt(now.UnixMilli(), 10)),
		TransactItems: []types.TransactWriteItem{{Update: &types.Update{
			TableName: ledger, Key: keyItem(key),
			UpdateExpression: aws.String("SET #st = :expired, #hold = :zero, #xa = :now REMOVE #hx"),
			// Without a checkpoint: one that was written meanwhile must count.
			ConditionExpression:      aws.String("#st = :was AND #hold = :h AND #exp < :now AND attribute_not_exists(#cka)"),
			ExpressionAttributeNames: expireNames,
			ExpressionAttributeValues: item{":expired": str(string(credit.Expired)), ":zero": num(0), ":now": millis(now),
				":was": str(string(o.State)), ":h": num(int64(o.Hold))},
		}}},
	}
	if o.State == credit.Dispatched {
		note := keyItem(table.Unbilled(o.Org, o.Request, o.Attempt, now))
		note[aItemPK], note[aItemSK], note[aHold], note[aCreated] = str(key.PK), str(key.SK), num(int64(o.Hold)), millis(now)
		in.TransactItems = append(in.TransactItems, ledgerPut(ledger, note, ""))
	}
	if o.Stamp.Legacy() {
		in.TransactItems = append(in.TransactItems, s.endOpen(o.Org))
	}
	if o.Hold > 0 {
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Update: &types.Update{
			TableName: ledger, Key: keyItem(table.Balance(o.Payer(), o.Shard)),
			UpdateExpression:          aws.String("SET #held = #held - :h, #avail = #avail + :h, #ver = #ver + :one"),
			ConditionExpression:       aws.String("#held >= :h"),
			ExpressionAttributeNames:  giveBackNames,
			ExpressionAttributeValues: item{":h": num(int64(o.Hold)), ":one": num(1)},
		}})
		if o.Agency != "" {
			in.TransactItems, _ = s.draws(in.TransactItems, drawChange{agency: o.Agency, client: o.Org, day: o.Day, by: -o.Hold, absent: o.Hold})
		}
	}
	switch out, reasons, _ := s.act(ctx, in, nil); {
	case out == didWrite:
		return true, nil
	case out == didCancel && failedCondition(reasons, 0):
		return false, nil
	case out == didCancel || out == didRefuse:
		return false, &credit.HoldRefused{Reason: balanceReason(reasons)}
	}
	return false, ledgerUnavailable("dynamo.Expire", nil)
}

// UseCheckpoint implements credit.SweepStore.
func (s *LedgerStore) UseCheckpoint(ctx context.Context, o credit.Open, now time.Time) (credit.Used, bool, error) {
	const op = "dynamo.UseCheckpoint"
	usage := o.CheckpointUsage
	res, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Request(o.Org, o.Request, o.Attempt)),
		UpdateExpression: aws.String("SET #st = :used, #a = :a, #ua = :now, #oc = :partial, #us = :us, #est = :yes, #rsn = :why REMOVE #cku, #cka"),
		// The amount is compared so that a later checkpoint is not cut.
		ConditionExpression:      aws.String("#st = :was AND #own = :own AND #exp < :now AND #cka = :a"),
		ExpressionAttributeNames: checkpointSwept,
		ExpressionAttributeValues: item{":used": str(string(credit.UsedState)), ":a": num(int64(o.Checkpoint)), ":now": millis(now),
			":partial": str(string(credit.Partial)), ":us": mapping(usageItem(usage)), ":yes": boolean(true),
			":why": str("settled_at_checkpoint"), ":was": str(string(o.State)), ":own": str(o.Owner)},
		ReturnValues: types.ReturnValueAllNew,
	})
	if _, failed := conditionFailed(err); failed {
		return credit.Used{}, false, nil
	}
	if classifyWrite(err) == didNothing {
		return credit.Used{}, false, nil // the next sweep finds it again
	}
	if err != nil {
		return credit.Used{}, false, ledgerUnavailable(op, err)
	}
	u, err := parseUsed(res.Attributes)
	return u, err == nil, ledgerRead(op, err)
}
