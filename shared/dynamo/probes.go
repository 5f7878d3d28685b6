package dynamo

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// SetHealth implements [connection.HealthStore] with one UpdateItem.
func (s Connections) SetHealth(ctx context.Context, seen connection.Connection, h connection.Health) error {
	const op = "dynamo.SetHealth"
	next := seen
	next.Health = h
	update := "SET #health = :health ADD #v :one REMOVE #dx, #due"
	values := item{":health": encodeHealth(h), ":active": str(string(connection.Active)), ":on": boolean(seen.Enabled),
		":fp": str(seen.Fingerprint), ":url": str(seen.BaseURL), ":at": millis(seen.Health.CheckedAt), ":one": num(1)}
	if due, ok := next.NextProbe(); ok {
		update = "SET #health = :health, #dx = :dx, #due = :due ADD #v :one"
		values[":dx"], values[":due"] = str(table.ProbesDue), num(due.UnixMilli())
	}
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Config), Key: keyItem(table.Connection(seen.Org, seen.ID)),
		UpdateExpression:    aws.String(update),
		ConditionExpression: aws.String("#st = :active AND #on = :on AND #fp = :fp AND #url = :url AND #health.#at = :at"),
		ExpressionAttributeNames: map[string]string{"#health": "health", "#at": "at", "#st": "st", "#on": "on", "#fp": "fp", "#url": "url", "#v": "v",
			"#dx": table.ProbesPK, "#due": table.ProbesSK},
		ExpressionAttributeValues: values,
	})
	if _, lost := conditionFailed(err); lost {
		return changedMeanwhile(op)
	}
	if err != nil {
		return configDown(op, err)
	}
	return nil
}

// DueProbes implements the queue of package probe on the index.
func (s Connections) DueProbes(ctx context.Context, now time.Time, limit int) ([]connection.Name, error) {
	out, err := s.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName: s.db.name(table.Config), IndexName: aws.String(table.ProbesIndex), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression:    aws.String("#dx = :dx AND #due <= :now"),
		ExpressionAttributeNames:  map[string]string{"#dx": table.ProbesPK, "#due": table.ProbesSK},
		ExpressionAttributeValues: item{":dx": str(table.ProbesDue), ":now": num(now.UnixMilli())},
	})
	if err != nil {
		return nil, configDown("dynamo.DueProbes", err)
	}
	var due []connection.Name
	for _, it := range out.Items {
		r := read(it)
		if org, id, ok := table.ParseConnection(table.Key{PK: r.str(table.PK), SK: r.str(table.SK)}); ok && r.err == nil {
			due = append(due, connection.Name{Org: org, ID: id})
		}
	}
	return due, nil
}

// Take implements [connection.Limiter] with one conditional ADD per limit. The
// counters expire by themselves.
func (s Connections) Take(ctx context.Context, org string, now time.Time, limits ...connection.Limit) error {
	const op = "dynamo.Take"
	for _, l := range limits {
		start := now.UTC().Truncate(l.Window)
		_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: s.db.name(table.Config), Key: keyItem(table.Count(org, l.Name, start)),
			UpdateExpression:          aws.String("ADD #n :one SET #ttl = :ttl"),
			ConditionExpression:       aws.String("attribute_not_exists(#n) OR #n < :max"),
			ExpressionAttributeNames:  map[string]string{"#n": "n", "#ttl": table.TTL},
			ExpressionAttributeValues: item{":one": num(1), ":max": num(l.Max), ":ttl": num(start.Add(2 * l.Window).Unix())},
		})
		if _, full := conditionFailed(err); full {
			f := fault.New(fault.RateLimited, op, "too many attempts: at most "+strconv.FormatInt(l.Max, 10)+" in "+
				strconv.Itoa(int(l.Window/time.Second))+" seconds are allowed, wait for retry_after")
			f.RetryAfter = start.Add(l.Window).Sub(now)
			return f
		}
		if err != nil {
			return configDown(op, err)
		}
	}
	return nil
}
