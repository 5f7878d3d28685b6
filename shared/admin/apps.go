package admin

import (
	"net/http"
	"net/url"

	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
)

// appRoutes are the apps of the platform itself: installs of the operator.
func appRoutes() []route {
	const path, one = "/api/operator/apps", "/api/operator/apps/{id}"
	own := func(f func(*call) (any, error)) func(*call) (any, error) {
		return func(c *call) (any, error) {
			c.org = org.Org{ID: org.Operator}
			return f(c)
		}
	}
	return []route{
		create(path, operatorAdmin, "Add an app of the platform that serves many organisations; it holds what verifies", newApp{}, install.View{}, own(with(createApp))),
		lists(path, operatorRead, "The apps of the platform", install.View{}, own(listInstalls)),
		get(one, operatorRead, "An app of the platform", install.View{}, own(getInstall)),
		change(http.MethodPatch, one, operatorAdmin, "Change settings or add missing secrets", patchApp{}, install.View{}, own(with(updateApp))),
		act(one+"/activate", operatorAdmin, "Let the messages of all its organisations through", nil, install.View{}, own(bare(activateInstall))),
		act(one+"/suspend", operatorAdmin, "Stop all its organisations until resumed", nil, install.View{}, own(bare(suspendInstall))),
		act(one+"/resume", operatorAdmin, "Undo suspend", nil, install.View{}, own(bare(resumeInstall))),
		act(one+"/revoke", operatorAdmin, "End for good, for all its organisations", nil, install.View{}, own(bare(revokeInstall))),
		act(one+"/rotate", operatorAdmin, "Replace a secret; the old value is accepted until retire_at, default 24 hours", rotateSecret{}, install.View{}, own(with(rotateInstall))),
		act(one+"/rotate/finish", operatorAdmin, "Stop accepting the old value now", finishRotation{}, install.View{}, own(with(finishInstallRotation))),
		lists(one+"/deliveries", operatorRead, "What arrived for tenants that no organisation has installed, newest first", session.Delivery{}, own(listAppDeliveries)),
	}
}

type newApp struct {
	Provider string                  `json:"provider" api:"required"`
	Label    string                  `json:"label"`
	Secrets  map[string]secretValues `json:"secrets"`
	Config   webhook.Config          `json:"config"`
}

func createApp(c *call, b newApp) (any, error) {
	return c.install(c.Installs.CreateApp(c, c.op, install.New{ID: c.NewID(c.req.Now), Provider: b.Provider, Label: b.Label, Config: b.Config, Secrets: secretsIn(b.Secrets)}))
}

// patchApp has no policy: that is its installs'.
type patchApp struct {
	Label     *string                 `json:"label"`
	PublicURL *string                 `json:"public_url"`
	Secrets   map[string]secretValues `json:"secrets"`
	Config    webhook.Config          `json:"config"`
}

func updateApp(c *call, b patchApp) (any, error) {
	return updateInstall(c, patchInstall{Label: b.Label, PublicURL: b.PublicURL, Secrets: b.Secrets, Config: b.Config})
}

func listAppDeliveries(c *call) (any, error) {
	query := url.Values{"install": {c.params["id"]}}
	for _, name := range []string{"cursor", "limit"} {
		if v := c.req.Query.Get(name); v != "" {
			query.Set(name, v)
		}
	}
	c.req.Query = query
	return listDeliveries(c)
}
