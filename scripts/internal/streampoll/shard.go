package streampoll

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// pageSize is the most records one GetRecords call returns.
const pageSize = 1000

// shard reads one shard and feeds its lanes.
type shard struct {
	p        *Poller
	id       string
	iterator string
	read     string // last sequence number read, ahead of the checkpoint
	tracker  *tracker
	lanes    []*lane
}

func newShard(p *Poller, id string) *shard {
	s := &shard{p: p, id: id, read: p.marks.get(id).Sequence}
	s.tracker = &tracker{advance: func(sequence string) {
		if err := p.marks.set(id, shardMark{Sequence: sequence}); err != nil {
			p.options.Log.Error("checkpoint not written; a restart repeats records", "error", err)
		}
	}}
	for range p.mapping.Parallelization {
		s.lanes = append(s.lanes, &lane{p: p, shard: id, tracker: s.tracker, in: make(chan []record)})
	}
	return s
}

// run delivers the shard until it is closed and empty, or ctx ends. The result
// says whether the shard is done for good.
func (s *shard) run(ctx context.Context) bool {
	var lanes sync.WaitGroup
	for _, l := range s.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	closed := s.readAll(ctx)
	for _, l := range s.lanes {
		close(l.in)
	}
	lanes.Wait()
	return closed && ctx.Err() == nil
}

// readAll returns true at the end of a closed shard, false when ctx ended.
func (s *shard) readAll(ctx context.Context) bool {
	failures := 0
	for {
		if !s.p.gate.enter(ctx) {
			return false
		}
		s.p.gate.leave()
		records, last, more, err := s.page(ctx)
		if ctx.Err() != nil {
			return false
		}
		var gone *types.ResourceNotFoundException
		if errors.As(err, &gone) {
			s.p.options.Log.Error("the shard is gone", "shard", s.id)
			return true
		}
		if err != nil {
			failures++
			s.p.options.Log.Warn("reading the stream failed", "shard", s.id, "error", err)
			if !s.p.backoff(ctx, failures) {
				return false
			}
			continue
		}
		failures = 0
		s.read = last
		if !s.dispatch(ctx, records) {
			return false
		}
		if !more {
			return true
		}
		if len(records) == 0 && !sleep(ctx, s.p.options.PollInterval) {
			return false
		}
	}
}

// page reads and converts once, renewing the iterator where needed. last is the
// sequence number to go on from, more is false at the end of a closed shard. A
// page that cannot be converted is an error and read again: skipping would lose
// records.
func (s *shard) page(ctx context.Context) (records []record, last string, more bool, err error) {
	if s.iterator == "" {
		if err := s.renew(ctx); err != nil {
			return nil, s.read, true, err
		}
	}
	out, err := s.p.options.Client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{
		ShardIterator: &s.iterator, Limit: aws.Int32(pageSize),
	})
	if err != nil {
		s.iterator = ""
		// DynamoDB Local now and then calls the horizon of a shard that has just
		// been opened trimmed; nothing was read from it, so nothing is missing.
		fresh := s.read == "" && isTrimmed(err)
		s.forgetTrimmed(err)
		var expired *types.ExpiredIteratorException
		if fresh || errors.As(err, &expired) {
			return nil, s.read, true, nil
		}
		return nil, s.read, true, err
	}
	last = s.read
	offset := s.p.options.Clock.Offset()
	for _, r := range out.Records {
		converted, err := s.p.convert.convert(r, offset)
		if err == nil {
			converted.wanted, err = wanted(s.p.filters, converted.event)
		}
		if err != nil {
			s.iterator = ""
			return nil, s.read, true, err
		}
		last = converted.sequence
		records = append(records, converted)
	}
	s.iterator = aws.ToString(out.NextShardIterator)
	return records, last, s.iterator != "", nil
}

func (s *shard) renew(ctx context.Context) error {
	in := &dynamodbstreams.GetShardIteratorInput{
		StreamArn: &s.p.mapping.StreamARN, ShardId: &s.id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	}
	if s.read != "" {
		in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &s.read
	}
	out, err := s.p.options.Client.GetShardIterator(ctx, in)
	if err != nil {
		s.forgetTrimmed(err)
		return err
	}
	s.iterator = aws.ToString(out.ShardIterator)
	return nil
}

func isTrimmed(err error) bool {
	var trimmed *types.TrimmedDataAccessException
	return errors.As(err, &trimmed)
}

// forgetTrimmed restarts at the oldest record that still exists.
func (s *shard) forgetTrimmed(err error) {
	if s.read != "" && isTrimmed(err) {
		s.p.options.Log.Error("records were trimmed before they were delivered", "shard", s.id, "after", s.read)
		s.read = ""
	}
}

// dispatch hands a page to the lanes; it blocks while a lane is busy, which
// bounds the memory.
func (s *shard) dispatch(ctx context.Context, page []record) bool {
	perLane := make([][]record, len(s.lanes))
	var dropped []int64
	for _, r := range page {
		r.position = s.tracker.add(r.sequence)
		if r.wanted {
			perLane[r.lane] = append(perLane[r.lane], r)
		} else {
			dropped = append(dropped, r.position)
		}
	}
	s.tracker.finish(dropped...)
	for i, records := range perLane {
		if len(records) == 0 {
			continue
		}
		select {
		case s.lanes[i].in <- records:
		case <-ctx.Done():
			return false
		}
	}
	return true
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
