package localfaults_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
)

// TestRules: a partition that a rule refuses is refused in every kind of write,
// and a grant on some partitions is one on those only.
func TestRules(t *testing.T) {
	writes := []string{"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "ConditionCheckItem", "GetItem", "BatchGetItem", "Query"}
	f := start(t, localfaults.ProxyConfig{Admin: "AKIDADMIN",
		Allow: awswire.Allow{"AKIDINVOKE": {"config": writes, "ledger": writes}, "AKIDSETTLE": {"config": writes, "ledger": writes}},
		Rules: localfaults.Rules{"AKIDINVOKE": {
			{Table: "config", Operations: []string{"UpdateItem", "DeleteItem", "BatchWriteItem"}, Keys: []string{"AUDIT#*", "ONE"}, Deny: true},
			{Table: "ledger", Operations: []string{"GetItem", "PutItem", "BatchGetItem", "BatchWriteItem"}, Keys: []string{"R#*", "A#*"}},
		}}})
	ctx := context.Background()
	at := func(pk string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: "s"}, "n": &types.AttributeValueMemberN{Value: "1"}}
	}
	calls := map[string]func(c *dynamodb.Client, table, pk string) error{
		"PutItem": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: at(pk)})
			return err
		},
		"UpdateItem": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &table, Key: at(pk)})
			return err
		},
		"DeleteItem": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String("arn:aws:dynamodb:us-east-1:0:table/" + table), Key: at(pk)})
			return err
		},
		"GetItem": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: at(pk)})
			return err
		},
		"transact update": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: aws.String("config"), Item: at("AUDIT#x")}},
				{Update: &types.Update{TableName: &table, Key: at(pk), UpdateExpression: aws.String("SET a = b")}}}})
			return err
		},
		"transact delete": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Delete: &types.Delete{TableName: &table, Key: at(pk)}}}})
			return err
		},
		"batch put": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: {
				{PutRequest: &types.PutRequest{Item: at("R#ok")}}, {PutRequest: &types.PutRequest{Item: at(pk)}}}}})
			return err
		},
		"batch delete": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: {{DeleteRequest: &types.DeleteRequest{Key: at(pk)}}}}})
			return err
		},
		"batch get": func(c *dynamodb.Client, table, pk string) error {
			_, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: {Keys: []map[string]types.AttributeValue{at("R#ok"), at(pk)}}}})
			return err
		},
	}
	changing := map[string]bool{"UpdateItem": true, "DeleteItem": true, "transact update": true, "transact delete": true, "batch put": true, "batch delete": true}
	limited := map[string]bool{"PutItem": true, "GetItem": true, "batch put": true, "batch delete": true, "batch get": true}
	for name, call := range calls {
		check := func(principal, table, pk string, refused bool) {
			t.Helper()
			want := "ok"
			if refused {
				want = "AccessDeniedException"
			}
			require.Equal(t, want, code(call(f.dynamo(principal), table, pk)), "%s by %s of %s in %s", name, principal, pk, table)
		}
		check("AKIDINVOKE", "config", "AUDIT#acme#202611", changing[name])
		check("AKIDINVOKE", "config", "ONE", changing[name])
		check("AKIDINVOKE", "config", "ONE#more", false)
		check("AKIDINVOKE", "config", "AUDITHEAD#acme", false)
		check("AKIDINVOKE", "ledger", "A#acme", false)
		check("AKIDINVOKE", "ledger", "J#acme", limited[name])
		check("AKIDSETTLE", "config", "AUDIT#acme#202611", false)
		check("AKIDADMIN", "config", "AUDIT#acme#202611", false)
	}
	// A Query names its partition in an expression, which is not looked at.
	_, err := f.dynamo("AKIDINVOKE").Query(ctx, &dynamodb.QueryInput{TableName: aws.String("ledger"), KeyConditionExpression: aws.String("pk = :p"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":p": &types.AttributeValueMemberS{Value: "J#x"}}})
	require.NoError(t, err)
}
