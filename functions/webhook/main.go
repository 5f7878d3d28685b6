// Command webhook takes the requests of channel vendors: it finds the install,
// verifies the raw bytes with its secret, and queues what is new.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

func main() {
	h, err := wire(context.Background())
	if err != nil {
		boot.Exit(err)
	}
	lambda.Start(h.Handle)
}

func wire(ctx context.Context) (*Handler, error) {
	env, _, err := boot.Open(ctx, topology.Webhook)
	if err != nil {
		return nil, err
	}
	db, err := env.DB()
	if err != nil {
		return nil, err
	}
	secrets, err := env.Vault(db)
	if err != nil {
		return nil, err
	}
	return &Handler{Clock: env.Clock, Log: env.Log, Ingest: ingest.New(ingest.Deps{
		Installs: db.Installs(), Secrets: install.Opener{Vault: secrets, Purpose: topology.Webhook},
		Catalog: catalog.New(catalog.Entries()), Dedupe: db.Sessions(), Queue: env.TurnQueue(), Recorder: auditLog{env.Log},
	})}, nil
}
