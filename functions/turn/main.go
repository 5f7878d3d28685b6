// Command turn runs one agent turn per queued message: history, model call,
// reply on the channel.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	h, err := wire(context.Background())
	if err != nil {
		boot.Exit(err)
	}
	lambda.Start(h.Handle)
}

func wire(ctx context.Context) (*Handler, error) {
	env, f, err := boot.Open(ctx, topology.Turn)
	if err != nil {
		return nil, err
	}
	g, err := env.Gateway(f.Timeout, taxonomy.AIKey)
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
	out, err := env.Egress()
	if err != nil {
		return nil, err
	}
	client, base := env.ChannelAPI(out)
	channels := catalog.New(catalog.Entries())
	runner := turn.New(turn.Deps{
		Installs: db.Installs(), Revoker: &install.Service{Store: db.Installs(), Bindings: db.Installs(), Catalog: channels},
		Agents: db.Agents(), Turns: db.Sessions(), Transcript: db.Sessions(), Model: metered{gateway: g, now: env.Clock.Now},
		Secrets: install.Opener{Vault: secrets, Purpose: topology.Turn}, Catalog: channels,
		HTTP: client, BaseURL: base, Recorder: auditLog{env.Log}, Now: env.Clock.Now,
	})
	return &Handler{Turns: runner, Visibility: env.TurnQueue(), Clock: env.Clock, Log: env.Log}, nil
}
