package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/fakestripe"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/commercial"
)

// The payment vendor's secrets are canaries, too.
const (
	stripeKey       = "sk_test_CNRY5b1c77d2STRIPEKEY"
	stripeSecret    = "whsec_CNRY90e2f4a1STRIPESECRET"
	stripeOldSecret = "whsec_CNRY17c3b8d6STRIPERETIRED"
)

var till = fakestripe.New(fakestripe.Options{Key: stripeKey, Secret: stripeSecret})

// order is a checkout of 10 USD.
func (x *tenant) order() (session string) {
	x.t.Helper()
	var c struct{ ID, URL, State, Currency string }
	x.call(http.MethodPost, "/billing/checkout", map[string]any{"amount": 10_000_000, "save_payment_method": true}, &c)
	u, err := url.Parse(c.URL)
	must(x.t, err)
	if c.State != "pending" || c.Currency != "usd" {
		x.t.Fatalf("%+v", c)
	}
	session = strings.TrimPrefix(u.Path, "/pay/")
	x.carriesTerms(session)
	return session
}

// carriesTerms checks that a payment says under which commercial policy it was
// made: that of a tier without own keys.
func (x *tenant) carriesTerms(payment string) {
	x.t.Helper()
	m := till.Metadata(payment)
	p, problem := commercial.FromMetadata(m, "enterprise", nil)
	var now struct{ Policy struct{ Version string } }
	x.call(http.MethodGet, "/billing", nil, &now)
	if problem != "" || p.Rule != commercial.RuleMetadata || p.Normalised != "free" || p.Eligible || m["byokPolicyVersion"] != now.Policy.Version {
		x.t.Errorf("the payment's metadata: %v, problem %q, %+v, now %+v", m, problem, p, now)
	}
}

// deliverPayment sends a message as the vendor does.
func deliverPayment(ctx context.Context, message []byte, at time.Time) (answer, error) {
	name, value := till.Header(message, at)
	return tryPost(ctx, world.BaseURL+"/billing/stripe", "", message, name, value)
}

func (x *tenant) grants() (n int) {
	x.t.Helper()
	for _, e := range x.entries() {
		if e.Kind == "grant" {
			n++
		}
	}
	return n
}

// TestTopUp buys credits; the vendor's messages come doubled, reordered and
// twenty at a time, forged, old, of the future, and with the refund first: one
// grant, and one balance step for each thing that happened.
func TestTopUp(t *testing.T) {
	x := newTenant(t, "free", 0)
	session := x.order()
	if a, err := deliverPayment(t.Context(), till.Message("checkout.session.completed", session, 0), time.Now()); err != nil || a.Status != http.StatusOK {
		t.Fatalf("unpaid: %v %d %s", err, a.Status, a.Body)
	}
	if c := x.credits(); c.Posted != 0 {
		t.Fatalf("an unpaid checkout gave credits: %+v", c)
	}
	paid := till.Pay(session)
	for name, at := range map[string]time.Time{"old": time.Now().Add(-10 * time.Minute), "of the future": time.Now().Add(10 * time.Minute)} {
		if a, err := deliverPayment(t.Context(), paid[1], at); err != nil || a.Status != http.StatusUnauthorized || a.code() != "unauthorized" {
			t.Errorf("%s: %v %d %s", name, err, a.Status, a.Body)
		}
	}
	name, value := till.Header(paid[1], time.Now())
	forged := bytes.Replace(paid[1], []byte("1000"), []byte("9000"), 1)
	if a, err := tryPost(t.Context(), world.BaseURL+"/billing/stripe", "", forged, name, value); err != nil || a.Status != http.StatusUnauthorized {
		t.Errorf("forged: %v %d %s", err, a.Status, a.Body)
	}
	if c := x.credits(); c.Posted != 0 {
		t.Fatalf("a refused message gave credits: %+v", c)
	}
	// The refund arrives before the payment, and everything twenty times.
	messages := append([][]byte{till.Message("charge.refunded", session, 300)}, paid...)
	messages = append(messages, till.Message("charge.refunded", session, 500), till.Message("checkout.session.async_payment_succeeded", session, 0),
		till.Message("charge.dispute.funds_reinstated", session, 200), till.Message("charge.dispute.funds_withdrawn", session, 200))
	for _, m := range messages[:1] {
		if a, err := deliverPayment(t.Context(), m, time.Now()); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%v %d %s", err, a.Status, a.Body)
		}
	}
	if c := x.credits(); c.Posted != 7_000_000 || x.grants() != 1 {
		t.Fatalf("after the refund alone: %+v", c)
	}
	var group sync.WaitGroup
	for i := range 20 {
		for _, m := range slices.Concat(messages[i%len(messages):], messages[:i%len(messages)]) {
			group.Add(1)
			go func() {
				defer group.Done()
				for try := range 10 {
					a, err := deliverPayment(context.Background(), m, time.Now())
					if err == nil && a.Status == http.StatusOK {
						return
					}
					// The vendor sends again what was not taken.
					if err != nil || a.Status < 500 && a.Status != http.StatusTooManyRequests || try == 9 {
						t.Errorf("%v %d %s", err, a.Status, a.Body)
						return
					}
				}
			}()
		}
	}
	group.Wait()
	if c := x.credits(); c.Posted != 5_000_000 || c.Available != 5_000_000 || x.grants() != 1 {
		t.Errorf("%+v, %d grants", c, x.grants())
	}
	x.consistent()
	var portal struct{ URL string }
	x.call(http.MethodPost, "/billing/portal", map[string]any{}, &portal)
	if !strings.Contains(portal.URL, "/portal/cus_") {
		t.Errorf("%+v", portal)
	}
}

// TestTopUpOfOthers: who may buy, and that another organisation's payment never
// arrives here.
func TestTopUpOfOthers(t *testing.T) {
	x, y := newTenant(t, "free", 0), newTenant(t, "free", 0)
	a := post(t, world.BaseURL+"/api/orgs/"+x.ID+"/billing/checkout", y.Key, map[string]any{"amount": 10_000_000})
	if a.Status != http.StatusNotFound || a.code() != "not_found" {
		t.Errorf("a foreign checkout: %d %s", a.Status, a.Body)
	}
	if a := post(t, world.BaseURL+"/api/orgs/"+x.ID+"/billing/portal", x.Key, map[string]any{}); a.Status != http.StatusConflict {
		t.Errorf("a portal before the first payment: %d %s", a.Status, a.Body)
	}
	session, other := x.order(), y.order()
	// What the vendor repeats of us is no authority: the record is.
	var m, n map[string]any
	must(t, json.Unmarshal(till.Pay(session)[1], &m))
	must(t, json.Unmarshal(till.Pay(other)[1], &n))
	object := func(v map[string]any) map[string]any { return v["data"].(map[string]any)["object"].(map[string]any) }
	object(m)["metadata"] = object(n)["metadata"]
	mixed, err := json.Marshal(m)
	must(t, err)
	if a, err := deliverPayment(t.Context(), mixed, time.Now()); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v %d %s", err, a.Status, a.Body)
	}
	if x.credits().Posted != 10_000_000 || y.credits().Posted != 0 {
		t.Errorf("%+v %+v", x.credits(), y.credits())
	}
}

// TestPaymentKeys: the payment vendor's secrets lie in the vault, only the
// operator stores them, and a replaced one verifies until its overlap ends.
func TestPaymentKeys(t *testing.T) {
	type stored struct {
		Ready         bool
		Hint          string
		WebhookSecret bool `json:"webhook_secret"`
		Retiring      []time.Time
	}
	set := func(body map[string]any) (s stored) {
		t.Helper()
		must(t, operator().Call(t.Context(), http.MethodPut, "/api/operator/payments", body, &s))
		return s
	}
	x := newTenant(t, "free", 0)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if err := (stack.Client{Base: world.BaseURL, Key: x.Key}).Call(t.Context(), method, "/api/operator/payments", nil, nil); stack.Status(err) != http.StatusForbidden {
			t.Errorf("an organisation's key: %s %v", method, err)
		}
	}
	session := x.order()
	old := fakestripe.New(fakestripe.Options{Secret: stripeOldSecret})
	deliver := func(signer *fakestripe.Server, message []byte) int {
		t.Helper()
		name, value := signer.Header(message, time.Now())
		a, err := tryPost(t.Context(), world.BaseURL+"/billing/stripe", "", message, name, value)
		must(t, err)
		return a.Status
	}
	unpaid := till.Message("checkout.session.completed", session, 0)
	if got := deliver(old, unpaid); got != http.StatusOK {
		t.Errorf("the retiring secret: %d", got)
	}
	if s := set(map[string]any{"webhook_secret": stripeSecret}); !s.Ready || len(s.Retiring) != 1 || !strings.HasSuffix(stripeKey, s.Hint) || len(s.Hint) != 4 {
		t.Errorf("the same value again: %+v", s)
	}
	other := "whsec_CNRY55ab01d9STRIPEOTHER"
	if s := set(map[string]any{"webhook_secret": other, "overlap_seconds": 0}); len(s.Retiring) != 0 {
		t.Errorf("%+v", s)
	}
	for _, signer := range []*fakestripe.Server{old, till} {
		if got := deliver(signer, unpaid); got != http.StatusUnauthorized {
			t.Errorf("a secret that has ended: %d", got)
		}
	}
	if got := deliver(fakestripe.New(fakestripe.Options{Secret: other}), unpaid); got != http.StatusOK {
		t.Errorf("the new secret: %d", got)
	}
	set(map[string]any{"webhook_secret": stripeOldSecret})
	if s := set(map[string]any{"webhook_secret": stripeSecret}); len(s.Retiring) != 2 {
		t.Errorf("%+v", s)
	}
	if got := deliver(till, unpaid); got != http.StatusOK {
		t.Errorf("back again: %d", got)
	}
}

// TestReplenishEndToEnd: a standing order buys once however often it is looked at,
// the credits come with the vendor's message, sweep looks after it by itself, and a
// refused card is told.
func TestReplenishEndToEnd(t *testing.T) {
	x := newTenant(t, "free", 0)
	order := map[string]any{"enabled": true, "threshold": 10_000_000, "amount": 20_000_000, "monthly_cap": 60_000_000}
	if err := x.admin.Call(t.Context(), http.MethodPut, "/api/orgs/"+x.ID+"/billing/replenish", order, nil); stack.Status(err) != http.StatusConflict {
		t.Fatalf("without a card: %v", err)
	}
	session := x.order()
	tell := func(messages ...[]byte) {
		t.Helper()
		for _, m := range messages {
			if a, err := deliverPayment(t.Context(), m, time.Now()); err != nil || a.Status != http.StatusOK {
				t.Fatalf("%v %d %s", err, a.Status, a.Body)
			}
		}
	}
	tell(till.Pay(session)...)
	customer := till.Customer(session)
	type standing struct {
		Enabled  bool
		UnderWay bool `json:"under_way"`
		Spent    int64
		Failures int
		Reason   string
	}
	var s standing
	x.call(http.MethodPut, "/billing/replenish", order, &s)
	look := func() answer {
		return local(t, "/invoke/billing", map[string]any{"replenish": []string{x.ID}, "at": time.Now().UTC()})
	}
	var group sync.WaitGroup
	for range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			if a := look(); a.Status != http.StatusOK {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}()
	}
	group.Wait()
	charges := till.Charges(customer)
	if len(charges) != 1 || x.credits().Posted != 10_000_000 {
		t.Fatalf("%d payments, %+v", len(charges), x.credits())
	}
	x.carriesTerms(charges[0])
	if x.call(http.MethodGet, "/billing/replenish", nil, &s); !s.UnderWay || s.Spent != 20_000_000 {
		t.Errorf("%+v", s)
	}
	tell(till.Message("payment_intent.succeeded", charges[0], 0), till.Message("payment_intent.succeeded", charges[0], 0))
	if c := x.credits(); c.Posted != 30_000_000 {
		t.Errorf("%+v", c)
	}
	// Sweep finds by itself what is due, and the card is refused now.
	till.Decline(customer, true)
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/orgs/"+x.ID+"/adjustments",
		map[string]any{"kind": "purchased", "amount": -25_000_000, "idempotency_key": "spent"}, nil))
	eventually(t, "the refused card", func() bool {
		sweep(t, 0)
		x.call(http.MethodGet, "/billing/replenish", nil, &s)
		return s.Failures == 1
	})
	if s.Reason != "declined" || !s.Enabled || s.UnderWay || s.Spent != 20_000_000 || len(till.Charges(customer)) != 2 || x.credits().Posted != 5_000_000 {
		t.Errorf("%+v, %d payments, %+v", s, len(till.Charges(customer)), x.credits())
	}
	eventually(t, "the event", func() bool {
		sweep(t, 0)
		var events json.RawMessage
		must(t, (stack.Client{Base: world.BaseURL}).Call(t.Context(), http.MethodGet, "/_local/events", nil, &events))
		text := string(events)
		return strings.Contains(text, "latchkey.credits.not_replenished") && strings.Contains(text, "declined") && strings.Contains(text, x.ID)
	})
	x.consistent()
}
