package billing

import (
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Rules, in the order in which they are tried. The value is stored and shown in
// the x-latchkey-billing-rule header.
const (
	RuleOrgInactive      = "P0"
	RuleForcedDisallowed = "P1"
	RulePrivate          = "P2"
	RuleBYOKRequired     = "P3"
	RuleBYOKUnavailable  = "P4"
	RuleBYOKPreferred    = "P5"
	RulePlatformFallback = "P6"
	RulePlatform         = "P7"
	RuleSharedPlatform   = "P7a"
	RuleFundsRefused     = "P8"
	RuleDenied           = "P9"
	RulePlatformAction   = "PA"
	RuleSharedAction     = "PAa"
)

// Reasons of a decision.
const (
	ReasonPlatformMetered      = "llm_platform_metered"
	ReasonPlatformShared       = "llm_platform_shared_by_agency"
	ReasonBYOKUnmetered        = "llm_byok_unmetered"
	ReasonPrivateUnmetered     = "llm_private_unmetered"
	ReasonActionMetered        = "platform_action_metered"
	ReasonActionForcedPlatform = "platform_action_forced_platform"

	ReasonOrgInactive        = "org_not_active"
	ReasonForcedUnknown      = "forced_source_unknown"
	ReasonForcedByPreference = "forced_source_excluded_by_preference"
	ReasonTierWithoutBYOK    = "tier_without_byok"
	ReasonOtherSourceForced  = "other_source_forced"
	ReasonNoConnection       = "connection_missing"
	ReasonConnectionUnusable = "connection_unusable"
	ReasonPlatformExcluded   = "platform_excluded_by_preference"
	ReasonOwnKeyExcluded     = "own_key_excluded_by_preference"
	ReasonFallbackNotAllowed = "platform_fallback_not_allowed"
	ReasonFundsRefused       = "funds_refused"
	ReasonPreferenceUnknown  = "preference_unknown"
	ReasonCandidateUnknown   = "candidate_source_unknown"
)

// Decision is the outcome for one candidate.
type Decision struct {
	// Source is who pays; empty if not allowed.
	Source  taxonomy.BillingSource
	Rule    string
	Reason  string
	Allowed bool
	// Code is what the client is told if no other candidate serves it.
	Code fault.Code
	// Shared says that the agency's credits pay, not the organisation's own.
	Shared bool
	// FallbackToPlatform says that, should this candidate fail or be unusable,
	// a platform candidate may be tried after a new decision and a new hold.
	FallbackToPlatform bool
	// Fee is what a call on the organisation's own means costs; zero where it costs
	// nothing, and always for the platform's.
	Fee Fee
}

// Metered reports whether credits are held and charged.
func (d Decision) Metered() bool { return d.Allowed && d.Source == taxonomy.Platform }

// Decide says who pays for a candidate, or why it may not be used. It is a pure
// function: the first row of the [PolicyVersion]'s table that matches decides.
// It never turns a candidate into one of another source: an unusable byok
// candidate is denied, and only the platform candidate that follows can be
// decided as a fallback.
func Decide(in Inputs) Decision { return policy.decide(in) }

// Fault returns the error that a denied decision stands for, nil if allowed.
func (d Decision) Fault() error {
	if d.Allowed {
		return nil
	}
	return fault.New(d.Code, "billing.Decide", denialText(d.Reason))
}

func denialText(reason string) string {
	switch reason {
	case ReasonOrgInactive:
		return "this organisation is not active, contact the operator"
	case ReasonForcedUnknown:
		return "the billing source must be platform, byok or private"
	case ReasonForcedByPreference, ReasonOwnKeyExcluded, ReasonPlatformExcluded:
		return "the organisation's billing preference excludes this billing source, change the preference or the request"
	case ReasonTierWithoutBYOK:
		return "this tier does not include own keys, they come with the agency and enterprise tiers"
	case ReasonOtherSourceForced:
		return "no candidate has the billing source that the request demands"
	case ReasonNoConnection:
		return "there is no connection for this provider, add one or allow platform credits"
	case ReasonConnectionUnusable:
		return "the organisation's connection for this provider cannot be used, test it and replace its key"
	case ReasonFallbackNotAllowed:
		return "the organisation's connection does not allow a fallback to platform credits"
	case ReasonFundsRefused:
		return "not enough credits for this request, add credits"
	}
	return "the organisation's billing settings do not allow this request"
}
