package dynamo_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func TestRotations(t *testing.T) {
	vaultStore(t) // skips the test as a whole where there is no engine
	rotationtest.Run(t, func(t *testing.T) rotationtest.Harness {
		fx := dynamotest.Open(t, table.Vault, table.Config)
		db, err := dynamo.New(fx.Client, fx.Tables)
		if err != nil {
			t.Fatal(err)
		}
		return rotationtest.Harness{
			Records: dynamo.NewVault(db), Jobs: db.Rotations(),
			Lose: func(id string) { deleteItem(t, fx, table.Rotation(id)) },
			Rows: func(org string) []audit.Row {
				rows, _, err := db.Audit().Audit(context.Background(), org, "", 100, vaulttest.NewClock().Now())
				if err != nil {
					t.Fatal(err)
				}
				return rows
			},
		}
	})
}

func deleteItem(t *testing.T, fx dynamotest.Fixture, k table.Key) {
	t.Helper()
	_, err := fx.Client.DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: aws.String(fx.Tables[table.Vault]),
		Key: map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: k.PK}, table.SK: &types.AttributeValueMemberS{Value: k.SK}}})
	if err != nil {
		t.Fatal(err)
	}
}
