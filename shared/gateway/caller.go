package gateway

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/vault"
)

// Caller is an authenticated organisation with everything its request depends
// on, read in one round. It belongs to one request.
type Caller struct {
	Org string
	// Key is nil for a call that the platform makes for the organisation.
	Key *org.Key

	config   OrgConfig
	tiers    org.Tiers
	rules    commercial.Tiers
	freeUsed int64
	creds    map[string]vault.Credential // by credential id
	platform map[string]vault.Credential // by credential id, of the platform's own
	book     *billing.Book
	now      func() time.Time
	started  time.Time
}

// Authenticate checks a presented virtual key and its scope. now is the clock of
// the request. It fails with gateway_auth (the same for every bad key),
// scope_missing, billing_denied for a suspended organisation, and
// ledger_unavailable or vault_unavailable when something cannot be read.
func (g *Gateway) Authenticate(ctx context.Context, presented string, scope org.Scope, now func() time.Time) (*Caller, error) {
	parsed, err := org.ParseKey(presented)
	if err != nil {
		return nil, err
	}
	c, err := g.load(ctx, parsed.Org, parsed.ID, now)
	if err != nil {
		if fault.CodeOf(err) == fault.NotFound {
			return nil, org.Unauthorized()
		}
		return nil, err
	}
	if err := org.Authenticate(c.Key, parsed, now()); err != nil {
		return nil, err
	}
	if !c.Key.Has(scope) {
		return nil, fault.New(fault.ScopeMissing, "gateway.Authenticate",
			"this API key lacks the scope "+string(scope)+"; create a key that has it")
	}
	return c, nil
}

// Internal is a caller for a call that the platform makes for an organisation,
// such as an agent's turn. It fails with not_found for an unknown one.
func (g *Gateway) Internal(ctx context.Context, orgID string, now func() time.Time) (*Caller, error) {
	return g.load(ctx, orgID, "", now)
}

// load is round one: everything in parallel. The first failure ends it.
func (g *Gateway) load(ctx context.Context, orgID, keyID string, now func() time.Time) (*Caller, error) {
	c := &Caller{Org: orgID, now: now, started: now()}
	lists := make([][]vault.Credential, len(g.o.Classes))
	var shared CallConfig
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { c.config, err = g.o.Store.OrgConfig(gctx, orgID); return err })
	group.Go(func() (err error) {
		if shared, err = g.o.Store.CallConfig(gctx, orgID, keyID, c.started, g.platform); err == nil {
			c.book, err = g.o.Prices.At(gctx, shared.Prices, c.started)
		}
		return err
	})
	for i, class := range g.o.Classes {
		group.Go(func() (err error) { lists[i], err = g.o.Vault.LoadClass(gctx, orgID, class); return err })
	}
	if err := group.Wait(); err != nil {
		return nil, loadFault(ctx, err)
	}
	c.Key, c.tiers, c.rules, c.freeUsed = shared.Key, shared.Tiers, shared.Terms, shared.FreeUsed
	c.creds, c.platform = index(lists...), index(shared.Platform)
	return c, nil
}

func index(lists ...[]vault.Credential) map[string]vault.Credential {
	m := map[string]vault.Credential{}
	for _, l := range lists {
		for _, cr := range l {
			m[cr.Head.Ref.ID] = cr
		}
	}
	return m
}

func loadFault(ctx context.Context, err error) error {
	if fault.CodeOf(err) != fault.Internal {
		return err
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fault.Wrap(fault.Unavailable, "gateway.load", "the configuration cannot be read at the moment, try again", err)
}

// fees are the terms of the organisation's own keys and endpoints, and how much of
// the month's allowance was counted.
func (c *Caller) fees(eligible bool) (billing.Fees, int64) {
	f := commercial.Resolve(string(c.config.Org.Tier), eligible, c.rules, c.config.Terms).Fees()
	if f.FreeRequests == 0 {
		return f, 0
	}
	return f, c.freeUsed
}

// Now is the request's clock.
func (c *Caller) Now() time.Time { return c.now() }

// agent returns the agent of a call: the one the key is bound to, or the named
// one. A key that is bound to an agent cannot act for another.
func (c *Caller) agent(name string) (Agent, error) {
	if c.Key != nil && c.Key.AgentID != "" {
		if name != "" && name != c.Key.AgentID {
			return Agent{}, fault.New(fault.ScopeMissing, "gateway.agent", "this API key acts for another agent")
		}
		name = c.Key.AgentID
	}
	if name == "" {
		return Agent{}, nil
	}
	for _, a := range c.config.Agents {
		if a.ID == name {
			return a, nil
		}
	}
	return Agent{}, fault.New(fault.InvalidRequest, "gateway.agent", "there is no such agent in this organisation").WithParam("agent")
}

// credentialFor returns the credential of a connection. ok is false if it has
// none that can be opened.
func (c *Caller) credentialFor(conn *connection.Connection) (cred vault.Credential, ok bool) {
	if conn.Keyless {
		return vault.Credential{}, true
	}
	cred, ok = c.creds[conn.ID]
	return cred, ok && cred.Head.Status == vault.Active
}
