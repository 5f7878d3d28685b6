package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	ledgerWorkers = 16
	ledgerOrgs    = 100
	ledgerHold    = 1000
	ledgerCost    = 100
	// ledgerCalls bounds one figure.
	ledgerCalls = 20_000
	// settleBatch is what the stream delivers at most at once.
	settleBatch = 100
)

// ledgerBench is the ledger on an engine of its own, whose streams nobody reads.
type ledgerBench struct {
	client *dynamodb.Client
	ledger *credit.Ledger
	store  *dynamo.LedgerStore
	bares  int
	table  string
	time   time.Duration
	orgs   []string
	r      *report
}

// ledger measures the ledger's steps on the real engine, against one plain
// conditional write. The engine is a fresh one: DynamoDB Local spends up to
// twenty times as much on a write to a new table when other tables' streams have
// grown (measured 2026-11).
func ledger(ctx context.Context, o options, p plan, r *report) (err error) {
	engine, err := ddblocal.Start(ctx, ddblocal.Options{
		Emulator: filepath.Join(o.root, "node_modules", "amplify-dynamodb-simulator", "emulator"),
		InMemory: true, CacheDir: filepath.Join(o.root, "build", "ddblocal"),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	names := dynamo.Tables{}
	for _, s := range table.Specs() {
		names[s.Role] = "bench-" + string(s.Role)
	}
	client := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String(engine.URL),
		Credentials: credentials.NewStaticCredentialsProvider(stack.AdminKey, "local", "")})
	if _, err := ddblocal.EnsureTables(ctx, client, stack.TableSpecs(names)); err != nil {
		return err
	}
	db, err := dynamo.New(client, names)
	if err != nil {
		return err
	}
	b := &ledgerBench{client: client, store: db.Ledger(), ledger: credit.New(db.Ledger(), credit.Options{}), table: names[table.Ledger], time: p.ledger, r: r}
	if err := b.open(ctx); err != nil {
		return err
	}
	base, err := b.rate(ctx, "one conditional PutItem (baseline)", 1, 0, func(ctx context.Context, n int) error {
		_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(b.table), ConditionExpression: aws.String("attribute_not_exists(#pk)"),
			ExpressionAttributeNames: map[string]string{"#pk": table.PK},
			Item: map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: fmt.Sprintf("BENCH#%d", n)},
				table.SK: &types.AttributeValueMemberS{Value: "X"}}})
		return err
	})
	if err != nil {
		return err
	}
	if err := b.steps(ctx, base); err != nil {
		return err
	}
	return b.matrix(ctx, p)
}

func (b *ledgerBench) open(ctx context.Context) error {
	now := time.Now().UTC()
	for i := range ledgerOrgs {
		org := fmt.Sprintf("bench%d", i)
		b.orgs = append(b.orgs, org)
		if err := b.ledger.OpenAccount(ctx, org, now); err != nil {
			return err
		}
		if _, err := b.ledger.Grant(ctx, credit.GrantRequest{Org: org, Kind: taxonomy.Purchased, Amount: orgCredits, IdempotencyKey: "bench", Now: now}); err != nil {
			return err
		}
	}
	return nil
}

// steps measures reserve, used and settle in turn, each over what the step
// before left behind.
func (b *ledgerBench) steps(ctx context.Context, base float64) error {
	var mu sync.Mutex
	var holds []credit.Hold
	reserve := func(prefix string, orgs []string) func(context.Context, int) error {
		return func(ctx context.Context, n int) error {
			h, err := b.reserve(ctx, orgs[n%len(orgs)], fmt.Sprintf("%s%d", prefix, n), 1)
			if err == nil {
				mu.Lock()
				holds = append(holds, h)
				mu.Unlock()
			}
			return err
		}
	}
	if _, err := b.rate(ctx, "reserve, 1 caller", 1, base, reserve("a", b.orgs[:1])); err != nil {
		return err
	}
	if _, err := b.rate(ctx, fmt.Sprintf("reserve, %d callers, 1 org", ledgerWorkers), ledgerWorkers, base, reserve("b", b.orgs[:1])); err != nil {
		return err
	}
	if _, err := b.rate(ctx, fmt.Sprintf("reserve, %d callers, %d orgs", ledgerWorkers, ledgerOrgs), ledgerWorkers, base, reserve("c", b.orgs)); err != nil {
		return err
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	var reported []credit.Used
	taken := holds
	if _, err := b.rate(ctx, "record usage, 1 caller", 1, base, func(ctx context.Context, n int) error {
		if n >= len(taken) {
			return errDone
		}
		u, err := b.used(ctx, taken[n], at)
		if err == nil {
			reported = append(reported, u)
		}
		return err
	}); err != nil {
		return err
	}
	return b.settle(ctx, base, reported)
}

// errDone ends a figure that has used up what there was.
var errDone = errors.New("bench: nothing is left to measure with")

func (b *ledgerBench) reserve(ctx context.Context, org, request string, shards int) (credit.Hold, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return b.ledger.Reserve(ctx, credit.ReserveRequest{Org: org, Request: request, Attempt: 1, Owner: "o" + request, Hold: ledgerHold,
		Fingerprint: sha256.Sum256([]byte(request)), Now: now, Expires: now.Add(time.Hour), Provider: "sim", Model: "sim-chat",
		Source: taxonomy.Platform, Rule: "platform", DecisionHash: "bench", PriceVersion: "bench", Decision: []byte(`{"bench":true}`), Shards: shards})
}

func benchUsage() billing.Usage {
	return billing.Usage{InputTokens: 40, OutputTokens: 90, Requests: 1, Source: billing.FromProvider}
}

func (b *ledgerBench) used(ctx context.Context, h credit.Hold, at time.Time) (credit.Used, error) {
	u := benchUsage()
	if err := b.ledger.Used(ctx, h, credit.Outcome{Usage: u, Amount: ledgerCost, Kind: credit.Completed, Status: 200, At: at}); err != nil {
		return credit.Used{}, err
	}
	if at.Before(h.Created) {
		at = h.Created
	}
	return credit.Used{Org: h.Org, Request: h.Request, Attempt: h.Attempt, Shard: h.Shard, Hold: h.Amount, Amount: ledgerCost, Kind: credit.Completed,
		Usage: u, At: at, Source: taxonomy.Platform, PriceVersion: "bench", Provider: "sim", Model: "sim-chat"}, nil
}

// settle runs the settlement in batches as the stream delivers them.
func (b *ledgerBench) settle(ctx context.Context, base float64, reported []credit.Used) error {
	began, settled := time.Now(), 0
	for len(reported) > 0 && time.Since(began) < b.time && ctx.Err() == nil {
		n := min(settleBatch, len(reported))
		rep := b.ledger.Settle(ctx, reported[:n], time.Now().UTC())
		if rep.Settled != n {
			return fmt.Errorf("settle: %d of %d, %d poison, %d undecided", rep.Settled, n, rep.Poisoned, rep.Undecided)
		}
		settled, reported = settled+n, reported[n:]
	}
	b.note(fmt.Sprintf("settle, batches of %d", settleBatch), settled, time.Since(began), base, nil)
	return nil
}

// rate calls f for a while and notes how often a second it succeeded. A full
// ledger store may refuse under contention; those are counted by code.
func (b *ledgerBench) rate(ctx context.Context, name string, workers int, base float64, f func(context.Context, int) error) (float64, error) {
	var mu sync.Mutex
	next, ok := 0, 0
	refused := map[string]int{}
	began := time.Now()
	var failed error
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil || next >= ledgerCalls || time.Since(began) >= b.time || ctx.Err() != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n, more := take(); more; n, more = take() {
				err := f(ctx, n)
				mu.Lock()
				switch {
				case err == nil:
					ok++
				case fault.CodeOf(err) == fault.LedgerUnavailable:
					refused[string(fault.LedgerUnavailable)]++
				case failed == nil:
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil && !errors.Is(failed, errDone) {
		return 0, fmt.Errorf("%s: %w", name, failed)
	}
	return b.note(name, ok, time.Since(began), base, refused), nil
}

func (b *ledgerBench) note(name string, n int, took time.Duration, base float64, refused map[string]int) float64 {
	rate := float64(n) / took.Seconds()
	row := ledgerRow{Step: name, Count: n, PerSecond: round2(rate), Refused: refused}
	if base > 0 {
		row.OfBase = round2(rate / base)
	}
	b.r.Ledger = append(b.r.Ledger, row)
	return rate
}
