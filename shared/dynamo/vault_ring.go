package dynamo

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Attributes of the key ring.
const (
	ringCurrent = "current"
	ringEpoch   = "epoch"
)

// Ring implements vault.Store.
func (s Vault) Ring(ctx context.Context) (vault.Ring, error) {
	it, err := s.db.get(ctx, table.Vault, table.Ring(), true)
	if err != nil || it == nil {
		return vault.Ring{}, err
	}
	r := read(it)
	ring := vault.Ring{Current: r.str(ringCurrent), Epoch: r.num(ringEpoch)}
	if r.err == nil && (ring.Current == "" || ring.Epoch <= 0) {
		r.fail(ringEpoch)
	}
	return ring, r.err
}

// ringCheck is the action that holds the ring still.
func (s Vault) ringCheck(r vault.Ring) types.TransactWriteItem {
	check := &types.ConditionCheck{TableName: s.db.name(table.Vault), Key: keyItem(table.Ring())}
	check.ConditionExpression, check.ExpressionAttributeNames, check.ExpressionAttributeValues = ringCondition(r.Epoch)
	return types.TransactWriteItem{ConditionCheck: check}
}

// ringCondition holds if the stored ring has the epoch.
func ringCondition(epoch int64) (*string, map[string]string, item) {
	if epoch == 0 {
		return aws.String("attribute_not_exists(#pk)"), map[string]string{"#pk": table.PK}, nil
	}
	return aws.String("#epoch = :epoch"), map[string]string{"#epoch": ringEpoch}, item{":epoch": num(epoch)}
}

// ringPut is the action that stores a ring over the one before it.
func (db *DB) ringPut(r vault.Ring) types.TransactWriteItem {
	it := keyItem(table.Ring())
	it[ringCurrent], it[ringEpoch] = str(r.Current), num(r.Epoch)
	put := &types.Put{TableName: db.name(table.Vault), Item: it}
	put.ConditionExpression, put.ExpressionAttributeNames, put.ExpressionAttributeValues = ringCondition(r.Epoch - 1)
	return types.TransactWriteItem{Put: put}
}

// cursorMark separates the two halves of a cursor; no key has it.
const cursorMark = "|"

// Page reads credentials with strong consistency, of one organisation or, with
// an empty org, of the whole table: the table itself is the only complete list
// of what it holds. cursor is the position after the previous page, empty for
// the first; next is empty at the end. limit bounds the items that are read; a
// page may be empty although others follow. Credentials are whole.
func (s Vault) Page(ctx context.Context, org, cursor string, limit int) (creds []vault.Credential, next string, err error) {
	items, more, err := s.pageItems(ctx, org, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for len(items) > 0 {
		pk := read(items[0]).str(table.PK)
		n := 1
		for n < len(items) && read(items[n]).str(table.PK) == pk {
			n++
		}
		if id, ok := strings.CutPrefix(pk, vaultPartition("")); ok {
			creds = append(creds, decodeVaultCredentials(id, items[:n])...)
		}
		items = items[n:]
	}
	if len(more) == 0 {
		return creds, "", nil
	}
	last := read(more)
	next = last.str(table.PK) + cursorMark + last.str(table.SK)
	if len(creds) == 0 {
		return nil, next, last.err
	}
	// The page may end inside of its last credential: that one is read again. What
	// the next page shows of it has no head there and is left out.
	ref := creds[len(creds)-1].Head.Ref
	whole, err := s.Load(ctx, ref.Org, ref.Class, ref.ID)
	switch {
	case errors.Is(err, vault.ErrAbsent):
		creds = creds[:len(creds)-1]
	case err != nil:
		return nil, "", err
	default:
		creds[len(creds)-1] = whole
	}
	return creds, next, last.err
}

func (s Vault) pageItems(ctx context.Context, org, cursor string, limit int) (items []item, more item, err error) {
	var start item
	if pk, sk, ok := strings.Cut(cursor, cursorMark); ok {
		start = keyItem(table.Key{PK: pk, SK: sk})
	}
	if org == "" {
		out, err := s.db.api.Scan(ctx, &dynamodb.ScanInput{
			TableName: s.db.name(table.Vault), ConsistentRead: aws.Bool(true), Limit: aws.Int32(int32(limit)), ExclusiveStartKey: start,
		})
		if err != nil {
			return nil, nil, err
		}
		return out.Items, out.LastEvaluatedKey, nil
	}
	out, err := s.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName: s.db.name(table.Vault), ConsistentRead: aws.Bool(true), Limit: aws.Int32(int32(limit)), ExclusiveStartKey: start,
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK},
		ExpressionAttributeValues: item{":pk": str(vaultPartition(org))},
	})
	if err != nil {
		return nil, nil, err
	}
	return out.Items, out.LastEvaluatedKey, nil
}
