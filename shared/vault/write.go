package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// NewCredential is the input of [Vault.Create].
type NewCredential struct {
	Ref    Ref
	Label  string
	Origin string // see [OriginOf]; required for model and voice keys
	Fields map[string]secret.Text
	// Op is whose operation it is; its audit row is written with the credential.
	Op audit.Op
}

// Rotation is the input of [Vault.Rotate].
type Rotation struct {
	Ref Ref
	// Fields are the new values. Fields that are not named keep theirs.
	Fields map[string]secret.Text
	// Overlap is how long the replaced values are still accepted; zero ends them
	// at once.
	Overlap time.Duration
	// Origin replaces the origin, empty keeps it. With a new origin the overlap
	// must be zero: an old key is never sent to a new place.
	Origin string
	Op     audit.Op
}

// Create stores a new credential. A value that another active credential of the
// organisation holds for the same provider, class, field and origin is refused,
// except for channels and tools: one app's secret may serve several installs, one
// header several tools.
// Errors: invalid_request, conflict (reason duplicate or lost_race),
// vault_unavailable.
func (v *Vault) Create(ctx context.Context, c NewCredential) (Head, error) {
	const op = "vault.Create"
	if err := firstOf(checkRef(op, c.Ref), checkText(op, "label", c.Label, maxLabel), checkOp(op, c.Op),
		checkOrigin(op, c.Ref.Class, c.Origin), v.checkFields(op, c.Ref, c.Fields)); err != nil {
		return Head{}, err
	}
	now := v.stamp()
	h := Head{
		Ref: c.Ref, Status: Active, ActiveVersion: 1, Epoch: 1, Label: c.Label, Origin: c.Origin,
		CreatedBy: c.Op.Actor, UpdatedBy: c.Op.Actor, CreatedAt: now, UpdatedAt: now,
	}
	if err := v.describe(ctx, op, &h, c.Fields); err != nil {
		return Head{}, err
	}
	if err := v.refuseDuplicates(ctx, op, h, c.Fields); err != nil {
		return Head{}, err
	}
	return v.sealAndCommit(ctx, op, h, c.Fields, Change{Row: h.row(c.Op, "create", c.Fields)})
}

// Rotate stores new values and keeps the replaced ones accepted for the
// overlap. Of simultaneous rotations exactly one succeeds. Entering the broken
// fields of a credential that needs it again makes it active. Errors:
// invalid_request, not_found (also reason revoked), conflict (reason duplicate,
// lost_race), vault_unavailable.
func (v *Vault) Rotate(ctx context.Context, r Rotation) (Head, error) {
	const op = "vault.Rotate"
	if err := firstOf(checkRef(op, r.Ref), checkOp(op, r.Op), v.checkFields(op, r.Ref, r.Fields)); err != nil {
		return Head{}, err
	}
	if r.Overlap < 0 || r.Overlap > maxOverlap {
		return Head{}, invalid(op, "overlap", "the overlap is 0 to 30 days")
	}
	old, err := v.writable(ctx, op, r.Ref)
	if err != nil {
		return Head{}, err
	}
	h := v.next(old, r.Op.Actor)
	h.ActiveVersion++
	if err := moveOrigin(op, &h, old, r); err != nil {
		return Head{}, err
	}
	if err := replaceFields(op, &h, old, r); err != nil {
		return Head{}, err
	}
	if err := v.describe(ctx, op, &h, r.Fields); err != nil {
		return Head{}, err
	}
	if err := unchanged(op, old, h, r.Fields); err != nil {
		return Head{}, err
	}
	if err := v.refuseDuplicates(ctx, op, h, r.Fields); err != nil {
		return Head{}, err
	}
	return v.sealAndCommit(ctx, op, h, r.Fields, Change{Delete: released(old, h), Row: h.row(r.Op, "rotate", r.Fields)})
}

// FinishRotation ends the overlap of a field now, of all fields if field is
// empty. Without anything to end it changes nothing. Errors: invalid_request,
// not_found, conflict, vault_unavailable.
func (v *Vault) FinishRotation(ctx context.Context, ref Ref, field string, by audit.Op) (Head, error) {
	const op = "vault.FinishRotation"
	if err := firstOf(checkRef(op, ref), checkOp(op, by)); err != nil {
		return Head{}, err
	}
	return v.endDrains(ctx, op, ref, by.Actor, func(d Drain) bool { return field == "" || d.Field == field },
		func(h Head) *audit.Row { return h.row(by, "finish", nil) })
}

// Prune removes what the end of an overlap left behind. Such values are not
// accepted any more, with or without it, so nobody's decision is recorded: there
// is no audit row. Errors: as [Vault.FinishRotation].
func (v *Vault) Prune(ctx context.Context, ref Ref, actor string) (Head, error) {
	const op = "vault.Prune"
	if err := firstOf(checkRef(op, ref), checkText(op, "actor", actor, maxLabel)); err != nil {
		return Head{}, err
	}
	now := v.stamp()
	return v.endDrains(ctx, op, ref, actor, func(d Drain) bool { return !now.Before(d.Until) }, func(Head) *audit.Row { return nil })
}

func (v *Vault) endDrains(ctx context.Context, op string, ref Ref, actor string, ended func(Drain) bool, row func(Head) *audit.Row) (Head, error) {
	old, err := v.writable(ctx, op, ref)
	if err != nil {
		return Head{}, err
	}
	h := v.next(old, actor)
	h.Drains = slices.DeleteFunc(h.Drains, ended)
	if len(h.Drains) == len(old.Drains) {
		return old, nil
	}
	return v.commit(ctx, op, h, Change{Delete: released(old, h), Row: row(h)})
}

// Revoke ends a credential for good: no later load can open it and its versions
// are deleted. The head stays as a record. Revoking twice is fine. Errors:
// invalid_request, not_found, conflict, vault_unavailable.
func (v *Vault) Revoke(ctx context.Context, ref Ref, by audit.Op) (Head, error) {
	const op = "vault.Revoke"
	if err := firstOf(checkRef(op, ref), checkOp(op, by)); err != nil {
		return Head{}, err
	}
	old, err := v.writable(ctx, op, ref)
	if ReasonOf(err) == IsRevoked {
		return old, nil
	}
	if err != nil {
		return Head{}, err
	}
	h := v.next(old, by.Actor)
	h.Status, h.Drains = Revoked, nil
	return v.commit(ctx, op, h, Change{Delete: versionsOf(old), Row: h.row(by, "revoke", nil)})
}

// TokenHash is a keyed hash of a value without the organisation, to find one
// token in use by two. It must never be shown to a tenant: it would tell them
// that the other exists. Errors: invalid_request, vault_unavailable.
func (v *Vault) TokenHash(ctx context.Context, provider string, text secret.Text) (string, error) {
	const op = "vault.TokenHash"
	if !validWord(provider) || text.IsZero() {
		return "", invalid(op, "provider", "a provider and a value are required")
	}
	hash, _, err := v.mac(ctx, op, text, "token/1", provider)
	return hash, err
}

// writable reads the head and refuses one that must not be written. For a
// revoked one it returns the head too.
func (v *Vault) writable(ctx context.Context, op string, ref Ref) (Head, error) {
	h, err := v.store.Head(ctx, ref.Org, ref.Class, ref.ID)
	switch {
	case err != nil:
		return Head{}, storeFault(op, err)
	case h.Status == Revoked && h.Ref == ref:
		return h, reasonFault(op, IsRevoked, nil)
	case h.Status != Active && h.Status != NeedsReentry:
		return Head{}, reasonFault(op, MalformedRecord, nil)
	case h.Ref != ref:
		return Head{}, fault.Wrap(fault.NotFound, op, "no such credential", ContextMismatch)
	}
	return h, nil
}

func (v *Vault) next(old Head, actor string) Head {
	h := old
	h.Fields, h.Drains = slices.Clone(old.Fields), slices.Clone(old.Drains)
	h.Epoch++
	h.UpdatedBy, h.UpdatedAt = actor, v.stamp()
	return h
}

func moveOrigin(op string, h *Head, old Head, r Rotation) error {
	if r.Origin == "" || r.Origin == old.Origin {
		return nil
	}
	if err := checkOrigin(op, r.Ref.Class, r.Origin); err != nil {
		return err
	}
	for _, f := range old.Fields {
		if _, replaced := r.Fields[f.Name]; !replaced {
			return invalid(op, "origin", "enter every secret field again to change the origin")
		}
	}
	if r.Overlap != 0 {
		return invalid(op, "overlap", "the overlap must be 0 when the origin changes")
	}
	h.Origin, h.Drains = r.Origin, nil
	return nil
}

// replaceFields points the rotated fields at the new version and lets the old
// ones drain.
func replaceFields(op string, h *Head, old Head, r Rotation) error {
	now := h.UpdatedAt
	h.Drains = slices.DeleteFunc(h.Drains, func(d Drain) bool { return !now.Before(d.Until) })
	for _, f := range old.Fields {
		if _, replaced := r.Fields[f.Name]; replaced && r.Overlap > 0 && !f.Broken {
			h.Drains = append(h.Drains, Drain{Field: f.Name, Version: f.Version, Until: now.Add(r.Overlap),
				Hint: f.Hint, Fingerprint: f.Fingerprint})
		}
	}
	if len(h.Drains) > maxDrains {
		return fault.Wrap(fault.Conflict, op, "too many replaced values are still accepted; finish the running rotations first", TooManyDrains)
	}
	return nil
}

// describe computes hints and fingerprints of the new values and enters them as
// the live ones.
func (v *Vault) describe(ctx context.Context, op string, h *Head, fields map[string]secret.Text) error {
	for name, text := range fields {
		print, keyID, err := v.mac(ctx, op, text, "fp/1", h.Ref.Provider, h.Ref.Org)
		if err != nil {
			return err
		}
		if h.FingerprintKey != keyID {
			// Fingerprints under a retired key compare with nothing; a wrong match is
			// worse than none.
			for i := range h.Fields {
				h.Fields[i].Fingerprint = ""
			}
			for i := range h.Drains {
				h.Drains[i].Fingerprint = ""
			}
			h.FingerprintKey = keyID
		}
		h.Fields = slices.DeleteFunc(h.Fields, func(f Field) bool { return f.Name == name })
		h.Fields = append(h.Fields, Field{
			Name: name, Version: h.ActiveVersion, Hint: v.hintOf(h.Ref, name, text), Fingerprint: print,
		})
	}
	if len(h.Fields) > maxFields {
		return invalid(op, "fields", "a credential has too many secret fields")
	}
	slices.SortFunc(h.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	h.heal()
	return nil
}

// mac is the first half of a keyed hash over a value, as 32 hexadecimal digits.
// The value is hashed before it is sent: it may be longer than the service
// takes, and no plain secret has to leave the process.
func (v *Vault) mac(ctx context.Context, op string, text secret.Text, parts ...string) (hash, keyID string, err error) {
	var sum [sha256.Size]byte
	if err := text.Use(func(b []byte) error { sum = sha256.Sum256(b); return nil }); err != nil {
		return "", "", fault.Wrap(fault.Internal, op, "internal error, try again later", err)
	}
	mac, keyID, err := v.kek.MAC(ctx, lengthPrefixed(append(parts, string(sum[:]))...))
	if err != nil {
		return "", "", keyFault(op, err)
	}
	if len(mac) < 16 {
		return "", "", keyFault(op, &KeyError{Reason: KeyUnexpected})
	}
	return hex.EncodeToString(mac[:16]), keyID, nil
}

// unchanged refuses a rotation to the present value: it would change nothing and
// hide a mistake. Only a new origin may come with the same value.
func unchanged(op string, old, h Head, fields map[string]secret.Text) error {
	for name, text := range fields {
		was, _ := old.field(name)
		now, _ := h.field(name)
		if was.Broken {
			continue // the same value entered again is what it waits for
		}
		if was.Fingerprint != "" && was.Fingerprint == now.Fingerprint && old.FingerprintKey == h.FingerprintKey && old.Origin == h.Origin {
			return fault.Wrap(fault.Conflict, op, "the value is the one already stored; enter the new one", Duplicate).WithParam(name)
		}
		if was.Hint != "" && text.Equal(secret.FromString(was.Hint)) {
			return fault.Wrap(fault.InvalidRequest, op, "the value is the displayed end of the stored secret; enter the new one in full",
				Masked).WithParam(name)
		}
	}
	return nil
}

func (v *Vault) refuseDuplicates(ctx context.Context, op string, h Head, fields map[string]secret.Text) error {
	if h.Ref.Class == taxonomy.ChannelVerify || h.Ref.Class == taxonomy.ChannelSend || h.Ref.Class == taxonomy.Tool {
		return nil
	}
	heads, err := v.store.Heads(ctx, h.Ref.Org)
	if err != nil {
		return storeFault(op, err)
	}
	for _, other := range heads {
		if other.Status != Active || other.Ref.Provider != h.Ref.Provider || other.Ref.Class != h.Ref.Class ||
			other.Origin != h.Origin || other.FingerprintKey != h.FingerprintKey {
			continue
		}
		for name := range fields {
			mine, _ := h.field(name)
			theirs, ok := other.field(name)
			if ok && theirs.Fingerprint != "" && theirs.Fingerprint == mine.Fingerprint {
				return fault.Wrap(fault.Conflict, op, "this value is already stored as credential "+other.Ref.ID+"; use that one or revoke it first",
					Duplicate).WithParam(name)
			}
		}
	}
	return nil
}

// sealAndCommit seals the fields into the head's newest version and writes both
// on condition that the key ring stayed as it was. A lost ring condition is
// repeated once: the ring changes twice in a human's life, not in a request's.
func (v *Vault) sealAndCommit(ctx context.Context, op string, h Head, fields map[string]secret.Text, c Change) (Head, error) {
	for try := 0; ; try++ {
		ring, err := v.ring(ctx, op)
		if err != nil {
			return Head{}, err
		}
		ver, err := v.seal(ctx, op, ring.Current, h, fields)
		if err != nil {
			return Head{}, err
		}
		c.Put, c.Ring = &ver, &ring
		stored, err := v.commit(ctx, op, h, c)
		if !errors.Is(err, ErrRing) || try > 0 {
			return stored, err
		}
	}
}

func (v *Vault) seal(ctx context.Context, op, arn string, h Head, fields map[string]secret.Text) (Version, error) {
	ectx := v.encryptionContext(h.Ref)
	key, err := v.kek.GenerateDataKey(ctx, arn, ectx)
	if err != nil {
		return Version{}, keyFault(op, err)
	}
	defer clear(key.Plain)
	sealed, err := v.sealFields(key.Plain, h.Ref, h.ActiveVersion, fields)
	if err != nil {
		return Version{}, keyFault(op, err)
	}
	return Version{
		Number: h.ActiveVersion, Format: Format, Alg: AlgAES256GCM, Key: key.Wrapped, Context: ectx, Revision: 1,
		Fields: sealed, CreatedBy: h.UpdatedBy, CreatedAt: h.UpdatedAt, WrappedAt: h.UpdatedAt,
	}, nil
}

// commit writes the head with c. If the outcome is unknown, or a repeated
// request ran into its own success, the stored head tells.
func (v *Vault) commit(ctx context.Context, op string, h Head, c Change) (Head, error) {
	var id [16]byte
	if _, err := io.ReadFull(v.rand, id[:]); err != nil {
		return Head{}, fault.Wrap(fault.Internal, op, "internal error, try again later", err)
	}
	h.WriteID = hex.EncodeToString(id[:])
	c.Head = &h
	err := v.store.Write(ctx, c)
	if err == nil {
		return h, nil
	}
	if stored, readErr := v.store.Head(ctx, h.Ref.Org, h.Ref.Class, h.Ref.ID); readErr == nil && stored.WriteID == h.WriteID {
		return h, nil
	}
	if errors.Is(err, ErrLost) && h.Epoch == 1 {
		return Head{}, fault.Wrap(fault.Conflict, op, "a credential with this id exists already", errors.Join(LostRace, err))
	}
	return Head{}, storeFault(op, err)
}

// versionsOf lists the versions a head needs, without repetition.
func versionsOf(h Head) []int {
	var out []int
	for _, f := range h.Fields {
		out = append(out, f.Version)
	}
	for _, d := range h.Drains {
		out = append(out, d.Version)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// released lists the versions that old needs and h does not.
func released(old, h Head) []int {
	return slices.DeleteFunc(versionsOf(old), h.Uses)
}

// stamp is now as it is stored: wall clock, milliseconds, UTC.
func (v *Vault) stamp() time.Time { return v.now().UTC().Round(0).Truncate(time.Millisecond) }
