package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/topup"
	"github.com/latchkey/latchkey/shared/webhook"
)

type fakeSecrets struct {
	values   []string
	partial  bool
	err      error
	asked    int
	askedFor time.Time
}

func (f *fakeSecrets) Accepting(_ context.Context, now time.Time) (out []secret.Text, complete bool, err error) {
	f.asked, f.askedFor = f.asked+1, now
	for _, v := range f.values {
		out = append(out, secret.FromString(v))
	}
	return out, !f.partial, f.err
}

type fakeSales struct{ told []topup.Notice }

func (f *fakeSales) Apply(_ context.Context, n topup.Notice, _ time.Time) (topup.TopUp, topup.Outcome, error) {
	f.told = append(f.told, n)
	return topup.TopUp{}, topup.Ignored, nil
}

type fakeClock struct{}

func (fakeClock) Exact(time.Time)   {}
func (fakeClock) AtLeast(time.Time) {}

// TestMessages: what is told apart before a message is believed.
func TestMessages(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const body = `{"id":"evt_1","object":"event","type":"customer.created","data":{"object":{"id":"cus_1"}}}`
	for name, c := range map[string]struct {
		secrets fakeSecrets
		with    string // the secret that signs
		status  int
		code    fault.Code
		told    int
	}{
		"live":                      {fakeSecrets{values: []string{"whsec_a", "whsec_b"}}, "whsec_a", 200, "", 1},
		"retiring":                  {fakeSecrets{values: []string{"whsec_a", "whsec_b"}}, "whsec_b", 200, "", 1},
		"live while one is broken":  {fakeSecrets{values: []string{"whsec_a"}, partial: true}, "whsec_a", 200, "", 1},
		"forged":                    {fakeSecrets{values: []string{"whsec_a", "whsec_b"}}, "whsec_c", 401, fault.WebhookUnauthorized, 0},
		"of one that does not open": {fakeSecrets{values: []string{"whsec_a"}, partial: true}, "whsec_b", 503, fault.VaultUnavailable, 0},
		"not set up":                {fakeSecrets{err: fault.New(fault.Unavailable, "t", "not set up")}, "whsec_a", 503, fault.Unavailable, 0},
		"the vault is down":         {fakeSecrets{err: fault.Wrap(fault.VaultUnavailable, "t", "down", errors.New("x"))}, "whsec_a", 503, fault.VaultUnavailable, 0},
		"no secret at all":          {fakeSecrets{}, "whsec_a", 401, fault.WebhookUnauthorized, 0},
		"an empty secret":           {fakeSecrets{values: []string{""}}, "whsec_a", 401, fault.WebhookUnauthorized, 0},
	} {
		sales := &fakeSales{}
		in := webhook.Input{Body: []byte(body)}
		if err := stripe.Signature().Sign(&in, secret.FromString(c.with), at); err != nil {
			t.Fatal(err)
		}
		h := &Handler{Sales: sales, Secrets: &c.secrets, Clock: fakeClock{}, Log: slog.New(slog.DiscardHandler)}
		e := events.APIGatewayV2HTTPRequest{RawPath: messagePath, Body: body,
			Headers: map[string]string{"stripe-signature": in.Header.Values(stripe.Signature().Header)[0]}}
		e.RequestContext.RequestID, e.RequestContext.TimeEpoch, e.RequestContext.HTTP.Method = "r", at.UnixMilli(), http.MethodPost
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.Handle(t.Context(), raw)
		resp, _ := answer.(events.APIGatewayV2HTTPResponse)
		if err != nil || resp.StatusCode != c.status || len(sales.told) != c.told || c.code != "" && !strings.Contains(resp.Body, `"code":"`+string(c.code)+`"`) {
			t.Errorf("%s: %d %s %v, told %d", name, resp.StatusCode, resp.Body, err, len(sales.told))
		}
		if c.secrets.asked != 1 || !c.secrets.askedFor.Equal(at) {
			t.Errorf("%s: asked %d times, for %v", name, c.secrets.asked, c.secrets.askedFor)
		}
	}
}

type fakeOrders struct{ ran []string }

func (f *fakeOrders) Run(_ context.Context, org string, now time.Time) (topup.Step, error) {
	f.ran = append(f.ran, org+"@"+now.Format(time.TimeOnly))
	if org == "down" {
		return "", fault.New(fault.LedgerUnavailable, "t", "down")
	}
	return topup.Begun, nil
}

// TestOrders: one order that fails does not keep the others waiting, and no
// request can bring one about.
func TestOrders(t *testing.T) {
	orders := &fakeOrders{}
	h := &Handler{Orders: orders, Clock: fakeClock{}, Log: slog.New(slog.DiscardHandler), Secrets: &fakeSecrets{}}
	answer, err := h.Handle(t.Context(), json.RawMessage(`{"replenish":["a","down","b"],"at":"2026-11-22T12:00:00Z"}`))
	if raw, _ := json.Marshal(answer); fault.CodeOf(err) != fault.LedgerUnavailable || string(raw) != `{"steps":{"begun":2}}` ||
		strings.Join(orders.ran, " ") != "a@12:00:00 down@12:00:00 b@12:00:00" {
		t.Errorf("%s %v, ran %v", raw, err, orders.ran)
	}
	orders.ran = nil
	for _, bad := range []string{`{"replenish":[],"at":"2026-11-22T12:00:00Z"}`, `{"replenish":["a#b"],"at":"2026-11-22T12:00:00Z"}`, `{"replenish":["a"]}`, `{"replenish":"a"}`, `{"replenish":null,"x":1}`, `[]`} {
		if answer, err := h.Handle(t.Context(), json.RawMessage(bad)); err == nil {
			if resp, ok := answer.(events.APIGatewayV2HTTPResponse); !ok || resp.StatusCode < 400 {
				t.Errorf("%s: %v", bad, answer)
			}
		}
	}
	e := events.APIGatewayV2HTTPRequest{RawPath: messagePath, Body: `{"replenish":["a"],"at":"2026-11-22T12:00:00Z"}`}
	e.RequestContext.RequestID, e.RequestContext.TimeEpoch, e.RequestContext.HTTP.Method = "r", 1, http.MethodPost
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Handle(t.Context(), raw); err != nil || len(orders.ran) != 0 {
		t.Errorf("%v, ran %v", err, orders.ran)
	}
}
