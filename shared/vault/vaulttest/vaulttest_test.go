package vaulttest_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func TestInMemory(t *testing.T) {
	vaulttest.Run(t, func(*testing.T) (vault.Store, vault.KEK) {
		kek := vaulttest.NewKEK()
		kek.Add()
		return vaulttest.NewStore(), kek
	})
}
