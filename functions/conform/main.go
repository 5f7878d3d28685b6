// Command conform asks vendors about connections with their own keys: one probe
// for the console, or a batch of key checks for sweep. For the console it also
// trades the code of an authorisation page with the secret of the platform's app.
// It is invoked by these two only and has no address.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Conform)
	if err != nil {
		boot.Exit(err)
	}
	db, err := env.DB()
	if err != nil {
		boot.Exit(err)
	}
	keys, err := env.Vault(db)
	if err != nil {
		boot.Exit(err)
	}
	runner, err := env.Prober()
	if err != nil {
		boot.Exit(err)
	}
	out, err := env.Egress()
	if err != nil {
		boot.Exit(err)
	}
	client, base := env.ChannelAPI(out)
	h := &Handler{Counter: &consent.Counter{Vault: keys, Catalog: catalog.New(catalog.Entries()), HTTP: client, Base: base, Mask: env.Secrets.Add}, Station: &probe.Station{Runner: runner, Store: db.Connections(), Offers: db.Connections(), Vault: keys}, Clock: env.Clock, Log: env.Log}
	boot.Start(env, h.Handle)
}
