package fifopoll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/stretchr/testify/require"
)

const testARN = "arn:aws:sqs:us-east-1:000000000000:turns.fifo"

// fakeQueue is a FIFO queue in memory with a visibility timeout of one minute.
type fakeQueue struct {
	mu       sync.Mutex
	messages []*fakeMessage
	errs     []error // of the next receives
	refuse   int     // deletes to refuse
	deletes  int
}

type fakeMessage struct {
	id, group string
	hidden    time.Time
	receives  int
}

func (q *fakeQueue) send(group string, ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		q.messages = append(q.messages, &fakeMessage{id: id, group: group})
	}
}

func (q *fakeQueue) left() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := []string{}
	for _, m := range q.messages {
		ids = append(ids, m.id)
	}
	return ids
}

func (q *fakeQueue) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	deadline := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		out, err := q.take(int(in.MaxNumberOfMessages))
		if err != nil || len(out.Messages) > 0 || !time.Now().Before(deadline) {
			return out, err
		}
		if !sleep(ctx, 10*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

func (q *fakeQueue) take(limit int) (*sqs.ReceiveMessageOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.errs) > 0 {
		err := q.errs[0]
		q.errs = q.errs[1:]
		return nil, err
	}
	out, blocked := &sqs.ReceiveMessageOutput{}, map[string]bool{}
	for _, m := range q.messages {
		if m.hidden.After(time.Now()) {
			blocked[m.group] = true
		}
	}
	for _, m := range q.messages {
		if blocked[m.group] || len(out.Messages) == limit {
			continue
		}
		m.hidden = time.Now().Add(time.Minute)
		m.receives++
		out.Messages = append(out.Messages, types.Message{
			MessageId: aws.String(m.id), ReceiptHandle: aws.String("handle-" + m.id), Body: aws.String("body <" + m.id + ">"),
			MD5OfBody: aws.String("md5"), Attributes: map[string]string{"MessageGroupId": m.group, "ApproximateReceiveCount": fmt.Sprint(m.receives)},
			MessageAttributes: map[string]types.MessageAttributeValue{
				"text": {DataType: aws.String("String"), StringValue: aws.String("t")},
				"bin":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
			},
		})
	}
	return out, nil
}

func (q *fakeQueue) DeleteMessageBatch(_ context.Context, in *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deletes++
	out := &sqs.DeleteMessageBatchOutput{}
	for _, e := range in.Entries {
		if q.refuse > 0 {
			q.refuse--
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError")})
			continue
		}
		q.messages = slices.DeleteFunc(q.messages, func(m *fakeMessage) bool { return "handle-"+m.id == *e.ReceiptHandle })
	}
	return out, nil
}

func (q *fakeQueue) ChangeMessageVisibility(_ context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		if "handle-"+m.id == *in.ReceiptHandle {
			m.hidden = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
		}
	}
	return &sqs.ChangeMessageVisibilityOutput{}, nil
}

// function records batches and how many run at once, in total and per group.
type function struct {
	mu         sync.Mutex
	batches    [][]string
	last       events.SQSEvent
	running    int
	mostAtOnce int
	groups     map[string]int
	overlap    bool
	script     func(batch []string) (payload, functionError string, err error)
}

func (f *function) invoke(_ context.Context, _ string, event []byte) ([]byte, string, error) {
	var e events.SQSEvent
	dec := json.NewDecoder(strings.NewReader(string(event)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		panic(err)
	}
	f.mu.Lock()
	if f.groups == nil {
		f.groups = map[string]int{}
	}
	var batch []string
	seen := map[string]bool{}
	for _, m := range e.Records {
		batch = append(batch, m.MessageId)
		if group := m.Attributes["MessageGroupId"]; !seen[group] {
			seen[group] = true
			f.groups[group]++
			f.overlap = f.overlap || f.groups[group] > 1
		}
	}
	f.last, f.batches = e, append(f.batches, batch)
	f.running++
	f.mostAtOnce = max(f.mostAtOnce, f.running)
	script := f.script
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.running--
		for group := range seen {
			f.groups[group]--
		}
	}()
	if script == nil {
		return nil, "", nil
	}
	payload, functionError, err := script(batch)
	return []byte(payload), functionError, err
}

func (f *function) seen() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([][]string(nil), f.batches...)
}

func run(t *testing.T, api API, fn *function, m Mapping) (stop func()) {
	t.Helper()
	m.Function = "turn"
	if m.QueueURL == "" {
		m.QueueURL, m.QueueARN = "queue", testARN
	}
	p, err := New(m, Options{Client: api, Invoke: fn.invoke})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	return func() { cancel(); <-ended }
}

func TestSuccessDeletesInOrderPerGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		q.send("a", "a1", "a2", "a3")
		stop := run(t, q, fn, Mapping{})
		time.Sleep(time.Second)
		stop()
		require.Equal(t, [][]string{{"a1"}, {"a2"}, {"a3"}}, fn.seen())
		require.Empty(t, q.left())
	})
}

func TestGroupsRunInParallelUpToTheLimitAndNeverTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		for n := range 8 {
			group := fmt.Sprint(n)
			q.send(group, group+"x", group+"y")
		}
		fn.script = func([]string) (string, string, error) {
			time.Sleep(time.Second)
			return "", "", nil
		}
		stop := run(t, q, fn, Mapping{MaxConcurrency: 3})
		time.Sleep(20 * time.Second)
		stop()
		require.Equal(t, 3, fn.mostAtOnce)
		require.False(t, fn.overlap)
		require.Empty(t, q.left())
		require.Len(t, fn.seen(), 16)
	})
}

func TestFailureWaitsForItsVisibilityTimeoutAndBlocksOnlyItsGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		q.send("bad", "b1", "b2")
		q.send("good", "g1", "g2")
		failed := false
		fn.script = func(batch []string) (string, string, error) {
			if batch[0] == "b1" && !failed {
				failed = true
				return "", "Unhandled", nil
			}
			return "", "", nil
		}
		stop := run(t, q, fn, Mapping{MaxConcurrency: 1})
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"b1", "b2"}, q.left())
		time.Sleep(40 * time.Second)
		stop()
		require.Equal(t, [][]string{{"b1"}, {"g1"}, {"g2"}, {"b1"}, {"b2"}}, fn.seen())
		require.Empty(t, q.left())
	})
}

func TestVisibilitySetByTheFunctionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		q.send("a", "a1")
		calls := 0
		fn.script = func([]string) (string, string, error) {
			if calls++; calls > 1 {
				return "", "", nil
			}
			q.ChangeMessageVisibility(context.Background(), &sqs.ChangeMessageVisibilityInput{ReceiptHandle: aws.String("handle-a1"), VisibilityTimeout: 2})
			return "", "Unhandled", nil
		}
		stop := run(t, q, fn, Mapping{})
		time.Sleep(3 * time.Second)
		stop()
		require.Len(t, fn.seen(), 2)
		require.Empty(t, q.left())
	})
}

func TestReportedFailures(t *testing.T) {
	item := func(ids ...string) string {
		var items []string
		for _, id := range ids {
			items = append(items, fmt.Sprintf(`{"itemIdentifier":%q}`, id))
		}
		return `{"batchItemFailures":[` + strings.Join(items, ",") + `]}`
	}
	all := []string{"a1", "a2", "a3"}
	cases := map[string]struct {
		payload string
		left    []string
	}{
		"one":           {item("a2"), []string{"a2"}},
		"two":           {item("a3", "a2"), []string{"a2", "a3"}},
		"all":           {item("a1", "a2", "a3"), all},
		"none":          {item(), []string{}},
		"null list":     {`{"batchItemFailures":null}`, []string{}},
		"empty object":  {`{}`, []string{}},
		"null":          {`null`, []string{}},
		"nothing":       {``, []string{}},
		"empty id":      {item(""), all},
		"null id":       {`{"batchItemFailures":[{"itemIdentifier":null}]}`, all},
		"wrong key":     {`{"batchItemFailures":[{"id":"a1"}]}`, all},
		"unknown id":    {item("zz"), all},
		"good, unknown": {item("a1", "zz"), all},
		"not JSON":      {`{`, all},
		"a string":      {`"ok"`, all},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, fn := &fakeQueue{}, &function{}
				q.send("a", all...)
				fn.script = func([]string) (string, string, error) { return c.payload, "", nil }
				stop := run(t, q, fn, Mapping{BatchSize: 3, ReportBatchItemFailures: true})
				time.Sleep(time.Second)
				stop()
				require.Equal(t, c.left, q.left())
				require.Equal(t, [][]string{all}, fn.seen())
			})
		})
	}
	t.Run("ignored when not enabled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, fn := &fakeQueue{}, &function{}
			q.send("a", all...)
			fn.script = func([]string) (string, string, error) { return item("a2"), "", nil }
			stop := run(t, q, fn, Mapping{BatchSize: 3})
			time.Sleep(time.Second)
			stop()
			require.Empty(t, q.left())
		})
	})
}

type throttle struct{}

func (throttle) Error() string   { return "429" }
func (throttle) Throttled() bool { return true }

func TestThrottledInvocationIsRepeatedThenLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		q.send("a", "a1")
		fn.script = func(batch []string) (string, string, error) {
			if len(fn.seen()) < 4 {
				return "", "", fmt.Errorf("invoke: %w", throttle{})
			}
			return "", "", nil
		}
		stop := run(t, q, fn, Mapping{})
		time.Sleep(20 * time.Second)
		require.Empty(t, q.left())
		require.Equal(t, 1, len(slices.Compact(slices.Concat(fn.seen()...))))
		fn.script = func([]string) (string, string, error) { return "", "", throttle{} }
		q.send("a", "a2")
		time.Sleep(40 * time.Second)
		before := len(fn.seen())
		time.Sleep(15 * time.Second)
		require.Len(t, fn.seen(), before, "after ThrottleWait the message rests until it is visible again")
		require.Equal(t, []string{"a2"}, q.left())
		stop()
	})
}

func TestRefusedDeletesAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{refuse: 3}, &function{}
		q.send("a", "a1", "a2")
		stop := run(t, q, fn, Mapping{BatchSize: 2})
		time.Sleep(10 * time.Second)
		stop()
		require.Empty(t, q.left())
		require.Equal(t, 3, q.deletes)
		require.Len(t, fn.seen(), 1)
	})
}

func TestQueueErrorsAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{errs: []error{errors.New("down"), errors.New("down")}}, &function{}
		q.send("a", "a1")
		stop := run(t, q, fn, Mapping{MaxConcurrency: 1})
		time.Sleep(10 * time.Second)
		stop()
		require.Empty(t, q.left())
	})
}

func TestStopFinishesARunningBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, fn := &fakeQueue{}, &function{}
		q.send("a", "a1", "a2")
		fn.script = func([]string) (string, string, error) {
			time.Sleep(3 * time.Second)
			return "", "", nil
		}
		stop := run(t, q, fn, Mapping{MaxConcurrency: 4})
		time.Sleep(time.Second)
		stop()
		require.Equal(t, []string{"a2"}, q.left())
	})
}

func TestMessagesThatArriveWithTheStopGoBack(t *testing.T) {
	q := &fakeQueue{}
	q.send("a", "a1")
	ctx, cancel := context.WithCancel(t.Context())
	p, err := New(Mapping{QueueURL: "queue", QueueARN: testARN, Function: "turn"},
		Options{Client: cancelling{q, cancel}, Invoke: func(context.Context, string, []byte) ([]byte, string, error) {
			t.Error("nothing may be invoked after the stop")
			return nil, "", nil
		}})
	require.NoError(t, err)
	require.NoError(t, p.Run(ctx))
	require.False(t, q.messages[0].hidden.After(time.Now()))
}

// cancelling stops the poller while its receive is on the wire.
type cancelling struct {
	*fakeQueue
	cancel func()
}

func (c cancelling) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	out, err := c.fakeQueue.ReceiveMessage(ctx, in, o...)
	c.cancel()
	return out, err
}

func TestEventIsWhatLambdaSends(t *testing.T) {
	q := &fakeQueue{}
	q.send("g", "m1")
	out, err := q.take(1)
	require.NoError(t, err)
	p, err := New(Mapping{QueueURL: "queue", QueueARN: testARN, Function: "turn"}, Options{Client: q, Invoke: (&function{}).invoke})
	require.NoError(t, err)
	event, err := p.event(out.Messages)
	require.NoError(t, err)
	require.Equal(t, `{"Records":[{"messageId":"m1","receiptHandle":"handle-m1","body":"body <m1>",`+
		`"attributes":{"ApproximateReceiveCount":"1","MessageGroupId":"g"},`+
		`"messageAttributes":{"bin":{"binaryValue":"AP8=","stringListValues":[],"binaryListValues":[],"dataType":"Binary"},`+
		`"text":{"stringValue":"t","stringListValues":[],"binaryListValues":[],"dataType":"String"}},`+
		`"md5OfBody":"md5","eventSource":"aws:sqs","eventSourceARN":"`+testARN+`","awsRegion":"us-east-1"}]}`, string(event))
}

func TestBadMappingsAreRefused(t *testing.T) {
	good := Mapping{QueueURL: "queue", QueueARN: testARN, Function: "turn"}
	options := Options{Client: &fakeQueue{}, Invoke: (&function{}).invoke}
	for want, change := range map[string]func(*Mapping, *Options){
		"queue ARN":    func(m *Mapping, _ *Options) { m.QueueARN = "turns" },
		"batch size":   func(m *Mapping, _ *Options) { m.BatchSize = 11 },
		"concurrency":  func(m *Mapping, _ *Options) { m.MaxConcurrency = 1001 },
		"long poll":    func(_ *Mapping, o *Options) { o.Wait = 1500 * time.Millisecond },
		"Options need": func(_ *Mapping, o *Options) { o.Invoke = nil },
	} {
		m, o := good, options
		change(&m, &o)
		_, err := New(m, o)
		require.ErrorContains(t, err, want)
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"batchItemFailures":[{"itemIdentifier":"a"}]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"batchItemFailures":[{}]}`))
	messages := []types.Message{{MessageId: aws.String("a")}, {MessageId: aws.String("b")}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(succeeded(payload, messages)) > len(messages) {
			t.Fatal("more successes than messages")
		}
	})
}
