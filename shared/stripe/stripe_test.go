package stripe

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/stripe/stripe-go/v86/webhook"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topup"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
	"github.com/latchkey/latchkey/shared/webhook/webhooktest"
)

const (
	live  = "whsec_live_0000000000000000000000"
	other = "whsec_other_000000000000000000000"
)

func TestSignature(t *testing.T) {
	// The row for recorded requests and the scheme that runs are the same.
	if p, ok := profiles.Find(taxonomy.ProfileStripe); !ok || p.Scheme != webhook.Scheme(Signature()) {
		t.Errorf("%+v", p)
	}
	webhooktest.Run(t, webhooktest.Harness{Scheme: Signature(), Sign: Signature(), Key: secret.FromString(live), Other: secret.FromString(other),
		Body: []byte(`{"id":"evt_1","object":"event"}`), SignatureHeader: "Stripe-Signature", Tolerance: Tolerance})
}

// TestSignatureHeaders are the forms that only a list of signatures has, with the
// vendor's SDK beside: want is ours, sdk whether it accepts. Where they differ,
// ours refuses more.
func TestSignatureHeaders(t *testing.T) {
	body := []byte(`{"id":"evt_1"}`)
	now := time.Now() // the SDK has no other clock
	sign := func(k string, at time.Time) string {
		in := webhook.Input{Body: body}
		if err := Signature().Sign(&in, secret.FromString(k), at); err != nil {
			t.Fatal(err)
		}
		return in.Header.Values("stripe-signature")[0]
	}
	mac := func(header string) string { _, m, _ := strings.Cut(header, ","); return m }
	ok := sign(live, now)
	for _, c := range []struct {
		name, header string
		want         webhook.Reason
		sdk          bool
	}{
		{"one", ok, "", true},
		{"rolled: another secret's first", ok[:strings.Index(ok, ",")] + "," + mac(sign(other, now)) + "," + mac(ok), "", true},
		{"of another version beside", ok + ",v0=" + strings.Repeat("00", 32), "", true},
		{"of another version only", strings.Replace(ok, "v1=", "v0=", 1), webhook.AlgRefused, false},
		{"no time", mac(ok), webhook.SigFormat, false},
		{"no signature", ok[:strings.Index(ok, ",")], webhook.SigMissing, false},
		{"two times", ok + "," + ok, webhook.HeaderDuplicate, true},
		{"damaged beside a good one", ok + ",v1=zz", webhook.SigFormat, true},
		{"nine", ok + strings.Repeat(","+mac(ok), 8), webhook.SigFormat, true},
		{"signed number as time", strings.Replace(ok, "t=", "t=+", 1), webhook.SigFormat, true},
		{"nearly past", sign(live, now.Add(-Tolerance+time.Minute)), "", true},
		{"past", sign(live, now.Add(-Tolerance-2*time.Second)), webhook.Stale, false},
		{"a day ahead", sign(live, now.Add(24*time.Hour)), webhook.Future, true},
		{"past under another secret", sign(other, now.Add(-time.Hour)), webhook.SigMismatch, false},
	} {
		_, refusal := webhook.Verify(Signature(), webhook.Input{Body: body, Header: webhook.Header{"stripe-signature": {c.header}}},
			[]secret.Text{secret.FromString(live)}, now)
		got := webhook.Reason("")
		if refusal != nil {
			got = refusal.Reason
		}
		if err := sdk.ValidatePayload(body, c.header, live); got != c.want || (err == nil) != c.sdk {
			t.Errorf("%s: %q, want %q; the SDK: %v", c.name, got, c.want, err)
		}
	}
	// The edge itself, which the SDK measures with a clock that goes on meanwhile.
	for at, want := range map[time.Time]bool{now.Add(-Tolerance + time.Second): true, now.Add(-Tolerance - time.Second): false} {
		_, refusal := webhook.Verify(Signature(), webhook.Input{Body: body, Header: webhook.Header{"stripe-signature": {sign(live, at)}}}, []secret.Text{secret.FromString(live)}, now)
		if (refusal == nil) != want {
			t.Errorf("signed %v ago: %+v", now.Sub(at), refusal)
		}
	}
	// The SDK takes a message that was signed with nothing.
	empty := sdk.GenerateTestSignedPayload(&sdk.UnsignedPayload{Payload: body, Timestamp: now})
	if sdk.ValidatePayload(body, empty.Header, "") != nil {
		t.Error("the SDK has learnt to refuse an empty secret; say so in the package comment")
	}
	theirs := sdk.GenerateTestSignedPayload(&sdk.UnsignedPayload{Payload: body, Timestamp: now, Secret: live})
	for _, secrets := range [][]secret.Text{{secret.FromString(live)}, {secret.FromString(other), secret.FromString(live)}} {
		r, refusal := webhook.Verify(Signature(), webhook.Input{Body: body, Header: webhook.Header{"stripe-signature": {theirs.Header}}}, secrets, now)
		if refusal != nil || r.SecretIndex != len(secrets)-1 || !r.BodySigned {
			t.Errorf("the SDK's signature: %+v %+v", r, refusal)
		}
	}
}

func message(typ, object string) string {
	return `{"id":"evt_1","object":"event","type":"` + typ + `","data":{"object":` + object + `}}`
}

func TestParse(t *testing.T) {
	const paid = `{"id":"cs_1","object":"checkout.session","mode":"payment","payment_status":"paid","amount_total":500,"currency":"usd","payment_intent":"pi_1","customer":null,"metadata":{"latchkey_topup":"t1"}}`
	for _, c := range []struct {
		name, body string
		kind       topup.Kind // "" = refused
	}{
		{"paid", message("checkout.session.completed", paid), topup.PaidNotice},
		{"paid later", message("checkout.session.async_payment_succeeded", paid), topup.PaidNotice},
		{"completed and unpaid", message("checkout.session.completed", strings.Replace(paid, `"paid"`, `"unpaid"`, 1)), topup.OtherNotice},
		{"completed without a price", message("checkout.session.completed", strings.Replace(paid, `"paid"`, `"no_payment_required"`, 1)), topup.OtherNotice},
		{"a status of the future", message("checkout.session.completed", strings.Replace(paid, `"paid"`, `"new"`, 1)), ""},
		{"subscription", message("checkout.session.completed", strings.Replace(paid, `"payment"`, `"subscription"`, 1)), topup.OtherNotice},
		{"expired", message("checkout.session.expired", strings.Replace(paid, `"paid"`, `"unpaid"`, 1)), topup.FailedNotice},
		{"expanded", message("checkout.session.completed", strings.Replace(paid, `"pi_1"`, `{"id":"pi_1","object":"payment_intent"}`, 1)), topup.PaidNotice},
		{"expanded nothing", message("checkout.session.completed", strings.Replace(paid, `"pi_1"`, `{}`, 1)), ""},
		{"amount as text", message("checkout.session.completed", strings.Replace(paid, "500", `"500"`, 1)), ""},
		{"amount with a fraction", message("checkout.session.completed", strings.Replace(paid, "500", `500.5`, 1)), ""},
		{"amount absent", message("checkout.session.completed", strings.Replace(paid, `"amount_total":500,`, "", 1)), ""},
		{"another object", message("checkout.session.completed", strings.Replace(paid, `"checkout.session"`, `"charge"`, 1)), ""},
		{"an id with a slash", message("checkout.session.completed", strings.Replace(paid, "cs_1", "cs/1", 1)), ""},
		{"an intent with a slash", message("checkout.session.completed", strings.Replace(paid, "pi_1", "../x", 1)), ""},
		{"unknown type", message("product.created", `{"id":"prod_1"}`), topup.OtherNotice},
		{"charge without intent", message("charge.refunded", `{"id":"ch_1","object":"charge","paid":true,"amount_captured":5,"amount_refunded":5}`), topup.OtherNotice},
		{"intent not succeeded", message("payment_intent.succeeded", `{"id":"pi_1","object":"payment_intent","status":"processing","amount_received":0}`), ""},
		{"thin", `{"id":"evt_1","object":"v2.core.event","type":"x","data":{"object":{}}}`, ""},
		{"no object", `{"id":"evt_1","object":"event","type":"charge.refunded","data":{}}`, ""},
		{"not JSON", `x`, ""},
		{"two documents", message("product.created", `{}`) + `{}`, ""},
		{"not UTF-8", message("product.created", "{\"a\":\"\xff\"}"), ""},
		{"too large", message("product.created", `{"a":"`+strings.Repeat("x", MaxBody)+`"}`), ""},
	} {
		n, err := Parse([]byte(c.body))
		if (err == nil) != (c.kind != "") || n.Kind != c.kind {
			t.Errorf("%s: %+v %v", c.name, n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(message("checkout.session.completed", `{"id":"cs_1","object":"checkout.session","mode":"payment","payment_status":"paid","amount_total":5,"currency":"usd"}`)))
	f.Add([]byte(message("charge.refunded", `{"id":"ch_1","object":"charge","paid":true,"amount_captured":5,"amount_refunded":5,"payment_intent":{"id":"pi_1"}}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Parse(b)
		if err != nil && n != (topup.Notice{}) {
			t.Fatalf("%+v beside an error", n)
		}
		if err == nil && (n.Kind == "" || n.ID == "" || n.Session != "" && !validID(n.Session)) {
			t.Fatalf("%+v", n)
		}
	})
}

func TestClientErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   fault.Code
	}{
		{200, `{"id":"cs_1","url":"https://checkout.example/x"}`, ""},
		{200, `{"id":"cs_1","url":"javascript:alert(1)"}`, fault.Unavailable},
		{200, `{"id":"cs 1","url":"https://x.example"}`, fault.Unavailable},
		{200, `[`, fault.Unavailable},
		{200, strings.Repeat(" ", maxAnswer+1), fault.Unavailable},
		{400, `{"error":{"message":"SECRETTEXT"}}`, fault.Internal},
		{401, `{"error":{"message":"SECRETTEXT"}}`, fault.Unavailable},
		{402, `{}`, fault.Internal},
		{404, `{}`, fault.NotFound},
		{409, `{}`, fault.Unavailable},
		{429, `{}`, fault.Unavailable},
		{500, `{}`, fault.Unavailable},
	} {
		var seen *http.Request
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = r
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		client := &Client{HTTP: srv.Client(), Base: srv.URL, Key: func(context.Context) (secret.Text, error) { return secret.FromString("sk_test_1"), nil }}
		_, err := client.Checkout(t.Context(), topup.Checkout{TopUp: "t1", Cents: 500, ReturnURL: "https://x.example"})
		srv.Close()
		if (err == nil) != (c.want == "") || err != nil && (fault.CodeOf(err) != c.want || strings.Contains(err.Error(), "SECRETTEXT")) {
			t.Errorf("%d %.40s: %v", c.status, c.body, err)
		}
		if seen.Header.Get("Authorization") != "Bearer sk_test_1" || seen.Header.Get("Idempotency-Key") != "checkout-t1" || seen.Header.Get("Stripe-Version") != apiVersion {
			t.Errorf("%v", seen.Header)
		}
	}
	none := func(context.Context) (secret.Text, error) {
		return secret.Text{}, fault.New(fault.Unavailable, "t", "not set up")
	}
	empty := func(context.Context) (secret.Text, error) { return secret.Text{}, nil }
	for want, key := range map[string]func(context.Context) (secret.Text, error){"not set up": none, "the platform has no payment key": empty} {
		called := false
		srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
		_, err := (&Client{HTTP: srv.Client(), Base: srv.URL, Key: key}).Checkout(t.Context(), topup.Checkout{TopUp: "t1", Cents: 500})
		srv.Close()
		if fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), want) || called {
			t.Errorf("%v, the vendor was called: %v", err, called)
		}
	}
}

// TestChargeRefused: what the platform did wrong is never the customer's card.
func TestChargeRefused(t *testing.T) {
	gone := topup.Charged{NoMethod: true}
	for name, c := range map[string]struct {
		status int
		body   string
		want   topup.Charged
		code   fault.Code
	}{
		"declined":           {402, `{"error":{"type":"card_error","code":"card_declined"}}`, topup.Charged{Declined: true}, ""},
		"card missing":       {400, `{"error":{"type":"invalid_request_error","code":"resource_missing","param":"payment_method","message":"SECRETTEXT"}}`, gone, ""},
		"card detached":      {400, `{"error":{"type":"invalid_request_error","param":"payment_method","message":"SECRETTEXT"}}`, gone, ""},
		"customer missing":   {400, `{"error":{"type":"invalid_request_error","code":"resource_missing","param":"customer"}}`, topup.Charged{}, fault.Unavailable},
		"unknown parameter":  {400, `{"error":{"type":"invalid_request_error","code":"parameter_unknown","param":"x"}}`, topup.Charged{}, fault.Unavailable},
		"other words":        {400, `{"error":{"type":"idempotency_error","param":"payment_method","message":"SECRETTEXT"}}`, topup.Charged{}, fault.Unavailable},
		"no parameter":       {400, `{"error":{"type":"invalid_request_error","message":"SECRETTEXT"}}`, topup.Charged{}, fault.Unavailable},
		"not an error":       {400, `[`, topup.Charged{}, fault.Unavailable},
		"nothing":            {400, ``, topup.Charged{}, fault.Unavailable},
		"refused key":        {401, `{}`, topup.Charged{}, fault.Unavailable},
		"no such address":    {404, `{"error":{"type":"invalid_request_error","param":"payment_method","message":"SECRETTEXT"}}`, topup.Charged{}, fault.Unavailable},
		"not for this key":   {403, `{"error":{"type":"invalid_request_error","param":"payment_method"}}`, topup.Charged{}, fault.Unavailable},
		"an answer as error": {422, `{"error":{"type":"invalid_request_error","param":"payment_method"}}`, topup.Charged{}, fault.Unavailable},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		client := &Client{HTTP: srv.Client(), Base: srv.URL, Key: func(context.Context) (secret.Text, error) { return secret.FromString("sk_test_1"), nil }}
		got, err := client.Charge(t.Context(), topup.Charge{TopUp: "t1", Cents: 500, Customer: "cus_1", Method: "pm_1"})
		srv.Close()
		if got != c.want || fault.CodeOf(err) != c.code || err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, fault.As(err).Unwrap()), "SECRETTEXT") {
			t.Errorf("%s: %+v, %v, want %+v %s", name, got, err, c.want, c.code)
		}
	}
}
