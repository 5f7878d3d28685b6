// Command billing sells credits: it opens checkouts and portals of the payment
// vendor for the admin API, and turns the vendor's verified messages into grants
// and corrections. It alone opens the platform's access to that vendor, and nothing
// else of the vault.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/boot/adminhttp"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/topup"
)

func main() {
	env, _, err := boot.Open(context.Background(), topology.Billing)
	if err != nil {
		boot.Exit(err)
	}
	h, err := wire(env)
	if err != nil {
		boot.Exit(err)
	}
	boot.Start(env, h.Handle)
}

// consolePath is where the vendor sends a customer back to.
const consolePath = "/console/billing"

func wire(env *boot.Env) (*Handler, error) {
	db, err := env.DB()
	if err != nil {
		return nil, err
	}
	out, err := env.Egress()
	if err != nil {
		return nil, err
	}
	keys, err := env.Vault(db)
	if err != nil {
		return nil, err
	}
	pay := env.Config.Payments
	open := payment.Opener{Vault: keys, Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}}
	if pay.VaultRef != "" {
		open.Ref = payment.RefOf(pay.VaultRef, stripe.ID)
	}
	client := &stripe.Client{HTTP: out.Vendor(stripe.Host), Base: stripe.Base, Key: open.Key}
	if pay.APIBase != "" {
		client.Base = pay.APIBase
	}
	ledger := credit.New(db.Ledger(), credit.Options{})
	sales := &topup.Service{Store: db.TopUps(), Payers: db.TopUps(), Ledger: ledger, Vendor: client, Terms: terms{db.Orgs(), db.Orgs(), db.Commercial()}.Of, NewID: boot.NewID,
		ReturnURL: env.Config.PublicURL + consolePath}
	orders := &topup.Replenisher{Sales: sales, Store: db.TopUps(), Balances: ledger, Charger: client, Stage: env.Config.Stage}
	api := admin.NewBilling(admin.Services{
		Orgs:  &org.Service{Orgs: db.Orgs(), Keys: db.Keys(), Config: db.Orgs(), Ledger: ledger, Random: boot.Rand()},
		Audit: db.Audit(), Payments: sales, Replenish: orders, NewID: boot.NewID, OnError: adminhttp.LogError(env.Log), Redact: env.Secrets,
	})
	return &Handler{API: api, Orders: orders, Sales: sales, Secrets: open, Clock: env.Clock, Log: env.Log}, nil
}
