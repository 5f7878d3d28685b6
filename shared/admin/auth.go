package admin

import (
	"strings"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// access says who may call a route.
type access int

const (
	public access = iota
	// anyReader is a route without an organisation that shows what the key sees.
	anyReader
	// anyAdmin is a route without an organisation that shows everybody the same.
	anyAdmin
	orgRead
	orgBilling
	// orgPay is for those who may spend the organisation's money.
	orgPay
	orgAdmin
	// orgOperator concerns one organisation and is the operator's alone.
	orgOperator
	operatorRead
	operatorAdmin
)

// scopes lists the scopes of which a key needs one.
func (a access) scopes() []org.Scope {
	switch a {
	case anyReader, orgRead, operatorRead:
		return []org.Scope{org.ScopeAdmin, org.ScopeRead}
	case orgBilling:
		return []org.Scope{org.ScopeAdmin, org.ScopeBilling, org.ScopeRead}
	case orgPay:
		return []org.Scope{org.ScopeAdmin, org.ScopeBilling}
	}
	return []org.Scope{org.ScopeAdmin}
}

func (a access) operatorOnly() bool {
	return a == orgOperator || a == operatorRead || a == operatorAdmin
}

// principal is the verified key of a request.
type principal struct {
	key org.Key
}

func (p principal) operator() bool { return p.key.Org == org.Operator }

func (p principal) actor() string {
	if p.operator() {
		return "operator:" + p.key.ID
	}
	return "key:" + p.key.ID
}

func (c *call) authenticate() error {
	presented, err := org.CredentialFromHeaders(c.req.Header)
	if err != nil {
		return err
	}
	c.Redact.Add([]byte(presented))
	key, err := c.Orgs.Lookup(c, presented, c.req.Now)
	if err != nil {
		return err
	}
	c.who = principal{key}
	c.op = audit.Op{Actor: c.who.actor(), ID: c.NewID(c.req.Now), At: c.req.Now}
	return nil
}

// authorize checks organisation, then scope: whether another organisation's
// resource exists must not show in which of the two refusals comes.
func (c *call) authorize() error {
	id, concernsOrg := c.params["org"]
	if concernsOrg {
		if err := c.enter(id); err != nil {
			return err
		}
	} else if err := c.checkOwnOrg(); err != nil {
		return err
	}
	if c.route.access.operatorOnly() && !c.who.operator() {
		return fault.New(fault.ScopeMissing, "admin.authorize", "this needs an operator key")
	}
	words := make([]string, 0, 3)
	for _, s := range c.route.access.scopes() {
		if c.who.key.Has(s) {
			return nil
		}
		words = append(words, string(s))
	}
	return fault.New(fault.ScopeMissing, "admin.authorize", "this key lacks the scope; it needs "+strings.Join(words, " or "))
}

func noSuchOrg() error {
	return fault.New(fault.NotFound, "admin.authorize", "there is no such organisation")
}

// checkOwnOrg refuses keys of organisations that are gone or suspended.
func (c *call) checkOwnOrg() error {
	if c.who.operator() {
		return nil
	}
	own, err := c.Orgs.Orgs.Org(c, c.who.key.Org)
	if fault.CodeOf(err) == fault.NotFound {
		return org.Unauthorized()
	}
	if err != nil {
		return err
	}
	c.org = own
	return own.Allow()
}

// enter loads the organisation of the path if the key may see it: the operator
// sees all, a key its own, an agency's key also the agency's clients. The
// membership is read anew for every request.
func (c *call) enter(id string) error {
	if c.who.operator() {
		o, err := c.load(id)
		c.org = o
		return err
	}
	if err := c.checkOwnOrg(); err != nil || c.org.ID == id {
		return err
	}
	tiers, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return err
	}
	if tiers.Has(c.org.Tier, org.FeatureAgency) {
		o, err := c.load(id)
		if err == nil && o.ParentID == c.who.key.Org {
			c.org = o
			return nil
		}
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			return err
		}
	}
	// The row is for the security log; that it cannot be written changes nothing
	// about the refusal.
	_ = c.Audit.PutAudit(c, c.op.Refusal(c.who.key.Org, "org.enter", id, string(fault.NotFound)))
	return noSuchOrg()
}

func (c *call) load(id string) (org.Org, error) {
	o, err := c.Orgs.Orgs.Org(c, id)
	if fault.CodeOf(err) == fault.NotFound {
		return org.Org{}, noSuchOrg()
	}
	return o, err
}
