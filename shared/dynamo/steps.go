package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// stepPrefix begins the sort key of every step of a turn.
const stepPrefix = "STEP#"

func encodeStep(s session.Step) item {
	return item{"n": num(int64(s.N)), "kind": str(string(s.Kind)), "req": str(s.RequestID), "rcpt": bin(append([]byte{}, s.Receipt...)),
		"data": bin(append([]byte{}, s.Data...)), "call": str(s.Call.ID), "tool": str(s.Call.Tool), "st": str(s.Call.Status), "at": millis(s.Call.At), "ms": num(s.Call.DurationMS)}
}

func decodeStep(it item) (session.Step, error) {
	r := read(it)
	return session.Step{N: int(r.num("n")), Kind: session.StepKind(r.str("kind")), RequestID: r.str("req"), Receipt: r.bin("rcpt"),
		Data: r.bin("data"), Call: session.ToolCall{ID: r.str("call"), Tool: r.str("tool"), Status: r.str("st"), At: r.time("at"), DurationMS: r.num("ms")}}, r.err
}

// liveClaim is the condition that a claim of a turn is still the last one.
func (s Sessions) liveClaim(t session.Turn) types.TransactWriteItem {
	names, values := fenceCheck(t)
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
		ConditionExpression: aws.String("#fc = :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
}

// storeStep writes a step and what belongs to it, all or nothing. Any lost
// condition is [session.ErrFenced].
func (s Sessions) storeStep(ctx context.Context, op string, t session.Turn, st session.Step, more ...types.TransactWriteItem) error {
	actions := append([]types.TransactWriteItem{s.liveClaim(t), s.db.putNew(table.Sessions, table.Step(t.Org, t.ID, st.N), encodeStep(st))}, more...)
	for try := range sessionTries {
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
		if err == nil {
			return nil
		}
		reasons := cancellation(err)
		if reasons == nil {
			return sessionsDown(op, err)
		}
		for i := range reasons {
			if failed(reasons, i) {
				return session.ErrFenced
			}
		}
		if err := backoff(ctx, try); err != nil {
			return sessionsDown(op, err)
		}
	}
	return fault.New(fault.Unavailable, op, "the session is busy, try again")
}

// Step implements [session.Turns].
func (s Sessions) Step(ctx context.Context, t session.Turn, st session.Step) error {
	return s.storeStep(ctx, "dynamo.Step", t, st)
}

// Fold implements [session.Transcript].
func (s Sessions) Fold(ctx context.Context, t session.Turn, st session.Step, old, next session.Summary) error {
	condition := "#sumn = :old"
	values := item{":sum": str(next.Text), ":sumn": num(next.Before), ":old": num(old.Before)}
	if old.Before == 0 {
		condition = "attribute_exists(#pk) AND (attribute_not_exists(#sumn) OR #sumn = :old)"
	}
	names := map[string]string{"#sum": "sum", "#sumn": "sumn"}
	if old.Before == 0 {
		names["#pk"] = table.PK
	}
	return s.storeStep(ctx, "dynamo.Fold", t, st, types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Session(t.Org, t.Session)),
		UpdateExpression: aws.String("SET #sum = :sum, #sumn = :sumn"), ConditionExpression: aws.String(condition),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}})
}
