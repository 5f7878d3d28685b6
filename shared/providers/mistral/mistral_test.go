package mistral

import (
	"testing"

	"github.com/latchkey/latchkey/shared/model/modeltest"
	"github.com/latchkey/latchkey/shared/speech/speechtest"
)

func TestChat(t *testing.T) { modeltest.Run(t, Registration()) }

func TestTranslations(t *testing.T) { modeltest.RunTranslations(t, Registration()) }

func TestSpeech(t *testing.T) { speechtest.Run(t, Registration()) }
