package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// counter is an organisation's legacy counter as the API shows it.
type counter struct {
	Mode  string `json:"ledger_mode"`
	Epoch int64
	Open  int64
	Next  []struct {
		To      string
		Reasons []string
	}
}

func (x *tenant) counter() (c counter) {
	x.t.Helper()
	x.operatorCall(http.MethodGet, "/legacy-tokens", nil, &c)
	return c
}

// enter puts the organisation into a mode, again until what was used is settled.
func (x *tenant) enter(mode string) {
	x.t.Helper()
	eventually(x.t, x.ID+" becomes "+mode, func() bool {
		err := operator().Call(x.t.Context(), http.MethodPut, "/api/orgs/"+x.ID+"/billing", map[string]any{"ledger_mode": mode}, nil)
		if err != nil && statusOf(err) != http.StatusConflict {
			x.t.Fatalf("%s: %v", mode, err)
		}
		return err == nil
	})
}

// prices reads what the active book has for a model, in pico-USD per token.
func prices(t *testing.T, model string) (input, output int64) {
	t.Helper()
	var books struct {
		Items []struct {
			Version string
			Active  bool
		}
	}
	must(t, operator().Call(t.Context(), http.MethodGet, "/api/operator/prices?limit=200", nil, &books))
	for _, b := range books.Items {
		if !b.Active {
			continue
		}
		var book struct {
			Rows []struct {
				Provider, Model, Meter string
				Rate                   int64 `json:"rate_pico"`
			}
		}
		must(t, operator().Call(t.Context(), http.MethodGet, "/api/operator/prices/"+b.Version, nil, &book))
		for _, r := range book.Rows {
			switch {
			case r.Provider+"/"+r.Model != model:
			case r.Meter == "input_text":
				input = r.Rate
			case r.Meter == "output_text":
				output = r.Rate
			}
		}
	}
	return input, output
}

// TestLegacyCutover takes an organisation from its token counter to credits, back, and
// to credits again, with a call in flight at every edge: each is paid once, by the one
// that paid when it was admitted, and both together pay what the vendor counted.
func TestLegacyCutover(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	input, output := prices(t, simChat)
	x.enter("legacy")
	x.operatorCall(http.MethodPut, "/legacy-tokens", map[string]any{"limit_tokens": 1_000_000, "rate_pico": 1_000_000, "rounding": 1,
		"rates": []any{map[string]any{"model": "*", "input_pico": input, "output_pico": output}}}, nil)
	now := time.Duration(0)
	shiftClock(t, now)
	used := int64(0)
	paidBy := map[string]string{} // by request
	// across makes a call that is answered after the mode has changed.
	across := func(payer string, change func()) {
		barrier := vendor.Hold(mockvendor.BeforeHeaders)
		defer barrier.Release()
		answered := make(chan answer, 1)
		go func() {
			a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "across an edge", false))
			if err != nil {
				t.Error(err)
			}
			answered <- a
		}()
		<-barrier.Reached()
		change()
		barrier.Release()
		a := <-answered
		var body struct {
			Usage struct {
				Prompt     int64 `json:"prompt_tokens"`
				Completion int64 `json:"completion_tokens"`
			}
		}
		if a.Status != http.StatusOK || json.Unmarshal(a.Body, &body) != nil || body.Usage.Prompt+body.Usage.Completion == 0 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		used += body.Usage.Prompt + body.Usage.Completion
		paidBy[a.Header.Get("x-request-id")] = payer
	}
	to := func(mode string) func() { return func() { x.enter(mode) } }
	drained := func() { // by itself
		eventually(t, x.ID+" has drained", func() bool {
			sweep(t, now)
			return x.counter().Mode == "credit"
		})
	}
	for round := range 2 {
		from := "legacy_tokens"
		across(from, to("shadow"))
		balance := x.credits()
		across(from, func() {})
		x.projected(int64(len(paidBy)))
		if after := x.credits(); after != balance {
			t.Fatalf("shadow moved the balance from %+v to %+v", balance, after)
		}
		now += 8 * 24 * time.Hour
		shift(t, now)
		across(from, to("draining"))
		// The call that the counter pays for is still to be settled, or was just now.
		if round == 0 {
			across("", to("credit"))
		} else {
			across("", drained)
		}
		across("", func() {})
		if round == 0 {
			across("", to("rolled_back"))
			x.projected(int64(len(paidBy)))
			x.enter("rolled_back") // counts what was in flight
			across(from, func() {})
		}
	}
	x.projected(int64(len(paidBy)))
	if c := x.counter(); c.Mode != "credit" || c.Epoch != 4 || c.Open != 0 {
		t.Errorf("%+v", c)
	}
	var counted, paid int64
	for _, e := range x.entries() {
		if e.Kind != "usage" {
			continue
		}
		payer, known := paidBy[e.RequestID]
		if !known || e.PaidBy != payer || (payer != "") != (e.Amount == 0) {
			t.Errorf("%s: paid by %q with %d, want %q", e.RequestID, e.PaidBy, e.Amount, payer)
		}
		var q struct {
			Cost     int64
			Attempts []struct {
				Cost   int64
				PaidBy string `json:"paid_by"`
			}
		}
		x.call(http.MethodGet, "/requests/"+e.RequestID, nil, &q)
		if q.Cost != -e.Amount || len(q.Attempts) != 1 || q.Attempts[0].Cost != q.Cost || q.Attempts[0].PaidBy != payer {
			t.Errorf("%s: %+v, the entry says %d by %q", e.RequestID, q, e.Amount, payer)
		}
		if payer == "" {
			paid += e.Usage.Input + e.Usage.Output
		} else {
			counted += e.Tokens
		}
	}
	if counted+paid != used || counted == 0 || paid == 0 {
		t.Errorf("the counter paid %d and credits %d of %d tokens", counted, paid, used)
	}
	x.reconciled()
	a := post(t, world.BaseURL+"/api/orgs/"+x.ID+"/legacy-tokens/import", seeded.OperatorKey, map[string]any{"rows": []any{map[string]any{
		"periodStart": 1772323200000, "periodEnd": 1772323200000, "requestCount": 1, "inputTokens": 1, "outputTokens": 1, "totalTokens": 2,
		"costInCents": 0.5, "requestType": "chat", "provider": "p", "model": "m", "success": true}}})
	if a.Status != http.StatusConflict || a.code() != "legacy_token_ledger_disabled" {
		t.Errorf("a write to the closed counter: %d %s", a.Status, a.Body)
	}
}
