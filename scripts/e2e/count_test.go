package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestCountTokens: the simulated vendor counts nothing, so that both dialects say
// that they estimate; a count is one request of the minute, reserves nothing and
// leaves no entry.
func TestCountTokens(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	atMinute(t, 1)
	key := x.limited(map[string]any{"requests_per_minute": 2})
	calls := len(vendor.Calls())
	messages := map[string]any{"model": simChat, "messages": []any{map[string]any{"role": "user", "content": "count me"}}}
	contents := map[string]any{"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]any{"text": "count me"}}}}}
	a := post(t, world.BaseURL+"/v1/messages/count_tokens", key, messages, "Idempotency-Key", "same")
	if a.Status != http.StatusOK || a.Header.Get("x-latchkey-token-count") != "estimate" || !strings.Contains(string(a.Body), `"input_tokens":10`) ||
		a.Header.Get("x-latchkey-provider") != "openrouter" || a.Header.Get("x-request-id") == "" || a.Header.Get("anthropic-ratelimit-requests-remaining") != "1" {
		t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
	}
	a = post(t, world.BaseURL+"/v1beta/models/"+simChat+":countTokens", key, contents, "Idempotency-Key", "same")
	if a.Status != http.StatusOK || a.Header.Get("x-latchkey-token-count") != "estimate" || !strings.Contains(string(a.Body), `"totalTokens":10`) || a.Header.Get("x-latchkey-replayed") != "" {
		t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
	}
	refused(t, post(t, world.BaseURL+"/v1/messages/count_tokens", key, messages), "key:requests_per_minute", true)
	if a = post(t, world.BaseURL+"/v1/messages/count_tokens", x.Key, map[string]any{"model": "openrouter/nobody-priced-this", "messages": messages["messages"]}); a.Status != http.StatusServiceUnavailable {
		t.Errorf("no price: %d %s", a.Status, a.Body)
	}
	if c := x.settled(); c.Posted != 1_000_000 || len(vendor.Calls()) != calls {
		t.Errorf("%+v, %d vendor calls more", c, len(vendor.Calls())-calls)
	}
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			t.Errorf("%+v", e)
		}
	}
	x.consistent()
}
