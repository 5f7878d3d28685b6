// Package vault keeps the credentials of organisations: vendor keys, channel
// secrets, integration tokens. It opens one only inside a callback, for the
// request that needs it.
//
// # Guarantees
//
//   - A credential is two kinds of records: a head (state, no ciphertext, safe to
//     list) and immutable versions. Every version has its own data key from
//     [KEK.GenerateDataKey]; all its fields are sealed with AES-256-GCM under it.
//   - The data key is bound to the encryption context app, stage, org, provider,
//     cred, cls, which IAM can test. A ciphertext is bound to those plus field,
//     version number, algorithm and format. Both lists come from the reference
//     the caller asked for and from the head, never from the record being opened,
//     so that a record moved between organisations, credentials, versions or
//     fields does not open.
//   - The head alone decides which version of a field is live and which still
//     drain: one conditional transaction on the head's epoch is a rotation, and
//     there is no half-finished one. Revoking deletes the versions and acts on
//     the next load.
//   - The key ring names the key that data keys are wrapped under. Every write
//     that stores a wrapped key holds in its transaction that the ring has not
//     changed since, so a key that is being retired gets no new records.
//   - Nothing here returns an empty or partial secret: what does not open is an
//     error with a [Reason].
//   - Only declared fields are stored and opened, under the rules of their
//     declaration (package credential).
//
// # Flow
//
// A request loads the credentials of a class with one consistent read
// ([Vault.LoadClass]) and reveals one from that result ([Vault.Reveal]); with a
// warm data key that costs no further call. Writers ([Vault.Create],
// [Vault.Rotate], [Vault.FinishRotation], [Vault.Revoke]) never decrypt, so the
// console needs no permission to. Jobs of package rotation move records to
// another key ([Vault.Rewrap], no secret is opened), replace data keys
// ([Vault.Reseal]), open everything as a test ([Vault.Examine]) and deal with
// what does not open ([Vault.Quarantine], [Vault.Repair]).
//
// # Limits
//
// The record revision that [Vault.Rewrap] and [Vault.Reseal] count is not part of what a
// ciphertext is bound to: otherwise a key could not be re-wrapped without
// opening the secret. Whoever can write the table can therefore put back an
// older head with its versions; the epoch makes that visible, not impossible.
// Deleting a version leaves its wrapped key in point-in-time backups until they
// expire. Duplicates are found by reading the heads first, so two simultaneous
// creates of one key may both succeed.
package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Ref names a credential.
type Ref struct {
	Org string
	ID  string
	// Provider is the provider or channel ID.
	Provider string
	Class    taxonomy.CredentialClass
}

// Event is one attempt to open a field, for the log. It never holds a value.
type Event struct {
	Ref     Ref
	Version int
	Field   string
	Purpose string
	// Cache is "hit", "miss", or "none" if no data key was looked up.
	Cache string
	// Outcome is empty if the field opened.
	Outcome Reason
	// Latency is how long the attempt took by the vault's clock, never negative.
	Latency time.Duration
}

// Values of [Event.Cache].
const (
	CacheHit  = "hit"
	CacheMiss = "miss"
	CacheNone = "none"
)

// Options are the dependencies of a [Vault]. Store, KEK, Fields, Now, App and
// Stage are required.
type Options struct {
	Store Store
	KEK   KEK
	// Fields declares what may be stored and opened.
	Fields *credential.Registry
	Now    func() time.Time
	// App and Stage are part of every encryption context.
	App, Stage string
	// Rand gives write ids and cache jitter; nil means crypto/rand.
	Rand io.Reader
	// OnUse is called after every attempt to open a field, before the callback,
	// with the context of the reveal. It must be quick and safe for concurrent
	// use; nil means no log.
	OnUse func(context.Context, Event)
	// OnReveal is called with every secret in the clear, whether it was opened or
	// is about to be sealed, before anybody else has it. It must not keep plain.
	OnReveal func(plain []byte)
}

// Vault opens and writes credentials. It is safe for concurrent use and meant
// to live as long as the process, because it caches data keys.
type Vault struct {
	store  Store
	kek    KEK
	fields *credential.Registry
	now    func() time.Time
	app    string
	stage  string
	rand   io.Reader
	onUse  func(context.Context, Event)
	cache  *keyCache

	onReveal func([]byte)
}

// New returns a Vault. It fails if a required option is missing.
func New(o Options) (*Vault, error) {
	if o.Store == nil || o.KEK == nil || o.Fields == nil || o.Now == nil || !validWord(o.App) || !validWord(o.Stage) {
		return nil, errors.New("vault: Store, KEK, Fields, Now, App and Stage are required; App and Stage are words of a-z, 0-9, _ and -")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.OnUse == nil {
		o.OnUse = func(context.Context, Event) {}
	}
	if o.OnReveal == nil {
		o.OnReveal = func([]byte) {}
	}
	return &Vault{
		store: o.Store, kek: o.KEK, fields: o.Fields, now: o.Now, app: o.App, stage: o.Stage, rand: o.Rand, onUse: o.OnUse, onReveal: o.OnReveal,
		cache: newKeyCache(o.Now, o.Rand),
	}, nil
}

// LoadClass returns the credentials of one class of an organisation, revoked
// ones included, with one consistent read. Errors: invalid_request,
// vault_unavailable.
func (v *Vault) LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]Credential, error) {
	const op = "vault.LoadClass"
	if err := checkScope(op, org, class); err != nil {
		return nil, err
	}
	creds, err := v.store.LoadClass(ctx, org, class)
	if err != nil {
		return nil, storeFault(op, err)
	}
	for i, c := range creds {
		// One read over several items may cross a rotation's commit and see the new
		// head without its new version; a second read sees both.
		if c.Torn() {
			if again, err := v.store.Load(ctx, org, class, c.Head.Ref.ID); err == nil {
				creds[i] = again
			}
		}
	}
	return creds, nil
}

// Load returns one credential with one consistent read. Errors: invalid_request,
// not_found, vault_unavailable.
func (v *Vault) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (Credential, error) {
	const op = "vault.Load"
	if err := checkScope(op, org, class); err != nil {
		return Credential{}, err
	}
	if err := checkID(op, "id", id); err != nil {
		return Credential{}, err
	}
	c, err := v.store.Load(ctx, org, class, id)
	if err == nil && c.Torn() {
		c, err = v.store.Load(ctx, org, class, id)
	}
	if err != nil {
		return Credential{}, storeFault(op, err)
	}
	return c, nil
}

// Head returns the head of one credential with a consistent read. Errors:
// invalid_request, not_found, vault_unavailable.
func (v *Vault) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (Head, error) {
	const op = "vault.Head"
	if err := checkScope(op, org, class); err != nil {
		return Head{}, err
	}
	if err := checkID(op, "id", id); err != nil {
		return Head{}, err
	}
	h, err := v.store.Head(ctx, org, class, id)
	if err != nil {
		return Head{}, storeFault(op, err)
	}
	return h, nil
}

// Heads lists the heads of all credentials of an organisation, revoked ones
// included. Errors: invalid_request, vault_unavailable.
func (v *Vault) Heads(ctx context.Context, org string) ([]Head, error) {
	const op = "vault.Heads"
	if err := checkID(op, "org", org); err != nil {
		return nil, err
	}
	heads, err := v.store.Heads(ctx, org)
	if err != nil {
		return nil, storeFault(op, err)
	}
	return heads, nil
}
