package commercial_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/commercial/commercialtest"
	"github.com/latchkey/latchkey/shared/org/orgtest"
)

func TestService(t *testing.T) { commercialtest.Run(t, commercialtest.New(orgtest.NewMemory())) }
