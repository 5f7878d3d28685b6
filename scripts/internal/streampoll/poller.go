package streampoll

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// maxShards bounds one listing; DynamoDB Local has one shard per four hours.
const maxShards = 10_000

// Poller runs one mapping. Its methods are safe for concurrent use; Run may be
// called once.
type Poller struct {
	mapping Mapping
	options Options
	filters []*filter
	convert converter
	marks   *checkpoints
	gate    gate
	work    context.Context // of invocations; outlives Run's context by StopGrace

	mu      sync.Mutex
	running map[string]*shard
}

// New checks the mapping and reads its checkpoint; it starts nothing.
func New(m Mapping, o Options) (*Poller, error) {
	if err := m.normalise(); err != nil {
		return nil, err
	}
	if err := o.normalise(); err != nil {
		return nil, err
	}
	filters, err := compileFilters(m.Filters)
	if err != nil {
		return nil, err
	}
	marks, err := openCheckpoints(o.StateDir, &m)
	if err != nil {
		return nil, err
	}
	c := converter{lanes: m.Parallelization}
	c.streamARN, c.region, c.account = o.place(m.StreamARN)
	return &Poller{mapping: m, options: o, filters: filters, convert: c, marks: marks, running: map[string]*shard{}}, nil
}

// Run polls until ctx ends; then it starts nothing more, gives running
// invocations StopGrace and returns nil after the checkpoint is written.
func (p *Poller) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	p.work = work
	stopGrace := context.AfterFunc(ctx, func() {
		sleep(work, p.options.StopGrace)
		cancel()
	})
	defer stopGrace()
	var shards sync.WaitGroup
	ended := make(chan struct{}, 1)
	for failures := 0; ctx.Err() == nil; {
		listed, err := p.list(ctx)
		if err != nil {
			failures++
			if ctx.Err() == nil {
				p.options.Log.Warn("listing the stream's shards failed", "stream", p.mapping.StreamARN, "error", err)
			}
			p.backoff(ctx, failures)
			continue
		}
		failures = 0
		for _, id := range p.startable(listed) {
			s := newShard(p, id)
			p.set(id, s)
			shards.Go(func() {
				p.runShard(ctx, s)
				select {
				case ended <- struct{}{}:
				default:
				}
			})
		}
		timer := time.NewTimer(p.options.DiscoveryInterval)
		select {
		case <-timer.C:
		case <-ended:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	shards.Wait()
	return nil
}

func (p *Poller) runShard(ctx context.Context, s *shard) {
	done := s.run(ctx)
	p.set(s.id, nil)
	if !done {
		return
	}
	mark := p.marks.get(s.id)
	mark.Done = true
	if err := p.marks.set(s.id, mark); err != nil {
		p.options.Log.Error("checkpoint not written; a restart repeats records", "error", err)
	}
}

func (p *Poller) set(id string, s *shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s == nil {
		delete(p.running, id)
	} else {
		p.running[id] = s
	}
}

// list reads all shards of the stream and forgets checkpoints of vanished ones.
func (p *Poller) list(ctx context.Context) ([]types.Shard, error) {
	var shards []types.Shard
	var after *string
	for {
		out, err := p.options.Client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{
			StreamArn: &p.mapping.StreamARN, ExclusiveStartShardId: after,
		})
		if err != nil {
			return nil, err
		}
		shards = append(shards, out.StreamDescription.Shards...)
		after = out.StreamDescription.LastEvaluatedShardId
		if after == nil {
			break
		}
		if len(shards) > maxShards {
			return nil, fmt.Errorf("streampoll: more than %d shards", maxShards)
		}
	}
	listed := map[string]bool{}
	for _, s := range shards {
		listed[aws.ToString(s.ShardId)] = true
	}
	return shards, p.marks.prune(listed)
}

// startable returns shards that are not delivered, not running, and whose
// parent is delivered or no longer listed.
func (p *Poller) startable(listed []types.Shard) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	present := map[string]bool{}
	for _, s := range listed {
		present[aws.ToString(s.ShardId)] = true
	}
	var ids []string
	for _, s := range listed {
		id, parent := aws.ToString(s.ShardId), aws.ToString(s.ParentShardId)
		if p.running[id] != nil || p.marks.get(id).Done {
			continue
		}
		if present[parent] && !p.marks.get(parent).Done {
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// Pause stops reading and invoking at once and returns when no invocation is
// under way, or with ctx's error (the pause stays).
func (p *Poller) Pause(ctx context.Context) error { return p.gate.pause(ctx) }

// Resume ends a pause.
func (p *Poller) Resume() { p.gate.resume() }

// Status is a snapshot of a mapping.
type Status struct {
	Function  string        `json:"function"`
	StreamARN string        `json:"stream_arn"`
	Paused    bool          `json:"paused"`
	Shards    []ShardStatus `json:"shards"`
}

// ShardStatus is a snapshot of a shard that is being read.
type ShardStatus struct {
	ID string `json:"id"`
	// Sequence is the checkpoint, empty before the first record.
	Sequence string `json:"sequence"`
	// Pending counts records read and not finished.
	Pending int `json:"pending"`
}

// Status reports where the mapping stands.
func (p *Poller) Status() Status {
	s := Status{Function: p.mapping.Function, StreamARN: p.mapping.StreamARN, Paused: p.gate.paused(), Shards: []ShardStatus{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, running := range p.running {
		s.Shards = append(s.Shards, ShardStatus{ID: id, Sequence: p.marks.get(id).Sequence, Pending: running.tracker.pending()})
	}
	sort.Slice(s.Shards, func(i, j int) bool { return s.Shards[i].ID < s.Shards[j].ID })
	return s
}

// backoff pauses before attempt n+1; false means ctx ended.
func (p *Poller) backoff(ctx context.Context, n int) bool {
	d := p.options.BackoffMax
	if n < 20 {
		d = min(d, p.options.BackoffBase<<(n-1))
	}
	return sleep(ctx, d/2+time.Duration(rand.Int64N(int64(d/2)+1)))
}
