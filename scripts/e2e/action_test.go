package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// priceMessages sets what posting an answer costs, in micro-credits, until the test
// ends; it is free in the curated list.
func priceMessages(t *testing.T, micro int64) {
	t.Helper()
	set := func(micro int64) error {
		return operator().Call(t.Context(), http.MethodPost, "/api/operator/prices", map[string]any{"activate": true, "rows": []map[string]any{{"provider": "platform",
			"model": "channel_message", "meter": "request", "rate_pico": micro * 1_000_000, "source": "test", "source_date": "2026-11-22"}}}, nil)
	}
	must(t, set(micro))
	t.Cleanup(func() {
		body := map[string]any{"activate": true, "rows": []map[string]any{{"provider": "platform", "model": "channel_message", "meter": "request", "rate_pico": 0, "source": "test", "source_date": "2026-11-22"}}}
		// The test's own context has ended.
		if a, err := tryPost(context.Background(), world.BaseURL+"/api/operator/prices", seeded.OperatorKey, body); err != nil || a.Status > 299 {
			t.Errorf("the price stays: %v %d", err, a.Status)
		}
	})
}

type actionEntry struct {
	Provider, Model string
	Amount, Paid    int64
	RequestID       string `json:"request_id"`
}

// actions are the entries of the platform's own work.
func (x *tenant) actions() []actionEntry {
	x.t.Helper()
	var page struct{ Items []actionEntry }
	x.call(http.MethodGet, "/entries?limit=200", nil, &page)
	return slices.DeleteFunc(page.Items, func(e actionEntry) bool { return e.Provider != "platform" })
}

// TestPostedAnswersAreCharged: an answer that went out is charged once, as the
// platform's own work, although the organisation demands its own keys; through a
// killed process, too, and not where the credits do not suffice.
func TestPostedAnswersAreCharged(t *testing.T) {
	priceMessages(t, 1000)
	w := newWorkspace(t)
	w.connect(byokKey+"ACTION1", map[string]any{"provider": "openrouter"})
	w.call(http.MethodPut, "/settings", map[string]any{"billing_preference": "byok_required"}, nil)
	w.message("EvAct1", "charge me", "1760000061.000100").send(t)
	var got []actionEntry
	eventually(t, "the posted answer is charged", func() bool { got = w.actions(); return len(got) == 1 })
	if got[0].Amount != -1000 || got[0].Model != "channel_message" || len(w.posts()) != 1 {
		t.Errorf("%+v, %d posts", got, len(w.posts()))
	}
	if c := w.settled(); c.Posted != 1_000_000-1000 {
		t.Errorf("%+v", c)
	}
	var r struct {
		Replays  bool
		Attempts []struct {
			Rule     string
			Payer    string `json:"payer_org_id"`
			Decision struct {
				Reason string
				Inputs map[string]any
			}
		}
	}
	w.call(http.MethodGet, "/requests/"+got[0].RequestID, nil, &r)
	if !r.Replays || len(r.Attempts) != 1 || r.Attempts[0].Rule != "PA" || r.Attempts[0].Payer != w.ID || r.Attempts[0].Decision.Reason != "platform_action_forced_platform" ||
		r.Attempts[0].Decision.Inputs["request_source"] != "platform_action" {
		t.Errorf("%+v", r)
	}

	// The process dies while the vendor is asked: what it held is given back, the
	// next reception's answer is charged.
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	defer shift(t, 0)
	w.message("EvAct2", "charge me once", "1760000062.000100").send(t)
	<-barrier.Reached()
	if held := w.credits().Held; held != 1000 {
		t.Errorf("%d held while the vendor is asked", held)
	}
	killBusy(t, "turn")
	barrier.Release()
	shift(t, 5*time.Minute)
	eventually(t, "the second answer is charged", func() bool { return len(w.actions()) == 2 })
	sweep(t, time.Hour)
	if c := w.settled(); c.Posted != 1_000_000-2000 || len(w.posts()) != 2 {
		t.Errorf("%+v, %d posts", c, len(w.posts()))
	}
	w.reconciled()
	shift(t, 0) // signatures are made by the clock of the test

	poor := newWorkspace(t)
	poor.connect(byokKey+"ACTION2", map[string]any{"provider": "openrouter"})
	poor.operatorCall(http.MethodPost, "/adjustments", map[string]any{"kind": "gifted", "amount": -999_001, "idempotency_key": "take"}, nil)
	before := len(vendor.Calls())
	poor.message("EvAct3", "nothing left", "1760000063.000100").send(t)
	eventually(t, "the notice is posted", func() bool { return len(poor.posts()) == 1 })
	if text := poor.posts()[0].Text; !strings.Contains(text, "out of credits") || len(poor.actions()) != 0 || len(vendor.Calls()) != before {
		t.Errorf("%q, charged %+v, %d calls", text, poor.actions(), len(vendor.Calls())-before)
	}
	poor.reconciled()
}
