package serve

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/dialect/anthropicmessages"
	"github.com/latchkey/latchkey/shared/dialect/geminigenerate"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit"
)

var limitsNow = time.Date(2026, 11, 30, 12, 0, 15, 0, time.UTC)

func exchange(path string, encode func([]byte, error, string) []byte) (*Exchange, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	return &Exchange{W: w, R: httptest.NewRequest(http.MethodPost, path, nil), server: &Server{EncodeError: encode,
		Now: func() time.Time { return limitsNow }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}, w
}

// refused is the fault of a claim of a key whose counters are full.
func refused(l limit.Limits) error {
	c := limit.Claim{Subject: limit.Subject{Org: "acme", Key: "k1"}, Limits: l, At: limitsNow, Now: limitsNow, First: true, Tokens: 10, Spend: 10,
		Seen: limit.State{Counters: map[string]int64{"c": 100, "bt": 100, "b20261130": 100}}}
	for _, kind := range []string{"r", "t"} {
		c.Seen.Counters[fmt.Sprint(kind, limitsNow.Unix()/60)] = 95
	}
	return c.Check()
}

// TestRefusalsOfLimits: a refusal says which limit, how much of it is left, and
// when to come back, to every client in its own words.
func TestRefusalsOfLimits(t *testing.T) {
	dialects := []struct {
		path   string
		encode func([]byte, error, string) []byte
		body   string
	}{
		{"/v1/chat/completions", openaichat.EncodeError, `"code":"rate_limited"`},
		{"/v1/messages", anthropicmessages.EncodeError, `"type":"rate_limit_error"`},
		{"/v1beta/models/m:generateContent", geminigenerate.EncodeError, `"status":"RESOURCE_EXHAUSTED"`},
	}
	for _, c := range []struct {
		limits            limit.Limits
		name, wait, retry string
	}{
		{limit.Limits{RequestsPerMinute: 95}, "key:requests_per_minute", "45", "true"},
		{limit.Limits{TokensPerMinute: 100}, "key:tokens_per_minute", "45", "true"},
		{limit.Limits{TokensPerMinute: 9}, "key:tokens_per_minute", "", "false"},
		{limit.Limits{Concurrent: 100}, "key:concurrent", "1", "true"},
		{limit.Limits{Budget: limit.Budget{Amount: 100, Period: limit.Day}}, "key:budget", "43185", "true"},
		{limit.Limits{Budget: limit.Budget{Amount: 100, Period: limit.Total}}, "key:budget", "", "false"},
	} {
		for _, d := range dialects {
			x, w := exchange(d.path, d.encode)
			x.fail(refused(c.limits))
			h := w.Header()
			if w.Code != http.StatusTooManyRequests || h.Get("x-latchkey-limit") != c.name || h.Get("retry-after") != c.wait || h.Get("x-should-retry") != c.retry {
				t.Errorf("%s on %s: %d %v", c.name, d.path, w.Code, h)
			}
			for _, want := range []string{d.body, `"retryable":` + c.retry, "this API key "} {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s on %s: %s, want %s", c.name, d.path, w.Body, want)
				}
			}
			if c.wait == "" && strings.Contains(w.Body.String(), "retry_after") {
				t.Errorf("%s: %s", c.name, w.Body)
			}
		}
	}
	for path, want := range map[string]map[string]string{
		"/v1/chat/completions": {"x-ratelimit-limit-requests": "95", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "45s"},
		"/v1/messages":         {"anthropic-ratelimit-requests-limit": "95", "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2026-11-30T12:01:00Z"},
	} {
		x, w := exchange(path, openaichat.EncodeError)
		x.fail(refused(limit.Limits{RequestsPerMinute: 95}))
		for name, v := range want {
			if got := w.Header().Get(name); got != v {
				t.Errorf("%s: %s is %q, want %q", path, name, got, v)
			}
		}
	}
}

func TestStandingsOfAnswers(t *testing.T) {
	x, w := exchange("/v1/chat/completions", openaichat.EncodeError)
	x.Describe(gateway.Info{RequestsLeft: &limit.Standing{Limit: 10, Remaining: 7, Reset: 45 * time.Second}, TokensLeft: &limit.Standing{Limit: 1000, Remaining: 12, Reset: 45 * time.Second}}, false)
	for name, want := range map[string]string{"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "45s",
		"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "12"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestErrorsSayWhatWasDecided: the headers of an error are those of an answer, and
// name the request as the ledger does.
func TestErrorsSayWhatWasDecided(t *testing.T) {
	x, w := exchange("/v1/chat/completions", openaichat.EncodeError)
	failed := fault.New(fault.ProviderTimeout, "t", "slow")
	failed.Provider = "openrouter"
	x.fail(&gateway.Told{Err: failed, Info: gateway.Info{RequestID: "other", Provider: "openrouter", Model: "openrouter/m\n", Connection: "c1", Source: "byok",
		Rule: "P5", Fallback: []string{"openrouter/m:provider_timeout"}}})
	for name, want := range map[string]string{"x-request-id": "other", "x-latchkey-provider": "openrouter", "x-latchkey-model": "openrouter/m?", "x-latchkey-connection": "c1",
		"x-latchkey-billing-source": "byok", "x-latchkey-billing-rule": "P5", "x-latchkey-fallback": "openrouter/m:provider_timeout",
		"x-latchkey-model-status": "unverified", "x-should-retry": "true"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if w.Code != 504 || !strings.Contains(w.Body.String(), `"code":"provider_timeout"`) || !strings.Contains(w.Body.String(), `"request_id":"other"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
