package awsinstant

import (
	"context"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func clients(s *Store) (*dynamodb.Client, *kms.Client) {
	cfg := aws.Config{Region: "us-east-1", HTTPClient: s, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}
	return dynamodb.NewFromConfig(cfg), kms.NewFromConfig(cfg)
}

type values = map[string]types.AttributeValue

func s(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

func put(t *testing.T, c *dynamodb.Client, pk, sk string) {
	t.Helper()
	_, err := c.TransactWriteItems(context.Background(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: aws.String("t"), Item: values{"pk": s(pk), "sk": s(sk), "v": s(pk + sk)}}}}})
	if err != nil {
		t.Fatal(err)
	}
}

// The client is the SDK's own, so what it accepts as an answer is one.
func TestReads(t *testing.T) {
	ctx, recording := t.Context(), New()
	c, _ := clients(recording)
	for _, at := range [][2]string{{"b", "1"}, {"a", "X#2"}, {"a", "X#1"}, {"a", "Y"}} {
		put(t, c, at[0], at[1])
	}
	file := filepath.Join(t.TempDir(), "state.json")
	if err := recording.Save(file); err != nil {
		t.Fatal(err)
	}
	served, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	c, _ = clients(served)
	query := func(cond string, v values) string {
		in := &dynamodb.QueryInput{TableName: aws.String("t"), KeyConditionExpression: aws.String(cond),
			ExpressionAttributeNames: map[string]string{"#pk": "pk", "#sk": "sk"}, ExpressionAttributeValues: v}
		out, err := c.Query(ctx, in)
		if err != nil {
			return "error"
		}
		var got []string
		for _, it := range out.Items {
			got = append(got, it["v"].(*types.AttributeValueMemberS).Value)
		}
		return strings.Join(got, " ")
	}
	for range 2 { // the second answers come from what was kept
		for cond, want := range map[string]string{
			"#pk = :pk": "aX#1 aX#2 aY",
			"#pk = :pk AND begins_with(#sk, :prefix)": "aX#1 aX#2",
			"#pk = :pk AND #sk BETWEEN :low AND :hi":  "aX#2 aY",
			"#pk = :pk AND #sk > :low":                "error",
		} {
			if got := query(cond, values{":pk": s("a"), ":prefix": s("X#"), ":low": s("X#2"), ":hi": s("Y")}); got != want {
				t.Errorf("%s: %q", cond, got)
			}
		}
		put(t, c, "a", "Z") // forgotten
		one, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("t"), Key: values{"pk": s("b"), "sk": s("1")}})
		if err != nil || len(one.Item) != 3 {
			t.Errorf("%v %v", one, err)
		}
		batch, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			"t": {Keys: []map[string]types.AttributeValue{{"pk": s("b"), "sk": s("1")}, {"pk": s("b"), "sk": s("2")}}}}})
		if err != nil || len(batch.Responses["t"]) != 1 || len(batch.UnprocessedKeys) != 0 {
			t.Errorf("%v %v", batch, err)
		}
	}
	want := map[string]int{"DynamoDB.Query": 8, "DynamoDB.GetItem": 2, "DynamoDB.BatchGetItem": 2, "DynamoDB.TransactWriteItems": 2}
	if got := served.Calls(); !maps.Equal(got, want) {
		t.Errorf("counted %v", got)
	}
}

func TestKeyService(t *testing.T) {
	_, k := clients(New())
	made, err := k.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: aws.String("arn")})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := k.Decrypt(t.Context(), &kms.DecryptInput{KeyId: aws.String("arn"), CiphertextBlob: made.CiphertextBlob})
	if err != nil || string(opened.Plaintext) != string(made.Plaintext) || aws.ToString(opened.KeyId) != "arn" {
		t.Error(opened, err)
	}
	if _, err := k.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String("arn")}); err == nil {
		t.Error("an unknown operation was answered")
	}
}
