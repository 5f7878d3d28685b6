package main

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/fakestripe"
	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/config"
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

// payments is the payment vendor that stands in for a real account.
type payments struct {
	till   *fakestripe.Server
	server *http.Server
	url    string
}

// simulatePayments starts the payment vendor unless the environment names one,
// and gives the stack its keys.
func simulatePayments(env map[string]string) (*payments, error) {
	for _, name := range []string{config.StripeKey, config.StripeWebhookSecret, config.StripeAPI} {
		if env[name] != "" {
			return &payments{}, nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &payments{url: "http://" + l.Addr().String()}
	env[config.StripeKey], env[config.StripeWebhookSecret], env[config.StripeAPI] = "sk_test_simulated_payments", "whsec_simulated_payments", p.url
	p.till = fakestripe.New(fakestripe.Options{Key: env[config.StripeKey], Secret: env[config.StripeWebhookSecret], URL: p.url,
		Client: &http.Client{Timeout: 30 * time.Second}, First: int(time.Now().UnixMilli())})
	p.server = &http.Server{Handler: p.till, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

// deliver says where messages go, which is known only when the stack runs.
func (p *payments) deliver(base string) {
	if p.till != nil {
		p.till.SetURL(p.url, base+"/billing/stripe")
	}
}

func (p *payments) running() bool { return p.till != nil }

func (p *payments) close() {
	if p.server != nil {
		_ = p.server.Close()
	}
}
