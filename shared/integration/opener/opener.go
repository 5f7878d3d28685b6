// Package opener reads, refreshes and moves the credentials of
// shared/integration. It is the reading library of the host product's own
// functions; nothing of the AI gateway may import it (scripts/repocheck), and no
// role of an AI function may decrypt the class.
//
// # Guarantees
//
//   - [Opener.Open] returns the last value that was written, byte for byte, from
//     whichever copy holds it: the mode says which copy is tried first, the
//     revision which may be used at all. A copy that was left behind is never
//     returned.
//   - [Opener.Refresh] writes the new tokens before it returns them, to both
//     copies in one transaction where the mode has two. A refresh token is handed
//     out once: the lease that is taken before the vendor is called marks the
//     value as possibly consumed, and if no result was ever written the mark
//     stays. Then somebody has to connect the account again; a second use could
//     make the vendor revoke everything.
//   - Moving never fails a request: if the new copy cannot be made, the legacy
//     value is returned and the failure is reported ([Event]).
//   - [Opener.Backfill] does the same moves for rows that nobody reads, verifies
//     by opening, and may be repeated or cut anywhere.
//
// # When a key is missing
//
// If a new value can be written to one copy only, because the key service or the
// legacy key is not there, it is written to that one and the other falls behind;
// the alternative is to lose a token that was issued. A read or the backfill
// brings the other one up to date.
//
// # Limits
//
// A crash between the vendor's answer and the write loses that answer; nothing
// can prevent that from here. Clocks of two functions that differ by more than
// the lease can let a reusable refresh token be used twice, a single-use one
// never.
package opener

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/legacycipher"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Options are what an [Opener] works with. All but OnEvent are required.
type Options struct {
	Store integration.Store
	// Vault opens values and hashes them.
	Vault *vault.Vault
	// Seal makes a vault for one write.
	Seal integration.Sealer
	// LegacyKey lends the legacy cipher's key as 32 bytes; see [KeyFromVault].
	LegacyKey func(ctx context.Context, use func(key []byte) error) error
	Now       func() time.Time
	// NewID makes unique ids.
	NewID func(time.Time) string
	// Random gives nonces of the legacy cipher.
	Random io.Reader
	// Actor names this function in what it writes, as "function:rotate".
	Actor string
	// OnEvent is told what happened beside the request, for counters; it must be
	// quick and safe for concurrent use.
	OnEvent func(Event)
}

// What an [Event] reports.
type What string

// Events.
const (
	Migrated      What = "migrated"       // a new copy was made or brought up to date
	MigrateFailed What = "migrate_failed" // and why not
	LegacySynced  What = "legacy_synced"  // the legacy copy was brought up to date
	LegacyBehind  What = "legacy_behind"  // a new value could not be written to it
	NewBehind     What = "new_behind"     // a new value could not be written to the vault
	Fallback      What = "fallback"       // the other copy was read, and why
	Refreshed     What = "refreshed"
)

// Event is something to count. It never holds a value.
type Event struct {
	Org, ID string
	What    What
	Reason  integration.Reason
}

// Opener is safe for concurrent use.
type Opener struct{ o Options }

// New returns an Opener. It fails if a required option is missing.
func New(o Options) (*Opener, error) {
	if o.Store == nil || o.Vault == nil || o.Seal == nil || o.LegacyKey == nil || o.Now == nil || o.NewID == nil || o.Random == nil || o.Actor == "" {
		return nil, errors.New("opener: every option but OnEvent is required")
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	return &Opener{o}, nil
}

// KeyFromVault lends the legacy cipher's key out of the vault. It is read and
// opened with every use, so that a replaced key holds from the next request on.
func KeyFromVault(v *vault.Vault) func(context.Context, func([]byte) error) error {
	return func(ctx context.Context, use func([]byte) error) error {
		ref := integration.LegacyKeyRef()
		c, err := v.Load(ctx, ref.Org, ref.Class, ref.ID)
		if err != nil {
			return err
		}
		return v.Reveal(ctx, c, vault.Use{Field: integration.Payload, Purpose: "legacy_cipher"}, func(text []byte) error {
			key, err := legacycipher.ParseKey(text)
			if err != nil {
				return err
			}
			return secret.Lend(key, use)
		})
	}
}

// Source says which copy a value came from.
type Source string

// Sources.
const (
	FromNew    Source = "new"
	FromLegacy Source = "legacy"
)

// Value is an opened integration.
type Value struct {
	integration.Values
	// Rev names the value; [Opener.Refresh] wants it back.
	Rev  int64
	From Source
}

// copies are what can be opened of a head, in the order of its mode.
func copies(i integration.Integration) []Source {
	var out []Source
	if i.NewCurrent() && i.Mode != integration.LegacyOnly {
		out = append(out, FromNew)
	}
	if i.LegacyCurrent() && i.Mode != integration.NewOnly {
		if i.Mode == integration.DualRead {
			return append(out, FromLegacy)
		}
		return append([]Source{FromLegacy}, out...)
	}
	return out
}

// tries bounds how often something is read again because it changed meanwhile.
const tries = 8

// Open returns the current value, and makes the new copy on the way if the mode
// wants one that is not there. Errors: not_found; vault_unavailable with the
// [integration.Reason] as cause; unavailable.
func (o *Opener) Open(ctx context.Context, org, id string) (Value, error) {
	if err := validRef(org, id); err != nil {
		return Value{}, err
	}
	for range tries {
		i, err := o.head(ctx, org, id)
		if err != nil {
			return Value{}, err
		}
		v, again, err := o.read(ctx, i)
		if again {
			continue
		}
		if err != nil {
			return Value{}, err
		}
		if i.WritesNew() && !i.NewCurrent() {
			_ = o.migrate(ctx, i, v.Values)
		}
		return v, nil
	}
	return Value{}, busy(integration.LostRace, "the integration changes too often at the moment, try again")
}

func (o *Opener) head(ctx context.Context, org, id string) (integration.Integration, error) {
	i, err := o.o.Store.Integration(ctx, org, id)
	if err != nil {
		return i, integration.StoreFault(err)
	}
	if i.Quarantine.Reason == integration.Unreadable {
		return i, unusable(integration.Unreadable, nil)
	}
	return i, nil
}

// read opens the first copy that opens. again says that the head was out of date.
func (o *Opener) read(ctx context.Context, i integration.Integration) (v Value, again bool, err error) {
	err = unusable(integration.NoCopy, nil)
	for n, from := range copies(i) {
		var values integration.Values
		var rev int64
		var failed error
		if from == FromNew {
			values, rev, failed = o.openNew(ctx, i)
		} else {
			values, rev, failed = o.openLegacy(ctx, i)
		}
		switch {
		case failed == nil && rev == i.Rev:
			return Value{Values: values, Rev: rev, From: from}, false, nil
		case failed == nil && rev > i.Rev, errors.Is(failed, errMoved):
			return Value{}, true, nil
		case failed == nil:
			failed = unusable(integration.NoCopy, nil) // an older record was put back
		}
		if n == 0 {
			err = failed
		}
		if n+1 < len(copies(i)) {
			o.event(i, Fallback, reasonOf(failed))
		}
	}
	if r := integration.ReasonOf(err); r == integration.DoesNotOpen || r == integration.UndeclaredShape || r == integration.UnknownLayout {
		o.quarantine(ctx, i, r)
	}
	return Value{}, false, err
}

// errMoved says that the copy was replaced or removed since the head was read.
var errMoved = errors.New("opener: the integration changed meanwhile")

// openNew opens the copy in the vault.
func (o *Opener) openNew(ctx context.Context, i integration.Integration) (values integration.Values, rev int64, err error) {
	ref := i.Ref()
	c, err := o.o.Vault.Load(ctx, ref.Org, ref.Class, ref.ID)
	if err == nil {
		err = o.o.Vault.Reveal(ctx, c, vault.Use{Field: integration.Payload, Purpose: "integration"}, func(frame []byte) error {
			values, rev, err = integration.Unframe(i.Credential, frame)
			return err
		})
	}
	if err != nil {
		return nil, 0, unusable(integration.VaultFailed, err)
	}
	return values, rev, nil
}

// openLegacy opens the legacy copy by its markers.
func (o *Opener) openLegacy(ctx context.Context, i integration.Integration) (integration.Values, int64, error) {
	c, err := o.o.Store.Legacy(ctx, i.Org, i.ID)
	switch {
	case errors.Is(err, integration.ErrAbsent), err == nil && c.Rev > i.Legacy.Rev:
		return nil, 0, errMoved
	case err != nil:
		return nil, 0, integration.StoreFault(err)
	}
	values := integration.Values{}
	for _, f := range c.Fields {
		if !f.Shape.Declared() {
			return nil, 0, unusable(integration.UndeclaredShape, nil)
		}
		if f.Shape == integration.ShapePlaintext {
			values[f.Name] = f.Stored
			continue
		}
		if err := o.withKey(ctx, func(key []byte) error {
			return f.Stored.Use(func(stored []byte) error {
				plain, err := legacycipher.Open(key, stored)
				values[f.Name] = secret.New(plain)
				clear(plain)
				return err
			})
		}); err != nil {
			return nil, 0, cipherFault(err)
		}
	}
	return values, c.Rev, nil
}

// withKey lends the legacy key; an error that is not the use's own says that
// there is none.
func (o *Opener) withKey(ctx context.Context, use func(key []byte) error) error {
	var own error
	err := o.o.LegacyKey(ctx, func(key []byte) error { own = use(key); return own })
	if own != nil {
		return own
	}
	if err != nil {
		return errors.Join(integration.NoKey, err)
	}
	return nil
}

func cipherFault(err error) error {
	switch {
	case errors.Is(err, legacycipher.ErrLayout):
		return unusable(integration.UnknownLayout, err)
	case errors.Is(err, legacycipher.ErrOpen):
		return unusable(integration.DoesNotOpen, err)
	}
	return unusable(integration.NoKey, err)
}

// sealLegacy encodes values as the legacy copy holds them, each in the shape it has.
func (o *Opener) sealLegacy(ctx context.Context, i integration.Integration, rev int64, values integration.Values) (integration.LegacyCopy, error) {
	c := integration.LegacyCopy{Rev: rev}
	for _, name := range values.Names() {
		f := integration.LegacyField{Name: name, Shape: i.Legacy.Shapes[name], Stored: values[name]}
		switch f.Shape {
		case integration.ShapePlaintext:
		case integration.ShapeCipher:
			if err := o.withKey(ctx, func(key []byte) error {
				return values[name].Use(func(plain []byte) error {
					stored, err := legacycipher.Seal(o.o.Random, key, plain)
					f.Stored = secret.New(stored)
					return err
				})
			}); err != nil {
				return c, cipherFault(err)
			}
		default:
			return c, unusable(integration.UndeclaredShape, nil)
		}
		c.Fields = append(c.Fields, f)
	}
	return c, nil
}

func (o *Opener) event(i integration.Integration, what What, reason integration.Reason) {
	o.o.OnEvent(Event{Org: i.Org, ID: i.ID, What: what, Reason: reason})
}

// quarantine notes a reason on the head, if it can.
func (o *Opener) quarantine(ctx context.Context, i integration.Integration, reason integration.Reason) {
	if i.Quarantine.Reason == reason {
		return
	}
	next := o.next(i)
	next.Quarantine = integration.Quarantine{Reason: reason, At: next.UpdatedAt}
	if reason == "" {
		next.Quarantine = integration.Quarantine{}
	}
	// Whoever changed the head meanwhile knows better.
	_ = integration.Commit(ctx, o.o.Store, integration.Change{Next: &next})
}

func (o *Opener) next(i integration.Integration) integration.Integration {
	now := o.o.Now()
	return i.Next(o.o.NewID(now), now)
}

// reasonOf is the reason of a failure for counters.
func reasonOf(err error) integration.Reason {
	if r := integration.ReasonOf(err); r != "" {
		return r
	}
	return integration.StoreFailed
}

var messages = map[integration.Reason]string{
	integration.UndeclaredShape:   "the stored value has no known shape; import it again with the shape it has",
	integration.UnknownLayout:     "the stored value is not what its shape says; import it again with the shape it has",
	integration.DoesNotOpen:       "the stored value does not open with the legacy key; check the key, or connect the account again",
	integration.NoKey:             "the legacy key is not available; an operator must store it",
	integration.CopiesDiffer:      "the two copies of the value differ; connect the account again",
	integration.Unreadable:        "the stored record cannot be read; an operator must look at it",
	integration.RefreshUnfinished: "an earlier refresh may have used up the refresh token; connect the account again",
}

// unusable makes the fault of a value that cannot be had. cause may be nil.
func unusable(r integration.Reason, cause error) error {
	message, ok := messages[r]
	if !ok {
		message = "the integration's credential is not available, try again"
	}
	return fault.Wrap(fault.VaultUnavailable, "opener", message, errors.Join(r, cause))
}

func busy(r integration.Reason, message string) error {
	f := fault.Wrap(fault.Unavailable, "opener", message, r)
	f.RetryAfter = time.Second
	return f
}

// same compares two keyed hashes; an absent one equals nothing.
func same(a, b string) bool { return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// validRef refuses what cannot be part of a key.
func validRef(org, id string) error {
	if table.ValidID(org) && table.ValidID(id) {
		return nil
	}
	return fault.New(fault.InvalidRequest, "opener", "an id has 1 to 64 letters, digits, _ or -")
}
