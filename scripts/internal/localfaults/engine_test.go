package localfaults_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
)

// TestRealEngine: checksums, typed errors and an idempotent transaction pass
// through the proxy as the engine makes them.
func TestRealEngine(t *testing.T) {
	emulator := os.Getenv("LATCHKEY_TEST_EMULATOR")
	if emulator == "" {
		emulator = filepath.Join("..", "..", "..", "node_modules", "amplify-dynamodb-simulator", "emulator")
	}
	engine, err := ddblocal.Start(t.Context(), ddblocal.Options{Emulator: emulator, InMemory: true})
	if errors.Is(err, ddblocal.ErrNotInstalled) || errors.Is(err, ddblocal.ErrJava) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	faults := localfaults.NewTable(map[string]string{"AKIDINVOKE": "invoke"})
	proxy, err := localfaults.NewProxy(localfaults.ProxyConfig{Upstream: engine.URL, Faults: faults})
	require.NoError(t, err)
	front := httptest.NewServer(proxy)
	t.Cleanup(func() {
		front.Close()
		proxy.Close()
	})
	ctx := context.Background()
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &front.URL, Region: "us-east-1", Credentials: creds("AKIDINVOKE")})
	_, err = c.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}},
	})
	require.NoError(t, err)
	big := item()
	big["body"] = &types.AttributeValueMemberS{Value: strings.Repeat("ü", 150_000)}
	_, err = c.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("ledger"), Item: big})
	require.NoError(t, err)
	got, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("ledger"), Key: item(), ConsistentRead: aws.Bool(true)})
	require.NoError(t, err)
	require.Equal(t, big, got.Item)
	_, err = c.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("ledger"), Item: item(), ConditionExpression: aws.String("attribute_not_exists(pk)")})
	var failed *types.ConditionalCheckFailedException
	require.ErrorAs(t, err, &failed)

	// The answer of the first attempt is lost; the SDK repeats it with the same
	// token, and the counter still went up once.
	require.NoError(t, faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "TransactWriteItems", Function: "invoke", Error: localfaults.TimeoutAfterCommit, Count: 1}))
	_, err = c.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Update: &types.Update{
		TableName: aws.String("ledger"), Key: item(), UpdateExpression: aws.String("ADD #n :one"),
		ExpressionAttributeNames:  map[string]string{"#n": "n"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":one": &types.AttributeValueMemberN{Value: "1"}},
	}}}})
	require.NoError(t, err)
	got, err = c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("ledger"), Key: item(), ConsistentRead: aws.Bool(true)})
	require.NoError(t, err)
	require.Equal(t, &types.AttributeValueMemberN{Value: "1"}, got.Item["n"])
	require.Equal(t, 2, proxy.Calls()[awswire.Call{Principal: "AKIDINVOKE", Operation: "TransactWriteItems"}])
}
