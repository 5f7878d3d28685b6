package integrationtest

import (
	"testing"

	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func inMemory(*testing.T) (integration.Store, vault.KEK) { return NewMemory(), vaulttest.NewKEK() }

func TestIntegrations(t *testing.T) { Run(t, inMemory) }

func TestRandomSequences(t *testing.T) { Property(t, inMemory) }
