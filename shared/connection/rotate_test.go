package connection_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// previous opens the key that the gateway would fall back to.
func (f *fixture) previous(c connection.Connection) string {
	f.Helper()
	cred, err := f.vault.Load(f.Context(), c.Org, c.Class, c.ID)
	if err != nil {
		f.Fatal(err)
	}
	out := "none"
	if _, err := f.vault.RevealPrevious(f.Context(), cred, vault.Use{Field: connection.KeyField, Purpose: "test"},
		func(b []byte) error { out = string(b); return nil }); err != nil {
		f.Fatal(err)
	}
	return out
}

func TestOverlap(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	rotate := func(key string, overlap time.Duration) connection.Connection {
		t.Helper()
		return f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(key), overlap))
	}
	r := rotate(keyB, time.Hour)
	if f.opens(r) != keyB || f.previous(r) != keyA || !r.PreviousUntil.Equal(f.clock.Now().Add(time.Hour)) {
		t.Fatalf("%+v", r)
	}
	f.clock.Advance(time.Hour)
	if f.previous(r) != "none" {
		t.Fatal("the old key is kept after the overlap")
	}
	rotate(keyA, time.Hour)
	// No overlap ends what an earlier rotation kept as well.
	r = rotate(keyC, 0)
	if f.opens(r) != keyC || f.previous(r) != "none" || !r.PreviousUntil.IsZero() {
		t.Fatalf("%+v, previous %s", r, f.previous(r))
	}
	for _, bad := range []time.Duration{-1, connection.MaxOverlap + 1} {
		_, err := f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyA), bad)
		f.refused(err, fault.InvalidRequest, "overlap_seconds")
	}
	// A key that comes with a change ends the old one at once.
	rotate(keyB, time.Hour)
	p := f.must(f.Update(t.Context(), f.op(), "a1", c.ID, connection.Patch{Key: secret.FromString(keyA)}))
	if f.previous(p) != "none" || !p.PreviousUntil.IsZero() {
		t.Fatalf("%+v", p)
	}
}

// TestANewEndpointNeverGetsTheOldKey, whatever was kept for the old endpoint.
func TestANewEndpointNeverGetsTheOldKey(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("https://x.example/v1")}))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB), time.Hour))
	m := f.must(f.Update(t.Context(), f.op(), "a1", c.ID, connection.Patch{BaseURL: ptr("https://y.example/v1"), Key: secret.FromString(keyC)}))
	if f.opens(m) != keyC || f.previous(m) != "none" {
		t.Fatalf("previous %s", f.previous(m))
	}
}

func TestRollback(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	_, err := f.Rollback(t.Context(), f.op(), "a1", c.ID)
	f.refused(err, fault.Conflict, "")
	r := f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB), time.Hour))
	if err := connection.Cool(t.Context(), f.store, "a1", c.ID, 401, 0, f.clock.Now()); err != nil {
		t.Fatal(err)
	}
	b := f.must(f.Rollback(t.Context(), f.op(), "a1", c.ID))
	if f.opens(b) != keyA || f.previous(b) != "none" || b.Hint != c.Hint || b.Fingerprint != c.Fingerprint || !b.PreviousUntil.IsZero() ||
		b.Cooldown != (connection.Cooldown{}) || b.Health != (connection.Health{Status: connection.Unknown}) || b.Version != r.Version+2 {
		t.Fatalf("%+v", b)
	}
	if at, ok := b.NextProbe(); !ok || at.After(f.clock.Now()) {
		t.Errorf("the key that came back is probed at %v", at)
	}
	last := f.rows.Rows()[len(f.rows.Rows())-1]
	if last.Action != "connection.rollback" || last.Detail["fingerprint"] != c.Fingerprint {
		t.Errorf("audit %+v", last)
	}
	// The newer key is free again.
	f.must(f.create("c2", "openrouter", keyB, connection.Patch{}))
}

func TestRollbackRefuses(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB), time.Hour))
	// Another connection took the old key meanwhile.
	f.must(f.create("c2", "openrouter", keyA, connection.Patch{}))
	_, err := f.Rollback(t.Context(), f.op(), "a1", c.ID)
	f.refused(err, fault.Conflict, "api_key")
	if f.opens(c) != keyB {
		t.Fatal("the refused rollback happened")
	}
	f.must(f.Revoke(t.Context(), f.op(), "a1", "c2"))
	f.clock.Advance(time.Hour)
	_, err = f.Rollback(t.Context(), f.op(), "a1", c.ID)
	f.refused(err, fault.Conflict, "")
	f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID))
	_, err = f.Rollback(t.Context(), f.op(), "a1", c.ID)
	f.refused(err, fault.Conflict, "")
	keyless := f.must(f.create("c3", "ollama", "", connection.Patch{BaseURL: ptr("https://l.example")}))
	_, err = f.Rollback(t.Context(), f.op(), "a1", keyless.ID)
	f.refused(err, fault.Conflict, "")
	_, err = f.Rollback(t.Context(), f.op(), "a2", c.ID)
	f.refused(err, fault.NotFound, "")
}

// TestARollbackThatStoppedHalfWay is finished by its repeat, and one that met a
// cooldown in between does not go back twice.
func TestARollbackThatStoppedHalfWay(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB), time.Hour))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyC), time.Hour))
	f.store.Before = func(string) error { return fault.Wrap(fault.Unavailable, "t", "down", errors.New("down")) }
	_, err := f.Rollback(t.Context(), f.op(), "a1", c.ID)
	f.refused(err, fault.Unavailable, "")
	f.store.Before = nil
	// keyB is live in the vault, keyA is still kept: going on goes to keyA.
	f.clock.Advance(time.Hour)
	b := f.must(f.Rollback(t.Context(), f.op(), "a1", c.ID))
	if f.opens(b) != keyB || b.Hint != "2222" {
		t.Fatalf("%s %+v", f.opens(b), b)
	}
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyA), time.Hour))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyC), time.Hour))
	once := true
	f.store.Before = func(action string) error {
		if action == "update" && once {
			once = false
			return connection.Cool(t.Context(), f.store, "a1", c.ID, 401, 0, f.clock.Now())
		}
		return nil
	}
	if b = f.must(f.Rollback(t.Context(), f.op(), "a1", c.ID)); f.opens(b) != keyA {
		t.Fatalf("went back to %s", f.opens(b))
	}
}

// TestRevokeEndsTheKeptKeyToo.
func TestRevokeEndsTheKeptKeyToo(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB), time.Hour))
	if r := f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID)); !r.PreviousUntil.IsZero() {
		t.Errorf("a key is said to be kept until %v", r.PreviousUntil)
	}
	cred, err := f.vault.Load(t.Context(), "a1", taxonomy.AIKey, c.ID)
	if err != nil || len(cred.Versions) != 0 || !strings.HasPrefix(f.opens(c), "error") {
		t.Fatalf("%v, %d versions", err, len(cred.Versions))
	}
}
