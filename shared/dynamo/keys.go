package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
)

// Keys implements [org.KeyStore].
type Keys struct{ db *DB }

// Keys returns the store of virtual keys.
func (db *DB) Keys() Keys { return Keys{db} }

func encodeKey(k org.Key) item {
	scopes := make([]string, len(k.Scopes))
	for i, s := range k.Scopes {
		scopes[i] = string(s)
	}
	return item{
		"id": str(k.ID), "org": str(k.Org), "name": str(k.Name), "scopes": strs(scopes), "agent": str(k.AgentID),
		"at": millis(k.CreatedAt), "exp": millis(k.ExpiresAt), "rev": millis(k.RevokedAt),
		"hash": bin(k.Hash[:]), "limits": encodeLimits(k.Limits),
	}
}

func decodeKey(it item) (org.Key, error) {
	r := read(it)
	k := org.Key{ID: r.str("id"), Org: r.str("org"), Name: r.str("name"), AgentID: r.str("agent"),
		CreatedAt: r.time("at"), ExpiresAt: r.time("exp"), RevokedAt: r.time("rev")}
	for _, s := range r.strs("scopes") {
		k.Scopes = append(k.Scopes, org.Scope(s))
	}
	limits, err := decodeLimits(r.sub("limits"))
	k.Limits = limits
	hash := r.bin("hash")
	if len(hash) != len(k.Hash) {
		err = errors.Join(err, fmt.Errorf("%w: attribute %q", errItem, "hash"))
	}
	copy(k.Hash[:], hash)
	return k, errors.Join(r.err, err)
}

// CreateKey implements [org.KeyStore].
func (s Keys) CreateKey(ctx context.Context, k org.Key, row audit.Row) error {
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.CreateKey", row, s.db.putNew(table.Config, table.APIKey(k.Org, k.ID), encodeKey(k)))
	if reasons != nil {
		return fault.New(fault.Conflict, "dynamo.CreateKey", "a key with this id exists already")
	}
	return err
}

// Key implements [org.KeyStore]. The read is consistent, so a revocation holds
// from the next request on.
func (s Keys) Key(ctx context.Context, orgID, id string) (*org.Key, error) {
	it, err := s.db.get(ctx, table.Config, table.APIKey(orgID, id), true)
	if err != nil {
		return nil, configDown("dynamo.Key", err)
	}
	if it == nil {
		return nil, nil
	}
	k, err := decodeKey(it)
	if err != nil {
		return nil, storedBadly("dynamo.Key", err)
	}
	return &k, nil
}

// Keys implements [org.KeyStore].
func (s Keys) Keys(ctx context.Context, orgID, after string, limit int) ([]org.Key, string, error) {
	k := table.APIKey(orgID, "")
	// Each key may be followed by what counts against its limits.
	q := query{role: table.Config, pk: k.PK, prefix: k.SK, consistent: true, limit: 2*int32(limit) + 2}
	if after != "" {
		q.after = table.KeyCounts(orgID, after).SK
	}
	items, err := s.db.query(ctx, q)
	if err != nil {
		return nil, "", configDown("dynamo.Keys", err)
	}
	items = slices.DeleteFunc(items, isCounts)
	next := ""
	if len(items) > limit {
		items, next = items[:limit], "more"
	}
	keys := make([]org.Key, len(items))
	for i, it := range items {
		if keys[i], err = decodeKey(it); err != nil {
			return nil, "", storedBadly("dynamo.Keys", err)
		}
	}
	if next != "" {
		next = keys[len(keys)-1].ID
	}
	return keys, next, nil
}

// RevokeKey implements [org.KeyStore].
func (s Keys) RevokeKey(ctx context.Context, orgID, id string, row audit.Row) error {
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.RevokeKey", row, types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Config), Key: keyItem(table.APIKey(orgID, id)),
		UpdateExpression:                    aws.String("SET #rev = :at"),
		ConditionExpression:                 aws.String("#rev = :never"),
		ExpressionAttributeNames:            map[string]string{"#rev": "rev"},
		ExpressionAttributeValues:           item{":at": millis(row.At), ":never": num(0)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}})
	if failed(reasons, 0) && len(reasons[0].Item) == 0 {
		return fault.New(fault.NotFound, "dynamo.RevokeKey", "there is no such key")
	}
	return err
}
