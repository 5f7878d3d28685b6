package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

const (
	origin = "https://api.vendor.example"
	key1   = "vk-0123456789abcdefghij-wxyz"
)

type env struct {
	testing.TB
	store *vaulttest.Store
	kek   *vaulttest.KEK
	clock *vaulttest.Clock
	v     *vault.Vault

	mu     sync.Mutex
	events []vault.Event
}

func newEnv(t testing.TB) *env {
	e := &env{TB: t, store: vaulttest.NewStore(), kek: vaulttest.NewKEK(), clock: vaulttest.NewClock()}
	v, err := vault.New(vault.Options{Store: e.store, KEK: e.kek, Fields: vaulttest.Fields(), Now: e.clock.Now, App: "latchkey", Stage: "test",
		OnUse: func(_ context.Context, ev vault.Event) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, ev)
		}})
	if err != nil {
		t.Fatal(err)
	}
	e.v = v
	return e
}

func ref(id string) vault.Ref {
	return vault.Ref{Org: "org1", ID: id, Provider: "vendor", Class: taxonomy.AIKey}
}

func apiKey(value string) map[string]secret.Text {
	return map[string]secret.Text{"api_key": secret.FromString(value)}
}

func (e *env) create(id, value string) vault.Credential {
	e.Helper()
	if _, err := e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref(id), Label: "main", Origin: origin, Fields: apiKey(value)}); err != nil {
		e.Fatal(err)
	}
	return e.load(id)
}

func (e *env) load(id string) vault.Credential {
	e.Helper()
	c, err := e.v.Load(context.Background(), "org1", taxonomy.AIKey, id)
	if err != nil {
		e.Fatal(err)
	}
	return c
}

var use = vault.Use{Field: "api_key", Purpose: "chat"}

func (e *env) reveal(c vault.Credential) (string, error) {
	out := ""
	err := e.v.Reveal(context.Background(), c, use, func(b []byte) error { out = string(b); return nil })
	return out, err
}

func wantFault(t testing.TB, what string, err error, code fault.Code, reason vault.Reason, param string) {
	t.Helper()
	if fault.CodeOf(err) != code || vault.ReasonOf(err) != reason || fault.As(err).Param != param {
		t.Errorf("%s: %v, reason %q, param %q; want %s, %q, %q", what, err, vault.ReasonOf(err), fault.As(err).Param, code, reason, param)
	}
}

// What an open costs: one call of the key service when cold, none when warm,
// and never a read of the store.
func TestCallsOfTheKeyService(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	if g, m, d := e.kek.Calls("GenerateDataKey"), e.kek.Calls("MAC"), e.kek.Calls("Decrypt"); g != 1 || m != 1 || d != 0 {
		t.Errorf("create: %d GenerateDataKey, %d MAC, %d Decrypt", g, m, d)
	}
	reads := e.store.Reads()
	for i := range 50 {
		if got, err := e.reveal(c); err != nil || got != key1 {
			t.Fatalf("%q, %v", got, err)
		}
		if n := e.kek.Calls("Decrypt"); n != 1 {
			t.Fatalf("%d Decrypt calls after %d opens", n, i+1)
		}
	}
	e.clock.Advance(331 * time.Second)
	if _, err := e.reveal(c); err != nil || e.kek.Calls("Decrypt") != 2 {
		t.Errorf("after expiry: %v, %d Decrypt calls", err, e.kek.Calls("Decrypt"))
	}
	if e.store.Reads() != reads {
		t.Errorf("opening read the store %d times", e.store.Reads()-reads)
	}
}

// Writers must work without the permission to decrypt.
func TestWritersNeverDecrypt(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	ctx := context.Background()
	if _, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "2"), Overlap: time.Hour}); err != nil {
		t.Error(err)
	}
	if _, err := e.v.Prune(ctx, ref("c1"), "op"); err != nil {
		t.Error(err)
	}
	if _, err := e.v.FinishRotation(ctx, ref("c1"), "", vaulttest.Op()); err != nil {
		t.Error(err)
	}
	if _, err := e.v.Revoke(ctx, ref("c1"), vaulttest.Op()); err != nil {
		t.Error(err)
	}
	if n := e.kek.Calls("Decrypt"); n != 0 {
		t.Errorf("%d Decrypt calls", n)
	}
}

func TestOutageOfTheKeyService(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	for _, reason := range []vault.Reason{
		vault.KeyAccessDenied, vault.KeyDisabled, vault.KeyPendingDeletion, vault.KeyNotFound, vault.KeyUnavailable, vault.KeyThrottled,
		vault.KeyTimeout, vault.KeyInvalidCiphertext, vault.KeyIncorrect, vault.KeyInvalidGrant, vault.KeyUnexpected,
	} {
		e.kek.Refuse(reason)
		e.clock.Advance(6 * time.Second) // past a remembered refusal
		got, err := e.reveal(c)
		wantFault(t, "reveal", err, fault.VaultUnavailable, reason, "")
		if got != "" {
			t.Errorf("%s: the callback was called", reason)
		}
		_, err = e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c2"), Origin: origin, Fields: apiKey("another-value")})
		wantFault(t, "create", err, fault.VaultUnavailable, reason, "")
	}
	e.kek.Refuse("")
	e.clock.Advance(6 * time.Second)
	if got, err := e.reveal(c); err != nil || got != key1 {
		t.Errorf("after the outage: %q, %v", got, err)
	}
	e.kek.Refuse(vault.KeyThrottled)
	if got, err := e.reveal(c); err != nil || got != key1 {
		t.Errorf("a warm key must carry over an outage: %q, %v", got, err)
	}
	e.clock.Advance(331 * time.Second)
	_, err := e.reveal(c)
	wantFault(t, "the cache must not be extended", err, fault.VaultUnavailable, vault.KeyThrottled, "")
}

func TestRefusalIsRememberedForFiveSeconds(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	e.kek.Refuse(vault.KeyAccessDenied)
	for range 20 {
		_, err := e.reveal(c)
		wantFault(t, "denied", err, fault.VaultUnavailable, vault.KeyAccessDenied, "")
	}
	if n := e.kek.Calls("Decrypt"); n != 1 {
		t.Errorf("%d Decrypt calls", n)
	}
}

// Parallel cold opens of one credential cost one call.
func TestParallelColdOpens(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	release := e.kek.Hold()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if got, err := e.reveal(c); err != nil || got != key1 {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	release()
	wg.Wait()
	if n := e.kek.Calls("Decrypt"); n != 1 {
		t.Errorf("%d Decrypt calls", n)
	}
}

func TestEventsNameEveryUseAndNoValue(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	_, _ = e.reveal(c)
	_, _ = e.reveal(c)
	_ = e.v.Reveal(context.Background(), c, vault.Use{Field: "other", Purpose: "chat"}, nil)
	c.Versions[0].Fields["api_key"].Ciphertext[20] ^= 1
	_, _ = e.reveal(c)
	c.Versions = nil
	_, _ = e.reveal(c)
	c.Head.Status = vault.Revoked
	_, _ = e.reveal(c)
	want := []vault.Event{
		{Ref: ref("c1"), Version: 1, Field: "api_key", Purpose: "chat", Cache: "miss"},
		{Ref: ref("c1"), Version: 1, Field: "api_key", Purpose: "chat", Cache: "hit"},
		{Ref: ref("c1"), Field: "other", Purpose: "chat", Cache: "none", Outcome: vault.NoSuchField},
		{Ref: ref("c1"), Version: 1, Field: "api_key", Purpose: "chat", Cache: "hit", Outcome: vault.TagMismatch},
		{Ref: ref("c1"), Version: 1, Field: "api_key", Purpose: "chat", Cache: "none", Outcome: vault.VersionMissing},
		{Ref: ref("c1"), Version: 1, Field: "api_key", Purpose: "chat", Cache: "none", Outcome: vault.IsRevoked},
	}
	if fmt.Sprint(e.events) != fmt.Sprint(want) {
		t.Errorf("events:\n%+v\nwant\n%+v", e.events, want)
	}
	if strings.Contains(fmt.Sprintf("%+v", e.events), key1[:8]) {
		t.Error("an event holds a value")
	}
	err := e.v.Reveal(context.Background(), e.load("c1"), vault.Use{Field: "api_key"}, func([]byte) error { t.Error("opened"); return nil })
	wantFault(t, "no purpose", err, fault.Internal, "", "")
}

func TestCallbackErrorsPanicsAndClearing(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	ctx := context.Background()
	mine := errors.New("mine")
	var kept []byte
	if err := e.v.Reveal(ctx, c, use, func(b []byte) error { kept = b; return mine }); err != mine {
		t.Errorf("callback error: %v", err)
	}
	if len(kept) != len(key1) || strings.Trim(string(kept), "\x00") != "" {
		t.Errorf("the lent bytes were not cleared: %q", kept)
	}
	if err := e.v.Reveal(ctx, c, use, func(b []byte) error { kept = b; panic(string(b)) }); err != secret.ErrPanic {
		t.Errorf("panic: %v", err)
	}
	if strings.Trim(string(kept), "\x00") != "" {
		t.Error("the lent bytes were not cleared after a panic")
	}
	if err := e.v.RevealAll(ctx, c, use, func(int, bool, []byte) error { panic("x") }); err != secret.ErrPanic {
		t.Errorf("panic in RevealAll: %v", err)
	}
	if err := e.v.RevealAll(ctx, c, use, func(int, bool, []byte) error { return mine }); err != mine {
		t.Errorf("callback error in RevealAll: %v", err)
	}
}

// One value that does not open neither hides the others nor goes unnoticed.
func TestRevealAllGoesOnAfterADamagedValue(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "2"), Overlap: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for damaged, want := range map[int]string{0: "2 true " + key1 + "2", 1: "1 false " + key1} {
		c := e.load("c1")
		c.Versions[damaged].Fields["api_key"].Ciphertext[20] ^= 1
		got := ""
		err := e.v.RevealAll(context.Background(), c, use, func(n int, live bool, b []byte) error {
			got += fmt.Sprintf("%d %v %s", n, live, b)
			return nil
		})
		wantFault(t, "damaged", err, fault.VaultUnavailable, vault.TagMismatch, "")
		if got != want {
			t.Errorf("opened %q, want %q", got, want)
		}
	}
}

// A write whose answer was lost is recognised by its write id.
func TestUnknownOutcomeIsResolved(t *testing.T) {
	e := newEnv(t)
	e.store.FailWrites(func() vaulttest.WriteFault { return vaulttest.FailAfter })
	ctx := context.Background()
	if _, err := e.v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Origin: origin, Fields: apiKey(key1)}); err != nil {
		t.Errorf("create: %v", err)
	}
	h, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "2"), Overlap: time.Hour})
	if err != nil || h.ActiveVersion != 2 {
		t.Errorf("rotate: %v, %+v", err, h)
	}
	e.store.FailWrites(func() vaulttest.WriteFault { return vaulttest.FailBefore })
	_, err = e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "3")})
	wantFault(t, "lost before", err, fault.VaultUnavailable, vault.StoreFailed, "")
	if !errors.Is(err, vaulttest.ErrInjected) || strings.Contains(err.Error(), "injected") {
		t.Errorf("the cause must be kept and not shown: %v", err)
	}
	if got, err := e.reveal(e.load("c1")); err != nil || got != key1+"2" {
		t.Errorf("%q, %v", got, err)
	}
}

// tornStore shows, once, the state that a read across a rotation's commit can
// see: the new head without its version.
type tornStore struct {
	vault.Store
	times int
}

func (s *tornStore) LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]vault.Credential, error) {
	creds, err := s.Store.LoadClass(ctx, org, class)
	for i := range creds {
		creds[i].Versions = nil
	}
	return creds, err
}

func (s *tornStore) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error) {
	c, err := s.Store.Load(ctx, org, class, id)
	if s.times > 0 {
		s.times--
		c.Versions = nil
	}
	return c, err
}

func TestTornReadIsRepeated(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	torn := &tornStore{Store: e.store}
	v, err := vault.New(vault.Options{Store: torn, KEK: e.kek, Fields: vaulttest.Fields(), Now: e.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	creds, err := v.LoadClass(context.Background(), "org1", taxonomy.AIKey)
	if err != nil || len(creds) != 1 || len(creds[0].Versions) != 1 {
		t.Errorf("LoadClass: %v, %+v", err, creds)
	}
	torn.times = 1
	if c, err := v.Load(context.Background(), "org1", taxonomy.AIKey, "c1"); err != nil || len(c.Versions) != 1 {
		t.Errorf("Load: %v, %+v", err, c)
	}
	torn.times = 9
	c, err := v.Load(context.Background(), "org1", taxonomy.AIKey, "c1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.reveal(c)
	wantFault(t, "a version that stays away", err, fault.VaultUnavailable, vault.VersionMissing, "")
}

// rewrap moves every version of a credential to the ring's key.
func (e *env) rewrap(c vault.Credential) (moved int) {
	e.Helper()
	ring, err := e.v.Ring(context.Background())
	if err != nil {
		e.Fatal(err)
	}
	for _, ver := range c.Versions {
		out, _, err := e.v.Rewrap(context.Background(), c, ver.Number, ring)
		if err != nil {
			e.Fatal(err)
		}
		if out == vault.Moved {
			moved++
		}
	}
	return moved
}

func TestRewrapMovesToTheNewKey(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	before := e.load("c1")
	e.kek.Rotate()
	if n := e.rewrap(before); n != 1 {
		t.Fatalf("%d", n)
	}
	c := e.load("c1")
	if c.Versions[0].Key.KEK != e.kek.Keys()[0] || c.Versions[0].Key.KEK == before.Versions[0].Key.KEK || c.Head.Epoch != before.Head.Epoch {
		t.Errorf("%+v", c)
	}
	if e.kek.Calls("Decrypt") != 0 {
		t.Error("a rewrap decrypted")
	}
	if got, err := e.reveal(c); err != nil || got != key1 {
		t.Errorf("%q, %v", got, err)
	}
	c.Versions[0].Format = "bv2"
	_, _, err := e.v.Rewrap(context.Background(), c, 1, vault.Ring{Current: e.kek.Keys()[0]})
	wantFault(t, "unknown format", err, fault.VaultUnavailable, vault.UnknownFormat, "")
	e.kek.Refuse(vault.KeyThrottled)
	_, _, err = e.v.Rewrap(context.Background(), before, 1, vault.Ring{Current: e.kek.Keys()[0]})
	wantFault(t, "throttled", err, fault.VaultUnavailable, vault.KeyThrottled, "")
	if !vault.IsOutage(err) {
		t.Error("a throttled call says nothing about the record")
	}
}

// A rewrap and a rotation at the same time: both may happen, none is lost.
func TestRewrapBesideARotation(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	seen := e.load("c1")
	if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "2"), Overlap: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if n := e.rewrap(seen); n != 1 {
		t.Errorf("%d", n)
	}
	c := e.load("c1")
	if got, err := e.reveal(c); err != nil || got != key1+"2" || c.Head.ActiveVersion != 2 {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "3")}); err != nil {
		t.Fatal(err)
	}
	// Version 1 drains, version 2 is gone.
	if n := e.rewrap(c); n != 1 || len(e.load("c1").Versions) != 2 {
		t.Errorf("a rewrap brought a deleted version back: %d", n)
	}
}

func TestTokenHash(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	hash := func(provider, value string) string {
		h, err := e.v.TokenHash(context.Background(), provider, secret.FromString(value))
		if err != nil || len(h) != 32 {
			t.Errorf("%q, %v", h, err)
		}
		return h
	}
	a := hash("vendor", key1)
	if a != hash("vendor", key1) || a == hash("vendor2", key1) || a == hash("vendor", key1+"2") || a == c.Head.Fingerprint() {
		t.Error("the hash must depend on provider and value, and on nothing else")
	}
	_, err := e.v.TokenHash(context.Background(), "vendor", secret.Text{})
	wantFault(t, "empty token", err, fault.InvalidRequest, "", "provider")
}

// Fingerprints under another key compare with nothing, neither as equal nor in
// one head.
func TestFingerprintsUnderANewKey(t *testing.T) {
	e := newEnv(t)
	ctx := context.Background()
	if _, err := e.v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Origin: origin, Fields: map[string]secret.Text{
		"api_key": secret.FromString(key1), "second": secret.FromString("second-value"),
	}}); err != nil {
		t.Fatal(err)
	}
	old := e.load("c1").Head
	e.kek.RotateMAC()
	h, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1 + "2")})
	if err != nil || h.FingerprintKey == old.FingerprintKey || h.Fields[0].Fingerprint == "" || h.Fields[1].Fingerprint != "" {
		t.Errorf("%v, %+v", err, h)
	}
	if h.Fields[1].Version != 1 || h.Fields[0].Version != 2 {
		t.Errorf("versions: %+v", h.Fields)
	}
}

// keeper keeps the plain data keys it hands out.
type keeper struct {
	vault.KEK
	plain [][]byte
}

func (k *keeper) GenerateDataKey(ctx context.Context, arn string, ectx map[string]string) (vault.DataKey, error) {
	key, err := k.KEK.GenerateDataKey(ctx, arn, ectx)
	k.plain = append(k.plain, key.Plain)
	return key, err
}

func TestDataKeysAreClearedAfterSealing(t *testing.T) {
	e := newEnv(t)
	kek := &keeper{KEK: e.kek}
	v, err := vault.New(vault.Options{Store: e.store, KEK: kek, Fields: vaulttest.Fields(), Now: e.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Origin: origin, Fields: apiKey(key1)}); err != nil {
		t.Fatal(err)
	}
	if len(kek.plain) != 1 || strings.Trim(string(kek.plain[0]), "\x00") != "" {
		t.Errorf("plain data keys: %x", kek.plain)
	}
}

func TestRewrapLeavesRevokedCredentialsAlone(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	c.Head.Status = vault.Revoked
	_, _, err := e.v.Rewrap(context.Background(), c, 1, vault.Ring{Current: e.kek.Keys()[0]})
	wantFault(t, "revoked", err, fault.NotFound, vault.IsRevoked, "")
	if e.kek.Calls("ReEncrypt") != 0 {
		t.Errorf("%d calls", e.kek.Calls("ReEncrypt"))
	}
}

// What an earlier overlap left behind goes with the next rotation.
func TestRotationRemovesEndedOverlaps(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	for i := range 20 {
		if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(fmt.Sprint("value-", i)), Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
		e.clock.Advance(2 * time.Hour)
	}
	if c := e.load("c1"); len(c.Versions) != 2 || len(c.Head.Drains) != 1 {
		t.Errorf("%+v", c)
	}
}
