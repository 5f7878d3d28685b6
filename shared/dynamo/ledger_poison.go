package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Attributes of a record of poison: the item's key, when it was found, how often
// it was tried and when it is tried again.
const (
	aItemPK = "ipk"
	aItemSK = "isk"
	aFirst  = "first"
	aTries  = "tries"
	aRetry  = "due"
	// When a record was dismissed, by whom and why.
	aDismissed = "dis"
	aBy        = "by"
	aNote      = "note"
)

var poisonNames = map[string]string{"#ipk": aItemPK, "#isk": aItemSK, "#why": aPoison, "#at": aCreated, "#first": aFirst, "#tries": aTries, "#due": aRetry}

// Poison implements credit.PoisonStore.
func (s *LedgerStore) Poison(ctx context.Context, p credit.Poison) error {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Poison(p.PK, p.SK)),
		UpdateExpression:         aws.String("SET #ipk = :pk, #isk = :sk, #why = :why, #at = :at, #first = if_not_exists(#first, :at), #due = :due ADD #tries :one"),
		ExpressionAttributeNames: poisonNames,
		ExpressionAttributeValues: item{":pk": str(p.PK), ":sk": str(p.SK), ":why": str(p.Reason), ":at": millis(p.At),
			":due": millis(p.At.Add(credit.PoisonRest)), ":one": num(1)}})
	if out != didWrite {
		return ledgerUnavailable("dynamo.Poison", nil)
	}
	return nil
}

// maxPoison bounds the list that a sweep reads; there should be none.
const maxPoison = 1000

// Poisoned implements credit.PoisonStore.
func (s *LedgerStore) Poisoned(ctx context.Context) ([]credit.Poison, error) {
	const op = "dynamo.Poisoned"
	items, err := s.db.query(ctx, query{role: table.Ledger, pk: table.PoisonList, limit: maxPoison, consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]credit.Poison, len(items))
	for i, it := range items {
		r := read(it)
		out[i] = credit.Poison{PK: r.str(aItemPK), SK: r.str(aItemSK), Reason: r.str(aPoison), At: r.time(aCreated),
			First: r.time(aFirst), Tries: int(r.num(aTries)), Next: r.time(aRetry), Dismissed: r.time(aDismissed), By: r.str(aBy), Note: r.str(aNote)}
		if r.err != nil {
			return nil, fault.Wrap(fault.Internal, op, "a stored ledger item cannot be read", r.err)
		}
	}
	return out, nil
}

// Reread implements credit.PoisonStore.
func (s *LedgerStore) Reread(ctx context.Context, p credit.Poison) (credit.Reread, error) {
	const op = "dynamo.Reread"
	it, err := s.db.get(ctx, table.Ledger, table.Key{PK: p.PK, SK: p.SK}, true)
	switch {
	case err != nil:
		return credit.Reread{}, ledgerUnavailable(op, err)
	case it == nil:
		return credit.Reread{}, nil
	case strings.HasPrefix(p.PK, "J#"):
		e, err := parseEntry(it)
		return credit.Reread{Entry: &e}, ledgerRead(op, err)
	case strings.HasPrefix(p.PK, "R#"):
		o, err := parseOpen(it)
		return credit.Reread{Open: &o}, ledgerRead(op, err)
	}
	return credit.Reread{}, nil
}

// Heal implements credit.PoisonStore.
func (s *LedgerStore) Heal(ctx context.Context, p credit.Poison) error {
	_, err := s.db.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Poison(p.PK, p.SK))})
	if err != nil {
		return ledgerUnavailable("dynamo.Heal", err)
	}
	return nil
}

// Retry implements credit.PoisonStore.
func (s *LedgerStore) Retry(ctx context.Context, p credit.Poison) error {
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{TableName: s.db.name(table.Ledger), Key: keyItem(table.Poison(p.PK, p.SK)),
		UpdateExpression: aws.String("SET #due = :now"), ConditionExpression: aws.String("attribute_exists(#ipk)"),
		ExpressionAttributeNames:  map[string]string{"#due": aRetry, "#ipk": aItemPK},
		ExpressionAttributeValues: item{":now": millis(time.Time{})}})
	if out != didWrite && out != didFailCondition {
		return ledgerUnavailable("dynamo.Retry", nil)
	}
	return nil
}

// Dismiss implements credit.PoisonStore.
func (s *LedgerStore) Dismiss(ctx context.Context, p credit.Poison, row audit.Row) error {
	const op = "dynamo.Dismiss"
	lost, err := s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Poison(p.PK, p.SK)), UpdateExpression: aws.String("SET #dis = :at, #by = :by, #note = :note"),
		ConditionExpression:                 aws.String("attribute_exists(#ipk) AND attribute_not_exists(#dis)"),
		ExpressionAttributeNames:            map[string]string{"#ipk": aItemPK, "#dis": aDismissed, "#by": aBy, "#note": aNote},
		ExpressionAttributeValues:           item{":at": millis(p.Dismissed), ":by": str(p.By), ":note": str(p.Note)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}})
	switch {
	case err != nil:
		return ledgerUnavailable(op, err)
	case lost == nil:
		return nil
	case lost[0].Item == nil:
		return fault.New(fault.NotFound, op, "there is no such poison, it may have been settled meanwhile")
	}
	return fault.New(fault.Conflict, op, "this was dismissed before")
}

// Unbilled implements credit.SweepStore.
func (s *LedgerStore) Unbilled(ctx context.Context, month time.Time, limit int) ([]credit.UnbilledCall, error) {
	const op = "dynamo.Unbilled"
	notes, err := s.db.query(ctx, query{role: table.Ledger, pk: table.Unbilled("", "", 0, month).PK, limit: int32(limit), consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]credit.UnbilledCall, 0, len(notes))
	for len(notes) > 0 {
		n := min(len(notes), 100)
		keys := make([]table.Key, n)
		for i, it := range notes[:n] {
			keys[i] = table.Key{PK: read(it).str(aItemPK), SK: read(it).str(aItemSK)}
		}
		requests, err := s.batchGet(ctx, keys)
		if err != nil {
			return nil, ledgerUnavailable(op, err)
		}
		for i, it := range notes[:n] {
			note, now := read(it), read(requests[keys[i]])
			c := credit.UnbilledCall{At: note.time(aCreated), Hold: credit.Micro(note.num(aHold)), State: credit.State(now.str(aState)),
				Provider: now.str(aProvider), Source: taxonomy.BillingSource(now.str(aSource))}
			if c.Org, c.Request, c.Attempt, err = requestKey(keys[i].PK, keys[i].SK); err != nil || note.err != nil {
				return nil, ledgerRead(op, errItem)
			}
			out = append(out, c)
		}
		notes = notes[n:]
	}
	return out, nil
}
