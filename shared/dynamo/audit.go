package dynamo

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Audit implements [audit.Store].
type Audit struct{ db *DB }

// Audit returns the audit store.
func (db *DB) Audit() Audit { return Audit{db} }

// configTries bounds the repeats of a transaction that met another one.
const configTries = 8

func configDown(op string, err error) error {
	return fault.Wrap(fault.Unavailable, op, "the configuration store did not answer, try again", err)
}

// commitWithAudit writes the actions and the audit row in one transaction. When
// conditions failed it returns the reasons in the order of actions and no error;
// the caller says what each means.
func (db *DB) commitWithAudit(ctx context.Context, op string, row audit.Row, actions ...types.TransactWriteItem) ([]types.CancellationReason, error) {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: append(actions, db.auditPut(row))}
	for try := 0; ; try++ {
		_, err := db.api.TransactWriteItems(ctx, in)
		if err == nil {
			return nil, nil
		}
		reasons := cancellation(err)
		for i, r := range reasons {
			if aws.ToString(r.Code) != reasonCondition {
				continue
			}
			if i == len(reasons)-1 && onlyLastFailed(reasons) {
				return nil, fault.Wrap(fault.Internal, op, "internal error, try again later", err)
			}
			return reasons, nil
		}
		if reasons == nil || try+1 == configTries {
			return nil, configDown(op, err)
		}
		if err := backoff(ctx, try); err != nil {
			return nil, configDown(op, err)
		}
	}
}

func onlyLastFailed(reasons []types.CancellationReason) bool {
	for _, r := range reasons[:len(reasons)-1] {
		if aws.ToString(r.Code) == reasonCondition {
			return false
		}
	}
	return true
}

// failed reports whether action i lost its condition.
func failed(reasons []types.CancellationReason, i int) bool {
	return i < len(reasons) && aws.ToString(reasons[i].Code) == reasonCondition
}

// putNew is the action that writes an item whose key must be absent.
func (db *DB) putNew(r table.Role, k table.Key, it item) types.TransactWriteItem {
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	return types.TransactWriteItem{Put: &types.Put{
		TableName: db.name(r), Item: it,
		ConditionExpression:                 aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames:            map[string]string{"#pk": table.PK},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

func (db *DB) auditPut(row audit.Row) types.TransactWriteItem {
	return db.putNew(table.Config, table.Audit(row.Org, row.At, row.ID), encodeAudit(row))
}

func encodeAudit(row audit.Row) item {
	detail := item{}
	for k, v := range row.Detail {
		detail[k] = str(v)
	}
	return item{
		"id": str(row.ID), "at": millis(row.At), "actor": str(row.Actor), "action": str(row.Action),
		"target": str(row.Target), "outcome": str(string(row.Outcome)), "code": str(row.Code), "detail": mapping(detail),
	}
}

func decodeAudit(org string, it item) (audit.Row, error) {
	r := read(it)
	row := audit.Row{ID: r.str("id"), Org: org, At: r.time("at"), Actor: r.str("actor"), Action: r.str("action"),
		Target: r.str("target"), Outcome: audit.Outcome(r.str("outcome")), Code: r.str("code")}
	detail := read(r.sub("detail"))
	for name := range detail.it {
		if row.Detail == nil {
			row.Detail = map[string]string{}
		}
		row.Detail[name] = detail.str(name)
	}
	if r.err == nil {
		r.err = detail.err
	}
	return row, r.err
}

// PutAudit implements [audit.Store].
func (a Audit) PutAudit(ctx context.Context, row audit.Row) error {
	put := a.db.auditPut(row).Put
	_, err := a.db.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: put.TableName, Item: put.Item,
		ConditionExpression: put.ConditionExpression, ExpressionAttributeNames: put.ExpressionAttributeNames,
	})
	if _, exists := conditionFailed(err); exists || err == nil {
		return nil
	}
	return configDown("dynamo.PutAudit", err)
}

// Audit implements [audit.Store]. The position of a page is the sort key of its
// last row, which begins with the row's time: it names the month and lies after
// every row of earlier months.
func (a Audit) Audit(ctx context.Context, org, after string, limit int, now time.Time) ([]audit.Row, string, error) {
	month, before := now.UTC(), "~"
	if after != "" {
		at, ok := auditTime(after)
		if !ok {
			return nil, "", fault.New(fault.InvalidRequest, "dynamo.Audit", "this cursor is not one of ours; start without it").WithParam("cursor")
		}
		month, before = at, after
	}
	oldest := firstOfMonth(now).AddDate(0, -audit.Months+1, 0)
	var rows []audit.Row
	for m := firstOfMonth(month); !m.Before(oldest); m = m.AddDate(0, -1, 0) {
		items, err := a.month(ctx, org, m, before, limit+1-len(rows))
		if err != nil {
			return nil, "", err
		}
		for _, it := range items {
			if len(rows) == limit {
				last := rows[limit-1]
				return rows, table.Audit(org, last.At, last.ID).SK, nil
			}
			row, err := decodeAudit(org, it)
			if err != nil {
				return nil, "", fault.Wrap(fault.Internal, "dynamo.Audit", "internal error, try again later", err)
			}
			rows = append(rows, row)
		}
	}
	return rows, "", nil
}

func (a Audit) month(ctx context.Context, org string, m time.Time, before string, limit int) ([]item, error) {
	out, err := a.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName:                 a.db.name(table.Config),
		KeyConditionExpression:    aws.String("#pk = :pk AND #sk < :before"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#sk": table.SK},
		ExpressionAttributeValues: item{":pk": str(table.Audit(org, m, "").PK), ":before": str(before)},
		ScanIndexForward:          aws.Bool(false), Limit: aws.Int32(int32(limit)),
	})
	if err != nil {
		return nil, configDown("dynamo.Audit", err)
	}
	return out.Items, nil
}

func auditTime(sk string) (time.Time, bool) {
	ms, id, ok := strings.Cut(sk, "#")
	n, err := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n).UTC(), ok && err == nil && len(ms) == 13 && n > 0 && table.ValidID(id)
}

func firstOfMonth(t time.Time) time.Time {
	return time.Date(t.UTC().Year(), t.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
}
