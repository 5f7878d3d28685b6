package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

// AlertStore implements [alert.Store] and [alert.Settings] on the usage table.
// Safe for concurrent use.
type AlertStore struct{ db *DB }

var (
	_ alert.Store    = AlertStore{}
	_ alert.Settings = AlertStore{}
)

// Alerts returns the store of balance alerts.
func (db *DB) Alerts() AlertStore { return AlertStore{db} }

const (
	aLevel     = "lvl"
	aAbsolute  = "abs"
	aLowest    = "low"
	aLimit     = "lim"
	aLeft      = "left"
	aThreshold = "thr"
	aSince     = "since"
)

var levelNames = map[string]string{"#at": aCreated, "#lvl": aLevel, "#low": aLowest}

// alertLife is how long alerts are kept; the level is kept for good.
const alertLife = 400 * 24 * time.Hour

// Level implements [alert.Store].
func (s AlertStore) Level(ctx context.Context, org string) (alert.Level, error) {
	const op = "dynamo.Level"
	it, err := s.db.get(ctx, table.Usage, table.AlertLevel(org), true)
	if err != nil {
		return alert.Level{}, ledgerUnavailable(op, err)
	}
	r := read(it)
	l := alert.Level{Org: org, At: r.time(aCreated), Amount: credit.Micro(r.num(aLevel)), Absolute: credit.Micro(r.num(aAbsolute)),
		Told: r.has(aLowest), Lowest: credit.Micro(r.num(aLowest))}
	return l, ledgerRead(op, r.err)
}

// Raise implements [alert.Store].
func (s AlertStore) Raise(ctx context.Context, org string, at time.Time, amount credit.Micro) error {
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Usage), Key: keyItem(table.AlertLevel(org)),
		UpdateExpression:          aws.String("SET #at = :at, #lvl = :lvl REMOVE #low"),
		ConditionExpression:       aws.String("attribute_not_exists(#at) OR #at < :at"),
		ExpressionAttributeNames:  levelNames,
		ExpressionAttributeValues: item{":at": millis(at), ":lvl": num(int64(amount))},
	})
	if _, later := conditionFailed(err); later || err == nil {
		return nil
	}
	return ledgerUnavailable("dynamo.Raise", err)
}

// Tell implements [alert.Store].
func (s AlertStore) Tell(ctx context.Context, l alert.Level, a alert.Alert, ev outbox.Event) (bool, error) {
	const op = "dynamo.Tell"
	name := s.db.name(table.Usage)
	level := &types.Update{
		TableName: name, Key: keyItem(table.AlertLevel(a.Org)),
		UpdateExpression: aws.String("SET #low = :low"),
		// A top-up that came meanwhile, or a lower limit that was told.
		ConditionExpression:       aws.String("#at = :at AND (attribute_not_exists(#low) OR #low > :low)"),
		ExpressionAttributeNames:  map[string]string{"#at": aCreated, "#low": aLowest},
		ExpressionAttributeValues: item{":at": millis(l.At), ":low": num(int64(a.Limit))},
	}
	if l.At.IsZero() {
		level.ConditionExpression = aws.String("attribute_not_exists(#at) AND (attribute_not_exists(#low) OR #low > :low)")
		delete(level.ExpressionAttributeValues, ":at")
	}
	it := keyItem(table.Alert(a.Org, a.Since, a.Threshold, int64(a.Limit)))
	it[aID], it[aThreshold], it[aLimit], it[aLeft], it[aLevel] = str(a.ID), str(a.Threshold), num(int64(a.Limit)), num(int64(a.Left)), num(int64(a.Level))
	it[aSince], it[aCreated], it[table.TTL] = millis(a.Since), millis(a.At), num(a.At.Add(alertLife).Unix())
	for try := range ledgerTries {
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Update: level}, ledgerPut(name, it, ifAbsent), ledgerPut(name, keptItem(ev), "")}})
		if err == nil {
			return true, nil
		}
		reasons := cancellation(err)
		if failedCondition(reasons, 0) || failedCondition(reasons, 1) {
			return false, nil
		}
		if reasons == nil && classifyWrite(err) != didNothing {
			return false, ledgerUnavailable(op, err)
		}
		if err := backoff(ctx, try); err != nil {
			return false, ledgerUnavailable(op, err)
		}
	}
	return false, ledgerUnavailable(op, nil)
}

// SetAbsolute implements [alert.Settings]. What was told stays told: a limit
// above it would only repeat it.
func (s AlertStore) SetAbsolute(ctx context.Context, org string, amount credit.Micro, row audit.Row) error {
	up := &types.Update{
		TableName: s.db.name(table.Usage), Key: keyItem(table.AlertLevel(org)), UpdateExpression: aws.String("SET #abs = :abs"),
		ExpressionAttributeNames: map[string]string{"#abs": aAbsolute}, ExpressionAttributeValues: item{":abs": num(int64(amount))},
	}
	_, err := s.db.commitWithAudit(ctx, "dynamo.SetAbsolute", row, types.TransactWriteItem{Update: up})
	return err
}

// Alerts implements [alert.Settings].
func (s AlertStore) Alerts(ctx context.Context, org, after string, limit int) ([]alert.Alert, string, error) {
	const op = "dynamo.Alerts"
	pk := table.AlertLevel(org).PK
	in := &dynamodb.QueryInput{
		TableName: s.db.name(table.Usage), ConsistentRead: aws.Bool(true), ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression: aws.String("#pk = :pk AND begins_with(#sk, :prefix)"), ExpressionAttributeNames: entriesBefore,
		ExpressionAttributeValues: item{":pk": str(pk), ":prefix": str(table.AlertPrefix)},
	}
	if strings.HasPrefix(after, table.AlertPrefix) {
		in.ExclusiveStartKey = keyItem(table.Key{PK: pk, SK: after})
	}
	page, err := s.db.api.Query(ctx, in)
	if err != nil {
		return nil, "", ledgerUnavailable(op, err)
	}
	out := make([]alert.Alert, len(page.Items))
	for i, it := range page.Items {
		r := read(it)
		out[i] = alert.Alert{ID: r.str(aID), Org: org, Threshold: r.str(aThreshold), Limit: credit.Micro(r.num(aLimit)), Left: credit.Micro(r.num(aLeft)),
			Level: credit.Micro(r.num(aLevel)), Since: r.time(aSince), At: r.time(aCreated)}
		if r.err != nil {
			return nil, "", ledgerRead(op, r.err)
		}
	}
	next := ""
	if len(page.LastEvaluatedKey) > 0 {
		next = read(page.LastEvaluatedKey).str(table.SK)
	}
	return out, next, nil
}
