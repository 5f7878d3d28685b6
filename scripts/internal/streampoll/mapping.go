package streampoll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

// Values of [Mapping.MaxRetries] besides a positive count.
const (
	// Unlimited retries until the record is too old, the AWS default.
	Unlimited = -1
	// NoRetries sends a failed batch to the failure destination at once.
	NoRetries = -2
)

// Invoke calls a function synchronously. functionError is non-empty when the
// function itself failed, payload is its response. An err with a method
// `Throttled() bool` that answers true is a 429: it is repeated and not counted.
// Any other err counts as a failed attempt. It must be safe for concurrent use.
type Invoke func(ctx context.Context, function string, event []byte) (payload []byte, functionError string, err error)

// Mapping is one event source mapping. The zero value of a field means its
// default.
type Mapping struct {
	StreamARN string
	Function  string
	// BatchSize is at most 10,000; default 100.
	BatchSize int
	// Window is how long an incomplete batch waits for more records; default
	// none, at most 300 s.
	Window time.Duration
	// MaxRetries counts invocations after the first; default 8.
	MaxRetries int
	// MaxRecordAge sends older records to the failure destination; default none.
	MaxRecordAge            time.Duration
	BisectOnError           bool
	ReportBatchItemFailures bool
	// Filters are event patterns in JSON over one record; a record is delivered
	// if any matches. None delivers everything.
	Filters []string
	// Parallelization is the number of lanes per shard, at most 10; default 1.
	Parallelization int
	// FailureDestination is a directory standing for an S3 bucket. Without it
	// discarded records are only logged.
	FailureDestination string
}

// API is what the poller calls; *dynamodbstreams.Client implements it.
type API interface {
	DescribeStream(context.Context, *dynamodbstreams.DescribeStreamInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error)
	GetShardIterator(context.Context, *dynamodbstreams.GetShardIteratorInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error)
	GetRecords(context.Context, *dynamodbstreams.GetRecordsInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error)
}

// Options are the surroundings of a [Poller].
type Options struct {
	Client API
	Invoke Invoke
	Clock  *clock.Clock
	// Region and Account replace those of the stream ARN in events and failure
	// objects, because the engine calls its region "ddblocal"; empty keeps them.
	Region, Account string
	// StateDir holds one checkpoint file per mapping; it is created.
	StateDir string
	// PollInterval is the pause after an empty read; default 250 ms. After
	// records the next read follows at once.
	PollInterval time.Duration
	// DiscoveryInterval is the pause between looks for new shards; default 5 s.
	DiscoveryInterval time.Duration
	// BackoffBase and BackoffMax bound the pause before a retry, which doubles
	// and varies at random between its half and its whole; default 200 ms, 5 s.
	BackoffBase, BackoffMax time.Duration
	// StopGrace is how long a running invocation may continue after Run's
	// context ended; default 5 s.
	StopGrace time.Duration
	Log       *slog.Logger
}

func (m *Mapping) normalise() error {
	if m.StreamARN == "" || m.Function == "" {
		return errors.New("streampoll: a mapping needs a stream ARN and a function")
	}
	if len(strings.Split(m.StreamARN, ":")) < 6 {
		return fmt.Errorf("streampoll: %q is not a stream ARN", m.StreamARN)
	}
	setDefault(&m.BatchSize, 100)
	setDefault(&m.Parallelization, 1)
	setDefault(&m.MaxRetries, 8)
	switch {
	case m.BatchSize < 1 || m.BatchSize > 10_000:
		return fmt.Errorf("streampoll: batch size %d is not within 1 and 10000", m.BatchSize)
	case m.Parallelization < 1 || m.Parallelization > 10:
		return fmt.Errorf("streampoll: parallelization %d is not within 1 and 10", m.Parallelization)
	case m.Window < 0 || m.Window > 300*time.Second:
		return fmt.Errorf("streampoll: batching window %v is not within 0 and 300s", m.Window)
	case m.MaxRetries < NoRetries || m.MaxRetries > 10_000:
		return fmt.Errorf("streampoll: %d retries are not within 0 and 10000", m.MaxRetries)
	case m.MaxRecordAge < 0:
		return fmt.Errorf("streampoll: maximum record age %v is negative", m.MaxRecordAge)
	}
	return nil
}

func (o *Options) normalise() error {
	if o.Client == nil || o.Invoke == nil || o.Clock == nil || o.StateDir == "" {
		return errors.New("streampoll: Options need Client, Invoke, Clock and StateDir")
	}
	setDefault(&o.PollInterval, 250*time.Millisecond)
	setDefault(&o.DiscoveryInterval, 5*time.Second)
	setDefault(&o.BackoffBase, 200*time.Millisecond)
	setDefault(&o.BackoffMax, 5*time.Second)
	setDefault(&o.StopGrace, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// exhausted reports whether a batch that failed so often is given up.
func (m *Mapping) exhausted(failures int) bool {
	switch m.MaxRetries {
	case Unlimited:
		return false
	case NoRetries:
		return failures > 0
	}
	return failures > m.MaxRetries
}

// place gives the stream ARN, region and account that the function sees.
func (o *Options) place(streamARN string) (arn, region, account string) {
	parts := strings.SplitN(streamARN, ":", 6)
	if o.Region != "" {
		parts[3] = o.Region
	}
	if o.Account != "" {
		parts[4] = o.Account
	}
	return strings.Join(parts, ":"), parts[3], parts[4]
}

// throttled recognises a 429 without knowing the caller's error type.
func throttled(err error) bool {
	var t interface{ Throttled() bool }
	return errors.As(err, &t) && t.Throttled()
}
