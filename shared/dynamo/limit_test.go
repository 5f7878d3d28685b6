package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/credit/ledgertest"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/limit/limittest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var limitNow = time.Date(2026, 11, 22, 10, 0, 30, 0, time.UTC)

// limitRig is a ledger whose network can fail, and the same without failures.
type limitRig struct {
	t      *testing.T
	db     *DB
	ledger *credit.Ledger
	store  *LedgerStore
	faults *ledgertest.Faults
	serial int
}

func newLimitRig(t *testing.T) *limitRig {
	t.Helper()
	fx := dynamotest.Open(t, table.Config, table.Ledger)
	r := &limitRig{t: t, faults: ledgertest.NewFaults(http.DefaultClient)}
	options := fx.Client.Options()
	options.HTTPClient = r.faults
	var err error
	if r.db, err = New(dynamodb.New(options), fx.Tables); err != nil {
		t.Fatal(err)
	}
	r.store = r.db.Ledger()
	r.ledger = credit.New(r.store, credit.Options{})
	if err := r.ledger.OpenAccount(t.Context(), "acme", limitNow); err != nil {
		t.Fatal(err)
	}
	_, err = r.ledger.Grant(t.Context(), credit.GrantRequest{Org: "acme", Kind: taxonomy.Purchased, Amount: 1_000_000, IdempotencyKey: "fund", Now: limitNow})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var limitSubjects = []limit.Subject{{Org: "acme", Key: "k1"}, {Org: "acme"}}

// request is a reserve that claims from a key and its organisation, which have
// seen nothing.
func (r *limitRig) request(l limit.Limits, hold billing.Micro, tokens int64) credit.ReserveRequest {
	r.serial++
	n := fmt.Sprint("r", r.serial)
	q := credit.ReserveRequest{Org: "acme", Request: n, Attempt: 1, Owner: "o" + n, Hold: hold, Now: limitNow, Expires: limitNow.Add(time.Minute),
		Provider: "prov", Model: "m", Source: taxonomy.Platform, Rule: "P7", DecisionHash: "h", PriceVersion: "p", Decision: []byte("{}"), Idempotent: true}
	for _, s := range limitSubjects {
		q.Limits = append(q.Limits, limit.Claim{Subject: s, Limits: l, At: limitNow, Now: limitNow, First: true, Slot: q.Owner, Until: q.Expires, Tokens: tokens, Spend: int64(hold)})
	}
	return q
}

func (r *limitRig) state(s limit.Subject) limit.State {
	r.t.Helper()
	it, err := r.db.get(context.Background(), table.Config, countsKey(s), true)
	if err != nil {
		r.t.Fatal(err)
	}
	st, err := decodeCounts(it)
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

func (r *limitRig) held() billing.Micro {
	r.t.Helper()
	b, err := r.ledger.Balance(context.Background(), "acme")
	if err != nil {
		r.t.Fatal(err)
	}
	return b.Held
}

// decided asks until the ledger knows, as callers do: on a machine that is busy enough
// any try may stay without an answer. The same request counts once.
func decided(try func() error) error {
	var err error
	for range 20 {
		if err = try(); fault.CodeOf(err) != fault.LedgerUnavailable {
			break
		}
	}
	return err
}

func (r *limitRig) reserve(q credit.ReserveRequest) error {
	return decided(func() error { _, err := r.ledger.Reserve(context.Background(), q); return err })
}

// storm makes n requests at once and returns those that passed; all others must
// have met the limit.
func (r *limitRig) storm(n int, l limit.Limits, hold billing.Micro, tokens int64, kind limit.Kind) []credit.ReserveRequest {
	r.t.Helper()
	var mu sync.Mutex
	var passed []credit.ReserveRequest
	var group sync.WaitGroup
	for range n {
		q := r.request(l, hold, tokens)
		group.Go(func() {
			err := r.reserve(q)
			var refused *limit.Refusal
			switch {
			case err == nil:
				mu.Lock()
				passed = append(passed, q)
				mu.Unlock()
			case fault.CodeOf(err) != fault.RateLimited || !errors.As(err, &refused) || refused.Kind != kind || refused.Subject.Key != "k1":
				r.t.Errorf("%v", err)
			}
		})
	}
	group.Wait()
	return passed
}

// TestLimitsUnderLoad: of 100 requests at once exactly as many pass as there is
// room for, and a refused one has left nothing behind.
func TestLimitsUnderLoad(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits limit.Limits
		tokens int64
		kind   limit.Kind
		want   int
	}{
		{"requests", limit.Limits{RequestsPerMinute: 10}, 5, limit.Requests, 10},
		{"tokens", limit.Limits{TokensPerMinute: 77}, 10, limit.Tokens, 7},
		{"concurrent", limit.Limits{Concurrent: 6}, 5, limit.Concurrent, 6},
		{"budget", limit.Limits{Budget: limit.Budget{Amount: 450, Period: limit.Day}}, 5, limit.Spending, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newLimitRig(t)
			passed := r.storm(100, c.limits, 100, c.tokens, c.kind)
			if len(passed) != c.want {
				t.Errorf("%d passed, want %d", len(passed), c.want)
			}
			if got := r.held(); got != billing.Micro(100*c.want) {
				t.Errorf("%d are held for %d requests", got, c.want)
			}
			if a, b := r.state(limitSubjects[0]), r.state(limitSubjects[1]); !maps.Equal(a.Counters, b.Counters) || !maps.Equal(a.Slots, b.Slots) {
				t.Errorf("key and organisation were counted differently: %v %v", a, b)
			}
		})
	}
}

// TestSlotsOfDeadRequests: the slots of requests that died are taken over, each
// once, by callers that all saw them.
func TestSlotsOfDeadRequests(t *testing.T) {
	r := newLimitRig(t)
	l := limit.Limits{Concurrent: 4}
	if n := len(r.storm(4, l, 0, 0, limit.Concurrent)); n != 4 {
		t.Fatalf("%d passed", n)
	}
	seen := r.state(limitSubjects[0])
	later := limitNow.Add(2 * time.Minute)
	var group sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 40 {
		q := r.request(l, 0, 0)
		q.Now, q.Expires = later, later.Add(time.Minute)
		for i := range q.Limits {
			q.Limits[i].At, q.Limits[i].Now, q.Limits[i].Until, q.Limits[i].Seen = later, later, q.Expires, seen
		}
		group.Go(func() {
			err := r.reserve(q)
			if err != nil && fault.CodeOf(err) != fault.RateLimited {
				t.Errorf("%v", err)
			}
			if err == nil {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if st := r.state(limitSubjects[0]); passed != 4 || len(st.Slots) != 4 || st.Counters["c"] != 4 {
		t.Errorf("%d passed; %+v", passed, st)
	}
}

// TestLimitsAndIdempotency: a repeat is answered as a repeat, also at the limit,
// and counts nowhere.
func TestLimitsAndIdempotency(t *testing.T) {
	r := newLimitRig(t)
	q := r.request(limit.Limits{RequestsPerMinute: 1, Concurrent: 1}, 100, 0)
	if _, err := r.ledger.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	again := q
	again.Owner = "other"
	if _, err := r.ledger.Reserve(t.Context(), again); fault.CodeOf(err) != fault.IdempotencyInProgress {
		t.Errorf("%v", err)
	}
	if st := r.state(limitSubjects[0]); len(st.Slots) != 1 || st.Counters["c"] != 1 {
		t.Errorf("%+v", st)
	}
	// A request that is refused has not spent its key.
	second := r.request(limit.Limits{RequestsPerMinute: 1}, 100, 0)
	if _, err := r.ledger.Reserve(t.Context(), second); fault.CodeOf(err) != fault.RateLimited {
		t.Errorf("%v", err)
	}
	second.Limits = nil
	if _, err := r.ledger.Reserve(t.Context(), second); err != nil {
		t.Errorf("the key of a refused request is spent: %v", err)
	}
}

// TestLimitsOverABadNetwork: answers that are lost change no count.
func TestLimitsOverABadNetwork(t *testing.T) {
	r := newLimitRig(t)
	l := limit.Limits{RequestsPerMinute: 1, TokensPerMinute: 1000, Budget: limit.Budget{Amount: 500, Period: limit.Total}}
	r.faults.Script(ledgertest.Rule{Op: "TransactWriteItems", Kind: ledgertest.AnswerLost, Count: 2}, ledgertest.Rule{Op: "TransactWriteItems", Kind: ledgertest.Conflict, Count: 1})
	q := r.request(l, 100, 300)
	if _, err := r.ledger.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	// Committed, unanswered and then refused by its own count.
	q = r.request(limit.Limits{Concurrent: 1}, 100, 0)
	refused := ledgertest.Rule{Op: "TransactWriteItems", Kind: ledgertest.Cancel, Count: 1, Reasons: []string{"None", "None", "None", "ConditionalCheckFailed", "None"}}
	r.faults.Script(ledgertest.Rule{Op: "TransactWriteItems", Kind: ledgertest.AnswerLost, Count: 1}, refused)
	if _, err := r.ledger.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	r.faults.Script(ledgertest.Rule{Op: "UpdateItem", Kind: ledgertest.AnswerLost, Count: 1})
	if err := r.store.FinishLimit(t.Context(), q.Limits[0].Finish(limitNow, 0, 0)); err != nil {
		t.Errorf("a slot's end can be repeated: %v", err)
	}
	st := r.state(limitSubjects[0])
	if st.Counters["c"] != 0 || st.Counters["t"+fmt.Sprint(limitNow.Unix()/60)] != 300 || st.Counters["bt"] != 100 || len(st.Slots) != 0 {
		t.Errorf("%+v", st)
	}
	// Without a slot a repetition would count twice, so there is none.
	q = r.request(limit.Limits{TokensPerMinute: 1000}, 0, 300)
	if _, err := r.ledger.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	end := q.Limits[0].Finish(limitNow, 100, 0)
	r.faults.Script(ledgertest.Rule{Op: "UpdateItem", Kind: ledgertest.Throttle, Count: 2}, ledgertest.Rule{Op: "UpdateItem", Kind: ledgertest.AnswerLost, Count: 1})
	if err := r.store.FinishLimit(t.Context(), end); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Errorf("%v", err)
	}
	if got := r.state(limitSubjects[0]).Counters["t"+fmt.Sprint(limitNow.Unix()/60)]; got != 400 {
		t.Errorf("%d tokens are counted", got)
	}
}

// TestLimitStoreIsTheMemoryStore plays the same random requests on both.
func TestLimitStoreIsTheMemoryStore(t *testing.T) {
	r := newLimitRig(t)
	var memory limittest.Store
	dice := ledgertest.NewDice(7)
	l := limit.Limits{RequestsPerMinute: 3, TokensPerMinute: 300, Concurrent: 3, Budget: limit.Budget{Amount: 3000, Period: limit.Day}}
	now := limitNow
	var running [][]limit.Claim
	var old limit.State
	met := map[limit.Kind]int{}
	for step := range 240 {
		now = now.Add(time.Duration(dice.Below(15)) * time.Second)
		if len(running) > 0 && dice.Chance(40) {
			i := dice.Below(len(running))
			for _, c := range running[i] {
				end := c.Finish(now, int64(dice.Below(100)), int64(dice.Below(100)))
				if err := errors.Join(r.store.FinishLimit(t.Context(), end), memory.FinishLimit(t.Context(), end)); err != nil {
					t.Fatal(err)
				}
			}
			running = append(running[:i], running[i+1:]...)
			continue
		}
		tokens := int64(dice.Below(120))
		if dice.Chance(20) {
			tokens = l.TokensPerMinute + 1 // never fits, not even into a new minute
		}
		q := r.request(l, billing.Micro(dice.Below(90)), tokens)
		q.Now, q.Expires = now, now.Add(time.Minute)
		for i := range q.Limits {
			c := &q.Limits[i]
			c.At, c.Now, c.Until, c.Seen = now, now, q.Expires, memory.State(c.Subject)
			if dice.Chance(30) {
				c.Seen = old
			}
		}
		old = memory.State(limitSubjects[0])
		_, err := r.ledger.Reserve(t.Context(), q)
		want := memory.Claim(q.Limits)
		if fault.CodeOf(err) != fault.CodeOf(want) || err != nil && err.Error() != want.Error() {
			t.Fatalf("step %d: %v, want %v", step, err, want)
		}
		if err == nil {
			running = append(running, q.Limits)
		}
		if refused := new(limit.Refusal); errors.As(err, &refused) {
			met[refused.Kind]++
		}
		for _, s := range limitSubjects {
			got, want := r.state(s), memory.State(s)
			if !maps.Equal(got.Counters, want.Counters) || !maps.EqualFunc(got.Slots, want.Slots, time.Time.Equal) {
				t.Fatalf("step %d, %v: %+v, want %+v", step, s, got, want)
			}
		}
	}
	if len(met) != 4 {
		t.Errorf("the run met only %v", met)
	}
}

// TestKeysWithCounts: what counts against a key is read with it and is not a key.
func TestKeysWithCounts(t *testing.T) {
	db, ctx := openConfig(t), context.Background()
	ids := []string{"k", "k-1", "k0", "k1", "k10", "kk"}
	for i, id := range ids {
		k := org.Key{ID: id, Org: "acme", Name: id, Scopes: org.Scopes(), Hash: org.Digest{byte(i)}, CreatedAt: limitNow}
		if err := db.Keys().CreateKey(ctx, k, orgtest.Op("op"+id).Row("acme", "key.create", id)); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			continue
		}
		c := limit.Claim{Subject: limit.Subject{Org: "acme", Key: id}, Limits: limit.Limits{RequestsPerMinute: 5}, At: limitNow, Now: limitNow, First: true}
		if err := db.Ledger().FinishLimit(ctx, c.Change()); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		k, err := callKey(ctx, db, "acme", id)
		if err != nil || k == nil || k.ID != id || len(k.Counted.Counters) != i%2 {
			t.Errorf("%s: %+v, %v", id, k, err)
		}
	}
	for limit := 1; limit <= len(ids)+1; limit++ {
		var got []string
		for after := ""; ; {
			page, next, err := db.Keys().Keys(ctx, "acme", after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d keys, %v", len(page), err)
			}
			for _, k := range page {
				got = append(got, k.ID)
			}
			if after = next; after == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	// Counts without a key are no key.
	c := limit.Claim{Subject: limit.Subject{Org: "acme", Key: "ghost"}, Limits: limit.Limits{RequestsPerMinute: 5}, At: limitNow, Now: limitNow, First: true}
	if err := db.Ledger().FinishLimit(ctx, c.Change()); err != nil {
		t.Fatal(err)
	}
	if k, err := callKey(ctx, db, "acme", "ghost"); k != nil || err != nil {
		t.Errorf("%+v %v", k, err)
	}
	for name, k := range map[string]table.Key{"key": table.KeyCounts("acme", "k0"), "org": table.OrgCounts("acme")} {
		it := keyItem(k)
		it["c.r1"] = str("x")
		if _, err := db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(*db.name(table.Config)), Item: it}); err != nil {
			t.Fatal(err)
		}
		_, err := callKey(ctx, db, "acme", "k0")
		if name == "org" {
			_, err = db.Gateway().OrgConfig(ctx, "acme")
		}
		if fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: unreadable counts: %v", name, err)
		}
	}
}

func callKey(ctx context.Context, db *DB, orgID, id string) (*org.Key, error) {
	c, err := db.Gateway().CallConfig(ctx, orgID, id, time.Now(), nil)
	return c.Key, err
}

// TestCountLimits: exactly as many parallel requests count as there is room for,
// and one that its organisation refuses does not count for its key.
func TestCountLimits(t *testing.T) {
	r := newLimitRig(t)
	claims := func(key, org int64) []limit.Claim {
		out := make([]limit.Claim, 2)
		for i, most := range []int64{key, org} {
			out[i] = limit.Claim{Subject: limitSubjects[i], Limits: limit.Limits{RequestsPerMinute: most}, At: limitNow, Now: limitNow, First: true}
		}
		return out
	}
	var group sync.WaitGroup
	codes := make([]fault.Code, 30)
	for i := range codes {
		group.Go(func() {
			codes[i] = fault.CodeOf(decided(func() error {
				return r.store.CountLimits(t.Context(), fmt.Sprint("count", i), claims(100, 10))
			}))
		})
	}
	group.Wait()
	passed := 0
	for _, c := range codes {
		switch c {
		case "":
			passed++
		case fault.RateLimited:
		default:
			t.Errorf("%s", c)
		}
	}
	if passed != 10 {
		t.Errorf("%d of 30 passed a limit of 10", passed)
	}
	// The key has counted 10 as well, not 30.
	if err := r.store.CountLimits(t.Context(), "more", claims(11, 1000)); err != nil {
		t.Error(err)
	}
	if err := r.store.CountLimits(t.Context(), "most", claims(11, 1000)); fault.CodeOf(err) != fault.RateLimited {
		t.Error(err)
	}
	// The same word again, as after a lost answer, does not count again.
	if err := r.store.CountLimits(t.Context(), "more", claims(11, 1000)); err != nil {
		t.Error(err)
	}
	if err := r.store.CountLimits(t.Context(), "nothing", []limit.Claim{{Subject: limitSubjects[0], At: limitNow, Now: limitNow, First: true}}); err != nil {
		t.Error(err)
	}
}
