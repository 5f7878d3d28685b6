package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

const (
	replaySealed  = "sealed"
	replayExpires = "exp_at"
)

// PutReplay implements gateway.ReplayStore.
func (s *LedgerStore) PutReplay(ctx context.Context, org, request string, sealed []byte, expires time.Time) error {
	it := keyItem(table.Replay(org, request))
	it[replaySealed] = &types.AttributeValueMemberB{Value: sealed}
	it[replayExpires], it[table.TTL] = millis(expires), num(expires.Unix())
	_, err := s.db.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: s.db.name(table.Ledger), Item: it,
		ConditionExpression:      aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK},
	})
	if _, exists := conditionFailed(err); exists || err == nil {
		return nil
	}
	return ledgerUnavailable("dynamo.PutReplay", err)
}

// Replay implements gateway.ReplayStore. The engine deletes expired items late,
// so the date is checked.
func (s *LedgerStore) Replay(ctx context.Context, org, request string, now time.Time) ([]byte, error) {
	it, err := s.db.get(ctx, table.Ledger, table.Replay(org, request), true)
	if err != nil {
		return nil, ledgerUnavailable("dynamo.Replay", err)
	}
	sealed, ok := it[replaySealed].(*types.AttributeValueMemberB)
	if !ok || !now.Before(read(it).time(replayExpires)) {
		return nil, nil
	}
	return sealed.Value, nil
}
