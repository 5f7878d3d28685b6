package dynamo_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rollout/rollouttest"
	"github.com/latchkey/latchkey/shared/table"
)

func TestRollouts(t *testing.T) {
	fx := dynamotest.Open(t)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	rollouttest.Run(t, db.Rollouts())

	// A stage that is none is an error, not one that admits.
	k := table.Rollout("damaged")
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err = fx.Client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(fx.Tables[table.Config]), Item: map[string]types.AttributeValue{
		table.PK: text(k.PK), table.SK: text(k.SK), "v": &types.AttributeValueMemberN{Value: "1"},
		"stage": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"st": text("open"), "why": text(""), "by": text(""),
			"at": &types.AttributeValueMemberN{Value: "0"}, "orgs": &types.AttributeValueMemberL{}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := db.Rollouts().Stage(t.Context(), "damaged"); fault.CodeOf(err) != fault.Internal {
		t.Errorf("%+v %v", r, err)
	}
	if all, err := db.Rollouts().Stages(t.Context()); fault.CodeOf(err) != fault.Internal {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := db.Rollouts().Stage(t.Context(), "a#b"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}
