package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topup"
)

// Attributes of top-ups and of payers.
const (
	aCents     = "cents"
	aPaid      = "paid"
	aPaidAt    = "paidat"
	aSession   = "sess"
	aIntent    = "intent"
	aRefunded  = "refunded"
	aDisputes  = "disputes"
	aTopUp     = "topup"
	aCustomer  = "cust"
	aPayMethod = "method"
	aRev       = "rev"
	aOfOrg     = "org"
)

// TopUps implements [topup.Store] and [topup.PayerStore] in the ledger table.
type TopUps struct{ ledger *LedgerStore }

var (
	_ topup.Store      = TopUps{}
	_ topup.PayerStore = TopUps{}
)

// TopUps returns the store of purchases.
func (db *DB) TopUps() TopUps { return TopUps{db.Ledger()} }

// CreateTopUp implements [topup.Store].
func (s TopUps) CreateTopUp(ctx context.Context, t topup.TopUp, row audit.Row) error {
	const op = "dynamo.CreateTopUp"
	db := s.ledger.db
	reasons, err := db.commitWithAudit(ctx, op, row, db.putNew(table.Ledger, table.TopUp(t.ID), topUpItem(t)))
	if err == nil && failed(reasons, 0) {
		return fault.Wrap(fault.Internal, op, "internal error, try again later", fmt.Errorf("%w: a top-up with this id exists", errItem))
	}
	return err
}

// TopUp implements [topup.Store].
func (s TopUps) TopUp(ctx context.Context, id string) (topup.TopUp, error) {
	const op = "dynamo.TopUp"
	it, err := s.ledger.db.get(ctx, table.Ledger, table.TopUp(id), true)
	if err != nil {
		return topup.TopUp{}, ledgerUnavailable(op, err)
	}
	if it == nil {
		return topup.TopUp{}, fault.New(fault.NotFound, op, "there is no such top-up")
	}
	t, err := parseTopUp(id, it)
	return t, ledgerRead(op, err)
}

// Owner implements [topup.Store].
func (s TopUps) Owner(ctx context.Context, object string) (string, error) {
	const op = "dynamo.Owner"
	it, err := s.ledger.db.get(ctx, table.Ledger, table.External(object), true)
	if err != nil {
		return "", ledgerUnavailable(op, err)
	}
	if it == nil {
		return "", fault.New(fault.NotFound, op, "no top-up has this object")
	}
	r := read(it)
	id := r.str(aTopUp)
	if r.err == nil && !table.ValidID(id) {
		r.fail(aTopUp)
	}
	return id, ledgerRead(op, r.err)
}

// WriteTopUp implements [topup.Store]. An object stays with the top-up it was
// first seen with.
func (s TopUps) WriteTopUp(ctx context.Context, t topup.TopUp) error {
	ledger := s.ledger.db.name(table.Ledger)
	it := topUpItem(t)
	k := table.TopUp(t.ID)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	acts := []types.TransactWriteItem{{Put: &types.Put{TableName: ledger, Item: it,
		ConditionExpression: aws.String("#rev = :old"), ExpressionAttributeNames: map[string]string{"#rev": aRev},
		ExpressionAttributeValues: item{":old": num(t.Rev - 1)}}}}
	for _, object := range []string{t.Session, t.Intent} {
		if object == "" {
			continue
		}
		own := keyItem(table.External(object))
		own[aTopUp] = str(t.ID)
		acts = append(acts, types.TransactWriteItem{Put: &types.Put{TableName: ledger, Item: own,
			ConditionExpression:      aws.String("attribute_not_exists(#pk) OR #t = :t"),
			ExpressionAttributeNames: map[string]string{"#pk": table.PK, "#t": aTopUp}, ExpressionAttributeValues: item{":t": str(t.ID)}}})
	}
	return s.commit(ctx, "dynamo.WriteTopUp", &dynamodb.TransactWriteItemsInput{TransactItems: acts,
		ClientRequestToken: s.ledger.token(table.Ledger, "topup", t.ID, strconv.FormatInt(t.Rev, 10), fmt.Sprintf("%+v", t))})
}

// commit writes a transaction whose conditions all mean that somebody else was
// first. A try without an answer may have been the one: the caller reads again.
func (s TopUps) commit(ctx context.Context, op string, in *dynamodb.TransactWriteItemsInput) error {
	switch out, reasons, _ := s.ledger.act(ctx, in, nil); {
	case out == didWrite:
		return nil
	case out == didCancel && anyFailed(reasons):
		return fault.New(fault.Conflict, op, "this was changed meanwhile, read it again")
	}
	return ledgerUnavailable(op, nil)
}

func anyFailed(reasons []types.CancellationReason) bool {
	for i := range reasons {
		if failedCondition(reasons, i) {
			return true
		}
	}
	return false
}

func topUpItem(t topup.TopUp) item {
	it := item{aOfOrg: str(t.Org), aState: str(string(t.State)), aCents: num(t.Cents), aPaid: num(t.PaidCents), aCreated: millis(t.Created),
		aPaidAt: millis(t.PaidAt), aRefunded: num(t.Refunded), aRev: num(t.Rev)}
	ledgerText(it, aSession, t.Session)
	ledgerText(it, aIntent, t.Intent)
	if t.Posted {
		it[aPosted] = boolean(true)
	}
	if len(t.Terms) > 0 {
		terms := item{}
		for name, value := range t.Terms {
			terms[name] = str(value)
		}
		it[aTerms] = mapping(terms)
	}
	if len(t.Disputes) > 0 {
		all := make([]types.AttributeValue, len(t.Disputes))
		for i, d := range t.Disputes {
			all[i] = list(str(d.ID), num(d.Cents), boolean(d.Reinstated))
		}
		it[aDisputes] = list(all...)
	}
	return it
}

func parseTopUp(id string, it item) (topup.TopUp, error) {
	r := read(it)
	t := topup.TopUp{ID: id, Org: r.str(aOfOrg), State: topup.State(r.str(aState)), Cents: r.num(aCents), PaidCents: r.num(aPaid), Refunded: r.num(aRefunded),
		Session: r.str(aSession), Intent: r.str(aIntent), Created: r.time(aCreated), PaidAt: r.time(aPaidAt),
		Posted: r.bool(aPosted), Rev: r.num(aRev)}
	if stored := r.sub(aTerms); len(stored) > 0 {
		terms := read(stored)
		t.Terms = make(map[string]string, len(stored))
		for name := range stored {
			t.Terms[name] = terms.str(name)
		}
		r.err = errors.Join(r.err, terms.err)
	}
	for _, v := range r.list(aDisputes) {
		parts, ok := v.(*types.AttributeValueMemberL)
		if !ok || len(parts.Value) != 3 {
			r.fail(aDisputes)
			break
		}
		one := read(item{"id": parts.Value[0], "n": parts.Value[1], "r": parts.Value[2]})
		t.Disputes = append(t.Disputes, topup.Dispute{ID: one.str("id"), Cents: one.num("n"), Reinstated: one.bool("r")})
		if one.err != nil {
			r.fail(aDisputes)
		}
	}
	if r.err == nil && (!table.ValidID(t.Org) || t.Rev < 1 || t.Cents <= 0) {
		r.fail(aOfOrg)
	}
	return t, r.err
}

// Payer implements [topup.PayerStore].
func (s TopUps) Payer(ctx context.Context, org string) (topup.Payer, error) {
	const op = "dynamo.Payer"
	it, err := s.ledger.db.get(ctx, table.Ledger, table.Payer(org), true)
	if err != nil {
		return topup.Payer{}, ledgerUnavailable(op, err)
	}
	r := read(it)
	p := topup.Payer{Org: org, Customer: r.str(aCustomer), Method: r.str(aPayMethod), Rev: r.num(aRev)}
	return p, ledgerRead(op, r.err)
}

// WritePayer implements [topup.PayerStore].
func (s TopUps) WritePayer(ctx context.Context, p topup.Payer) error {
	it := keyItem(table.Payer(p.Org))
	it[aRev] = num(p.Rev)
	ledgerText(it, aCustomer, p.Customer)
	ledgerText(it, aPayMethod, p.Method)
	put := &types.Put{TableName: s.ledger.db.name(table.Ledger), Item: it, ConditionExpression: aws.String("#rev = :old"),
		ExpressionAttributeNames: map[string]string{"#rev": aRev}, ExpressionAttributeValues: item{":old": num(p.Rev - 1)}}
	if p.Rev == 1 {
		put.ConditionExpression, put.ExpressionAttributeNames, put.ExpressionAttributeValues = aws.String(ifAbsent), ledgerPKName, nil
	}
	return s.commit(ctx, "dynamo.WritePayer", &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Put: put}},
		ClientRequestToken: s.ledger.token(table.Ledger, "payer", p.Org, strconv.FormatInt(p.Rev, 10), p.Customer, p.Method)})
}
