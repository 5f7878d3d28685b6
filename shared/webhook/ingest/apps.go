package ingest

import (
	"context"
	"net/http"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
)

// ofApp handles the events of a verified request of a platform app. All must be the
// app's own before one is dispatched; each then goes to the install of its tenant.
func (c *call) ofApp(ctx context.Context, all []channel.Inbound) Response {
	app, own := c.inst, c.entry.OfApp()
	for _, c.in = range all {
		if !own.SameTenant(app.Config, c.in.Identity) {
			return c.end(ctx, webhook.TenantMismatch, session.Refused)
		}
	}
	var resp Response
	for n := range all {
		c.inst, c.binds, c.in = app, nil, all[n]
		if resp = c.ofTenant(ctx, app, n); resp.Status != http.StatusOK {
			return resp
		}
	}
	return resp
}

// ofTenant handles event n of the request.
func (c *call) ofTenant(ctx context.Context, app install.Install, n int) Response {
	if app.State != install.Active {
		return c.end(ctx, webhook.NotDispatched, session.Ignored)
	}
	tenant := c.entry.Shared.Locate(c.in.Identity)
	if tenant == "" {
		return c.end(ctx, webhook.Unbound, session.Unbound)
	}
	inst, binds, err := c.d.Installs.InstallOf(ctx, string(c.entry.ID), app.ID, tenant)
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
	c.inst, c.binds = inst, binds
	// Some of what is read depends on the install's settings, such as its bot's name.
	in := c.r.Input
	in.Config = inst.Config
	again, err := c.entry.Adapter.Parse(in)
	if err != nil || len(again) <= n {
		return c.end(ctx, webhook.BadPayload, session.Refused)
	}
	if c.in = again[n]; !c.entry.SameTenant(inst.Config, c.in.Identity) {
		return c.end(ctx, webhook.TenantMismatch, session.Refused)
	}
	return c.one(ctx)
}
