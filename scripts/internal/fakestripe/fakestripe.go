// Package fakestripe stands in for Stripe on the local stack: the calls that
// shared/stripe makes, and the messages that follow from them, signed.
//
// A checkout is "paid" by [Server.Pay], or by opening its URL when the server was
// told where messages go. The bodies of messages are made to be altered, doubled
// and reordered by tests: [Server.Pay] and [Server.Message] return them unsent.
//
// Held to stripe-go v86: its client runs against this server for every call, its
// types decode what it sends (contract_test.go). [Server.Decline] refuses a card.
// Not imitated: cards, taxes, discounts, slow payments (tests alter messages instead), validation
// of parameters beyond the required ones, expansion, lists, API versions, limits.
package fakestripe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Options configure a [Server].
type Options struct {
	// Key is the API key that is accepted, Secret signs messages.
	Key, Secret string
	// URL is where the server is reached, for the URLs it hands out.
	URL string
	// Deliver is where messages go when a checkout's URL is opened; "" = nowhere.
	Deliver string
	Client  *http.Client
	Now     func() time.Time
	// First is the number of the first id: a server beside data of an earlier one
	// must not give the same ids again.
	First int
}

// Server is an http.Handler. Safe for concurrent use.
type Server struct {
	o  Options
	mu sync.Mutex
	// sessions by id, answers by idempotency key.
	sessions map[string]*checkout
	replays  map[string]replay
	serial   int
	// declining customers' cards are refused.
	declining map[string]bool
}

type checkout struct {
	id, customer, intent string
	cents                int64
	metadata             map[string]string
	intentMetadata       map[string]string
	reference, success   string
	save, paid           bool
	method               string // of a payment without the customer
}

type replay struct {
	form   string
	status int
	body   map[string]any
}

// New returns a server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, serial: o.First, sessions: map[string]*checkout{}, replays: map[string]replay{}, declining: map[string]bool{}}
}

// SetURL says where the server is reached and where messages go.
func (s *Server) SetURL(own, deliver string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.URL, s.o.Deliver = own, deliver
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id, ok := strings.CutPrefix(r.URL.Path, "/pay/"); ok && r.Method == http.MethodGet {
		s.page(w, r, id)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.o.Key {
		refuse(w, http.StatusUnauthorized, "invalid_request_error", "Invalid API Key provided")
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request_error", "unreadable form")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, form := r.Header.Get("Idempotency-Key"), r.URL.Path+"?"+r.PostForm.Encode()
	if old, ok := s.replays[key]; ok && key != "" {
		if old.form != form {
			refuse(w, http.StatusBadRequest, "idempotency_error", "Keys for idempotent requests can only be used with the same parameters they were first used with.")
			return
		}
		write(w, old.status, old.body)
		return
	}
	var body map[string]any
	status := http.StatusOK
	id, isIntent := strings.CutPrefix(r.URL.Path, "/v1/payment_intents/")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/checkout/sessions":
		body = s.open(r.PostForm)
	case r.Method == http.MethodPost && r.URL.Path == "/v1/billing_portal/sessions":
		if customer := r.PostForm.Get("customer"); customer != "" {
			body = map[string]any{"id": s.id("bps"), "object": "billing_portal.session", "customer": customer, "livemode": false,
				"return_url": r.PostForm.Get("return_url"), "url": s.o.URL + "/portal/" + customer, "created": s.o.Now().Unix()}
		}
	case r.Method == http.MethodPost && r.URL.Path == "/v1/payment_intents":
		status, body = s.charge(r.PostForm)
	case r.Method == http.MethodGet && isIntent:
		if c := s.byIntent(id); c != nil {
			body = s.intent(c)
		} else {
			refuse(w, http.StatusNotFound, "invalid_request_error", "No such payment_intent")
			return
		}
	default:
		refuse(w, http.StatusNotFound, "invalid_request_error", "Unrecognized request URL")
		return
	}
	if body == nil {
		refuse(w, http.StatusBadRequest, "invalid_request_error", "Missing required param")
		return
	}
	if key != "" {
		s.replays[key] = replay{form, status, body}
	}
	write(w, status, body)
}

func (s *Server) id(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s_test_%014d", prefix, s.serial)
}

// open makes a checkout of a form; nil if something required is missing.
func (s *Server) open(f url.Values) map[string]any {
	const line = "line_items[0]"
	cents, err := strconv.ParseInt(f.Get(line+"[price_data][unit_amount]"), 10, 64)
	if err != nil || f.Get("mode") != "payment" || f.Get(line+"[price_data][currency]") != "usd" || f.Get(line+"[quantity]") != "1" ||
		f.Get(line+"[price_data][product_data][name]") == "" || f.Get("success_url") == "" {
		return nil
	}
	c := &checkout{id: s.id("cs"), customer: f.Get("customer"), cents: cents, metadata: map[string]string{}, intentMetadata: map[string]string{},
		reference: f.Get("client_reference_id"), success: f.Get("success_url"), save: f.Get("payment_intent_data[setup_future_usage]") == "off_session"}
	for name, values := range f {
		if inner, ok := strings.CutPrefix(name, "metadata["); ok {
			c.metadata[strings.TrimSuffix(inner, "]")] = values[0]
		}
		if inner, ok := strings.CutPrefix(name, "payment_intent_data[metadata]["); ok {
			c.intentMetadata[strings.TrimSuffix(inner, "]")] = values[0]
		}
	}
	s.sessions[c.id] = c
	return s.session(c)
}

// charge pays without the customer, or refuses the card; nil if something
// required is missing.
func (s *Server) charge(f url.Values) (int, map[string]any) {
	cents, err := strconv.ParseInt(f.Get("amount"), 10, 64)
	if err != nil || f.Get("currency") != "usd" || f.Get("customer") == "" || f.Get("payment_method") == "" || f.Get("confirm") != "true" || f.Get("off_session") != "true" {
		return 0, nil
	}
	if !s.saved(f.Get("customer"), f.Get("payment_method")) {
		return http.StatusBadRequest, map[string]any{"error": map[string]any{"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method",
			"message": "The customer does not have this payment method."}}
	}
	c := &checkout{id: s.id("cs"), customer: f.Get("customer"), intent: s.id("pi"), cents: cents, metadata: map[string]string{}, intentMetadata: map[string]string{},
		method: f.Get("payment_method"), paid: !s.declining[f.Get("customer")]}
	for name, values := range f {
		if inner, ok := strings.CutPrefix(name, "metadata["); ok {
			c.intentMetadata[strings.TrimSuffix(inner, "]")] = values[0]
		}
	}
	s.sessions[c.id] = c
	typ, status, body := "payment_intent.succeeded", http.StatusOK, s.intent(c)
	if !c.paid {
		typ, status = "payment_intent.payment_failed", http.StatusPaymentRequired
		body = map[string]any{"error": map[string]any{"type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
			"message": "Your card was declined.", "payment_intent": body}}
	}
	if s.o.Deliver != "" && s.o.Client != nil {
		// As Stripe does, beside the answer.
		message := s.message(typ, s.intent(c))
		go func() { _ = s.deliver(context.Background(), s.o.Deliver, message) }()
	}
	return status, body
}

// saved says whether a customer saved a method at a checkout. What was saved at an
// earlier server, by its number, cannot be known and is believed.
func (s *Server) saved(customer, method string) bool {
	number, ok := strings.CutPrefix(method, "pm_test_")
	if n, err := strconv.Atoi(number); ok && err == nil && n <= s.o.First {
		return true
	}
	c := s.sessions["cs"+strings.TrimPrefix(method, "pm")]
	return c != nil && c.save && c.paid && c.method == "" && c.customer == customer
}

// Decline says whether a customer's card is refused.
func (s *Server) Decline(customer string, declined bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declining[customer] = declined
}

// Charges lists the payments without a customer that were tried for one, by the
// ids that [Server.Message] takes, oldest first.
func (s *Server) Charges(customer string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id, c := range s.sessions {
		if c.customer == customer && c.method != "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Metadata is what the payment of a checkout, or of a charge, carries.
func (s *Server) Metadata(id string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[id]; c != nil {
		return maps.Clone(c.intentMetadata)
	}
	return nil
}

// Customer is who paid a checkout, empty before.
func (s *Server) Customer(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[id]; c != nil && c.paid {
		return c.customer
	}
	return ""
}

func (s *Server) byIntent(id string) *checkout {
	for _, c := range s.sessions {
		if c.intent == id && id != "" {
			return c
		}
	}
	return nil
}

// Pay pays a checkout and returns the messages that follow, in Stripe's usual
// order: the payment, then the session. Nil if there is no such checkout.
func (s *Server) Pay(id string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sessions[id]
	if c == nil {
		return nil
	}
	if !c.paid {
		c.paid, c.intent = true, s.id("pi")
		if c.customer == "" {
			c.customer = s.id("cus")
		}
	}
	return [][]byte{s.message("payment_intent.succeeded", s.intent(c)), s.message("checkout.session.completed", s.session(c))}
}

// Message makes the message of a type about a checkout that was paid: its
// session, its intent, its charge with a total refunded, or a dispute of cents.
func (s *Server) Message(typ, id string, cents int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sessions[id]
	if c == nil {
		return nil
	}
	switch {
	case strings.HasPrefix(typ, "checkout.session."):
		return s.message(typ, s.session(c))
	case strings.HasPrefix(typ, "payment_intent."):
		return s.message(typ, s.intent(c))
	case strings.HasPrefix(typ, "charge.dispute."):
		return s.message(typ, map[string]any{"id": "dp" + strings.TrimPrefix(c.id, "cs"), "object": "dispute", "amount": cents, "currency": "usd",
			"charge": "ch" + strings.TrimPrefix(c.id, "cs"), "payment_intent": c.intent, "reason": "fraudulent", "status": "needs_response",
			"livemode": false, "metadata": map[string]string{}, "created": s.o.Now().Unix()})
	}
	return s.message(typ, map[string]any{"id": "ch" + strings.TrimPrefix(c.id, "cs"), "object": "charge", "amount": c.cents, "amount_captured": c.cents,
		"amount_refunded": cents, "refunded": cents == c.cents, "captured": true, "paid": true, "status": "succeeded", "currency": "usd",
		"customer": c.customer, "payment_intent": c.intent, "metadata": c.intentMetadata, "livemode": false, "created": s.o.Now().Unix()})
}

func (s *Server) session(c *checkout) map[string]any {
	out := map[string]any{"id": c.id, "object": "checkout.session", "mode": "payment", "currency": "usd", "amount_subtotal": c.cents, "amount_total": c.cents,
		"client_reference_id": c.reference, "metadata": c.metadata, "livemode": false, "payment_status": "unpaid", "status": "open",
		"success_url": c.success, "created": s.o.Now().Unix(), "payment_intent": nil, "customer": null(c.customer), "url": s.o.URL + "/pay/" + c.id}
	if c.paid {
		out["payment_status"], out["status"], out["payment_intent"], out["url"] = "paid", "complete", c.intent, nil
	}
	return out
}

func (s *Server) intent(c *checkout) map[string]any {
	method, status, received, future := "pm"+strings.TrimPrefix(c.id, "cs"), "succeeded", c.cents, ""
	if c.method != "" {
		method = c.method
	}
	if !c.paid {
		status, received = "requires_payment_method", 0
	}
	if c.save {
		future = "off_session"
	}
	return map[string]any{"id": c.intent, "object": "payment_intent", "amount": c.cents, "amount_received": received, "currency": "usd", "status": status,
		"customer": null(c.customer), "payment_method": method, "setup_future_usage": null(future), "latest_charge": "ch" + strings.TrimPrefix(c.id, "cs"),
		"metadata": c.intentMetadata, "livemode": false, "created": s.o.Now().Unix()}
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) message(typ string, object map[string]any) []byte {
	b, err := json.MarshalIndent(map[string]any{"id": s.id("evt"), "object": "event", "api_version": "2026-06-24.dahlia", "created": s.o.Now().Unix(),
		"type": typ, "livemode": false, "pending_webhooks": 1, "request": map[string]any{"id": nil, "idempotency_key": nil},
		"data": map[string]any{"object": object}}, "", "  ")
	if err != nil {
		panic(err) // maps of texts and numbers only
	}
	return b
}

// Header signs a message at a time.
func (s *Server) Header(body []byte, at time.Time) (name, value string) {
	in := webhook.Input{Body: body}
	sig := stripe.Signature()
	if err := sig.Sign(&in, secret.FromString(s.o.Secret), at); err != nil {
		panic(err) // the secret is a constant of the caller
	}
	return sig.Header, in.Header.Values(sig.Header)[0]
}

// page pays the checkout and delivers its messages.
func (s *Server) page(w http.ResponseWriter, r *http.Request, id string) {
	messages := s.Pay(id)
	s.mu.Lock()
	deliver, c := s.o.Deliver, s.sessions[id]
	s.mu.Unlock()
	if messages == nil {
		http.NotFound(w, r)
		return
	}
	for _, m := range messages {
		if deliver == "" || s.o.Client == nil {
			break
		}
		if err := s.deliver(r.Context(), deliver, m); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	http.Redirect(w, r, c.success, http.StatusSeeOther)
}

// deliver sends a message, once.
func (s *Server) deliver(ctx context.Context, to string, message []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(message))
	if err != nil {
		return errors.New("the message cannot be delivered")
	}
	name, value := s.Header(message, s.o.Now())
	req.Header.Set(name, value)
	resp, err := s.o.Client.Do(req)
	if err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusOK {
		return errors.New("the message was refused")
	}
	return nil
}

func refuse(w http.ResponseWriter, status int, typ, message string) {
	write(w, status, map[string]any{"error": map[string]any{"type": typ, "message": message}})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
