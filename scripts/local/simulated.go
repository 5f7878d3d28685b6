package main

import (
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// simModels are the priced models of the simulated vendor.
var simModels = []string{"openrouter/sim-chat", "openai_compatible/sim-chat", "openrouter/sim-embed", "openai_compatible/sim-embed", "openai_compatible/sim-voice"}

// simulated is the vendor that stands in for the platform's own model access.
type simulated struct{ server *mockvendor.Listener }

// simulate starts the vendor unless the environment names a platform provider,
// and points the functions at it.
func simulate(env map[string]string) (*simulated, error) {
	for name := range env {
		if strings.HasPrefix(name, "LATCHKEY_PLATFORM_") {
			return &simulated{}, nil
		}
	}
	l, err := mockvendor.Listen(mockvendor.New())
	if err != nil {
		return nil, err
	}
	for _, p := range []string{"OPENROUTER", "OPENAI_COMPATIBLE"} {
		env["LATCHKEY_PLATFORM_"+p+"_KEY"] = "sim-platform-key"
		env["LATCHKEY_PLATFORM_"+p+"_BASE_URL"] = l.URL + "/v1"
	}
	return &simulated{server: l}, nil
}

func (s *simulated) running() bool { return s.server != nil }

func (s *simulated) close() {
	if s.server != nil {
		s.server.Close()
	}
}
