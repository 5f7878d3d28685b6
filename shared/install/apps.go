package install

import (
	"context"
	"maps"
	"strings"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// CreateApp makes the record of an app of the platform, whose id begins with
// [AppPrefix]. It is changed by the other methods as an install of [org.Operator].
// Errors: invalid_request, conflict if a live record holds the vendor's app,
// vault_unavailable.
func (s *Service) CreateApp(ctx context.Context, op audit.Op, n New) (Install, error) {
	entry, ok := s.Catalog.Find(taxonomy.Channel(n.Provider))
	if !ok || entry.Shared == nil {
		return Install{}, invalid("provider", "this provider has no apps that serve many organisations here")
	}
	if n.ID = AppPrefix + n.ID; n.Mode != "" && n.Mode != string(App) {
		return Install{}, invalid("mode", "an app of the platform has no other mode than app")
	}
	i := Install{ID: n.ID, Org: org.Operator, Provider: entry.ID, Mode: App}
	return s.create(ctx, op, i, Declared(i, entry), n)
}

// ofPlatform prepares an install of the platform's app: the app's own settings are
// the app's, whatever was stated.
func (s *Service) ofPlatform(ctx context.Context, i Install, entry channel.Entry, n New) (Install, webhook.Config, error) {
	if !n.Vouched {
		return i, nil, fault.New(fault.BillingDenied, "install", "an install of the platform's app is made by the vendor's authorisation page or by the operator").WithParam("mode")
	}
	missing := invalid("app", "there is no such app of the platform for this provider")
	if entry.Shared == nil || !strings.HasPrefix(n.App, AppPrefix) {
		return i, nil, missing
	}
	app, _, err := s.Store.Install(ctx, n.App)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return i, nil, missing
	case err != nil:
		return i, nil, err
	case app.Mode != App || app.Provider != entry.ID || app.Org != org.Operator || app.State == Revoked:
		return i, nil, missing
	case app.State == Draft:
		// What a tenant would hold a copy of may be missing.
		return i, nil, invalid("app", "this app of the platform is a draft; give it its secrets and settings first")
	}
	i.Mode, i.App = Platform, app.ID
	config := webhook.Config{}
	maps.Copy(config, n.Config)
	for _, name := range entry.Common() {
		config[name] = app.Config[name]
	}
	return i, config, nil
}
