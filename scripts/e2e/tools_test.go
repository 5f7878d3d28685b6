package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const toolHeader = "CNRY3ad905be-tool-header"

// priceTools sets what a call of a tool costs until the test ends.
func priceTools(t *testing.T, micro int64) {
	t.Helper()
	body := func(micro int64) map[string]any {
		return map[string]any{"activate": true, "rows": []map[string]any{{"provider": "platform", "model": "tool_call", "meter": "request", "rate_pico": micro * 1_000_000,
			"source": "test", "source_date": "2026-11-22"}}}
	}
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/prices", body(micro), nil))
	t.Cleanup(func() {
		if a, err := tryPost(context.Background(), world.BaseURL+"/api/operator/prices", seeded.OperatorKey, body(0)); err != nil || a.Status > 299 {
			t.Errorf("the price stays: %v %d", err, a.Status)
		}
	})
}

// declare makes a tool of the simulated vendor's, and an agent that may call it.
func (x *tenant) declare(name string, more map[string]any) (agent string) {
	x.t.Helper()
	in := map[string]any{"name": name, "description": "Looks up a value", "url": vendorURL + "/tool/" + name + "?v={value}", "headers": map[string]any{"X-Api-Key": toolHeader},
		"parameters": map[string]any{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string", "pattern": "^[0-9]+$"}}, "required": []string{"value"}}}
	for k, v := range more {
		in[k] = v
	}
	var made struct {
		ID      string
		Headers []string
	}
	x.call(http.MethodPost, "/tools", in, &made)
	if made.ID != name || len(made.Headers) != 1 {
		x.t.Fatalf("%+v", made)
	}
	var a struct{ ID string }
	x.call(http.MethodPost, "/agents", map[string]any{"name": "Tooled", "instructions": "Use your tools.", "model": simChat, "tools": []string{name}}, &a)
	return a.ID
}

type turnView struct {
	State     string
	ToolCalls []struct{ Tool, Status string } `json:"tool_calls"`
	Requests  []string                        `json:"request_ids"`
}

// lastTurn is the turn of the newest message of the tenant's only session.
func (x *tenant) lastTurn() (v turnView) {
	x.t.Helper()
	var sessions struct{ Items []struct{ ID string } }
	x.call(http.MethodGet, "/sessions", nil, &sessions)
	var messages struct {
		Items []struct {
			TurnID string `json:"turn_id"`
		}
	}
	x.call(http.MethodGet, "/sessions/"+sessions.Items[0].ID+"/messages", nil, &messages)
	x.call(http.MethodGet, "/turns/"+messages.Items[len(messages.Items)-1].TurnID, nil, &v)
	return v
}

// TestAgentCallsATool: the model's call reaches the organisation's tool with its
// header and a key, is charged once as the platform's work, and the answer goes out.
func TestAgentCallsATool(t *testing.T) {
	priceTools(t, 700)
	w := newWorkspace(t)
	agent := w.declare("stock", nil)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": agent}, nil)
	w.message("EvTool1", "please use tool now", "1760000071.000100").send(t)
	var got []actionEntry
	eventually(t, "the tool's call is charged", func() bool { got = w.actions(); return len(got) == 1 && len(w.posts()) == 1 })
	calls := vendor.ToolCalls("stock")
	if len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(toolHeader) || len(calls[0].Key) != 64 || calls[0].Query != "v=42" || calls[0].Body != "{}" {
		t.Fatalf("%+v", calls)
	}
	if got[0].Amount != -700 || got[0].Model != "tool_call" || !strings.HasPrefix(w.posts()[0].Text, "You said: please use tool") {
		t.Errorf("%+v %+v", got, w.posts())
	}
	eventually(t, "the turn is done", func() bool { return w.lastTurn().State == "done" })
	if v := w.lastTurn(); len(v.ToolCalls) != 1 || v.ToolCalls[0].Tool != "stock" || v.ToolCalls[0].Status != "ok" || len(v.Requests) != 2 {
		t.Errorf("%+v", v)
	}
	w.consistent()
	// A call whose arguments the schema refuses is not made and not charged.
	w.call(http.MethodPatch, "/tools/stock", map[string]any{"parameters": map[string]any{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string", "maxLength": 1}}, "required": []string{"value"}}}, nil)
	w.message("EvTool2", "use tool again", "1760000072.000100").send(t)
	eventually(t, "the second answer", func() bool { return len(w.posts()) == 2 && w.lastTurn().State == "done" })
	if v := w.lastTurn(); len(v.ToolCalls) != 1 || v.ToolCalls[0].Status != "arguments_invalid" || len(vendor.ToolCalls("stock")) != 1 || len(w.actions()) != 1 {
		t.Errorf("%+v", v)
	}
}

// TestToolWithoutPrice: only operators say what a call is charged as, and one
// without a price is not made.
func TestToolWithoutPrice(t *testing.T) {
	w := newWorkspace(t)
	agent := w.declare("unpriced", nil)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": agent}, nil)
	own, err := tryPost(t.Context(), world.BaseURL+"/api/orgs/"+w.ID+"/tools", w.Key, map[string]any{"name": "x", "description": "x", "url": "https://shop.example/x", "parameters": map[string]any{"type": "object"}, "action": "tool_free"})
	must(t, err)
	if own.Status != http.StatusForbidden {
		t.Errorf("an organisation chose what its tool costs: %d %s", own.Status, own.Body)
	}
	w.operatorCall(http.MethodPatch, "/tools/unpriced", map[string]any{"action": "tool_unpriced"}, nil)
	w.message("EvTool5", "use tool for nothing", "1760000075.000100").send(t)
	eventually(t, "the answer", func() bool { return len(w.posts()) == 1 && w.lastTurn().State == "done" })
	if v := w.lastTurn(); len(v.ToolCalls) != 1 || v.ToolCalls[0].Status != "price_missing" || len(vendor.ToolCalls("unpriced")) != 0 {
		t.Errorf("%+v", v)
	}
}

// TestToolDemandsSignedMessages: Telegram proves the sender, not the message, so a
// tool that demands signed messages is not called; the same tool is from Slack.
func TestToolDemandsSignedMessages(t *testing.T) {
	p := newPhone(t, "telegram")
	agent := p.declare("moneyback", map[string]any{"integrity": "signed"})
	p.call(http.MethodPost, "/bindings", map[string]any{"install_id": p.install, "selector": map[string]any{"peer": "4411"}, "agent_id": agent}, nil)
	p.post(p.secret, p.text(1, "4411", "", "use tool moneyback"))
	eventually(t, "the answer without the tool", func() bool { return len(p.posts()) == 1 && p.lastTurn().State == "done" })
	if v := p.lastTurn(); len(v.ToolCalls) != 1 || v.ToolCalls[0].Status != "integrity_refused" || len(vendor.ToolCalls("moneyback")) != 0 {
		t.Fatalf("%+v, %d calls", v, len(vendor.ToolCalls("moneyback")))
	}
	w := newWorkspace(t)
	slack := w.declare("moneyback", map[string]any{"integrity": "signed"})
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": slack}, nil)
	w.message("EvTool3", "use tool moneyback", "1760000073.000100").send(t)
	eventually(t, "the tool is called", func() bool { return len(vendor.ToolCalls("moneyback")) == 1 && len(w.posts()) == 1 })
}

// TestKillBetweenRounds: the process dies while the model is asked for the answer
// behind a tool's result: the tool is not called again.
func TestKillBetweenRounds(t *testing.T) {
	w := newWorkspace(t)
	defer shift(t, 0)
	agent := w.declare("once", nil)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": agent}, nil)
	barrier := vendor.HoldBehindTool("once")
	defer barrier.Release()
	w.message("EvTool4", "use tool once only", "1760000074.000100").send(t)
	<-barrier.Reached()
	killBusy(t, "turn")
	barrier.Release()
	shift(t, 5*time.Minute)
	eventually(t, "the answer", func() bool { return len(w.posts()) > 0 && w.lastTurn().State == "done" })
	sweep(t, time.Hour)
	w.consistent()
	if v := w.lastTurn(); len(vendor.ToolCalls("once")) != 1 || len(v.ToolCalls) != 1 || len(w.posts()) != 1 {
		t.Errorf("%d calls, %+v, %d posts", len(vendor.ToolCalls("once")), v, len(w.posts()))
	}
}
