package fakestripe

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	sdk "github.com/stripe/stripe-go/v86"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/topup"
)

const key = "sk_test_fake"

func start(t *testing.T) (*Server, *httptest.Server) {
	t.Helper()
	f := New(Options{Key: key, Secret: "whsec_fake"})
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.SetURL(srv.URL, "")
	return f, srv
}

// TestContractSDKAsClient runs the vendor's own client against the fake for the
// calls that ours makes.
func TestContractSDKAsClient(t *testing.T) {
	f, srv := start(t)
	backend := sdk.GetBackendWithConfig(sdk.APIBackend, &sdk.BackendConfig{URL: sdk.String(srv.URL), HTTPClient: srv.Client(),
		LeveledLogger: &sdk.LeveledLogger{Level: sdk.LevelNull}, MaxNetworkRetries: sdk.Int64(0)})
	sc := sdk.NewClient(key, sdk.WithBackends(&sdk.Backends{API: backend}))
	params := &sdk.CheckoutSessionCreateParams{Mode: sdk.String("payment"), SuccessURL: sdk.String("https://x.example/ok"), ClientReferenceID: sdk.String("t1"),
		LineItems: []*sdk.CheckoutSessionCreateLineItemParams{{Quantity: sdk.Int64(1), PriceData: &sdk.CheckoutSessionCreateLineItemPriceDataParams{
			Currency: sdk.String("usd"), UnitAmount: sdk.Int64(1500), ProductData: &sdk.CheckoutSessionCreateLineItemPriceDataProductDataParams{Name: sdk.String("Credits")}}}},
		PaymentIntentData: &sdk.CheckoutSessionCreatePaymentIntentDataParams{Metadata: map[string]string{"latchkey_topup": "t1"}}}
	params.SetIdempotencyKey("k1")
	s, err := sc.V1CheckoutSessions.Create(t.Context(), params)
	if err != nil || s.AmountTotal != 1500 || s.PaymentStatus != "unpaid" || s.ClientReferenceID != "t1" || !strings.HasPrefix(s.URL, srv.URL) {
		t.Fatalf("%+v %v", s, err)
	}
	if again, err := sc.V1CheckoutSessions.Create(t.Context(), params); err != nil || again.ID != s.ID {
		t.Errorf("a repeat opened another checkout: %v", err)
	}
	params.ClientReferenceID = sdk.String("t2")
	if _, err := sc.V1CheckoutSessions.Create(t.Context(), params); err == nil || err.(*sdk.Error).Type != sdk.ErrorTypeIdempotency {
		t.Errorf("other parameters under the same key: %v", err)
	}
	if len(f.Pay(s.ID)) != 2 {
		t.Fatal("no messages")
	}
	intent := f.sessions[s.ID].intent
	if i, err := sc.V1PaymentIntents.Retrieve(t.Context(), intent, nil); err != nil || i.AmountReceived != 1500 || i.Metadata["latchkey_topup"] != "t1" {
		t.Errorf("%+v %v", i, err)
	}
	if _, err := sc.V1PaymentIntents.Retrieve(t.Context(), "pi_none", nil); err == nil || err.(*sdk.Error).HTTPStatusCode != 404 {
		t.Errorf("%v", err)
	}
	if p, err := sc.V1BillingPortalSessions.Create(t.Context(), &sdk.BillingPortalSessionCreateParams{Customer: sdk.String("cus_1")}); err != nil || p.URL == "" {
		t.Errorf("%+v %v", p, err)
	}
}

// TestContractMessagesAreTheSDKs: what the fake sends decodes into the vendor's
// types with the values that ours reads, and back.
func TestContractMessagesAreTheSDKs(t *testing.T) {
	f, srv := start(t)
	c := &stripe.Client{HTTP: srv.Client(), Base: srv.URL, Key: func(context.Context) (secret.Text, error) { return secret.FromString(key), nil }}
	s, err := c.Checkout(t.Context(), topup.Checkout{TopUp: "t1", Cents: 1500, ReturnURL: "https://x.example/b", SaveMethod: true})
	if err != nil {
		t.Fatal(err)
	}
	messages := append(f.Pay(s.ID), f.Message("charge.refunded", s.ID, 300), f.Message("charge.dispute.funds_withdrawn", s.ID, 1500))
	into := []any{new(sdk.PaymentIntent), new(sdk.CheckoutSession), new(sdk.Charge), new(sdk.Dispute)}
	for i, m := range messages {
		ours, err := stripe.Parse(m)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		var e sdk.Event
		if err := json.Unmarshal(m, &e); err != nil || string(e.Type) != ours.Type || e.ID != ours.ID {
			t.Fatalf("%+v %v", e, err)
		}
		if err := json.Unmarshal(e.Data.Raw, into[i]); err != nil {
			t.Fatal(err)
		}
		var want topup.Notice
		switch o := into[i].(type) {
		case *sdk.PaymentIntent:
			want = topup.Notice{Kind: topup.PaidNotice, TopUp: o.Metadata["latchkey_topup"], Intent: o.ID, Cents: o.AmountReceived,
				Currency: string(o.Currency), Customer: o.Customer.ID, Method: o.PaymentMethod.ID}
		case *sdk.CheckoutSession:
			want = topup.Notice{Kind: topup.PaidNotice, TopUp: o.Metadata["latchkey_topup"], Session: o.ID, Intent: o.PaymentIntent.ID,
				Cents: o.AmountTotal, Currency: string(o.Currency), Customer: o.Customer.ID}
		case *sdk.Charge:
			want = topup.Notice{Kind: topup.RefundedNotice, TopUp: o.Metadata["latchkey_topup"], Intent: o.PaymentIntent.ID,
				Cents: o.AmountCaptured, Refunded: o.AmountRefunded, Currency: string(o.Currency)}
		case *sdk.Dispute:
			want = topup.Notice{Kind: topup.WithdrawnNotice, Dispute: o.ID, Intent: o.PaymentIntent.ID, Cents: o.Amount, Currency: string(o.Currency)}
		}
		want.ID, want.Type = ours.ID, ours.Type
		if ours != want {
			t.Errorf("%s: ours %+v, the vendor's types %+v", ours.Type, ours, want)
		}
	}
	if id, err := c.IntentTopUp(t.Context(), f.sessions[s.ID].intent); err != nil || id != "t1" {
		t.Errorf("%q %v", id, err)
	}
	if id, err := c.IntentTopUp(t.Context(), "pi_none"); err != nil || id != "" {
		t.Errorf("%q %v", id, err)
	}
	if u, err := c.Portal(t.Context(), "cus_1", "https://x.example"); err != nil || u == "" {
		t.Errorf("%q %v", u, err)
	}
}

// TestContractCharge: a payment without the customer, by the vendor's client and
// by ours, and a card that is refused.
func TestContractCharge(t *testing.T) {
	f, srv := start(t)
	backend := sdk.GetBackendWithConfig(sdk.APIBackend, &sdk.BackendConfig{URL: sdk.String(srv.URL), HTTPClient: srv.Client(),
		LeveledLogger: &sdk.LeveledLogger{Level: sdk.LevelNull}, MaxNetworkRetries: sdk.Int64(0)})
	sc := sdk.NewClient(key, sdk.WithBackends(&sdk.Backends{API: backend}))
	c := &stripe.Client{HTTP: srv.Client(), Base: srv.URL, Key: func(context.Context) (secret.Text, error) { return secret.FromString(key), nil }}
	one, card := saves(t, f, c, "s1", true)
	two, other := saves(t, f, c, "s2", true)
	params := &sdk.PaymentIntentCreateParams{Amount: sdk.Int64(1500), Currency: sdk.String("usd"), Customer: sdk.String(one), PaymentMethod: sdk.String(card),
		OffSession: sdk.Bool(true), Confirm: sdk.Bool(true), Description: sdk.String("Latchkey credits"), Metadata: map[string]string{"latchkey_topup": "t1"},
		AutomaticPaymentMethods: &sdk.PaymentIntentCreateAutomaticPaymentMethodsParams{Enabled: sdk.Bool(true), AllowRedirects: sdk.String("never")}}
	params.SetIdempotencyKey("charge-t1")
	i, err := sc.V1PaymentIntents.Create(t.Context(), params)
	if err != nil || i.Status != "succeeded" || i.AmountReceived != 1500 || i.Customer.ID != one || i.PaymentMethod.ID != card {
		t.Fatalf("%+v %v", i, err)
	}
	// Ours sends the same form: under the same key it is the same payment.
	charge := topup.Charge{TopUp: "t1", Cents: 1500, Customer: one, Method: card}
	if got, err := c.Charge(t.Context(), charge); err != nil || got.Intent != i.ID || got.Declined || len(f.Charges(one)) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	m := f.Message("payment_intent.succeeded", f.Charges(one)[0], 0)
	if n, err := stripe.Parse(m); err != nil || n.Kind != topup.PaidNotice || n.TopUp != "t1" || n.Intent != i.ID || n.Method != "" {
		t.Errorf("%+v %v", n, err)
	}
	f.Decline(two, true)
	charge.TopUp, charge.Customer, charge.Method = "t2", two, other
	for range 2 {
		if got, err := c.Charge(t.Context(), charge); err != nil || !got.Declined || len(f.Charges(two)) != 1 {
			t.Errorf("%+v %v", got, err)
		}
	}
	params.Customer, params.PaymentMethod = sdk.String(two), sdk.String(other)
	params.SetIdempotencyKey("k2")
	_, err = sc.V1PaymentIntents.Create(t.Context(), params)
	if e, ok := err.(*sdk.Error); !ok || e.Type != sdk.ErrorTypeCard || e.HTTPStatusCode != 402 || e.PaymentIntent.Status != "requires_payment_method" {
		t.Errorf("%v", err)
	}
	m = f.Message("payment_intent.payment_failed", f.Charges(two)[0], 0)
	var e sdk.Event
	var o sdk.PaymentIntent
	if json.Unmarshal(m, &e) != nil || json.Unmarshal(e.Data.Raw, &o) != nil || o.Status != "requires_payment_method" || o.AmountReceived != 0 {
		t.Errorf("%+v", o)
	}
	if n, err := stripe.Parse(m); err != nil || n.Kind != topup.FailedNotice || n.TopUp != "t2" || n.Currency != "usd" {
		t.Errorf("%+v %v", n, err)
	}
	// Nobody pays with what another one saved, or with what nobody saved.
	three, unsaved := saves(t, f, c, "s3", false)
	for customer, method := range map[string]string{one: other, three: unsaved, "cus_none": card} {
		params.Customer, params.PaymentMethod = sdk.String(customer), sdk.String(method)
		params.SetIdempotencyKey("foreign-" + customer)
		_, err := sc.V1PaymentIntents.Create(t.Context(), params)
		if e, ok := err.(*sdk.Error); !ok || e.Code != sdk.ErrorCodeResourceMissing || e.Param != "payment_method" {
			t.Errorf("%s with %s: %v", customer, method, err)
		}
	}
	if n := len(f.Charges(one)) + len(f.Charges(three)) + len(f.Charges("cus_none")); n != 1 {
		t.Errorf("%d charges", n)
	}
}

// saves pays a checkout and returns who did, and with which method.
func saves(t *testing.T, f *Server, c *stripe.Client, topUp string, save bool) (customer, method string) {
	t.Helper()
	s, err := c.Checkout(t.Context(), topup.Checkout{TopUp: topUp, Cents: 1500, ReturnURL: "https://x.example/b", SaveMethod: save})
	if err != nil {
		t.Fatal(err)
	}
	var e sdk.Event
	var i sdk.PaymentIntent
	if m := f.Pay(s.ID); json.Unmarshal(m[0], &e) != nil || json.Unmarshal(e.Data.Raw, &i) != nil || i.Customer == nil || i.PaymentMethod == nil {
		t.Fatalf("%s", m[0])
	}
	return i.Customer.ID, i.PaymentMethod.ID
}
