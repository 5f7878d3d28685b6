package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Connections implements [connection.Store], [connection.CooldownStore],
// [connection.HealthStore], [connection.OfferStore], [connection.Limiter] and the queue of package probe.
type Connections struct{ db *DB }

// Connections returns the store of connections.
func (db *DB) Connections() Connections { return Connections{db} }

func encodeConnection(c connection.Connection) item {
	caps := make([]string, len(c.Capabilities))
	for i, v := range c.Capabilities {
		caps[i] = string(v)
	}
	it := item{
		"id": str(c.ID), "org": str(c.Org), "prov": str(string(c.Provider)), "label": str(c.Label), "url": str(c.BaseURL), "origin": str(c.Origin),
		"models": strs(c.Models), "prio": num(c.Priority), "on": boolean(c.Enabled), "src": str(string(c.BillingSource)),
		"apf": boolean(c.AllowPlatformFallback), "voice": str(c.DefaultVoiceID), "caps": strs(caps),
		"health": encodeHealth(c.Health), "prev": millis(c.PreviousUntil),
		"fails": num(c.Cooldown.Failures), "cool": millis(c.Cooldown.Until), "ref": boolean(c.Cooldown.Refused), "st": str(string(c.Status)),
		"cls": str(string(c.Class)), "keyless": boolean(c.Keyless), "hint": str(c.Hint), "fp": str(c.Fingerprint),
		"at": millis(c.CreatedAt), "v": num(c.Version),
	}
	if at, ok := c.NextProbe(); ok {
		it[table.ProbesPK], it[table.ProbesSK] = str(table.ProbesDue), num(at.UnixMilli())
	}
	return it
}

func encodeHealth(h connection.Health) types.AttributeValue {
	return mapping(item{"st": str(string(h.Status)), "why": str(h.Reason), "probe": str(string(h.Probe)), "http": num(int64(h.HTTPStatus)),
		"at": millis(h.CheckedAt), "since": millis(h.Since), "ms": num(h.LatencyMS), "models": num(h.ModelCount), "voices": num(h.VoiceCount)})
}

func decodeConnection(it item) (connection.Connection, error) {
	r := read(it)
	h := read(r.sub("health"))
	c := connection.Connection{
		ID: r.str("id"), Org: r.str("org"), Provider: taxonomy.Provider(r.str("prov")), Label: r.str("label"), BaseURL: r.str("url"), Origin: r.str("origin"),
		Models: r.strs("models"), Priority: r.num("prio"), Enabled: r.bool("on"), BillingSource: taxonomy.BillingSource(r.str("src")),
		AllowPlatformFallback: r.bool("apf"), DefaultVoiceID: r.str("voice"),
		Health: connection.Health{Status: connection.HealthStatus(h.str("st")), Reason: h.str("why"), Probe: connection.Probe(h.str("probe")),
			HTTPStatus: int(h.num("http")), CheckedAt: h.time("at"), Since: h.time("since"),
			LatencyMS: h.num("ms"), ModelCount: h.num("models"), VoiceCount: h.num("voices")},
		Cooldown: connection.Cooldown{Failures: r.num("fails"), Until: r.time("cool"), Refused: r.bool("ref")}, Status: connection.Status(r.str("st")),
		Class: taxonomy.CredentialClass(r.str("cls")), Keyless: r.bool("keyless"), Hint: r.str("hint"), Fingerprint: r.str("fp"),
		PreviousUntil: r.time("prev"), CreatedAt: r.time("at"), Version: r.num("v"),
	}
	for _, v := range r.strs("caps") {
		c.Capabilities = append(c.Capabilities, taxonomy.Capability(v))
	}
	return c, errors.Join(r.err, h.err)
}

// Connection implements [connection.Store].
func (s Connections) Connection(ctx context.Context, org, id string) (connection.Connection, error) {
	it, err := s.db.get(ctx, table.Config, table.Connection(org, id), true)
	if err != nil {
		return connection.Connection{}, configDown("dynamo.Connection", err)
	}
	if it == nil {
		return connection.Connection{}, fault.New(fault.NotFound, "dynamo.Connection", "there is no such connection")
	}
	c, err := decodeConnection(it)
	if err != nil {
		return connection.Connection{}, storedBadly("dynamo.Connection", err)
	}
	return c, nil
}

// Connections implements [connection.Store].
func (s Connections) Connections(ctx context.Context, org string) ([]connection.Connection, error) {
	k := table.Connection(org, "")
	items, err := s.db.query(ctx, query{role: table.Config, pk: k.PK, prefix: k.SK, consistent: true})
	if err != nil {
		return nil, configDown("dynamo.Connections", err)
	}
	out := make([]connection.Connection, len(items))
	for i, it := range items {
		if out[i], err = decodeConnection(it); err != nil {
			return nil, storedBadly("dynamo.Connections", err)
		}
	}
	return out, nil
}

// usedKey is what a connection occupies, empty if nothing. As in the vault, one
// key may serve two origins.
func usedKey(c connection.Connection) string {
	if c.Status != connection.Active || c.Fingerprint == "" {
		return ""
	}
	return c.Fingerprint + "#" + c.Origin
}

func (s Connections) takeKey(c connection.Connection) types.TransactWriteItem {
	return s.db.putNew(table.Config, table.KeyUse(c.Org, usedKey(c)), item{"conn": str(c.ID)})
}

func (s Connections) dropKey(c connection.Connection) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{
		TableName: s.db.name(table.Config), Key: keyItem(table.KeyUse(c.Org, usedKey(c))),
		ConditionExpression:       aws.String("#conn = :id"),
		ExpressionAttributeNames:  map[string]string{"#conn": "conn"},
		ExpressionAttributeValues: item{":id": str(c.ID)},
	}}
}

func keyTaken(op string) error {
	return fault.New(fault.Conflict, op, "another connection of this organisation uses this key already; change that one").WithParam("api_key")
}

// CreateConnection implements [connection.Store].
func (s Connections) CreateConnection(ctx context.Context, c connection.Connection, row audit.Row) error {
	actions := []types.TransactWriteItem{s.db.putNew(table.Config, table.Connection(c.Org, c.ID), encodeConnection(c))}
	if usedKey(c) != "" {
		actions = append(actions, s.takeKey(c))
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.CreateConnection", row, actions...)
	switch {
	case failed(reasons, 0):
		return fault.New(fault.Conflict, "dynamo.CreateConnection", "a connection with this id exists already")
	case reasons != nil:
		return keyTaken("dynamo.CreateConnection")
	}
	return err
}

// ifVersion is the condition that an item still has the version that was read.
func ifVersion(v int64) (*string, map[string]string, item) {
	return aws.String("#v = :seen"), map[string]string{"#v": "v"}, item{":seen": num(v)}
}

// UpdateConnection implements [connection.Store].
func (s Connections) UpdateConnection(ctx context.Context, old, next connection.Connection, row audit.Row) error {
	it := encodeConnection(next)
	key := table.Connection(old.Org, old.ID)
	it[table.PK], it[table.SK] = str(key.PK), str(key.SK)
	condition, names, values := ifVersion(old.Version)
	actions := []types.TransactWriteItem{{Put: &types.Put{TableName: s.db.name(table.Config), Item: it,
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}}
	if usedKey(old) != usedKey(next) {
		if usedKey(next) != "" {
			actions = append(actions, s.takeKey(next))
		}
		if usedKey(old) != "" {
			actions = append(actions, s.dropKey(old))
		}
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.UpdateConnection", row, actions...)
	switch {
	case failed(reasons, 0):
		return changedMeanwhile("dynamo.UpdateConnection")
	case reasons != nil:
		return keyTaken("dynamo.UpdateConnection")
	}
	return err
}

// DeleteConnection implements [connection.Store].
func (s Connections) DeleteConnection(ctx context.Context, old connection.Connection, row audit.Row) error {
	condition, names, values := ifVersion(old.Version)
	actions := []types.TransactWriteItem{{Delete: &types.Delete{
		TableName: s.db.name(table.Config), Key: keyItem(table.Connection(old.Org, old.ID)),
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}}
	actions = append(actions, types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Config), Key: keyItem(table.Offers(old.Org, old.ID))}})
	if usedKey(old) != "" {
		actions = append(actions, s.dropKey(old))
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.DeleteConnection", row, actions...)
	if reasons != nil {
		return changedMeanwhile("dynamo.DeleteConnection")
	}
	return err
}

// SetCooldown implements [connection.CooldownStore] with one UpdateItem, the
// only write to the config table that the calling functions may do.
func (s Connections) SetCooldown(ctx context.Context, org, id string, c connection.Cooldown, seen int64) error {
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Config), Key: keyItem(table.Connection(org, id)),
		UpdateExpression:         aws.String("SET #fails = :fails, #cool = :cool, #ref = :ref, #v = :next"),
		ConditionExpression:      aws.String("#v = :seen"),
		ExpressionAttributeNames: map[string]string{"#fails": "fails", "#cool": "cool", "#ref": "ref", "#v": "v"},
		ExpressionAttributeValues: item{":fails": num(c.Failures), ":cool": millis(c.Until), ":ref": boolean(c.Refused),
			":next": num(seen + 1), ":seen": num(seen)},
	})
	if _, lost := conditionFailed(err); lost {
		return changedMeanwhile("dynamo.SetCooldown")
	}
	if err != nil {
		return configDown("dynamo.SetCooldown", err)
	}
	return nil
}
