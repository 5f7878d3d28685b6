package stripe

import (
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/topup"
)

// ErrMessage is returned for what is no message of Stripe's.
var ErrMessage = errors.New("stripe: not a message of the documented form")

// ref is a field that is an id, null, or the object itself when it is expanded.
type ref string

// UnmarshalJSON implements [json.Unmarshaler].
func (r *ref) UnmarshalJSON(b []byte) error {
	var id string
	if len(b) > 0 && b[0] == '{' {
		var object struct{ ID string }
		if json.Unmarshal(b, &object) != nil || object.ID == "" {
			return ErrMessage
		}
		*r = ref(object.ID)
		return nil
	}
	if string(b) != "null" && json.Unmarshal(b, &id) != nil {
		return ErrMessage
	}
	*r = ref(id)
	return nil
}

type metadata map[string]string

// envelope is an event; the object is decoded by the event's type.
type envelope struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	Type   string `json:"type"`
	Data   struct {
		Object json.RawMessage `json:"object"`
	} `json:"data"`
}

type session struct {
	ID            string   `json:"id"`
	Object        string   `json:"object"`
	Mode          string   `json:"mode"`
	URL           string   `json:"url"`
	PaymentStatus string   `json:"payment_status"`
	AmountTotal   *int64   `json:"amount_total"`
	Currency      string   `json:"currency"`
	Intent        ref      `json:"payment_intent"`
	Customer      ref      `json:"customer"`
	Metadata      metadata `json:"metadata"`
}

type intent struct {
	ID       string `json:"id"`
	Object   string `json:"object"`
	Status   string `json:"status"`
	Received *int64 `json:"amount_received"`
	Currency string `json:"currency"`
	Customer ref    `json:"customer"`
	Method   ref    `json:"payment_method"`
	// Future says what the customer agreed to: "off_session" for payments without
	// them.
	Future   *string  `json:"setup_future_usage"`
	Metadata metadata `json:"metadata"`
}

type charge struct {
	ID       string   `json:"id"`
	Object   string   `json:"object"`
	Paid     bool     `json:"paid"`
	Captured *int64   `json:"amount_captured"`
	Refunded *int64   `json:"amount_refunded"`
	Currency string   `json:"currency"`
	Intent   ref      `json:"payment_intent"`
	Metadata metadata `json:"metadata"`
}

type dispute struct {
	ID       string `json:"id"`
	Object   string `json:"object"`
	Amount   *int64 `json:"amount"`
	Currency string `json:"currency"`
	Intent   ref    `json:"payment_intent"`
}

// maxID bounds an id of Stripe's (theirs are below 255 characters, documented).
const maxID = 255

func validID(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}

// Parse reads a verified message. A type that says nothing about a top-up is an
// [topup.OtherNotice]. The only error is [ErrMessage].
func Parse(body []byte) (topup.Notice, error) {
	var e envelope
	if len(body) > MaxBody || !utf8.Valid(body) || json.Unmarshal(body, &e) != nil ||
		e.Object != "event" || !validID(e.ID) || e.Type == "" || len(e.Type) > maxID || len(e.Data.Object) == 0 {
		return topup.Notice{}, ErrMessage
	}
	n := topup.Notice{ID: e.ID, Type: e.Type, Kind: topup.OtherNotice}
	var err error
	switch e.Type {
	case "checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed", "checkout.session.expired":
		err = decode(&n, e, ofSession)
	case "payment_intent.succeeded":
		err = decode(&n, e, ofIntent)
	case "payment_intent.payment_failed", "payment_intent.canceled":
		err = decode(&n, e, ofFailure)
	case "charge.refunded":
		err = decode(&n, e, ofCharge)
	case "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated":
		err = decode(&n, e, ofDispute)
	}
	if err != nil {
		return topup.Notice{}, ErrMessage
	}
	for _, id := range []string{n.Session, n.Intent, n.Dispute, n.Customer, n.Method} {
		if id != "" && !validID(id) {
			return topup.Notice{}, ErrMessage
		}
	}
	return n, nil
}

// decode reads the object of an event and lets f take from it.
func decode[T any](n *topup.Notice, e envelope, f func(*topup.Notice, envelope, *T) bool) error {
	var object T
	if json.Unmarshal(e.Data.Object, &object) != nil || !f(n, e, &object) {
		return ErrMessage
	}
	return nil
}

func ofSession(n *topup.Notice, e envelope, s *session) bool {
	if s.Object != "checkout.session" || !validID(s.ID) {
		return false
	}
	if s.Mode != "payment" {
		return true // not one of ours
	}
	n.Session, n.Intent, n.Customer, n.Currency, n.TopUp = s.ID, string(s.Intent), string(s.Customer), s.Currency, s.Metadata[topUpKey]
	switch e.Type {
	case "checkout.session.expired", "checkout.session.async_payment_failed":
		n.Kind = topup.FailedNotice
		return true
	}
	// "completed" only says that the customer went through the form: slow means
	// of payment are "unpaid" then and succeed, or fail, days later.
	if s.PaymentStatus != "paid" {
		return s.PaymentStatus == "unpaid" || s.PaymentStatus == "no_payment_required"
	}
	if s.AmountTotal == nil {
		return false
	}
	n.Kind, n.Cents = topup.PaidNotice, *s.AmountTotal
	return true
}

func ofIntent(n *topup.Notice, _ envelope, i *intent) bool {
	if i.Object != "payment_intent" || !validID(i.ID) || i.Status != "succeeded" || i.Received == nil {
		return false
	}
	n.Kind, n.Intent, n.Cents, n.Currency, n.TopUp = topup.PaidNotice, i.ID, *i.Received, i.Currency, i.Metadata[topUpKey]
	n.Customer = string(i.Customer)
	if i.Future != nil && *i.Future == offSession {
		n.Method = string(i.Method)
	}
	return true
}

// ofFailure reads the end of a payment without the customer.
func ofFailure(n *topup.Notice, _ envelope, i *intent) bool {
	if i.Object != "payment_intent" || !validID(i.ID) {
		return false
	}
	n.Kind, n.Intent, n.Currency, n.TopUp = topup.FailedNotice, i.ID, i.Currency, i.Metadata[topUpKey]
	return true
}

// ofCharge reads the total refunded, and what was paid: a refund proves the
// payment, also when it is the first that is heard of it.
func ofCharge(n *topup.Notice, _ envelope, c *charge) bool {
	if c.Object != "charge" || !validID(c.ID) || c.Captured == nil || c.Refunded == nil {
		return false
	}
	if c.Intent == "" || !c.Paid {
		return true // not made by a checkout
	}
	n.Kind, n.Intent, n.Cents, n.Refunded, n.Currency, n.TopUp = topup.RefundedNotice, string(c.Intent), *c.Captured, *c.Refunded, c.Currency, c.Metadata[topUpKey]
	return true
}

func ofDispute(n *topup.Notice, e envelope, d *dispute) bool {
	if d.Object != "dispute" || !validID(d.ID) || d.Amount == nil {
		return false
	}
	if d.Intent == "" {
		return true
	}
	n.Kind = topup.WithdrawnNotice
	if e.Type == "charge.dispute.funds_reinstated" {
		n.Kind = topup.ReinstatedNotice
	}
	n.Dispute, n.Intent, n.Cents, n.Currency = d.ID, string(d.Intent), *d.Amount, d.Currency
	return true
}
