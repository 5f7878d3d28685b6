package dynamo

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// showing adds to a transaction that a person is shown a message: as the next one of
// the session, if nobody takes its number meanwhile. Nobody is typing any more then.
func (s Sessions) showing(ctx context.Context, t session.Turn, x session.Shown, to []types.TransactWriteItem) ([]types.TransactWriteItem, error) {
	const op = "dynamo.showing"
	state := table.ShownState(t.Org, t.Session)
	it, err := s.db.get(ctx, table.Sessions, state, true)
	if err != nil {
		return nil, sessionsDown(op, err)
	}
	r := read(it)
	seen := r.num("n")
	if r.err != nil {
		return nil, storedBadly(op, r.err)
	}
	count := &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(state),
		UpdateExpression: aws.String("SET #n = :next, #ty = :none"), ConditionExpression: aws.String("#n = :seen"),
		ExpressionAttributeNames:  map[string]string{"#n": "n", "#ty": "ty"},
		ExpressionAttributeValues: item{":next": num(seen + 1), ":none": num(0), ":seen": num(seen)},
	}
	if seen == 0 {
		count.ConditionExpression = aws.String("attribute_not_exists(#n)")
		delete(count.ExpressionAttributeValues, ":seen")
	}
	return append(slices.Clip(to), types.TransactWriteItem{Update: count}, s.db.putNew(table.Sessions, table.ShownItem(t.Org, t.Session, seen+1), item{
		"seq": num(seen + 1), "role": str(string(x.Role)), "text": str(x.Text), "by": str(x.By), "mid": str(x.Message), "turn": str(x.Turn), "at": millis(x.At)})), nil
}

// Shown implements [session.ShownReader] in one query.
func (s Sessions) Shown(ctx context.Context, org, id string, after int64, limit int) (session.ShownPage, error) {
	const op = "dynamo.Shown"
	// The state lies behind the messages, and one more says whether there are newer ones.
	q := query{role: table.Sessions, pk: table.ShownState(org, id).PK, limit: int32(limit + 2), consistent: true, descending: after == 0}
	if after > 0 {
		q.after = table.ShownItem(org, id, after).SK
	}
	items, err := s.db.query(ctx, q)
	if err != nil {
		return session.ShownPage{}, sessionsDown(op, err)
	}
	var page session.ShownPage
	for _, it := range items {
		r := read(it)
		if r.str(table.SK) == table.ShownState(org, id).SK {
			page.Typing = r.time("ty")
		} else {
			page.Items = append(page.Items, session.Shown{Seq: r.num("seq"), Role: session.Role(r.str("role")), Text: r.str("text"), By: r.str("by"),
				Message: r.str("mid"), Turn: r.str("turn"), At: r.time("at")})
		}
		if r.err != nil {
			return session.ShownPage{}, storedBadly(op, r.err)
		}
	}
	page.More = after > 0 && len(page.Items) > limit
	page.Items = page.Items[:min(limit, len(page.Items))]
	if after == 0 {
		slices.Reverse(page.Items)
	}
	return page, nil
}

// Typing implements [session.Signs].
func (s Sessions) Typing(ctx context.Context, org, id string, until time.Time) error {
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.ShownState(org, id)),
		UpdateExpression: aws.String("SET #ty = :until"), ExpressionAttributeNames: map[string]string{"#ty": "ty"},
		ExpressionAttributeValues: item{":until": millis(until)},
	})
	if err != nil {
		return sessionsDown("dynamo.Typing", err)
	}
	return nil
}
