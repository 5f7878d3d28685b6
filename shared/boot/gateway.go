package boot

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/catalog"
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

// Vault opens the vault. Every use of a credential is logged, without values.
func (e *Env) Vault(db *dynamo.DB) (*vault.Vault, error) {
	keys, err := kmskey.New(kmskey.Options{Client: kms.NewFromConfig(e.AWS), KeyARN: e.Config.VaultKeyARN, MACKeyARN: e.Config.MACKeyARN})
	if err != nil {
		return nil, err
	}
	return vault.New(vault.Options{
		Store: dynamo.NewVault(db), KEK: keys, Now: e.Clock.Now, App: topology.App, Stage: e.Config.Stage, Rand: Rand(),
		OnUse: func(ev vault.Event) {
			e.Log.Info("vault.use", "org", ev.Ref.Org, "credential", ev.Ref.ID, "class", string(ev.Ref.Class), "version", ev.Version,
				"field", ev.Field, "purpose", ev.Purpose, "cache", ev.Cache, "outcome", string(ev.Outcome))
		},
	})
}

// Egress builds the clients that may reach the outside.
func (e *Env) Egress() (*egress.Egress, error) {
	return egress.New(egress.Options{Allow: e.Config.EndpointAllow})
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
		Cooldown: db.Connections(), Providers: entries, Client: clients(out, entries), Platform: e.Config.Platform,
		Classes: classes, Timeout: timeout, NewID: NewID, Trace: e.Trace,
		OnUnrecorded: func(org, request string, attempt int, code fault.Code) {
			e.Log.Error("usage not recorded", "org", org, "request", request, "attempt", attempt, "code", string(code))
		},
	})
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
