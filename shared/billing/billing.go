// Package billing decides who pays for a call and what it costs. It is pure: no
// clock, no randomness, no input or output besides its arguments.
//
// [Decide] maps a plain [Inputs] value to a [Decision] by a table, the policy of
// [PolicyVersion]: the first clause that matches decides. [Canonical] writes the
// inputs in one byte form and [Hash] names them; [Recompute] decides again from
// the stored bytes: they give the same decision and the same hash for ever.
// A [Book] is an immutable price list; [Cost] prices a [Usage] with it, exactly,
// in integers, rounding up once per request; [Estimate] sizes the hold that is
// taken before the call.
//
// The flow of one attempt: Decide, Estimate with the book's version pinned on
// the request, reserve (shared/credit), call the vendor, Cost with the same
// version. [Prices] keeps the active book at hand.
//
// A call on the organisation's own key or endpoint costs the [Fee] that the
// decision took from the commercial policy, 0 unless somebody set one.
//
// Limits: a tier of a row applies to the whole request, as the token vendors bill it; rates are
// whole pico-USD per unit, so a price has at most six decimals per million.
package billing

import "github.com/latchkey/latchkey/shared/taxonomy"

// Micro is an amount of credits in micro-credits: 1 credit = 1 USD = 1,000,000.
type Micro int64

// Preference is an organisation's billing preference.
type Preference string

// Preferences. The empty value reads as [BYOKPreferred]; any other unknown value
// denies every model call.
const (
	BYOKRequired  Preference = "byok_required"
	BYOKPreferred Preference = "byok_preferred"
	PlatformOnly  Preference = "platform_only"
)

// ParsePreference accepts exactly the three values.
func ParsePreference(s string) (Preference, bool) {
	switch p := Preference(s); p {
	case BYOKRequired, BYOKPreferred, PlatformOnly:
		return p, true
	}
	return "", false
}

// Connection is what a decision knows about the organisation's connection that
// serves the candidate: the candidate's own one, or, for a platform candidate,
// the one the organisation has for the same provider and model, if any.
type Connection struct {
	Exists bool
	// Usable says that it is enabled, its key is live and not known to be bad.
	Usable bool
	// AllowPlatformFallback is the connection's own permission.
	AllowPlatformFallback bool
	ID                    string
	Version               int64
	CredentialVersion     int64
}

// Inputs are everything a decision depends on, and nothing else. Versions and
// ids do not change the outcome; they tie the stored record to what was read.
type Inputs struct {
	Org           string
	RequestSource taxonomy.RequestSource
	// Candidate is the billing source of the candidate: platform for our own
	// key, otherwise the billing source of the connection.
	Candidate taxonomy.BillingSource
	// Forced is the source that the request demands, empty if none.
	Forced     taxonomy.BillingSource
	OrgActive  bool
	Tier       taxonomy.Tier
	TierBYOK   bool // the tier may use its own keys and endpoints
	Preference Preference
	// OrgAllowPlatformFallback is only an upper bound of the connection's.
	OrgAllowPlatformFallback bool
	Connection               Connection
	// FundsRefused says that a reserve of the organisation's own credits was just
	// refused.
	FundsRefused    bool
	Provider, Model string
	Agent           string
	SettingsVersion int64
	PriceVersion    string
	PolicyVersion   string
	Sharing         Sharing
	// Fees are the organisation's terms for its own keys and endpoints, zero for a
	// platform candidate; FreeUsed is how much of the month's allowance was counted
	// when the request began.
	Fees     Fees
	FreeUsed int64
}

// Sharing is what the organisation's agency lets it draw; the zero value is
// nothing.
type Sharing struct {
	// Mode is [SharedWhenEmpty] or [SharedAlways]; anything else is nothing.
	Mode string
	// Refused says that the agency's credits, or a cap, have just refused.
	Refused bool
	// Agency would pay; Version is that of its policy.
	Agency  string
	Version int64
}

// Modes of sharing: after the organisation's own credits, or before them.
const (
	SharedWhenEmpty = "shared_when_empty"
	SharedAlways    = "shared_always"
)
