package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/secret"
)

// Outcome is what became of one version.
type Outcome int

// Outcomes. Lost means that another writer was faster; what it left is seen when
// the version is looked at again.
const (
	Moved Outcome = iota
	Lost
)

// Rewrap wraps the data key of one loaded version under the ring's current key.
// The secret is not opened, requests that loaded the version before can still
// open it. It returns the key material that was used. The version is written if
// nobody changed it or the ring since they were read: a worker that was thought
// dead cannot bring a retired key back. A data key that does not open under the
// key it names is tried under the other configured ones. Errors:
// vault_unavailable with the reason, conflict with reason ring_moved.
func (v *Vault) Rewrap(ctx context.Context, c Credential, number int, ring Ring) (Outcome, string, error) {
	const op = "vault.Rewrap"
	ver, ectx, err := v.rewritable(op, c, number)
	if err != nil {
		return Lost, "", err
	}
	key, err := v.reEncrypt(ctx, ver.Key, ring.Current, ectx)
	if err != nil {
		return Lost, "", keyFault(op, err)
	}
	next := ver
	next.Key, next.WrappedAt = key, v.stamp()
	out, err := v.rewrite(ctx, op, c.Head.Ref, ver, next, ring)
	return out, key.Material, err
}

func (v *Vault) reEncrypt(ctx context.Context, key WrappedKey, to string, ectx map[string]string) (moved WrappedKey, err error) {
	err = v.underAnyKey(key, func(k WrappedKey) (err error) {
		moved, err = v.kek.ReEncrypt(ctx, k, to, ectx)
		return err
	})
	return moved, err
}

// underAnyKey calls open with the wrapped key as it is stored and, if the key
// service says that it is not one of the key it names, as one of every other
// configured key. The reason of a key that opens nowhere is
// [KeyInvalidCiphertext]; one that names a key which is not configured is left
// alone, because that key may come back.
func (v *Vault) underAnyKey(key WrappedKey, open func(WrappedKey) error) error {
	keys := v.kek.Keys()
	first := open(key)
	if !slices.Contains(keys, key.KEK) || !foreign(first) {
		return first
	}
	for _, arn := range keys {
		if arn == key.KEK {
			continue
		}
		named := key
		named.KEK = arn
		if err := open(named); !foreign(err) {
			return err
		}
	}
	return &KeyError{Reason: KeyInvalidCiphertext, Err: first}
}

// foreign says that the key service was asked and the data key is not one of the
// named key and context.
func foreign(err error) bool {
	r := ReasonOf(err)
	return r == KeyInvalidCiphertext || r == KeyIncorrect
}

// Reseal gives one loaded version a fresh data key under the ring's current key
// and seals its values anew under the same version number. at is the earliest
// time that the version is stamped with. Values that the head does not use any
// more and that do not open are left out. Conditions and errors are those of
// [Vault.Rewrap]; reason tag_mismatch means that a value is damaged.
func (v *Vault) Reseal(ctx context.Context, c Credential, number int, ring Ring, at time.Time) (Outcome, error) {
	const op = "vault.Reseal"
	ver, ectx, err := v.rewritable(op, c, number)
	if err != nil {
		return Lost, err
	}
	fields, err := v.openAll(ctx, op, c.Head, ver, ectx)
	if err != nil {
		return Lost, err
	}
	key, err := v.kek.GenerateDataKey(ctx, ring.Current, ectx)
	if err != nil {
		return Lost, keyFault(op, err)
	}
	defer clear(key.Plain)
	next := ver
	next.Key, next.WrappedAt = key.Wrapped, v.stamp()
	if next.WrappedAt.Before(at) {
		next.WrappedAt = at
	}
	if next.Fields, err = v.sealFields(key.Plain, c.Head.Ref, number, fields); err != nil {
		return Lost, keyFault(op, err)
	}
	return v.rewrite(ctx, op, c.Head.Ref, ver, next, ring)
}

// openAll opens every value of a version.
func (v *Vault) openAll(ctx context.Context, op string, h Head, ver Version, ectx map[string]string) (map[string]secret.Text, error) {
	var key []byte
	err := v.underAnyKey(ver.Key, func(k WrappedKey) (err error) {
		key, err = v.kek.Decrypt(ctx, k, ectx)
		return err
	})
	if err != nil {
		return nil, keyFault(op, err)
	}
	defer clear(key)
	fields := map[string]secret.Text{}
	for name := range ver.Fields {
		used := h.needs(name, ver.Number)
		sealed, err := v.check(h, ver, name)
		plain := []byte(nil)
		if err == nil {
			plain, err = v.openField(key, h.Ref, ver.Number, name, sealed)
		}
		v.onUse(ctx, Event{Ref: h.Ref, Version: ver.Number, Field: name, Purpose: "reseal", Cache: CacheNone, Outcome: ReasonOf(err)})
		switch {
		case err == nil:
			fields[name] = secret.New(plain)
			clear(plain)
		case used:
			return nil, reasonFault(op, ReasonOf(err), err)
		}
	}
	return fields, nil
}

// rewritable checks that a version may be rewritten and returns its context.
func (v *Vault) rewritable(op string, c Credential, number int) (Version, map[string]string, error) {
	ver, ok := c.version(number)
	ectx := v.encryptionContext(c.Head.Ref)
	switch {
	case c.Head.Status == Revoked:
		return ver, nil, reasonFault(op, IsRevoked, nil)
	case checkRef(op, c.Head.Ref) != nil || c.Head.Status == Unreadable:
		return ver, nil, reasonFault(op, MalformedRecord, nil)
	case !ok:
		return ver, nil, reasonFault(op, VersionMissing, nil)
	case ver.Format != Format:
		return ver, nil, reasonFault(op, UnknownFormat, nil)
	case !maps.Equal(ver.Context, ectx):
		return ver, nil, reasonFault(op, ContextMismatch, nil)
	}
	return ver, ectx, nil
}

func (v *Vault) rewrite(ctx context.Context, op string, ref Ref, was, next Version, ring Ring) (Outcome, error) {
	next.Revision = was.Revision + 1
	err := v.store.Write(ctx, Change{Ring: &ring, Rewrap: &Rewrap{Ref: ref, Version: next, FromRevision: was.Revision, FromKey: was.Key.KEK}})
	switch {
	case errors.Is(err, ErrLost):
		return Lost, nil
	case err != nil:
		return Lost, storeFault(op, err)
	}
	return Moved, nil
}

// Problem is one thing that [Vault.Examine] found.
type Problem struct {
	Ref     Ref
	Field   string
	Version int
	Reason  Reason
}

// Examine opens every value of a credential that is live or still drains, past
// the cache, and reports what does not open. It changes nothing. An error means
// that the key service could not be asked: vault_unavailable.
func (v *Vault) Examine(ctx context.Context, c Credential) ([]Problem, error) {
	const op = "vault.Examine"
	h := c.Head
	switch h.Status {
	case Revoked:
		return nil, nil
	case NeedsReentry:
		return []Problem{{Ref: h.Ref, Reason: AwaitsReentry}}, nil
	case Active:
	default:
		return []Problem{{Ref: h.Ref, Reason: MalformedRecord}}, nil
	}
	var found []Problem
	now := v.now()
	for _, n := range versionsOf(h) {
		names := h.usedIn(n, now)
		if len(names) == 0 {
			continue
		}
		reasons, err := v.examineVersion(ctx, c, n, names)
		if err != nil {
			return nil, keyFault(op, err)
		}
		for i, r := range reasons {
			v.onUse(ctx, Event{Ref: h.Ref, Version: n, Field: names[i], Purpose: "verify", Cache: CacheNone, Outcome: r})
			if r != "" {
				found = append(found, Problem{Ref: h.Ref, Field: names[i], Version: n, Reason: r})
			}
		}
	}
	return found, nil
}

// examineVersion gives one reason per name, empty for a value that opens. An
// error is an outage.
func (v *Vault) examineVersion(ctx context.Context, c Credential, n int, names []string) ([]Reason, error) {
	reasons := make([]Reason, len(names))
	ver, ok := c.version(n)
	if !ok {
		return all(reasons, VersionMissing), nil
	}
	ectx := v.encryptionContext(c.Head.Ref)
	if ver.Format != Format || !maps.Equal(ver.Context, ectx) {
		_, err := v.check(c.Head, ver, names[0])
		return all(reasons, ReasonOf(err)), nil
	}
	key, err := v.kek.Decrypt(ctx, ver.Key, ectx)
	if err != nil {
		if IsOutage(err) {
			return nil, err
		}
		r := ReasonOf(err)
		if r == "" {
			r = KeyUnexpected
		}
		return all(reasons, r), nil
	}
	defer clear(key)
	for i, name := range names {
		sealed, err := v.check(c.Head, ver, name)
		var plain []byte
		if err == nil {
			plain, err = v.openField(key, c.Head.Ref, n, name, sealed)
		}
		clear(plain)
		reasons[i] = ReasonOf(err)
	}
	return reasons, nil
}

func all(reasons []Reason, r Reason) []Reason {
	for i := range reasons {
		reasons[i] = r
	}
	return reasons
}

// IsOutage reports whether an error of the vault says nothing about the record
// it was about: the key service or the store could not be asked.
func IsOutage(err error) bool {
	switch ReasonOf(err) {
	case KeyThrottled, KeyUnavailable, KeyTimeout, StoreFailed:
		return true
	}
	return false
}

// needs reports whether a value is live or still drains, ended or not.
func (h Head) needs(field string, version int) bool {
	return slices.ContainsFunc(h.Fields, func(f Field) bool { return f.Name == field && f.Version == version }) ||
		slices.ContainsFunc(h.Drains, func(d Drain) bool { return d.Field == field && d.Version == version })
}

// usedIn lists the fields that are accepted from a version, sorted.
func (h Head) usedIn(version int, now time.Time) []string {
	var out []string
	for _, f := range h.Fields {
		if f.Version == version {
			out = append(out, f.Name)
		}
	}
	for _, d := range h.Drains {
		if d.Version == version && now.Before(d.Until) {
			out = append(out, d.Field)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Quarantine takes a version that opens under no key out of use: the overlap of
// values that only drain from it ends, and live ones make the credential
// [NeedsReentry]. The version stays stored. It returns the head as it is then;
// a head that does not use the version is returned unchanged, without an audit
// row. Errors: conflict, not_found, vault_unavailable.
func (v *Vault) Quarantine(ctx context.Context, ref Ref, number int, by audit.Op) (Head, error) {
	const op = "vault.Quarantine"
	return v.amend(ctx, op, ref, by, "quarantine", func(h *Head) bool {
		before := len(h.Drains)
		h.Drains = slices.DeleteFunc(h.Drains, func(d Drain) bool { return d.Version == number })
		changed := len(h.Drains) != before
		for i := range h.Fields {
			if f := &h.Fields[i]; f.Version == number && !f.Broken {
				f.Broken, h.Status, changed = true, NeedsReentry, true
			}
		}
		return changed
	})
}

// Repair mends a head that names versions which do not exist: a live field goes
// back to its newest value that still drains and is stored, and without one the
// credential becomes [NeedsReentry]. A value whose overlap has ended is never
// brought back: it may have been replaced because it leaked. A head that is whole
// is returned unchanged. Errors: as [Vault.Quarantine].
func (v *Vault) Repair(ctx context.Context, ref Ref, by audit.Op) (Head, error) {
	const op = "vault.Repair"
	c, err := v.Load(ctx, ref.Org, ref.Class, ref.ID)
	if err != nil {
		return Head{}, err
	}
	now := v.now()
	stored := func(n int, field string) bool {
		ver, ok := c.version(n)
		_, has := ver.Fields[field]
		return ok && (has || ver.Format == "") // one that cannot be read is not missing
	}
	return v.amend(ctx, op, ref, by, "repair", func(h *Head) bool {
		if h.Epoch != c.Head.Epoch+1 || h.Status != Active {
			return false // changed since it was loaded
		}
		changed := false
		for i := range h.Fields {
			f := &h.Fields[i]
			if stored(f.Version, f.Name) {
				continue
			}
			changed = true
			best := Drain{}
			for _, d := range h.Drains {
				if d.Field == f.Name && now.Before(d.Until) && d.Version > best.Version && stored(d.Version, d.Field) {
					best = d
				}
			}
			if best.Version == 0 {
				f.Broken, h.Status = true, NeedsReentry
				continue
			}
			f.Version, f.Hint, f.Fingerprint = best.Version, best.Hint, best.Fingerprint
		}
		before := len(h.Drains)
		h.Drains = slices.DeleteFunc(h.Drains, func(d Drain) bool { return !stored(d.Version, d.Field) || h.live(d.Field, d.Version) })
		return changed || len(h.Drains) != before
	})
}

func (h Head) live(field string, version int) bool {
	f, ok := h.field(field)
	return ok && f.Version == version
}

// HasEndedDrains reports whether [Vault.Prune] has something to remove.
func (h Head) HasEndedDrains(now time.Time) bool {
	return slices.ContainsFunc(h.Drains, func(d Drain) bool { return !now.Before(d.Until) })
}

// Sound reports whether every version that the head uses was loaded with its
// field.
func (c Credential) Sound() bool {
	if c.Head.Status != Active {
		return true
	}
	has := func(field string, n int) bool {
		ver, ok := c.version(n)
		_, stored := ver.Fields[field]
		return ok && (stored || ver.Format == "")
	}
	for _, f := range c.Head.Fields {
		if !has(f.Name, f.Version) {
			return false
		}
	}
	for _, d := range c.Head.Drains {
		if !has(d.Field, d.Version) {
			return false
		}
	}
	return true
}

// heal ends the quarantine of a head whose fields are all whole again.
func (h *Head) heal() {
	if h.Status == NeedsReentry && !slices.ContainsFunc(h.Fields, func(f Field) bool { return f.Broken }) {
		h.Status = Active
	}
}

// amend changes a head and nothing else; change reports whether there is
// something to write.
func (v *Vault) amend(ctx context.Context, op string, ref Ref, by audit.Op, verb string, change func(*Head) bool) (Head, error) {
	if err := firstOf(checkRef(op, ref), checkOp(op, by)); err != nil {
		return Head{}, err
	}
	old, err := v.writable(ctx, op, ref)
	if err != nil {
		if ReasonOf(err) == IsRevoked {
			return old, nil
		}
		return Head{}, err
	}
	h := v.next(old, by.Actor)
	if !change(&h) {
		return old, nil
	}
	return v.commit(ctx, op, h, Change{Row: h.row(by, verb, nil)})
}
