package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// PriceStore implements billing.BookStore on the config table. A version's rows
// are written first and its index line last, so that a listed version is whole.
// Safe for concurrent use.
type PriceStore struct{ db *DB }

var _ billing.BookStore = (*PriceStore)(nil)

// Prices returns the store of the price books.
func (db *DB) Prices() *PriceStore { return &PriceStore{db: db} }

const (
	aBooks       = "books"
	aActivations = "acts"
	aSeq         = "seq"
	aFrom        = "from"
	aRows        = "rows"
	aMeter       = "meter"
	aRate        = "rate"
	aTier        = "tier"
	aMinUnits    = "min"
	aSourceDate  = "date"
	// maxBooks keeps the index item under its 400 KB.
	maxBooks = 2000
	// priceTries bounds retries when two imports race.
	priceTries = 5
)

// priceIndex is the index item with its version.
type priceIndex struct {
	billing.Index
	ver int64
}

func (s *PriceStore) index(ctx context.Context) (priceIndex, error) {
	const op = "dynamo.Prices"
	it, err := s.db.get(ctx, table.Config, table.PriceIndex(), true)
	if err != nil {
		return priceIndex{}, fault.Wrap(fault.Unavailable, op, "the price list cannot be read, try again", err)
	}
	return decodePriceIndex(op, it)
}

// decodePriceIndex gives an empty index for an absent item.
func decodePriceIndex(op string, it item) (priceIndex, error) {
	r := read(it)
	ix := priceIndex{ver: r.num(aVersion)}
	for _, v := range r.list(aBooks) {
		b := read(mapOf(v))
		ix.Books = append(ix.Books, billing.Listing{Version: b.str("v"), Seq: b.num(aSeq), EffectiveFrom: b.time(aFrom),
			Created: b.time(aCreated), Rows: int(b.num(aRows))})
		if r.err == nil {
			r.err = b.err
		}
	}
	for _, v := range r.list(aActivations) {
		a := read(mapOf(v))
		ix.Activations = append(ix.Activations, billing.Activation{Version: a.str("v"), From: a.time(aFrom)})
		if r.err == nil {
			r.err = a.err
		}
	}
	if r.err != nil {
		return priceIndex{}, fault.Wrap(fault.Internal, op, "the stored price index cannot be read", r.err)
	}
	return ix, nil
}

func mapOf(v types.AttributeValue) item {
	if m, ok := v.(*types.AttributeValueMemberM); ok {
		return m.Value
	}
	return nil
}

// Index implements billing.BookStore.
func (s *PriceStore) Index(ctx context.Context) (billing.Index, error) {
	ix, err := s.index(ctx)
	return ix.Index, err
}

// Book implements billing.BookStore.
func (s *PriceStore) Book(ctx context.Context, version string) (*billing.Book, error) {
	const op = "dynamo.Book"
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.PriceRow(version, "").PK, consistent: true})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "the price list cannot be read, try again", err)
	}
	if len(items) == 0 {
		return nil, fault.New(fault.NotFound, op, "there is no such price book version")
	}
	// The head sorts after the numbered rows.
	head := read(items[len(items)-1])
	rows := make([]billing.Row, 0, len(items)-1)
	for _, it := range items[:len(items)-1] {
		r := read(it)
		rows = append(rows, billing.Row{Provider: r.str(aProvider), Model: r.str(aModel), Meter: billing.Meter(r.str(aMeter)),
			RatePico: r.num(aRate), TierFrom: r.num(aTier), MinUnits: r.num(aMinUnits), Source: r.str(aSource), SourceDate: r.str(aSourceDate)})
		if r.err != nil {
			return nil, fault.Wrap(fault.Internal, op, "a stored price cannot be read", r.err)
		}
	}
	if head.err != nil || !head.has(aRows) || int(head.num(aRows)) != len(rows) {
		return nil, fault.New(fault.NotFound, op, "this price book version was never completed")
	}
	return billing.NewBook(version, head.time(aFrom), rows)
}

// Import implements billing.BookStore.
func (s *PriceStore) Import(ctx context.Context, rows []billing.Row, effectiveFrom, now time.Time, activate bool, row func(version string) audit.Row) (*billing.Book, error) {
	const op = "dynamo.Import"
	if effectiveFrom.IsZero() {
		effectiveFrom = now
	}
	effectiveFrom = effectiveFrom.UTC().Truncate(time.Millisecond)
	for range priceTries {
		ix, err := s.index(ctx)
		if err != nil {
			return nil, err
		}
		if len(ix.Books) >= maxBooks {
			return nil, fault.New(fault.Conflict, op, "the price index is full, retire old versions first")
		}
		var base *billing.Book
		if v := ix.At(activation("", effectiveFrom, now).From); v != "" {
			if base, err = s.Book(ctx, v); err != nil {
				return nil, err
			}
		}
		seq := int64(len(ix.Books)) + 1
		book, err := billing.Merge(base, rows, seq, effectiveFrom)
		if err != nil {
			return nil, err
		}
		if err := s.writeBook(ctx, book); err != nil {
			return nil, err
		}
		ix.Books = append(ix.Books, billing.Listing{Version: book.Version, Seq: seq, EffectiveFrom: effectiveFrom, Created: now, Rows: len(book.Rows)})
		if activate {
			ix.Activations = append(ix.Activations, activation(book.Version, effectiveFrom, now))
		}
		if done, err := s.saveIndex(ctx, op, ix, row(book.Version)); done || err != nil {
			return book, err
		}
	}
	return nil, fault.New(fault.Conflict, op, "the price list is being changed by others, try again")
}

// Activate implements billing.BookStore.
func (s *PriceStore) Activate(ctx context.Context, version string, now time.Time, row audit.Row) error {
	const op = "dynamo.Activate"
	for range priceTries {
		ix, err := s.index(ctx)
		if err != nil {
			return err
		}
		from, known := time.Time{}, false
		for _, b := range ix.Books {
			if b.Version == version {
				from, known = b.EffectiveFrom, true
			}
		}
		if !known {
			return fault.New(fault.NotFound, op, "there is no such price book version")
		}
		if len(ix.Activations) >= 2*maxBooks {
			return fault.New(fault.Conflict, op, "the price index is full, retire old versions first")
		}
		ix.Activations = append(ix.Activations, activation(version, from, now))
		if done, err := s.saveIndex(ctx, op, ix, row); done || err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, op, "the price list is being changed by others, try again")
}

// activation starts at the effective time, but never in the past: what was
// admitted before had another price.
func activation(version string, from, now time.Time) billing.Activation {
	if from.Before(now) {
		from = now
	}
	return billing.Activation{Version: version, From: from.UTC().Truncate(time.Millisecond)}
}

// saveIndex writes the index and its audit row if nobody else wrote the index
// since it was read.
func (s *PriceStore) saveIndex(ctx context.Context, op string, ix priceIndex, row audit.Row) (bool, error) {
	it := keyItem(table.PriceIndex())
	books := make([]types.AttributeValue, len(ix.Books))
	for i, b := range ix.Books {
		books[i] = mapping(item{"v": str(b.Version), aSeq: num(b.Seq), aFrom: millis(b.EffectiveFrom), aCreated: millis(b.Created), aRows: num(int64(b.Rows))})
	}
	acts := make([]types.AttributeValue, len(ix.Activations))
	for i, a := range ix.Activations {
		acts[i] = mapping(item{"v": str(a.Version), aFrom: millis(a.From)})
	}
	it[aBooks], it[aActivations], it[aVersion] = list(books...), list(acts...), num(ix.ver+1)
	reasons, err := s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Put: &types.Put{
		TableName: s.db.name(table.Config), Item: it,
		ConditionExpression:       aws.String("attribute_not_exists(#pk) OR #ver = :old"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#ver": aVersion},
		ExpressionAttributeValues: item{":old": num(ix.ver)},
	}})
	return reasons == nil && err == nil, err
}

// batchWriteMax is DynamoDB's limit of one BatchWriteItem.
const batchWriteMax = 25

// writeBook writes the rows and the head of a version. Writing it again writes
// the same.
func (s *PriceStore) writeBook(ctx context.Context, b *billing.Book) error {
	puts := make([]types.WriteRequest, 0, len(b.Rows)+1)
	for i, r := range b.Rows {
		it := keyItem(table.PriceRow(b.Version, fmt.Sprintf("%05d", i)))
		it[aProvider], it[aModel], it[aMeter] = str(r.Provider), str(r.Model), str(string(r.Meter))
		it[aRate], it[aTier], it[aMinUnits] = num(r.RatePico), num(r.TierFrom), num(r.MinUnits)
		it[aSource], it[aSourceDate] = str(r.Source), str(r.SourceDate)
		puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
	}
	head := keyItem(table.PriceRow(b.Version, "HEAD"))
	head[aRows], head[aFrom] = num(int64(len(b.Rows))), millis(b.EffectiveFrom)
	puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: head}})
	name := s.db.tables[table.Config]
	for len(puts) > 0 {
		n := min(len(puts), batchWriteMax)
		left := map[string][]types.WriteRequest{name: puts[:n]}
		for try := 0; len(left) > 0; try++ {
			if try > 0 {
				if err := backoff(ctx, try-1); err != nil {
					return fault.Wrap(fault.Unavailable, "dynamo.Import", "the price list cannot be written, try again", err)
				}
			}
			out, err := s.db.api.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
			if err != nil {
				return fault.Wrap(fault.Unavailable, "dynamo.Import", "the price list cannot be written, try again", err)
			}
			left = out.UnprocessedItems
		}
		puts = puts[n:]
	}
	return nil
}
