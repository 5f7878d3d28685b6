// Package stripe speaks with Stripe: it opens checkouts and customer portals,
// verifies what Stripe sends and says it in the words of package topup.
//
// [Signature] is the verification; it runs on the raw bytes before [Parse].
// Unlike the vendor's SDK (stripe-go v86.1.0, its source read and its tests'
// helper run 2026-11-22) it refuses an empty secret, bounds the clock in both
// directions, and refuses a header with two times or with a damaged signature.
// The SDK is used in tests only, as the other side: its types are what [Parse]
// is held to, its signatures what [Signature] accepts, its client what the fake
// of scripts/internal/fakestripe answers.
//
// What [Parse] reads is a dozen fields of five objects; an absent or mistyped one
// of those refuses the message, unknown ones are Stripe's to add. Secrets go to
// [Client] as secret.Text and leave it in one header only. No error carries
// Stripe's text.
package stripe

import (
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Host is the only host that the key may be sent to; Base is its API.
const (
	Host = "api.stripe.com"
	Base = "https://" + Host
)

// apiVersion fixes the shapes of answers (stripe-go v86.1.0's own, 2026-11-22).
// Those of webhook messages follow from the endpoint's settings; the fields that
// are read here have not changed since 2022-11-15.
const apiVersion = "2026-06-24.dahlia"

// topUpKey names our id in Stripe's metadata.
const topUpKey = "latchkey_topup"

// MaxBody bounds a webhook message.
const MaxBody = 256 << 10

// Tolerance is Stripe's documented one; it is applied in both directions.
const Tolerance = 5 * time.Minute

// Signature is how Stripe signs webhook messages: its row of package profiles, as
// one that can sign, too.
func Signature() webhook.HMACList {
	return webhook.HMACList{Profile: string(taxonomy.ProfileStripe), Header: "Stripe-Signature", Version: "v1", Tolerance: Tolerance}
}
