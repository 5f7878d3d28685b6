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
	RuleFundsRefused     = "P8"
	RuleDenied           = "P9"
	RulePlatformAction   = "PA"
)

// Reasons of a decision.
const (
	ReasonPlatformMetered      = "llm_platform_metered"
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
	// FallbackToPlatform says that, should this candidate fail or be unusable,
	// a platform candidate may be tried after a new decision and a new hold.
	FallbackToPlatform bool
}

// Metered reports whether credits are held and charged.
func (d Decision) Metered() bool { return d.Allowed && d.Source == taxonomy.Platform }

// Decide says who pays for a candidate, or why it may not be used. It is a pure
// function: first match of the rules P0 to P9. It never turns a candidate into
// one of another source: an unusable byok candidate is denied, and only the
// platform candidate that follows can be decided as a fallback.
func Decide(in Inputs) Decision {
	if !in.OrgActive {
		return deny(RuleOrgInactive, ReasonOrgInactive, fault.BillingDenied)
	}
	// Every source that is not a model call is the platform's own work.
	if in.RequestSource != taxonomy.LLM {
		return decideAction(in)
	}
	if d, denied := checkForced(in); denied {
		return d
	}
	switch in.Preference {
	case BYOKRequired, BYOKPreferred, PlatformOnly, "":
	default:
		return deny(RuleDenied, ReasonPreferenceUnknown, fault.BillingDenied)
	}
	switch in.Candidate {
	case taxonomy.Private, taxonomy.BYOK:
		return decideOwn(in)
	case taxonomy.Platform:
		return decidePlatform(in)
	}
	return deny(RuleDenied, ReasonCandidateUnknown, fault.BillingDenied)
}

func decideAction(in Inputs) Decision {
	if in.FundsRefused {
		return deny(RuleFundsRefused, ReasonFundsRefused, fault.InsufficientCredits)
	}
	reason := ReasonActionMetered
	if own(in.Forced) || own(in.Candidate) {
		reason = ReasonActionForcedPlatform
	}
	return Decision{Source: taxonomy.Platform, Rule: RulePlatformAction, Reason: reason, Allowed: true}
}

// checkForced is P1, and the part of P4 that concerns a forced source: what org
// or tier do not allow is billing_denied; what they allow but cannot serve is
// byok_unavailable; another candidate is never substituted.
func checkForced(in Inputs) (Decision, bool) {
	switch in.Forced {
	case "":
		return Decision{}, false
	case taxonomy.Platform:
		if in.Preference == BYOKRequired {
			return deny(RuleForcedDisallowed, ReasonForcedByPreference, fault.BillingDenied), true
		}
	case taxonomy.BYOK, taxonomy.Private:
		if !in.TierBYOK {
			return deny(RuleForcedDisallowed, ReasonTierWithoutBYOK, fault.BillingDenied), true
		}
		if in.Preference == PlatformOnly {
			return deny(RuleForcedDisallowed, ReasonForcedByPreference, fault.BillingDenied), true
		}
		if reason := unusable(in); reason != "" {
			return deny(RuleBYOKUnavailable, reason, fault.BYOKUnavailable), true
		}
	default:
		return deny(RuleForcedDisallowed, ReasonForcedUnknown, fault.BillingDenied), true
	}
	if in.Candidate != in.Forced {
		return deny(RuleForcedDisallowed, ReasonOtherSourceForced, fault.BillingDenied), true
	}
	return Decision{}, false
}

func decideOwn(in Inputs) Decision {
	if !in.TierBYOK {
		return deny(RuleDenied, ReasonTierWithoutBYOK, fault.BillingDenied)
	}
	if in.Preference == PlatformOnly {
		return deny(RuleDenied, ReasonOwnKeyExcluded, fault.BillingDenied)
	}
	fallback := fallbackAllowed(in) && in.Forced == "" && in.Preference != BYOKRequired
	if reason := unusable(in); reason != "" {
		d := deny(RuleBYOKUnavailable, reason, fault.BYOKUnavailable)
		d.FallbackToPlatform = fallback
		return d
	}
	d := Decision{Source: in.Candidate, Allowed: true, FallbackToPlatform: fallback}
	switch {
	case in.Candidate == taxonomy.Private:
		d.Rule, d.Reason = RulePrivate, ReasonPrivateUnmetered
	case in.Preference == BYOKRequired || in.Forced == taxonomy.BYOK:
		d.Rule, d.Reason = RuleBYOKRequired, ReasonBYOKUnmetered
	default:
		d.Rule, d.Reason = RuleBYOKPreferred, ReasonBYOKUnmetered
	}
	return d
}

func decidePlatform(in Inputs) Decision {
	rule := RulePlatform
	switch {
	case in.Forced == taxonomy.Platform, in.Preference == PlatformOnly:
		// Chosen, not fallen back to: connections do not matter.
	case in.Preference == BYOKRequired:
		if !in.TierBYOK {
			return deny(RuleDenied, ReasonTierWithoutBYOK, fault.BillingDenied)
		}
		if reason := unusable(in); reason != "" {
			return deny(RuleBYOKUnavailable, reason, fault.BYOKUnavailable)
		}
		return deny(RuleDenied, ReasonPlatformExcluded, fault.BillingDenied)
	case in.Connection.Exists:
		rule = RulePlatformFallback
		if !fallbackAllowed(in) {
			// A tier that lost byok does not turn an own connection into
			// platform spending behind the owner's back either.
			if !in.TierBYOK || !in.Connection.Usable {
				return deny(RuleBYOKUnavailable, ReasonFallbackNotAllowed, fault.BYOKUnavailable)
			}
			return deny(RuleDenied, ReasonFallbackNotAllowed, fault.BillingDenied)
		}
	}
	if in.FundsRefused {
		return deny(RuleFundsRefused, ReasonFundsRefused, fault.InsufficientCredits)
	}
	return Decision{Source: taxonomy.Platform, Rule: rule, Reason: ReasonPlatformMetered, Allowed: true}
}

func unusable(in Inputs) string {
	switch {
	case !in.Connection.Exists:
		return ReasonNoConnection
	case !in.Connection.Usable:
		return ReasonConnectionUnusable
	}
	return ""
}

func fallbackAllowed(in Inputs) bool {
	return in.Connection.Exists && in.Connection.AllowPlatformFallback && in.OrgAllowPlatformFallback
}

func own(s taxonomy.BillingSource) bool { return s == taxonomy.BYOK || s == taxonomy.Private }

func deny(rule, reason string, code fault.Code) Decision {
	return Decision{Rule: rule, Reason: reason, Code: code}
}

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
