package streampoll

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/stretchr/testify/require"
)

func s(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

// everyKind holds each attribute kind, nested too.
func everyKind() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"s": s("a <b> & \"c\" \u00e9"), "n": &types.AttributeValueMemberN{Value: "12345678901234567890.5"},
		"b": &types.AttributeValueMemberB{Value: []byte{0, 255, 1}}, "b0": &types.AttributeValueMemberB{},
		"ss": &types.AttributeValueMemberSS{Value: []string{"x", "y"}}, "ns": &types.AttributeValueMemberNS{Value: []string{"1", "2.5"}},
		"bs":   &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2, 3}}},
		"bool": &types.AttributeValueMemberBOOL{Value: false}, "null": &types.AttributeValueMemberNULL{Value: true},
		"m": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
			"deep": &types.AttributeValueMemberL{Value: []types.AttributeValue{s("l"), &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{}}}},
		}},
		"l": &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
	}
}

func TestEventIsWhatLambdaSends(t *testing.T) {
	m := converter{streamARN: testARN, region: "us-east-1", account: "000000000000", lanes: 1}
	created := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	r, err := m.convert(types.Record{
		EventID: aws.String("e1"), EventName: types.OperationTypeRemove, EventVersion: aws.String("1.1"),
		EventSource: aws.String("aws:dynamodb"), AwsRegion: aws.String("ddblocal"),
		UserIdentity: &types.Identity{Type: aws.String("Service"), PrincipalId: aws.String("dynamodb.amazonaws.com")},
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: &created, SequenceNumber: aws.String("100"), SizeBytes: aws.Int64(26),
			StreamViewType: types.StreamViewTypeNewAndOldImages,
			Keys:           map[string]types.AttributeValue{"pk": s("a")}, OldImage: map[string]types.AttributeValue{"pk": s("a"), "n": &types.AttributeValueMemberN{Value: "1"}},
		},
	}, 0)
	require.NoError(t, err)
	require.Equal(t, `{"Records":[{"eventID":"e1","eventName":"REMOVE","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1",`+
		`"dynamodb":{"ApproximateCreationDateTime":1795255200,"Keys":{"pk":{"S":"a"}},"OldImage":{"n":{"N":"1"},"pk":{"S":"a"}},`+
		`"SequenceNumber":"100","SizeBytes":26,"StreamViewType":"NEW_AND_OLD_IMAGES"},`+
		`"userIdentity":{"principalId":"dynamodb.amazonaws.com","type":"Service"},"eventSourceARN":"`+testARN+`"}]}`, string(eventOf([]record{r})))
}

func TestEventDecodesStrictlyIntoLambdaTypes(t *testing.T) {
	m := converter{streamARN: testARN, region: "us-east-1", account: "000000000000", lanes: 1}
	in := rec(1, "a", "USED")
	in.Dynamodb.NewImage, in.Dynamodb.OldImage = everyKind(), everyKind()
	in.Dynamodb.ApproximateCreationDateTime = aws.Time(time.UnixMilli(1795255200250))
	r, err := m.convert(in, 0)
	require.NoError(t, err)
	checkEveryKind(t, strictDecode(t, eventOf([]record{r, r})).Records[1])
	require.Contains(t, string(r.event), `"ApproximateCreationDateTime":1795255200.250`)
	require.Contains(t, string(r.event), `a <b> & \"c\" é`)
}

func strictDecode(t *testing.T, event []byte) events.DynamoDBEvent {
	t.Helper()
	var out events.DynamoDBEvent
	dec := json.NewDecoder(strings.NewReader(string(event)))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&out))
	return out
}

func checkEveryKind(t *testing.T, r events.DynamoDBEventRecord) {
	t.Helper()
	require.Equal(t, testARN[:strings.Index(testARN, "/stream/")], r.EventSourceArn[:strings.Index(r.EventSourceArn, "/stream/")])
	require.Equal(t, "aws:dynamodb", r.EventSource)
	require.Equal(t, "us-east-1", r.AWSRegion)
	image := r.Change.NewImage
	require.Equal(t, "a <b> & \"c\" \u00e9", image["s"].String())
	require.Equal(t, "12345678901234567890.5", image["n"].Number())
	require.Equal(t, []byte{0, 255, 1}, image["b"].Binary())
	require.Empty(t, image["b0"].Binary())
	require.ElementsMatch(t, []string{"x", "y"}, image["ss"].StringSet())
	require.ElementsMatch(t, []string{"1", "2.5"}, image["ns"].NumberSet())
	require.ElementsMatch(t, [][]byte{{1}, {2, 3}}, image["bs"].BinarySet())
	require.False(t, image["bool"].Boolean())
	require.True(t, image["null"].IsNull())
	deep := image["m"].Map()["deep"].List()
	require.Equal(t, "l", deep[0].String())
	require.Empty(t, deep[1].Map())
	require.Empty(t, image["l"].List())
	require.Equal(t, "NEW_AND_OLD_IMAGES", r.Change.StreamViewType)
}

func TestRecordWithoutSequenceNumberIsAnError(t *testing.T) {
	m := converter{streamARN: testARN, region: "us-east-1", account: "000000000000", lanes: 1}
	_, err := m.convert(types.Record{EventID: aws.String("x")}, 0)
	require.ErrorContains(t, err, `"x" has no sequence number`)
	bad := rec(1, "a", "b")
	bad.Dynamodb.NewImage["u"] = &types.UnknownUnionMember{}
	_, err = m.convert(bad, 0)
	require.ErrorContains(t, err, "unknown kind")
}
