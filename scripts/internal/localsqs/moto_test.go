package localsqs_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/localsqs"
)

// env is what a contract case works with: a FIFO queue with a dead-letter queue
// after two receives, and a standard queue, all empty.
type env struct {
	c               *sqs.Client
	ctx             context.Context
	name            string
	fifo, dead, std *string
}

func (e env) send(q *string, group, dedup, body string) string {
	in := &sqs.SendMessageInput{QueueUrl: q, MessageBody: &body}
	if group != "" {
		in.MessageGroupId = &group
	}
	if dedup != "" {
		in.MessageDeduplicationId = &dedup
	}
	_, err := e.c.SendMessage(e.ctx, in)
	return code(err)
}

// fill sends messages given as group:body, one after the other.
func (e env) fill(messages ...string) {
	for i, m := range messages {
		group, body, _ := strings.Cut(m, ":")
		e.send(e.fifo, group, "d"+strconv.Itoa(i), body)
	}
}

func (e env) receive(q *string, n int32) []types.Message {
	out, err := e.c.ReceiveMessage(e.ctx, &sqs.ReceiveMessageInput{
		QueueUrl: q, MaxNumberOfMessages: n,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		return []types.Message{{Body: aws.String(code(err))}}
	}
	return out.Messages
}

func (e env) hide(q *string, m types.Message, seconds int32) string {
	_, err := e.c.ChangeMessageVisibility(e.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds})
	return code(err)
}

func (e env) delete(q *string, handle *string) string {
	_, err := e.c.DeleteMessage(e.ctx, &sqs.DeleteMessageInput{QueueUrl: q, ReceiptHandle: handle})
	return code(err)
}

func (e env) counts(q *string) string {
	out, err := e.c.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		return code(err)
	}
	a := out.Attributes
	return a["ApproximateNumberOfMessages"] + "/" + a["ApproximateNumberOfMessagesNotVisible"] + "/" + a["ApproximateNumberOfMessagesDelayed"]
}

// contract is the behaviour both services are held to. want follows the AWS
// documentation; moto, when set, is what moto 5.2.1 does instead, and why says
// what that means.
var contract = []struct {
	name, want, moto, why string
	run                   func(env) string
}{
	{name: "order within a batch", want: "1 2 3", run: func(e env) string {
		e.fill("a:1", "a:2", "b:3")
		return bodies(e.receive(e.fifo, 10))
	}},
	{name: "a group in flight is locked", want: "1 | 3 | ", run: func(e env) string {
		e.fill("a:1", "a:2", "b:3")
		return bodies(e.receive(e.fifo, 1)) + " | " + bodies(e.receive(e.fifo, 1)) + " | " + bodies(e.receive(e.fifo, 1))
	}},
	{name: "a deletion unlocks the group", want: "2", run: func(e env) string {
		e.fill("a:1", "a:2")
		e.delete(e.fifo, e.receive(e.fifo, 1)[0].ReceiptHandle)
		return bodies(e.receive(e.fifo, 1))
	}},
	{name: "visibility 0 gives the same message again", want: "ok 1", run: func(e env) string {
		e.fill("a:1", "a:2")
		return e.hide(e.fifo, e.receive(e.fifo, 1)[0], 0) + " " + bodies(e.receive(e.fifo, 1))
	}},
	{name: "duplicate is accepted and dropped", want: "ok first", run: func(e env) string {
		e.send(e.fifo, "a", "same", "first")
		return e.send(e.fifo, "b", "same", "second") + " " + bodies(e.receive(e.fifo, 10))
	}},
	{name: "duplicate after the deletion", want: "ok ", moto: "ok second",
		why: "moto forgets the id with the message", run: func(e env) string {
			e.send(e.fifo, "a", "same", "first")
			e.delete(e.fifo, e.receive(e.fifo, 1)[0].ReceiptHandle)
			return e.send(e.fifo, "a", "same", "second") + " " + bodies(e.receive(e.fifo, 10))
		}},
	{name: "redrive, and the group goes on", want: "1 1 2 | 1", run: func(e env) string {
		e.fill("a:1", "a:2")
		var got []string
		for range 2 {
			m := e.receive(e.fifo, 1)
			got = append(got, bodies(m))
			e.hide(e.fifo, m[0], 0)
		}
		// moto needs another receive to move a message it looked at.
		for range 3 {
			if m := e.receive(e.fifo, 1); len(m) > 0 {
				got = append(got, bodies(m))
			}
		}
		return strings.Join(got, " ") + " | " + bodies(e.receive(e.dead, 10))
	}},
	{name: "receive count", want: "1 2", run: func(e env) string {
		e.fill("a:1")
		first := e.receive(e.fifo, 1)[0]
		e.hide(e.fifo, first, 0)
		return first.Attributes["ApproximateReceiveCount"] + " " + e.receive(e.fifo, 1)[0].Attributes["ApproximateReceiveCount"]
	}},
	{name: "system attributes", want: "a d0 20", run: func(e env) string {
		e.fill("a:1")
		a := e.receive(e.fifo, 1)[0].Attributes
		return a["MessageGroupId"] + " " + a["MessageDeduplicationId"] + " " + strconv.Itoa(len(a["SequenceNumber"]))
	}},
	{name: "deleting twice", want: "ok ok", run: func(e env) string {
		e.fill("a:1")
		m := e.receive(e.fifo, 1)[0]
		return e.delete(e.fifo, m.ReceiptHandle) + " " + e.delete(e.fifo, m.ReceiptHandle)
	}},
	{name: "deleting with an outdated handle", want: "InvalidParameterValue", moto: "ok",
		why: "moto deletes a FIFO message with any handle it ever gave out", run: func(e env) string {
			e.fill("a:1")
			m := e.receive(e.fifo, 1)[0]
			e.hide(e.fifo, m, 0)
			e.receive(e.fifo, 1)
			return e.delete(e.fifo, m.ReceiptHandle)
		}},
	{name: "malformed handle", want: "ReceiptHandleIsInvalid", run: func(e env) string {
		return e.delete(e.fifo, aws.String("nonsense"))
	}},
	{name: "visibility above 12 hours", want: "InvalidParameterValue", run: func(e env) string {
		e.fill("a:1")
		return e.hide(e.fifo, e.receive(e.fifo, 1)[0], 43201)
	}},
	{name: "visibility of a message not in flight", want: "MessageNotInflight", moto: "ok", why: "moto hides visible messages too", run: func(e env) string {
		e.send(e.std, "", "", "1")
		m := e.receive(e.std, 1)[0]
		e.hide(e.std, m, 0)
		return strings.TrimPrefix(e.hide(e.std, m, 10), "AWS.SimpleQueueService.")
	}},
	{name: "no group", want: "MissingParameter", run: func(e env) string { return e.send(e.fifo, "", "d", "x") }},
	{name: "no deduplication id", want: "InvalidParameterValue", run: func(e env) string { return e.send(e.fifo, "a", "", "x") }},
	{name: "1 MiB", want: "ok", run: func(e env) string { return e.send(e.fifo, "a", "d", strings.Repeat("x", 1<<20)) }},
	{name: "above 1 MiB", want: "InvalidParameterValue", run: func(e env) string { return e.send(e.fifo, "a", "d", strings.Repeat("x", 1<<20+1)) }},
	{name: "no such queue", want: "AWS.SimpleQueueService.NonExistentQueue", run: func(e env) string {
		return e.send(aws.String(*e.std+"none"), "", "", "x")
	}},
	{name: "counts", want: "1/1/1", run: func(e env) string {
		e.send(e.std, "", "", "1")
		e.send(e.std, "", "", "2")
		e.receive(e.std, 1)
		_, _ = e.c.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: e.std, MessageBody: aws.String("3"), DelaySeconds: 60})
		return e.counts(e.std)
	}},
	{name: "purge", want: "0/0/0", run: func(e env) string {
		e.fill("a:1", "b:2")
		e.receive(e.fifo, 1)
		if _, err := e.c.PurgeQueue(e.ctx, &sqs.PurgeQueueInput{QueueUrl: e.fifo}); err != nil {
			return code(err)
		}
		return e.counts(e.fifo)
	}},
	{name: "attributes' digest", want: "718aa949c9176b03c8df97738e39a29d 718aa949c9176b03c8df97738e39a29d", run: func(e env) string {
		out, err := e.c.SendMessage(e.ctx, &sqs.SendMessageInput{QueueUrl: e.std, MessageBody: aws.String("x"), MessageAttributes: map[string]types.MessageAttributeValue{
			"trace.id": {DataType: aws.String("String"), StringValue: aws.String("t-1")},
			"bin":      {DataType: aws.String("Binary.png"), BinaryValue: []byte{0, 1, 2}},
			"n":        {DataType: aws.String("Number"), StringValue: aws.String("42")},
		}})
		if err != nil {
			return code(err)
		}
		return *out.MD5OfMessageAttributes + " " + *e.receive(e.std, 1)[0].MD5OfMessageAttributes
	}},
	{name: "empty batch", want: "AWS.SimpleQueueService.EmptyBatchRequest", run: func(e env) string {
		_, err := e.c.SendMessageBatch(e.ctx, &sqs.SendMessageBatchInput{QueueUrl: e.std, Entries: []types.SendMessageBatchRequestEntry{}})
		return code(err)
	}},
	{name: "equal ids in a batch", want: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", run: func(e env) string {
		entry := types.SendMessageBatchRequestEntry{Id: aws.String("a"), MessageBody: aws.String("x")}
		_, err := e.c.SendMessageBatch(e.ctx, &sqs.SendMessageBatchInput{QueueUrl: e.std, Entries: []types.SendMessageBatchRequestEntry{entry, entry}})
		return code(err)
	}},
	{name: "creating again with other attributes", want: "QueueAlreadyExists", run: func(e env) string {
		_, err := e.c.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: aws.String(e.name), Attributes: map[string]string{"VisibilityTimeout": "77"}})
		return code(err)
	}},
	{name: "creating again", want: "ok", run: func(e env) string {
		_, err := e.c.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: aws.String(e.name)})
		return code(err)
	}},
	{name: "name without suffix", want: "InvalidParameterValue", run: func(e env) string {
		_, err := e.c.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: aws.String(e.name + "x"), Attributes: map[string]string{"FifoQueue": "true"}})
		return code(err)
	}},
	{name: "unknown attribute", want: "InvalidAttributeName", run: func(e env) string {
		_, err := e.c.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: e.std, AttributeNames: []types.QueueAttributeName{"Colour"}})
		return code(err)
	}},
	{name: "dead-letter queue of another type", want: "InvalidParameterValue", moto: "ok", why: "moto does not compare the types", run: func(e env) string {
		arn, err := e.c.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: e.dead, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
		if err != nil {
			return code(err)
		}
		_, err = e.c.SetQueueAttributes(e.ctx, &sqs.SetQueueAttributesInput{QueueUrl: e.std, Attributes: map[string]string{
			"RedrivePolicy": `{"deadLetterTargetArn":"` + arn.Attributes["QueueArn"] + `","maxReceiveCount":3}`,
		}})
		return code(err)
	}},
}

// newEnv makes queues for one attempt at a case.
func newEnv(c *sqs.Client) (env, error) {
	// Random, because moto keeps the queues of earlier runs.
	e := env{c: c, ctx: context.Background(), name: "c-" + awswire.NewID()}
	create := func(name string, attributes map[string]string) (*string, error) {
		out, err := c.CreateQueue(e.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			return nil, err
		}
		return out.QueueUrl, nil
	}
	var err error
	if e.std, err = create(e.name, nil); err != nil {
		return e, err
	}
	if e.dead, err = create(e.name+"-dead.fifo", map[string]string{"FifoQueue": "true"}); err != nil {
		return e, err
	}
	arn, err := c.GetQueueAttributes(e.ctx, &sqs.GetQueueAttributesInput{QueueUrl: e.dead, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
	if err != nil {
		return e, err
	}
	e.fifo, err = create(e.name+".fifo", map[string]string{
		"FifoQueue": "true", "RedrivePolicy": `{"deadLetterTargetArn":"` + arn.Attributes["QueueArn"] + `","maxReceiveCount":2}`,
	})
	return e, err
}

// watched is an HTTP client that reads each answer whole and remembers whether
// one was lost.
type watched struct{ lost bool }

// Do implements the SDK's HTTPClient.
func (w *watched) Do(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.lost = true
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // read above
	if err != nil {
		w.lost = true
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// runContract runs every case with queues of its own against one service. moto's
// development server now and then loses a connection on a busy machine: a case
// that met that is begun anew, with other queues, at most three times.
func runContract(t *testing.T, url string, moto bool) {
	for _, tc := range contract {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if moto && tc.moto != "" {
				want = tc.moto
			}
			got := ""
			for range 3 {
				w := &watched{}
				e, err := newEnv(sqs.New(client(url, "AKIDTEST").Options(), func(o *sqs.Options) { o.HTTPClient = w }))
				if got = code(err); err == nil {
					got = tc.run(e)
				}
				if !moto || !w.lost {
					break
				}
			}
			require.Equal(t, want, got, tc.why)
		})
	}
}

func TestContractHere(t *testing.T) {
	e, err := localsqs.New(localsqs.Config{})
	require.NoError(t, err)
	ts := httptest.NewServer(e)
	defer ts.Close()
	runContract(t, ts.URL, false)
}

// TestContractMoto runs the same cases against moto, an implementation by other
// people. Where it differs on purpose of the table, the difference is data.
func TestContractMoto(t *testing.T) {
	url := os.Getenv("LATCHKEY_TEST_MOTO_URL")
	if url == "" {
		t.Skip("LATCHKEY_TEST_MOTO_URL is not set; ./scripts/test starts moto and sets it")
	}
	runContract(t, url, true)
}
