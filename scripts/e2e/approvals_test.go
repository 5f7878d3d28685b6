package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/outbox"
)

type waitingCall struct {
	ID, State, Tool, Arguments, Reason string
	AskedBy                            string `json:"asked_by"`
	TurnID                             string `json:"turn_id"`
}

func (x *tenant) approvals() []waitingCall {
	x.t.Helper()
	var page struct{ Items []waitingCall }
	x.call(http.MethodGet, "/approvals", nil, &page)
	return page.Items
}

// decide answers with the status of the decision.
func (x *tenant) decide(id, decision, reason string) int {
	x.t.Helper()
	return post(x.t, world.BaseURL+"/api/orgs/"+x.ID+"/approvals/"+id, x.Key, map[string]any{"decision": decision, "reason": reason}).Status
}

func (x *tenant) auditActions() (out []string) {
	x.t.Helper()
	var page struct{ Items []struct{ Action string } }
	x.call(http.MethodGet, "/audit?limit=200", nil, &page)
	for _, r := range page.Items {
		if strings.HasPrefix(r.Action, "approval.") {
			out = append(out, r.Action)
		}
	}
	slices.Sort(out)
	return out
}

// asks sends a message that makes the agent call a tool which needs an approval.
func asks(t *testing.T, name, event, ts string) *workspace {
	w := newWorkspace(t)
	agent := w.declare(name, map[string]any{"approval": "required", "integrity": "signed"})
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": agent}, nil)
	w.message(event, "please use tool now", ts).send(t)
	eventually(t, "the call waits", func() bool {
		return len(w.posts()) == 1 && w.lastTurn().State == "ended" && len(w.approvals()) == 1
	})
	return w
}

// TestToolWaitsForApproval: the conversation is told what waits and stays open; the
// approval makes the call once, charged once, and the answer goes to where the question
// was.
func TestToolWaitsForApproval(t *testing.T) {
	priceTools(t, 700)
	w := asks(t, "refund", "EvAp1", "1760000171.000100")
	got := w.approvals()[0]
	sweep(t, 0)
	eventually(t, "the organisation is told", func() bool { return len(w.toldAbout(outbox.TypeApproval)) == 1 })
	if first := w.posts()[0]; !strings.Contains(first.Text, "refund") || !strings.Contains(first.Text, "42") || !strings.Contains(first.Text, got.ID) {
		t.Errorf("%q", first.Text)
	}
	if got.State != "pending" || got.Tool != "refund" || !strings.Contains(got.Arguments, "42") || got.AskedBy == "" || len(vendor.ToolCalls("refund")) != 0 || len(w.actions()) != 0 {
		t.Fatalf("%+v %+v", got, w.actions())
	}
	w.message("EvAp2", "and how are you?", "1760000172.000100").send(t)
	eventually(t, "an answer meanwhile", func() bool { return len(w.posts()) == 2 })
	if len(vendor.ToolCalls("refund")) != 0 {
		t.Fatal("called without approval")
	}
	if status := w.decide(got.ID, "yes", ""); status != http.StatusBadRequest {
		t.Error(status)
	}
	other := newTenant(t, "enterprise", 0)
	if status := other.decide(got.ID, "approve", ""); status != http.StatusNotFound {
		t.Error(status)
	}
	if status := w.decide(got.ID, "approve", "as agreed"); status != http.StatusOK {
		t.Fatal(status)
	}
	eventually(t, "the answer", func() bool { return len(w.posts()) == 3 && w.lastTurn().State == "done" })
	eventually(t, "the call is charged", func() bool { return len(w.actions()) == 1 })
	calls := vendor.ToolCalls("refund")
	if len(calls) != 1 || calls[0].Query != "v=42" || !strings.Contains(w.posts()[2].Text, "approved the call of refund") {
		t.Errorf("%+v %+v", calls, w.posts()[2])
	}
	if status := w.decide(got.ID, "refuse", ""); status != http.StatusConflict || w.approvals()[0].State != "approved" {
		t.Errorf("decided twice: %d %+v", status, w.approvals())
	}
	if rows := w.auditActions(); !slices.Equal(rows, []string{"approval.approve", "approval.ask"}) {
		t.Errorf("%q", rows)
	}
	w.consistent()
}

// TestApprovalOutlivesKills: the queue refuses the decision's job, then the process
// that goes on dies behind the tool's call: the sweep sends the job, the call is made
// once, one answer goes out.
func TestApprovalOutlivesKills(t *testing.T) {
	w := asks(t, "payout", "EvAp3", "1760000173.000100")
	defer shift(t, 0)
	barrier := vendor.HoldBehindTool("payout")
	defer barrier.Release()
	fault(t, map[string]any{"service": "sqs", "operation": "SendMessage", "function": "console", "error": "unavailable", "count": 50})
	defer clearFaults(t)
	if status := w.decide(w.approvals()[0].ID, "approve", ""); status != http.StatusOK {
		t.Fatal(status)
	}
	var left struct{ Items []struct{ Count int } }
	must(t, operator().Call(t.Context(), http.MethodGet, "/_local/faults", nil, &left))
	if len(left.Items) != 1 || left.Items[0].Count >= 50 {
		t.Fatalf("the queue was not asked: %+v", left)
	}
	clearFaults(t)
	sweep(t, time.Minute)
	select {
	case <-barrier.Reached():
	case <-time.After(time.Minute):
		t.Fatal("the sweep does not send the job")
	}
	killBusy(t, "turn")
	barrier.Release()
	shift(t, 5*time.Minute)
	eventually(t, "the answer", func() bool { return len(w.posts()) > 1 && w.lastTurn().State == "done" })
	sweep(t, time.Hour)
	w.consistent()
	if v := w.lastTurn(); len(vendor.ToolCalls("payout")) != 1 || len(v.ToolCalls) != 1 || len(w.posts()) != 2 {
		t.Errorf("%d calls, %+v, %d posts", len(vendor.ToolCalls("payout")), v, len(w.posts()))
	}
}

// TestApprovalExpires: on Telegram; nobody decides for a day, the agent says so.
func TestApprovalExpires(t *testing.T) {
	p := newPhone(t, "telegram")
	agent := p.declare("cancel", map[string]any{"approval": "required"})
	p.call(http.MethodPost, "/bindings", map[string]any{"install_id": p.install, "selector": map[string]any{"peer": "4411"}, "agent_id": agent}, nil)
	p.post(p.secret, p.text(1, "4411", "", "use tool cancel"))
	eventually(t, "the call waits", func() bool { return len(p.posts()) == 1 && len(p.approvals()) == 1 })
	sweep(t, 23*time.Hour)
	if s := p.approvals()[0].State; s != "pending" {
		t.Fatal(s)
	}
	sweep(t, 25*time.Hour)
	eventually(t, "the agent says so", func() bool { return len(p.posts()) == 2 && p.lastTurn().State == "done" })
	if v := p.lastTurn(); p.approvals()[0].State != "expired" || len(v.ToolCalls) != 1 || v.ToolCalls[0].Status != "not_approved" || len(vendor.ToolCalls("cancel")) != 0 {
		t.Errorf("%+v %+v", p.approvals(), v)
	}
	if rows := p.auditActions(); !slices.Equal(rows, []string{"approval.ask", "approval.expire"}) {
		t.Errorf("%q", rows)
	}
}
