// Command settle turns the ledger's stream into entries, balances and usage
// rows. It is the only function, besides sweep, that moves balances.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/boot/bus"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Settle)
	if err != nil {
		boot.Exit(err)
	}
	db, err := env.DB()
	if err != nil {
		boot.Exit(err)
	}
	ledger := db.Ledger()
	feed := &Feed{Alerts: &alert.Watch{Store: db.Alerts(), Accounts: ledger, Stage: env.Config.Stage},
		Outbox: &outbox.Outbox{Bus: bus.Open(env), Store: db.Outbox()}, Stage: env.Config.Stage, Log: env.Log}
	h := &Handler{Feed: feed, Ledger: credit.New(ledger, credit.Options{}), Decode: dynamo.DecodeChange, Now: env.Clock.Now, Log: env.Log}
	boot.Start(env, h.Handle)
}
