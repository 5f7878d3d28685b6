package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

const (
	key2 = "vk-0123456789abcdefghij-2222"
	key3 = "vk-0123456789abcdefghij-3333"
)

func (e *env) rotateTo(id, value string, overlap time.Duration) vault.Head {
	e.Helper()
	h, err := e.v.Rotate(context.Background(), vault.Rotation{Ref: ref(id), Fields: apiKey(value), Overlap: overlap, Op: vaulttest.Op()})
	if err != nil {
		e.Fatal(err)
	}
	return h
}

// live and previous open what a request would get.
func (e *env) live(id string) string {
	e.Helper()
	got := ""
	err := e.v.Reveal(context.Background(), e.load(id), vault.Use{Field: "api_key", Purpose: "test"}, func(b []byte) error { got = string(b); return nil })
	if err != nil {
		return "error " + string(vault.ReasonOf(err))
	}
	return got
}

func (e *env) previous(id string) string {
	e.Helper()
	got := ""
	ok, err := e.v.RevealPrevious(context.Background(), e.load(id), vault.Use{Field: "api_key", Purpose: "test"},
		func(b []byte) error { got = string(b); return nil })
	switch {
	case err != nil:
		return "error " + string(vault.ReasonOf(err))
	case !ok && got == "":
		return "none"
	}
	return got
}

func TestRollbackBringsTheReplacedValueBack(t *testing.T) {
	e := newEnv(t)
	before := e.create("c1", key1).Head
	if e.previous("c1") != "none" {
		t.Fatal("a fresh credential has an earlier value")
	}
	rotated := e.rotateTo("c1", key2, time.Hour)
	if e.live("c1") != key2 || e.previous("c1") != key1 || rotated.LiveVersion("api_key") != 2 {
		t.Fatalf("live %s, previous %s", e.live("c1"), e.previous("c1"))
	}
	h, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op())
	if err != nil {
		t.Fatal(err)
	}
	if h.Hint() != before.Hint() || h.Fingerprint() != before.Fingerprint() || h.LiveVersion("api_key") != 1 || h.ActiveVersion != 2 ||
		h.Epoch != rotated.Epoch+1 || len(h.Drains) != 0 {
		t.Fatalf("%+v", h)
	}
	c := e.load("c1")
	if e.live("c1") != key1 || e.previous("c1") != "none" || len(c.Versions) != 1 {
		t.Fatalf("live %s, previous %s, %d versions", e.live("c1"), e.previous("c1"), len(c.Versions))
	}
	if _, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op()); vault.ReasonOf(err) != vault.NoEarlierValue || fault.CodeOf(err) != fault.Conflict {
		t.Fatalf("a second rollback: %v", err)
	}
	// No number is used twice.
	if next := e.rotateTo("c1", key2, 0); next.ActiveVersion != 3 || next.LiveVersion("api_key") != 3 || e.live("c1") != key2 {
		t.Fatalf("%+v opens %s", next, e.live("c1"))
	}
}

func TestRollbackStepsBackOneRotationAtATime(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	e.rotateTo("c1", key2, time.Hour)
	e.rotateTo("c1", key3, time.Hour)
	for _, want := range []string{key2, key1} {
		if e.previous("c1") != want {
			t.Fatalf("previous %s, want %s", e.previous("c1"), want)
		}
		if _, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op()); err != nil || e.live("c1") != want {
			t.Fatalf("%v, live %s, want %s", err, e.live("c1"), want)
		}
	}
}

func TestRollbackRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*env)
		field   string
		code    fault.Code
		reason  vault.Reason
	}{
		"without an overlap": {func(e *env) { e.rotateTo("c1", key2, 0) }, "api_key", fault.Conflict, vault.NoEarlierValue},
		"after the overlap": {func(e *env) {
			e.rotateTo("c1", key2, time.Hour)
			e.clock.Advance(time.Hour)
		}, "api_key", fault.Conflict, vault.NoEarlierValue},
		"an unknown field": {func(e *env) { e.rotateTo("c1", key2, time.Hour) }, "other", fault.Conflict, vault.NoEarlierValue},
		"a revoked credential": {func(e *env) {
			e.rotateTo("c1", key2, time.Hour)
			_, _ = e.v.Revoke(context.Background(), ref("c1"), vaulttest.Op())
		}, "api_key", fault.NotFound, vault.IsRevoked},
		"a value that another credential took": {func(e *env) {
			e.rotateTo("c1", key2, time.Hour)
			e.create("c2", key1)
		}, "api_key", fault.Conflict, vault.Duplicate},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.create("c1", key1)
			c.prepare(e)
			was := e.live("c1")
			_, err := e.v.Rollback(t.Context(), ref("c1"), c.field, vaulttest.Op())
			if fault.CodeOf(err) != c.code || vault.ReasonOf(err) != c.reason || e.live("c1") != was {
				t.Fatalf("%v (%s), live %s", err, vault.ReasonOf(err), e.live("c1"))
			}
		})
	}
}

func TestRevealPreviousIsLoggedAndEndsWithTheOverlap(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	e.rotateTo("c1", key2, time.Hour)
	c := e.load("c1")
	if e.previous("c1") != key1 {
		t.Fatal(e.previous("c1"))
	}
	if ev := e.events[len(e.events)-1]; ev.Version != 1 || ev.Purpose != "test" || ev.Outcome != "" {
		t.Fatalf("logged %+v", ev)
	}
	boom := errors.New("boom")
	if ok, err := e.v.RevealPrevious(t.Context(), c, vault.Use{Field: "api_key", Purpose: "test"}, func([]byte) error { return boom }); !ok || err != boom {
		t.Fatalf("%v %v", ok, err)
	}
	e.clock.Advance(time.Hour)
	if e.previous("c1") != "none" {
		t.Fatal("the replaced value opens after its overlap")
	}
	c.Head.Status = vault.Revoked
	if ok, err := e.v.RevealPrevious(t.Context(), c, vault.Use{Field: "api_key", Purpose: "test"}, nil); ok || vault.ReasonOf(err) != vault.IsRevoked {
		t.Fatalf("revoked: %v %v", ok, err)
	}
}

// TestRollbackAcrossAFingerprintKey: a fingerprint of a retired key compares with
// nothing, also after it came back.
func TestRollbackAcrossAFingerprintKey(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	e.kek.RotateMAC()
	e.rotateTo("c1", key2, time.Hour)
	h, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op())
	if err != nil || h.Fingerprint() != "" || h.Hint() == "" || e.live("c1") != key1 {
		t.Fatalf("%v %+v", err, h)
	}
}

// TestRollbackWithAnUnknownOutcome: the stored head tells whether it happened.
func TestRollbackWithAnUnknownOutcome(t *testing.T) {
	for fate, want := range map[vaulttest.WriteFault]string{vaulttest.FailBefore: key2, vaulttest.FailAfter: key1} {
		e := newEnv(t)
		e.create("c1", key1)
		e.rotateTo("c1", key2, time.Hour)
		e.store.FailWrites(func() vaulttest.WriteFault { return fate })
		_, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op())
		if (err == nil) != (fate == vaulttest.FailAfter) || e.live("c1") != want {
			t.Errorf("fate %d: %v, live %s", fate, err, e.live("c1"))
		}
	}
	e := newEnv(t)
	e.create("c1", key1)
	e.rotateTo("c1", key2, time.Hour)
	_, err := e.v.Rollback(t.Context(), ref("c1"), "api_key", vaulttest.Op())
	if err != nil || e.kek.Calls("Decrypt") != 0 {
		t.Errorf("%v, %d Decrypt calls", err, e.kek.Calls("Decrypt"))
	}
}
