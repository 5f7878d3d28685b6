package vault_test

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// Reveal with a warm data key: what every request pays.
func BenchmarkRevealCached(b *testing.B) {
	e := newEnv(b)
	c := e.create("c1", key1)
	v := quiet(b, e)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Reveal(context.Background(), c, use, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// Reveal with a cold data key: our share, the key service itself is in memory.
func BenchmarkRevealUncached(b *testing.B) {
	e := newEnv(b)
	c := e.create("c1", key1)
	v := quiet(b, e)
	b.ReportAllocs()
	for b.Loop() {
		e.clock.Advance(6 * time.Minute)
		if err := v.Reveal(context.Background(), c, use, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func quiet(b *testing.B, e *env) *vault.Vault {
	v, err := vault.New(vault.Options{Store: e.store, KEK: e.kek, Fields: vaulttest.Fields(), Now: e.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		b.Fatal(err)
	}
	return v
}
