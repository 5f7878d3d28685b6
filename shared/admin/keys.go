package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
)

type keyJSON struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Scopes    []org.Scope `json:"scopes"`
	AgentID   string      `json:"agent_id,omitempty"`
	Status    keyStatus   `json:"status"`
	CreatedAt time.Time   `json:"created_at"`
	ExpiresAt *time.Time  `json:"expires_at,omitempty"`
	RevokedAt *time.Time  `json:"revoked_at,omitempty"`
	Limits    limitsJSON  `json:"limits"`
}

type keyStatus string

func keyOut(k org.Key, now time.Time) keyJSON {
	status := keyStatus("active")
	switch {
	case !k.RevokedAt.IsZero():
		status = "revoked"
	case !k.Live(now):
		status = "expired"
	}
	return keyJSON{ID: k.ID, Name: k.Name, Scopes: k.Scopes, AgentID: k.AgentID, Status: status, CreatedAt: k.CreatedAt,
		ExpiresAt: stamp(k.ExpiresAt), RevokedAt: stamp(k.RevokedAt), Limits: limitsOut(k.Limits)}
}

// createdKey is the only answer of the API that holds a secret, once.
type createdKey struct {
	keyJSON
	Key issuedKey `json:"key"`
}

// issuedKey writes the secret into the one answer that has it.
type issuedKey struct{ text secret.Text }

// MarshalJSON implements [json.Marshaler]. A key has no character that JSON
// escapes.
func (k issuedKey) MarshalJSON() ([]byte, error) {
	var out []byte
	err := k.text.Use(func(b []byte) error {
		out = append(append(append(out, '"'), b...), '"')
		return nil
	})
	return out, err
}

type newKey struct {
	Name      string     `json:"name" api:"required"`
	Scopes    []string   `json:"scopes" api:"required"`
	AgentID   string     `json:"agent_id"`
	ExpiresAt *time.Time `json:"expires_at"`
	Limits    limitsJSON `json:"limits"`
}

func createKey(c *call, b newKey) (any, error) {
	scopes, err := org.ParseScopes(b.Scopes)
	if err != nil {
		return nil, err
	}
	if b.AgentID != "" {
		_, err := c.Agents.Get(c, c.org.ID, b.AgentID)
		if fault.CodeOf(err) == fault.NotFound {
			return nil, malformed("agent_id", "there is no such agent in this organisation")
		}
		if err != nil {
			return nil, err
		}
	}
	d := org.KeyDraft{ID: c.NewID(c.req.Now), Name: b.Name, Scopes: scopes, AgentID: b.AgentID, Limits: b.Limits.in()}
	if b.ExpiresAt != nil {
		d.ExpiresAt = *b.ExpiresAt
	}
	k, text, err := c.Orgs.IssueKey(c, c.op, c.org.ID, d)
	if err != nil {
		return nil, err
	}
	return createdKey{keyOut(k, c.req.Now), issuedKey{text}}, nil
}

func listKeys(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	keys, next, err := c.Orgs.Keys.Keys(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(keys, next, func(k org.Key) keyJSON { return keyOut(k, c.req.Now) }), nil
}

func revokeKey(c *call) (any, error) {
	return nil, c.Orgs.RevokeKey(c, c.op, c.org.ID, c.params["id"])
}

func operatorField() error {
	return fault.New(fault.ScopeMissing, "admin", "tier, status and limits are set by the operator; an agency sets the limits of its clients")
}
