package serve_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/serve"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func server(log io.Writer) *serve.Server {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	return &serve.Server{Observe: func(*http.Request) {}, Now: func() time.Time { return now }, NewID: func(time.Time) string { return "req1" },
		Log: slog.New(slog.NewTextHandler(log, nil)), EncodeError: openaichat.EncodeError}
}

// do sends a request to a handler that must not be reached without a caller.
func do(t *testing.T, s *serve.Server, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handle(org.ScopeInvoke, func(*serve.Exchange) error { t.Error("the handler ran"); return nil }).ServeHTTP(w, r)
	return w
}

func TestRefusalsBeforeAnythingIsRead(t *testing.T) {
	key := "lk_acme_k1_" + strings.Repeat("0", 43)
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		status  int
		code    fault.Code
		param   string
	}{
		{"no key", "", nil, 401, fault.GatewayAuth, "null"},
		{"two keys", "", []string{"Authorization", "Bearer a", "x-api-key", "b"}, 401, fault.GatewayAuth, "null"},
		{"compressed", "", []string{"x-api-key", key, "Content-Encoding", "gzip"}, 400, fault.InvalidRequest, "null"},
		{"too large", strings.Repeat("x", 6<<20+1), []string{"x-api-key", key}, 413, fault.TooLarge, "null"},
		{"billing source", "", []string{"x-api-key", key, "x-latchkey-billing", "free"}, 400, fault.InvalidRequest, `"x-latchkey-billing"`},
		{"connection id", "", []string{"x-api-key", key, "x-latchkey-connection", "a#b"}, 400, fault.InvalidRequest, `"x-latchkey-connection"`},
		{"strict", "", []string{"x-api-key", key, "x-latchkey-strict", "yes"}, 400, fault.InvalidRequest, `"x-latchkey-strict"`},
		{"intent", "", []string{"x-api-key", key, "x-latchkey-intent", "chat"}, 400, fault.InvalidRequest, `"x-latchkey-intent"`},
		{"agent id", "", []string{"x-api-key", key, "x-latchkey-agent", "a b"}, 400, fault.InvalidRequest, `"x-latchkey-agent"`},
	} {
		w := do(t, server(io.Discard), c.body, c.headers...)
		body := w.Body.String()
		if w.Code != c.status || !strings.Contains(body, `"code":"`+string(c.code)+`"`) || !strings.Contains(body, `"param":`+c.param) {
			t.Errorf("%s: %d %s", c.name, w.Code, body)
		}
		for _, name := range []string{"X-Latchkey-Provider", "X-Latchkey-Model", "X-Latchkey-Connection", "X-Latchkey-Billing-Source", "X-Latchkey-Billing-Rule",
			"X-Latchkey-Fallback", "X-Latchkey-Model-Status"} {
			if len(w.Header()[name]) != 1 {
				t.Errorf("%s: no header %s", c.name, name)
			}
		}
		if w.Header().Get("x-request-id") != "req1" || w.Header().Get("x-should-retry") != "false" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.name, w.Header())
		}
	}
}

func TestEveryBadKeyGetsTheSameBytes(t *testing.T) {
	first := do(t, server(io.Discard), "")
	s := server(io.Discard)
	s.NewID = func(time.Time) string { return "another" }
	second := do(t, s, "", "Authorization", "Basic abc")
	if first.Body.String() != second.Body.String() {
		t.Errorf("%s\n%s", first.Body, second.Body)
	}
}

func TestPanicIsAnAnswerAndPrintsNothing(t *testing.T) {
	var log bytes.Buffer
	// Without a gateway the authenticated path panics.
	w := do(t, server(&log), "", "x-api-key", "lk_acme_k1_"+strings.Repeat("0", 43))
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "outcome=internal") || strings.Contains(log.String(), "goroutine") {
		t.Errorf("log: %s", log.String())
	}
}

func TestDescribeWritesHeaderSafeText(t *testing.T) {
	w := httptest.NewRecorder()
	x := &serve.Exchange{W: w}
	x.Describe(gateway.Info{RequestID: "r", Provider: taxonomy.OpenRouter, Model: "openrouter/a\r\nX-Evil: 1\u00e9", Source: taxonomy.BYOK, Rule: "P5",
		Connection: "c1", Fallback: []string{"openrouter/b:provider_error"}, Overhead: 1500 * time.Microsecond}, false)
	want := map[string]string{"x-request-id": "r", "x-latchkey-model": "openrouter/a??X-Evil: 1?", "x-latchkey-billing-source": "byok",
		"x-latchkey-billing-rule": "P5", "x-latchkey-connection": "c1", "x-latchkey-fallback": "openrouter/b:provider_error",
		"x-latchkey-model-status": "unverified", "x-latchkey-overhead-ms": "1.500"}
	for name, v := range want {
		if got := w.Header().Get(name); got != v {
			t.Errorf("%s = %q, want %q", name, got, v)
		}
	}
}

// TestSecretsInUseAreMaskedInErrorAnswers uses a part of a message as the
// secret, because no message of ours ever holds one.
func TestSecretsInUseAreMaskedInErrorAnswers(t *testing.T) {
	key := "lk_acme_k1_" + strings.Repeat("0", 43)
	for _, masked := range []bool{true, false} {
		s := server(io.Discard)
		if masked {
			s.Redact = new(redact.Set)
			s.Redact.Add([]byte("x-latchkey-billing"))
		}
		w := do(t, s, "", "x-api-key", key, "x-latchkey-billing", "free")
		body := w.Body.String()
		if w.Code != 400 || strings.Contains(body, "x-latchkey-billing") == masked || strings.Contains(body, `"param":"[secret]"`) != masked {
			t.Errorf("masked %v: %d %s", masked, w.Code, body)
		}
		if got := s.Redact.String(key); (got == "[secret]") != masked {
			t.Errorf("masked %v: the caller's key in a text gives %s", masked, got)
		}
	}
}
