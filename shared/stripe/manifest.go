package stripe

import (
	"time"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Names of the vendor's credential and of its fields.
const (
	ID            = string(taxonomy.ProfileStripe)
	APIKey        = "api_key"
	WebhookSecret = "webhook_secret"
)

// RollOverlap is how long Stripe signs with both secrets when one is rolled with
// the longest delay it offers (docs.stripe.com/webhooks, "Roll endpoint signing
// secrets", 2026-11-22).
const RollOverlap = 24 * time.Hour

// Manifest declares what the vault keeps of the platform's access to Stripe. A
// restricted key will do: checkout sessions, customer portal and payment intents
// to write.
func Manifest() credential.Manifest {
	return credential.Manifest{Kind: credential.Payment, ID: ID, Title: "Stripe", Fields: []credential.FieldSpec{
		{Field: APIKey, Label: "Secret or restricted API key", Class: taxonomy.Payment, Hint: credential.Last4, Required: true},
		{Field: WebhookSecret, Label: "Signing secret of the webhook endpoint", Class: taxonomy.Payment, Overlap: RollOverlap, Required: true},
	}}
}
