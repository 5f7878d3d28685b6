// Command console is the admin API: organisations, keys, connections, agents,
// installs, credits, prices. It writes credentials and cannot open them.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, f, err := boot.Open(context.Background(), topology.Console)
	if err != nil {
		boot.Exit(err)
	}
	h, err := wire(env, f.Timeout)
	if err != nil {
		boot.Exit(err)
	}
	boot.Start(env, h.Handle)
}
