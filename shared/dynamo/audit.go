package dynamo

import (
	"context"
	"errors"
	"slices"
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

// auditTries bounds the repeats of a write that met others. All changes of an
// organisation meet at the head of its chain: of n at once the last one needs at
// most n tries, and with full jitter far fewer.
const auditTries = 64

var errRowExists = errors.New("dynamo: there is an audit row with this id")

func configDown(op string, err error) error {
	return fault.Wrap(fault.Unavailable, op, "the configuration store did not answer, try again", err)
}

// commitWithAudit writes the actions, the audit row and the head of the chain it
// joins in one transaction. When conditions of actions failed it returns their
// reasons in the order of actions and no error; the caller says what each means.
func (db *DB) commitWithAudit(ctx context.Context, op string, row audit.Row, actions ...types.TransactWriteItem) ([]types.CancellationReason, error) {
	for try := 0; ; try++ {
		head, err := db.auditHead(ctx, row.Org)
		if err != nil {
			return nil, auditRead(op, err)
		}
		_, err = db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			TransactItems: append(slices.Clip(actions), db.auditActions(head, row)...)})
		if err == nil {
			return nil, nil
		}
		reasons := cancellation(err)
		if len(reasons) < len(actions)+2 {
			return nil, configDown(op, err)
		}
		if own := reasons[:len(actions)]; slices.ContainsFunc(own, lostCondition) {
			return own, nil
		}
		if lostCondition(reasons[len(actions)]) {
			return nil, fault.Wrap(fault.Internal, op, "internal error, try again later", errRowExists)
		}
		if try+1 == auditTries || slices.ContainsFunc(reasons, hopeless) {
			return nil, configDown(op, err)
		}
		if err := backoff(ctx, try); err != nil {
			return nil, configDown(op, err)
		}
	}
}

// hopeless is a reason that the same transaction would be refused for again.
func hopeless(r types.CancellationReason) bool {
	switch aws.ToString(r.Code) {
	case reasonNone, reasonCondition, reasonConflict, reasonThrottled, reasonThroughput:
		return false
	}
	return true
}

func lostCondition(r types.CancellationReason) bool { return aws.ToString(r.Code) == reasonCondition }

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

// auditActions are the two writes that append a row: the row, if its key is
// absent, and the head, if it is still the one that was read.
func (db *DB) auditActions(head audit.Head, row audit.Row) []types.TransactWriteItem {
	row, next := head.Next(row)
	it := keyItem(table.AuditHead(row.Org))
	it["seq"], it["hash"], it["at"], it["since"] = num(next.Seq), bin(next.Hash[:]), millis(next.At), millis(next.Since)
	put := &types.Put{TableName: db.name(table.Config), Item: it,
		ConditionExpression: aws.String("attribute_not_exists(#pk)"), ExpressionAttributeNames: map[string]string{"#pk": table.PK}}
	if head.Seq > 0 {
		put.ConditionExpression = aws.String("#seq = :seq AND #hash = :hash")
		put.ExpressionAttributeNames = map[string]string{"#seq": "seq", "#hash": "hash"}
		put.ExpressionAttributeValues = item{":seq": num(head.Seq), ":hash": bin(head.Hash[:])}
	}
	return []types.TransactWriteItem{db.putNew(table.Config, table.Audit(row.Org, row.At, row.ID), encodeAudit(row)), {Put: put}}
}

// auditHead reads the head consistently. One that cannot be read ends every
// change of the organisation: a row behind it would hide what happened.
func (db *DB) auditHead(ctx context.Context, org string) (audit.Head, error) {
	it, err := db.get(ctx, table.Config, table.AuditHead(org), true)
	if err != nil || it == nil {
		return audit.Head{}, err
	}
	r := read(it)
	h := audit.Head{Seq: r.num("seq"), Hash: r.hash("hash"), At: r.time("at"), Since: r.time("since")}
	if r.err == nil && h.Seq < 1 {
		r.fail("seq")
	}
	return h, r.err
}

// auditRead marks the error of [DB.auditHead].
func auditRead(op string, err error) error {
	if errors.Is(err, errItem) {
		return storedBadly(op, err)
	}
	return configDown(op, err)
}

// hash reads a digest, zero if absent.
func (r *reader) hash(name string) (h audit.Hash) {
	b := r.bin(name)
	if len(b) != len(h) && r.has(name) {
		r.fail(name)
	}
	copy(h[:], b)
	return h
}

func encodeAudit(row audit.Row) item {
	detail := item{}
	for k, v := range row.Detail {
		detail[k] = str(v)
	}
	return item{
		"seq": num(row.Seq), "prev": bin(row.Prev[:]), "hash": bin(row.Hash[:]), "id": str(row.ID), "at": millis(row.At), "actor": str(row.Actor), "action": str(row.Action),
		"target": str(row.Target), "outcome": str(string(row.Outcome)), "code": str(row.Code), "detail": mapping(detail),
	}
}

func decodeAudit(org string, it item) (audit.Row, error) {
	r := read(it)
	row := audit.Row{ID: r.str("id"), Org: org, At: r.time("at"), Actor: r.str("actor"), Action: r.str("action"),
		Target: r.str("target"), Outcome: audit.Outcome(r.str("outcome")), Code: r.str("code"),
		Seq: r.num("seq"), Prev: r.hash("prev"), Hash: r.hash("hash")}
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
	_, err := a.db.commitWithAudit(ctx, "dynamo.PutAudit", row)
	if errors.Is(err, errRowExists) {
		return nil
	}
	return err
}

// AuditHead implements [audit.Chain].
func (a Audit) AuditHead(ctx context.Context, org string) (audit.Head, error) {
	h, err := a.db.auditHead(ctx, org)
	if err != nil {
		return audit.Head{}, auditRead("dynamo.AuditHead", err)
	}
	return h, nil
}

// auditAttributes are all attributes of a row: its hash covers nothing else, so
// another one makes the row damaged.
var auditAttributes = []string{table.PK, table.SK, "seq", "prev", "hash", "id", "at", "actor", "action", "target", "outcome", "code", "detail"}

// AuditMonth implements [audit.Chain].
func (a Audit) AuditMonth(ctx context.Context, org string, month time.Time, f func(audit.Stored) error) error {
	in := &dynamodb.QueryInput{
		TableName: a.db.name(table.Config), KeyConditionExpression: aws.String("#pk = :pk"), ConsistentRead: aws.Bool(true),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK},
		ExpressionAttributeValues: item{":pk": str(table.Audit(org, month, "").PK)},
	}
	for {
		out, err := a.db.api.Query(ctx, in)
		if err != nil {
			return configDown("dynamo.AuditMonth", err)
		}
		for _, it := range out.Items {
			row, err := decodeAudit(org, it)
			k, stored := table.Audit(org, row.At, row.ID), read(it)
			damaged := err != nil || k.PK != stored.str(table.PK) || k.SK != stored.str(table.SK)
			for name := range it {
				damaged = damaged || !slices.Contains(auditAttributes, name)
			}
			if err := f(audit.Stored{Row: row, Damaged: damaged}); err != nil {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
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
