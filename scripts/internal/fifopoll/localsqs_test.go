package fifopoll

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/localsqs"
)

// TestAgainstTheLocalQueue runs the poller over the real SDK client and the
// stack's own queue: order per group, redelivery after a visibility that the
// function set, and the dead-letter queue.
func TestAgainstTheLocalQueue(t *testing.T) {
	engine, err := localsqs.New(localsqs.Config{})
	require.NoError(t, err)
	server := httptest.NewServer(engine)
	t.Cleanup(func() { server.Close(); engine.Close() })
	_, err = engine.EnsureQueue("dead.fifo", map[string]string{"FifoQueue": "true"})
	require.NoError(t, err)
	arn, err := engine.EnsureQueue("turns.fifo", map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": "30",
		"RedrivePolicy": `{"deadLetterTargetArn":"` + engine.ARN("dead.fifo") + `","maxReceiveCount":3}`,
	})
	require.NoError(t, err)
	client := sqs.New(sqs.Options{
		BaseEndpoint: &server.URL, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	url := engine.URL(server.URL, "turns.fifo")
	for _, m := range [][2]string{{"a", "a1"}, {"bad", "b1"}, {"a", "a2"}, {"bad", "b2"}, {"a", "a3"}} {
		_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &url, MessageGroupId: &m[0], MessageDeduplicationId: &m[1], MessageBody: &m[1],
			MessageAttributes: map[string]types.MessageAttributeValue{"k": {DataType: aws.String("String"), StringValue: aws.String("v")}},
		})
		require.NoError(t, err)
	}
	fn, bodies := &function{}, make(chan string, 100)
	fn.script = func(batch []string) (string, string, error) {
		fn.mu.Lock()
		m := fn.last.Records[0]
		fn.mu.Unlock()
		bodies <- m.Body
		if m.Body != "b1" {
			return "", "", nil
		}
		_, err := client.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: &m.ReceiptHandle, VisibilityTimeout: 0})
		require.NoError(t, err)
		return "", "Unhandled", nil
	}
	stop := run(t, client, fn, Mapping{QueueURL: url, QueueARN: arn, MaxConcurrency: 1})
	var got []string
	for len(got) < 7 {
		select {
		case body := <-bodies:
			got = append(got, body)
		case <-time.After(20 * time.Second):
			t.Fatalf("only %v arrived", got)
		}
	}
	stop()
	require.Equal(t, []string{"a1", "a2", "a3"}, only(got, 'a'))
	require.Equal(t, []string{"b1", "b1", "b1", "b2"}, only(got, 'b'))
	require.Equal(t, "v", *fn.last.Records[0].MessageAttributes["k"].StringValue)
	require.NotEmpty(t, fn.last.Records[0].Attributes["SequenceNumber"])
	for _, q := range engine.Queues() {
		left, err := engine.Messages(q.Name, 10)
		require.NoError(t, err)
		require.Len(t, left, map[string]int{"dead.fifo": 1}[q.Name], q.Name)
	}
}

func only(bodies []string, first byte) []string {
	var out []string
	for _, b := range bodies {
		if b[0] == first {
			out = append(out, b)
		}
	}
	return out
}
