package vault_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// TestEverySecretInTheClearIsAnnounced: the redaction of logs knows a secret
// before any code that could print it.
func TestEverySecretInTheClearIsAnnounced(t *testing.T) {
	e := newEnv(t)
	var seen []string
	v, err := vault.New(vault.Options{Fields: vaulttest.Fields(), Store: e.store, KEK: e.kek, Now: e.clock.Now, App: "latchkey", Stage: "test",
		OnReveal: func(plain []byte) { seen = append(seen, string(plain)) }})
	if err != nil {
		t.Fatal(err)
	}
	announced := func(step string, want ...string) {
		t.Helper()
		if !slices.Equal(seen, want) {
			t.Errorf("%s: announced %q, want %q", step, seen, want)
		}
		seen = nil
	}
	ctx := context.Background()
	if _, err := v.Create(ctx, vault.NewCredential{Ref: ref("c1"), Label: "main", Origin: origin, Fields: apiKey(key1), Op: vaulttest.Op()}); err != nil {
		t.Fatal(err)
	}
	announced("create", key1)
	const second = "sk-another-0123456789abcdef"
	if _, err := v.Rotate(ctx, vault.Rotation{Ref: ref("c1"), Fields: apiKey(second), Overlap: time.Hour, Op: vaulttest.Op()}); err != nil {
		t.Fatal(err)
	}
	announced("rotate", second)
	c := e.load("c1")
	early := func([]byte) error {
		if len(seen) == 0 {
			t.Error("the callback ran before the announcement")
		}
		return nil
	}
	if err := v.Reveal(ctx, c, use, early); err != nil {
		t.Fatal(err)
	}
	announced("reveal", second)
	if err := v.RevealAll(ctx, c, use, func(_ int, _ bool, b []byte) error { return early(b) }); err != nil {
		t.Fatal(err)
	}
	announced("reveal all", second, key1)
	if err := v.Reveal(ctx, c, vault.Use{Field: "none", Purpose: "chat"}, early); err == nil {
		t.Error("an unknown field opened")
	}
	announced("refused")
}
