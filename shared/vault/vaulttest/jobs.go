package vaulttest

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

const signing = "signing_secret"

func (e *env) rewrap() {
	ctx := context.Background()
	e.create(ref("c1"), signing, "one")
	e.rotate(ref("c1"), time.Hour, signing, "two")
	before := e.load(ref("c1"))
	e.mustMove(before, 1, e.second())
	e.mustMove(before, 2, e.second())
	c := e.load(ref("c1"))
	e.wantAll(c, signing, "+two", "one")
	e.wantAll(before, signing, "+two", "one") // requests in flight
	for i, ver := range c.Versions {
		if ver.Revision != 2 || ver.Key.KEK != e.second().Current || ver.Key.Material == "" || slices.Equal(ver.Key.Blob, before.Versions[i].Key.Blob) ||
			!slices.Equal(ver.Fields[signing].Ciphertext, before.Versions[i].Fields[signing].Ciphertext) {
			e.Errorf("version %d was not wrapped again: %+v", ver.Number, ver)
		}
	}
	if c.Head.Epoch != before.Head.Epoch {
		e.Error("a rewrap touched the head")
	}
	if out, _, err := e.v.Rewrap(ctx, before, 1, e.second()); out != vault.Lost || err != nil {
		e.Errorf("a stale copy must lose: %v, %v", out, err)
	}
	if _, err := e.v.Revoke(ctx, ref("c1"), Op()); err != nil {
		e.Fatal(err)
	}
	if out, _, err := e.v.Rewrap(ctx, c, 2, e.second()); out != vault.Lost || err != nil {
		e.Errorf("a rewrap must not bring revoked versions back: %v, %v", out, err)
	}
	_, _, err := e.v.Rewrap(ctx, e.load(ref("c1")), 2, e.second())
	e.wantCode("a revoked one", err, fault.NotFound, vault.IsRevoked)
	e.wantRefused("revoked", e.v, e.load(ref("c1")), signing, vault.IsRevoked)
}

// reseal: a fresh data key and fresh ciphertexts under the same number; whoever
// loaded the version before opens what they loaded.
func (e *env) reseal() {
	ctx := context.Background()
	e.create(ref("c1"), signing, "one", "other_secret", "other")
	e.rotate(ref("c1"), time.Hour, signing, "two")
	before := e.load(ref("c1"))
	late := e.clock.Now().Add(time.Minute)
	for _, n := range []int{1, 2} {
		if out, err := e.v.Reseal(ctx, before, n, e.second(), late); out != vault.Moved || err != nil {
			e.Fatalf("%v, %v (%s)", out, err, vault.ReasonOf(err))
		}
	}
	c := e.load(ref("c1"))
	for _, at := range []vault.Credential{before, c} {
		e.wantAll(at, signing, "+two", "one")
		e.wantValue(at, "other_secret", "other")
	}
	for i, ver := range c.Versions {
		was := before.Versions[i]
		if ver.Number != was.Number || ver.Revision != was.Revision+1 || ver.Key.KEK != e.second().Current || !ver.WrappedAt.Equal(late) ||
			!ver.CreatedAt.Equal(was.CreatedAt) || slices.Equal(ver.Fields[signing].Ciphertext, was.Fields[signing].Ciphertext) {
			e.Errorf("version %d: %+v", ver.Number, ver)
		}
		// The old data key must be of no use for the new ciphertext, and vice versa.
		mixed := copyCredential(c)
		mixed.Versions[i].Key = was.Key
		e.wantMixed(mixed, was.Number)
		mixed = copyCredential(before)
		mixed.Versions[i].Key = ver.Key
		e.wantMixed(mixed, was.Number)
	}
	if out, err := e.v.Reseal(ctx, before, 1, e.second(), late); out != vault.Lost || err != nil {
		e.Errorf("a stale copy must lose: %v, %v", out, err)
	}
	// A value that nobody needs any more and that is damaged goes; one that is
	// needed stops the reseal.
	if _, err := e.v.FinishRotation(ctx, ref("c1"), "", Op()); err != nil {
		e.Fatal(err)
	}
	c = e.load(ref("c1"))
	c.Versions[0].Fields[signing].Ciphertext[20] ^= 1
	if out, err := e.v.Reseal(ctx, c, 1, e.second(), late); out != vault.Moved || err != nil {
		e.Fatalf("%v, %v", out, err)
	}
	c = e.load(ref("c1"))
	if _, kept := c.Versions[0].Fields[signing]; kept {
		e.Error("a damaged value that nobody needs was kept")
	}
	e.wantValue(c, "other_secret", "other")
	e.wantValue(c, signing, "two")
	c.Versions[0].Fields["other_secret"].Ciphertext[20] ^= 1
	_, err := e.v.Reseal(ctx, c, 1, e.second(), late)
	e.wantCode("damaged", err, fault.VaultUnavailable, vault.TagMismatch)
}

// wantMixed demands that what a version holds opens no more.
func (e *env) wantMixed(c vault.Credential, n int) {
	e.Helper()
	problems, err := e.v.Examine(context.Background(), c)
	if err != nil {
		e.Fatal(err)
	}
	if !slices.ContainsFunc(problems, func(p vault.Problem) bool { return p.Version == n && p.Reason == vault.TagMismatch }) {
		e.Errorf("old and new parts of version %d open together: %+v", n, problems)
	}
}

// lateRewrites: a rewrite whose version was rotated away or rewritten by another
// worker meanwhile writes nothing.
func (e *env) lateRewrites() {
	ctx := context.Background()
	for name, rewrite := range map[string]func(vault.Credential) (vault.Outcome, error){
		"rewrap": func(c vault.Credential) (vault.Outcome, error) {
			out, _, err := e.v.Rewrap(ctx, c, 1, e.second())
			return out, err
		},
		"reseal": func(c vault.Credential) (vault.Outcome, error) {
			return e.v.Reseal(ctx, c, 1, e.second(), time.Time{})
		},
	} {
		seen := e.create(ref("rotated-"+name), signing, "one")
		e.rotate(ref("rotated-"+name), 0, signing, "two")
		if out, err := rewrite(seen); out != vault.Lost || err != nil {
			e.Errorf("%s after a rotation: %v, %v", name, out, err)
		}
		if c := e.load(ref("rotated-" + name)); len(c.Versions) != 1 || c.Head.Epoch != 2 {
			e.Errorf("%s brought a version back: %+v", name, c)
		}
		e.wantAll(e.load(ref("rotated-"+name)), signing, "+two")
		seen = e.create(ref("moved-"+name), signing, "one")
		e.mustMove(seen, 1, e.second())
		if out, err := rewrite(seen); out != vault.Lost || err != nil {
			e.Errorf("%s after another worker: %v, %v", name, out, err)
		}
		e.wantAll(e.load(ref("moved-"+name)), signing, "+one")
	}
}

// ringHolds: whoever read the ring before it changed stores nothing.
func (e *env) ringHolds() {
	ctx := context.Background()
	if r, err := e.v.Ring(ctx); err != nil || r != (vault.Ring{Current: e.kek.Keys()[0]}) {
		e.Fatalf("a fresh ring: %+v, %v", r, err)
	}
	c := e.create(ref("c1"), signing, "one")
	late := vault.Ring{Current: e.second().Current, Epoch: 7}
	_, _, err := e.v.Rewrap(ctx, c, 1, late)
	e.wantCode("rewrap", err, fault.Conflict, vault.RingMoved)
	_, err = e.v.Reseal(ctx, c, 1, late, time.Time{})
	e.wantCode("reseal", err, fault.Conflict, vault.RingMoved)
	e.wantAll(e.load(ref("c1")), signing, "+one")
	if got := e.load(ref("c1")).Versions[0]; got.Revision != 1 {
		e.Errorf("written under a ring that is not the stored one: %+v", got)
	}

	behind := e.vault(fixedRing{e.store, late}, "latchkey", "test")
	_, err = behind.Create(ctx, vault.NewCredential{Op: Op(), Ref: ref("c2"), Fields: texts(signing, "two")})
	e.wantCode("create", err, fault.Conflict, vault.RingMoved)
	_, err = e.v.Load(ctx, testOrg, ref("c2").Class, "c2")
	e.wantCode("nothing is stored", err, fault.NotFound, "")
	_, err = behind.Rotate(ctx, vault.Rotation{Op: Op(), Ref: ref("c1"), Fields: texts(signing, "two")})
	e.wantCode("rotate", err, fault.Conflict, vault.RingMoved)
	e.wantAll(e.load(ref("c1")), signing, "+one")

	// One change of the ring in between costs a repetition, no error.
	once := &movingRing{Store: e.store, first: late}
	if _, err := e.vault(once, "latchkey", "test").Create(ctx, vault.NewCredential{Op: Op(), Ref: ref("c3"), Fields: texts(signing, "three")}); err != nil {
		e.Errorf("create across a change of the ring: %v (%s)", err, vault.ReasonOf(err))
	}
	if c := e.load(ref("c3")); c.Versions[0].Key.KEK != e.kek.Keys()[0] {
		e.Errorf("created under the key of the ring before: %+v", c.Versions[0].Key)
	}
	e.wantAll(e.load(ref("c3")), signing, "+three")
	// Writers that wrap nothing do not care.
	if _, err := behind.Revoke(ctx, ref("c1"), Op()); err != nil {
		e.Errorf("revoke: %v", err)
	}
	// A function that was not told of the ring's key writes nothing.
	blind := e.vault(fixedRing{e.store, vault.Ring{Current: e.second().Current + "0", Epoch: 7}}, "latchkey", "test")
	_, err = blind.Create(ctx, vault.NewCredential{Op: Op(), Ref: ref("c4"), Fields: texts(signing, "four")})
	e.wantCode("an unknown key", err, fault.VaultUnavailable, vault.KeyIncorrect)
}

// fixedRing reads a ring that is not the stored one.
type fixedRing struct {
	vault.Store
	ring vault.Ring
}

func (s fixedRing) Ring(context.Context) (vault.Ring, error) { return s.ring, nil }

// movingRing reads another ring once.
type movingRing struct {
	vault.Store
	first vault.Ring
	done  bool
}

func (s *movingRing) Ring(ctx context.Context) (vault.Ring, error) {
	if !s.done {
		s.done = true
		return s.first, nil
	}
	return s.Store.Ring(ctx)
}

func (e *env) examine() {
	ctx := context.Background()
	e.create(ref("c1"), signing, "one", "other_secret", "other")
	e.rotate(ref("c1"), time.Hour, signing, "two")
	good := e.load(ref("c1"))
	for what, c := range map[string]struct {
		change func(*vault.Credential)
		want   []vault.Problem
	}{
		"nothing":     {func(*vault.Credential) {}, nil},
		"live value":  {func(c *vault.Credential) { c.Versions[1].Fields[signing].Ciphertext[20] ^= 1 }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.TagMismatch}}},
		"drain":       {func(c *vault.Credential) { c.Versions[0].Fields[signing].Ciphertext[20] ^= 1 }, []vault.Problem{{Field: signing, Version: 1, Reason: vault.TagMismatch}}},
		"wrapped key": {func(c *vault.Credential) { c.Versions[1].Key.Blob[len(c.Versions[1].Key.Blob)-1] ^= 1 }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.KeyInvalidCiphertext}}},
		"foreign key": {func(c *vault.Credential) { c.Versions[1].Key.KEK += "0" }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.KeyIncorrect}}},
		"context":     {func(c *vault.Credential) { c.Versions[1].Context["org"] = "x" }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.ContextMismatch}}},
		"format":      {func(c *vault.Credential) { c.Versions[1].Format = "bv2" }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.UnknownFormat}}},
		"version": {func(c *vault.Credential) { c.Versions = c.Versions[1:] }, []vault.Problem{
			{Field: "other_secret", Version: 1, Reason: vault.VersionMissing}, {Field: signing, Version: 1, Reason: vault.VersionMissing}}},
		"field":      {func(c *vault.Credential) { delete(c.Versions[1].Fields, signing) }, []vault.Problem{{Field: signing, Version: 2, Reason: vault.VersionMissing}}},
		"head":       {func(c *vault.Credential) { c.Head.Status = vault.Unreadable }, []vault.Problem{{Reason: vault.MalformedRecord}}},
		"quarantine": {func(c *vault.Credential) { c.Head.Status = vault.NeedsReentry }, []vault.Problem{{Reason: vault.AwaitsReentry}}},
		"revoked":    {func(c *vault.Credential) { c.Head.Status = vault.Revoked }, nil},
	} {
		changed := copyCredential(good)
		c.change(&changed)
		for i := range c.want {
			c.want[i].Ref = ref("c1")
		}
		got, err := e.v.Examine(ctx, changed)
		if err != nil || !slices.Equal(got, c.want) {
			e.Errorf("%s: %+v, %v; want %+v", what, got, err, c.want)
		}
	}
	// The drain's end is the end of its matter.
	e.clock.Advance(time.Hour)
	changed := copyCredential(good)
	changed.Versions[0].Fields[signing].Ciphertext[20] ^= 1
	if got, err := e.v.Examine(ctx, changed); err != nil || len(got) != 0 {
		e.Errorf("a value that is not accepted any more: %+v, %v", got, err)
	}
}

// quarantine: a value that opens nowhere is refused with a clear word, nothing
// is deleted, and entering it again heals it.
func (e *env) quarantine() {
	ctx := context.Background()
	e.create(ref("c1"), signing, "one", "other_secret", "other")
	e.rotate(ref("c1"), time.Hour, signing, "two")
	// Version 1 has the live other_secret and the draining value of signing.
	h, err := e.v.Quarantine(ctx, ref("c1"), 1, Op())
	if err != nil || h.Status != vault.NeedsReentry || len(h.Drains) != 0 {
		e.Fatalf("%v, %+v", err, h)
	}
	c := e.load(ref("c1"))
	if len(c.Versions) != 2 {
		e.Errorf("a quarantine deleted something: %+v", c.Versions)
	}
	e.wantRefused("quarantined", e.v, c, "other_secret", vault.AwaitsReentry)
	e.wantRefused("another field", e.v, c, signing, vault.AwaitsReentry)
	if again, err := e.v.Quarantine(ctx, ref("c1"), 1, Op()); err != nil || again.Epoch != h.Epoch {
		e.Errorf("twice: %v, %+v", err, again)
	}
	e.rotate(ref("c1"), time.Hour, signing, "three")
	e.wantRefused("only the other one was entered", e.v, e.load(ref("c1")), signing, vault.AwaitsReentry)
	e.rotate(ref("c1"), time.Hour, "other_secret", "other") // the same value again
	c = e.load(ref("c1"))
	if c.Head.Status != vault.Active {
		e.Fatalf("head: %+v", c.Head)
	}
	e.wantAll(c, "other_secret", "+other")
	e.wantAll(c, signing, "+three", "two")
	if slices.ContainsFunc(c.Versions, func(v vault.Version) bool { return v.Number == 1 }) {
		e.Error("the broken version is still stored")
	}
	// Going back to a value that still opens heals, too.
	e.create(ref("c2"), signing, "one")
	e.rotate(ref("c2"), time.Hour, signing, "two")
	if h, err = e.v.Quarantine(ctx, ref("c2"), 2, Op()); err != nil || h.Status != vault.NeedsReentry || len(h.Drains) != 1 {
		e.Fatalf("%v, %+v", err, h)
	}
	if h, err = e.v.Rollback(ctx, ref("c2"), signing, Op()); err != nil || h.Status != vault.Active {
		e.Fatalf("%v, %+v", err, h)
	}
	e.wantAll(e.load(ref("c2")), signing, "+one")
	// A drain alone ends without taking the live value along.
	h, err = e.v.Quarantine(ctx, ref("c1"), 2, Op())
	if err != nil || h.Status != vault.Active || len(h.Drains) != 0 {
		e.Errorf("drain: %v, %+v", err, h)
	}
	e.wantAll(e.load(ref("c1")), signing, "+three")
	if _, err := e.v.Revoke(ctx, ref("c1"), Op()); err != nil {
		e.Fatal(err)
	}
	if h, err := e.v.Quarantine(ctx, ref("c1"), 3, Op()); err != nil || h.Status != vault.Revoked {
		e.Errorf("a revoked one: %v, %+v", err, h)
	}
}

// missing shows credentials without one version.
type missing struct {
	vault.Store
	number int
}

func (s missing) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error) {
	c, err := s.Store.Load(ctx, org, class, id)
	c.Versions = slices.DeleteFunc(c.Versions, func(v vault.Version) bool { return v.Number == s.number })
	return c, err
}

func (e *env) repair() {
	ctx := context.Background()
	without := func(n int) *vault.Vault { return e.vault(missing{e.store, n}, "latchkey", "test") }
	e.create(ref("c1"), signing, "one", "other_secret", "other")
	e.rotate(ref("c1"), time.Hour, signing, "two")
	second := e.load(ref("c1")).Head
	e.rotate(ref("c1"), time.Hour, signing, "three")
	whole, err := e.v.Repair(ctx, ref("c1"), Op())
	if err != nil || whole.Epoch != 3 || !e.load(ref("c1")).Sound() {
		e.Fatalf("a whole one: %v, %+v", err, whole)
	}
	h, err := without(3).Repair(ctx, ref("c1"), Op())
	if err != nil || h.Status != vault.Active || h.Epoch != 4 {
		e.Fatalf("%v, %+v", err, h)
	}
	// The newest value that still drains takes over, with what is shown of it.
	if print := h.Fields[1].Fingerprint; print == "" || print != second.Fields[1].Fingerprint {
		e.Errorf("fingerprint %q of another value: %+v", print, second)
	}
	e.wantAll(e.load(ref("c1")), signing, "+two", "one")
	e.wantAll(e.load(ref("c1")), "other_secret", "+other")

	// Version 1 holds an older value of signing, but its overlap is over: it may
	// have leaked.
	e.clock.Advance(2 * time.Hour)
	h, err = without(2).Repair(ctx, ref("c1"), Op())
	if err != nil || h.Status != vault.NeedsReentry {
		e.Fatalf("%v, %+v", err, h)
	}
	e.wantRefused("nothing to go back to", e.v, e.load(ref("c1")), "other_secret", vault.AwaitsReentry)
	e.rotate(ref("c1"), 0, signing, "four")
	e.wantAll(e.load(ref("c1")), signing, "+four")
	e.wantAll(e.load(ref("c1")), "other_secret", "+other")

	// A drain whose version is gone ends.
	e.create(ref("c2"), signing, "one")
	e.rotate(ref("c2"), time.Hour, signing, "two")
	h, err = without(1).Repair(ctx, ref("c2"), Op())
	if err != nil || h.Status != vault.Active || len(h.Drains) != 0 {
		e.Errorf("%v, %+v", err, h)
	}
	e.wantAll(e.load(ref("c2")), signing, "+two")
}

// wrongKeyName: a data key that opens under another configured key than the one
// it names is moved, one that opens nowhere is not touched.
func (e *env) wrongKeyName() {
	ctx := context.Background()
	c := e.create(ref("c1"), signing, "one")
	name := c.Versions[0].Key.KEK
	c.Versions[0].Key.KEK = e.second().Current
	out, _, err := e.v.Rewrap(ctx, c, 1, e.second())
	if err != nil || out != vault.Lost { // the stored record names the right one
		e.Fatalf("%v, %v (%s)", out, err, vault.ReasonOf(err))
	}
	c.Versions[0].Key.KEK = name
	c.Versions[0].Key.Blob[len(c.Versions[0].Key.Blob)-1] ^= 1
	_, _, err = e.v.Rewrap(ctx, c, 1, e.second())
	e.wantCode("opens nowhere", err, fault.VaultUnavailable, vault.KeyInvalidCiphertext)
	c.Versions[0].Key.KEK += "0"
	_, _, err = e.v.Rewrap(ctx, c, 1, e.second())
	e.wantCode("a key that may come back", err, fault.VaultUnavailable, vault.KeyIncorrect)
	e.wantAll(e.load(ref("c1")), signing, "+one")
}
