package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

type sessionJSON struct {
	ID        string `json:"id"`
	InstallID string `json:"install_id"`
	AgentID   string `json:"agent_id"`
	PersonaID string `json:"persona_id,omitempty"`
	Provider  string `json:"provider"`
	Channel   string `json:"channel"`
	Thread    string `json:"thread,omitempty"`
	// Summary is what models are shown of the messages with a lower seq than
	// SummaryBefore.
	Summary       string `json:"summary,omitempty"`
	SummaryBefore int64  `json:"summary_before,omitempty"`
	// State is agent or human: who answers.
	State     string       `json:"state"`
	Handoff   *handoffJSON `json:"handoff,omitempty"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

// handoffJSON: By is agent, or the key that took the conversation over; without
// resume_after_minutes the agent goes on only when it is given back.
type handoffJSON struct {
	At                 time.Time  `json:"at"`
	By                 string     `json:"by"`
	Reason             string     `json:"reason"`
	TurnID             string     `json:"turn_id,omitempty"`
	LastAnswerAt       *time.Time `json:"last_answer_at,omitempty"`
	ResumeAfterMinutes int64      `json:"resume_after_minutes,omitempty"`
}

// Who answers in a session.
const (
	answersAgent = "agent"
	answersHuman = "human"
)

func sessionOut(s session.Session) sessionJSON {
	out := sessionJSON{State: answersAgent, ID: s.ID, InstallID: s.Install, AgentID: s.AgentID, PersonaID: s.PersonaID, Provider: s.Provider,
		Channel: s.Space, Thread: s.Thread, Summary: s.Summary.Text, SummaryBefore: s.Summary.Before, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC()}
	if h := s.Handoff; h != nil {
		out.State, out.Handoff = answersHuman, &handoffJSON{At: h.At.UTC(), By: h.By, Reason: h.Reason, TurnID: h.Turn, LastAnswerAt: stamp(h.LastAt), ResumeAfterMinutes: int64(h.Resume / time.Minute)}
	}
	return out
}

func same[T any](v T) T { return v }

func listSessions(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	read := c.Sessions.Sessions
	switch c.req.Query.Get("state") {
	case "":
	case answersHuman:
		read = c.Handoffs.List
	default:
		return nil, malformed("state", "state is human, or left out for all sessions")
	}
	items, next, err := read(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, sessionOut), nil
}

type takeSession struct {
	Reason string `json:"reason"`
}

func takeOver(c *call, b takeSession) (any, error) {
	s, err := c.Handoffs.Take(c, c.op, c.org.ID, c.params["id"], b.Reason)
	return sessionOut(s), err
}

func giveBack(c *call) (any, error) {
	s, err := c.Handoffs.Resume(c, c.op, c.org.ID, c.params["id"])
	return sessionOut(s), err
}

type newMessage struct {
	Text           string `json:"text" api:"required"`
	IdempotencyKey string `json:"idempotency_key"`
}

// queuedJSON: the turn is there once the message's turn has come.
type queuedJSON struct {
	SessionID string `json:"session_id"`
	TurnID    string `json:"turn_id"`
}

func say(c *call, b newMessage) (any, error) {
	turn, err := c.Handoffs.Say(c, c.op, c.org.ID, c.params["id"], b.Text, b.IdempotencyKey)
	return queuedJSON{SessionID: c.params["id"], TurnID: turn}, err
}

func getSession(c *call) (any, error) {
	s, err := c.Sessions.Session(c, c.org.ID, c.params["id"])
	return sessionOut(s), err
}

func listMessages(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	if _, err := c.Sessions.Session(c, c.org.ID, c.params["id"]); err != nil {
		return nil, err
	}
	items, next, err := c.Sessions.Messages(c, c.org.ID, c.params["id"], p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, same), nil
}

// listDeliveries asks for the install first: its organisation is the only thing
// that says whose deliveries they are.
func listDeliveries(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	id := c.req.Query.Get("install")
	if id == "" {
		return nil, malformed("install", "say which install: ?install=<id>")
	}
	if !table.ValidID(id) {
		return nil, noSuch("install")
	}
	if _, _, err := c.Installs.Get(c, c.org.ID, id); err != nil {
		return nil, err
	}
	items, next, err := c.Sessions.Deliveries(c, id, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, same), nil
}

func getTurn(c *call) (any, error) {
	t, parts, err := c.Sessions.Turn(c, c.org.ID, c.params["id"])
	if err != nil {
		return nil, err
	}
	return session.View(t, parts), nil
}
