// Command sweep ends what was abandoned: overdue holds, usage that the stream lost,
// vault jobs whose worker is gone, and legacy token counters that are drained; and
// hands over the connections whose keys are due to be checked. It runs every minute.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/boot/bus"
	"github.com/latchkey/latchkey/shared/boot/invoker"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/topup"
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
	functions := invoker.Open(env)
	rotations := &Rotations{Store: db.Rotations(), Log: env.Log, Start: func(ctx context.Context, event []byte) error {
		return functions.InvokeAsync(ctx, topology.Rotate, event)
	}}
	orders := &topup.Dispatcher{Queue: db.TopUps(), Log: env.Log, Start: func(ctx context.Context, event []byte) error {
		return functions.InvokeAsync(ctx, topology.Billing, event)
	}}
	store, events := db.Ledger(), &outbox.Outbox{Bus: bus.Open(env), Store: db.Outbox()}
	missed := &Missed{Alerts: &alert.Watch{Store: db.Alerts(), Accounts: store, Stage: env.Config.Stage}, Outbox: events, Stage: env.Config.Stage}
	ledger := credit.New(store, credit.Options{Tell: missed.Tell})
	drains := legacytokens.Finisher{Service: &legacytokens.Service{Store: db.Legacy(), Balances: ledger, Usage: store},
		Drains: db.Legacy(), Actor: "function:" + topology.Sweep, NewID: boot.NewID}
	h := &Handler{Ledger: ledger, Drains: drains, Rotations: rotations, Replenish: orders, Stage: env.Config.Stage, Log: env.Log,
		Events:    events,
		Approvals: &approval.Service{Store: db.Approvals(), Queue: env.TurnQueue()},
		Probes:    probe.Dispatcher{Queue: db.Connections(), Invoker: functions}}
	boot.Start(env, h.Handle)
}
