package vaulttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Harness opens a fresh, empty pair for one test.
type Harness func(t *testing.T) (vault.Store, vault.KEK)

// Run holds a pair of a store and a key service to the guarantees of the vault.
// The key service must have two wrapping keys or more.
func Run(t *testing.T, open Harness) {
	run := func(name string, age aging, f func(*env)) {
		t.Run(name, func(t *testing.T) {
			store, kek := open(t)
			e := &env{T: t, store: store, kek: kek, clock: NewClock(), age: age}
			e.v = e.vault(store, "latchkey", "test")
			f(e)
		})
	}
	// What guards a record as it was created guards it after a rotation, too.
	for age, suffix := range map[aging]string{asCreated: "", rewrapped: " after a rewrap", resealed: " after a reseal"} {
		run("every ciphertext bit"+suffix, age, (*env).ciphertextBits)
		run("every wrapped key bit"+suffix, age, (*env).wrappedKeyBits)
		run("every context part"+suffix, age, (*env).contextParts)
		run("moved ciphertext"+suffix, age, (*env).swaps)
		run("unknown layouts"+suffix, age, (*env).unknownLayouts)
		run("rotation overlap"+suffix, age, (*env).rotation)
	}
	for _, c := range []struct {
		name string
		run  func(*env)
	}{
		{"round trip", (*env).roundTrip},
		{"scopes", (*env).scopes},
		{"partial rotation", (*env).partialRotation},
		{"revoke", (*env).revoke},
		{"duplicates", (*env).duplicates},
		{"one of many rotations wins", (*env).concurrentRotate},
		{"one of many creates wins", (*env).concurrentCreate},
		{"writers that read too early lose", (*env).staleWriters},
		{"crashes", (*env).crashes},
		{"rewrap", (*env).rewrap},
		{"audit rows", (*env).auditRows},
		{"reseal", (*env).reseal},
		{"a late rewrite changes nothing", (*env).lateRewrites},
		{"the ring holds", (*env).ringHolds},
		{"examine", (*env).examine},
		{"quarantine and re-entry", (*env).quarantine},
		{"repair", (*env).repair},
		{"wrong key name", (*env).wrongKeyName},
	} {
		run(c.name, asCreated, c.run)
	}
}

// aging is what has happened to the records of a test.
type aging int

const (
	asCreated aging = iota
	rewrapped
	resealed
)

// Clock is a settable clock, safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock starts on a fixed day.
func NewClock() *Clock { return &Clock{at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

// Now is the present time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type env struct {
	*testing.T
	store vault.Store
	kek   vault.KEK
	clock *Clock
	v     *vault.Vault
	age   aging
}

const (
	testOrg      = "org1"
	testProvider = "vendor"
	testOrigin   = "https://api.vendor.example"
)

func (e *env) vault(store vault.Store, app, stage string) *vault.Vault {
	e.Helper()
	v, err := vault.New(vault.Options{Store: store, KEK: e.kek, Fields: Fields(), Now: e.clock.Now, App: app, Stage: stage})
	if err != nil {
		e.Fatal(err)
	}
	return v
}

// Op is somebody's operation. A credential's audit rows tell its writes apart,
// so it serves any number of them.
func Op() audit.Op {
	return audit.Op{Actor: "test", ID: "op1", At: NewClock().Now()}
}

func ref(id string) vault.Ref {
	return vault.Ref{Org: testOrg, ID: id, Provider: testProvider, Class: taxonomy.ChannelVerify}
}

func texts(pairs ...string) map[string]secret.Text {
	out := map[string]secret.Text{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = secret.FromString(pairs[i+1])
	}
	return out
}

// create stores a credential; every pair is a field and its value.
func (e *env) create(r vault.Ref, pairs ...string) vault.Credential {
	e.Helper()
	_, err := e.v.Create(context.Background(), vault.NewCredential{Op: Op(), Ref: r, Origin: testOrigin, Fields: texts(pairs...)})
	if err != nil {
		e.Fatalf("create: %v (%s)", err, vault.ReasonOf(err))
	}
	e.grow(r)
	return e.load(r)
}

// second is a ring under another key than the one that new records have. It was
// never stored, as the store's was not.
func (e *env) second() vault.Ring { return vault.Ring{Current: e.kek.Keys()[1]} }

// grow ages the stored versions of a credential.
func (e *env) grow(r vault.Ref) {
	e.Helper()
	if e.age == asCreated {
		return
	}
	c := e.load(r)
	for _, ver := range c.Versions {
		if e.age == rewrapped {
			e.mustMove(c, ver.Number, e.second())
		} else if out, err := e.v.Reseal(context.Background(), c, ver.Number, e.second(), time.Time{}); out != vault.Moved || err != nil {
			e.Fatalf("reseal: %v, %v (%s)", out, err, vault.ReasonOf(err))
		}
	}
}

func (e *env) mustMove(c vault.Credential, number int, ring vault.Ring) {
	e.Helper()
	if out, _, err := e.v.Rewrap(context.Background(), c, number, ring); out != vault.Moved || err != nil {
		e.Fatalf("rewrap: %v, %v (%s)", out, err, vault.ReasonOf(err))
	}
}

func (e *env) load(r vault.Ref) vault.Credential {
	e.Helper()
	c, err := e.v.Load(context.Background(), r.Org, r.Class, r.ID)
	if err != nil {
		e.Fatalf("load: %v (%s)", err, vault.ReasonOf(err))
	}
	return c
}

func (e *env) rotate(r vault.Ref, overlap time.Duration, pairs ...string) {
	e.Helper()
	if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: Op(), Ref: r, Fields: texts(pairs...), Overlap: overlap}); err != nil {
		e.Fatalf("rotate: %v (%s)", err, vault.ReasonOf(err))
	}
	e.grow(r)
}

// reveal opens a field; the error's reason is returned as text.
func reveal(v *vault.Vault, c vault.Credential, field string) (string, error) {
	value := ""
	err := v.Reveal(context.Background(), c, vault.Use{Field: field, Purpose: "test"}, func(b []byte) error {
		value = string(b)
		return nil
	})
	return value, err
}

func (e *env) wantValue(c vault.Credential, field, want string) {
	e.Helper()
	got, err := reveal(e.v, c, field)
	if err != nil || got != want {
		e.Fatalf("%s = %q, %v (%s); want %q", field, got, err, vault.ReasonOf(err), want)
	}
}

// wantRefused demands one of the reasons and that the callback was not called.
func (e *env) wantRefused(what string, v *vault.Vault, c vault.Credential, field string, reasons ...vault.Reason) {
	e.Helper()
	called := false
	err := v.Reveal(context.Background(), c, vault.Use{Field: field, Purpose: "test"}, func([]byte) error { called = true; return nil })
	if called || err == nil {
		e.Fatalf("%s: the credential opened", what)
	}
	for _, r := range reasons {
		if vault.ReasonOf(err) == r {
			return
		}
	}
	e.Fatalf("%s: reason %q, want one of %q", what, vault.ReasonOf(err), reasons)
}

// all lists what RevealAll gives for a field: value and "+" for the live one.
func (e *env) all(c vault.Credential, field string) []string {
	e.Helper()
	var out []string
	err := e.v.RevealAll(context.Background(), c, vault.Use{Field: field, Purpose: "test"}, func(_ int, live bool, b []byte) error {
		mark := ""
		if live {
			mark = "+"
		}
		out = append(out, mark+string(b))
		return nil
	})
	if err != nil {
		e.Fatalf("RevealAll: %v (%s)", err, vault.ReasonOf(err))
	}
	return out
}

func (e *env) wantCode(what string, err error, code fault.Code, reason vault.Reason) {
	e.Helper()
	if fault.CodeOf(err) != code || vault.ReasonOf(err) != reason {
		e.Fatalf("%s: %v, reason %q; want %s, %q", what, err, vault.ReasonOf(err), code, reason)
	}
}

// meeting makes N readers of a head wait for each other, so that all of them
// write from the same state.
type meeting struct {
	vault.Store
	head func()
}

func (m meeting) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	h, err := m.Store.Head(ctx, org, class, id)
	m.head()
	return h, err
}

// stale answers with a head that was read earlier.
type stale struct {
	vault.Store
	head vault.Head
}

func (s stale) Head(context.Context, string, taxonomy.CredentialClass, string) (vault.Head, error) {
	return s.head, nil
}

// crasher loses one write, before or after it happened, and is dead from then
// on like a process that was killed.
type crasher struct {
	vault.Store
	after bool
	dead  bool
}

var errCrash = errors.New("vaulttest: crashed")

func (c *crasher) Write(ctx context.Context, change vault.Change) error {
	if c.dead {
		return errCrash
	}
	c.dead = true
	if c.after {
		if err := c.Store.Write(ctx, change); err != nil {
			return err
		}
	}
	return errCrash
}

func (c *crasher) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	if c.dead {
		return vault.Head{}, errCrash
	}
	return c.Store.Head(ctx, org, class, id)
}
