package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topup"
)

// till charges cards: once per top-up, as the vendor does.
type till struct {
	mu       sync.Mutex
	charged  map[string]topup.Charge // by top-up
	asked    int
	declined bool
	gone     bool // the means of payment
	refusal  error
	// lose makes the answer of the next calls get lost; before runs ahead of one.
	lose   int
	before func(topup.Charge)
}

func (v *till) Charge(_ context.Context, c topup.Charge) (topup.Charged, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if old, ok := v.charged[c.TopUp]; ok && (old.Cents != c.Cents || old.Customer != c.Customer || old.Method != c.Method || !maps.Equal(old.Metadata, c.Metadata)) {
		return topup.Charged{}, fault.New(fault.Internal, "t", "another payment under the same key")
	}
	if v.refusal != nil {
		return topup.Charged{}, v.refusal
	}
	if v.gone {
		return topup.Charged{NoMethod: true}, nil
	}
	if v.declined {
		return topup.Charged{Declined: true}, nil
	}
	v.charged[c.TopUp] = c
	if v.before != nil {
		v.before(c)
	}
	if v.lose > 0 {
		v.lose--
		return topup.Charged{}, fault.New(fault.Unavailable, "t", "no answer")
	}
	return topup.Charged{Intent: "pi_" + c.TopUp}, nil
}

// standing is a shop with a standing order: 10 credits when 5 or less are left, at
// most 30 a month.
type standing struct {
	*shop
	*topup.Replenisher
	till *till
}

func newStanding(t *testing.T, credits credit.Micro) *standing {
	s := newShop(t)
	x := &standing{shop: s, till: &till{charged: map[string]topup.Charge{}}}
	x.Replenisher = &topup.Replenisher{Sales: s.Service, Store: s.db.TopUps(), Balances: s.ledger, Charger: x.till, Stage: "test"}
	if _, err := x.Set(t.Context(), "acme", x.order(), x.op(), s.now); fault.CodeOf(err) != fault.Conflict {
		t.Fatalf("without a saved card: %v", err)
	}
	if err := s.Payers.WritePayer(t.Context(), topup.Payer{Org: "acme", Customer: "cus_1", Method: "pm_1", Rev: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Set(t.Context(), "acme", x.order(), x.op(), s.now); err != nil {
		t.Fatal(err)
	}
	if credits > 0 {
		if _, err := s.ledger.Grant(t.Context(), credit.GrantRequest{Org: "acme", Kind: taxonomy.Gifted, Amount: credits, IdempotencyKey: "first", Now: s.now}); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x *standing) order() topup.Settings {
	return topup.Settings{Enabled: true, Threshold: 5_000_000, Amount: 10_000_000, MonthlyCap: 30_000_000}
}

func (x *standing) op() audit.Op {
	x.shop.n++
	return audit.Op{Actor: "key:k", ID: fmt.Sprint("set", x.shop.n), At: x.now}
}

func (x *standing) step(want topup.Step) {
	x.Helper()
	if got, err := x.Run(x.Context(), "acme", x.now); got != want || err != nil {
		x.Fatalf("%s %v, want %s", got, err, want)
	}
}

func (x *standing) get() topup.Replenish {
	x.Helper()
	r, err := x.Get(x.Context(), "acme")
	if err != nil {
		x.Fatal(err)
	}
	return r
}

// paid is the vendor's message about the only payment that is not told yet.
func (x *standing) paid(id string) {
	x.Helper()
	x.till.mu.Lock()
	c := x.till.charged[id]
	x.till.mu.Unlock()
	if _, outcome, err := x.Apply(x.Context(), topup.Notice{Kind: topup.PaidNotice, TopUp: id, Intent: "pi_" + id, Cents: c.Cents, Currency: "usd", Customer: c.Customer}, x.now); outcome != topup.Applied || err != nil {
		x.Fatalf("%s %v", outcome, err)
	}
}

// spend takes credits, by an operator's decision.
func (x *standing) spend(amount credit.Micro) {
	x.Helper()
	x.shop.n++
	if _, err := x.ledger.Adjust(x.Context(), credit.GrantRequest{Org: "acme", Kind: taxonomy.Gifted, Amount: -amount, IdempotencyKey: fmt.Sprint("spent", x.shop.n), Now: x.now}); err != nil {
		x.Fatal(err)
	}
}

func (x *standing) posted(want credit.Micro) {
	x.Helper()
	if got, _ := x.state("acme"); got != want {
		x.Errorf("posted %d, want %d", got, want)
	}
}

// events lists the reasons that were told.
func (x *standing) events() (out []string) {
	x.Helper()
	kept, err := x.db.Outbox().Kept(x.Context(), "", 100)
	if err != nil {
		x.Fatal(err)
	}
	for _, e := range kept {
		if e.Type == outbox.TypeReplenish {
			out = append(out, string(e.Detail))
		}
	}
	return out
}

// TestReplenish: at the threshold once, again when it is reached again, and the
// cap of the month holds.
func TestReplenish(t *testing.T) {
	x := newStanding(t, 5_000_001)
	x.step(topup.Idle)
	x.spend(1)
	x.step(topup.Begun)
	x.step(topup.Waits)
	id := x.get().Current
	if c := x.till.charged[id]; len(x.till.charged) != 1 || c.Cents != 1000 || c.Customer != "cus_1" || c.Method != "pm_1" || c.Org != "acme" {
		t.Fatalf("%+v", x.till.charged)
	}
	x.posted(5_000_000) // the credits come with the vendor's message only
	x.paid(id)
	x.posted(15_000_000)
	x.spend(14_000_000)
	x.step(topup.Finished)
	for n := range 2 {
		x.step(topup.Begun)
		x.paid(x.get().Current)
		x.spend(10_000_000)
		x.step(topup.Finished)
		if r := x.get(); r.Spent != int64(2000+1000*n) || r.Serial != int64(2+n) {
			t.Errorf("%+v", r)
		}
	}
	x.step(topup.Capped)
	x.step(topup.Idle)
	if r := x.get(); !r.Enabled || r.Reason != topup.CapIsMet || !r.NotBefore.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) || len(x.till.charged) != 3 || len(x.events()) != 1 {
		t.Errorf("%+v, %d charges, %v", r, len(x.till.charged), x.events())
	}
	x.now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	x.step(topup.Begun)
	if r := x.get(); r.Month != "202612" || r.Spent != 1000 || r.Serial != 1 || len(x.till.charged) != 4 {
		t.Errorf("%+v", r)
	}
}

// TestReplenishInParallel: twenty runs at once are one payment, also while its
// message arrives.
func TestReplenishInParallel(t *testing.T) {
	x := newStanding(t, 1_000_000)
	x.till.before = func(c topup.Charge) {} // set before the runs begin
	for round := range 2 {
		var group sync.WaitGroup
		for range 20 {
			group.Add(1)
			go func() {
				defer group.Done()
				if _, err := x.Run(t.Context(), "acme", x.now); err != nil && fault.CodeOf(err) != fault.LedgerUnavailable {
					t.Error(err)
				}
			}()
		}
		if round == 1 {
			x.paid(x.get().Current)
		}
		group.Wait()
		if len(x.till.charged) != 1 {
			t.Fatalf("round %d: %d payments", round, len(x.till.charged))
		}
	}
	x.posted(11_000_000)
	if _, err := x.Run(t.Context(), "acme", x.now); err != nil || x.get().Current != "" || len(x.till.charged) != 1 {
		t.Errorf("%v %+v", err, x.get())
	}
}

// TestReplenishKilled: whoever dies between the vendor's payment and our record,
// the payment is asked for again under the same key, and is one.
func TestReplenishKilled(t *testing.T) {
	x := newStanding(t, 0)
	x.till.lose = 3
	for range 3 {
		if _, err := x.Run(t.Context(), "acme", x.now); fault.CodeOf(err) != fault.Unavailable {
			t.Fatal(err)
		}
		x.now = x.now.Add(time.Minute)
	}
	// The customer changed the card meanwhile: the payment under way keeps its own.
	if err := x.Payers.WritePayer(t.Context(), topup.Payer{Org: "acme", Customer: "cus_1", Method: "pm_2", Rev: 2}); err != nil {
		t.Fatal(err)
	}
	x.step(topup.Begun)
	x.step(topup.Waits)
	if len(x.till.charged) != 1 || x.till.asked != 4 {
		t.Errorf("%d payments, asked %d times", len(x.till.charged), x.till.asked)
	}
	for id, c := range x.till.charged {
		if kept, err := x.Sales.Store.TopUp(t.Context(), id); err != nil || c.Metadata["n"] != "1" || c.Metadata["org"] != "acme" || kept.Terms["n"] != "1" || x.agreed != 1 {
			t.Errorf("the terms of one payment: %+v %+v %v", c.Metadata, kept.Terms, err)
		}
	}
	// The message came before the answer, and the answer was lost.
	y := newStanding(t, 0)
	y.till.lose = 1
	if _, err := y.Run(t.Context(), "acme", y.now); fault.CodeOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	y.paid(y.get().Current)
	y.step(topup.Finished)
	y.step(topup.Idle)
	y.posted(10_000_000)
	if len(y.till.charged) != 1 || y.till.asked != 1 {
		t.Errorf("%d payments, asked %d times", len(y.till.charged), y.till.asked)
	}
	// An end that is never told switches the order off: the key is forgotten by now.
	z := newStanding(t, 0)
	z.till.lose = 1
	_, _ = z.Run(t.Context(), "acme", z.now)
	z.now = z.now.Add(20 * time.Hour)
	z.step(topup.Off)
	z.step(topup.Idle)
	w := newStanding(t, 0)
	w.step(topup.Begun)
	w.now = w.now.Add(4*24*time.Hour - time.Minute)
	w.step(topup.Waits)
	w.now = w.now.Add(time.Minute)
	w.step(topup.Off)
	for _, x := range []*standing{z, w} {
		if r := x.get(); r.Enabled || r.Reason != topup.Unknown || x.till.asked != 1 || len(x.events()) != 1 {
			t.Errorf("%+v, asked %d times, %v", r, x.till.asked, x.events())
		}
	}
}

// paidNotPosted answers that the ledger does not have a payment yet.
type brokenLedger struct{ topup.Ledger }

func (brokenLedger) Grant(context.Context, credit.GrantRequest) (credit.Posting, error) {
	return credit.Posting{}, fault.Wrap(fault.LedgerUnavailable, "t", "down", errors.New("down"))
}

// TestReplenishPaidNotPosted: between the vendor's message and its credits nothing
// is bought a second time.
func TestReplenishPaidNotPosted(t *testing.T) {
	x := newStanding(t, 0)
	x.step(topup.Begun)
	id := x.get().Current
	good := x.Sales.Ledger
	x.Sales.Ledger = brokenLedger{good}
	n := topup.Notice{Kind: topup.PaidNotice, TopUp: id, Intent: "pi_" + id, Cents: 1000, Currency: "usd"}
	if _, _, err := x.Apply(t.Context(), n, x.now); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Fatal(err)
	}
	if _, err := x.Run(t.Context(), "acme", x.now); fault.CodeOf(err) != fault.LedgerUnavailable || x.get().Current != id {
		t.Fatalf("%v %+v", err, x.get())
	}
	x.Sales.Ledger = good
	x.step(topup.Finished)
	x.posted(10_000_000)
	x.step(topup.Idle)
	if len(x.till.charged) != 1 {
		t.Errorf("%d payments", len(x.till.charged))
	}
}

// TestReplenishDeclined: 1 hour, 6 hours, 24 hours, then off; each is told, and
// nothing of it counts against the month.
func TestReplenishDeclined(t *testing.T) {
	x := newStanding(t, 0)
	x.till.declined = true
	for i, pause := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour} {
		x.step(topup.Failing)
		if r := x.get(); r.Failures != i+1 || r.Reason != topup.Declined || r.Spent != 0 || r.Current != "" || !r.NotBefore.Equal(x.now.Add(pause)) {
			t.Fatalf("%+v", r)
		}
		x.now = x.now.Add(pause - time.Second)
		x.step(topup.Idle)
		x.now = x.now.Add(time.Second)
	}
	x.step(topup.Off)
	if r := x.get(); r.Enabled || r.Reason != topup.Declined || r.Failures != 4 || len(x.events()) != 4 || x.till.asked != 4 {
		t.Errorf("%+v, %v", r, x.events())
	}
	x.step(topup.Idle)
	x.till.declined = false
	if r, err := x.Set(t.Context(), "acme", x.order(), x.op(), x.now); err != nil || !r.Enabled || r.Failures != 0 || r.Reason != "" {
		t.Fatalf("%+v %v", r, err)
	}
	x.step(topup.Begun)
	// A bank that refuses later, by message.
	id := x.get().Current
	if _, outcome, err := x.Apply(t.Context(), topup.Notice{Kind: topup.FailedNotice, TopUp: id, Intent: "pi_" + id, Currency: "usd"}, x.now); outcome != topup.Applied || err != nil {
		t.Fatal(outcome, err)
	}
	x.step(topup.Failing)
	if r := x.get(); r.Failures != 1 || r.Spent != 0 {
		t.Errorf("%+v", r)
	}
	// Without a saved card there is nothing to charge.
	x.now = x.now.Add(time.Hour)
	if err := x.Payers.WritePayer(t.Context(), topup.Payer{Org: "acme", Customer: "cus_1", Rev: 2}); err != nil {
		t.Fatal(err)
	}
	x.step(topup.Off)
	if r := x.get(); r.Reason != topup.NoMethod {
		t.Errorf("%+v", r)
	}
}

// TestReplenishRefused: what the platform has to mend is no failure of the customer's,
// whatever its code: the same payment is asked for until it is mended. A card that is
// gone is the customer's, and another one ends it.
func TestReplenishRefused(t *testing.T) {
	x := newStanding(t, 0)
	for _, code := range []fault.Code{fault.Internal, fault.Unavailable, fault.NotFound, fault.Internal, fault.Internal} {
		x.till.refusal = fault.New(code, "t", "refused")
		if _, err := x.Run(t.Context(), "acme", x.now); fault.CodeOf(err) != code {
			t.Fatalf("%v, want %s", err, code)
		}
		if r := x.get(); !r.Enabled || r.Failures != 0 || r.Reason != "" || r.Current == "" || len(x.events()) != 0 {
			t.Fatalf("%s: %+v, %v", code, r, x.events())
		}
		x.now = x.now.Add(time.Hour)
	}
	x.till.refusal = nil
	x.step(topup.Begun)
	if r := x.get(); r.Serial != 1 || len(x.till.charged) != 1 {
		t.Errorf("%+v, %d payments", r, len(x.till.charged))
	}
	y := newStanding(t, 0)
	y.till.gone = true
	y.step(topup.Failing)
	if r := y.get(); !r.Enabled || r.Reason != topup.NoMethod || r.Failures != 1 || r.Spent != 0 || r.Current != "" || len(y.events()) != 1 || !strings.Contains(y.events()[0], "no_payment_method") {
		t.Errorf("%+v, %v", r, y.events())
	}
	y.till.gone = false
	if err := y.Payers.WritePayer(t.Context(), topup.Payer{Org: "acme", Customer: "cus_1", Method: "pm_2", Rev: 2}); err != nil {
		t.Fatal(err)
	}
	y.now = y.now.Add(time.Hour)
	y.step(topup.Begun)
	if c := y.till.charged[y.get().Current]; c.Method != "pm_2" {
		t.Errorf("%+v", c)
	}
}

// TestReplenishQueue: an order lies in the index while somebody has to look after
// it.
func TestReplenishQueue(t *testing.T) {
	x := newStanding(t, 100_000_000)
	queue := func(at time.Time) (out []string) {
		t.Helper()
		for bucket := range 4 {
			for after := ""; ; {
				orgs, next, err := x.db.TopUps().DueReplenish(t.Context(), bucket, at, after, 1)
				if err != nil {
					t.Fatal(err)
				}
				if out, after = append(out, orgs...), next; next == "" {
					break
				}
			}
		}
		slices.Sort(out)
		return out
	}
	if got := queue(x.now); !slices.Equal(got, []string{"acme"}) {
		t.Error(got)
	}
	if got := queue(x.now.Add(-time.Second)); len(got) != 0 {
		t.Error(got)
	}
	for i := range 9 {
		org := fmt.Sprintf("org%d", i)
		if err := x.Payers.WritePayer(t.Context(), topup.Payer{Org: org, Customer: "cus", Method: "pm", Rev: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Set(t.Context(), org, x.order(), x.op(), x.now); err != nil {
			t.Fatal(err)
		}
	}
	if got := queue(x.now); len(got) != 10 {
		t.Error(got)
	}
	off := x.order()
	off.Enabled = false
	if _, err := x.Set(t.Context(), "acme", off, x.op(), x.now); err != nil {
		t.Fatal(err)
	}
	if got := queue(x.now); len(got) != 9 || slices.Contains(got, "acme") {
		t.Error(got)
	}
	// A payment under way is looked after although the order is off.
	x.step(topup.Idle)
	if _, err := x.Set(t.Context(), "acme", x.order(), x.op(), x.now); err != nil {
		t.Fatal(err)
	}
	x.spend(100_000_000)
	x.step(topup.Begun)
	if _, err := x.Set(t.Context(), "acme", off, x.op(), x.now); err != nil {
		t.Fatal(err)
	}
	if got := queue(x.now); !slices.Contains(got, "acme") {
		t.Error(got)
	}
	x.paid(x.get().Current)
	x.step(topup.Finished)
	if got := queue(x.now); slices.Contains(got, "acme") {
		t.Error(got)
	}
	rows, _, err := x.db.Audit().Audit(t.Context(), "acme", "", 10, x.now)
	if err != nil || len(rows) != 4 || rows[0].Action != "replenish.update" || rows[0].Detail["monthly_cap"] != "30000000" {
		t.Errorf("%+v %v", rows, err)
	}
	for name, change := range map[string]func(*topup.Settings){
		"amount": func(s *topup.Settings) { s.Amount = 4_990_000 }, "threshold": func(s *topup.Settings) { s.Threshold = -1 },
		"monthly_cap": func(s *topup.Settings) { s.MonthlyCap = 9_990_000 },
	} {
		bad := x.order()
		change(&bad)
		if _, err := x.Set(t.Context(), "acme", bad, x.op(), x.now); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
