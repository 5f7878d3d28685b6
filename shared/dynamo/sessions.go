package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// Sessions implements [session.Dedupe], [session.Turns], [session.Transcript],
// [session.Aliases] and [session.Reader].
type Sessions struct{ db *DB }

// Sessions returns the store of conversations.
func (db *DB) Sessions() Sessions { return Sessions{db} }

// sessionTries bounds the repeats of a transaction that met another one.
const sessionTries = 8

func sessionsDown(op string, err error) error {
	return fault.Wrap(fault.Unavailable, op, "the session store did not answer, try again", err)
}

// Receive implements [session.Dedupe]. Whether a receipt is marked is read beside
// it; rows of before bear the mark themselves.
func (s Sessions) Receive(ctx context.Context, install, key, eventID string, now time.Time, ttl time.Duration) (session.Receipt, bool, error) {
	const op = "dynamo.Receive"
	now = now.UTC().Truncate(time.Millisecond)
	expires := now.Add(ttl)
	it := keyItem(table.Dedupe(install, key))
	it["ev"], it["at"], it["exp"], it[table.TTL] = str(eventID), millis(now), millis(expires), num(expires.Unix())
	err := s.db.direct.Insist(ctx, s.db.direct.put, &dynamodb.PutItemInput{
		TableName: s.db.name(table.Sessions), Item: it,
		ConditionExpression:                 aws.String("attribute_not_exists(#pk) OR #exp <= :now"),
		ExpressionAttributeNames:            map[string]string{"#pk": table.PK, "#exp": "exp"},
		ExpressionAttributeValues:           item{":now": millis(now)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, new(dynamodb.PutItemOutput))
	if err == nil {
		return session.Receipt{EventID: eventID, At: now, Until: expires}, true, nil
	}
	old, lost := conditionFailed(err)
	if !lost {
		return session.Receipt{}, false, sessionsDown(op, err)
	}
	r := read(old)
	found := session.Receipt{EventID: r.str("ev"), At: r.time("at"), Until: r.time("exp"), Enqueued: r.bool("enq")}
	if r.err != nil || found.EventID == "" {
		return session.Receipt{}, false, storedBadly(op, errors.Join(r.err, errItem))
	}
	if found.At.IsZero() {
		found.At = found.Until // a row of before
	}
	if !found.Enqueued {
		mark, err := s.db.get(ctx, table.Sessions, queuedKey(install, key, found), true)
		if err != nil {
			return session.Receipt{}, false, sessionsDown(op, err)
		}
		found.Enqueued = mark != nil
	}
	return found, false, nil
}

// queuedKey is the row of the log that marks a receipt. The receipt's time is in
// it, so that an event that is received anew after its time has no mark.
func queuedKey(install, key string, r session.Receipt) table.Key {
	return table.Delivery(install, r.At, key+"#queued")
}

// Queued implements [session.Dedupe]. The mark outlives the receipt.
func (s Sessions) Queued(ctx context.Context, key string, r session.Receipt, d session.Delivery) error {
	end := d.At.Add(session.DeliveryTTL)
	if r.Until.After(end) {
		end = r.Until
	}
	it := keyItem(queuedKey(d.Install, key, r))
	it["ev"], it["out"], it["code"], it["at"] = str(d.EventID), str(string(d.Outcome)), str(d.Code), millis(d.At)
	it["turn"], it["n"], it[table.TTL] = str(d.TurnID), num(1), num(end.Unix())
	err := s.db.direct.Insist(ctx, s.db.direct.put, &dynamodb.PutItemInput{TableName: s.db.name(table.Sessions), Item: it}, new(dynamodb.PutItemOutput))
	if err != nil {
		return sessionsDown("dynamo.Queued", err)
	}
	return nil
}

// Log implements [session.Dedupe]. Equal rows of one minute share an item.
func (s Sessions) Log(ctx context.Context, d session.Delivery) error {
	minute := d.At.UTC().Truncate(time.Minute)
	event := "-"
	if d.EventID != "" {
		// The vendor's id may hold anything; the dedupe key of it may not.
		event = session.DedupeKey(d.EventID, "")
	}
	key := event + "#" + d.Code
	if d.URLHint != "" {
		key += "#" + d.URLHint
	}
	end := d.At.Add(session.DeliveryTTL)
	hint := ""
	names := map[string]string{"#ev": "ev", "#out": "out", "#code": "code", "#at": "at", "#turn": "turn", "#ttl": table.TTL, "#n": "n"}
	values := item{":ev": str(d.EventID), ":out": str(string(d.Outcome)), ":code": str(d.Code), ":at": millis(d.At),
		":turn": str(d.TurnID), ":ttl": num(end.Unix()), ":one": num(1)}
	if d.URLHint != "" {
		hint = "#hint = :hint, "
		names["#hint"], values[":hint"] = "hint", str(d.URLHint)
	}
	err := s.db.direct.Insist(ctx, s.db.direct.update, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Delivery(d.Install, minute, key)),
		UpdateExpression: aws.String("SET " + hint + "#ev = if_not_exists(#ev, :ev), #out = if_not_exists(#out, :out), #code = if_not_exists(#code, :code), " +
			"#at = if_not_exists(#at, :at), #turn = if_not_exists(#turn, :turn), #ttl = if_not_exists(#ttl, :ttl) ADD #n :one"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}, new(dynamodb.UpdateItemOutput))
	if err != nil {
		return sessionsDown("dynamo.Log", err)
	}
	return nil
}

// Deliveries implements [session.Reader].
func (s Sessions) Deliveries(ctx context.Context, install, after string, limit int) ([]session.Delivery, string, error) {
	const op = "dynamo.Deliveries"
	before := "~"
	if after != "" {
		before = after
	}
	out, err := s.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName:                 s.db.name(table.Sessions),
		KeyConditionExpression:    aws.String("#pk = :pk AND #sk < :before"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#sk": table.SK},
		ExpressionAttributeValues: item{":pk": str(table.Delivery(install, time.Time{}, "").PK), ":before": str(before)},
		ScanIndexForward:          aws.Bool(false), ConsistentRead: aws.Bool(true), Limit: aws.Int32(int32(limit + 1)),
	})
	if err != nil {
		return nil, "", sessionsDown(op, err)
	}
	var page []session.Delivery
	last := ""
	for _, it := range out.Items {
		if len(page) == limit {
			return page, last, nil
		}
		r := read(it)
		page = append(page, session.Delivery{Install: install, EventID: r.str("ev"), Outcome: session.Outcome(r.str("out")), Code: r.str("code"),
			At: r.time("at"), Count: r.num("n"), TurnID: r.str("turn"), URLHint: r.str("hint")})
		if last = r.str(table.SK); r.err != nil {
			return nil, "", storedBadly(op, r.err)
		}
	}
	return page, "", nil
}

func encodeSession(x session.Session) item {
	return item{"org": str(x.Org), "id": str(x.ID), "key": str(x.Key), "inst": str(x.Install), "agent": str(x.AgentID), "pers": str(x.PersonaID),
		"prov": str(x.Provider), "space": str(x.Space), "th": str(x.Thread), "at": millis(x.CreatedAt), "mod": millis(x.UpdatedAt), "nx": num(x.Next),
		"pm": str(x.Pin.Model), "pc": str(x.Pin.Connection)}
}

func decodeSession(it item) (session.Session, error) {
	r := read(it)
	x := session.Session{Org: r.str("org"), ID: r.str("id"), Key: r.str("key"), Install: r.str("inst"), AgentID: r.str("agent"), PersonaID: r.str("pers"),
		Provider: r.str("prov"), Space: r.str("space"), Thread: r.str("th"), CreatedAt: r.time("at"), UpdatedAt: r.time("mod"), Next: r.num("nx"),
		Pin: session.Pin{Model: r.str("pm"), Connection: r.str("pc")}, Summary: session.Summary{Text: r.str("sum"), Before: r.num("sumn")}, Loop: r.str("lp"),
		Handoff: decodeHandoff(r), Way: r.bin("way")}
	return x, r.err
}

// Session implements [session.Reader].
func (s Sessions) Session(ctx context.Context, org, id string) (session.Session, error) {
	const op = "dynamo.Session"
	missing := fault.New(fault.NotFound, op, "there is no such session")
	if !table.ValidID(id) {
		return session.Session{}, missing
	}
	it, err := s.db.get(ctx, table.Sessions, table.Session(org, id), true)
	if err != nil {
		return session.Session{}, sessionsDown(op, err)
	}
	if it == nil {
		return session.Session{}, missing
	}
	x, err := decodeSession(it)
	if err != nil {
		return session.Session{}, storedBadly(op, err)
	}
	return x, nil
}

// Open implements [session.Transcript]. The row that lists the session is
// written with it; both hold what never changes.
func (s Sessions) Open(ctx context.Context, x session.Session, now time.Time) (session.Session, error) {
	const op = "dynamo.Open"
	if found, err := s.Session(ctx, x.Org, x.ID); fault.CodeOf(err) != fault.NotFound {
		return found, err
	}
	x.CreatedAt, x.UpdatedAt, x.Next = now.UTC().Truncate(time.Millisecond), now.UTC().Truncate(time.Millisecond), 0
	_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		s.db.putNew(table.Sessions, table.Session(x.Org, x.ID), encodeSession(x)),
		s.db.putNew(table.Sessions, table.OrgSession(x.Org, x.ID), encodeSession(x)),
	}})
	if err != nil {
		// Another opener may have won; what is stored decides.
		if found, readErr := s.Session(ctx, x.Org, x.ID); readErr == nil {
			return found, nil
		}
		return session.Session{}, sessionsDown(op, err)
	}
	return x, nil
}

// Sessions implements [session.Reader].
func (s Sessions) Sessions(ctx context.Context, org, after string, limit int) ([]session.Session, string, error) {
	page, next, err := s.sessionRows(ctx, "dynamo.Sessions", table.OrgSession(org, "").PK, after, limit)
	if err != nil || len(page) == 0 {
		return nil, "", err
	}
	// The rows above never change. Of those that people answer in as many are read as
	// can be on the page.
	handed, _, err := s.Handed(ctx, org, after, len(page))
	if err != nil {
		return nil, "", err
	}
	for _, h := range handed {
		if k, ok := slices.BinarySearchFunc(page, h.ID, func(x session.Session, id string) int { return strings.Compare(x.ID, id) }); ok {
			page[k].Handoff = h.Handoff
		}
	}
	return page, next, nil
}

func encodeMessage(m session.Message) item {
	return item{"seq": num(m.Seq), "role": str(string(m.Role)), "text": str(m.Text), "agent": str(m.AgentID), "pers": str(m.PersonaID),
		"turn": str(m.TurnID), "ev": str(m.EventID), "at": millis(m.At)}
}

func decodeMessages(op string, items []item) ([]session.Message, error) {
	out := make([]session.Message, 0, len(items))
	for _, it := range items {
		r := read(it)
		out = append(out, session.Message{Seq: r.num("seq"), Role: session.Role(r.str("role")), Text: r.str("text"), AgentID: r.str("agent"),
			PersonaID: r.str("pers"), TurnID: r.str("turn"), EventID: r.str("ev"), At: r.time("at")})
		if r.err != nil {
			return nil, storedBadly(op, r.err)
		}
	}
	return out, nil
}

// messagePrefix begins the sort key of every message.
func messagePrefix(org, id string) (pk, prefix string) {
	k := table.Message(org, id, 0)
	return k.PK, strings.TrimRight(k.SK, "0")
}

// Messages implements [session.Reader].
func (s Sessions) Messages(ctx context.Context, org, id, after string, limit int) ([]session.Message, string, error) {
	const op = "dynamo.Messages"
	pk, prefix := messagePrefix(org, id)
	if after != "" {
		after = prefix + after
	}
	items, err := s.db.query(ctx, query{role: table.Sessions, pk: pk, prefix: prefix, after: after, limit: int32(limit + 1), consistent: true})
	if err != nil {
		return nil, "", sessionsDown(op, err)
	}
	page, err := decodeMessages(op, items)
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	return page[:limit], fmt.Sprintf("%012d", page[limit-1].Seq), nil
}

// Quiet implements [session.Transcript].
func (s Sessions) Quiet(ctx context.Context, org, id, loop string) error {
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Session(org, id)),
		UpdateExpression: aws.String("SET #lp = :lp"), ConditionExpression: aws.String("attribute_exists(#pk)"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#lp": "lp"},
		ExpressionAttributeValues: item{":lp": str(loop)},
	})
	if err != nil {
		return sessionsDown("dynamo.Quiet", err)
	}
	return nil
}

// Room implements [session.Rooms].
func (s Sessions) Room(ctx context.Context, org, id string) (string, error) {
	const op = "dynamo.Room"
	it, err := s.db.get(ctx, table.Sessions, table.Room(org, id), true)
	if err != nil {
		return "", sessionsDown(op, err)
	}
	if it == nil {
		return "", nil
	}
	r := read(it)
	kept := r.str("lp")
	if r.err != nil {
		return "", storedBadly(op, r.err)
	}
	return kept, nil
}

// KeepRoom implements [session.Rooms].
func (s Sessions) KeepRoom(ctx context.Context, org, id, was, next string, until time.Time) error {
	in := &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Room(org, id)),
		UpdateExpression: aws.String("SET #lp = :lp, #ttl = :ttl"), ConditionExpression: aws.String("attribute_not_exists(#lp)"),
		ExpressionAttributeNames:  map[string]string{"#lp": "lp", "#ttl": table.TTL},
		ExpressionAttributeValues: item{":lp": str(next), ":ttl": num(until.Unix())},
	}
	if was != "" {
		in.ConditionExpression, in.ExpressionAttributeValues[":was"] = aws.String("#lp = :was"), str(was)
	}
	_, err := s.db.api.UpdateItem(ctx, in)
	if _, changed := conditionFailed(err); changed {
		return session.ErrChanged
	}
	if err != nil {
		return sessionsDown("dynamo.KeepRoom", err)
	}
	return nil
}

// Recent implements [session.Transcript].
func (s Sessions) Recent(ctx context.Context, org, id string, from int64, limit int) ([]session.Message, error) {
	const op = "dynamo.Recent"
	pk, prefix := messagePrefix(org, id)
	after := ""
	if from > 0 {
		after = table.Message(org, id, from-1).SK
	}
	items, err := s.db.query(ctx, query{role: table.Sessions, pk: pk, prefix: prefix, after: after, limit: int32(limit), descending: true, consistent: true})
	if err != nil {
		return nil, sessionsDown(op, err)
	}
	out, err := decodeMessages(op, items)
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, err
}
