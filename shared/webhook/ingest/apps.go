package ingest

import (
	"context"
	"net/http"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
)

// held is the install of a tenant of the request, with the events as it reads them.
type held struct {
	inst   install.Install
	binds  []install.Binding
	lookup error
	all    []channel.Inbound
	parse  error
}

// ofApp handles the events of a verified request of a platform app. All must be the
// app's own before one is dispatched; each then goes to the install of its tenant,
// which is looked up once for all its events.
func (c *call) ofApp(ctx context.Context, all []channel.Inbound) Response {
	app, whole := c.inst, c.entry
	own := whole.OfApp()
	for _, c.in = range all {
		if !own.SameTenant(app.Config, c.in.Identity) {
			return c.end(ctx, webhook.TenantMismatch, session.Refused)
		}
	}
	var resp Response
	tenants := map[string]*held{}
	enough, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for n := range all {
		c.inst, c.binds, c.in, c.entry = app, nil, all[n], whole
		if enough.Err() != nil {
			return c.later(ctx)
		}
		if resp = c.ofTenant(ctx, app, tenants, n, len(all) > 1); resp.Status != http.StatusOK {
			return resp
		}
	}
	return resp
}

// ofTenant handles event n of the request. Settings that do not fit one tenant's
// claim do not keep the events of others of the same request from them.
func (c *call) ofTenant(ctx context.Context, app install.Install, tenants map[string]*held, n int, several bool) Response {
	if app.State != install.Active {
		return c.end(ctx, webhook.NotDispatched, session.Ignored)
	}
	tenant := c.entry.Shared.Locate(c.in.Identity)
	switch {
	case tenant == "":
		return c.end(ctx, webhook.Unbound, session.Unbound)
	case c.in.Claim != "" && c.entry.Shared.Claim != nil:
		return c.claimed(ctx)
	}
	h := tenants[tenant]
	if h == nil {
		h = new(held)
		h.inst, h.binds, h.lookup = c.d.Installs.InstallOf(ctx, string(c.entry.ID), app.ID, tenant)
		tenants[tenant] = h
	}
	inst, binds, err := h.inst, h.binds, h.lookup
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return c.end(ctx, webhook.Unbound, session.Unbound)
	case err != nil:
		return c.end(ctx, webhook.InstallLookup, session.Failed)
	case inst.Mode != install.Platform || inst.App != app.ID || inst.Provider != app.Provider:
		return c.end(ctx, webhook.Unbound, session.Unbound)
	case !inst.State.Verifies():
		return c.end(ctx, webhook.InstallInactive, session.Ignored)
	}
	c.inst, c.binds, c.entry = inst, binds, c.entry.OfTenant(app.ID)
	if h.all == nil && h.parse == nil {
		// Some of what is read depends on the install's settings, such as its bot's name.
		in := c.r.Input
		in.Config = inst.Config
		for _, o := range tenants {
			o.all = nil // a body for each of many tenants would be too much to hold
		}
		h.all, h.parse = c.entry.Adapter.Parse(in)
	}
	if h.parse != nil || len(h.all) <= n {
		return c.end(ctx, webhook.BadPayload, session.Refused)
	}
	c.in = h.all[n]
	switch same := c.entry.SameTenant(c.inst.Config, c.in.Identity); {
	case !same && several:
		_ = c.d.Dedupe.Log(ctx, c.delivery(webhook.TenantMismatch, session.Refused))
		return c.tell(ctx, webhook.TenantMismatch, http.StatusOK, 0)
	case !same:
		return c.end(ctx, webhook.TenantMismatch, session.Refused)
	}
	return c.one(ctx)
}

// claimed hands a state that somebody said on to who may use it up, if anybody began it.
// No agent reads it, whosever the conversation is.
func (c *call) claimed(ctx context.Context) Response {
	hash := consent.HashOf(c.in.Claim)
	if _, err := c.d.Claims.Consent(ctx, hash); err != nil {
		if fault.CodeOf(err) == fault.NotFound {
			return c.end(ctx, webhook.Unbound, session.Unbound)
		}
		return c.end(ctx, webhook.InstallLookup, session.Failed)
	}
	e := c.in.Envelope
	c.in.Envelope = channel.Envelope{Provider: e.Provider, EventID: e.EventID, Space: e.Space, Direct: e.Direct, Thread: e.Thread, ReplyTo: e.ReplyTo, Actor: e.Actor, SentAt: e.SentAt}
	return c.enqueue(ctx, session.Job{Kind: session.JobClaim, Org: c.inst.Org, Install: c.inst.ID, EventID: e.EventID, Tenant: c.inst.ID,
		Identity: c.in.Identity, Envelope: c.in.Envelope, ReceivedAt: c.r.Now.UTC(), RequestID: c.r.RequestID, Claim: hash})
}

// later leaves an event, and those behind it, to the vendor's retry.
func (c *call) later(ctx context.Context) Response {
	return c.end(ctx, webhook.Unfinished, session.Failed)
}
