package dynamo_test

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/credit/ledgertest"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/table"
)

// TestLedger runs the ledger's suite against DynamoDB Local. LATCHKEY_TEST_SEED
// repeats one random run, LATCHKEY_SOAK=1 makes twenty larger ones.
func TestLedger(t *testing.T) {
	o := ledgertest.Options{Seeds: []uint64{1}, Requests: 40}
	if os.Getenv("LATCHKEY_SOAK") != "" {
		o.Seeds, o.Requests = nil, 120
		for i := range uint64(20) {
			o.Seeds = append(o.Seeds, 100+i)
		}
	}
	if s := os.Getenv("LATCHKEY_TEST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("LATCHKEY_TEST_SEED: %v", err)
		}
		o.Seeds = []uint64{seed}
	}
	ledgertest.Run(t, openLedger, o)
}

func openLedger(t testing.TB) ledgertest.Harness {
	fx := dynamotest.Open(t, table.Ledger, table.Usage, table.Config)
	faults := ledgertest.NewFaults(http.DefaultClient)
	options := fx.Client.Options()
	options.HTTPClient = faults
	clean, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	faulty, err := dynamo.New(dynamodb.New(options), fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	stream := &streamReader{name: fx.Tables[table.Ledger], next: map[string]*string{}, client: dynamodbstreams.New(dynamodbstreams.Options{
		Region: "us-east-1", BaseEndpoint: fx.Client.Options().BaseEndpoint, Credentials: fx.Client.Options().Credentials,
	})}
	return ledgertest.Harness{
		Store: faulty.Ledger(), Clean: clean.Ledger(), Faults: faults, Changes: stream.changes,
		ForgeEntry: func(t testing.TB, e credit.Entry) {
			t.Helper()
			if _, err := fx.Client.PutItem(context.Background(), &dynamodb.PutItemInput{
				TableName: aws.String(fx.Tables[table.Ledger]), Item: dynamo.EntryItem(e)}); err != nil {
				t.Fatal(err)
			}
		},
		SetOffer: func(t testing.TB, o agency.Offer) {
			t.Helper()
			if _, err := fx.Client.TransactWriteItems(context.Background(), &dynamodb.TransactWriteItemsInput{
				TransactItems: []types.TransactWriteItem{dynamo.OfferWrite(clean, o)}}); err != nil {
				t.Fatal(err)
			}
		},
		Drawn: func(t testing.TB, id, day string, clients []string) (int64, map[string]int64, error) {
			return clean.Orgs().Drawn(context.Background(), id, day, clients)
		},
		SetHold: func(t testing.TB, key table.Key, hold credit.Micro) {
			t.Helper()
			_, err := fx.Client.UpdateItem(context.Background(), &dynamodb.UpdateItemInput{
				TableName: aws.String(fx.Tables[table.Ledger]),
				Key: map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: key.PK},
					table.SK: &types.AttributeValueMemberS{Value: key.SK}},
				UpdateExpression: aws.String("SET #hold = :h"), ExpressionAttributeNames: map[string]string{"#hold": "hold"},
				ExpressionAttributeValues: map[string]types.AttributeValue{":h": &types.AttributeValueMemberN{Value: strconv.FormatInt(int64(hold), 10)}},
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	}
}

// streamReader reads the ledger table's stream the way the mapping does.
type streamReader struct {
	client *dynamodbstreams.Client
	name   string

	mu   sync.Mutex
	arn  *string
	next map[string]*string // iterator per shard
}

func (s *streamReader) changes(t testing.TB) []credit.Change {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out []credit.Change
	for _, record := range s.records(ctx, t) {
		ev := eventRecord(record)
		c, err := dynamo.DecodeChange(&ev)
		if err != nil {
			t.Errorf("decode %s|%s: %v", c.PK, c.SK, err)
			continue
		}
		out = append(out, c)
	}
	return out
}

func (s *streamReader) records(ctx context.Context, t testing.TB) []streamtypes.Record {
	t.Helper()
	if s.arn == nil {
		list, err := s.client.ListStreams(ctx, &dynamodbstreams.ListStreamsInput{TableName: aws.String(s.name)})
		if err != nil || len(list.Streams) != 1 {
			t.Errorf("streams of %s: %v", s.name, err)
			return nil
		}
		s.arn = list.Streams[0].StreamArn
	}
	stream, err := s.client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: s.arn})
	if err != nil {
		t.Errorf("describe stream: %v", err)
		return nil
	}
	var out []streamtypes.Record
	for _, shard := range stream.StreamDescription.Shards {
		id := aws.ToString(shard.ShardId)
		if s.next[id] == nil {
			it, err := s.client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{StreamArn: s.arn, ShardId: shard.ShardId,
				ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon})
			if err != nil {
				t.Errorf("shard iterator: %v", err)
				return nil
			}
			s.next[id] = it.ShardIterator
		}
		for {
			page, err := s.client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: s.next[id]})
			if err != nil {
				t.Errorf("get records: %v", err)
				return out
			}
			out = append(out, page.Records...)
			s.next[id] = page.NextShardIterator
			if len(page.Records) == 0 || page.NextShardIterator == nil {
				break
			}
		}
	}
	return out
}

func eventRecord(r streamtypes.Record) events.DynamoDBEventRecord {
	return events.DynamoDBEventRecord{
		EventName: string(r.EventName), EventID: aws.ToString(r.EventID),
		Change: events.DynamoDBStreamRecord{
			Keys: eventImage(r.Dynamodb.Keys), NewImage: eventImage(r.Dynamodb.NewImage), OldImage: eventImage(r.Dynamodb.OldImage),
			SequenceNumber: aws.ToString(r.Dynamodb.SequenceNumber),
		},
	}
}

func eventImage(image map[string]streamtypes.AttributeValue) map[string]events.DynamoDBAttributeValue {
	out := make(map[string]events.DynamoDBAttributeValue, len(image))
	for name, v := range image {
		out[name] = eventValue(v)
	}
	return out
}

func eventValue(v streamtypes.AttributeValue) events.DynamoDBAttributeValue {
	switch v := v.(type) {
	case *streamtypes.AttributeValueMemberS:
		return events.NewStringAttribute(v.Value)
	case *streamtypes.AttributeValueMemberN:
		return events.NewNumberAttribute(v.Value)
	case *streamtypes.AttributeValueMemberB:
		return events.NewBinaryAttribute(v.Value)
	case *streamtypes.AttributeValueMemberBOOL:
		return events.NewBooleanAttribute(v.Value)
	case *streamtypes.AttributeValueMemberM:
		return events.NewMapAttribute(eventImage(v.Value))
	case *streamtypes.AttributeValueMemberL:
		list := make([]events.DynamoDBAttributeValue, len(v.Value))
		for i, e := range v.Value {
			list[i] = eventValue(e)
		}
		return events.NewListAttribute(list)
	}
	return events.NewNullAttribute()
}
