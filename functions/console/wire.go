package main

import (
	"context"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/boot/adminhttp"
	"github.com/latchkey/latchkey/shared/boot/invoker"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/providers"
	vendors "github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/usage"
)

// wire builds the handler over the deployed stores.
func wire(env *boot.Env, timeout time.Duration) (*Handler, error) {
	db, err := env.DB()
	if err != nil {
		return nil, err
	}
	seal, err := env.Vaults()
	if err != nil {
		return nil, err
	}
	keys, err := seal(dynamo.NewVault(db))
	if err != nil {
		return nil, err
	}
	out, err := env.Egress()
	if err != nil {
		return nil, err
	}
	prober, err := env.Prober()
	if err != nil {
		return nil, err
	}
	fields, err := boot.Fields()
	if err != nil {
		return nil, err
	}
	ledger := credit.New(db.Ledger(), credit.Options{})
	agents := db.Agents()
	functions := invoker.Open(env)
	// It plans only: this function may not open a key.
	routes, err := env.Gateway(timeout, taxonomy.AIKey, taxonomy.VoiceKey)
	if err != nil {
		return nil, err
	}
	stages := rolledOut(db, env.Log)
	orgs, installs := db.Orgs(), &install.Service{Store: db.Installs(), Bindings: db.Installs(), Vault: keys, Index: keys,
		Catalog: catalog.New(catalog.Entries()), Agents: agents, PublicURL: env.Config.PublicURL, Stages: stages}
	_, base := env.ChannelAPI(out)
	pages := &consent.Service{Store: db.Consents(), Installs: installs, Orgs: orgs, Trader: consent.Remote{Invoker: functions, Mask: env.Secrets.Add}, Rows: db.Audit(),
		Hasher: keys, Catalog: installs.Catalog, Base: base, PublicURL: env.Config.PublicURL, Random: boot.Rand(), NewID: boot.NewID, Mask: env.Secrets.Add}
	api := admin.New(admin.Services{
		Orgs: &org.Service{Orgs: orgs, Keys: db.Keys(), Config: orgs, Ledger: ledger, Sharing: orgs, Random: boot.Rand()},
		Connections: &connection.Service{Store: db.Connections(), Vault: keys, Drains: keys, Limits: db.Connections(),
			Keys: prober, Prober: probe.Remote{Invoker: invoker.Open(env)},
			Providers: connectable(vendors.Entries(), out, env.Config.EndpointAllow)},
		Agents:    &agent.Service{Store: agents},
		Tools:     &tool.Service{Store: db.Tools(), Vault: keys, CheckURL: out.CheckTenantURL, NewID: boot.NewID},
		Approvals: &approval.Service{Store: db.Approvals(), Queue: env.TurnQueue()},
		Handoffs:  &handoff.Service{Store: db.Sessions(), Queue: env.TurnQueue(), Agents: agents, Stage: env.Config.Stage},
		Installs:  installs, Consent: pages,
		Integrations: &integration.Service{Store: db.Integrations(), Seal: seal, Hash: keys, NewID: boot.NewID},
		Sessions:     db.Sessions(), Audit: db.Audit(), Credits: ledger, Ledger: ledger, Books: ledger, Alerts: db.Alerts(), Commercial: &commercial.Service{Store: db.Commercial(), Allowance: ledger}, Rebuild: &usage.Rebuilder{Store: db.Ledger(), Journal: db.Ledger()}, Prices: db.Prices(),
		LegacyTokens: &legacytokens.Service{Store: db.Legacy(), Balances: ledger, Usage: db.Ledger()},
		Rollout:      stages,
		Rotations: &rotation.Service{Store: db.Rotations(), Keys: keys, Wake: func(ctx context.Context) error {
			return functions.InvokeAsync(ctx, topology.Rotate, rotateEvent(env.Clock.Now()))
		}},
		PaymentKeys: &payment.Keeper{Vault: keys, Ref: payment.RefOf(payment.Reference(stripe.ID), stripe.ID), Label: "payments", Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}, Overlap: stripe.RollOverlap},
		Offers:      db.Connections(), Models: supply(env.Config.Platform),
		Routes: routes, Fields: fields, NewID: boot.NewID, OnError: adminhttp.LogError(env.Log), Redact: env.Secrets,
	})
	return &Handler{API: api, Consent: pages, Clock: env.Clock, Log: env.Log}, nil
}

// rolledOut keeps the stages. A matrix that cannot be judged promotes nothing; what
// is on by a stored stage is then for its canary only.
func rolledOut(db *dynamo.DB, log *slog.Logger) *rollout.Service {
	matrix, err := rollout.Stored()
	if err != nil {
		log.Error("the security matrix of this build cannot be judged", "error", err.Error())
	}
	s := &rollout.Service{Store: db.Rollouts(), Matrix: matrix, Orgs: db.Orgs(), Proof: rollout.Evidence{Connections: db.Connections(), Counters: db.Legacy()}}
	for _, e := range catalog.Entries() {
		s.Channels = append(s.Channels, e.ID)
	}
	return s
}

// supply says which providers this build serves, and which of them the platform
// offers.
func supply(platform map[taxonomy.Provider]config.PlatformCredential) admin.ModelSupply {
	s := admin.ModelSupply{Served: boot.Providers()}
	for _, p := range s.Served {
		if _, ok := platform[p]; ok {
			s.Platform = append(s.Platform, p)
		}
	}
	return s
}

// rotateEvent tells the worker the platform's time.
func rotateEvent(now time.Time) []byte {
	return []byte(`{"at":"` + now.UTC().Format(time.RFC3339Nano) + `"}`)
}

// connectable describes the built-in vendors to the rules for connections. allow
// are host:port pairs that the local stage opens.
func connectable(entries []providers.Entry, out *egress.Egress, allow []string) []connection.Provider {
	list := make([]connection.Provider, len(entries))
	for i, e := range entries {
		list[i] = connection.Provider{
			ID: e.ID, DefaultBaseURL: e.DefaultBaseURL, Capabilities: e.Capabilities, KeyRequired: e.KeyRequired,
			VoiceOnly: e.Class() == taxonomy.VoiceKey, DefaultBilling: e.DefaultBilling, CheckKey: e.Key.Check,
			Hosts: e.Hosts, Prefix: e.Key.Prefix, Probes: probe.Offered(&e),
			CheckURL: func(raw string) error { return checkURL(e, out, allow, raw) },
		}
	}
	return list
}

// checkURL lets a key go to the vendor's own hosts only, or for an endpoint of
// the tenant's to any public one.
func checkURL(e providers.Entry, out *egress.Egress, allow []string, raw string) error {
	if _, err := out.CheckTenantURL(raw); err != nil || e.Tenant() {
		return err
	}
	u, err := url.Parse(raw)
	if err == nil && (slices.Contains(e.Hosts, u.Hostname()) || slices.Contains(allow, u.Host)) {
		return nil
	}
	return fault.New(fault.InvalidRequest, "console.checkURL",
		"this vendor's key may only go to the vendor's own address; leave base_url out, or connect your endpoint as an OpenAI-compatible one").WithParam("base_url")
}
