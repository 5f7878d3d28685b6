package vault

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/fault"
)

// KeySize is the length of a data key in bytes.
const KeySize = 32

// WrappedKey is a data key as stored.
type WrappedKey struct {
	Blob []byte
	// KEK is the full ARN of the wrapping key, never an alias: an alias can be
	// pointed elsewhere.
	KEK string
	// Material is the id of the key material that wrapped it; it changes when
	// the key rotates.
	Material string
}

// DataKey is a fresh data key. Plain has [KeySize] bytes and is cleared by the
// vault.
type DataKey struct {
	Plain   []byte
	Wrapped WrappedKey
}

// KEK wraps data keys and computes fingerprints. Errors are *[KeyError]. It is
// safe for concurrent use.
type KEK interface {
	// Keys lists the ARNs of the configured wrapping keys. The first is the one to
	// use as long as no ring is stored.
	Keys() []string
	// GenerateDataKey makes a data key bound to the encryption context, wrapped
	// under a configured key.
	GenerateDataKey(ctx context.Context, arn string, ectx map[string]string) (DataKey, error)
	// Decrypt unwraps a data key; it fails for any other encryption context and
	// for wrapping keys that were not configured.
	Decrypt(ctx context.Context, key WrappedKey, ectx map[string]string) ([]byte, error)
	// ReEncrypt wraps the same data key under a configured key without showing it.
	ReEncrypt(ctx context.Context, key WrappedKey, to string, ectx map[string]string) (WrappedKey, error)
	// MAC authenticates at most 4,096 bytes; keyID names the key used.
	MAC(ctx context.Context, message []byte) (mac []byte, keyID string, err error)
}

// Reason says precisely why a credential cannot be opened or written. It is for
// logs, alarms and tests; clients see the fault's code and message.
type Reason string

// Reasons of the key service.
const (
	KeyAccessDenied      Reason = "key_access_denied"
	KeyDisabled          Reason = "key_disabled"
	KeyPendingDeletion   Reason = "key_invalid_state"
	KeyNotFound          Reason = "key_not_found"
	KeyUnavailable       Reason = "key_unavailable"
	KeyThrottled         Reason = "key_throttled"
	KeyTimeout           Reason = "key_timeout"
	KeyInvalidCiphertext Reason = "key_invalid_ciphertext"
	KeyIncorrect         Reason = "key_incorrect"
	KeyInvalidGrant      Reason = "key_invalid_grant"
	KeyUnexpected        Reason = "key_unexpected"
)

// Reasons of the records.
const (
	TagMismatch     Reason = "tag_mismatch"
	ContextMismatch Reason = "context_mismatch"
	UnknownFormat   Reason = "unknown_format"
	UnknownAlg      Reason = "unknown_alg"
	UnknownBinding  Reason = "unknown_binding"
	UnknownField    Reason = "unknown_field" // not declared, or stored but not named by the head
	NoSuchField     Reason = "no_such_field" // asked for, but not in the head
	VersionMissing  Reason = "version_missing"
	MalformedRecord Reason = "malformed_record"
	IsRevoked       Reason = "revoked"
	AwaitsReentry   Reason = "needs_reentry"
	StoreFailed     Reason = "store_failed"
)

// Reasons of refused writes.
const (
	Duplicate     Reason = "duplicate"
	LostRace      Reason = "lost_race"
	RingMoved     Reason = "ring_moved"
	Masked        Reason = "masked_value"
	TooManyDrains Reason = "too_many_drains"
)

// Error returns the reason, so that it can be the cause of a fault.
func (r Reason) Error() string { return "vault: " + string(r) }

// ReasonOf returns the reason in err's chain, empty if there is none.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return ""
}

// KeyError is a failure of a [KEK]. Err is the cause for logs by type only.
type KeyError struct {
	Reason Reason
	Err    error
}

// Error returns the reason; the cause is left out on purpose.
func (e *KeyError) Error() string { return e.Reason.Error() }

// Unwrap gives the reason and the cause.
func (e *KeyError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Err}
}

// messages tell a client what to do; reasons that are missing here get the text
// of an outage.
var messages = map[Reason]string{
	KeyAccessDenied:      "this function may not open this credential; an operator must check its permissions",
	KeyDisabled:          "the encryption key of the vault is disabled; an operator must enable it",
	KeyPendingDeletion:   "the encryption key of the vault is not usable; an operator must restore it",
	KeyNotFound:          "the encryption key of the vault was not found; an operator must check the configuration",
	KeyInvalidGrant:      "this function may not open this credential; an operator must check its permissions",
	KeyInvalidCiphertext: "the stored credential is damaged; rotate it by entering the value again",
	KeyIncorrect:         "the stored credential names a key that is not configured; an operator must check the configuration",
	TagMismatch:          "the stored credential is damaged; rotate it by entering the value again",
	ContextMismatch:      "the stored credential is damaged; rotate it by entering the value again",
	VersionMissing:       "the stored credential is damaged; rotate it by entering the value again",
	MalformedRecord:      "the stored credential is damaged; rotate it by entering the value again",
	UnknownFormat:        "the stored credential has a format this version does not know; an operator must update the service",
	UnknownAlg:           "the stored credential has a format this version does not know; an operator must update the service",
	UnknownBinding:       "the stored credential has a format this version does not know; an operator must update the service",
	UnknownField:         "the stored credential is damaged; rotate it by entering the value again",
	NoSuchField:          "the credential has no such field",
	IsRevoked:            "the credential was revoked; store a new one",
	AwaitsReentry:        "the stored credential can no longer be opened; rotate it by entering the value again",
}

// reasonFault makes the fault for a reason. cause may be nil.
func reasonFault(op string, r Reason, cause error) error {
	if cause == nil {
		cause = r
	}
	message, ok := messages[r]
	if !ok {
		message = "the vault is unavailable, try again"
	}
	code := fault.VaultUnavailable
	if r == IsRevoked || r == NoSuchField {
		code = fault.NotFound
	}
	return fault.Wrap(code, op, message, cause)
}

// keyFault classifies an error of a KEK.
func keyFault(op string, err error) error {
	r := ReasonOf(err)
	if r == "" {
		r = KeyUnexpected
		err = &KeyError{Reason: r, Err: err}
	}
	return reasonFault(op, r, err)
}

// storeFault classifies an error of a store.
func storeFault(op string, err error) error {
	switch {
	case errors.Is(err, ErrAbsent):
		return fault.Wrap(fault.NotFound, op, "no such credential", err)
	case errors.Is(err, ErrLost):
		return fault.Wrap(fault.Conflict, op, "the credential was changed by someone else at the same time; read it and try again",
			errors.Join(LostRace, err))
	}
	if errors.Is(err, ErrRing) {
		return fault.Wrap(fault.Conflict, op, "the vault's key was changed at the same time; try again", errors.Join(RingMoved, err))
	}
	return reasonFault(op, StoreFailed, errors.Join(StoreFailed, err))
}
