package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
)

// Unseen implements credit.SettleStore, for at most a hundred entries.
func (s *LedgerStore) Unseen(ctx context.Context, entries []credit.Entry) ([]credit.Entry, error) {
	const op = "dynamo.Unseen"
	versions, err := s.versions(ctx, entries)
	if err != nil {
		return nil, ledgerRead(op, err)
	}
	places := make([]place, len(entries))
	for i, e := range entries {
		places[i] = place{table.Usage, table.InVersion(table.Seen(e.ID), versions[e.Org].Live)}
		if !e.Kind.OfRequest() {
			places[i].key = table.Seen(e.ID)
		}
	}
	if len(places) == 0 {
		return nil, nil
	}
	seen, err := s.db.batchGet(ctx, places)
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	var out []credit.Entry
	for i, e := range entries {
		if seen[places[i]] == nil {
			out = append(out, e)
		}
	}
	return out, nil
}

// mark notes that an entry that belongs into no usage row was seen.
func (s *LedgerStore) mark(ctx context.Context, e credit.Entry, now time.Time) credit.Result {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Usage), Key: keyItem(table.Seen(e.ID)),
		UpdateExpression: aws.String("SET #ttl = if_not_exists(#ttl, :ttl)"), ExpressionAttributeNames: map[string]string{"#ttl": table.TTL},
		ExpressionAttributeValues: item{":ttl": num(now.Add(seenLife).Unix())}})
	if out != didWrite {
		return credit.Undecided
	}
	return credit.Done
}

// LookSooner implements credit.SettleStore.
func (s *LedgerStore) LookSooner(ctx context.Context, org string, at time.Time) error {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, homeShard)),
		UpdateExpression:          aws.String("SET #hx = :hx, #exp = :at"),
		ConditionExpression:       aws.String("attribute_exists(#ver) AND (attribute_not_exists(#exp) OR #exp > :at)"),
		ExpressionAttributeNames:  map[string]string{"#hx": table.HoldsPK, "#exp": table.HoldsSK, "#ver": aVersion},
		ExpressionAttributeValues: item{":hx": str(table.CloseBucket(org)), ":at": millis(at)}})
	if out != didWrite && out != didFailCondition {
		return ledgerUnavailable("dynamo.LookSooner", nil)
	}
	return nil
}
