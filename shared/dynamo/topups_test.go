package dynamo_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topup"
)

// cashier is the payment vendor of a test.
type cashier struct {
	mu      sync.Mutex
	opened  []topup.Checkout
	intents map[string]string
	err     error
}

func (v *cashier) Checkout(_ context.Context, c topup.Checkout) (topup.Session, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return topup.Session{}, v.err
	}
	v.opened = append(v.opened, c)
	return topup.Session{ID: "cs_" + c.TopUp, URL: "https://pay.example/" + c.TopUp}, nil
}

func (v *cashier) Portal(_ context.Context, customer, _ string) (string, error) {
	return "https://portal.example/" + customer, nil
}

func (v *cashier) IntentTopUp(_ context.Context, intent string) (string, error) {
	return v.intents[intent], nil
}

// shop is the service over real tables.
type shop struct {
	*testing.T
	*topup.Service
	vendor *cashier
	ledger *credit.Ledger
	db     *dynamo.DB
	now    time.Time
	n      int
	// agreed counts how often the terms were asked for, unagreed refuses them.
	agreed   int
	unagreed error
}

func newShop(t *testing.T) *shop {
	fx := dynamotest.Open(t, table.Config, table.Ledger, table.Usage)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{T: t, vendor: &cashier{intents: map[string]string{}}, ledger: credit.New(db.Ledger(), credit.Options{}), db: db,
		now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s.Service = &topup.Service{Store: db.TopUps(), Payers: db.TopUps(), Ledger: s.ledger, Vendor: s.vendor, ReturnURL: "https://x.example/b",
		Terms: func(_ context.Context, org string) (map[string]string, error) {
			s.agreed++
			return map[string]string{"org": org, "n": fmt.Sprint(s.agreed)}, s.unagreed
		},
		NewID: func(time.Time) string { s.n++; return fmt.Sprintf("top%04d", s.n) }}
	return s
}

// buy starts a top-up of 10 USD.
func (s *shop) buy(org string) topup.Started {
	s.Helper()
	t, err := s.Start(s.Context(), topup.Order{Org: org, Amount: 10_000_000, Op: audit.Op{Actor: "key:k", ID: fmt.Sprint("op", s.n), At: s.now}, Now: s.now})
	if err != nil {
		s.Fatal(err)
	}
	return t
}

// notices of a top-up, as the vendor sends them.
func notices(t topup.Started) map[string]topup.Notice {
	pi := "pi_" + t.ID
	return map[string]topup.Notice{
		"completed":   {Kind: topup.PaidNotice, Session: t.Session, Intent: pi, TopUp: t.ID, Cents: 1000, Currency: "usd", Customer: "cus_" + t.Org},
		"succeeded":   {Kind: topup.PaidNotice, Intent: pi, TopUp: t.ID, Cents: 1000, Currency: "usd", Customer: "cus_" + t.Org, Method: "pm_1"},
		"refunded300": {Kind: topup.RefundedNotice, Intent: pi, TopUp: t.ID, Cents: 1000, Refunded: 300, Currency: "usd"},
		"refunded500": {Kind: topup.RefundedNotice, Intent: pi, TopUp: t.ID, Cents: 1000, Refunded: 500, Currency: "usd"},
		"withdrawn":   {Kind: topup.WithdrawnNotice, Intent: pi, Dispute: "dp_1", Cents: 200, Currency: "usd"},
		"reinstated":  {Kind: topup.ReinstatedNotice, Intent: pi, Dispute: "dp_1", Cents: 200, Currency: "usd"},
		"expired":     {Kind: topup.FailedNotice, Session: t.Session, TopUp: t.ID, Currency: "usd"},
	}
}

func (s *shop) state(org string) (posted credit.Micro, entries []credit.Entry) {
	s.Helper()
	b, err := s.ledger.Balance(s.Context(), org)
	if err != nil {
		s.Fatal(err)
	}
	if entries, _, err = s.ledger.Entries(s.Context(), org, "", 100, s.now); err != nil {
		s.Fatal(err)
	}
	sum := credit.Micro(0)
	for _, e := range entries {
		sum += e.Amount
	}
	if sum != b.Posted || b.Available != b.Posted {
		s.Errorf("posted %d, available %d, entries %d", b.Posted, b.Available, sum)
	}
	return b.Posted, entries
}

func (s *shop) grants(entries []credit.Entry) (n int) {
	for _, e := range entries {
		if e.Kind == credit.GrantEntry {
			n++
		}
	}
	return n
}

// TestTopUpOrders delivers the notices of a purchase in many orders, each twice:
// the balance is the same, and there is one grant.
func TestTopUpOrders(t *testing.T) {
	s := newShop(t)
	names := []string{"completed", "succeeded", "refunded300", "refunded500", "withdrawn", "reinstated", "expired"}
	for round := range len(names) * 2 {
		org := fmt.Sprintf("org%d", round)
		bought := s.buy(org)
		s.vendor.intents["pi_"+bought.ID] = bought.ID
		order := slices.Concat(names[round%len(names):], names[:round%len(names)])
		if round >= len(names) {
			slices.Reverse(order)
		}
		all := notices(bought)
		for _, name := range append(slices.Clone(order), order...) {
			if _, outcome, err := s.Apply(t.Context(), all[name], s.now); err != nil || outcome != topup.Applied {
				t.Fatalf("%v: %s: %s %v", order, name, outcome, err)
			}
		}
		posted, entries := s.state(org)
		if posted != 5_000_000 || s.grants(entries) != 1 {
			t.Errorf("%v: posted %d in %d entries with %d grants", order, posted, len(entries), s.grants(entries))
		}
		got, err := s.Store.TopUp(t.Context(), bought.ID)
		if err != nil || got.State != topup.Paid || got.Refunded != 500 || got.Org != org {
			t.Errorf("%+v %v", got, err)
		}
		if p, err := s.Payers.Payer(t.Context(), org); err != nil || p.Customer != "cus_"+org || p.Method != "pm_1" {
			t.Errorf("%+v %v", p, err)
		}
		if u, err := s.Portal(t.Context(), org); err != nil || u != "https://portal.example/cus_"+org {
			t.Errorf("%s %v", u, err)
		}
	}
}

// TestTopUpTakenTwice: a payment that is refunded and disputed in full is taken
// back once; a dispute that was won leaves the refund, in whatever order they come.
func TestTopUpTakenTwice(t *testing.T) {
	s := newShop(t)
	for i, c := range []struct {
		order []string
		want  credit.Micro
	}{
		{[]string{"completed", "refunded300", "withdrawnAll"}, 0},
		{[]string{"completed", "withdrawnAll", "refunded300"}, 0},
		{[]string{"withdrawnAll", "refunded300", "completed"}, 0},
		{[]string{"completed", "withdrawnAll", "refunded300", "reinstatedAll"}, 7_000_000},
		{[]string{"completed", "refunded300", "withdrawnAll", "reinstatedAll"}, 7_000_000},
		{[]string{"reinstatedAll", "completed", "withdrawnAll"}, 10_000_000},
		{[]string{"withdrawnAll"}, 0},
		{[]string{"withdrawnAll", "completed", "reinstatedAll", "refunded300"}, 7_000_000},
	} {
		org := fmt.Sprintf("twice%d", i)
		bought := s.buy(org)
		s.vendor.intents["pi_"+bought.ID] = bought.ID
		all := notices(bought)
		for name, of := range map[string]string{"withdrawnAll": "withdrawn", "reinstatedAll": "reinstated"} {
			n := all[of]
			n.Cents = 1000
			all[name] = n
		}
		for _, name := range append(slices.Clone(c.order), c.order...) {
			if _, outcome, err := s.Apply(t.Context(), all[name], s.now); err != nil || outcome != topup.Applied {
				t.Fatalf("%v: %s: %s %v", c.order, name, outcome, err)
			}
		}
		if posted, _ := s.state(org); posted != c.want {
			t.Errorf("%v: posted %d, want %d", c.order, posted, c.want)
		}
	}
}

// TestTopUpInParallel delivers everything twenty times at once.
func TestTopUpInParallel(t *testing.T) {
	s := newShop(t)
	bought := s.buy("acme")
	s.vendor.intents["pi_"+bought.ID] = bought.ID
	all := notices(bought)
	names := slices.Sorted(maps.Keys(all))
	var group sync.WaitGroup
	for i := range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			for _, name := range slices.Concat(names[i%len(names):], names[:i%len(names)]) {
				for try := 0; ; try++ {
					// A refusal to decide is answered as the vendor does: again.
					_, _, err := s.Apply(t.Context(), all[name], s.now)
					if err == nil {
						break
					}
					if try == 50 {
						t.Error(name, err)
						break
					}
				}
			}
		}()
	}
	group.Wait()
	posted, entries := s.state("acme")
	if posted != 5_000_000 || s.grants(entries) != 1 {
		t.Errorf("posted %d, %d grants", posted, s.grants(entries))
	}
}

// TestTopUpContradictions: what does not fit the record moves nothing.
func TestTopUpContradictions(t *testing.T) {
	s := newShop(t)
	a, b := s.buy("acme"), s.buy("other")
	good := notices(a)
	for name, change := range map[string]func(*topup.Notice){
		"currency":                    func(n *topup.Notice) { n.Currency = "eur" },
		"nothing paid":                func(n *topup.Notice) { n.Cents = 0 },
		"negative":                    func(n *topup.Notice) { n.Cents = -5 },
		"more than can be sold":       func(n *topup.Notice) { n.Cents = 1_000_001 },
		"unknown session, known id":   func(n *topup.Notice) { n.Session = "cs_forged" },
		"the session of another":      func(n *topup.Notice) { n.Session, n.TopUp, n.Currency = b.Session, a.ID, "eur" },
		"refund of more than is paid": func(n *topup.Notice) { n.Kind, n.Session, n.Refunded = topup.RefundedNotice, "", 1001 },
		"dispute of more than is paid": func(n *topup.Notice) {
			n.Kind, n.Session, n.Dispute, n.Cents = topup.WithdrawnNotice, "", "dp_1", 1001
		},
	} {
		n := good["completed"]
		change(&n)
		if _, outcome, err := s.Apply(t.Context(), n, s.now); outcome != topup.Refused || err != nil {
			t.Errorf("%s: %s %v", name, outcome, err)
		}
	}
	for name, n := range map[string]topup.Notice{
		"of nobody":       {Kind: topup.PaidNotice, Intent: "pi_x", Cents: 5, Currency: "usd"},
		"an unknown id":   {Kind: topup.PaidNotice, Intent: "pi_x", TopUp: "nope", Cents: 5, Currency: "usd"},
		"no id at all":    {Kind: topup.PaidNotice, Intent: "pi_x", TopUp: "a#b", Cents: 5, Currency: "usd"},
		"foreign dispute": {Kind: topup.WithdrawnNotice, Intent: "pi_x", Dispute: "dp_9", Cents: 5, Currency: "usd"},
		"other":           {Kind: topup.OtherNotice},
	} {
		if _, outcome, err := s.Apply(t.Context(), n, s.now); outcome != topup.Ignored || err != nil {
			t.Errorf("%s: %s %v", name, outcome, err)
		}
	}
	for _, org := range []string{"acme", "other"} {
		if posted, entries := s.state(org); posted != 0 || len(entries) != 0 {
			t.Errorf("%s has %d", org, posted)
		}
	}
	// Our record decides who is paid, whatever id a notice repeats.
	n := good["completed"]
	n.TopUp = b.ID
	if got, outcome, err := s.Apply(t.Context(), n, s.now); outcome != topup.Applied || err != nil || got.Org != "acme" {
		t.Errorf("%+v %s %v", got, outcome, err)
	}
	// A payment belongs to one top-up.
	n = notices(b)["completed"]
	n.Intent = "pi_" + a.ID
	if _, _, err := s.Apply(t.Context(), n, s.now); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("one payment for two: %v", err)
	}
	if posted, _ := s.state("other"); posted != 0 {
		t.Errorf("other has %d", posted)
	}
}

// TestTopUpStart: bounds, and that nothing can be paid without a record.
func TestTopUpStart(t *testing.T) {
	s := newShop(t)
	order := topup.Order{Org: "acme", Amount: 5_000_000, SaveMethod: true, Op: audit.Op{Actor: "key:k", ID: "op1", At: s.now}, Now: s.now}
	for _, amount := range []credit.Micro{0, -5_000_000, 4_990_000, 5_000_001, 10_000_010_000} {
		bad := order
		bad.Amount = amount
		if _, err := s.Start(t.Context(), bad); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%d: %v", amount, err)
		}
	}
	s.vendor.err = fault.New(fault.Unavailable, "test", "down")
	if _, err := s.Start(t.Context(), order); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
	pending, err := s.Store.TopUp(t.Context(), "top0001")
	if err != nil || pending.State != topup.Pending || pending.Session != "" || pending.Cents != 500 || pending.Org != "acme" {
		t.Errorf("%+v %v", pending, err)
	}
	// Nothing is sold without terms.
	s.unagreed = fault.New(fault.Unavailable, "test", "down")
	if _, err := s.Start(t.Context(), order); fault.CodeOf(err) != fault.Unavailable || s.n != 1 {
		t.Errorf("%v, %d records", err, s.n)
	}
	s.vendor.err, s.unagreed, s.agreed, order.Op.ID = nil, nil, 0, "op2"
	got, err := s.Start(t.Context(), order)
	if err != nil || got.URL == "" || len(s.vendor.opened) != 1 || !s.vendor.opened[0].SaveMethod || s.vendor.opened[0].Cents != 500 {
		t.Fatalf("%+v %v", got, err)
	}
	want := map[string]string{"org": "acme", "n": "1"}
	if kept, err := s.Store.TopUp(t.Context(), got.ID); err != nil || !maps.Equal(kept.Terms, want) || !maps.Equal(s.vendor.opened[0].Metadata, want) {
		t.Errorf("%+v %+v %v", kept.Terms, s.vendor.opened[0].Metadata, err)
	}
	if id, err := s.Store.Owner(t.Context(), got.Session); err != nil || id != got.ID {
		t.Errorf("%q %v", id, err)
	}
	if _, err := s.Portal(t.Context(), "acme"); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
	rows, _, err := s.db.Audit().Audit(t.Context(), "acme", "", 10, s.now)
	if err != nil || len(rows) != 2 || rows[0].Action != "topup.create" || rows[0].Detail["amount"] != "5000000" {
		t.Errorf("%+v %v", rows, err)
	}
}
