package streampoll

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

const testARN = "arn:aws:dynamodb:us-east-1:000000000000:table/ledger/stream/2026-11-21T00:00:00.000"

// fakeStream serves scripted shards; iterators are "shard:index".
type fakeStream struct {
	mu     sync.Mutex
	shards []fakeShard
	errs   []error // returned by the next GetRecords calls
	starts []string
	reads  int
}

type fakeShard struct {
	id, parent string
	records    []types.Record
	closed     bool
}

func (f *fakeStream) DescribeStream(_ context.Context, in *dynamodbstreams.DescribeStreamInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// One shard per page, so that paging is exercised.
	i := 0
	for n, s := range f.shards {
		if s.id == aws.ToString(in.ExclusiveStartShardId) {
			i = n + 1
		}
	}
	d := &types.StreamDescription{}
	if i < len(f.shards) {
		s := f.shards[i]
		shard := types.Shard{ShardId: aws.String(s.id)}
		if s.parent != "" {
			shard.ParentShardId = aws.String(s.parent)
		}
		d.Shards = []types.Shard{shard}
		if i+1 < len(f.shards) {
			d.LastEvaluatedShardId = aws.String(s.id)
		}
	}
	return &dynamodbstreams.DescribeStreamOutput{StreamDescription: d}, nil
}

func (f *fakeStream) GetShardIterator(_ context.Context, in *dynamodbstreams.GetShardIteratorInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts = append(f.starts, string(in.ShardIteratorType)+" "+aws.ToString(in.SequenceNumber))
	index := 0
	for _, s := range f.shards {
		if s.id != *in.ShardId || in.ShardIteratorType != types.ShardIteratorTypeAfterSequenceNumber {
			continue
		}
		for i, r := range s.records {
			if *r.Dynamodb.SequenceNumber == *in.SequenceNumber {
				index = i + 1
			}
		}
	}
	return &dynamodbstreams.GetShardIteratorOutput{ShardIterator: aws.String(*in.ShardId + ":" + strconv.Itoa(index))}, nil
}

func (f *fakeStream) GetRecords(_ context.Context, in *dynamodbstreams.GetRecordsInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	id, at, _ := strings.Cut(*in.ShardIterator, ":")
	index, _ := strconv.Atoi(at)
	for _, s := range f.shards {
		if s.id != id {
			continue
		}
		page := s.records[index:min(len(s.records), index+int(*in.Limit))]
		out := &dynamodbstreams.GetRecordsOutput{Records: page}
		if !s.closed || index+len(page) < len(s.records) {
			out.NextShardIterator = aws.String(id + ":" + strconv.Itoa(index+len(page)))
		}
		return out, nil
	}
	return nil, &types.ResourceNotFoundException{}
}

func (f *fakeStream) add(shard int, records ...types.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shards[shard].records = append(f.shards[shard].records, records...)
}

func (f *fakeStream) readCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

// rec is a MODIFY of item key with a state and a sequence number.
func rec(sequence int, key, state string) types.Record {
	return types.Record{
		EventID: aws.String(fmt.Sprintf("event-%d", sequence)), EventName: types.OperationTypeModify,
		EventVersion: aws.String("1.1"), AwsRegion: aws.String("ddblocal"),
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Now().Truncate(time.Second)),
			Keys:                        map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: key}},
			NewImage: map[string]types.AttributeValue{
				"pk": &types.AttributeValueMemberS{Value: key}, "st": &types.AttributeValueMemberS{Value: state},
			},
			SequenceNumber: aws.String(seq(sequence)), SizeBytes: aws.Int64(10), StreamViewType: types.StreamViewTypeNewAndOldImages,
		},
	}
}

func seq(n int) string { return fmt.Sprintf("%05d", n) }

func recs(from, to int) []types.Record {
	var out []types.Record
	for n := from; n <= to; n++ {
		out = append(out, rec(n, "k"+strconv.Itoa(n%3), "USED"))
	}
	return out
}

// function is a scripted Lambda: it records every batch and asks the script.
type function struct {
	mu      sync.Mutex
	batches [][]string
	done    map[string]int // how often a record was part of what succeeded
	script  func(batch []string) (payload, functionError string, err error)
}

func (f *function) invoke(_ context.Context, _ string, event []byte) ([]byte, string, error) {
	batch := sequences(event)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, batch)
	var payload, functionError string
	var err error
	if f.script != nil {
		payload, functionError, err = f.script(batch)
	}
	if err == nil && functionError == "" {
		if f.done == nil {
			f.done = map[string]int{}
		}
		for _, s := range batch {
			if strings.Contains(payload, `"`+s+`"`) {
				break
			}
			f.done[s]++
		}
	}
	return []byte(payload), functionError, err
}

func (f *function) seen() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([][]string(nil), f.batches...)
}

func (f *function) succeeded() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.done)
}

func sequences(event []byte) []string {
	var e struct {
		Records []struct {
			Dynamodb struct{ SequenceNumber string }
		}
	}
	if err := json.Unmarshal(event, &e); err != nil {
		panic(err)
	}
	var out []string
	for _, r := range e.Records {
		out = append(out, r.Dynamodb.SequenceNumber)
	}
	return out
}

func failure(sequences ...string) string {
	type item struct {
		ID string `json:"itemIdentifier"`
	}
	items := []item{}
	for _, s := range sequences {
		items = append(items, item{s})
	}
	data, _ := json.Marshal(map[string]any{"batchItemFailures": items})
	return string(data)
}

type throttle struct{}

func (throttle) Error() string   { return "429" }
func (throttle) Throttled() bool { return true }

// harness runs a poller over a fake stream.
type harness struct {
	t       testing.TB
	stream  *fakeStream
	fn      *function
	clock   *clock.Clock
	mapping Mapping
	state   string
	poller  *Poller
	stop    func()
}

func newHarness(t testing.TB, m Mapping, records ...types.Record) *harness {
	m.StreamARN, m.Function = testARN, "settle"
	if m.FailureDestination == "" {
		m.FailureDestination = t.TempDir()
	}
	return &harness{
		t: t, mapping: m, fn: &function{}, clock: &clock.Clock{}, state: t.TempDir(),
		stream: &fakeStream{shards: []fakeShard{{id: "shard-1", records: records}}},
	}
}

func (h *harness) start() {
	h.t.Helper()
	p, err := New(h.mapping, Options{Client: h.stream, Invoke: h.fn.invoke, Clock: h.clock, StateDir: h.state})
	require.NoError(h.t, err)
	h.poller = p
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	h.stop = func() { cancel(); <-ended }
}

// mark is the persisted checkpoint as a new process would read it.
func (h *harness) mark(shard string) shardMark {
	h.t.Helper()
	c, err := openCheckpoints(h.state, &h.mapping)
	require.NoError(h.t, err)
	return c.get(shard)
}

func (h *harness) failures() []Failure {
	h.t.Helper()
	found, err := Failures(h.mapping.FailureDestination)
	require.NoError(h.t, err)
	return found
}

func (f Failure) sequences(t testing.TB) []string {
	var body struct{ Payload string }
	require.NoError(t, json.Unmarshal(f.Body, &body))
	return sequences([]byte(body.Payload))
}
