package security

import (
	"maps"
	"net/http"

	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/org"
)

// platformApp is an active app of the platform, which holds what verifies, and what
// change adds. Its team is one that nobody has bound.
func (c *cell) platformApp(change func(a *app, in map[string]any)) *app {
	a := c.newApp()
	a.admit()
	a.tenant = &tenant{id: org.Operator, admin: c.operator}
	in := a.settings()
	without(in, func(name string) bool { return name == c.col.sends && !c.col.apps.sends })
	delete(in, "mode")
	in["config"] = c.col.apps.config(a)
	if change != nil {
		change(a, in)
	}
	var out struct{ ID string }
	c.need(c.operator.Call(c.ctx, http.MethodPost, "/api/operator/apps", in, &out))
	c.need(c.operator.Call(c.ctx, http.MethodPost, "/api/operator/apps/"+out.ID+"/activate", map[string]any{}, nil))
	a.install = out.ID
	c.apps = append(c.apps, a)
	return a
}

// workspace is a tenant of the app that the cell's organisation has bound.
func (a *app) workspace() *app {
	w := a.c.newApp()
	w.secret, w.address = a.secret, a.install
	a.col.apps.join(w, a)
	in := w.settings()
	without(in, func(name string) bool { return name != a.col.sends || a.col.apps.sends })
	in["mode"], in["app"] = "platform", a.install
	config := in["config"].(map[string]any)
	for name := range a.col.apps.config(a) {
		delete(config, name)
	}
	if a.col.apps.tenant != nil {
		w.token = a.token // one bot posts for all
		maps.Copy(config, a.col.apps.tenant(w))
	}
	var out struct{ ID string }
	a.c.need(a.c.operator.Call(a.c.ctx, http.MethodPost, "/api/orgs/"+w.tenant.id+"/installs", in, &out))
	w.install = out.ID
	a.c.need(w.bind(map[string]any{}, w.agent))
	w.move("activate")
	a.c.apps = append(a.c.apps, w)
	return w
}

// unboundTenant: the platform's app hears of a workspace that nobody has bound to it,
// and of one that an organisation has bound to an app of its own with the same names.
func unboundTenant(c *cell) {
	ours := c.platformApp(nil)
	bound := ours.workspace()
	own := c.newApp()
	c.col.apps.join(own, ours)
	own.create(own.settings(), true)
	c.hit(ours, ours.signed(ours.message(said{})))
	c.hit(ours, ours.signed(own.message(said{})))
	c.accepted(bound, bound.signed(bound.message(said{})))
	c.answered(bound)
}

// crossedApps: an organisation's app signs with its own secret at the path of the
// platform's app, and the platform's app with its own at the organisation's path.
func crossedApps(c *cell) {
	own := c.app()
	at := func(address string, h hit) hit {
		h.path = "/webhooks/" + string(c.col.provider()) + "/" + address
		return h
	}
	if c.col.apps == nil {
		// There is no app of several bots, so the path is nobody's.
		in := map[string]any{"provider": c.col.provider(), "secrets": map[string]any{c.col.verifies: own.secret}}
		if err := c.operator.Call(c.ctx, http.MethodPost, "/api/operator/apps", in, nil); stack.Status(err) != http.StatusBadRequest {
			c.bad("an app for many bots: %v", err)
		}
		c.hit(own, at("app_"+own.install, own.signed(own.message(said{}))))
		return
	}
	ours := c.platformApp(nil)
	bound := ours.workspace()
	for _, of := range []*app{own, bound} {
		c.hit(ours, at(ours.install, own.signed(of.message(said{}))))
		c.hit(own, at(own.install, ours.signed(of.message(said{}))))
	}
	// A tenant of the platform's app has no path, whoever signs.
	for _, by := range []*app{own, bound} {
		if got := c.do(at(bound.install, by.signed(bound.message(said{})))); got.status != http.StatusUnauthorized || got.body != bodies()[401] {
			c.bad("the tenant's own path: %d %s", got.status, got.body)
		}
	}
	c.accepted(own, own.signed(own.message(said{})))
	c.accepted(bound, bound.signed(bound.message(said{})))
	c.answered(own)
	c.answered(bound)
}
