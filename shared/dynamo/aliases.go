package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// aliasKey hashes the id as the dedupe does: a vendor's may hold anything.
func aliasKey(install, id string) table.Key { return table.Alias(install, session.DedupeKey(id, "")) }

// Alias implements [session.Aliases].
func (s Sessions) Alias(ctx context.Context, install, id string) (session.Alias, error) {
	const op = "dynamo.Alias"
	it, err := s.db.get(ctx, table.Sessions, aliasKey(install, id), true)
	if err != nil {
		return session.Alias{}, sessionsDown(op, err)
	}
	if it == nil {
		return session.Alias{ID: id}, nil
	}
	r := read(it)
	a := session.Alias{ID: id, Next: r.str("next"), Space: r.str("space"), Beside: r.str("by"), Version: r.num("v")}
	if r.err != nil || a.Version <= 0 || (a.Next == "") == (a.Space == "") {
		return session.Alias{}, storedBadly(op, errors.Join(r.err, errItem))
	}
	return a, nil
}

// PutAliases implements [session.Aliases].
func (s Sessions) PutAliases(ctx context.Context, install string, rows ...session.Alias) error {
	actions := make([]types.TransactWriteItem, len(rows))
	for i, a := range rows {
		k := aliasKey(install, a.ID)
		it := item{"next": str(a.Next), "space": str(a.Space), "by": str(a.Beside), "v": num(a.Version)}
		actions[i] = s.db.putNew(table.Sessions, k, it)
		if a.Version > 1 {
			put := actions[i].Put
			put.ConditionExpression, put.ExpressionAttributeNames, put.ExpressionAttributeValues = ifVersion(a.Version - 1)
		}
	}
	_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
	reasons := cancellation(err)
	if reasons == nil && err != nil {
		return sessionsDown("dynamo.PutAliases", err)
	}
	for _, r := range reasons {
		switch code := aws.ToString(r.Code); code {
		case reasonNone, reasonCondition:
		case reasonConflict:
			if err := backoff(ctx, 0); err != nil {
				return sessionsDown("dynamo.PutAliases", err)
			}
		default:
			return sessionsDown("dynamo.PutAliases", err)
		}
	}
	if reasons != nil {
		return session.ErrMoved
	}
	return nil
}
