package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// auditNow is after the time of every row of these tests.
func auditNow() time.Time { return orgtest.Now().Add(time.Hour) }

func verifyChain(t *testing.T, db *DB, id string) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), db.Audit(), id, audit.Months, auditNow())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// auditOp is an operation with an id and a time of its own.
func auditOp(i int) audit.Op {
	return audit.Op{Actor: "key:k1", ID: fmt.Sprint("op", i), At: orgtest.Now().Add(time.Duration(i) * time.Millisecond)}
}

// TestParallelOperationsAllSucceed: 32 operations of one organisation meet at the
// head of its chain, and each is written once.
func TestParallelOperationsAllSucceed(t *testing.T) {
	db := openConfig(t)
	ctx := t.Context()
	const n = 32
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			op := auditOp(i)
			var err error
			if i%2 == 0 {
				err = db.Keys().CreateKey(ctx, org.Key{ID: fmt.Sprint("k", i), Org: "a1", Name: "n", CreatedAt: op.At}, op.Row("a1", "key.create", fmt.Sprint("k", i)))
			} else {
				err = db.Audit().PutAudit(ctx, op.Refusal("a1", "org.enter", "other", "not_found"))
			}
			if err != nil {
				t.Errorf("operation %d: %v", i, err)
			}
		})
	}
	done.Wait()
	if r := verifyChain(t, db, "a1"); !r.OK || r.Checked != n || r.First != 1 || r.Last != n {
		t.Errorf("%+v", r)
	}
	keys, _, err := db.Keys().Keys(ctx, "a1", "", 100)
	if err != nil || len(keys) != n/2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// TestALostConditionIsTheCallersAndChangesNothing: neither the row nor the chain
// moves when the operation itself is refused, and a row that exists already
// refuses the operation.
func TestALostConditionIsTheCallersAndChangesNothing(t *testing.T) {
	db := openConfig(t)
	ctx := t.Context()
	create := func(id string, op audit.Op) error {
		return db.Keys().CreateKey(ctx, org.Key{ID: id, Org: "a1", Name: "n", CreatedAt: op.At}, op.Row("a1", "key.create", id))
	}
	if err := create("k1", auditOp(1)); err != nil {
		t.Fatal(err)
	}
	before, err := db.Audit().AuditHead(ctx, "a1")
	if err != nil || before.Seq != 1 {
		t.Fatalf("%+v, %v", before, err)
	}
	if err := create("k1", auditOp(2)); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a key that exists: %v", err)
	}
	if err := create("k2", auditOp(1)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a row that exists: %v", err)
	}
	if k, err := db.Keys().Key(ctx, "a1", "k2"); k != nil || err != nil {
		t.Errorf("the key was written without its row: %+v, %v", k, err)
	}
	if err := db.Audit().PutAudit(ctx, auditOp(1).Row("a1", "x", "y")); err != nil {
		t.Errorf("putting a row again: %v", err)
	}
	if after, err := db.Audit().AuditHead(ctx, "a1"); after != before || err != nil {
		t.Errorf("the chain moved: %+v, %v", after, err)
	}
	if r := verifyChain(t, db, "a1"); !r.OK || r.Checked != 1 {
		t.Errorf("%+v", r)
	}
}

// TestADamagedHeadStopsChanges: a row behind a head that cannot be read would
// hide what happened.
func TestADamagedHeadStopsChanges(t *testing.T) {
	db := openConfig(t)
	ctx := t.Context()
	for name, damage := range map[string]item{
		"hash": {"seq": num(1), "hash": bin([]byte("short"))}, "number": {"seq": str("1"), "hash": bin(make([]byte, 32))}, "zero": {"seq": num(0)},
	} {
		maps.Copy(damage, keyItem(table.AuditHead(name)))
		if _, err := db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: db.name(table.Config), Item: damage}); err != nil {
			t.Fatal(err)
		}
		op := auditOp(1)
		err := db.Keys().CreateKey(ctx, org.Key{ID: "k", Org: name, Name: "n", CreatedAt: op.At}, op.Row(name, "key.create", "k"))
		if fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := audit.Verify(ctx, db.Audit(), name, 1, auditNow()); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: verify %v", name, err)
		}
	}
}

// stored reads all items of the organisation's chain: rows by number, and head.
func storedChain(t *testing.T, db *DB, id string) (rows map[int64]item, head item) {
	t.Helper()
	items, err := db.query(t.Context(), query{role: table.Config, pk: table.Audit(id, orgtest.Now(), "").PK, consistent: true})
	if err != nil {
		t.Fatal(err)
	}
	rows = map[int64]item{}
	for _, it := range items {
		rows[read(it).num("seq")] = it
	}
	if head, err = db.get(t.Context(), table.Config, table.AuditHead(id), true); err != nil {
		t.Fatal(err)
	}
	return rows, head
}

// TestEveryTamperingIsReported changes each part of stored rows and of the head,
// one at a time, on the real engine.
func TestEveryTamperingIsReported(t *testing.T) {
	db := openConfig(t)
	ctx := t.Context()
	put := func(it item) error {
		_, err := db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: db.name(table.Config), Item: it})
		return err
	}
	remove := func(it item) error {
		_, err := db.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: db.name(table.Config), Key: item{table.PK: it[table.PK], table.SK: it[table.SK]}})
		return err
	}
	with := func(it item, name string, v types.AttributeValue) item {
		out := maps.Clone(it)
		out[name] = v
		return out
	}
	other := make([]byte, 32)
	cases := map[string]struct {
		change func(rows map[int64]item, head item) error
		want   []audit.Break
	}{
		"a new attribute":  {func(r map[int64]item, _ item) error { return put(with(r[3], "note", str("x"))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}}},
		"another type":     {func(r map[int64]item, _ item) error { return put(with(r[3], "actor", num(1))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}}},
		"id":               {func(r map[int64]item, _ item) error { return put(with(r[3], "id", str("x"))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}}},
		"time":             {func(r map[int64]item, _ item) error { return put(with(r[3], "at", num(1))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}}},
		"hash cut":         {func(r map[int64]item, _ item) error { return put(with(r[3], "hash", bin([]byte("x")))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}, {Seq: 4, Reason: audit.Unlinked}}},
		"hash":             {func(r map[int64]item, _ item) error { return put(with(r[3], "hash", bin(other))) }, []audit.Break{{Seq: 3, Reason: audit.Altered}, {Seq: 4, Reason: audit.Unlinked}}},
		"hash of the last": {func(r map[int64]item, _ item) error { return put(with(r[5], "hash", bin(other))) }, []audit.Break{{Seq: 5, Reason: audit.Altered}, {Seq: 5, Reason: audit.HeadMismatch}}},
		"prev":             {func(r map[int64]item, _ item) error { return put(with(r[3], "prev", bin(other))) }, []audit.Break{{Seq: 3, Reason: audit.Altered}}},
		"detail": {func(r map[int64]item, _ item) error {
			return put(with(r[3], "detail", mapping(item{"label": str("x")})))
		}, []audit.Break{{Seq: 3, Reason: audit.Altered}}},
		"deleted":        {func(r map[int64]item, _ item) error { return remove(r[3]) }, []audit.Break{{Seq: 3, To: 3, Reason: audit.Missing}}},
		"first deleted":  {func(r map[int64]item, _ item) error { return remove(r[1]) }, []audit.Break{{Seq: 1, To: 1, Reason: audit.Missing}}},
		"tail truncated": {func(r map[int64]item, _ item) error { return errors.Join(remove(r[5]), remove(r[4])) }, []audit.Break{{Seq: 4, To: 5, Reason: audit.Truncated}}},
		"inserted": {func(r map[int64]item, _ item) error {
			k := table.Audit("x", orgtest.Now().Add(time.Minute), "new")
			return put(with(with(with(r[3], "id", str("new")), "at", millis(orgtest.Now().Add(time.Minute))), table.SK, str(k.SK)))
		}, []audit.Break{{Seq: 3, Reason: audit.Altered}}},
		"copied to another place": {func(r map[int64]item, _ item) error { return put(with(r[3], table.SK, str("0000000000001#x"))) }, []audit.Break{{Seq: 3, Reason: audit.Damaged}, {Seq: 3, Reason: audit.Duplicate}}},
		"reordered": {func(r map[int64]item, _ item) error {
			return errors.Join(put(with(r[3], "seq", num(4))), put(with(r[4], "seq", num(3))))
		}, []audit.Break{{Seq: 3, Reason: audit.Altered}, {Seq: 4, Reason: audit.Altered}, {Seq: 5, Reason: audit.Unlinked}}},
		"head number back": {func(_ map[int64]item, h item) error { return put(with(h, "seq", num(4))) },
			[]audit.Break{{Seq: 5, Reason: audit.BeyondHead}, {Seq: 4, Reason: audit.HeadMismatch}}},
		"head number on": {func(_ map[int64]item, h item) error { return put(with(h, "seq", num(7))) }, []audit.Break{{Seq: 6, To: 7, Reason: audit.Truncated}}},
		"head hash":      {func(_ map[int64]item, h item) error { return put(with(h, "hash", bin(other))) }, []audit.Break{{Seq: 5, Reason: audit.HeadMismatch}}},
		"head time":      {func(_ map[int64]item, h item) error { return put(with(h, "at", num(1))) }, []audit.Break{{Seq: 5, Reason: audit.HeadMismatch}}},
		"head start":     {func(_ map[int64]item, h item) error { return put(with(h, "since", num(1))) }, []audit.Break{{Seq: 1, Reason: audit.HeadMismatch}}},
		"head gone":      {func(_ map[int64]item, h item) error { return remove(h) }, []audit.Break{{Seq: 5, Reason: audit.HeadMissing}}},
	}
	for _, name := range []string{"actor", "action", "target", "outcome", "code"} {
		cases[name] = struct {
			change func(map[int64]item, item) error
			want   []audit.Break
		}{func(r map[int64]item, _ item) error { return put(with(r[3], name, str("x"))) }, []audit.Break{{Seq: 3, Reason: audit.Altered}}}
	}
	n := 0
	for name, c := range cases {
		n++
		id := fmt.Sprint("org", n)
		for i := range 5 {
			if err := db.Audit().PutAudit(ctx, auditOp(i).Row(id, "thing.change", "t", "label", "l")); err != nil {
				t.Fatal(err)
			}
		}
		if r := verifyChain(t, db, id); !r.OK || r.Checked != 5 {
			t.Fatalf("%s: before: %+v", name, r)
		}
		rows, head := storedChain(t, db, id)
		if err := c.change(rows, head); err != nil {
			t.Fatal(err)
		}
		r := verifyChain(t, db, id)
		got := slices.Clone(r.Broken)
		for i := range got {
			got[i].ID = ""
		}
		if r.OK || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestRowsFromBeforeTheChain: rows without a number are still listed, and the
// first chained row begins the chain.
func TestRowsFromBeforeTheChain(t *testing.T) {
	db := openConfig(t)
	ctx := t.Context()
	old := auditOp(0)
	old.At = old.At.Add(-time.Minute)
	it := encodeAudit(old.Row("a1", "thing.old", "t"))
	for _, name := range []string{"seq", "prev", "hash"} {
		delete(it, name)
	}
	maps.Copy(it, keyItem(table.Audit("a1", old.At, old.ID)))
	if _, err := db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(db.tables[table.Config]), Item: it}); err != nil {
		t.Fatal(err)
	}
	if r := verifyChain(t, db, "a1"); !r.OK || r.Older != 1 || r.First != 0 {
		t.Errorf("before the chain: %+v", r)
	}
	if err := db.Audit().PutAudit(ctx, auditOp(1).Row("a1", "thing.new", "t")); err != nil {
		t.Fatal(err)
	}
	if r := verifyChain(t, db, "a1"); !r.OK || r.Older != 1 || r.First != 1 || r.Checked != 1 {
		t.Errorf("%+v", r)
	}
	rows, _, err := db.Audit().Audit(context.Background(), "a1", "", 10, auditNow())
	if err != nil || len(rows) != 2 || rows[0].Seq != 1 || rows[1].Seq != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// TestPostingsAndTheirRows: grants of one organisation at once all succeed, each
// with one row; a repeat posts nothing and leaves none.
func TestPostingsAndTheirRows(t *testing.T) {
	fx := dynamotest.Open(t, table.Config, table.Ledger)
	db, err := New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	ledger, ctx := credit.New(db.Ledger(), credit.Options{}), t.Context()
	grant := func(i int, op audit.Op) error {
		_, err := ledger.Grant(ctx, credit.GrantRequest{Org: "a1", Kind: taxonomy.Gifted, Amount: 1, IdempotencyKey: fmt.Sprint("k", i), Now: auditOp(i).At, Op: op})
		return err
	}
	const n = 16
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			if err := grant(i, auditOp(i)); err != nil {
				t.Errorf("grant %d: %v", i, err)
			}
		})
	}
	done.Wait()
	if err := grant(0, auditOp(n)); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	if err := grant(n, auditOp(0)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("a row that exists: %v", err)
	}
	if err := grant(n, audit.Op{Actor: "a"}); fault.CodeOf(err) != fault.Internal {
		t.Errorf("half an operation: %v", err)
	}
	if b, err := ledger.Balance(ctx, "a1"); err != nil || b.Posted != n {
		t.Errorf("%d posted, %v", b.Posted, err)
	}
	if r := verifyChain(t, db, "a1"); !r.OK || r.Checked != n {
		t.Errorf("%+v", r)
	}
	if err := grant(n, audit.Op{}); err != nil {
		t.Errorf("a machine's grant: %v", err)
	}
	if r := verifyChain(t, db, "a1"); r.Checked != n {
		t.Errorf("a machine's grant left a row: %+v", r)
	}
}
