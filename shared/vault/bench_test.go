package vault_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
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

// The baseline of both: opening one ciphertext of the same size with the standard
// library alone, key schedule included.
func BenchmarkOpenRaw(b *testing.B) {
	key, binding := make([]byte, vault.KeySize), make([]byte, 128)
	seal := func() cipher.AEAD {
		block, err := aes.NewCipher(key)
		if err != nil {
			b.Fatal(err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			b.Fatal(err)
		}
		return aead
	}
	sealed := seal().Seal(nil, nil, []byte(key1), binding)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := seal().Open(nil, nil, sealed, binding); err != nil {
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
