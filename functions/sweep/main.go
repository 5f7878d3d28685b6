// Command sweep ends what was abandoned: overdue holds, and usage that the
// stream lost; and hands over the connections whose keys are due to be checked. It
// runs every minute.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/boot/invoker"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Sweep)
	if err != nil {
		boot.Exit(err)
	}
	db, err := env.DB()
	if err != nil {
		boot.Exit(err)
	}
	h := &Handler{Ledger: credit.New(db.Ledger(), credit.Options{}), Log: env.Log,
		Probes: probe.Dispatcher{Queue: db.Connections(), Invoker: invoker.Open(env)}}
	boot.Start(env, h.Handle)
}
