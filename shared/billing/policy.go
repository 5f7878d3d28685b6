package billing

import (
	"slices"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// PolicyVersion names the table below on decision records. A change of any
// outcome needs a new version: a record is only recomputed by the table that
// made it.
const PolicyVersion = "2026-11-2"

// policyBeforeSharing is the version in which agencies shared nothing.
const policyBeforeSharing = "2026-11"

// facts is a set of values, each of one dimension. What is known of a candidate
// holds exactly one value of each dimension.
type facts uint64

const (
	orgActive facts = 1 << iota
	orgInactive

	sourceLLM
	sourceOther // every source that is not a model call

	candidatePlatform
	candidateBYOK
	candidatePrivate
	candidateUnknown

	forcedNone
	forcedPlatform
	forcedBYOK
	forcedPrivate
	forcedUnknown

	tierWithBYOK
	tierWithout

	prefersBYOK
	requiresBYOK
	platformOnly
	preferenceUnknown

	connectionMissing
	connectionUnusable
	connectionUsable

	fallbackAllowed // by a connection that exists, and by the organisation
	fallbackForbidden

	fundsUntried // the organisation's own credits
	fundsRefused

	sharesNothing
	sharesWhenEmpty
	sharesAlways
	sharesNoMore // the agency's credits or a cap refused
)

// dimensions partition the facts.
var dimensions = [...]facts{
	orgActive | orgInactive,
	sourceLLM | sourceOther,
	candidatePlatform | candidateBYOK | candidatePrivate | candidateUnknown,
	forcedNone | forcedPlatform | forcedBYOK | forcedPrivate | forcedUnknown,
	tierWithBYOK | tierWithout,
	prefersBYOK | requiresBYOK | platformOnly | preferenceUnknown,
	connectionMissing | connectionUnusable | connectionUsable,
	fallbackAllowed | fallbackForbidden,
	fundsUntried | fundsRefused,
	sharesNothing | sharesWhenEmpty | sharesAlways | sharesNoMore,
}

const (
	candidateOwn = candidateBYOK | candidatePrivate
	forcedOwn    = forcedBYOK | forcedPrivate
)

// clause is one line of the policy.
type clause struct {
	rule, reason string
	// when holds the values that match; a dimension of which none is named
	// matches always.
	when facts
	// source is who pays; empty denies with code.
	source taxonomy.BillingSource
	code   fault.Code
	// shared says that the agency pays.
	shared bool
	// next says that a platform candidate may follow, where the facts match
	// platformMayFollow.
	next bool
}

// policyTable is an ordered list of clauses, of which the first that matches
// decides. Its last clause matches everything.
type policyTable []clause

// policy is the table of [PolicyVersion], as in the rules P0 to P9. The order
// tells what is said first when several things stand in the way.
var policy = newPolicy(inactiveClauses, sharedActionClauses, actionClauses, ownClauses, sharedClauses, platformClauses)

// policyWithoutSharing is the table of [policyBeforeSharing].
var policyWithoutSharing = newPolicy(inactiveClauses, actionClauses, ownClauses, platformClauses)

// tableOf returns the table of a version, nil if this build does not hold it.
func tableOf(version string) policyTable {
	switch version {
	case PolicyVersion:
		return policy
	case policyBeforeSharing:
		return policyWithoutSharing
	}
	return nil
}

var inactiveClauses = []clause{
	{rule: RuleOrgInactive, reason: ReasonOrgInactive, code: fault.BillingDenied, when: orgInactive},
}

// An agency pays for what its client would pay with credits, first or once the
// client's own do not suffice. A client that has a connection of its own for the
// model is not served from the agency's credits, whatever became of that
// connection: it chose to pay its models itself.
var (
	sharedActionClauses = slices.Concat(sharedAction(sharesAlways), sharedAction(sharesWhenEmpty|fundsRefused))
	sharedClauses       = []clause{
		{rule: RuleSharedPlatform, reason: ReasonPlatformShared, source: taxonomy.Platform, shared: true, when: candidatePlatform | prefersBYOK | platformOnly | connectionMissing | sharesAlways},
		{rule: RuleSharedPlatform, reason: ReasonPlatformShared, source: taxonomy.Platform, shared: true, when: candidatePlatform | prefersBYOK | platformOnly | connectionMissing | sharesWhenEmpty | fundsRefused},
	}
)

func sharedAction(when facts) []clause {
	return []clause{
		{rule: RuleSharedAction, reason: ReasonActionForcedPlatform, source: taxonomy.Platform, shared: true, when: sourceOther | forcedOwn | when},
		{rule: RuleSharedAction, reason: ReasonActionForcedPlatform, source: taxonomy.Platform, shared: true, when: sourceOther | candidateOwn | when},
		{rule: RuleSharedAction, reason: ReasonActionMetered, source: taxonomy.Platform, shared: true, when: sourceOther | when},
	}
}

// actionClauses: the platform's own work is paid with credits, whatever is asked
// for.
var actionClauses = []clause{
	{rule: RuleFundsRefused, reason: ReasonFundsRefused, code: fault.InsufficientCredits, when: sourceOther | fundsRefused},
	{rule: RulePlatformAction, reason: ReasonActionForcedPlatform, source: taxonomy.Platform, when: sourceOther | forcedOwn},
	{rule: RulePlatformAction, reason: ReasonActionForcedPlatform, source: taxonomy.Platform, when: sourceOther | candidateOwn},
	{rule: RulePlatformAction, reason: ReasonActionMetered, source: taxonomy.Platform, when: sourceOther},
}

var ownClauses = []clause{
	// What organisation or tier do not allow is billing_denied; what they allow
	// but cannot serve is byok_unavailable; a forced source is never substituted.
	{rule: RuleForcedDisallowed, reason: ReasonForcedUnknown, code: fault.BillingDenied, when: forcedUnknown},
	{rule: RuleForcedDisallowed, reason: ReasonForcedByPreference, code: fault.BillingDenied, when: forcedPlatform | requiresBYOK},
	{rule: RuleForcedDisallowed, reason: ReasonTierWithoutBYOK, code: fault.BillingDenied, when: forcedOwn | tierWithout},
	{rule: RuleForcedDisallowed, reason: ReasonForcedByPreference, code: fault.BillingDenied, when: forcedOwn | platformOnly},
	{rule: RuleBYOKUnavailable, reason: ReasonNoConnection, code: fault.BYOKUnavailable, when: forcedOwn | connectionMissing},
	{rule: RuleBYOKUnavailable, reason: ReasonConnectionUnusable, code: fault.BYOKUnavailable, when: forcedOwn | connectionUnusable},
	{rule: RuleForcedDisallowed, reason: ReasonOtherSourceForced, code: fault.BillingDenied, when: forcedPlatform | candidateOwn | candidateUnknown},
	{rule: RuleForcedDisallowed, reason: ReasonOtherSourceForced, code: fault.BillingDenied, when: forcedBYOK | candidatePlatform | candidatePrivate | candidateUnknown},
	{rule: RuleForcedDisallowed, reason: ReasonOtherSourceForced, code: fault.BillingDenied, when: forcedPrivate | candidatePlatform | candidateBYOK | candidateUnknown},
	{rule: RuleDenied, reason: ReasonPreferenceUnknown, code: fault.BillingDenied, when: preferenceUnknown},

	// The organisation's own keys and endpoints.
	{rule: RuleDenied, reason: ReasonTierWithoutBYOK, code: fault.BillingDenied, when: candidateOwn | tierWithout},
	{rule: RuleDenied, reason: ReasonOwnKeyExcluded, code: fault.BillingDenied, when: candidateOwn | platformOnly},
	{rule: RuleBYOKUnavailable, reason: ReasonNoConnection, code: fault.BYOKUnavailable, when: candidateOwn | connectionMissing},
	{rule: RuleBYOKUnavailable, reason: ReasonConnectionUnusable, code: fault.BYOKUnavailable, next: true, when: candidateOwn | connectionUnusable},
	{rule: RulePrivate, reason: ReasonPrivateUnmetered, source: taxonomy.Private, next: true, when: candidatePrivate},
	{rule: RuleBYOKRequired, reason: ReasonBYOKUnmetered, source: taxonomy.BYOK, when: candidateBYOK | requiresBYOK},
	{rule: RuleBYOKRequired, reason: ReasonBYOKUnmetered, source: taxonomy.BYOK, when: candidateBYOK | forcedBYOK},
	{rule: RuleBYOKPreferred, reason: ReasonBYOKUnmetered, source: taxonomy.BYOK, next: true, when: candidateBYOK},
}

var platformClauses = []clause{
	// The platform's key, where it was chosen: connections do not matter.
	{rule: RuleFundsRefused, reason: ReasonFundsRefused, code: fault.InsufficientCredits, when: candidatePlatform | forcedPlatform | fundsRefused},
	{rule: RulePlatform, reason: ReasonPlatformMetered, source: taxonomy.Platform, when: candidatePlatform | forcedPlatform},
	{rule: RuleFundsRefused, reason: ReasonFundsRefused, code: fault.InsufficientCredits, when: candidatePlatform | platformOnly | fundsRefused},
	{rule: RulePlatform, reason: ReasonPlatformMetered, source: taxonomy.Platform, when: candidatePlatform | platformOnly},

	// The platform's key, although own keys are required.
	{rule: RuleDenied, reason: ReasonTierWithoutBYOK, code: fault.BillingDenied, when: candidatePlatform | requiresBYOK | tierWithout},
	{rule: RuleBYOKUnavailable, reason: ReasonNoConnection, code: fault.BYOKUnavailable, when: candidatePlatform | requiresBYOK | connectionMissing},
	{rule: RuleBYOKUnavailable, reason: ReasonConnectionUnusable, code: fault.BYOKUnavailable, when: candidatePlatform | requiresBYOK | connectionUnusable},
	{rule: RuleDenied, reason: ReasonPlatformExcluded, code: fault.BillingDenied, when: candidatePlatform | requiresBYOK},

	// Beside a connection the platform's key is a fallback, which both must
	// allow. A tier that lost byok does not turn an own connection into platform
	// spending behind the owner's back either.
	{rule: RuleBYOKUnavailable, reason: ReasonFallbackNotAllowed, code: fault.BYOKUnavailable, when: candidatePlatform | connectionUnusable | fallbackForbidden},
	{rule: RuleBYOKUnavailable, reason: ReasonFallbackNotAllowed, code: fault.BYOKUnavailable, when: candidatePlatform | connectionUsable | fallbackForbidden | tierWithout},
	{rule: RuleDenied, reason: ReasonFallbackNotAllowed, code: fault.BillingDenied, when: candidatePlatform | connectionUsable | fallbackForbidden},
	{rule: RuleFundsRefused, reason: ReasonFundsRefused, code: fault.InsufficientCredits, when: candidatePlatform | fundsRefused},
	{rule: RulePlatform, reason: ReasonPlatformMetered, source: taxonomy.Platform, when: candidatePlatform | connectionMissing},
	{rule: RulePlatformFallback, reason: ReasonPlatformMetered, source: taxonomy.Platform, when: candidatePlatform},

	{rule: RuleDenied, reason: ReasonCandidateUnknown, code: fault.BillingDenied},
}

// platformMayFollow is where a platform candidate may be tried after an own one.
var platformMayFollow = completed(forcedNone | prefersBYOK | fallbackAllowed)

// newPolicy puts lists of clauses together and completes their conditions.
func newPolicy(lists ...[]clause) policyTable {
	list := slices.Concat(lists...)
	t := make(policyTable, len(list))
	for i, r := range list {
		r.when = completed(r.when)
		t[i] = r
	}
	return t
}

// completed adds every value of the dimensions of which none is named.
func completed(when facts) facts {
	for _, d := range dimensions {
		if when&d == 0 {
			when |= d
		}
	}
	return when
}

// match returns the index of the clause that decides.
func (t policyTable) match(f facts) int {
	for i := range t {
		if f&^t[i].when == 0 {
			return i
		}
	}
	// Unreachable: the last clause matches everything.
	return len(t) - 1
}

// decide is the whole engine.
func (t policyTable) decide(in Inputs) Decision {
	f := factsOf(in)
	r := &t[t.match(f)]
	d := Decision{Source: r.source, Rule: r.rule, Reason: r.reason, Allowed: r.source != "", Code: r.code, Shared: r.shared,
		FallbackToPlatform: r.next && f&^platformMayFollow == 0, Fee: in.Fees.fee(r.source, in.FreeUsed)}
	if d.Fee.Held && in.FundsRefused {
		// The table's clauses about funds are those of platform credits: without a fee
		// to hold, a call on own means cannot meet a refusal.
		return Decision{Rule: RuleFundsRefused, Reason: ReasonFundsRefused, Code: fault.InsufficientCredits}
	}
	return d
}

// factsOf reads the inputs: one value of each dimension.
func factsOf(in Inputs) facts {
	f := pick(in.OrgActive, orgActive, orgInactive) |
		pick(in.RequestSource == taxonomy.LLM, sourceLLM, sourceOther) |
		pick(in.TierBYOK, tierWithBYOK, tierWithout) |
		pick(in.Connection.Exists && in.Connection.AllowPlatformFallback && in.OrgAllowPlatformFallback, fallbackAllowed, fallbackForbidden) |
		pick(in.FundsRefused, fundsRefused, fundsUntried)
	switch in.Candidate {
	case taxonomy.Platform:
		f |= candidatePlatform
	case taxonomy.BYOK:
		f |= candidateBYOK
	case taxonomy.Private:
		f |= candidatePrivate
	default:
		f |= candidateUnknown
	}
	switch in.Forced {
	case "":
		f |= forcedNone
	case taxonomy.Platform:
		f |= forcedPlatform
	case taxonomy.BYOK:
		f |= forcedBYOK
	case taxonomy.Private:
		f |= forcedPrivate
	default:
		f |= forcedUnknown
	}
	switch in.Preference {
	case "", BYOKPreferred:
		f |= prefersBYOK
	case BYOKRequired:
		f |= requiresBYOK
	case PlatformOnly:
		f |= platformOnly
	default:
		f |= preferenceUnknown
	}
	switch {
	case !in.Connection.Exists:
		return f | connectionMissing | in.Sharing.facts()
	case !in.Connection.Usable:
		return f | connectionUnusable | in.Sharing.facts()
	}
	return f | connectionUsable | in.Sharing.facts()
}

// facts reads what an agency shares; a mode that is not known shares nothing.
func (s Sharing) facts() facts {
	switch {
	case s.Mode == SharedWhenEmpty && !s.Refused:
		return sharesWhenEmpty
	case s.Mode == SharedAlways && !s.Refused:
		return sharesAlways
	case s.Mode == SharedWhenEmpty, s.Mode == SharedAlways:
		return sharesNoMore
	}
	return sharesNothing
}

func pick(b bool, yes, no facts) facts {
	if b {
		return yes
	}
	return no
}

// Recomputed is a stored decision made again from its record.
type Recomputed struct {
	Record   Record
	Decision Decision
	// Hash is that of the stored bytes.
	Hash string
}

// Recompute decides again from a stored record ([Canonical]), with the policy
// that the record names. Errors: invalid_request for bytes that Canonical did
// not write, unavailable for a policy that this build does not hold.
func Recompute(stored []byte) (Recomputed, error) {
	r, err := parseRecord(stored)
	if err != nil {
		return Recomputed{}, err
	}
	table := tableOf(r.PolicyVersion)
	if table == nil {
		return Recomputed{Record: r}, fault.New(fault.Unavailable, "billing.Recompute", "the decision was made by another policy version, which this build does not hold")
	}
	return Recomputed{Record: r, Decision: table.decide(r.inputs()), Hash: HashCanonical(stored)}, nil
}
