// Command sweep ends what was abandoned: overdue holds, and usage that the
// stream lost. It runs every minute.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/credit"
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
	h := &Handler{Ledger: credit.New(db.Ledger(), credit.Options{}), Log: env.Log}
	boot.Start(env, h.Handle)
}
