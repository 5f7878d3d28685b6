package channel

import (
	"slices"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Shared is what a vendor's app with many tenants needs beside its [Entry].
type Shared struct {
	// Settings are the names of the settings that are the app's own; all others are
	// a tenant's. Tenants hold a copy of those that do not rotate.
	Settings []string
	// Required are those of Settings that an app of the platform must have although an
	// app of one's own need not: tenants hold a copy, so they cannot be added later.
	Required []string
	// Sends says that the vendor's app sends everywhere with one secret, which the
	// app holds for its tenants; otherwise each tenant holds one of its own.
	Sends bool
	// Locate gives the tenant that a verified request is about, as Entry.Tenant
	// names it; "" if it names none.
	Locate func(Identity) string
	// Consent is the vendor's authorisation page, Claim how a conversation is claimed
	// in itself; neither: tenants are added by the operator.
	Consent *Consent
	Claim   *Claim
	// Tenants are settings that name a tenant where those of an app of one's own do
	// not: all are required, and compared with every request. TenantOf is what they
	// claim; nil where Entry.Tenant says it.
	Tenants  []ConfigField
	TenantOf func(webhook.Config) string
}

// Claim is how a conversation becomes a tenant: somebody says a state there, in a
// request that the app's secrets verify ([Inbound].Claim).
type Claim struct {
	// Ready reports whether an app has what the addresses need.
	Ready func(app webhook.Config) bool
	// Links are the addresses at which the vendor's own client says the state: in a
	// conversation with one person, and in a room.
	Links func(app webhook.Config, state string) (direct, room string)
}

// rotates reports whether a setting verifies requests and is replaced like a secret.
func (e Entry) rotates(name string) bool {
	return slices.ContainsFunc(e.Config, func(f ConfigField) bool { return f.Name == name && f.Rotates })
}

// Common are the settings of an app that its tenants hold a copy of, so that they
// cannot change. What verifies is the app's alone.
func (e Entry) Common() []string {
	return slices.DeleteFunc(slices.Clone(e.Shared.Settings), e.rotates)
}

// AppSends reports whether the platform's app holds what sends for its tenants.
func (e Entry) AppSends() bool { return e.Shared != nil && e.Shared.Sends }

// OfApp is what the app itself holds of an entry: what verifies, what sends if that is
// the app's, what its vendor knows it by on the authorisation page, and its own
// settings. One live record may hold a given vendor app.
func (e Entry) OfApp() Entry {
	if e.Shared == nil {
		return e
	}
	mine := func(name string) bool { return slices.Contains(e.Shared.Settings, name) }
	whole := e
	e.Secrets = slices.DeleteFunc(slices.Clone(e.Secrets), func(f SecretField) bool {
		return f.Class != taxonomy.ChannelVerify && (f.Class != taxonomy.ChannelSend || !whole.AppSends())
	})
	e.Config = slices.DeleteFunc(slices.Clone(e.Config), func(f ConfigField) bool { return !mine(f.Name) })
	for k := range e.Config {
		e.Config[k].Required = e.Config[k].Required || slices.Contains(whole.Shared.Required, e.Config[k].Name)
	}
	e.Identity = slices.DeleteFunc(slices.Clone(e.Identity), func(group []string) bool { return !slices.ContainsFunc(group, mine) })
	if e.Tenant = nil; !e.AppSends() {
		e.Told = nil
	}
	if page := e.Shared.Consent; page != nil {
		e.Secrets = append(e.Secrets, page.Secret)
		e.Config = append(e.Config, page.Settings...)
	}
	if len(e.Identity) > 0 {
		e.Tenant = func(c webhook.Config) (app, tenant string) { app, _ = whole.Tenant(c); return app, "-" }
	}
	return e
}

// OfTenant is what a tenant of the platform's app holds of an entry: what sends,
// unless that is the app's, and all settings but those that verify. Its claim is on the
// record of the app, so that no other kind of install can stand in its way.
func (e Entry) OfTenant(app string) Entry {
	whole := e
	e.Secrets = slices.DeleteFunc(slices.Clone(e.Secrets), func(f SecretField) bool { return f.Class != taxonomy.ChannelSend || whole.AppSends() })
	if e.AppSends() {
		e.Told = nil
	}
	e.Config = slices.DeleteFunc(slices.Clone(e.Config), func(f ConfigField) bool { return f.Rotates })
	e.Tenant = func(c webhook.Config) (string, string) { _, tenant := whole.Tenant(c); return app, tenant }
	if whole.Shared == nil || whole.Shared.TenantOf == nil {
		return e
	}
	for _, f := range whole.Shared.Tenants {
		e.Config = append(e.Config, f)
		e.Identity = append(slices.Clone(e.Identity), []string{f.Name})
	}
	e.Tenant = func(c webhook.Config) (string, string) { return app, whole.Shared.TenantOf(c) }
	return e
}
