package dynamo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/legacytokens/legacytest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// legacyRig is one organisation on real tables.
type legacyRig struct {
	t       testing.TB
	fx      dynamotest.Fixture
	db      *dynamo.DB
	ledger  *credit.Ledger
	service *legacytokens.Service
	stream  *streamReader
	serial  int
	now     time.Time
	// old are the changes delivered so far: a stream delivers again.
	old []credit.Used
}

func openLegacy(t testing.TB) *legacyRig {
	t.Helper()
	fx := dynamotest.Open(t, table.Ledger, table.Usage, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	noWait := func(context.Context, time.Duration) error { return nil }
	r := &legacyRig{t: t, fx: fx, db: db, now: legacytest.Start(), ledger: credit.New(db.Ledger(), credit.Options{Wait: noWait}),
		stream: &streamReader{name: fx.Tables[table.Ledger], next: map[string]*string{}, client: dynamodbstreams.New(dynamodbstreams.Options{
			Region: "us-east-1", BaseEndpoint: fx.Client.Options().BaseEndpoint, Credentials: fx.Client.Options().Credentials})}}
	r.service = &legacytokens.Service{Store: db.Legacy(), Balances: r.ledger, Usage: db.Ledger()}
	o := org.Org{ID: legacytest.Org, Name: "A", Tier: taxonomy.Pro, Status: org.Active, LedgerMode: org.LedgerCredit, Version: 1, CreatedAt: r.now}
	r.must(db.Orgs().CreateOrg(t.Context(), o, r.op().Row(o.ID, "org.create", o.ID)))
	r.must(r.ledger.OpenAccount(t.Context(), o.ID, r.now))
	_, err = r.ledger.Grant(t.Context(), credit.GrantRequest{Org: o.ID, Kind: taxonomy.Purchased, Amount: 100_000_000, IdempotencyKey: "fund", Now: r.now})
	r.must(err)
	return r
}

func (r *legacyRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v (cause %v)", err, fault.As(err).Unwrap())
	}
}

func (r *legacyRig) op() audit.Op {
	r.serial++
	return audit.Op{Actor: "operator:test", ID: "op" + strconv.Itoa(r.serial), At: r.now}
}

// settle delivers what was reported, and some of what was delivered before again.
func (r *legacyRig) settle(now time.Time) error {
	for {
		if n, err := r.deliver(now); n == 0 || err != nil {
			return err
		}
	}
}

// deliver is one batch of the stream.
func (r *legacyRig) deliver(now time.Time) (int, error) {
	var used []credit.Used
	var entries []credit.Entry
	for _, c := range r.stream.changes(r.t) {
		switch c.Kind {
		case credit.ChangeUsed:
			used = append(used, c.Used)
		case credit.ChangeEntry:
			entries = append(entries, c.Entry)
		}
	}
	r.old = append(r.old, used...)
	again := r.old[max(0, len(r.old)-2*len(used)-1):]
	for _, v := range append(r.ledger.Settle(r.t.Context(), append(append([]credit.Used{}, again...), used...), now).Verdicts,
		r.ledger.Project(r.t.Context(), entries, now).Verdicts...) {
		if v.Result == credit.Undecided { // a slow machine: a stream delivers again
			return 1 + len(used), r.undecided(used, entries, now)
		}
		if v.Result != credit.Applied && v.Result != credit.Done {
			return 0, fmt.Errorf("settled as %s: %s", v.Result, v.Reason)
		}
	}
	return len(used) + len(entries), nil
}

// undecided delivers a batch until all of it has a verdict.
func (r *legacyRig) undecided(used []credit.Used, entries []credit.Entry, now time.Time) error {
	for range 20 {
		a, b := r.ledger.Settle(r.t.Context(), used, now), r.ledger.Project(r.t.Context(), entries, now)
		if a.Undecided+b.Undecided == 0 {
			return nil
		}
	}
	return fmt.Errorf("still undecided")
}

func (r *legacyRig) raw() string {
	out := ""
	acc, err := r.ledger.Balance(context.Background(), legacytest.Org)
	r.must(err)
	for i := range acc.Shards {
		out += r.stored(table.Balance(legacytest.Org, i)) + "\n"
	}
	return out
}

// stored is an item as it is stored.
func (r *legacyRig) stored(k table.Key) string {
	item, err := r.fx.Client.GetItem(context.Background(), &dynamodb.GetItemInput{TableName: aws.String(r.fx.Tables[table.Ledger]), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: k.PK}, "sk": &types.AttributeValueMemberS{Value: k.SK}}})
	r.must(err)
	text, err := json.Marshal(item.Item)
	r.must(err)
	return string(text)
}

func (r *legacyRig) world() legacytest.World {
	ctx := r.t.Context()
	return legacytest.World{
		Reserve: func(q credit.ReserveRequest) (credit.Hold, error) { return r.ledger.Reserve(ctx, q) },
		Used:    func(h credit.Hold, o credit.Outcome) error { return r.ledger.Used(ctx, h, o) },
		Settle:  r.settle,
		Sweep: func(now time.Time) error {
			_, err := r.ledger.ExpireDue(ctx, now)
			return err
		},
		Entries: func(now time.Time) (all []credit.Entry, err error) {
			for cursor := ""; ; {
				page, next, err := r.ledger.Entries(ctx, legacytest.Org, cursor, 200, now)
				if all = append(all, page...); err != nil || next == "" {
					return all, err
				}
				cursor = next
			}
		},
		Raw: r.raw, Service: r.service,
	}
}

// TestLegacyMachine plays the machine on DynamoDB Local; package legacytokens plays
// it many times on a model. LATCHKEY_SOAK=1 plays eight.
func TestLegacyMachine(t *testing.T) {
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) legacytest.Op {
		return legacytest.Op{Kind: rapid.SampledFrom(legacytest.Kinds()).Draw(t, "kind"), N: rapid.IntRange(0, 40).Draw(t, "n")}
	}), 40, 70)
	seeds := []int{0}
	if os.Getenv("LATCHKEY_SOAK") != "" {
		seeds = []int{0, 1, 2, 3, 4, 5, 6, 7}
	}
	for _, seed := range seeds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			r := openLegacy(t)
			seen, err := legacytest.Play(r.world(), ops.Example(seed+1))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(seen)
			rec, err := r.ledger.Reconcile(t.Context(), legacytest.Org, legacytest.Start().AddDate(0, 0, 29))
			if err != nil || !rec.OK {
				t.Errorf("reconcile %+v, %v", rec, err)
			}
		})
	}
}

// to brings the rig into a mode, with what that needs.
func (r *legacyRig) to(modes ...org.LedgerMode) legacytokens.View {
	r.t.Helper()
	var v legacytokens.View
	for _, mode := range modes {
		if mode == org.LedgerDraining {
			r.must(r.settle(r.now))
			r.now = r.now.AddDate(0, 0, 8)
		}
		var err error
		v, err = r.service.Change(r.t.Context(), r.op(), legacytest.Org, mode)
		r.must(err)
		if mode == org.LedgerLegacy && v.Terms.Rounding == 0 {
			r.must(r.service.SetTerms(r.t.Context(), r.op(), legacytest.Org, legacytest.Terms()))
		}
	}
	return v
}

// begin admits a call that knows the present mode.
func (r *legacyRig) begin(id string) (credit.Hold, error) {
	v, err := r.service.View(r.t.Context(), legacytest.Org, r.now)
	r.must(err)
	return r.ledger.Reserve(r.t.Context(), r.request(id, credit.StampOf(string(v.Mode), v.Epoch)))
}

func (r *legacyRig) request(id string, st credit.Stamp) credit.ReserveRequest {
	return credit.ReserveRequest{Org: legacytest.Org, Request: id, Attempt: 1, Owner: "own" + id, Hold: 5000, Now: r.now, Expires: r.now.Add(time.Minute),
		Provider: "prov", Model: "m", Source: taxonomy.Platform, Rule: billing.RulePlatform, PriceVersion: "p1", Stamp: st}
}

// finish reports n tokens of input, n of output and a cost of 3 n.
func (r *legacyRig) finish(h credit.Hold, n int64) {
	r.t.Helper()
	r.must(r.ledger.Used(r.t.Context(), h, credit.Outcome{Kind: credit.Completed, Amount: credit.Micro(3 * n), At: r.now,
		Usage: billing.Usage{InputTokens: n, OutputTokens: n, Source: billing.FromProvider}}))
}

func (r *legacyRig) call(id string, n int64) {
	r.t.Helper()
	h, err := r.begin(id)
	r.must(err)
	r.finish(h, n)
}

// TestLegacyCutover: what each mode charges and compares, the opening grant to the
// micro-credit, and that everything written in shadow leaves the balance's bytes.
func TestLegacyCutover(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy)
	before := r.raw()
	r.call("a", 100)
	v := r.to(org.LedgerShadow)
	r.call("b", 1000)
	r.must(r.settle(r.now))
	if raw := r.raw(); raw != before {
		t.Fatalf("shadow moved the balance:\n%s%s", before, raw)
	}
	r.now = r.now.AddDate(0, 0, 1)
	r.call("c", 10)
	r.must(r.settle(r.now))
	report, err := r.service.Parity(t.Context(), legacytest.Org, "2026-03-02", "2026-03-02")
	r.must(err)
	// 10 + 20 by the older product's rates, 30 by ours.
	if len(report.Rows) != 1 || report.Rows[0].Legacy != (legacytokens.Figures{Requests: 1, Input: 10, Output: 10, Money: 30}) ||
		report.Rows[0].Legacy != report.Rows[0].Ledger || len(report.Reasons) != 0 {
		t.Fatalf("parity %+v", report)
	}
	open, err := r.begin("open")
	r.must(err)
	if v = r.to(org.LedgerDraining); v.Open != 1 || v.Opening.Amount != 2*(1_000_000-2220) {
		t.Fatalf("draining with %d open and a grant of %d", v.Open, v.Opening.Amount)
	}
	if _, err := r.service.Change(t.Context(), r.op(), legacytest.Org, org.LedgerCredit); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "still open") {
		t.Fatalf("with one open: %v", err)
	}
	r.call("d", 50)
	r.finish(open, 500)
	r.must(r.settle(r.now))
	if v = r.to(org.LedgerCredit); v.Opening.Amount != 2*(1_000_000-3220) || v.Mirror != 3320 || v.Used["202603"] != 3220 {
		t.Fatalf("credit: opening %+v, counter %v, mirror %d", v.Opening, v.Used, v.Mirror)
	}
	b, err := r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	if want := credit.Micro(100_000_000 + 2*(1_000_000-3220) - 150); b.Posted != want {
		t.Fatalf("posted %d, want %d", b.Posted, want)
	}
	// Rolled back: the counter has all, and what is left of the grant is gone.
	if v = r.to(org.LedgerRolledBack); v.Used["202603"] != 3320 || v.Epoch != 3 {
		t.Fatalf("rolled back: %+v", v.Counter)
	}
	if b, err = r.ledger.Balance(t.Context(), legacytest.Org); err != nil || b.Posted != 100_000_000 {
		// The grant paid for d, so purchased credits are whole.
		t.Fatalf("posted %d after the rollback, %v", b.Posted, err)
	}
	r.call("e", 1)
	r.must(r.settle(r.now))
	if v = r.to(org.LedgerShadow, org.LedgerDraining, org.LedgerCredit); v.Epoch != 4 || v.Opening.Amount != 2*(1_000_000-3322) {
		t.Fatalf("second cutover: %+v", v.Counter)
	}
	rec, err := r.ledger.Reconcile(t.Context(), legacytest.Org, r.now)
	if err != nil || !rec.OK {
		t.Errorf("reconcile %+v, %v", rec, err)
	}
}

// captured keeps the last change that was written.
type captured struct {
	dynamo.Legacy
	last *legacytokens.Change
}

func (c captured) Change(ctx context.Context, ch legacytokens.Change) error {
	err := c.Legacy.Change(ctx, ch)
	if err == nil {
		*c.last = ch
	}
	return err
}

// TestLegacyGrantOnce: operators who cut over at the same time and a change that is
// written again, even on a balance as it is by then, make one opening grant.
func TestLegacyGrantOnce(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy, org.LedgerShadow)
	r.now = r.now.AddDate(0, 0, 8)
	var last legacytokens.Change
	var wg sync.WaitGroup
	var errs [4]error
	for i := range errs {
		service := &legacytokens.Service{Store: r.db.Legacy(), Balances: r.ledger, Usage: r.db.Ledger()}
		if i == 0 {
			service = r.service
		}
		op := r.op()
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, errs[i] = service.Change(t.Context(), op, legacytest.Org, org.LedgerDraining)
		}()
	}
	wg.Wait()
	for _, err := range errs {
		r.must(err)
	}
	const want = 100_000_000 + 2*1_000_000
	posted := func(want credit.Micro) credit.BalanceView {
		t.Helper()
		b, err := r.ledger.Balance(t.Context(), legacytest.Org)
		r.must(err)
		if b.Posted != want {
			t.Fatalf("posted %d, want %d", b.Posted, want)
		}
		return b
	}
	posted(want)
	// Once more around, and that change is written again.
	r.service.Store = captured{r.db.Legacy(), &last}
	r.to(org.LedgerRolledBack, org.LedgerShadow, org.LedgerDraining)
	b := posted(want)
	if last.Posting == nil || last.Posting.Amount != 2_000_000 {
		t.Fatalf("captured %+v", last)
	}
	again := *last.Posting
	again.Seq, again.Base = b.Seq+1, b.Posted
	last.Posting, last.Account, last.Row = &again, b.Account, r.op().Row(legacytest.Org, "ledger_mode.set", legacytest.Org)
	if err := r.db.Legacy().Change(t.Context(), last); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("written again: %v", err)
	}
	posted(want)
}

// TestLegacyDrains: a drain ends by itself once the last call of the counter has
// settled, with an audit row, and is listed until then.
func TestLegacyDrains(t *testing.T) {
	r := openLegacy(t)
	f := legacytokens.Finisher{Service: r.service, Drains: r.db.Legacy(), Actor: "function:sweep", NewID: func(time.Time) string { return r.op().ID }}
	finish := func(want int, mode org.LedgerMode) {
		t.Helper()
		n, err := f.Finish(t.Context(), r.now)
		r.must(err)
		v, err := r.service.View(t.Context(), legacytest.Org, r.now)
		r.must(err)
		if n != want || v.Mode != mode {
			t.Fatalf("ended %d, %s, want %d, %s", n, v.Mode, want, mode)
		}
	}
	r.to(org.LedgerLegacy, org.LedgerShadow)
	finish(0, org.LedgerShadow)
	r.now = r.now.AddDate(0, 0, 8)
	h, err := r.begin("open")
	r.must(err)
	_, err = r.service.Change(t.Context(), r.op(), legacytest.Org, org.LedgerDraining)
	r.must(err)
	finish(0, org.LedgerDraining)
	r.finish(h, 100)
	r.must(r.settle(r.now))
	finish(1, org.LedgerCredit)
	if listed, err := r.db.Legacy().Draining(t.Context(), r.now, 10); err != nil || len(listed) != 0 {
		t.Errorf("still listed: %v, %v", listed, err)
	}
	rows, _, err := r.db.Audit().Audit(t.Context(), legacytest.Org, "", 10, r.now)
	r.must(err)
	if row := rows[0]; row.Action != "ledger_mode.set" || row.Actor != "function:sweep" || row.Detail["state"] != "draining" || row.Detail["amount"] != "-400" {
		t.Errorf("row %+v", row)
	}
}

// TestLegacyRunningAtRollback: a call that runs at the rollback is paid with the opening
// grant it was admitted on, not with what was bought; the rest is taken back after it.
func TestLegacyRunningAtRollback(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy, org.LedgerShadow, org.LedgerDraining, org.LedgerCredit)
	h, err := r.begin("running")
	r.must(err)
	r.to(org.LedgerRolledBack)
	for i, want := range []credit.Micro{100_000_000 + h.Amount, 100_000_000} {
		b, err := r.ledger.Balance(t.Context(), legacytest.Org)
		r.must(err)
		if b.Posted != want {
			t.Fatalf("posted %d with grants %+v, want %d", b.Posted, b.Grants, want)
		}
		if i == 0 {
			r.finish(h, 50)
			r.must(r.settle(r.now))
			r.to(org.LedgerRolledBack)
		}
	}
	v, err := r.service.View(t.Context(), legacytest.Org, r.now)
	r.must(err)
	b, err := r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	for _, g := range b.Grants {
		if want := map[taxonomy.GrantKind]credit.Micro{taxonomy.Purchased: 100_000_000}[g.Kind]; g.Remaining != want {
			t.Errorf("%d are left of %s", g.Remaining, g.Kind)
		}
	}
	if v.Used["202603"] != 100 {
		t.Errorf("counter %v", v.Used)
	}
}

// meanwhile runs something between the reading and the writing of a change.
type meanwhile struct {
	dynamo.Legacy
	do func(*legacytokens.Change)
}

func (m meanwhile) Change(ctx context.Context, ch legacytokens.Change) error {
	m.do(&ch)
	return m.Legacy.Change(ctx, ch)
}

// TestLegacyAdmittedDuringRollback: a call that credits admit while a rollback is on its
// way is not paid with what was bought either.
func TestLegacyAdmittedDuringRollback(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy, org.LedgerShadow, org.LedgerDraining, org.LedgerCredit)
	var h credit.Hold
	r.service.Store = meanwhile{r.db.Legacy(), func(ch *legacytokens.Change) {
		if ch.Switches {
			var err error
			h, err = r.begin("meanwhile")
			r.must(err)
		}
	}}
	v, err := r.service.View(t.Context(), legacytest.Org, r.now)
	r.must(err)
	if want := (legacytokens.Step{To: org.LedgerRolledBack, Grant: -2_000_000}); len(v.Steps) != 2 || !reflect.DeepEqual(v.Steps[1], want) {
		t.Errorf("what could be done: %+v, want %+v", v.Steps, want)
	}
	r.to(org.LedgerRolledBack)
	for _, want := range []credit.Micro{100_000_000 + 5000, 100_000_000} {
		b, err := r.ledger.Balance(t.Context(), legacytest.Org)
		r.must(err)
		if b.Posted != want {
			t.Fatalf("posted %d with grants %+v, want %d", b.Posted, b.Grants, want)
		}
		if b.Held > 0 {
			r.finish(h, 50)
			r.must(r.settle(r.now))
			r.to(org.LedgerRolledBack)
		}
	}
	v, err = r.service.View(t.Context(), legacytest.Org, r.now)
	r.must(err)
	if h.Stamp.Legacy() || v.Used["202603"] != 100 || v.Epoch != 3 {
		t.Errorf("admitted as %+v, counter %+v", h.Stamp, v.Counter)
	}
	rows, _, err := r.db.Audit().Audit(t.Context(), legacytest.Org, "", 3, r.now)
	r.must(err)
	var amounts []string
	for _, row := range rows {
		amounts = append(amounts, row.Detail["state"]+" "+row.Detail["amount"])
	}
	// The latest first, in the order of their ids where the time is the same.
	slices.Sort(amounts)
	if want := []string{"credit ", "rolled_back -1995000", "rolled_back -4850"}; !slices.Equal(amounts, want) {
		t.Errorf("audited %q, want %q", amounts, want)
	}
}

// TestLegacyGrantNotTwice: what an earlier opening grant kept for a call that ran at the
// rollback is taken back before there is another one.
func TestLegacyGrantNotTwice(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy, org.LedgerShadow, org.LedgerDraining, org.LedgerCredit)
	h, err := r.begin("running")
	r.must(err)
	r.to(org.LedgerRolledBack, org.LedgerShadow)
	r.finish(h, 50)
	r.must(r.settle(r.now))
	v := r.to(org.LedgerDraining)
	b, err := r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	if want := credit.Micro(2 * (1_000_000 - 100)); v.Opening.Amount != want || b.Posted != 100_000_000+want {
		t.Errorf("an opening grant of %d, posted %d, want %d and %d", v.Opening.Amount, b.Posted, want, 100_000_000+want)
	}
}

// TestLegacyGuard: no write reaches the counter while credits pay, whoever makes it
// and whatever it believes; the limit of a month is kept.
func TestLegacyGuard(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy)
	terms := legacytest.Terms()
	terms.Limit = 200
	r.must(r.service.SetTerms(t.Context(), r.op(), legacytest.Org, terms))
	late, err := r.begin("late")
	r.must(err)
	r.call("a", 100)
	r.must(r.settle(r.now))
	if _, err := r.begin("b"); fault.CodeOf(err) != fault.InsufficientCredits {
		t.Fatalf("beyond the limit: %v", err)
	}
	if _, err := r.ledger.ExpireDue(t.Context(), r.now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.to(org.LedgerShadow, org.LedgerDraining)
	h, err := r.begin("drained") // no tokens are left, so there is no opening grant
	r.must(err)
	v := r.to(org.LedgerCredit)
	counter := r.stored(table.LegacyCounter(legacytest.Org))
	store := r.db.Legacy()
	for name, write := range map[string]func() error{
		"terms": func() error {
			return store.SetTerms(t.Context(), legacytest.Org, terms, v.Version, r.op().Row(legacytest.Org, "x.y", "z"))
		},
		"import": func() error {
			row, err := legacytokens.RowJSON{PeriodStart: r.now.UnixMilli(), PeriodEnd: r.now.UnixMilli(), TotalTokens: 1, InputTokens: 1, CostInCents: "1", RequestType: "chat", Model: "m"}.Parse()
			r.must(err)
			_, err = store.Import(t.Context(), legacytest.Org, []legacytokens.Row{row}, r.op())
			return err
		},
		"service": func() error { return r.service.SetTerms(t.Context(), r.op(), legacytest.Org, terms) },
	} {
		if err := write(); fault.CodeOf(err) != fault.LegacyLedgerDisabled || fault.CodeOf(err).Status() != 409 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A call that believes in an older mode is stamped anew, and one that was given
	// up for dead before the cutover is the counter's and does not move it.
	stale, err := r.ledger.Reserve(t.Context(), r.request("stale", credit.Stamp{Mode: credit.ModeLegacy, Epoch: 1}))
	r.must(err)
	if stale.Stamp != (credit.Stamp{Mode: credit.ModeCredit, Epoch: 2}) || h.Stamp != stale.Stamp {
		t.Errorf("stamped %+v", stale.Stamp)
	}
	r.finish(stale, 1)
	r.finish(h, 1)
	r.finish(late, 7)
	r.must(r.settle(r.now))
	if now := r.stored(table.LegacyCounter(legacytest.Org)); now != counter {
		t.Errorf("the counter was written while credits pay:\n%s\n%s", counter, now)
	}
	if v = r.to(org.LedgerRolledBack); v.Used["202603"] != 200+4+14 {
		t.Errorf("rolled back with %d tokens", v.Used["202603"])
	}
	if _, err := r.begin("over"); fault.CodeOf(err) != fault.InsufficientCredits {
		t.Errorf("beyond the limit after the rollback: %v", err)
	}
}

// TestLegacyStaleMode: shadow is known to the counter alone; a call that does not know of
// it is stamped anew, or its comparison would be missing.
func TestLegacyStaleMode(t *testing.T) {
	r := openLegacy(t)
	v := r.to(org.LedgerLegacy, org.LedgerShadow)
	h, err := r.ledger.Reserve(t.Context(), r.request("stale", credit.Stamp{Mode: credit.ModeLegacy, Epoch: v.Epoch}))
	r.must(err)
	if want := (credit.Stamp{Mode: credit.ModeShadow, Epoch: v.Epoch}); h.Stamp != want {
		t.Errorf("admitted as %+v, want %+v", h.Stamp, want)
	}
}

// TestLegacyActions: what is priced in credits only is refused while a counter pays.
func TestLegacyActions(t *testing.T) {
	r := openLegacy(t)
	_, err := r.service.Change(t.Context(), r.op(), legacytest.Org, org.LedgerLegacy)
	r.must(err)
	// Without terms there is no limit to keep, and nothing a token is worth.
	if _, err := r.begin("unagreed"); fault.CodeOf(err) != fault.BillingDenied || !strings.Contains(err.Error(), "terms") {
		t.Errorf("without terms: %v", err)
	}
	r.must(r.service.SetTerms(t.Context(), r.op(), legacytest.Org, legacytest.Terms()))
	if _, err := r.ledger.Reserve(t.Context(), r.request("action", credit.Stamp{})); fault.CodeOf(err) != fault.BillingDenied {
		t.Errorf("an action: %v", err)
	}
	own := r.request("own", credit.Stamp{Mode: credit.ModeLegacy, Epoch: 1})
	own.Source, own.Hold = taxonomy.BYOK, 0
	h, err := r.ledger.Reserve(t.Context(), own)
	r.must(err)
	r.must(r.ledger.Used(t.Context(), h, credit.Outcome{Kind: credit.Completed, At: r.now, Usage: billing.Usage{InputTokens: 9, Source: billing.FromProvider}}))
	r.must(r.settle(r.now))
	if v, err := r.service.View(t.Context(), legacytest.Org, r.now); err != nil || v.Open != 0 || v.Used["202603"] != 0 {
		t.Errorf("an own key was counted: %+v, %v", v.Counter, err)
	}
	// Nor is the fee for one taken from credits, whether it was held or not because the
	// month's allowance had many left.
	before := r.raw()
	for id, hold := range map[string]credit.Micro{"held": 5, "free": 0} {
		q := own
		q.Request, q.Owner, q.Hold, q.Fee = id, "own"+id, hold, billing.Fee{Flat: 5, Free: 1000, Held: hold > 0}
		h, err := r.ledger.Reserve(t.Context(), q)
		r.must(err)
		r.must(r.ledger.Used(t.Context(), h, credit.Outcome{Kind: credit.Completed, Amount: 5, At: r.now, Usage: billing.Usage{InputTokens: 9, Source: billing.FromProvider}}))
		r.must(r.settle(r.now))
		if v, err := r.service.View(t.Context(), legacytest.Org, r.now); err != nil || v.Open != 0 || v.Used["202603"] != 0 || r.raw() != before {
			t.Errorf("%s: a fee touched the balance, %+v, %v:\n%s%s", id, v.Counter, err, before, r.raw())
		}
	}
}

// split gives the balance shards and spreads the credit over them.
func (r *legacyRig) split(shards int) {
	r.t.Helper()
	store, ctx := r.db.Ledger(), r.t.Context()
	for have := 1; have < shards; {
		acc, err := store.Account(ctx, legacytest.Org)
		r.must(err)
		have = min(shards, have+64)
		r.must(store.Split(ctx, acc, have, credit.Load{At: r.now.Add(time.Duration(have) * time.Second), InUse: 1}))
	}
	acc, err := store.Account(ctx, legacytest.Org)
	r.must(err)
	r.must(store.Spread(ctx, acc, shards))
}

// TestLegacyManyShards: a balance of more shards than a transaction holds changes
// hands as a whole: none of them takes a hold while the counter pays, and those that
// were not reached give theirs once a call meets them.
func TestLegacyManyShards(t *testing.T) {
	r := openLegacy(t)
	const shards = 95
	r.split(shards)
	r.to(org.LedgerLegacy)
	acc, err := r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	for i, s := range acc.Shards {
		if s.Mode != credit.ModeLegacy || s.Epoch != 1 {
			t.Fatalf("shard %d is %s, epoch %d", i, s.Mode, s.Epoch)
		}
	}
	// One that believes in credits picks shards at random, and is stamped anew.
	for i := range 3 {
		q := r.request("q"+strconv.Itoa(i), credit.Stamp{Mode: credit.ModeCredit})
		q.Shards = shards
		h, err := r.ledger.Reserve(t.Context(), q)
		r.must(err)
		if !h.Stamp.Legacy() || h.Shard != 0 {
			t.Fatalf("admitted as %+v on shard %d", h.Stamp, h.Shard)
		}
		r.finish(h, 1)
	}
	r.to(org.LedgerShadow, org.LedgerDraining)
	r.must(r.settle(r.now))
	// More than all shards but the last four have: those must be found, too.
	// Callers that cannot be stamped find their way, too.
	far := func(prefix string, st credit.Stamp) {
		t.Helper()
		for i := 0; ; i++ {
			q := r.request(prefix+strconv.Itoa(i), st)
			if q.Shards = shards; credit.Pick(q.Owner, 1, 0, shards) <= 90 {
				continue
			}
			h, err := r.ledger.Reserve(t.Context(), q)
			r.must(err)
			if h.Stamp.Legacy() {
				t.Fatalf("%s admitted as %+v", prefix, h.Stamp)
			}
			r.must(r.ledger.Used(t.Context(), h, credit.Outcome{Kind: credit.Refused, At: r.now, Usage: billing.Usage{Source: billing.NoUsage}}))
			r.must(r.settle(r.now))
			return
		}
	}
	far("action", credit.Stamp{})
	big := r.request("big", credit.Stamp{Mode: credit.ModeCredit, Epoch: 2})
	b, err := r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	big.Hold, big.Shards = b.Available-1, shards
	h, err := r.ledger.Reserve(t.Context(), big)
	r.must(err)
	r.finish(h, 5)
	r.must(r.settle(r.now))
	r.to(org.LedgerCredit)
	// A rollback that was lost after its first writes leaves the last shards ahead of home,
	// which still pays with credits.
	tries := 0
	lost := *r.service
	lost.Wait = func(context.Context, time.Duration) error { return nil }
	lost.Store = meanwhile{r.db.Legacy(), func(ch *legacytokens.Change) {
		if ch.Counter.Version--; tries > 0 {
			ch.Account.Shards = ch.Account.Shards[:1]
		}
		tries++
	}}
	if _, err := lost.Change(t.Context(), r.op(), legacytest.Org, org.LedgerRolledBack); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Fatalf("a change that is always lost: %v", err)
	}
	acc, err = r.ledger.Balance(t.Context(), legacytest.Org)
	r.must(err)
	if last := acc.Shards[shards-1]; acc.Epoch != 2 || last.Mode != credit.ModeLegacy || last.Epoch != 3 {
		t.Fatalf("home is of epoch %d, the last shard %s of %d", acc.Epoch, last.Mode, last.Epoch)
	}
	far("ahead", credit.Stamp{Mode: credit.ModeCredit, Epoch: 2})
	far("unstamped", credit.Stamp{})
	if v := r.to(org.LedgerRolledBack); v.Used["202603"] != 16 || v.Epoch != 3 {
		t.Fatalf("rolled back: %+v", v.Counter)
	}
	rec, err := r.ledger.Reconcile(t.Context(), legacytest.Org, r.now)
	if err != nil || !rec.OK {
		t.Errorf("reconcile %+v, %v", rec, err)
	}
}

// TestLegacyConcurrent: callers never stop while the operator goes all the way round
// twice; every call is paid once, by the one stamped on it.
func TestLegacyConcurrent(t *testing.T) {
	for _, c := range []struct{ shards, rounds int }{{1, 2}, {4, 1}} {
		t.Run(strconv.Itoa(c.shards), func(t *testing.T) { legacyConcurrent(t, c.shards, c.rounds) })
	}
}

var errBusy = fault.New(fault.LedgerUnavailable, "test", "not said yet")

func legacyConcurrent(t *testing.T, shards, rounds int) {
	r := openLegacy(t)
	r.split(shards)
	r.to(org.LedgerLegacy)
	var mu sync.Mutex
	stamps := map[string]credit.Stamp{}
	var used int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	ctx, start := t.Context(), r.now
	// What the callers know of the mode is whatever it was when they began.
	for n := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			known := credit.Stamp{Mode: credit.ModeCredit}
			for i := 0; i < 40; i++ {
				select {
				case <-stop:
					return
				default:
				}
				q := r.request(fmt.Sprintf("c%d-%d", n, i), known)
				q.Now, q.Expires, q.Shards = start, start.Add(23*time.Hour), shards
				h, err := r.ledger.Reserve(ctx, q)
				if fault.CodeOf(err) == fault.LedgerUnavailable {
					continue // lost too many races on a slow machine, nothing was admitted
				}
				if err != nil {
					t.Errorf("reserve: %v", err)
					return
				}
				if i%3 > 0 { // or stay with what it knew
					known = h.Stamp
				}
				mu.Lock()
				stamps[q.Request] = h.Stamp
				used += 4
				mu.Unlock()
				for err = errBusy; fault.CodeOf(err) == fault.LedgerUnavailable; { // it may be said again
					err = r.ledger.Used(ctx, h, credit.Outcome{Kind: credit.Completed, Amount: 6, At: start,
						Usage: billing.Usage{InputTokens: 2, OutputTokens: 2, Source: billing.FromProvider}})
				}
				if err != nil {
					t.Errorf("used: %v", err)
				}
			}
		}()
	}
	for range rounds {
		for _, mode := range []org.LedgerMode{org.LedgerShadow, org.LedgerDraining, org.LedgerCredit, org.LedgerRolledBack} {
			for try := 0; ; try++ {
				if mode == org.LedgerDraining && try == 0 {
					r.now = r.now.AddDate(0, 0, 8)
				}
				_, err := r.service.Change(ctx, r.op(), legacytest.Org, mode)
				if err == nil {
					break
				}
				if c := fault.CodeOf(err); try > 60 || c != fault.Conflict && c != fault.LedgerUnavailable {
					t.Fatalf("%s: %v", mode, err)
				}
				_, err = r.deliver(r.now) // still open, or busy
				r.must(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	r.must(r.settle(r.now))
	v := r.to(org.LedgerRolledBack)
	b, err := r.ledger.Balance(ctx, legacytest.Org)
	r.must(err)
	// A call that still ran when the second round began kept its part of the first grant.
	if b.Posted < 100_000_000 || rounds == 1 && b.Posted > 100_000_000 || b.Held != 0 {
		t.Errorf("posted %d, held %d: calls were paid with what was bought, or the opening grant was kept: %+v", b.Posted, b.Held, b.Grants)
	}
	entries, err := r.world().Entries(r.now)
	r.must(err)
	var counted, paid int64
	by := map[org.LedgerMode]int{}
	for _, e := range entries {
		if e.Kind != credit.UsageEntry {
			continue
		}
		if e.Stamp != stamps[e.Request] {
			t.Fatalf("%s: paid as %+v, admitted as %+v", e.Request, e.Stamp, stamps[e.Request])
		}
		by[org.LedgerMode(e.Stamp.Mode)]++
		delete(stamps, e.Request)
		if e.Stamp.Legacy() {
			counted += e.Tokens
		} else {
			paid += int64(-e.Amount) / 6 * 4
		}
	}
	t.Logf("%d shards: %v, counter %d", shards, by, v.Used["202603"])
	if len(stamps) != 0 || counted+paid != used || v.Used["202603"] != used || v.Open != 0 || v.Unseeded != 0 {
		t.Fatalf("used %d, counted %d, paid %d, the counter says %d, open %d, %d without an entry", used, counted, paid, v.Used["202603"], v.Open, len(stamps))
	}
	rec, err := r.ledger.Reconcile(ctx, legacytest.Org, r.now)
	if err != nil || !rec.OK {
		t.Errorf("reconcile %+v, %v", rec, err)
	}
}

// TestLegacyImport: rows are added once, to the month and the day they belong to.
func TestLegacyImport(t *testing.T) {
	r := openLegacy(t)
	r.to(org.LedgerLegacy)
	day := time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC)
	var rows []legacytokens.Row
	for i := range 90 {
		j := legacytokens.RowJSON{ID: "row" + strconv.Itoa(i), PeriodStart: day.AddDate(0, 0, i/30).UnixMilli(), PeriodEnd: day.AddDate(0, 0, i/30).UnixMilli(), RequestCount: 2,
			InputTokens: 10, OutputTokens: 5, TotalTokens: 15, CostInCents: "0.30000000000000004", RequestType: "chat", Provider: "prov", Model: "m", Success: true}
		row, err := j.Parse()
		r.must(err)
		rows = append(rows, row)
	}
	for i, want := range []int{50, 40, 0} {
		part := rows
		if i == 0 {
			part = rows[:50]
		}
		if added, err := r.service.Import(t.Context(), r.op(), legacytest.Org, part); err != nil || added != want {
			t.Fatalf("added %d, want %d, %v", added, want, err)
		}
	}
	v, err := r.service.View(t.Context(), legacytest.Org, r.now)
	r.must(err)
	days, err := r.db.Legacy().Days(t.Context(), legacytest.Org, "2026-02-27", "2026-03-01")
	r.must(err)
	if v.Used["202602"] != 900 || v.Used["202603"] != 450 || len(days) != 3 || days[0].Requests != 60 || days[0].Money != 90_000 || days[2].Day != "2026-03-01" {
		t.Errorf("used %v, days %+v", v.Used, days)
	}
	changed, _ := legacytokens.RowJSON{ID: "row1", PeriodStart: day.UnixMilli(), PeriodEnd: day.UnixMilli(), TotalTokens: 1, InputTokens: 1, CostInCents: "1", RequestType: "chat", Model: "m"}.Parse()
	if _, err := r.service.Import(t.Context(), r.op(), legacytest.Org, []legacytokens.Row{changed}); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("other figures: %v", err)
	}
}
