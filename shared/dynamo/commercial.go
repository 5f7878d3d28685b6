package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
)

// Commercial implements [commercial.Store] on the config table. The terms of tiers
// are an attribute beside the tiers' features, with whose version they change; an
// organisation's own are an item beside it. Safe for concurrent use.
type Commercial struct{ db *DB }

var _ commercial.Store = Commercial{}

// Commercial returns the store of commercial terms.
func (db *DB) Commercial() Commercial { return Commercial{db} }

// aTerms is the attribute of terms.
const aTerms = "terms"

func encodeTerms(t commercial.Terms) types.AttributeValue {
	return mapping(item{"m": str(string(t.Model)), "f": num(int64(t.FlatFee)), "s": num(t.SurchargeBPS), "p": num(int64(t.PrivateFee)), "r": num(t.FreeRequests)})
}

func decodeTerms(it item) (commercial.Terms, error) {
	r := read(it)
	t := commercial.Terms{Model: commercial.Model(r.str("m")), FlatFee: billing.Micro(r.num("f")), SurchargeBPS: r.num("s"),
		PrivateFee: billing.Micro(r.num("p")), FreeRequests: r.num("r")}
	return t, errors.Join(r.err, t.Check())
}

// decodeTierTerms gives no terms for an absent item.
func decodeTierTerms(it item) (commercial.Tiers, int64, error) {
	r := read(it)
	version := r.num("v")
	if !r.has(aTerms) {
		return nil, version, r.err
	}
	stored := read(r.sub(aTerms))
	tiers := commercial.Tiers{}
	for _, tier := range org.AllTiers() {
		if !stored.has(string(tier)) {
			continue
		}
		t, err := decodeTerms(stored.sub(string(tier)))
		if err != nil {
			return nil, 0, storedBadly("dynamo.TierTerms", err)
		}
		tiers[tier] = t
	}
	if err := errors.Join(r.err, stored.err); err != nil {
		return nil, 0, storedBadly("dynamo.TierTerms", err)
	}
	return tiers, version, nil
}

// decodeOrgTerms gives nil for an absent item, and for terms that were removed.
func decodeOrgTerms(it item) (*commercial.Terms, int64, error) {
	r := read(it)
	version := r.num("v")
	if !r.has(aTerms) {
		return nil, version, r.err
	}
	m := r.sub(aTerms)
	if r.err == nil && len(m) == 0 {
		return nil, version, nil
	}
	t, err := decodeTerms(m)
	if err = errors.Join(r.err, err); err != nil {
		return nil, 0, storedBadly("dynamo.Terms", err)
	}
	return &t, version, nil
}

// Tiers implements [commercial.Store].
func (s Commercial) Tiers(ctx context.Context) (commercial.Tiers, int64, error) {
	it, err := s.db.get(ctx, table.Config, table.Features(), true)
	if err != nil {
		return nil, 0, configDown("dynamo.TierTerms", err)
	}
	return decodeTierTerms(it)
}

// PutTiers implements [commercial.Store].
func (s Commercial) PutTiers(ctx context.Context, tiers commercial.Tiers, seen int64, row audit.Row) error {
	all := item{}
	for tier, t := range tiers {
		all[string(tier)] = encodeTerms(t)
	}
	return s.db.setVersioned(ctx, "dynamo.PutTierTerms", table.Features(), aTerms, mapping(all), seen, row)
}

// Organisation implements [commercial.Store].
func (s Commercial) Organisation(ctx context.Context, id string) (*commercial.Terms, int64, error) {
	it, err := s.db.get(ctx, table.Config, table.Terms(id), true)
	if err != nil {
		return nil, 0, configDown("dynamo.Terms", err)
	}
	return decodeOrgTerms(it)
}

// PutOrganisation implements [commercial.Store]. Terms that are removed leave an
// empty map, so that the version goes on.
func (s Commercial) PutOrganisation(ctx context.Context, id string, terms *commercial.Terms, seen int64, row audit.Row) error {
	value := mapping(item{})
	if terms != nil {
		value = encodeTerms(*terms)
	}
	return s.db.setVersioned(ctx, "dynamo.PutTerms", table.Terms(id), aTerms, value, seen, row)
}

// setVersioned sets one attribute of an item of the config table as version seen+1,
// with its audit row, and leaves the others; conflict if the version is another.
func (db *DB) setVersioned(ctx context.Context, op string, key table.Key, name string, value types.AttributeValue, seen int64, row audit.Row) error {
	set := &types.Update{TableName: db.name(table.Config), Key: keyItem(key), UpdateExpression: aws.String("SET #x = :x, #v = :next"),
		ConditionExpression: aws.String("#v = :seen"), ExpressionAttributeNames: map[string]string{"#x": name, "#v": "v"},
		ExpressionAttributeValues: item{":x": value, ":next": num(seen + 1), ":seen": num(seen)}}
	if seen == 0 {
		set.ConditionExpression = aws.String("attribute_not_exists(#v)")
		delete(set.ExpressionAttributeValues, ":seen")
	}
	reasons, err := db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Update: set})
	if reasons != nil {
		return changedMeanwhile(op)
	}
	return err
}
