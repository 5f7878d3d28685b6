package bedrock

import (
	"testing"

	"github.com/latchkey/latchkey/shared/model/modeltest"
)

func TestChat(t *testing.T) { modeltest.Run(t, Registration()) }

func TestRequests(t *testing.T) { modeltest.Table(t, Registration(), "testdata/requests.txtar") }
