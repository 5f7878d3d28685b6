package boot

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey/latchkey/shared/billing"
	channels "github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey"
)

// Providers lists the providers that have an adapter.
func Providers() []taxonomy.Provider {
	var out []taxonomy.Provider
	for _, e := range catalog.Entries() {
		if e.Served() {
			out = append(out, e.ID)
		}
	}
	return out
}

// Fields gathers what all providers, channels, integrations and the payment
// vendor declare.
func Fields() (*credential.Registry, error) {
	return credential.New(append(append(catalog.Manifests(), channels.Manifests()...), credential.Integrations(), stripe.Manifest(), credential.HTTPTools())...)
}

// Vault opens the vault. Every use of a credential is logged, without values.
func (e *Env) Vault(db *dynamo.DB) (*vault.Vault, error) {
	open, err := e.Vaults()
	if err != nil {
		return nil, err
	}
	return open(dynamo.NewVault(db))
}

// Vaults opens vaults over stores, all with one client of the key service.
func (e *Env) Vaults() (func(vault.Store) (*vault.Vault, error), error) {
	keys, err := kmskey.New(kmskey.Options{Client: kms.NewFromConfig(e.AWS), KeyARNs: e.Config.VaultKeyARNs, MACKeyARN: e.Config.MACKeyARN})
	if err != nil {
		return nil, err
	}
	fields, err := Fields()
	if err != nil {
		return nil, err
	}
	return func(store vault.Store) (*vault.Vault, error) {
		return vault.New(vault.Options{
			Store: store, KEK: keys, Fields: fields, Now: e.Clock.Now, App: topology.App, Stage: e.Config.Stage, Rand: Rand(),
			OnUse: e.logUse, OnReveal: e.Secrets.Add,
		})
	}, nil
}

// logUse writes one line for every attempt to open a field, cache hits included:
// those are in no log of the key service. request_id is the invocation's, which
// its other lines and the platform's carry as requestId.
func (e *Env) logUse(ctx context.Context, ev vault.Event) {
	id, outcome := "", "ok"
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	}
	if ev.Outcome != "" {
		outcome = string(ev.Outcome)
	}
	e.Log.InfoContext(ctx, "vault.use", "org", ev.Ref.Org, "credential", ev.Ref.ID, "class", string(ev.Ref.Class), "version", ev.Version,
		"field", ev.Field, "purpose", ev.Purpose, "function", e.Function, "request_id", id, "cache", ev.Cache, "outcome", outcome,
		"latency_us", ev.Latency.Microseconds())
}

// Egress builds the clients that may reach the outside.
func (e *Env) Egress() (*egress.Egress, error) {
	return egress.New(egress.Options{Allow: e.Config.EndpointAllow, Mask: e.Secrets.String})
}

// Gateway puts together what makes metered calls. classes are the credential
// classes that the function may open.
func (e *Env) Gateway(timeout time.Duration, classes ...taxonomy.CredentialClass) (*gateway.Gateway, error) {
	db, err := e.DB()
	if err != nil {
		return nil, err
	}
	v, err := e.Vault(db)
	if err != nil {
		return nil, err
	}
	out, err := e.Egress()
	if err != nil {
		return nil, err
	}
	entries := catalog.Entries()
	return gateway.New(gateway.Options{
		Store: db.Gateway(), Vault: v, Ledger: credit.New(db.Ledger(), credit.Options{}), Prices: billing.NewPrices(db.Prices()),
		Replays:  db.Ledger(),
		Limits:   db.Ledger(),
		Offers:   db.Connections(),
		Cooldown: db.Connections(), Providers: entries, Client: clients(out, entries), Platform: e.Config.Platform,
		Classes: classes, Timeout: timeout, NewID: NewID, Trace: e.Trace,
		OnUnrecorded: func(org, request string, attempt int, code fault.Code) {
			e.Log.Error("usage not recorded", "org", org, "request", request, "attempt", attempt, "code", string(code))
		},
		OnRotationSuspect: func(org, request, connection string, code fault.Code) {
			e.Log.Warn("rotation_suspect", "org", org, "request", request, "connection", connection, "code", string(code))
		},
	})
}

// Prober makes what asks vendors about keys. It opens none by itself.
func (e *Env) Prober() (*probe.Runner, error) {
	out, err := e.Egress()
	if err != nil {
		return nil, err
	}
	entries := catalog.Entries()
	return &probe.Runner{Entries: entries, Client: clients(out, entries), Now: e.Clock.Now}, nil
}

// clients makes one client per provider, once.
func clients(out *egress.Egress, entries []providers.Entry) func(*providers.Entry) *http.Client {
	byID := make(map[taxonomy.Provider]*http.Client, len(entries))
	for i := range entries {
		if entries[i].Tenant() {
			byID[entries[i].ID] = out.Tenant()
		} else {
			byID[entries[i].ID] = out.Vendor(entries[i].Hosts...)
		}
	}
	return func(e *providers.Entry) *http.Client { return byID[e.ID] }
}
