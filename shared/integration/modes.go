package integration

import (
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Verified is how long a new copy must have been verified before its legacy
// copy may be purged.
const Verified = 7 * 24 * time.Hour

// ParseMode accepts the modes that can be asked for.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); slices.Contains(Modes(), m) && m != Purged {
		return m, nil
	}
	return "", invalid("mode", "a mode is legacy_only, dual_write, dual_read or new_only; the last step is purge")
}

// Toward is the next mode on the way to another, the same if there.
func (m Mode) Toward(to Mode) Mode {
	from, target := slices.Index(Modes(), m), slices.Index(Modes(), to)
	switch {
	case from < 0 || target < 0 || from == target:
		return m
	case from < target:
		return Modes()[from+1]
	}
	return Modes()[from-1]
}

// Step checks one step of the mode, forward or back. Errors: conflict with a
// message that says what is missing.
func (i Integration) Step(to Mode) error {
	switch {
	case i.Quarantine.Reason == Unreadable:
		return conflict("the stored record cannot be read; an operator must look at it")
	case i.Mode == Purged:
		return conflict("the legacy copy was purged; there is no way back")
	case i.Mode.Toward(to) != to || to == i.Mode || to == Purged:
		return conflict("take one step at a time: legacy_only, dual_write, dual_read, new_only; the last step is purge")
	case !i.HasLegacy():
		return conflict("this integration has no legacy copy to go back to")
	}
	forward := slices.Index(Modes(), to) > slices.Index(Modes(), i.Mode)
	switch {
	case forward && i.Quarantine.Reason != "":
		return conflict("the integration is quarantined (" + string(i.Quarantine.Reason) + "); settle that first")
	case to == NewOnly && (!i.NewCurrent() || i.New.VerifiedAt.IsZero()):
		return conflict("the new copy is not verified yet; run the backfill first")
	case to == LegacyOnly && !i.LegacyCurrent():
		return conflict("the legacy copy is behind the new one; run the backfill first, it brings the copy up to date")
	}
	return nil
}

// Purgeable checks whether the legacy copy may go. Errors: conflict.
func (i Integration) Purgeable(now time.Time) error {
	switch {
	case i.Mode == Purged:
		return conflict("the legacy copy was purged already")
	case !i.HasLegacy():
		return conflict("this integration has no legacy copy")
	case i.Quarantine.Reason != "":
		return conflict("the integration is quarantined (" + string(i.Quarantine.Reason) + "); settle that first")
	case i.Mode != NewOnly:
		return conflict("purge comes after new_only; the mode is " + string(i.Mode))
	case !i.NewCurrent() || i.New.VerifiedAt.IsZero():
		return conflict("the new copy is not verified; run the backfill first")
	case now.Before(i.New.VerifiedAt.Add(Verified)):
		return conflict("the new copy was verified less than seven days ago")
	}
	return nil
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "integration", message).WithParam(param)
}

func conflict(message string) error { return fault.New(fault.Conflict, "integration", message) }

// StoreFault classifies an error of a [Store]: not_found, conflict, unavailable.
func StoreFault(err error) error {
	switch {
	case errors.Is(err, ErrAbsent):
		return fault.Wrap(fault.NotFound, "integration", "there is no such integration", err)
	case errors.Is(err, ErrLost):
		return fault.Wrap(fault.Conflict, "integration", "the integration was changed by someone else at the same time; read it and try again", err)
	}
	return fault.Wrap(fault.Unavailable, "integration", "the store of the integrations did not answer, try again", err)
}
