package dynamo_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/usage"
)

// TestRebuildUsage: lost and wrong rows are as the entries say again, while
// entries go on being projected, and a run that is cut short is continued.
func TestRebuildUsage(t *testing.T) {
	fx := dynamotest.Open(t, table.Ledger, table.Usage, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s := db.Ledger()
	ledger := credit.New(s, credit.Options{})
	start := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC)
	now := start.AddDate(0, 0, 3) // in the next month
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fail(s.OpenAccount(t.Context(), "acme", start))
	var all []credit.Entry
	write := func(n int) (out []credit.Entry) {
		for range n {
			i := len(all)
			e := credit.Entry{ID: fmt.Sprint("e_", i), Org: "acme", Kind: credit.UsageEntry, At: start.Add(time.Duration(i) * 20 * time.Minute), Amount: credit.Micro(-1 - i),
				Legs: []credit.Leg{{Account: credit.AccountOrg, Amount: credit.Micro(-1 - i)}}, Request: fmt.Sprint("r", i), Attempt: 1, Source: taxonomy.Platform,
				Provider: "prov", Model: []string{"a", "b#c"}[i%2], Usage: billing.Usage{InputTokens: int64(i), Images: 1, Source: billing.FromProvider}}
			if _, err := fx.Client.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String(fx.Tables[table.Ledger]), Item: dynamo.EntryItem(e)}); err != nil {
				t.Error(err)
			}
			all, out = append(all, e), append(out, e)
		}
		return out
	}
	check := func() {
		t.Helper()
		var want credit.UsageRow
		for _, e := range all {
			want.Add(credit.RowOf(e))
		}
		got, err := ledger.Usage(t.Context(), "acme", "2026-03-01", "2026-05-01", nil)
		fail(err)
		if len(got) != 1 || got[0].Requests != int64(len(all)) || got[0].Cost != want.Cost || got[0].Usage.InputTokens != want.Usage.InputTokens {
			t.Errorf("%+v\nwant %d requests, cost %d", got, len(all), want.Cost)
		}
	}
	if r := ledger.Project(t.Context(), write(60), now); r.Projected != 60 {
		t.Fatalf("%+v", r)
	}
	check()
	// A row is lost, one is wrong.
	lost, wrong := credit.RowOf(all[0]).Key(), credit.RowOf(all[59]).Key()
	key := func(k table.Key) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: k.PK}, "sk": &types.AttributeValueMemberS{Value: k.SK}}
	}
	_, err = fx.Client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: aws.String(fx.Tables[table.Usage]), Key: key(lost)})
	fail(err)
	_, err = fx.Client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String(fx.Tables[table.Usage]), Key: key(wrong), UpdateExpression: aws.String("ADD cost :one"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":one": &types.AttributeValueMemberN{Value: "1"}}})
	fail(err)

	op := audit.Op{Actor: "operator:test", ID: "op1", At: now}
	calls := 0
	r := usage.Rebuilder{Store: s, Journal: journal{s, func() {
		// Under load: written and, a little later, projected, some twice.
		if calls++; calls <= 30 {
			fresh := write(2)
			ledger.Project(t.Context(), fresh, now)
			ledger.Project(t.Context(), all[len(all)-3:], now)
		}
	}}, Wait: func(context.Context, time.Duration) error { return nil }}
	// Cut short after some steps, as by a deadline, twice.
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		cut := r
		steps := 0
		cut.Journal = journal{s, func() {
			if steps++; steps == 5 {
				cancel()
			}
		}}
		rep, err := cut.Run(ctx, "acme", op, now)
		cancel()
		if err != nil || rep.Complete {
			t.Fatalf("cut short: %+v %v", rep, err)
		}
	}
	// Who began it is in the audit log, once.
	rows, _, err := db.Audit().Audit(t.Context(), "acme", "", 10, now)
	fail(err)
	if len(rows) != 1 || rows[0].Action != "usage.rebuild" || rows[0].Actor != op.Actor {
		t.Errorf("audit: %+v", rows)
	}
	check2, err := s.Version(t.Context(), "acme")
	fail(err)
	if check2.Building != 1 || check2.Live != 0 || check2.Place == "" {
		t.Fatalf("%+v", check2)
	}
	rep, err := r.Run(t.Context(), "acme", op, now)
	fail(err)
	if !rep.Complete || len(rep.Mismatches) != 0 || len(rep.Repaired) != 2 || rep.Checked < 60 {
		t.Errorf("%+v", rep)
	}
	check()
	ledger.Project(t.Context(), append(write(3), all[:20]...), now)
	check()
	if rows, err := s.Rows(t.Context(), "acme", 0, "2026-01-01", "2027-01-01"); err != nil || len(rows) != 0 {
		t.Errorf("%d older rows are left: %v", len(rows), err)
	}
	// Again, without anything to repair.
	op.ID = "op2"
	if rep, err = r.Run(t.Context(), "acme", op, now); err != nil || !rep.Complete || len(rep.Repaired)+len(rep.Mismatches) != 0 || rep.Checked != len(all) {
		t.Errorf("%+v %v, %d entries", rep, err, len(all))
	}
	check()
	// Cut short while it compares: the next run begins with the month after.
	op.ID = "op3"
	journals := 0
	cut, cancel := context.WithCancel(t.Context())
	late := r
	late.Journal = journal{s, func() {
		// Two months are copied and one is compared.
		if journals++; journals == 3*table.EntryBuckets+1 {
			cancel()
		}
	}}
	if rep, err = late.Run(cut, "acme", op, now); err != nil || rep.Complete || rep.Step != "compare" || rep.Month.Format("2006-01") != "2026-04" || rep.Checked != len(all) {
		t.Errorf("cut while comparing: %+v %v", rep, err)
	}
	journals = -1000
	if rep, err = late.Run(t.Context(), "acme", op, now); err != nil || !rep.Complete || journals != -1000+table.EntryBuckets {
		t.Errorf("went on with %d reads: %+v %v", journals+1000, rep, err)
	}
	check()
	if _, err := r.Run(t.Context(), "nobody", op, now); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	// Two at once: the one that is behind is refused.
	v, err := s.Version(t.Context(), "acme")
	fail(err)
	if _, err = s.SetVersion(t.Context(), v, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = s.SetVersion(t.Context(), v, nil); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
}

// journal lets things happen while it is read.
type journal struct {
	*dynamo.LedgerStore
	meanwhile func()
}

func (j journal) Journal(ctx context.Context, org string, month time.Time, bucket int, after string, limit int) ([]credit.Entry, error) {
	j.meanwhile()
	return j.LedgerStore.Journal(ctx, org, month, bucket, after, limit)
}
