// Command rotate works on the jobs of the vault: it moves credentials to another
// key, gives them fresh data keys, opens them as a test. It is invoked by console
// when a job is created and by sweep while one is open; nobody else can call it.
package main

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Rotate)
	if err != nil {
		boot.Exit(err)
	}
	db, err := env.DB()
	if err != nil {
		boot.Exit(err)
	}
	seal, err := env.Vaults()
	if err != nil {
		boot.Exit(err)
	}
	keys, err := seal(dynamo.NewVault(db))
	if err != nil {
		boot.Exit(err)
	}
	integrations, err := opener.New(opener.Options{
		Store: db.Integrations(), Vault: keys, Seal: seal, LegacyKey: opener.KeyFromVault(keys), Now: env.Clock.Now, NewID: boot.NewID,
		Random: boot.Rand(), Actor: "function:" + topology.Rotate,
	})
	if err != nil {
		boot.Exit(err)
	}
	runner, err := rotation.NewRunner(rotation.Options{
		Store: db.Rotations(), Vault: keys, Pages: dynamo.NewVault(db), Now: env.Clock.Now, Sleep: sleep, NewID: boot.NewID,
		Imports: imports{integrations},
		OnEvent: logEvent(env.Log),
	})
	if err != nil {
		boot.Exit(err)
	}
	h := &Handler{Jobs: runner, Clock: env.Clock}
	boot.Start(env, h.Handle)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
