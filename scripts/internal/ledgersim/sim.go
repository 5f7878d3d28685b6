// Package ledgersim simulates one busy organisation on DynamoDB as it is
// documented, which the local engine does not imitate: a transaction's items
// refuse all other writes while it runs, a refusal takes a few milliseconds, a
// partition key takes 1,000 write units a second, and each step takes its time.
//
// The ledger in it is the deployed one: shared/credit and shared/dynamo, down to
// the bytes that the AWS SDK sends, with its choice of shards, hops, repeats,
// settlement in batches and measuring of load. Only what stands behind the SDK's
// HTTP client is a model ([Model]); time is virtual, so a run takes seconds and
// depends on its seed alone.
//
// What is assumed and no measurement of AWS: the times of [Assumed], locks over
// whole transactions, arrivals at random (Poisson), calls of 2 to 4 seconds that
// cost a tenth of what they held, [streamShards] stream shards polled every 250 ms
// with records visible after 50 to 200 ms. Not simulated: the reads before a
// reserve, limits of keys, usage rows, lost answers (the tests of shared/dynamo
// have those), splitting of partitions for heat, the account's own limits.
package ledgersim

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Scenario is one run.
type Scenario struct {
	Seed uint64
	// Rate is how many requests a second arrive at a time, over all organisations.
	Rate func(at time.Duration) float64
	// For is how long requests arrive; those before Warm are not counted.
	For, Warm time.Duration
	Orgs      int // one if 0
	// Shards is what the organisations start with; Automatic lets the settlement
	// measure and change it.
	Shards    int
	Automatic bool
	// Hold is what a request holds, Amount what it costs, Funds what an
	// organisation has.
	Hold, Amount, Funds credit.Micro
	Model               Model
}

// Steady is a constant rate.
func Steady(perSecond float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return perSecond }
}

const (
	// streamShards is how many shards the ledger's stream has: a table that takes
	// some thousand writes a second has at least that many partitions.
	streamShards = 8
	streamPoll   = 250 * time.Millisecond
	streamBatch  = 100
	// An environment's clock is not the service's; nothing here depends on it.
	holdLife = 10 * time.Minute
)

// sim is a run in progress.
type sim struct {
	s      Scenario
	c      *clock
	e      *engine
	random *rand.Rand
	store  *dynamo.LedgerStore
	ledger *credit.Ledger
	names  dynamo.Tables
	orgs   []string
	stream [streamShards][]change
	next   int
	r      Result
	// exposed is what callers may have spent: running holds and charges.
	exposed map[string]credit.Micro
	times   []time.Duration
	lag     time.Duration
}

// change is a record of the stream.
type change struct {
	visible time.Duration
	record  events.DynamoDBEventRecord
}

// Run runs a scenario to its end: all calls ended and settled.
func Run(s Scenario) (Result, error) {
	m := newSim(s)
	if err := m.start(context.Background()); err != nil {
		return Result{}, err
	}
	m.c.start(0, m.arrivals)
	for i := range m.stream {
		m.c.start(time.Duration(i)*streamPoll/streamShards, func(_ context.Context, p *process) { m.settle(p, i) })
	}
	m.c.run(s.For + settleLimit)
	defer m.c.end()
	return m.result()
}

func newSim(s Scenario) *sim {
	s.Orgs = max(s.Orgs, 1)
	m := &sim{s: s, c: newClock(), random: rand.New(rand.NewPCG(s.Seed, 74)), names: dynamo.Tables{}, exposed: map[string]credit.Micro{}}
	m.e = newEngine(m.c, s.Model, m.random)
	m.e.written = m.written
	return m
}

// start opens the ledger and what the organisations have in it.
func (m *sim) start(ctx context.Context) error {
	for _, t := range table.Specs() {
		m.names[t.Role] = string(t.Role)
	}
	client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://ledgersim.invalid"), HTTPClient: m.e,
		Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}})
	db, err := dynamo.New(client, m.names)
	if err != nil {
		return err
	}
	chance := func(limit time.Duration) time.Duration { return time.Duration(m.random.Int64N(int64(limit))) }
	m.store = db.WithPace(dynamo.Pace{Wait: wait, Chance: chance, Each: each}).Ledger()
	m.ledger = credit.New(m.store, credit.Options{Wait: wait})
	for i := range m.s.Orgs {
		org := "hot" + strconv.Itoa(i)
		m.orgs = append(m.orgs, org)
		if err := m.ledger.OpenAccount(ctx, org, m.c.time()); err != nil {
			return err
		}
		if _, err := m.ledger.Grant(ctx, credit.GrantRequest{Org: org, Kind: taxonomy.Purchased, Amount: m.s.Funds, IdempotencyKey: "sim", Now: m.c.time()}); err != nil {
			return err
		}
		if err := m.split(ctx, org); err != nil {
			return err
		}
	}
	m.e.reset()
	return nil
}

// settleLimit is how long calls and settlement may go on after the last arrival.
const settleLimit = 30 * time.Second

// arrivals starts a process for every request.
func (m *sim) arrivals(_ context.Context, p *process) {
	for m.c.now < m.s.For {
		rate := max(m.s.Rate(m.c.now), 0.1)
		if !p.sleep(time.Duration(m.random.ExpFloat64() / rate * float64(time.Second))) {
			return
		}
		if m.c.now < m.s.For {
			m.next++
			n := m.next
			m.c.start(0, func(ctx context.Context, p *process) { m.request(ctx, p, n) })
		}
	}
}

// request is one call: reserve, some seconds with the vendor, used.
func (m *sim) request(ctx context.Context, p *process, n int) {
	org, began := m.orgs[n%len(m.orgs)], m.c.now
	hold, err := m.ledger.Reserve(ctx, m.reserveRequest(org, n))
	m.count(p, began, err)
	if err != nil {
		return
	}
	m.expose(org, m.s.Hold)
	if !p.sleep(2*time.Second + time.Duration(m.random.Int64N(int64(2*time.Second)))) {
		return
	}
	err = m.ledger.Used(ctx, hold, credit.Outcome{Usage: billing.Usage{InputTokens: 40, OutputTokens: 90, Requests: 1, Source: billing.FromProvider},
		Amount: m.s.Amount, Kind: credit.Completed, Status: 200, At: m.c.time()})
	if err != nil && processEnded(err) {
		return
	}
	if err != nil {
		m.r.UsedFailed++
		return
	}
	m.expose(org, m.s.Amount-m.s.Hold)
}

func (m *sim) reserveRequest(org string, n int) credit.ReserveRequest {
	now := m.c.time()
	return credit.ReserveRequest{Org: org, Request: "r" + strconv.Itoa(n), Attempt: 1, Owner: strconv.FormatUint(m.random.Uint64(), 36),
		Hold: m.s.Hold, Now: now, Expires: now.Add(holdLife), Provider: "sim", Model: "sim-chat", Source: taxonomy.Platform,
		Rule: "platform", DecisionHash: "sim", PriceVersion: "sim", Decision: []byte(`{"sim":true}`), Shards: m.inUse(org)}
}

// inUse is what the configuration that a request reads says.
func (m *sim) inUse(org string) int {
	return int(m.e.find(m.names[table.Config], table.Shards(org)).it["shards"].n)
}

func (m *sim) expose(org string, by credit.Micro) {
	m.exposed[org] += by
	m.r.Overspend = max(m.r.Overspend, m.exposed[org]-m.s.Funds)
}

func (m *sim) count(p *process, began time.Duration, err error) {
	if processEnded(err) {
		return
	}
	warm := began < m.s.Warm
	m.r.see(began, p.refusals > 0, err, warm, m.inUse(m.orgs[0]))
	if err == nil && !warm {
		m.times = append(m.times, m.c.now-began)
	}
	p.refusals = 0
}

// written watches every write: balances must not fall below zero, and what was
// used goes into the stream.
func (m *sim) written(name string, old, now *record) {
	if name != m.names[table.Ledger] {
		return
	}
	switch now.key.PK[:2] {
	case "A#":
		m.r.Overspend = max(m.r.Overspend, credit.Micro(-now.it["avail"].n))
	case "R#":
		if now.it["st"].text == string(credit.UsedState) && old.it["st"].text != string(credit.UsedState) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(now.key.PK))
			at := int(h.Sum32() % streamShards)
			visible := m.c.now + time.Duration(50+m.random.IntN(151))*time.Millisecond
			m.stream[at] = append(m.stream[at], change{visible, streamRecord(old, now, m.c.time())})
		}
	}
}

func streamRecord(old, now *record, at time.Time) (r events.DynamoDBEventRecord) {
	keys := item{table.PK: now.it[table.PK], table.SK: now.it[table.SK]}
	b, err := json.Marshal(map[string]any{"eventName": "MODIFY", "dynamodb": map[string]any{"ApproximateCreationDateTime": at.Unix(),
		"Keys": keys, "OldImage": old.it, "NewImage": now.it}})
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		panic(fmt.Sprintf("ledgersim: a record of our own cannot be read: %v", err))
	}
	return r
}

// settle polls one shard of the stream.
func (m *sim) settle(p *process, at int) {
	ctx := context.WithValue(context.Background(), processKey{}, p)
	var watch credit.LoadWatch
	for p.sleep(streamPoll) {
		for {
			n := 0
			for n < len(m.stream[at]) && n < streamBatch && m.stream[at][n].visible <= m.c.now {
				n++
			}
			if n == 0 || !m.deliver(ctx, &watch, at, n) {
				break
			}
		}
	}
}

// deliver settles the first n records of a stream shard and reports whether all
// are done; others are delivered again.
func (m *sim) deliver(ctx context.Context, watch *credit.LoadWatch, at, n int) bool {
	batch := m.stream[at][:n]
	used := make([]credit.Used, 0, n)
	for i := range batch {
		c, err := dynamo.DecodeChange(&batch[i].record)
		if err != nil || c.Kind != credit.ChangeUsed {
			panic(fmt.Sprintf("ledgersim: a record of our own means nothing: %v", err))
		}
		used = append(used, c.Used)
		m.lag = max(m.lag, m.c.now-batch[i].visible)
	}
	rep := m.ledger.Settle(ctx, used, m.c.time())
	m.r.Settled += rep.Settled
	m.r.Poisoned += rep.Poisoned
	done := slices.IndexFunc(rep.Verdicts, func(v credit.Verdict) bool { return v.Result == credit.Undecided })
	if done < 0 {
		done = n
	}
	m.stream[at] = m.stream[at][done:]
	if m.s.Automatic {
		now := m.c.time().Truncate(time.Second) // records tell their time by seconds
		for _, b := range watch.Saw(used, now) {
			load, changed, err := m.ledger.Reshape(ctx, b, now)
			watch.Measured(b.Org, load)
			if err != nil {
				m.r.ReshapesFailed++
			} else if changed {
				m.r.Reshapes++
			}
		}
	}
	return done == n
}

func processEnded(err error) bool {
	return err != nil && fault.CodeOf(err) == fault.LedgerUnavailable && fault.As(err).Unwrap() == errEnded
}
