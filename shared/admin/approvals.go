package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
)

func approvalRoutes() []route {
	one := base + "/approvals/{id}"
	return []route{
		lists(base+"/approvals", orgRead, "Calls of tools that wait for approval, or waited, newest first", approvalJSON{}, listApprovals),
		get(one, orgRead, "A call that waits for approval, or waited", approvalJSON{}, getApproval),
		act(one, orgAdmin, "Approve or refuse a call that waits; the conversation goes on", decideApproval{}, approvalJSON{}, with(postApproval)),
	}
}

// approvalJSON: arguments are what the model wrote, as text of JSON.
type approvalJSON struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Tool        string `json:"tool"`
	ToolVersion int64  `json:"tool_version"`
	Arguments   string `json:"arguments"`
	AgentID     string `json:"agent_id"`
	PersonaID   string `json:"persona_id,omitempty"`
	SessionID   string `json:"session_id"`
	TurnID      string `json:"turn_id"`
	// AskedBy is the channel's id of who wrote the message.
	AskedBy   string     `json:"asked_by"`
	Integrity string     `json:"integrity"`
	AskedAt   time.Time  `json:"asked_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	DecidedBy string     `json:"decided_by,omitempty"`
	DecidedAt *time.Time `json:"decided_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`
}

func approvalOut(a approval.Approval) approvalJSON {
	out := approvalJSON{ID: a.ID, State: string(a.State), Tool: a.Tool, ToolVersion: a.Version, Arguments: a.Arguments, AgentID: a.Agent, PersonaID: a.Persona, SessionID: a.Session,
		TurnID: a.Turn(), AskedBy: a.Asker, Integrity: string(a.Integrity), AskedAt: a.AskedAt.UTC(), ExpiresAt: a.ExpiresAt.UTC(), DecidedBy: a.DecidedBy, Reason: a.Reason}
	if at := a.DecidedAt.UTC(); !a.DecidedAt.IsZero() {
		out.DecidedAt = &at
	}
	return out
}

type decideApproval struct {
	Decision string `json:"decision" api:"required"`
	Reason   string `json:"reason"`
}

func listApprovals(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	items, next, err := c.Approvals.List(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, approvalOut), nil
}

func getApproval(c *call) (any, error) {
	a, err := c.Approvals.Get(c, c.org.ID, c.params["id"])
	return approvalOut(a), err
}

func postApproval(c *call, b decideApproval) (any, error) {
	if b.Decision != "approve" && b.Decision != "refuse" {
		return nil, malformed("decision", "the decision is approve or refuse")
	}
	a, err := c.Approvals.Decide(c, c.op, c.org.ID, c.params["id"], b.Decision == "approve", b.Reason)
	return approvalOut(a), err
}
