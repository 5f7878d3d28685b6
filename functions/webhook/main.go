// Command webhook takes the requests of channel vendors: it finds the install,
// verifies the raw bytes with its secret, and queues what is new.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Webhook)
	if err != nil {
		boot.Exit(err)
	}
	h, err := wire(env)
	if err != nil {
		boot.Exit(err)
	}
	boot.Start(env, h.Handle)
}

func wire(env *boot.Env) (*Handler, error) {
	db, err := env.DB()
	if err != nil {
		return nil, err
	}
	secrets, err := env.Vault(db)
	if err != nil {
		return nil, err
	}
	out, err := env.Egress()
	if err != nil {
		return nil, err
	}
	return &Handler{Clock: env.Clock, Log: env.Log, Ingest: ingest.New(ingest.Deps{
		Installs: db.Installs(), Secrets: install.Opener{Vault: secrets, Purpose: topology.Webhook}, Keys: env.ChannelKeys(out),
		Catalog: catalog.New(catalog.Entries()), Dedupe: db.Sessions(), People: session.People{Store: db.Sessions()}, Queue: env.TurnQueue(), Recorder: auditLog{env.Log}, Claims: db.Consents(),
		Shown: db.Sessions(),
	})}, nil
}
