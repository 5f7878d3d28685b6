package dynamo_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/table"
)

func TestSessionsContract(t *testing.T) {
	fx := dynamotest.Open(t, table.Sessions, table.Config, table.Usage)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	sessiontest.Run(t, sessiontest.All(db.Sessions()))
}

// TestReceiptRows: a mark is kept as long as its receipt, and a row that was
// marked in itself, as they were before, still swallows its repeats.
func TestReceiptRows(t *testing.T) {
	fx := dynamotest.Open(t, table.Sessions)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s, now := db.Sessions(), time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for ttl, want := range map[time.Duration]time.Time{time.Hour: now.Add(session.DeliveryTTL), 30 * 24 * time.Hour: now.Add(30 * 24 * time.Hour)} {
		key := ttl.String()
		r, _, err := s.Receive(t.Context(), "i1", key, "e1", now, ttl)
		if err == nil {
			err = s.Queued(t.Context(), key, r, session.Delivery{Install: "i1", EventID: "e1", Code: "hook.accepted", At: now})
		}
		k := table.Delivery("i1", now, key+"#queued")
		out, errGet := fx.Client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(fx.Tables[table.Sessions]), Key: map[string]types.AttributeValue{
			table.PK: &types.AttributeValueMemberS{Value: k.PK}, table.SK: &types.AttributeValueMemberS{Value: k.SK}}})
		if err != nil || errGet != nil {
			t.Fatal(err, errGet)
		}
		if n, ok := out.Item[table.TTL].(*types.AttributeValueMemberN); !ok || n.Value != strconv.FormatInt(want.Unix(), 10) {
			t.Errorf("%s: %+v, want %d", ttl, out.Item[table.TTL], want.Unix())
		}
	}
	for key, marked := range map[string]bool{"marked": true, "received": false} {
		k := table.Dedupe("i1", key)
		row := map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: k.PK}, table.SK: &types.AttributeValueMemberS{Value: k.SK},
			"ev": &types.AttributeValueMemberS{Value: "e1"}, "exp": &types.AttributeValueMemberN{Value: strconv.FormatInt(now.Add(time.Hour).UnixMilli(), 10)}}
		if marked {
			row["enq"] = &types.AttributeValueMemberBOOL{Value: true}
		}
		if _, err := fx.Client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(fx.Tables[table.Sessions]), Item: row}); err != nil {
			t.Fatal(err)
		}
		r, fresh, err := s.Receive(t.Context(), "i1", key, "e2", now, time.Hour)
		if err != nil || fresh || r.EventID != "e1" || r.Enqueued != marked {
			t.Fatalf("%s: %+v %v %v", key, r, fresh, err)
		}
		if err := s.Queued(t.Context(), key, r, session.Delivery{Install: "i1", EventID: "e2", Code: "hook.accepted", At: now}); err != nil {
			t.Fatal(err)
		}
		if r, _, err := s.Receive(t.Context(), "i1", key, "e2", now, time.Hour); err != nil || !r.Enqueued {
			t.Fatalf("%s, marked: %+v %v", key, r, err)
		}
	}
}
