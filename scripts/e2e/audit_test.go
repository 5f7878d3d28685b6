package e2e

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

type verified struct {
	OK       bool
	Checked  int
	FirstSeq int64 `json:"first_seq"`
	LastSeq  int64 `json:"last_seq"`
	Broken   []struct {
		Seq    int64
		Reason string
	}
}

// TestAuditRowsAreAppendOnly: no function's own access key may change or delete a
// row, and what somebody else does to one is found.
func TestAuditRowsAreAppendOnly(t *testing.T) {
	x := newTenant(t, "enterprise", 5)
	var rows struct {
		Items []struct {
			ID string
			At time.Time
		}
	}
	x.call(http.MethodGet, "/audit", nil, &rows)
	if len(rows.Items) != 3 { // org, key, grant
		t.Fatalf("%d rows", len(rows.Items))
	}
	verify := func() (v verified) {
		t.Helper()
		x.call(http.MethodGet, "/audit/verify", nil, &v)
		return v
	}
	if v := verify(); !v.OK || v.Checked != 3 || v.FirstSeq != 1 || v.LastSeq != 3 {
		t.Fatalf("%+v", v)
	}
	k := table.Audit(x.ID, rows.Items[1].At, rows.Items[1].ID)
	key := map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: k.PK}, table.SK: &types.AttributeValueMemberS{Value: k.SK}}
	name := aws.String(world.Tables[table.Config])
	forge := &dynamodb.UpdateItemInput{TableName: name, Key: key, UpdateExpression: aws.String("SET #a = :a"),
		ExpressionAttributeNames: map[string]string{"#a": "actor"}, ExpressionAttributeValues: map[string]types.AttributeValue{":a": &types.AttributeValueMemberS{Value: "key:other"}}}
	for _, f := range topology.Functions() {
		c := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String(world.FunctionDynamoDBURL), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(stack.AccessKey(f.Name), "local", "")})
		_, deleted := c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: name, Key: key})
		_, updated := c.UpdateItem(t.Context(), forge)
		_, transacted := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Delete: &types.Delete{TableName: name, Key: key}}}})
		_, batched := c.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*name: {{DeleteRequest: &types.DeleteRequest{Key: key}}}}})
		for what, err := range map[string]error{"delete": deleted, "update": updated, "delete in a transaction": transacted, "delete in a batch": batched} {
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
				t.Errorf("%s may %s an audit row: %v", f.Name, what, err)
			}
		}
	}
	if v := verify(); !v.OK || v.Checked != 3 {
		t.Errorf("%+v", v)
	}
	_, err := world.Dynamo.UpdateItem(t.Context(), forge)
	must(t, err)
	if v := verify(); v.OK || len(v.Broken) != 1 || v.Broken[0].Seq != 2 || v.Broken[0].Reason != "altered" {
		t.Errorf("a forged row is not found: %+v", v)
	}
}
