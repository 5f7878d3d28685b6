package localsqs_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
	"github.com/latchkey/latchkey/scripts/internal/localsqs"
)

// client returns an SDK client that makes one attempt per call.
func client(url, accessKey string) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String(url), Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	})
}

// code is the API error code of err, "ok" for nil.
func code(err error) string {
	if err == nil {
		return "ok"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "not an API error: " + err.Error()
}

// fixture is an engine with its clock, a client and helpers.
type fixture struct {
	t      *testing.T
	engine *localsqs.Engine
	clock  *clock.Clock
	sqs    *sqs.Client
	ctx    context.Context
	offset time.Duration
}

func start(t *testing.T, cfg localsqs.Config) *fixture {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = new(clock.Clock)
	}
	e, err := localsqs.New(cfg)
	require.NoError(t, err)
	ts := httptest.NewServer(e)
	t.Cleanup(func() {
		_ = e.Close()
		ts.Close()
	})
	return &fixture{t: t, engine: e, clock: cfg.Clock, sqs: client(ts.URL, "AKIDTEST"), ctx: context.Background()}
}

func (f *fixture) pass(d time.Duration) {
	f.offset += d
	f.clock.SetOffset(f.offset)
}

func (f *fixture) queue(name string, attributes map[string]string) *string {
	f.t.Helper()
	if strings.HasSuffix(name, ".fifo") {
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes["FifoQueue"] = "true"
	}
	out, err := f.sqs.CreateQueue(f.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	require.NoError(f.t, err)
	return out.QueueUrl
}

func (f *fixture) send(url *string, group, id, body string) *sqs.SendMessageOutput {
	f.t.Helper()
	in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body}
	if group != "" {
		in.MessageGroupId, in.MessageDeduplicationId = &group, &id
	}
	out, err := f.sqs.SendMessage(f.ctx, in)
	require.NoError(f.t, err)
	return out
}

func (f *fixture) receive(url *string, n int32) []types.Message {
	f.t.Helper()
	out, err := f.sqs.ReceiveMessage(f.ctx, &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: n,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}, MessageAttributeNames: []string{"All"},
	})
	require.NoError(f.t, err)
	return out.Messages
}

func (f *fixture) delete(url *string, m types.Message) error {
	_, err := f.sqs.DeleteMessage(f.ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func (f *fixture) hide(url *string, m types.Message, seconds int32) error {
	_, err := f.sqs.ChangeMessageVisibility(f.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds})
	return err
}

func bodies(messages []types.Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, *m.Body)
	}
	return strings.Join(out, " ")
}

func TestFIFOGroupIsLockedWhileInFlight(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", map[string]string{"VisibilityTimeout": "240"})
	for i, g := range []string{"a", "a", "b", "a", "b"} {
		f.send(q, g, "id"+strconv.Itoa(i), g+strconv.Itoa(i))
	}
	first := f.receive(q, 1)
	require.Equal(t, "a0", bodies(first))
	second := f.receive(q, 1)
	require.Equal(t, "b2", bodies(second), "group a is locked")
	require.Empty(t, f.receive(q, 10), "both groups are locked")

	require.NoError(t, f.delete(q, first[0]))
	require.Equal(t, "a1 a3", bodies(f.receive(q, 10)), "one batch may hold several of a group")
	require.Empty(t, f.receive(q, 10))

	f.pass(239 * time.Second)
	require.Empty(t, f.receive(q, 10))
	f.pass(2 * time.Second)
	require.Equal(t, "a1 b2 a3 b4", bodies(f.receive(q, 10)), "expired messages keep their order")
	require.Equal(t, "InvalidParameterValue", code(f.delete(q, second[0])), "the old receipt handle is expired")
}

func TestPartOfABatchKeepsTheGroupLocked(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	for i := range 3 {
		f.send(q, "g", strconv.Itoa(i), strconv.Itoa(i))
	}
	batch := f.receive(q, 2)
	require.Equal(t, "0 1", bodies(batch))
	require.NoError(t, f.delete(q, batch[0]))
	require.Empty(t, f.receive(q, 10), "1 is still in flight")
	require.NoError(t, f.hide(q, batch[1], 0))
	require.Equal(t, "1 2", bodies(f.receive(q, 10)))
}

func TestDeduplicationWindow(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	one := f.send(q, "g", "same", "first")
	f.pass(299 * time.Second)
	two := f.send(q, "other", "same", "second")
	require.Equal(t, *one.MessageId, *two.MessageId)
	require.Equal(t, *one.SequenceNumber, *two.SequenceNumber)
	got := f.receive(q, 10)
	require.Equal(t, "first", bodies(got))
	require.NoError(t, f.delete(q, got[0]))
	f.send(q, "g", "same", "third")
	require.Empty(t, f.receive(q, 10), "the window outlives the message")
	f.pass(2 * time.Second)
	f.send(q, "g", "same", "fourth")
	require.Equal(t, "fourth", bodies(f.receive(q, 10)))

	perGroup := f.queue("high.fifo", map[string]string{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
	f.send(perGroup, "g", "same", "g")
	f.send(perGroup, "h", "same", "h")
	f.send(perGroup, "h", "same", "h again")
	require.Equal(t, "g h", bodies(f.receive(perGroup, 10)))

	content := f.queue("content.fifo", map[string]string{"ContentBasedDeduplication": "true"})
	for range 2 {
		_, err := f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{QueueUrl: content, MessageBody: aws.String("x"), MessageGroupId: aws.String("g")})
		require.NoError(t, err)
	}
	got = f.receive(content, 10)
	require.Len(t, got, 1)
	require.Len(t, got[0].Attributes["MessageDeduplicationId"], 64)
}

func TestRedriveLetsTheGroupGoOn(t *testing.T) {
	f := start(t, localsqs.Config{})
	dlq := f.queue("dead.fifo", nil)
	q := f.queue("turns.fifo", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("dead.fifo") + `","maxReceiveCount":3}`,
	})
	poison := f.send(q, "g", "1", "poison")
	f.send(q, "g", "2", "good")
	for i := 1; i <= 3; i++ {
		got := f.receive(q, 1)
		require.Equal(t, "poison", bodies(got))
		require.Equal(t, strconv.Itoa(i), got[0].Attributes["ApproximateReceiveCount"])
		if i == 2 {
			f.pass(31 * time.Second) // by its deadline too
		} else {
			require.NoError(t, f.hide(q, got[0], 0))
		}
	}
	require.Equal(t, "good", bodies(f.receive(q, 10)))
	dead := f.receive(dlq, 10)
	require.Equal(t, "poison", bodies(dead))
	require.Equal(t, *poison.MessageId, *dead[0].MessageId)
	require.Equal(t, f.engine.ARN("turns.fifo"), dead[0].Attributes["DeadLetterQueueSourceArn"])
	require.Equal(t, "g", dead[0].Attributes["MessageGroupId"])
	require.Equal(t, "4", dead[0].Attributes["ApproximateReceiveCount"], "counts over all queues")
}

func TestSystemAndMessageAttributes(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	// The SDK checks the body's digest on send and receive by itself.
	_, err := f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{
		QueueUrl: q, MessageBody: aws.String("héllo"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"trace.id": {DataType: aws.String("String"), StringValue: aws.String("t-1")},
			"bin":      {DataType: aws.String("Binary.png"), BinaryValue: []byte{0, 1, 2}},
			"n":        {DataType: aws.String("Number"), StringValue: aws.String("42")},
		},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")},
		},
	})
	require.NoError(t, err)
	got := f.receive(q, 1)[0]
	require.Equal(t, []byte{0, 1, 2}, got.MessageAttributes["bin"].BinaryValue)
	require.Equal(t, "42", *got.MessageAttributes["n"].StringValue)
	require.Equal(t, "Root=1-5759e988-bd862e3fe1be46a994272793", got.Attributes["AWSTraceHeader"])
	require.Equal(t, "AKIDTEST", got.Attributes["SenderId"])
	require.Equal(t, "d", got.Attributes["MessageDeduplicationId"])
	sent, err := strconv.ParseInt(got.Attributes["SentTimestamp"], 10, 64)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), time.UnixMilli(sent), time.Minute)
	require.NotEmpty(t, got.Attributes["ApproximateFirstReceiveTimestamp"])
	// Known answer, computed with an independent implementation of the algorithm.
	require.Equal(t, "718aa949c9176b03c8df97738e39a29d", *got.MD5OfMessageAttributes)

	require.NoError(t, f.hide(q, got, 0))
	out, err := f.sqs.ReceiveMessage(f.ctx, &sqs.ReceiveMessageInput{QueueUrl: q, MessageAttributeNames: []string{"trace.*"}})
	require.NoError(t, err)
	require.Len(t, out.Messages[0].MessageAttributes, 1)
	require.Empty(t, out.Messages[0].Attributes)
}

func TestStandardQueue(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("failures", nil)
	for i := range 3 {
		f.send(q, "", "", strconv.Itoa(i))
	}
	got := f.receive(q, 10)
	require.Equal(t, "0 1 2", bodies(got))
	require.NoError(t, f.delete(q, got[0]))
	require.NoError(t, f.delete(q, got[0]), "deleting again succeeds")
	f.pass(31 * time.Second)
	require.NoError(t, f.delete(q, got[1]), "a standard queue takes a handle after its deadline")
	var idle *types.MessageNotInflight
	require.ErrorAs(t, f.hide(q, got[2], 10), &idle)
	again := f.receive(q, 10)
	require.Equal(t, "2", bodies(again))
	require.NoError(t, f.delete(q, got[2]), "an outdated handle deletes nothing, silently")
	_, err := f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("late"), DelaySeconds: 60})
	require.NoError(t, err)
	attrs, err := f.sqs.GetQueueAttributes(f.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"All"}})
	require.NoError(t, err)
	require.Equal(t, "0", attrs.Attributes["ApproximateNumberOfMessages"])
	require.Equal(t, "1", attrs.Attributes["ApproximateNumberOfMessagesNotVisible"])
	require.Equal(t, "1", attrs.Attributes["ApproximateNumberOfMessagesDelayed"])
	f.pass(60 * time.Second)
	require.Equal(t, "2 late", bodies(f.receive(q, 10)))
}

// TestLongPollWakes runs on the bubble's own time: what wakes a receive at once
// takes none, a deadline of the shifted clock takes one recheck.
func TestLongPollWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := new(clock.Clock)
		e, err := localsqs.New(localsqs.Config{Clock: clk})
		require.NoError(t, err)
		_, err = e.EnsureQueue("turns.fifo", map[string]string{"FifoQueue": "true", "VisibilityTimeout": "240"})
		require.NoError(t, err)
		// waited runs change while a receive waits, and returns how long after it
		// the receive took, and what it got.
		waited := func(change func()) (time.Duration, []localsqs.Received) {
			out := make(chan []localsqs.Received)
			go func() {
				got, err := e.Receive(t.Context(), "turns.fifo", localsqs.ReceiveOptions{Max: 1, Wait: aws.Duration(20 * time.Second)})
				assert.NoError(t, err)
				out <- got
			}()
			synctest.Wait()
			begin := time.Now()
			change()
			got := <-out
			return time.Since(begin), got
		}
		took, got := waited(func() {
			_, err := e.Send("turns.fifo", localsqs.Outgoing{Body: "hello", Group: "g", Dedup: "1"})
			require.NoError(t, err)
		})
		require.Zero(t, took, "a send wakes")
		require.Equal(t, "hello", got[0].Body)
		handle := got[0].ReceiptHandle
		took, got = waited(func() { require.NoError(t, e.ChangeVisibility("turns.fifo", handle, 0)) })
		require.Zero(t, took, "a message made visible wakes")
		require.Len(t, got, 1)
		took, got = waited(func() { clk.SetOffset(241 * time.Second) })
		require.LessOrEqual(t, took, 100*time.Millisecond, "a shift of the clock is seen")
		require.Len(t, got, 1)
		handle = got[0].ReceiptHandle
		_, err = e.Send("turns.fifo", localsqs.Outgoing{Body: "next", Group: "g", Dedup: "2"})
		require.NoError(t, err)
		took, got = waited(func() { require.NoError(t, e.Delete("turns.fifo", handle)) })
		require.Zero(t, took, "a deletion that unlocks the group wakes")
		require.Equal(t, "next", got[0].Body)
		took, got = waited(func() {})
		require.Equal(t, 20*time.Second, took, "the wait ends")
		require.Empty(t, got)
		took, got = waited(func() { require.NoError(t, e.Close()) })
		require.Zero(t, took, "Close ends the wait")
		require.Empty(t, got)
	})
}

func TestBatches(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body, MessageGroupId: aws.String("g-" + id), MessageDeduplicationId: &id}
	}
	bad := entry("bad", "x")
	bad.MessageGroupId = nil
	out, err := f.sqs.SendMessageBatch(f.ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{entry("a", "1"), bad, entry("b", "2")}})
	require.NoError(t, err)
	require.Len(t, out.Successful, 2)
	require.Len(t, out.Failed, 1)
	require.Equal(t, "bad", *out.Failed[0].Id)
	require.Equal(t, "MissingParameter", *out.Failed[0].Code)
	require.True(t, out.Failed[0].SenderFault)

	got := f.receive(q, 10)
	require.Len(t, got, 2)
	hidden, err := f.sqs.ChangeMessageVisibilityBatch(f.ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: q, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("x"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 0}, {Id: aws.String("y"), ReceiptHandle: aws.String("nonsense")},
	}})
	require.NoError(t, err)
	require.Len(t, hidden.Successful, 1)
	require.Equal(t, "ReceiptHandleIsInvalid", *hidden.Failed[0].Code)
	deleted, err := f.sqs.DeleteMessageBatch(f.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("x"), ReceiptHandle: got[0].ReceiptHandle}, {Id: aws.String("y"), ReceiptHandle: got[1].ReceiptHandle},
	}})
	require.NoError(t, err)
	require.Equal(t, "InvalidParameterValue", *deleted.Failed[0].Code, "visible again: the handle is expired")
	require.Equal(t, "y", *deleted.Successful[0].Id)

	big := strings.Repeat("x", 600<<10)
	_, err = f.sqs.SendMessageBatch(f.ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{entry("c", big), entry("d", big)}})
	var long *types.BatchRequestTooLong
	require.ErrorAs(t, err, &long)
	_, err = f.sqs.SendMessageBatch(f.ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{entry("c", "1"), entry("c", "2")}})
	var same *types.BatchEntryIdsNotDistinct
	require.ErrorAs(t, err, &same)
	_, err = f.sqs.SendMessageBatch(f.ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{}})
	var empty *types.EmptyBatchRequest
	require.ErrorAs(t, err, &empty)
}

func TestSizeBound(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	f.send(q, "g", "1", strings.Repeat("x", 1<<20))
	_, err := f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{
		QueueUrl: q, MessageBody: aws.String(strings.Repeat("x", 1<<20+1)), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("2"),
	})
	require.Equal(t, "InvalidParameterValue", code(err))
	_, err = f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{
		QueueUrl: q, MessageBody: aws.String(strings.Repeat("x", 1<<20-10)), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("3"),
		MessageAttributes: map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String("1234")}},
	})
	require.Equal(t, "InvalidParameterValue", code(err), "attributes count: 1+6+4 bytes")
	require.Len(t, f.receive(q, 10), 1)
}

func TestQueueAttributes(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", map[string]string{"VisibilityTimeout": "240"})
	same := f.queue("turns.fifo", map[string]string{"VisibilityTimeout": "240"})
	require.Equal(t, *q, *same)
	create := func(name string, attributes map[string]string) error {
		_, err := f.sqs.CreateQueue(f.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		return err
	}
	var exists *types.QueueNameExists
	require.ErrorAs(t, create("turns.fifo", map[string]string{"FifoQueue": "true", "VisibilityTimeout": "30"}), &exists)
	for name, tc := range map[string]struct {
		queue      string
		attributes map[string]string
		want       string
	}{
		"fifo without suffix":      {"x", map[string]string{"FifoQueue": "true"}, "InvalidParameterValue"},
		"suffix without fifo":      {"x.fifo", nil, "InvalidParameterValue"},
		"bad name":                 {"x y", nil, "InvalidParameterValue"},
		"visibility above 12 h":    {"x", map[string]string{"VisibilityTimeout": "43201"}, "InvalidAttributeValue"},
		"unknown attribute":        {"x", map[string]string{"Colour": "red"}, "InvalidAttributeName"},
		"fifo attribute, standard": {"x", map[string]string{"DeduplicationScope": "queue"}, "InvalidAttributeName"},
		"throughput without scope": {"x.fifo", map[string]string{"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}, "InvalidAttributeValue"},
		"throughput value":         {"x.fifo", map[string]string{"FifoQueue": "true", "FifoThroughputLimit": "perOrg"}, "InvalidAttributeValue"},
		"dlq of another type":      {"x", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("turns.fifo") + `","maxReceiveCount":"3"}`}, "InvalidParameterValue"},
		"dlq that is not there":    {"x", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("none") + `","maxReceiveCount":"3"}`}, "InvalidParameterValue"},
		"receive count 0":          {"x", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("none") + `","maxReceiveCount":0}`}, "InvalidParameterValue"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, code(create(tc.queue, tc.attributes))) })
	}
	_, err := f.sqs.SetQueueAttributes(f.ctx, &sqs.SetQueueAttributesInput{QueueUrl: q, Attributes: map[string]string{"VisibilityTimeout": "60"}})
	require.NoError(t, err)
	out, err := f.sqs.GetQueueAttributes(f.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"VisibilityTimeout", "QueueArn", "RedrivePolicy"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"VisibilityTimeout": "60", "QueueArn": f.engine.ARN("turns.fifo")}, out.Attributes)
	_, err = f.sqs.GetQueueAttributes(f.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"Colour"}})
	require.Equal(t, "InvalidAttributeName", code(err))

	u, err := f.sqs.GetQueueUrl(f.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("turns.fifo")})
	require.NoError(t, err)
	require.Equal(t, *q, *u.QueueUrl)
	_, err = f.sqs.GetQueueUrl(f.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
	var none *types.QueueDoesNotExist
	require.ErrorAs(t, err, &none)
	require.Equal(t, "AWS.SimpleQueueService.NonExistentQueue", code(err))
	list, err := f.sqs.ListQueues(f.ctx, &sqs.ListQueuesInput{QueueNamePrefix: aws.String("tu")})
	require.NoError(t, err)
	require.Equal(t, []string{*q}, list.QueueUrls)
}

func TestSendRefusals(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("turns.fifo", nil)
	for name, tc := range map[string]struct {
		in   sqs.SendMessageInput
		want string
	}{
		"no group":         {sqs.SendMessageInput{MessageBody: aws.String("x"), MessageDeduplicationId: aws.String("d")}, "MissingParameter"},
		"no deduplication": {sqs.SendMessageInput{MessageBody: aws.String("x"), MessageGroupId: aws.String("g")}, "InvalidParameterValue"},
		"group with space": {sqs.SendMessageInput{MessageBody: aws.String("x"), MessageGroupId: aws.String("a b"), MessageDeduplicationId: aws.String("d")}, "InvalidParameterValue"},
		"delay":            {sqs.SendMessageInput{MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"), DelaySeconds: 5}, "InvalidParameterValue"},
		"control char":     {sqs.SendMessageInput{MessageBody: aws.String("a\x01b"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d")}, "InvalidMessageContents"},
		"empty body":       {sqs.SendMessageInput{MessageBody: aws.String(""), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d")}, "MissingParameter"},
		"reserved attribute": {sqs.SendMessageInput{MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
			MessageAttributes: map[string]types.MessageAttributeValue{"AWS.x": {DataType: aws.String("String"), StringValue: aws.String("v")}}}, "InvalidParameterValue"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.in.QueueUrl = q
			_, err := f.sqs.SendMessage(f.ctx, &tc.in)
			require.Equal(t, tc.want, code(err))
		})
	}
	require.Empty(t, f.receive(q, 10))
}

func TestFaultsPermissionsAndCalls(t *testing.T) {
	faults := localfaults.NewTable(map[string]string{"AKIDTEST": "webhook"})
	f := start(t, localsqs.Config{Faults: faults, Admin: "AKIDADMIN", Allow: awswire.Allow{"AKIDTEST": {"turns.fifo": {"SendMessage"}}}})
	_, err := f.engine.EnsureQueue("turns.fifo", map[string]string{"FifoQueue": "true"})
	require.NoError(t, err)
	q := aws.String(f.engine.URL("http://127.0.0.1:1", "turns.fifo"))
	f.send(q, "g", "1", "x")
	_, err = f.sqs.ReceiveMessage(f.ctx, &sqs.ReceiveMessageInput{QueueUrl: q})
	require.Equal(t, "AccessDenied", code(err))

	require.NoError(t, faults.Add(localfaults.Fault{Service: "sqs", Operation: "SendMessage", Function: "webhook", Error: localfaults.Throttle, Count: 1}))
	in := &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("y"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("2")}
	_, err = f.sqs.SendMessage(f.ctx, in)
	var throttled *types.RequestThrottled
	require.ErrorAs(t, err, &throttled)
	require.NoError(t, faults.Add(localfaults.Fault{Service: "sqs", Error: localfaults.TimeoutAfterCommit, Count: 1}))
	_, err = f.sqs.SendMessage(f.ctx, in)
	require.Error(t, err)
	_, err = f.sqs.SendMessage(f.ctx, in)
	require.NoError(t, err, "the repetition is deduplicated")
	messages, err := f.engine.Messages("turns.fifo", 0)
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Equal(t, 4, f.engine.Calls()[awswire.Call{Principal: "AKIDTEST", Operation: "SendMessage"}])
}
