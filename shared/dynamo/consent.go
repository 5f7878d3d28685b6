package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Consents implements [consent.Store].
type Consents struct{ db *DB }

// Consents returns the store of installations that were begun.
func (db *DB) Consents() Consents { return Consents{db} }

// PutConsent implements [consent.Store].
func (s Consents) PutConsent(ctx context.Context, st consent.State, row audit.Row) error {
	const op = "dynamo.PutConsent"
	it := item{"org": str(st.Org), "prov": str(string(st.Provider)), "app": str(st.App), "inst": str(st.Install), "by": str(st.By),
		"at": millis(st.At), "exp": millis(st.Expires), "used": boolean(st.Used), table.TTL: num(st.Expires.Add(consent.Remembered).Unix())}
	reasons, err := s.db.commitWithAudit(ctx, op, row, s.db.putNew(table.Config, table.Consent(st.Hash), it))
	if reasons != nil {
		return fault.New(fault.Internal, op, "internal error, try again later")
	}
	return err
}

// Consent implements [consent.Store]. The read is consistent: a state that was used
// must not look unused.
func (s Consents) Consent(ctx context.Context, hash string) (consent.State, error) {
	const op = "dynamo.Consent"
	it, err := s.db.get(ctx, table.Config, table.Consent(hash), true)
	if err != nil {
		return consent.State{}, configDown(op, err)
	}
	if it == nil {
		return consent.State{}, fault.New(fault.NotFound, op, "nothing was begun with this state")
	}
	r := read(it)
	st := consent.State{Hash: hash, Org: r.str("org"), Provider: taxonomy.Channel(r.str("prov")), App: r.str("app"), Install: r.str("inst"), By: r.str("by"),
		At: r.time("at"), Expires: r.time("exp"), Used: r.bool("used")}
	if r.err != nil {
		return consent.State{}, storedBadly(op, r.err)
	}
	return st, nil
}

// UseConsent implements [consent.Store].
func (s Consents) UseConsent(ctx context.Context, st consent.State, row audit.Row) error {
	const op = "dynamo.UseConsent"
	reasons, err := s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Config), Key: keyItem(table.Consent(st.Hash)),
		UpdateExpression: aws.String("SET #used = :yes"), ConditionExpression: aws.String("#used = :no AND #org = :org"),
		ExpressionAttributeNames:  map[string]string{"#used": "used", "#org": "org"},
		ExpressionAttributeValues: item{":yes": boolean(true), ":no": boolean(false), ":org": str(st.Org)},
	}})
	if reasons != nil {
		return fault.New(fault.Conflict, op, "this state was used already")
	}
	return err
}
