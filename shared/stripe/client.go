package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/topup"
)

// Client calls Stripe's API. It implements [topup.Vendor]. Safe for concurrent
// use.
type Client struct {
	HTTP *http.Client // that may reach Host only
	Base string       // without a slash at the end
	// Key opens the API key for one call.
	Key func(ctx context.Context) (secret.Text, error)
}

// maxAnswer bounds an answer of the API.
const maxAnswer = 1 << 20

// Checkout implements [topup.Vendor]. The top-up is the key of idempotency, so a
// repeated call opens no second checkout.
func (c *Client) Checkout(ctx context.Context, o topup.Checkout) (topup.Session, error) {
	form := url.Values{
		"mode": {"payment"}, "success_url": {o.ReturnURL + "?topup=" + url.QueryEscape(o.TopUp)}, "cancel_url": {o.ReturnURL},
		"line_items[0][quantity]":                       {"1"},
		"line_items[0][price_data][currency]":           {topup.Currency},
		"line_items[0][price_data][unit_amount]":        {strconv.FormatInt(o.Cents, 10)},
		"line_items[0][price_data][product_data][name]": {"Latchkey credits"},
		"client_reference_id":                           {o.TopUp},
		"metadata[" + topUpKey + "]":                    {o.TopUp},
		// Stripe copies an intent's metadata to its charge, so a refund names the
		// top-up, too.
		"payment_intent_data[metadata][" + topUpKey + "]": {o.TopUp},
	}
	for name, value := range o.Metadata {
		form.Set("metadata["+name+"]", value)
		form.Set("payment_intent_data[metadata]["+name+"]", value)
	}
	if o.Customer != "" {
		form.Set("customer", o.Customer)
	} else {
		form.Set("customer_creation", "always")
	}
	if o.SaveMethod {
		form.Set("payment_intent_data[setup_future_usage]", offSession)
	}
	var s session
	if err := c.call(ctx, http.MethodPost, "/v1/checkout/sessions", form, "checkout-"+o.TopUp, &s); err != nil {
		return topup.Session{}, err
	}
	if !validID(s.ID) || !strings.HasPrefix(s.URL, "https://") && !strings.HasPrefix(s.URL, "http://127.0.0.1") {
		return topup.Session{}, malformed("stripe.Checkout")
	}
	return topup.Session{ID: s.ID, URL: s.URL}, nil
}

// offSession is Stripe's word for payments without the customer.
const offSession = "off_session"

// Charge implements [topup.Charger]: an intent that is confirmed at once, with the
// top-up as key of idempotency. A card that was refused, or wants its owner, is
// declined. Every other refusal is unavailable: it is the platform's to mend, and of a
// key of idempotency that is refused for other words than before the outcome is open.
func (c *Client) Charge(ctx context.Context, o topup.Charge) (topup.Charged, error) {
	const op = "stripe.Charge"
	form := url.Values{
		"amount": {strconv.FormatInt(o.Cents, 10)}, "currency": {topup.Currency}, "customer": {o.Customer}, "payment_method": {o.Method},
		"off_session": {"true"}, "confirm": {"true"}, "description": {"Latchkey credits"},
		// A means of payment that would lead the customer elsewhere is none here.
		"automatic_payment_methods[enabled]": {"true"}, "automatic_payment_methods[allow_redirects]": {"never"},
		"metadata[" + topUpKey + "]": {o.TopUp},
	}
	for name, value := range o.Metadata {
		form.Set("metadata["+name+"]", value)
	}
	var i intent
	err := c.call(ctx, http.MethodPost, "/v1/payment_intents", form, "charge-"+o.TopUp, &i)
	switch {
	case errors.Is(err, errDeclined):
		return topup.Charged{Declined: true}, nil
	case errors.Is(err, errNoMethod):
		return topup.Charged{NoMethod: true}, nil
	case fault.CodeOf(err) == fault.Internal, fault.CodeOf(err) == fault.NotFound:
		return topup.Charged{}, fault.Wrap(fault.Unavailable, op, "the payment service refused this request; the operator has to look into it", err)
	case err != nil:
		return topup.Charged{}, err
	case !validID(i.ID):
		return topup.Charged{}, malformed(op)
	}
	switch i.Status {
	case "succeeded", "processing":
		return topup.Charged{Intent: i.ID}, nil
	case "requires_action", "requires_payment_method", "requires_confirmation", "requires_capture", "canceled":
		return topup.Charged{Intent: i.ID, Declined: true}, nil
	}
	return topup.Charged{}, malformed(op)
}

// errDeclined is wrapped by the refusal of a card, errNoMethod by that of a means of
// payment that is gone.
var (
	errDeclined = errors.New("stripe: declined")
	errNoMethod = errors.New("stripe: no such means of payment")
)

// refused is what is looked at of a refusal.
type refused struct {
	Error struct {
		Type, Param string
	}
}

// noMethod reports whether a request was refused for the means of payment it names,
// which its owner detached, for example. The parameter says so
// (docs.stripe.com/api/errors, 2026-11-22; stripe-go v86.1.0 has the names); the code
// is not looked at: a detached card has been seen without one. A customer that is
// missing is the platform's matter, nobody else deletes one or takes another account's key.
func noMethod(answer []byte) bool {
	var r refused
	return json.Unmarshal(answer, &r) == nil && r.Error.Type == "invalid_request_error" && r.Error.Param == "payment_method"
}

// IntentTopUp implements [topup.Vendor].
func (c *Client) IntentTopUp(ctx context.Context, id string) (string, error) {
	if !validID(id) {
		return "", malformed("stripe.IntentTopUp")
	}
	var i intent
	err := c.call(ctx, http.MethodGet, "/v1/payment_intents/"+id, nil, "", &i)
	if fault.CodeOf(err) == fault.NotFound {
		return "", nil
	}
	return i.Metadata[topUpKey], err
}

// Portal opens the customer's page at Stripe, with invoices and means of payment.
func (c *Client) Portal(ctx context.Context, customer, returnURL string) (string, error) {
	var out struct {
		URL string `json:"url"`
	}
	form := url.Values{"customer": {customer}, "return_url": {returnURL}}
	if err := c.call(ctx, http.MethodPost, "/v1/billing_portal/sessions", form, "", &out); err != nil {
		return "", err
	}
	if !strings.HasPrefix(out.URL, "https://") && !strings.HasPrefix(out.URL, "http://127.0.0.1") {
		return "", malformed("stripe.Portal")
	}
	return out.URL, nil
}

func malformed(op string) error {
	return fault.New(fault.Unavailable, op, "the payment service gave an answer that cannot be read, try again")
}

// call makes one request. Of a refusal the status is looked at, and whose matter it is;
// Stripe's text never is.
func (c *Client) call(ctx context.Context, method, path string, form url.Values, idempotencyKey string, into any) error {
	const op = "stripe.call"
	key, err := c.Key(ctx)
	if err != nil {
		return err
	}
	if key.IsZero() {
		return fault.New(fault.Unavailable, op, "the platform has no payment key; the operator has to set it")
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return fault.Wrap(fault.Internal, op, "internal error, try again later", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", idempotencyKey)
	}
	req.Header.Set("Stripe-Version", apiVersion)
	_ = key.Use(func(b []byte) error { req.Header.Set("Authorization", "Bearer "+string(b)); return nil })
	resp, err := egress.Do(c.HTTP, req)
	if err != nil {
		return fault.Wrap(fault.Unavailable, op, "the payment service cannot be reached, try again", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(answer) > maxAnswer {
		return malformed(op)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		if json.Unmarshal(answer, into) != nil {
			return malformed(op)
		}
		return nil
	case resp.StatusCode == http.StatusPaymentRequired:
		return fault.Wrap(fault.Internal, op, "the payment service refused this payment; nothing was charged", errDeclined)
	case resp.StatusCode == http.StatusNotFound:
		return fault.New(fault.NotFound, op, "the payment service does not know this")
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fault.New(fault.Unavailable, op, "the payment service refuses the platform's key; the operator has to replace it")
	case resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return fault.New(fault.Unavailable, op, "the payment service is busy, try again")
	case resp.StatusCode == http.StatusBadRequest && noMethod(answer):
		return fault.Wrap(fault.Internal, op, "the payment service cannot use the saved means of payment; nothing was charged", errNoMethod)
	}
	return fault.New(fault.Internal, op, "the payment service refused this request; nothing was charged")
}
