package bedrock

import (
	"testing"

	"github.com/latchkey/latchkey/shared/model/modeltest"
)

func TestChat(t *testing.T) { modeltest.Run(t, Registration()) }

func TestTranslations(t *testing.T) { modeltest.RunTranslations(t, Registration()) }
