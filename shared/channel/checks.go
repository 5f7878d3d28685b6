package channel

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/webhook"
)

// Told is the result of a check that our own records tell.
func Told(ok bool) CheckResult {
	if ok {
		return Passed
	}
	return Pending
}

// Saw tells whether a delivery ended with a code.
func (in SetupInput) Saw(code webhook.Reason) CheckResult {
	return Told(slices.Contains(in.DeliveryCodes, string(code)))
}

// Stored tells whether all of these secrets are stored.
func (in SetupInput) Stored(names ...string) CheckResult {
	return Told(!slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(in.SecretsSet, n) }))
}

// SignedURL fails if the newest request that tells was signed for another URL than the
// stored one, and says in what it differs.
func (in SetupInput) SignedURL() (result CheckResult, hint string) {
	for _, code := range in.DeliveryCodes {
		switch webhook.Reason(code) {
		case webhook.Accepted, webhook.Duplicate, webhook.NotDispatched, webhook.Unbound, webhook.TenantMismatch, EventIgnored, SelfIgnored, RevokedByVendor:
			return Passed, "" // looked at after the signature only
		}
		if hint, ok := strings.CutPrefix(code, webhook.HintCodes); ok {
			return Failed, hint
		}
	}
	return Pending, ""
}

// OneTenant fails if a verified request named another tenant than the install's.
func (in SetupInput) OneTenant() CheckResult {
	if in.Saw(webhook.TenantMismatch) == Passed {
		return Failed
	}
	return Passed
}
