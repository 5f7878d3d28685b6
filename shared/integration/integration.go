// Package integration keeps the credentials that organisations hold for things
// other than AI: CRM OAuth, calendars, SMTP and the like (class integration).
// They exist in three stored shapes and move from the two old ones to the vault
// while everything keeps working.
//
// # Guarantees
//
//   - A shape is what a stored marker says, never what a value looks like: the
//     vault's format (bv1), the legacy cipher, legacy plaintext. A value without
//     a known marker is kept as it is, quarantined, and not read.
//   - Values are opaque bytes. Trailing newlines, key order, Unicode forms, NUL
//     and empty values come out as they went in.
//   - An integration counts its values ([Integration.Rev]) and each copy knows
//     which value it holds, so that a copy that was left behind is never read:
//     not after a rollback, and not after rolling forward again.
//   - Every change is conditional on the version that was read, and the changes
//     that people make carry their audit row in the same transaction. A value
//     that goes to both copies goes there in one transaction.
//   - This package opens nothing. Opening lives in shared/integration/opener,
//     which the AI functions and the console must not import (scripts/repocheck);
//     none of their roles may decrypt the class either. The opener is for the
//     host product's own functions.
//
// # Flow
//
// [Mode] is data, per integration: legacy_only → dual_write → dual_read →
// new_only → purged. Every step but the last can be taken back. Old rows are
// imported unchanged ([Service.Import]); reads and refreshes through the opener
// and its backfill make the new copies; [Service.Purge] deletes a legacy copy
// whose new one was verified at least seven days before.
//
// # What is known of the origin
//
// Read on 2026-11-22 in the public repository voundbrand/vc83-com:
// convex/oauth/encryption.ts (the cipher, see legacycipher);
// convex/schemas/coreSchemas.ts, table oauthConnections (accessToken and
// refreshToken as strings, both declared "encrypted" by the table, tokenExpiresAt
// beside them in plain); convex/integrations/calcom.ts and twilio.ts (settings
// objects with an array encryptedFields that names the encrypted fields; the
// others are plaintext), infobip.ts and resend.ts (plaintext API keys without
// any marker); convex/oauth/microsoft.ts (a refresh replaces both tokens with
// whatever the vendor sent), google.ts (the access token stands in where the
// vendor gave no refresh token). So one row has one or more fields, each with a
// shape of its own, which is what [LegacyField] holds. The origin's reader took
// values in oauthConnections that do not look encrypted for plaintext; whoever
// exports them has to say which they are.
//
// # Limits
//
// Legacy plaintext lies in the table and in its point-in-time backups until it
// is purged, and for up to 35 days after. Rotate such credentials at the vendor.
package integration

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Mode says which copies are written and which is read first.
type Mode string

// Modes in their order. Purged is entered by [Service.Purge] only.
const (
	LegacyOnly Mode = "legacy_only" // the legacy copy is read and written
	DualWrite  Mode = "dual_write"  // both are written, the legacy copy is read first
	DualRead   Mode = "dual_read"   // both are written, the new copy is read first
	NewOnly    Mode = "new_only"    // the new copy is read and written
	Purged     Mode = "purged"      // there is no legacy copy any more
)

// Modes lists all modes in their order.
func Modes() []Mode { return []Mode{LegacyOnly, DualWrite, DualRead, NewOnly, Purged} }

// Shape is the stored marker of a value.
type Shape string

// Shapes. Any other marker is undeclared.
const (
	ShapeVault     Shape = vault.Format
	ShapeCipher    Shape = "legacy_cipher_v1"
	ShapePlaintext Shape = "legacy_plaintext"
)

// Declared reports whether the shape can be a legacy copy's.
func (s Shape) Declared() bool { return s == ShapeCipher || s == ShapePlaintext }

// Reason says why a value cannot be read, moved or refreshed. It is a cause for
// logs, counters and tests; people see the fault's message.
type Reason string

// Reasons. The first group is stored as a quarantine.
const (
	UndeclaredShape Reason = "undeclared_shape"
	UnknownLayout   Reason = "unknown_layout"
	TooLarge        Reason = "too_large"
	DoesNotOpen     Reason = "does_not_open"
	CopiesDiffer    Reason = "copies_differ"
	Unreadable      Reason = "unreadable_record"

	NoCopy            Reason = "no_current_copy"
	NoKey             Reason = "legacy_key_unavailable"
	HashMismatch      Reason = "legacy_hash_mismatch"
	VaultFailed       Reason = "vault_failed"
	StoreFailed       Reason = "store_failed"
	LostRace          Reason = "lost_race"
	RefreshRunning    Reason = "refresh_running"
	RefreshUnfinished Reason = "refresh_unfinished"
)

// Error returns the reason, so that it can be the cause of a fault.
func (r Reason) Error() string { return "integration: " + string(r) }

// ReasonOf returns the reason in err's chain, empty if there is none.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return ""
}

// Payload is the name of the field of an integration that has only one.
const Payload = "payload"

// class is the credential class of everything here. It is not exported: who can name
// it can load it.
const class = taxonomy.Integration

// Integration is the head of one integration. It holds no secret.
type Integration struct {
	Org, ID string
	// Provider is the vendor's name as a word; it need not be one we know.
	Provider, Label string
	Mode            Mode
	// Credential is the id of the new copy's credential in the vault, chosen when
	// the integration is made: ids of revoked credentials cannot be used again.
	Credential string
	// Fields are the names of the values, sorted.
	Fields []string
	// ReusableRefresh says that the refresh token survives its use. Without it
	// an unfinished refresh is never repeated with the same token.
	ReusableRefresh bool
	// Rev counts the values, from 1. A copy with another Rev is behind.
	Rev        int64
	New        NewHead
	Legacy     LegacyHead
	Quarantine Quarantine
	Lease      Lease
	// Fingerprint is a keyed hash of the values and this integration, empty while
	// they were never opened.
	Fingerprint                    string
	CreatedAt, UpdatedAt, PurgedAt time.Time
	Version                        int64
	// WriteID is random per write: it tells a writer whose outcome is unknown
	// whether the write happened.
	WriteID string
}

// NewHead is what the head knows of the copy in the vault. Rev 0: there is none.
type NewHead struct {
	Rev int64
	// VerifiedAt is when the copy was first opened and compared; zero if never or
	// if it was behind since.
	VerifiedAt time.Time
}

// LegacyHead is what the head knows of the legacy copy. Rev 0: there is none.
type LegacyHead struct {
	Rev int64
	// Hash is a keyed hash of the exact stored bytes, empty if it could not be
	// made when they were written.
	Hash string
	// Shapes are the markers by field; they stay after the purge as a record.
	Shapes map[string]Shape
}

// Quarantine says that a record needs a person.
type Quarantine struct {
	Reason Reason // empty: none
	At     time.Time
}

// Lease is the right to refresh. It is also the mark that the value of Rev may
// have been consumed: it is taken right before the vendor is called.
type Lease struct {
	Owner string // empty: none
	Until time.Time
	Rev   int64
}

// LegacyCopy is a legacy copy with its bytes.
type LegacyCopy struct {
	Rev    int64
	Fields []LegacyField // by name
}

// LegacyField is one stored value.
type LegacyField struct {
	Name  string
	Shape Shape
	// Stored are the exact bytes of the old store.
	Stored secret.Text
}

// HasLegacy reports whether there is a legacy copy.
func (i Integration) HasLegacy() bool { return i.Legacy.Rev > 0 }

// NewCurrent reports whether the vault holds the last value.
func (i Integration) NewCurrent() bool { return i.New.Rev > 0 && i.New.Rev == i.Rev }

// LegacyCurrent reports whether the legacy copy holds the last value.
func (i Integration) LegacyCurrent() bool { return i.HasLegacy() && i.Legacy.Rev == i.Rev }

// WritesLegacy reports whether a new value goes to the legacy copy.
func (i Integration) WritesLegacy() bool {
	return i.HasLegacy() && (i.Mode == LegacyOnly || i.Mode == DualWrite || i.Mode == DualRead)
}

// WritesNew reports whether a new value goes to the vault.
func (i Integration) WritesNew() bool {
	return i.Mode != LegacyOnly && slices.Contains(Modes(), i.Mode)
}

// Shape is the marker of what a read takes now: a shape, "mixed" for legacy
// fields of several, "undeclared" for others.
func (i Integration) Shape() Shape {
	legacyFirst := i.Mode == LegacyOnly || i.Mode == DualWrite
	if i.NewCurrent() && !(legacyFirst && i.LegacyCurrent()) {
		return ShapeVault
	}
	out := Shape("")
	for _, s := range i.Legacy.Shapes {
		switch {
		case !s.Declared():
			return "undeclared"
		case out != "" && out != s:
			out = "mixed"
		case out == "":
			out = s
		}
	}
	return out
}

// clone returns a copy that shares nothing with i.
func (i Integration) clone() Integration {
	i.Fields, i.Legacy.Shapes = slices.Clone(i.Fields), maps.Clone(i.Legacy.Shapes)
	return i
}

// Next is a copy of i as the next version, for a write by id at a time.
func (i Integration) Next(writeID string, at time.Time) Integration {
	n := i.clone()
	n.Version++
	n.WriteID, n.UpdatedAt = writeID, at.UTC().Round(0).Truncate(time.Millisecond)
	return n
}

// Ref is the new copy's credential.
func (i Integration) Ref() vault.Ref {
	return vault.Ref{Org: i.Org, ID: i.Credential, Provider: i.Provider, Class: class}
}

// Change is one conditional write; everything in it happens or nothing.
type Change struct {
	// Next replaces the head if the stored version is Next.Version-1; version 1
	// must be absent.
	Next *Integration
	// Guard adds conditions on the stored head.
	Guard Guard
	// Remove deletes head and legacy copy if the head has this version.
	Remove *Integration
	// Legacy replaces the legacy copy.
	Legacy *LegacyCopy
	// DropLegacy deletes it.
	DropLegacy bool
	// Row is the audit row, nil for what functions do by themselves.
	Row *audit.Row
}

// Guard are conditions on the stored head; a zero field is none. The version
// implies them for every writer of this package; they are there for those who
// are not.
type Guard struct {
	Mode Mode
	// LegacyHash and NewRev: the migration's "the new copy is still what was seen
	// (absent for 0) and the legacy bytes are still those that were read".
	Migration  bool
	LegacyHash string
	NewRev     int64
	// VerifiedBy: the new copy was verified at this time or before, and is there.
	VerifiedBy time.Time
}

// Store keeps integrations. It returns [ErrAbsent] and [ErrLost] where stated,
// any other error for an unknown outcome, never a secret in an error. Reads are
// strongly consistent. A head that cannot be decoded is returned with the
// quarantine reason [Unreadable] and no mode, so that it does not hide others.
type Store interface {
	// Integration reads one head, or ErrAbsent.
	Integration(ctx context.Context, org, id string) (Integration, error)
	// Integrations lists heads by id; next is empty at the end.
	Integrations(ctx context.Context, org, after string, limit int) (heads []Integration, next string, err error)
	// Legacy reads a legacy copy, or ErrAbsent.
	Legacy(ctx context.Context, org, id string) (LegacyCopy, error)
	// WriteIntegration applies c, or fails with ErrLost if a condition does not
	// hold.
	WriteIntegration(ctx context.Context, c Change) error
	// Paired is the vault's store, where every write of a credential is one
	// transaction with c: both happen or none. A condition of c that does not hold
	// is vault.ErrLost.
	Paired(c Change) vault.Store
}

// Errors of a [Store].
var (
	ErrAbsent = errors.New("integration: no such integration")
	ErrLost   = errors.New("integration: the integration was changed by another writer")
)

// Commit writes c and finds out what happened if the outcome is unknown or a
// repeated request ran into its own success.
func Commit(ctx context.Context, s Store, c Change) error {
	err := s.WriteIntegration(ctx, c)
	if err == nil || c.Next == nil {
		return err
	}
	if stored, readErr := s.Integration(ctx, c.Next.Org, c.Next.ID); readErr == nil && stored.WriteID == c.Next.WriteID {
		return nil
	}
	return err
}
