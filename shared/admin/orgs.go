package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

type orgJSON struct {
	ID              string         `json:"id"`
	Name            string         `json:"name"`
	Tier            taxonomy.Tier  `json:"tier"`
	ParentOrgID     string         `json:"parent_org_id,omitempty"`
	Status          org.Status     `json:"status"`
	SettingsVersion int64          `json:"settings_version"`
	LedgerMode      org.LedgerMode `json:"ledger_mode"`
	Limits          limitsJSON     `json:"limits"`
	CreatedAt       time.Time      `json:"created_at"`
}

func orgOut(o org.Org) orgJSON {
	return orgJSON{ID: o.ID, Name: o.Name, Tier: o.Tier, ParentOrgID: o.ParentID, Status: o.Status,
		SettingsVersion: o.SettingsVersion, LedgerMode: o.LedgerMode, Limits: limitsOut(o.Limits), CreatedAt: o.CreatedAt}
}

// limitsJSON leaves out what is unlimited.
type limitsJSON struct {
	RequestsPerMinute int64       `json:"requests_per_minute,omitempty"`
	TokensPerMinute   int64       `json:"tokens_per_minute,omitempty"`
	Concurrent        int64       `json:"concurrent,omitempty"`
	Budget            *budgetJSON `json:"budget,omitempty"`
}

type budgetJSON struct {
	Amount int64        `json:"amount" api:"required"`
	Period limit.Period `json:"period" api:"required"`
}

func limitsOut(l org.Limits) limitsJSON {
	out := limitsJSON{RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, Concurrent: l.Concurrent}
	if l.Budget.Amount > 0 {
		out.Budget = &budgetJSON{l.Budget.Amount, l.Budget.Period}
	}
	return out
}

// in is checked where it is stored; see [limit.Limits.Check].
func (l limitsJSON) in() org.Limits {
	out := org.Limits{RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, Concurrent: l.Concurrent}
	if l.Budget != nil {
		out.Budget = limit.Budget{Amount: l.Budget.Amount, Period: l.Budget.Period}
	}
	return out
}

type newOrg struct {
	Name        string        `json:"name" api:"required"`
	Tier        taxonomy.Tier `json:"tier" api:"required"`
	ParentOrgID string        `json:"parent_org_id"`
	Limits      limitsJSON    `json:"limits"`
}

func createOrg(c *call, b newOrg) (any, error) {
	id, err := c.orgID()
	if err != nil {
		return nil, err
	}
	o, err := c.Orgs.Create(c, c.op, org.Draft{ID: id, Name: b.Name, Tier: b.Tier, ParentID: b.ParentOrgID, Limits: b.Limits.in()})
	return orgOut(o), err
}

// orgID derives the id from an Idempotency-Key, so that a repeated request finds
// what the first one made, whole or half.
func (c *call) orgID() (string, error) {
	values := c.req.Header("idempotency-key")
	if len(values) == 0 {
		return c.NewID(c.req.Now), nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > 256 {
		return "", malformed("Idempotency-Key", "one Idempotency-Key of 1 to 256 characters is allowed")
	}
	sum := sha256.Sum256([]byte("org\x00" + c.who.key.ID + "\x00" + values[0]))
	return "o" + hex.EncodeToString(sum[:12]), nil
}

// listOrgs shows the operator everything, others themselves and their clients.
func listOrgs(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	parent := ""
	if !c.who.operator() {
		parent = c.who.key.Org
	}
	orgs, next, err := c.Orgs.Orgs.Orgs(c, parent, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	if parent != "" && p.after == "" {
		orgs = append([]org.Org{c.org}, orgs...)
	}
	return answer(orgs, next, orgOut), nil
}

func getOrg(c *call) (any, error) { return orgOut(c.org), nil }

type patchOrg struct {
	Name   *string        `json:"name"`
	Tier   *taxonomy.Tier `json:"tier"`
	Status *org.Status    `json:"status"`
	Limits *limitsJSON    `json:"limits"`
}

func updateOrg(c *call, b patchOrg) (any, error) {
	// A tier is what was paid for and a status is a sanction; limits may be set
	// by who stands above the organisation.
	above := c.who.operator() || c.who.key.Org == c.org.ParentID
	if (b.Tier != nil || b.Status != nil) && !c.who.operator() || b.Limits != nil && !above {
		return nil, operatorField()
	}
	p := org.Patch{Name: b.Name, Tier: b.Tier, Status: b.Status}
	if b.Limits != nil {
		limits := b.Limits.in()
		p.Limits = &limits
	}
	o, err := c.Orgs.Update(c, c.op, c.org.ID, p)
	return orgOut(o), err
}
