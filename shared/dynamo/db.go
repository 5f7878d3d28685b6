// Package dynamo implements the store interfaces that the domain packages
// declare; it is the only package that talks to DynamoDB.
//
// Items are built by hand (see item.go): the SDK's reflective marshaller
// ignores the guards of the secret type and would write floats. Every attribute
// name in an expression is aliased, because many of ours are reserved words.
// There is one file per domain store; all of them hang off [DB], which is safe
// for concurrent use.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/awscall"
	"github.com/latchkey/latchkey/shared/table"
)

// Tables maps each table role to its deployed name.
type Tables map[table.Role]string

// DB is the handle that all stores share.
type DB struct {
	api    *dynamodb.Client
	direct *direct
	tables Tables
	pace   Pace
}

// Pace is how the ledger passes the time before it repeats a try, the chance in
// it, which is below limit, and how it does n things a few at once.
type Pace struct {
	Wait   func(ctx context.Context, d time.Duration) error
	Chance func(limit time.Duration) time.Duration
	Each   func(ctx context.Context, n int, do func(ctx context.Context, i int))
}

// WithPace returns a DB whose ledger runs in another time than the machine's, for
// simulations.
func (db *DB) WithPace(p Pace) *DB {
	paced := *db
	paced.pace = p
	return &paced
}

// New returns a DB. It fails if a table name is missing.
func New(api *dynamodb.Client, tables Tables) (*DB, error) {
	for _, s := range table.Specs() {
		if tables[s.Role] == "" {
			return nil, fmt.Errorf("dynamo: no name for table %q", s.Role)
		}
	}
	return &DB{api: api, direct: newDirect(api), tables: tables, pace: machinePace()}, nil
}

func (db *DB) name(r table.Role) *string { return aws.String(db.tables[r]) }

// get reads one item, nil if absent.
func (db *DB) get(ctx context.Context, r table.Role, k table.Key, consistent bool) (item, error) {
	var out dynamodb.GetItemOutput
	err := db.direct.Insist(ctx, db.direct.get, &dynamodb.GetItemInput{
		TableName: db.name(r), Key: keyItem(k), ConsistentRead: aws.Bool(consistent),
	}, &out)
	return out.Item, err
}

// place is where an item lies.
type place struct {
	role table.Role
	key  table.Key
}

// batchTries bounds how often what a batch left out is asked for again.
const batchTries = 5

// batchGet reads at most 100 different items of any tables in one call,
// consistently. Absent ones are not in the result. It is whole or it fails.
func (db *DB) batchGet(ctx context.Context, places []place) (map[place]item, error) {
	ask := make(map[string]types.KeysAndAttributes, 2)
	roles := make(map[string]table.Role, 2)
	for _, p := range places {
		name := db.tables[p.role]
		roles[name] = p.role
		of := ask[name]
		of.ConsistentRead, of.Keys = aws.Bool(true), append(of.Keys, keyItem(p.key))
		ask[name] = of
	}
	found := make(map[place]item, len(places))
	for try := range batchTries {
		if try > 0 {
			if err := backoff(ctx, try-1); err != nil {
				return nil, err
			}
		}
		var out dynamodb.BatchGetItemOutput
		if err := db.direct.Insist(ctx, db.direct.batchGet, &dynamodb.BatchGetItemInput{RequestItems: ask}, &out); err != nil {
			return nil, err
		}
		for name, items := range out.Responses {
			for _, it := range items {
				r := read(it)
				found[place{roles[name], table.Key{PK: r.str(table.PK), SK: r.str(table.SK)}}] = it
			}
		}
		if ask = out.UnprocessedKeys; len(ask) == 0 {
			return found, nil
		}
	}
	return nil, errUnprocessed
}

var errUnprocessed = errors.New("dynamo: a batch was left unfinished")

// query is the shape of every query we make: one partition, an optional sort
// key prefix or lower bound, a page.
type query struct {
	role       table.Role
	pk         string
	prefix     string // begins_with on the sort key
	after      string // sort key strictly greater than
	limit      int32  // 0 = everything, following pages
	descending bool
	consistent bool
}

// query returns the matching items, following pages until limit.
func (db *DB) query(ctx context.Context, q query) ([]item, error) {
	in := &dynamodb.QueryInput{
		TableName:                 db.name(q.role),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK},
		ExpressionAttributeValues: item{":pk": str(q.pk)},
		ScanIndexForward:          aws.Bool(!q.descending),
		ConsistentRead:            aws.Bool(q.consistent),
	}
	if q.limit > 0 {
		in.Limit = aws.Int32(q.limit)
	}
	switch {
	case q.prefix != "" && q.after != "":
		// '~' sorts after every character of our keys.
		in.KeyConditionExpression = aws.String("#pk = :pk AND #sk BETWEEN :after AND :end")
		in.ExpressionAttributeNames["#sk"] = table.SK
		in.ExpressionAttributeValues[":after"] = str(q.after + "\x00")
		in.ExpressionAttributeValues[":end"] = str(q.prefix + "~")
	case q.prefix != "":
		in.KeyConditionExpression = aws.String("#pk = :pk AND begins_with(#sk, :prefix)")
		in.ExpressionAttributeNames["#sk"] = table.SK
		in.ExpressionAttributeValues[":prefix"] = str(q.prefix)
	case q.after != "":
		in.KeyConditionExpression = aws.String("#pk = :pk AND #sk > :after")
		in.ExpressionAttributeNames["#sk"] = table.SK
		in.ExpressionAttributeValues[":after"] = str(q.after)
	}
	var items []item
	for {
		var out dynamodb.QueryOutput
		if err := db.direct.Insist(ctx, db.direct.query, in, &out); err != nil {
			return nil, err
		}
		items = append(items, out.Items...)
		if len(out.LastEvaluatedKey) == 0 || q.limit > 0 && len(items) >= int(q.limit) {
			return items, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// conditionFailed reports whether a single-item write lost its condition, and
// the old item if it was asked for.
func conditionFailed(err error) (item, bool) {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return failed.Item, true
	}
	return nil, false
}

// cancellation returns the per-action reasons of a cancelled transaction, in
// the order of its actions; nil if err is something else.
func cancellation(err error) []types.CancellationReason {
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		return cancelled.CancellationReasons
	}
	return nil
}

const (
	reasonNone      = "None"
	reasonCondition = "ConditionalCheckFailed"
	reasonConflict  = "TransactionConflict"
)

// hopLimit bounds the wait before a try elsewhere.
const hopLimit = 4 * time.Millisecond

func machinePace() Pace { return Pace{Wait: awscall.Wait, Chance: rand.N[time.Duration], Each: each} }

// AtOnce is how many writes a batch makes at once.
const AtOnce = 8

func each(ctx context.Context, n int, do func(ctx context.Context, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, AtOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(ctx, i)
			}
		})
	}
	wg.Wait()
}

// backoff waits with full jitter before try n (from 0), or until ctx ends.
func backoff(ctx context.Context, n int) error { return machinePace().backoff(ctx, n) }

func (p Pace) backoff(ctx context.Context, n int) error {
	limit := min(10*time.Millisecond<<max(min(n, 6), 0), 200*time.Millisecond)
	if n < 0 { // another place: what is in the way there, if anything, is not known
		limit = hopLimit
	}
	return p.Wait(ctx, p.Chance(limit)+time.Millisecond)
}
