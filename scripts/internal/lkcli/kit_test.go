package lkcli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Keys of the tests: the shape is checked, the content is not.
const (
	orgKey      = "lk_acme_k1_0123456789012345678901234567890123456789abc"
	operatorKey = "lk_operator_k1_0123456789012345678901234567890123456789abc"
)

// vendorSecret is looked for in everything that is printed.
const vendorSecret = "sk-canary-7f3a9c21d5"

func instant() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// result is what one run left behind.
type result struct {
	code        int
	out, errOut string
}

// lk runs the tool; env is NAME=VALUE pairs after the standard input.
func lk(t *testing.T, stdin string, env map[string]string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Run(t.Context(), Env{Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errOut,
		Getenv: func(name string) string { return env[name] }, Now: instant})
	return result{code, out.String(), errOut.String()}
}

// recorder is a server that notes requests and gives prepared answers.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
	keys []string
	// answers are given in order, the last one for ever.
	answers []answer
}

// tooMany requests mean that the tool does not stop by itself.
const tooMany = 20

type answer struct {
	status int
	body   string
	header map[string]string
}

func record(t *testing.T, answers ...answer) *recorder {
	t.Helper()
	r := &recorder{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	line := req.Method + " " + req.URL.RequestURI()
	if len(body) > 0 {
		line += " " + strings.TrimSpace(string(body))
	}
	if k := req.Header.Get("Idempotency-Key"); k != "" {
		line += " idempotency=" + k
	}
	r.seen = append(r.seen, line)
	r.keys = append(r.keys, req.Header.Get("Authorization"))
	a := answer{status: 200, body: "{}"}
	if n := len(r.answers); n > 0 {
		a = r.answers[min(len(r.seen), n)-1]
	}
	if len(r.seen) > tooMany {
		a = answer{status: 500}
	}
	w.Header().Set("X-Request-Id", "req-9")
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// last returns the newest request, "" if there was none.
func (r *recorder) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return ""
	}
	return r.seen[len(r.seen)-1]
}

// call runs the tool against the recorder with the organisation's key.
func (r *recorder) call(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return lk(t, stdin, map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": orgKey}, args...)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func contains(t *testing.T, where, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", where, want, text)
		}
	}
}
