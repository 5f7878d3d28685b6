package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/ledgersim"
	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// shardCell is a number of organisations with a number of balance shards each.
type shardCell struct {
	orgs          []string
	shards        int
	pairs         int
	refused       int
	rates, ratios []float64
}

// matrix measures whole requests, reserve to settled, of one and of many
// organisations with few and many shards. In each round every cell follows a slice
// of bare transactions of the size of a reserve; the round's ratio to it counts.
func (b *ledgerBench) matrix(ctx context.Context, p plan) error {
	var cells []*shardCell
	for _, orgs := range []int{1, ledgerOrgs} {
		for _, shards := range []int{1, 16, credit.MaxShards} {
			c := &shardCell{shards: shards}
			for i := range orgs {
				c.orgs = append(c.orgs, fmt.Sprintf("m%dx%dn%d", orgs, shards, i))
			}
			if err := b.openSharded(ctx, c); err != nil {
				return err
			}
			cells = append(cells, c)
		}
	}
	for round := range p.shardRounds {
		for i, c := range cells {
			bare, err := b.bare(ctx, p.shardSlice)
			if err != nil {
				return err
			}
			rate, err := b.slice(ctx, c, fmt.Sprintf("q%dc%dn", round, i), p.shardSlice)
			if err != nil {
				return fmt.Errorf("%d organisations of %d shards: %w", len(c.orgs), c.shards, err)
			}
			c.rates, c.ratios = append(c.rates, rate), append(c.ratios, rate/bare)
		}
	}
	for _, c := range cells {
		b.r.Shards = append(b.r.Shards, shardRow{Orgs: len(c.orgs), Shards: c.shards, Requests: c.pairs, Refused: c.refused,
			PerSecond: rig.SpreadOf(c.rates), OfBare: rig.SpreadOf(c.ratios)})
	}
	for _, n := range []int{1, 10, 49} {
		units, index, err := ledgersim.Cost(n)
		if err != nil {
			return err
		}
		b.r.Units = append(b.r.Units, unitsRow{Batch: n, Table: round2(units), Index: round2(index)})
	}
	return nil
}

// openSharded opens organisations with their shards. Shards are made a part at a
// time, each with credit from home.
func (b *ledgerBench) openSharded(ctx context.Context, c *shardCell) error {
	now := time.Now().UTC()
	for _, org := range c.orgs {
		if err := b.ledger.OpenAccount(ctx, org, now); err != nil {
			return err
		}
		if _, err := b.ledger.Grant(ctx, credit.GrantRequest{Org: org, Kind: taxonomy.Purchased, Amount: orgCredits, IdempotencyKey: "bench", Now: now}); err != nil {
			return err
		}
		for have := 1; have < c.shards; {
			a, err := b.store.Account(ctx, org)
			if err != nil {
				return err
			}
			have = min(c.shards, len(a.Shards)+64)
			if err := b.store.Split(ctx, a, have, credit.Load{At: now.Add(time.Duration(have-1000) * time.Hour), InUse: c.shards}); err != nil {
				return err
			}
		}
	}
	return nil
}

// slice makes requests for a while and settles them as the stream does. It returns
// how many a second were done from reserve to settled.
func (b *ledgerBench) slice(ctx context.Context, c *shardCell, prefix string, d time.Duration) (float64, error) {
	var mu sync.Mutex
	var done []credit.Used
	began := time.Now()
	err := b.work(ctx, d, func(ctx context.Context, n int) error {
		h, err := b.reserve(ctx, c.orgs[n%len(c.orgs)], fmt.Sprintf("%s%d", prefix, n), c.shards)
		if fault.CodeOf(err) == fault.LedgerUnavailable {
			mu.Lock()
			c.refused++
			mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		u, err := b.used(ctx, h, time.Now().UTC().Truncate(time.Millisecond))
		if err != nil {
			return err
		}
		mu.Lock()
		done = append(done, u)
		mu.Unlock()
		return nil
	})
	if err != nil {
		return 0, err
	}
	c.pairs += len(done)
	n := len(done)
	for len(done) > 0 {
		batch := done[:min(settleBatch, len(done))]
		if rep := b.ledger.Settle(ctx, batch, time.Now().UTC()); rep.Settled != len(batch) {
			return 0, fmt.Errorf("settle: %d of %d, %d poison, %d undecided", rep.Settled, len(batch), rep.Poisoned, rep.Undecided)
		}
		done = done[len(batch):]
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// work calls f from several workers for a while.
func (b *ledgerBench) work(ctx context.Context, d time.Duration, f func(context.Context, int) error) error {
	var mu sync.Mutex
	var failed error
	next, began := 0, time.Now()
	var wg sync.WaitGroup
	for range ledgerWorkers {
		wg.Go(func() {
			for {
				mu.Lock()
				n, stop := next, failed != nil || time.Since(began) >= d || ctx.Err() != nil
				next++
				mu.Unlock()
				if stop {
					return
				}
				if err := f(ctx, n); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failed, ctx.Err())
}

// bare makes transactions of the size of a reserve, and nothing else: two new
// items and an update of a third, none of which anybody else writes.
func (b *ledgerBench) bare(ctx context.Context, d time.Duration) (float64, error) {
	var mu sync.Mutex
	done, began := 0, time.Now()
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	b.bares++
	run := b.bares
	err := b.work(ctx, d, func(ctx context.Context, n int) error {
		key := func(sk string) map[string]types.AttributeValue {
			return map[string]types.AttributeValue{table.PK: text(fmt.Sprintf("BARE#%d#%d", run, n)), table.SK: text(sk)}
		}
		request, decision := key("A"), key("B")
		request["x"], decision["x"] = text(strings.Repeat("x", bareRequest)), text(strings.Repeat("x", bareDecision))
		_, err := b.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: aws.String(b.table), Item: request}},
			{Put: &types.Put{TableName: aws.String(b.table), Item: decision}},
			{Update: &types.Update{TableName: aws.String(b.table), Key: key("C"), UpdateExpression: aws.String("SET #n = :n"),
				ExpressionAttributeNames:  map[string]string{"#n": "n"},
				ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: "1"}}}},
		}})
		mu.Lock()
		done++
		mu.Unlock()
		return err
	})
	return float64(done) / time.Since(began).Seconds(), err
}

// The bytes of a request and of its decision, about.
const (
	bareRequest  = 400
	bareDecision = 100
)
