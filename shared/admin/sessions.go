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
	Summary       string    `json:"summary,omitempty"`
	SummaryBefore int64     `json:"summary_before,omitempty"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

func sessionOut(s session.Session) sessionJSON {
	return sessionJSON{ID: s.ID, InstallID: s.Install, AgentID: s.AgentID, PersonaID: s.PersonaID, Provider: s.Provider,
		Channel: s.Space, Thread: s.Thread, Summary: s.Summary.Text, SummaryBefore: s.Summary.Before, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC()}
}

func same[T any](v T) T { return v }

func listSessions(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	items, next, err := c.Sessions.Sessions(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, sessionOut), nil
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
