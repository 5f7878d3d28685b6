package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

// OutboxStore implements [outbox.Store] on the usage table. Safe for concurrent
// use.
type OutboxStore struct{ db *DB }

var _ outbox.Store = OutboxStore{}

// Outbox returns the store of events that wait for the bus.
func (db *DB) Outbox() OutboxStore { return OutboxStore{db} }

const (
	aType   = "type"
	aDetail = "detail"
	// keepers bounds the writes in flight.
	keepers = 8
)

func keptItem(e outbox.Event) item {
	it := keyItem(table.KeptEvent(e.ID))
	it[aType], it[aDetail], it[aCreated] = str(e.Type), str(string(e.Detail)), num(e.At.UnixMilli())
	return it
}

// Keep implements [outbox.Store]. The same event always has the same item.
func (s OutboxStore) Keep(ctx context.Context, events []outbox.Event) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(keepers)
	for _, e := range events {
		group.Go(func() error {
			_, err := s.db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: s.db.name(table.Usage), Item: keptItem(e)})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return ledgerUnavailable("dynamo.Keep", err)
	}
	return nil
}

// Kept implements [outbox.Store].
func (s OutboxStore) Kept(ctx context.Context, after string, limit int) ([]outbox.Event, error) {
	const op = "dynamo.Kept"
	items, err := s.db.query(ctx, query{role: table.Usage, pk: table.KeptEvent("").PK, after: after, limit: int32(limit), consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]outbox.Event, len(items))
	for i, it := range items {
		r := read(it)
		out[i] = outbox.Event{ID: r.str(table.SK), Type: r.str(aType), Detail: []byte(r.str(aDetail)), At: time.UnixMilli(r.num(aCreated)).UTC()}
		if r.err != nil {
			return nil, ledgerRead(op, r.err)
		}
	}
	return out, nil
}

// Drop implements [outbox.Store].
func (s OutboxStore) Drop(ctx context.Context, ids []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(keepers)
	for _, id := range ids {
		group.Go(func() error {
			_, err := s.db.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: s.db.name(table.Usage), Key: keyItem(table.KeptEvent(id))})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return ledgerUnavailable("dynamo.Drop", err)
	}
	return nil
}
