package vault

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Status is the state of a credential.
type Status string

// Statuses. NeedsReentry is the quarantine of a credential whose stored value
// opens under no key: nothing of it is opened or deleted until every broken
// field was entered again with [Vault.Rotate]. Unreadable marks a stored head
// that this version does not understand; it is never written.
const (
	Active       Status = "active"
	Revoked      Status = "revoked"
	NeedsReentry Status = "needs_reentry"
	Unreadable   Status = "unreadable"
)

// Format and algorithm of a version. Others are refused, never guessed at.
const (
	// Format is the layout of a version record.
	Format = "bv1"
	// AlgAES256GCM is AES-256-GCM, the random 96-bit nonce before the ciphertext.
	AlgAES256GCM = 1
	// BindingV1 is the list of values a ciphertext is bound to, see binding.
	BindingV1 = 1
)

// Head is the state of a credential. It holds no ciphertext and may be shown
// to the organisation's administrators, except WriteID.
type Head struct {
	Ref    Ref
	Status Status
	// ActiveVersion is the newest version; fields a rotation did not name stay
	// live in an older one.
	ActiveVersion int
	// Epoch counts the writes of this head, from 1.
	Epoch int64
	Label string
	// Origin is the only scheme://host[:port] the credential may be sent to;
	// empty means nowhere.
	Origin string
	// Fields are sorted by name.
	Fields []Field
	// Drains are replaced values that still verify or serve for a while.
	Drains []Drain
	// FingerprintKey names the key behind all fingerprints of this head;
	// fingerprints of different keys cannot be compared.
	FingerprintKey       string
	CreatedBy, UpdatedBy string
	CreatedAt, UpdatedAt time.Time
	// WriteID is random per write: it tells a writer whose outcome is unknown
	// whether the write happened.
	WriteID string
}

// Field is one secret field of a credential.
type Field struct {
	Name string
	// Version holds the live value.
	Version int
	// Hint is the last four characters, or empty if showing them would give
	// away too much.
	Hint string
	// Fingerprint is a keyed hash of provider, organisation and value, 32
	// hexadecimal digits.
	Fingerprint string
	// Broken says that the live value opens under no key and must be entered
	// again.
	Broken bool
}

// Drain is a replaced value of a field that is still accepted before Until.
// Hint and Fingerprint are the field's from when it was live.
type Drain struct {
	Field       string
	Version     int
	Until       time.Time
	Hint        string
	Fingerprint string
}

// AllowsOrigin reports whether the credential may be sent to origin, which is
// written scheme://host[:port] as [OriginOf] gives it. The comparison is exact;
// an empty or malformed origin is never allowed.
func (h Head) AllowsOrigin(origin string) bool { return h.Origin != "" && h.Origin == origin }

// Hint is the hint of the main field: api_key, or else the first one.
func (h Head) Hint() string { return h.main().Hint }

// Fingerprint is the fingerprint of the main field: api_key, or else the first
// one.
func (h Head) Fingerprint() string { return h.main().Fingerprint }

// FieldNames lists the names of the fields, sorted.
func (h Head) FieldNames() []string {
	out := make([]string, len(h.Fields))
	for i, f := range h.Fields {
		out[i] = f.Name
	}
	return out
}

func (h Head) main() Field {
	if f, ok := h.field("api_key"); ok || len(h.Fields) == 0 {
		return f
	}
	return h.Fields[0]
}

func (h Head) field(name string) (Field, bool) {
	for _, f := range h.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Uses reports whether a live or draining field needs the version.
func (h Head) Uses(version int) bool {
	return slices.ContainsFunc(h.Fields, func(f Field) bool { return f.Version == version }) ||
		slices.ContainsFunc(h.Drains, func(d Drain) bool { return d.Version == version })
}

// Version is one set of sealed fields. Its values never change; [Vault.Rewrap]
// replaces the key wrapping, [Vault.Reseal] the data key.
type Version struct {
	Number int
	Format string
	Alg    int
	Key    WrappedKey
	// Context is the encryption context at write time, kept for operators; on
	// reading it is recomputed and must be equal.
	Context map[string]string
	// Revision counts the rewrites of this record, from 1.
	Revision  int64
	Fields    map[string]Sealed
	CreatedBy string
	CreatedAt time.Time
	WrappedAt time.Time
}

// Sealed is the ciphertext of one field.
type Sealed struct {
	Ciphertext []byte
	// Binding names the list of values the ciphertext is bound to.
	Binding int
}

// Credential is a head with its live and draining versions, as loaded by one
// consistent read.
type Credential struct {
	Head     Head
	Versions []Version
}

func (c Credential) version(n int) (Version, bool) {
	for _, v := range c.Versions {
		if v.Number == n {
			return v, true
		}
	}
	return Version{}, false
}

// Torn reports whether the head names a version that was not loaded. Such a
// credential must be read again.
func (c Credential) Torn() bool {
	if c.Head.Status != Active {
		return false
	}
	for _, f := range c.Head.Fields {
		if _, ok := c.version(f.Version); !ok {
			return true
		}
	}
	return false
}

// Ring says which key data keys are wrapped under.
type Ring struct {
	// Current is the full ARN of the key.
	Current string
	// Epoch counts the changes of the ring; 0 is a ring that was never stored.
	Epoch int64
}

// Change is one conditional write. Either Head is set, or Rewrap is.
type Change struct {
	// Head is written if its stored epoch is Head.Epoch-1; for epoch 1 the
	// credential must not exist.
	Head *Head
	// Put is a version to be created; its number must be free.
	Put *Version
	// Delete are versions that the new head does not use. Absent ones are fine.
	Delete []int
	// Rewrap replaces one version if it is stored with the expected revision and
	// key. The head is not touched.
	Rewrap *Rewrap
	// Ring, if set, must still be the stored ring, by its epoch. Every change that
	// stores a wrapped key has it: a key that is being retired gets no new records.
	Ring *Ring
	// Row is the audit row that is written with the change or not at all; nil for
	// what no person decided (pruning, re-wrapping).
	Row *audit.Row
}

// Rewrap is the replacement of one version's key wrapping, or of its data key
// with all ciphertexts.
type Rewrap struct {
	Ref          Ref
	Version      Version
	FromRevision int64
	FromKey      string
}

// Store keeps records. Implementations return [ErrAbsent], [ErrLost] and
// [ErrRing] where stated, any other error for an unknown outcome; they never
// return secrets or parts of items in errors.
type Store interface {
	Reader
	// Ring reads the key ring with strong consistency; a ring that was never
	// stored is the zero Ring.
	Ring(ctx context.Context) (Ring, error)
	// Write applies a change completely or not at all, or fails with ErrLost if
	// one of its conditions does not hold, or with ErrRing if only the ring's does
	// not.
	Write(ctx context.Context, c Change) error
}

// Reader reads credentials. A stored record that cannot be decoded is returned
// as a head with status [Unreadable] or a version without a format, so that one
// damaged record does not hide the others.
type Reader interface {
	// LoadClass reads all credentials of a class with strong consistency.
	LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]Credential, error)
	// Load reads one credential with strong consistency, or ErrAbsent.
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (Credential, error)
	// Head reads one head with strong consistency, or ErrAbsent.
	Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (Head, error)
	// Heads lists the heads of an organisation without reading ciphertext.
	Heads(ctx context.Context, org string) ([]Head, error)
}

// Errors of a [Store].
var (
	ErrAbsent = errors.New("vault: no such credential")
	ErrLost   = errors.New("vault: the credential was changed by another writer")
	ErrRing   = errors.New("vault: the key ring was changed")
)
