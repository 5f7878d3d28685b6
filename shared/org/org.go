// Package org is the tenant: organisations, their tiers and settings, and the
// virtual keys that authenticate for them.
//
// A request carries a virtual key lk_<org>_<kid>_<secret>. [Credential] finds it
// among the headers, [ParseKey] checks its shape before anything is looked up,
// the caller reads the [Key] record by organisation and key id, and
// [Authenticate] compares digests in constant time. Whatever is wrong with a key
// (malformed, unknown, revoked, expired) the answer is the same fault, byte for
// byte. Only the SHA-256 of a key is stored: the secret part has 256 bits, so a
// slow hash would buy nothing.
//
// The organisation id operator is the platform's own: its keys are operator
// keys. It and the id platform can never belong to a customer.
//
// [Service] carries the rules for changes; a store writes each change and its
// audit row in one transaction. Time, ids and randomness come from outside.
// Everything here is safe for concurrent use.
package org

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Reserved organisation ids.
const (
	Operator = "operator" // owns the operator keys
	Platform = "platform" // owns the platform's own credentials
)

// Status is whether an organisation may act.
type Status string

// Statuses.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
)

// LedgerMode says which ledger is the authority for an organisation.
type LedgerMode string

// Ledger modes. LedgerCredit is that of every new organisation: the credit ledger
// is the only authority. The others belong to the way there from a legacy token
// counter, see package legacytokens.
const (
	LedgerCredit     LedgerMode = "credit"
	LedgerLegacy     LedgerMode = "legacy"
	LedgerShadow     LedgerMode = "shadow"
	LedgerDraining   LedgerMode = "draining"
	LedgerRolledBack LedgerMode = "rolled_back"
)

// Org is one organisation.
type Org struct {
	ID              string
	Name            string
	Tier            taxonomy.Tier
	ParentID        string // the agency, empty if none
	Status          Status
	SettingsVersion int64 // 0 = defaults, nothing stored
	LedgerMode      LedgerMode
	LedgerEpoch     int64 // counts the changes of who pays
	Limits          Limits
	Sharing         Sharing
	Version         int64
	CreatedAt       time.Time
}

// Allow fails with scope_missing while the organisation is not active.
func (o Org) Allow() error {
	if o.Status == Active {
		return nil
	}
	return fault.New(fault.ScopeMissing, "org.Allow", "this organisation is suspended; ask the operator to resume it")
}

// Limits bound a key or an organisation. They are enforced by package gateway.
type Limits = limit.Limits

// CheckID refuses ids that cannot be an organisation of a customer: bad
// characters, an underscore (it separates the parts of a key), reserved names.
func CheckID(id string) error {
	if !table.ValidID(id) || strings.Contains(id, "_") || strings.EqualFold(id, Operator) || strings.EqualFold(id, Platform) {
		return invalid("id", "this organisation id is not allowed")
	}
	return nil
}

const maxName = 120

// CheckName refuses empty, overlong or unprintable display names.
func CheckName(param, name string) error {
	if strings.TrimSpace(name) == "" || strings.TrimSpace(name) != name || utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) {
		return invalid(param, "a name of 1 to 120 characters without spaces at its ends is needed")
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return invalid(param, "a name may hold printable characters only")
		}
	}
	return nil
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "org", message).WithParam(param)
}
