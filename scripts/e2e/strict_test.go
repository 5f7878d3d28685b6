package e2e

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// TestDroppedAndStrict: in every dialect a field that the vendor is not given is
// named in the answer, and refused in strict mode before the vendor is reached or
// anything is held.
func TestDroppedAndStrict(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	user := []any{map[string]any{"role": "user", "content": "strict"}}
	for _, c := range []struct {
		path, field string
		body        map[string]any
		refused     string // how the dialect's envelope says invalid_request
	}{
		{"/v1/chat/completions", "service_tier", map[string]any{"model": simChat, "messages": user, "service_tier": "priority"}, `"code":"invalid_request"`},
		{"/v1/messages", "speed", map[string]any{"model": simChat, "max_tokens": 50, "messages": user, "speed": "fast"}, `"type":"invalid_request_error"`},
		{"/v1/responses", "max_tool_calls", map[string]any{"model": simChat, "input": "strict", "store": false, "max_tool_calls": 3}, `"code":"invalid_request"`},
		{"/v1beta/models/" + simChat + ":generateContent", "safetySettings", map[string]any{"contents": []any{map[string]any{"role": "user",
			"parts": []any{map[string]any{"text": "strict"}}}}, "safetySettings": []any{}}, `"status":"INVALID_ARGUMENT"`},
		{"/v1/embeddings", "service_tier", map[string]any{"model": simEmbed, "input": "strict", "service_tier": "priority"}, `"code":"invalid_request"`},
		{"/v1/audio/speech", "emotion", map[string]any{"model": "openai_compatible/sim-voice", "input": "strict", "voice": "v", "emotion": "calm"}, `"code":"invalid_request"`},
	} {
		if a := post(t, world.BaseURL+c.path, x.Key, c.body); a.Status != http.StatusOK || a.Header.Get("x-latchkey-dropped") != c.field {
			t.Errorf("%s: %d, dropped %q, %.200s", c.path, a.Status, a.Header.Get("x-latchkey-dropped"), a.Body)
		}
		calls, held := len(vendor.Calls()), x.settled()
		a := post(t, world.BaseURL+c.path, x.Key, c.body, "x-latchkey-strict", "true")
		if a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), c.refused) || !strings.Contains(string(a.Body), "would not be given "+c.field) {
			t.Errorf("%s, strict: %d %s", c.path, a.Status, a.Body)
		}
		if len(vendor.Calls()) != calls || x.credits() != held {
			t.Errorf("%s, strict: %d vendor calls more, %+v", c.path, len(vendor.Calls())-calls, x.credits())
		}
		fine := maps.Clone(c.body)
		delete(fine, c.field)
		if a := post(t, world.BaseURL+c.path, x.Key, fine, "x-latchkey-strict", "true"); a.Status != http.StatusOK || a.Header.Get("x-latchkey-dropped") != "" {
			t.Errorf("%s, nothing to drop: %d %s", c.path, a.Status, a.Body)
		}
	}
	// OpenRouter's own word for it, in the body.
	body := chatBody(simChat, "strict", false)
	body["provider"] = map[string]any{"require_parameters": true}
	if a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, body); a.Status != http.StatusOK || a.Header.Get("x-latchkey-dropped") != "" {
		t.Errorf("%d %s %q", a.Status, a.Body, a.Header.Get("x-latchkey-dropped"))
	}
	body["provider"] = map[string]any{"require_parameters": true, "order": []string{"x"}}
	if a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, body); a.Status != http.StatusBadRequest || a.code() != "invalid_request" || !strings.Contains(string(a.Body), `"param":"provider"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	x.consistent()
}
