package dynamo

import (
	"bytes"
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// aHandoff is the attribute of a session that says that a person answers.
const aHandoff = "ho"

func encodeHandoff(h session.Handoff) types.AttributeValue {
	return mapping(item{"at": millis(h.At), "by": str(h.By), "why": str(h.Reason), "turn": str(h.Turn), "last": millis(h.LastAt), "res": num(h.Resume.Milliseconds())})
}

func decodeHandoff(r *reader) *session.Handoff {
	if !r.has(aHandoff) {
		return nil
	}
	h := read(r.sub(aHandoff))
	out := &session.Handoff{At: h.time("at"), By: h.str("by"), Reason: h.str("why"), Turn: h.str("turn"), LastAt: h.time("last"), Resume: time.Duration(h.num("res")) * time.Millisecond}
	if h.err != nil || out.At.IsZero() {
		r.fail(aHandoff)
	}
	return out
}

// handedRow lists a session while a person answers in it.
func (s Sessions) handedRow(x session.Session, h session.Handoff) types.TransactWriteItem {
	it := encodeSession(x)
	for name, v := range keyItem(table.Handed(x.Org, x.ID)) {
		it[name] = v
	}
	it[aHandoff] = encodeHandoff(h)
	return types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Sessions), Item: it}}
}

// handing are the writes of a change; the first is conditional on what was read of x.
func (s Sessions) handing(x session.Session, c handoff.Change) []types.TransactWriteItem {
	m := c.Message
	m.Seq = x.Next
	up := s.nextMessage(x, &m)
	row := types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Sessions), Key: keyItem(table.Handed(x.Org, x.ID))}}
	up.Update.ExpressionAttributeNames["#ho"] = aHandoff
	if c.Next == nil {
		*up.Update.UpdateExpression += " REMOVE #ho"
	} else {
		*up.Update.UpdateExpression += ", #ho = :ho"
		up.Update.ExpressionAttributeValues[":ho"] = encodeHandoff(*c.Next)
		row = s.handedRow(x, *c.Next)
	}
	out := []types.TransactWriteItem{up, row, s.db.putNew(table.Sessions, table.Message(x.Org, x.ID, m.Seq), encodeMessage(m))}
	if c.Event != nil {
		out = append(out, ledgerPut(s.db.name(table.Usage), keptItem(*c.Event), ""))
	}
	return out
}

// Hand implements [handoff.Store].
func (s Sessions) Hand(ctx context.Context, x session.Session, c handoff.Change) error {
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.Hand", c.Row, s.handing(x, c)...)
	if reasons != nil {
		return session.ErrChanged
	}
	return err
}

// HandOver stores what Plan does, and the change. A sequence number that another
// writer took is retried; [session.ErrTakenOver] if a person answers already,
// [session.ErrFenced] as Plan.
func (s Sessions) HandOver(ctx context.Context, t session.Turn, parts []session.Part, c handoff.Change, now time.Time) error {
	const op = "dynamo.HandOver"
	plan := s.planning(t, parts, now)
	for try := range sessionTries {
		x, err := s.Session(ctx, t.Org, t.Session)
		if err != nil {
			return err
		}
		if x.Handoff != nil {
			return session.ErrTakenOver
		}
		reasons, err := s.db.commitWithAudit(ctx, op, c.Row, append(plan[:len(plan):len(plan)], s.handing(x, c)...)...)
		if err != nil || reasons == nil {
			return err
		}
		if failed(reasons, 0) {
			return session.ErrFenced
		}
		if err := backoff(ctx, try); err != nil {
			return sessionsDown(op, err)
		}
	}
	return fault.New(fault.Unavailable, op, "the session is busy, try again")
}

// Handed implements [handoff.Store].
func (s Sessions) Handed(ctx context.Context, org, after string, limit int) ([]session.Session, string, error) {
	return s.sessionRows(ctx, "dynamo.Handed", table.Handed(org, "").PK, after, limit)
}

// sessionRows reads rows that list sessions.
func (s Sessions) sessionRows(ctx context.Context, op, pk, after string, limit int) ([]session.Session, string, error) {
	rows, err := s.db.query(ctx, query{role: table.Sessions, pk: pk, after: after, limit: int32(limit + 1), consistent: true})
	if err != nil {
		return nil, "", sessionsDown(op, err)
	}
	var out []session.Session
	for _, row := range rows {
		if len(out) == limit {
			return out, out[limit-1].ID, nil
		}
		x, err := decodeSession(row)
		if err != nil {
			return nil, "", storedBadly(op, err)
		}
		out = append(out, x)
	}
	return out, "", nil
}

// Say implements [handoff.Store].
func (s Sessions) Say(ctx context.Context, said handoff.Said, row audit.Row) (handoff.Said, error) {
	const op = "dynamo.Say"
	it := item{"sum": bin(said.Sum), "at": millis(said.At)}
	reasons, err := s.db.commitWithAudit(ctx, op, row, s.db.putNew(table.Sessions, table.Said(said.Org, said.Turn), it))
	if err != nil || reasons == nil {
		return said, err
	}
	first, err := saidIn(op, said.Org, said.Turn, reasons[0].Item)
	if err == nil && aws.ToString(reasons[0].Code) != reasonCondition {
		err = storedBadly(op, errItem)
	}
	return first, err
}

// saidIn reads what was said under a turn.
func saidIn(op, org, turn string, it item) (handoff.Said, error) {
	r := read(it)
	first := handoff.Said{Org: org, Turn: turn, Sum: bytes.Clone(r.bin("sum")), At: r.time("at")}
	if r.err != nil {
		return first, storedBadly(op, errItem)
	}
	return first, nil
}

// Said implements [handoff.Store].
func (s Sessions) Said(ctx context.Context, org, turn string) (handoff.Said, error) {
	const op = "dynamo.Said"
	it, err := s.db.get(ctx, table.Sessions, table.Said(org, turn), true)
	switch {
	case err != nil:
		return handoff.Said{}, sessionsDown(op, err)
	case it == nil:
		return handoff.Said{}, fault.New(fault.NotFound, op, "nothing was said under this turn")
	}
	return saidIn(op, org, turn, it)
}
