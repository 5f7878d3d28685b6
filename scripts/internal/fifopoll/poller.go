// Package fifopoll is the event source mapping between an SQS FIFO queue and a
// function, as AWS Lambda runs it, for the local stack.
//
// Guarantees: a message is deleted only after the function succeeded with it;
// a failed one stays in the queue until its visibility timeout ends, which the
// function may have changed itself; batches of one group never run at the same
// time, because the queue hands out no message of a group that has one in
// flight; at most MaxConcurrency invocations run at once.
//
// Flow: [Poller.Run] keeps one long poll open while a slot is free and invokes
// the function with what it receives; the response decides what is deleted.
//
// An unreadable response, an empty id or an id that is not in the batch makes
// the whole batch fail, as on AWS. A throttled invocation is repeated for
// ThrottleWait, then the message is left to its visibility timeout.
//
// Not imitated: standard queues, batching windows, filters, provisioned pollers,
// the ramp-up of concurrency, splitting of events above 6 MB. A message received
// by a long poll that the stop interrupts on the wire waits for its visibility
// timeout, as after a crash.
package fifopoll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	backoffBase    = 100 * time.Millisecond
	backoffMax     = 5 * time.Second
	deleteAttempts = 5
)

// Invoke calls a function synchronously. functionError is non-empty when the
// function itself failed, payload is its response. An err with a method
// `Throttled() bool` that answers true is a 429. It must be safe for concurrent
// use.
type Invoke func(ctx context.Context, function string, event []byte) (payload []byte, functionError string, err error)

// Mapping is one event source mapping. The zero value of a field means its
// default.
type Mapping struct {
	QueueURL string
	// QueueARN appears in the events and gives their region.
	QueueARN string
	Function string
	// BatchSize is at most 10; default 1.
	BatchSize int
	// MaxConcurrency is at most 1000; default 10.
	MaxConcurrency          int
	ReportBatchItemFailures bool
}

// API is what the poller calls; *sqs.Client implements it.
type API interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibility(context.Context, *sqs.ChangeMessageVisibilityInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
}

// Options are the surroundings of a [Poller].
type Options struct {
	Client API
	Invoke Invoke
	// Wait is the length of a long poll in whole seconds, at most 20 s; default 20 s.
	Wait time.Duration
	// ThrottleWait bounds the repetition of a throttled invocation; default 30 s.
	ThrottleWait time.Duration
	// StopGrace is how long a running invocation may continue after Run's
	// context ended; default 5 s.
	StopGrace time.Duration
	Log       *slog.Logger
}

// Poller runs one mapping.
type Poller struct {
	mapping Mapping
	options Options
}

// New checks the mapping; it starts nothing.
func New(m Mapping, o Options) (*Poller, error) {
	if m.QueueURL == "" || m.Function == "" || len(strings.Split(m.QueueARN, ":")) != 6 {
		return nil, errors.New("fifopoll: a mapping needs a queue URL, a queue ARN and a function")
	}
	if o.Client == nil || o.Invoke == nil {
		return nil, errors.New("fifopoll: Options need Client and Invoke")
	}
	setDefault(&m.BatchSize, 1)
	setDefault(&m.MaxConcurrency, 10)
	setDefault(&o.Wait, 20*time.Second)
	setDefault(&o.ThrottleWait, 30*time.Second)
	setDefault(&o.StopGrace, 5*time.Second)
	switch {
	case m.BatchSize < 1 || m.BatchSize > 10:
		return nil, fmt.Errorf("fifopoll: batch size %d is not within 1 and 10", m.BatchSize)
	case m.MaxConcurrency < 1 || m.MaxConcurrency > 1000:
		return nil, fmt.Errorf("fifopoll: concurrency %d is not within 1 and 1000", m.MaxConcurrency)
	case o.Wait < 0 || o.Wait > 20*time.Second || o.Wait%time.Second != 0:
		return nil, fmt.Errorf("fifopoll: long poll of %v is not whole seconds up to 20 s", o.Wait)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Poller{mapping: m, options: o}, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Run polls until ctx ends; then it receives nothing more, gives running
// invocations StopGrace, deletes what they finished and returns nil.
func (p *Poller) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		sleep(work, p.options.StopGrace)
		cancel()
	})
	defer stop()
	var batches sync.WaitGroup
	slots := make(chan struct{}, p.mapping.MaxConcurrency)
	for failures := 0; ; {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		messages, err := p.receive(ctx)
		if ctx.Err() != nil {
			p.giveBack(messages)
			break
		}
		if len(messages) == 0 {
			<-slots
		} else {
			batches.Go(func() {
				defer func() { <-slots }()
				p.handle(ctx, work, messages)
			})
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		p.options.Log.Warn("receiving from the queue failed", "queue", p.mapping.QueueARN, "error", err)
		sleep(ctx, backoff(failures))
	}
	batches.Wait()
	return nil
}

func (p *Poller) receive(ctx context.Context) ([]types.Message, error) {
	out, err := p.options.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &p.mapping.QueueURL, MaxNumberOfMessages: int32(p.mapping.BatchSize),
		WaitTimeSeconds:             int32(p.options.Wait / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// giveBack returns messages that arrived with the stop, so that the next start
// need not wait for their visibility timeout. They may be redelivered only in
// order, so the last one goes back first.
func (p *Poller) giveBack(messages []types.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for i := len(messages) - 1; i >= 0; i-- {
		_, err := p.options.Client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &p.mapping.QueueURL, ReceiptHandle: messages[i].ReceiptHandle, VisibilityTimeout: 0,
		})
		if err != nil {
			p.options.Log.Warn("message not given back", "queue", p.mapping.QueueARN, "error", err)
		}
	}
}

// handle invokes the function with a batch and deletes what succeeded.
func (p *Poller) handle(ctx, work context.Context, messages []types.Message) {
	event, err := p.event(messages)
	if err != nil {
		p.options.Log.Error("event not made", "queue", p.mapping.QueueARN, "error", err)
		return
	}
	payload, functionError, err := p.invoke(ctx, work, event)
	if err != nil || functionError != "" {
		p.options.Log.Warn("batch failed; its messages return after their visibility timeout",
			"function", p.mapping.Function, "messages", len(messages), "function_error", functionError, "error", err)
		return
	}
	if p.mapping.ReportBatchItemFailures {
		messages = succeeded(payload, messages)
	}
	p.delete(work, messages)
}

// invoke repeats throttled invocations for a while; ctx ends the repetition.
func (p *Poller) invoke(ctx, work context.Context, event []byte) ([]byte, string, error) {
	patience := time.NewTimer(p.options.ThrottleWait)
	defer patience.Stop()
	for attempt := 1; ; attempt++ {
		payload, functionError, err := p.options.Invoke(work, p.mapping.Function, event)
		var t interface{ Throttled() bool }
		if !errors.As(err, &t) || !t.Throttled() {
			return payload, functionError, err
		}
		select {
		case <-time.After(backoff(attempt)):
		case <-patience.C:
			return nil, "", err
		case <-ctx.Done():
			return nil, "", err
		}
	}
}

// delete removes messages, repeating what the queue refuses; what is left over
// is delivered again, which a function must expect.
func (p *Poller) delete(ctx context.Context, messages []types.Message) {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle}
	}
	for attempt := 1; len(entries) > 0; attempt++ {
		out, err := p.options.Client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &p.mapping.QueueURL, Entries: entries})
		if err == nil {
			entries = refused(entries, out.Failed)
			if len(entries) == 0 {
				return
			}
			err = fmt.Errorf("%s: %s", aws.ToString(out.Failed[0].Code), aws.ToString(out.Failed[0].Message))
		}
		if attempt == deleteAttempts || !sleep(ctx, backoff(attempt)) {
			p.options.Log.Error("messages not deleted; they will be delivered again",
				"queue", p.mapping.QueueARN, "messages", len(entries), "error", err)
			return
		}
	}
}

func refused(entries []types.DeleteMessageBatchRequestEntry, failed []types.BatchResultErrorEntry) []types.DeleteMessageBatchRequestEntry {
	var left []types.DeleteMessageBatchRequestEntry
	for _, e := range entries {
		for _, f := range failed {
			if aws.ToString(f.Id) == aws.ToString(e.Id) {
				left = append(left, e)
			}
		}
	}
	return left
}

// backoff is the pause after failure n, doubling, with jitter.
func backoff(n int) time.Duration {
	d := backoffMax
	if n < 10 {
		d = min(d, backoffBase<<(n-1))
	}
	return d/2 + rand.N(d/2)
}

// sleep waits; false means ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
