package dynamo

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// Approvals implements [approval.Store], and what a turn needs to ask.
type Approvals struct{ db *DB }

// Approvals returns the store of calls that wait for a person.
func (db *DB) Approvals() Approvals { return Approvals{db} }

func encodeApproval(a approval.Approval) (item, error) {
	job, err := json.Marshal(a.Continuing)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "dynamo.encodeApproval", "internal error, try again later", err)
	}
	it := keyItem(table.Approval(a.Org, a.ID))
	for name, v := range (item{"org": str(a.Org), "id": str(a.ID), "st": str(string(a.State)), "tool": str(a.Tool), "v": num(a.Version), "args": str(a.Arguments), "sess": str(a.Session),
		"agent": str(a.Agent), "pers": str(a.Persona), "who": str(a.Asker), "integ": str(string(a.Integrity)), "turns": strs(a.Turns), "n": num(int64(a.Call)), "why": str(a.Reason),
		"by": str(a.DecidedBy), "at": millis(a.AskedAt), "exp": millis(a.ExpiresAt), "job": bin(job), table.TTL: num(a.ExpiresAt.Add(approval.Kept).Unix())}) {
		it[name] = v
	}
	if a.Nonce != "" {
		it["nonce"] = str(a.Nonce)
	}
	if !a.DecidedAt.IsZero() {
		it["done"] = millis(a.DecidedAt)
	}
	return it, nil
}

func decodeApproval(it item) (approval.Approval, error) {
	r := read(it)
	a := approval.Approval{Org: r.str("org"), ID: r.str("id"), State: approval.State(r.str("st")), Tool: r.str("tool"), Version: r.num("v"), Arguments: r.str("args"), Session: r.str("sess"),
		Agent: r.str("agent"), Persona: r.str("pers"), Asker: r.str("who"), Integrity: channel.Integrity(r.str("integ")), Turns: r.strs("turns"), Call: int(r.num("n")), Reason: r.str("why"),
		Nonce: r.str("nonce"), DecidedBy: r.str("by"), AskedAt: r.time("at"), ExpiresAt: r.time("exp"), DecidedAt: r.time("done")}
	if err := json.Unmarshal(r.bin("job"), &a.Continuing); err != nil {
		r.fail("job")
	}
	return a, r.err
}

// Ask stores a call with its audit row, when it is due, and the event that tells of it,
// which lies where those wait that the bus has not taken. A call that is stored
// already is left as it is, and is no error.
func (s Approvals) Ask(ctx context.Context, a approval.Approval, row audit.Row, told outbox.Event) error {
	it, err := encodeApproval(a)
	if err != nil {
		return err
	}
	_, err = s.db.commitWithAudit(ctx, "dynamo.Ask", row, s.db.putNew(table.Sessions, table.Approval(a.Org, a.ID), it), s.due(a),
		ledgerPut(s.db.name(table.Usage), keptItem(told), ""))
	return err
}

// due writes that something has to be done about a call; again is the same.
func (s Approvals) due(a approval.Approval) types.TransactWriteItem {
	it := keyItem(table.ApprovalDue(a.DueAt(), a.Org, a.ID))
	it[table.TTL] = num(a.ExpiresAt.Add(approval.Kept).Unix())
	return types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Sessions), Item: it}}
}

// Approval implements [approval.Store].
func (s Approvals) Approval(ctx context.Context, org, id string) (approval.Approval, error) {
	const op = "dynamo.Approval"
	missing := fault.New(fault.NotFound, op, "there is no such call that waits for approval")
	if !table.ValidID(id) {
		return approval.Approval{}, missing
	}
	it, err := s.db.get(ctx, table.Sessions, table.Approval(org, id), true)
	if err != nil {
		return approval.Approval{}, sessionsDown(op, err)
	}
	if it == nil {
		return approval.Approval{}, missing
	}
	a, err := decodeApproval(it)
	if err != nil {
		return a, storedBadly(op, err)
	}
	return a, nil
}

// Approvals implements [approval.Store].
func (s Approvals) Approvals(ctx context.Context, org, after string, limit int) ([]approval.Approval, string, error) {
	const op = "dynamo.Approvals"
	items, err := s.db.query(ctx, query{role: table.Sessions, pk: table.Approval(org, "").PK, after: after, limit: int32(limit + 1), consistent: true})
	if err != nil {
		return nil, "", sessionsDown(op, err)
	}
	var out []approval.Approval
	for _, it := range items {
		if len(out) == limit {
			return out, out[limit-1].ID, nil
		}
		a, err := decodeApproval(it)
		if err != nil {
			return nil, "", storedBadly(op, err)
		}
		out = append(out, a)
	}
	return out, "", nil
}

// Decide implements [approval.Store].
func (s Approvals) Decide(ctx context.Context, old, next approval.Approval, row audit.Row) error {
	const op = "dynamo.Decide"
	it, err := encodeApproval(next)
	if err != nil {
		return err
	}
	reasons, err := s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Sessions), Item: it,
		ConditionExpression: aws.String("#st = :pending"), ExpressionAttributeNames: map[string]string{"#st": "st"},
		ExpressionAttributeValues: item{":pending": str(string(approval.Pending))}}},
		types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Sessions), Key: keyItem(table.ApprovalDue(old.DueAt(), old.Org, old.ID))}},
		s.due(next))
	if reasons != nil {
		return fault.New(fault.Conflict, op, "this call was decided at the same time; read it again")
	}
	return err
}

// Sent implements [approval.Store].
func (s Approvals) Sent(ctx context.Context, a approval.Approval) error {
	_, err := s.db.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: s.db.name(table.Sessions), Key: keyItem(table.ApprovalDue(a.DueAt(), a.Org, a.ID))})
	if err != nil {
		return sessionsDown("dynamo.Sent", err)
	}
	return nil
}

// Due implements [approval.Store].
func (s Approvals) Due(ctx context.Context, now time.Time, limit int) ([]approval.Approval, error) {
	const op = "dynamo.Due"
	items, err := s.db.query(ctx, query{role: table.Sessions, pk: table.ApprovalsDue, limit: int32(limit), consistent: true})
	if err != nil {
		return nil, sessionsDown(op, err)
	}
	var out []approval.Approval
	for _, it := range items {
		at, rest, _ := strings.Cut(read(it).str(table.SK), "#")
		org, id, named := strings.Cut(rest, "#")
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil || !named {
			return nil, storedBadly(op, errItem)
		}
		if ms > now.UnixMilli() {
			break
		}
		a, err := s.Approval(ctx, org, id)
		if fault.CodeOf(err) == fault.NotFound {
			a, err = approval.Approval{Org: org, ID: id, DecidedAt: time.UnixMilli(ms).UTC()}, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// Turn is [session.Reader]'s.
func (s Approvals) Turn(ctx context.Context, org, id string) (session.Turn, []session.Part, error) {
	return Sessions(s).Turn(ctx, org, id)
}
