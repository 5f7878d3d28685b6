package tool_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

type store map[string]tool.Tool

func (s store) Tool(_ context.Context, org, name string) (tool.Tool, error) {
	t, ok := s[org+"/"+name]
	if !ok {
		return t, fault.New(fault.NotFound, "", "")
	}
	return t, nil
}

func (s store) Tools(_ context.Context, org string) (out []tool.Tool, _ error) {
	for _, t := range s {
		if t.Org == org {
			out = append(out, t)
		}
	}
	return out, nil
}

func (s store) CreateTool(_ context.Context, t tool.Tool, _ audit.Row) error {
	s[t.Org+"/"+t.Name] = t
	return nil
}

func (s store) UpdateTool(_ context.Context, _, next tool.Tool, _ audit.Row) error {
	s[next.Org+"/"+next.Name] = next
	return nil
}

func (s store) DeleteTool(_ context.Context, old tool.Tool, _ audit.Row) error {
	delete(s, old.Org+"/"+old.Name)
	return nil
}

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type env struct {
	*testing.T
	service *tool.Service
	vault   *vault.Vault
	store   store
	caller  tool.Caller
	base    string
	seen    []*http.Request
	bodies  []string
	answer  http.HandlerFunc
	ops     int
}

func newEnv(t *testing.T) *env {
	e := &env{T: t, store: store{}}
	kek := vaulttest.NewKEK()
	kek.Add()
	var err error
	e.vault, err = vault.New(vault.Options{Store: vaulttest.NewStore(), KEK: kek, Fields: vaulttest.Fields(), Now: func() time.Time { return now }, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		e.seen, e.bodies = append(e.seen, r), append(e.bodies, string(b))
		if e.answer != nil {
			e.answer(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	t.Cleanup(server.Close)
	out, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(server.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	e.base = server.URL
	n := 0
	e.service = &tool.Service{Store: e.store, Vault: e.vault, CheckURL: out.CheckTenantURL, NewID: func(time.Time) string { n++; return fmt.Sprintf("tc%d", n) }}
	e.caller = tool.Caller{HTTP: out.Tenant(), Vault: e.vault}
	return e
}

func (e *env) op() audit.Op {
	e.ops++
	return audit.Op{Actor: "key:k", ID: fmt.Sprintf("op%d", e.ops), At: now}
}

func p[T any](v T) *T { return &v }

func (e *env) patch(url, method string) tool.Patch {
	return tool.Patch{Description: p("Finds an order"), URL: &url, Method: &method, Parameters: json.RawMessage(
		`{"type":"object","properties":{"id":{"type":"string"},"q":{"type":"string"},"n":{"type":"integer"},"list":{"type":"array","items":{"type":"integer"}}},"required":["id","q"]}`)}
}

func (e *env) make(name string, patch tool.Patch) tool.Tool {
	e.Helper()
	t, err := e.service.Create(e.Context(), e.op(), "o1", name, patch)
	if err != nil {
		e.Fatal(err)
	}
	return t
}

func TestRules(t *testing.T) {
	e := newEnv(t)
	good := func() tool.Patch { return e.patch("https://shop.example/orders/{id}?q={q}", "GET") }
	for name, c := range map[string]struct {
		change func(*tool.Patch)
		param  string
	}{
		"no description":     {func(x *tool.Patch) { x.Description = p(" ") }, "description"},
		"no schema":          {func(x *tool.Patch) { x.Parameters = nil }, "parameters"},
		"method":             {func(x *tool.Patch) { x.Method = p("CONNECT") }, "method"},
		"http":               {func(x *tool.Patch) { x.URL = p("http://shop.example/{id}") }, "url"},
		"private address":    {func(x *tool.Patch) { x.URL = p("https://10.0.0.1/{id}") }, "url"},
		"internal name":      {func(x *tool.Patch) { x.URL = p("https://metadata.internal/{id}") }, "url"},
		"another port":       {func(x *tool.Patch) { x.URL = p("https://shop.example:8443/{id}") }, "url"},
		"user in the URL":    {func(x *tool.Patch) { x.URL = p("https://u:p@shop.example/{id}") }, "url"},
		"host is a variable": {func(x *tool.Patch) { x.URL = p("https://{id}.example/x") }, "url"},
		"host part":          {func(x *tool.Patch) { x.URL = p("https://shop.example{id}/x") }, "url"},
		"fragment":           {func(x *tool.Patch) { x.URL = p("https://shop.example/x#{id}") }, "url"},
		"optional variable":  {func(x *tool.Patch) { x.URL = p("https://shop.example/{n}") }, "url"},
		"unknown variable":   {func(x *tool.Patch) { x.URL = p("https://shop.example/{zz}") }, "url"},
		"broken braces":      {func(x *tool.Patch) { x.URL = p("https://shop.example/{id") }, "url"},
		"timeout":            {func(x *tool.Patch) { x.Timeout = p(21 * time.Second) }, "timeout_seconds"},
		"answer":             {func(x *tool.Patch) { x.MaxBytes = p(int64(65537)) }, "max_bytes"},
		"integrity":          {func(x *tool.Patch) { x.Integrity = p("channel") }, "integrity"},
		"action":             {func(x *tool.Patch) { x.Action = p("channel_message") }, "action"},
		"header twice": {func(x *tool.Patch) {
			x.Headers = map[string]secret.Text{"X-A": secret.FromString("12345678"), "x-a": secret.FromString("12345678")}
		}, "headers"},
		"header of ours": {func(x *tool.Patch) {
			x.Headers = map[string]secret.Text{"idempotency-key": secret.FromString("12345678")}
		}, "headers"},
		"header with a line": {func(x *tool.Patch) {
			x.Headers = map[string]secret.Text{"X-A": secret.FromString("12345678\r\nHost: x")}
		}, "headers"},
	} {
		patch := good()
		c.change(&patch)
		if _, err := e.service.Create(t.Context(), e.op(), "o1", "t1", patch); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != c.param {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := e.service.Create(t.Context(), e.op(), "o1", "a b", good()); fault.As(err).Param != "name" {
		t.Error(err)
	}
	made := e.make("t1", good())
	if made.Timeout != 10*time.Second || made.Action != "tool_call" || made.Version != 1 || len(e.store) != 1 {
		t.Fatalf("%+v", made)
	}
	if _, err := e.service.Create(t.Context(), e.op(), "o1", "t1", good()); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
}

// TestHeadersBelongToTheHost: another host needs them again, new values replace all,
// and what no tool names is revoked.
func TestHeadersBelongToTheHost(t *testing.T) {
	e := newEnv(t)
	patch := e.patch("https://shop.example/orders/{id}?q={q}", "GET")
	patch.Headers = map[string]secret.Text{"x-api-key": secret.FromString("first-value-1"), "authorization": secret.FromString("Bearer second")}
	old := e.make("t1", patch)
	if !slices.Equal(old.Headers, []string{"Authorization", "X-Api-Key"}) {
		t.Fatal(old.Headers)
	}
	if _, err := e.service.Update(t.Context(), e.op(), "o1", "t1", tool.Patch{URL: p("https://evil.example/{id}?q={q}")}); fault.As(err).Param != "headers" {
		t.Fatalf("the old host's headers would go to another: %v", err)
	}
	same, err := e.service.Update(t.Context(), e.op(), "o1", "t1", tool.Patch{URL: p("https://shop.example/v2/{id}?q={q}")})
	if err != nil || same.Credential != old.Credential || same.Version != 2 {
		t.Fatalf("%+v %v", same, err)
	}
	moved, err := e.service.Update(t.Context(), e.op(), "o1", "t1", tool.Patch{URL: p("https://other.example/{id}?q={q}"), Headers: map[string]secret.Text{"X-Api-Key": secret.FromString("for the other")}})
	if err != nil || moved.Credential == old.Credential || len(moved.Headers) != 1 {
		t.Fatalf("%+v %v", moved, err)
	}
	status := func(x tool.Tool) vault.Status {
		h, err := e.vault.Head(t.Context(), "o1", x.Ref().Class, x.Credential)
		if err != nil {
			t.Fatal(err)
		}
		return h.Status
	}
	if status(old) != vault.Revoked || status(moved) != vault.Active {
		t.Fatal(status(old), status(moved))
	}
	// Stored for one host, they do not go to another, whatever the record says.
	moved.URL = e.base + "/{id}?q={q}"
	if r := e.caller.Call(t.Context(), moved, `{"id":"1","q":"x"}`, "k"); r.Status != tool.NoSecret || len(e.seen) != 0 {
		t.Fatalf("%+v, %d requests", r, len(e.seen))
	}
	if err := e.service.Delete(t.Context(), e.op(), "o1", "t1"); err != nil || status(moved) != vault.Revoked || len(e.store) != 0 {
		t.Fatal(err, status(moved))
	}
}

func TestCall(t *testing.T) {
	e := newEnv(t)
	patch := e.patch(e.base+"/orders/{id}?q={q}", "GET")
	patch.Headers = map[string]secret.Text{"X-Api-Key": secret.FromString("very-secret-value")}
	get := e.make("get", patch)
	if r := e.caller.Call(t.Context(), get, `{"id":"a/../b?x=1#y","q":"x&y=z","n":5,"list":[1,2]}`, "key1"); r.Status != tool.OK || r.Text != `{"ok":true}` {
		t.Fatalf("%+v", r)
	}
	r := e.seen[0]
	if r.Method != "GET" || r.URL.EscapedPath() != "/orders/a%2F..%2Fb%3Fx=1%23y" || r.URL.RawQuery != "q=x%26y%3Dz&list=%5B1%2C2%5D&n=5" || e.bodies[0] != "" ||
		r.Header.Get("Idempotency-Key") != "key1" || r.Header.Get("X-Api-Key") != "very-secret-value" || r.Header.Get("Content-Type") != "" {
		t.Fatalf("%s %s %v", r.Method, r.URL, r.Header)
	}
	post := e.make("post", e.patch(e.base+"/orders/{id}?q={q}", "POST"))
	if r := e.caller.Call(t.Context(), post, `{"id":"1","q":"x","n":12345678901234567,"n":7,"list":[]}`, "key2"); r.Status != tool.OK {
		t.Fatalf("%+v", r)
	}
	if r := e.seen[1]; e.bodies[1] != `{"list":[],"n":7}` || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Api-Key") != "" {
		t.Fatalf("%s %v", e.bodies[1], r.Header)
	}
	n := len(e.seen)
	for _, args := range []string{`{}`, `{"id":"","q":"x"}`, `{"id":"..","q":"x"}`, `{"id":".","q":"x"}`, `{"id":"1","q":"x","zz":1}`, `nonsense`} {
		if r := e.caller.Call(t.Context(), post, args, "k"); r.Status != tool.BadArguments || r.Answered() || len(e.seen) != n {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// TestAnswers: whatever a tool does is a result, bounded and without the header's
// value.
func TestAnswers(t *testing.T) {
	e := newEnv(t)
	patch := e.patch(e.base+"/x/{id}?q={q}", "POST")
	patch.MaxBytes, patch.Timeout = p(int64(300)), p(time.Second)
	patch.Headers = map[string]secret.Text{"X-Api-Key": secret.FromString("very-secret-value")}
	x := e.make("x", patch)
	reply := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", e.base+"/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	begun, hang := make(chan struct{}, 1), make(chan struct{})
	defer close(hang)
	for name, c := range map[string]struct {
		answer   http.HandlerFunc
		status   tool.Status
		answered bool
		text     string
	}{
		"not found":      {reply(404, "application/problem+json", `{"e":"no such order"}`), tool.HTTPError, true, "status 404:\n{\"e\":\"no such order\"}"},
		"redirect":       {reply(302, "text/html", "moved"), tool.HTTPError, true, "status 302"},
		"echoes the key": {reply(200, "text/plain; charset=utf-8", "you sent very-secret-value!"), tool.OK, true, "you sent [secret]!"},
		"picture":        {reply(200, "image/png", "xx"), tool.NotText, true, "not text"},
		"long":           {reply(200, "text/plain", strings.Repeat("a", 299)+"é"), tool.OK, true, "longer than 300 bytes"},
		"exactly":        {reply(200, "text/plain", strings.Repeat("a", 300)), tool.OK, true, "aaa"},
		"empty":          {reply(204, "", ""), tool.OK, true, ""},
		"no answer":      {func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-hang }, tool.TimedOut, false, "did not answer in time"},
		"breaks off":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, tool.Unreachable, false, "could not be reached"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			_, _ = io.WriteString(w, "half")
		}, tool.Unreachable, false, "broke off"},
	} {
		e.answer = c.answer
		n := len(e.seen)
		asked := x
		if c.status != tool.TimedOut {
			asked.Timeout = tool.MaxTimeout // nothing is waited for
		}
		r := e.caller.Call(t.Context(), asked, `{"id":"1","q":"x"}`, "k")
		if c.status == tool.TimedOut {
			select {
			case <-begun:
			case <-time.After(time.Minute):
				t.Fatal("the tool was never asked")
			}
		}
		if r.Status != c.status || r.Answered() != c.answered || !strings.Contains(r.Text, c.text) || strings.Contains(r.Text, "very-secret") || len(r.Text) > 400 || len(e.seen) != n+1 {
			t.Errorf("%s: %+v, %d requests", name, r, len(e.seen)-n)
		}
	}
	x.URL, x.Credential = "https://169.254.169.254/{id}?q={q}", ""
	if r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k"); r.Status != tool.Refused || r.Answered() {
		t.Errorf("%+v", r)
	}
	x.URL = "http://127.0.0.1:1/{id}?q={q}"
	if r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k"); r.Status != tool.Refused {
		t.Errorf("%+v", r)
	}
}

// TestMasked: no form of a header's value is in a result, wherever the answer is cut.
func TestMasked(t *testing.T) {
	e := newEnv(t)
	const bearer, pair, basic, odd = "sk-live-0123456789abcdef", "0123456789/abc", "correct horse", `a/b"c<d\e&f?g`
	patch := e.patch(e.base+"/x/{id}?q={q}", "POST")
	patch.MaxBytes = p(int64(300))
	patch.Headers = map[string]secret.Text{"Authorization": secret.FromString("Bearer " + bearer), "Cookie": secret.FromString("session=" + pair),
		"X-Basic": secret.FromString("Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+basic))), "X-Odd": secret.FromString(odd)}
	x := e.make("x", patch)
	quoted, _ := json.Marshal(odd)
	twice, _ := json.Marshal(string(quoted))
	filler := strings.Repeat("- ", 145) // 290 bytes
	for name, c := range map[string]struct{ answer, want string }{
		"the scheme's key":     {"invalid key " + bearer + ".", "invalid key [secret]."},
		"with its scheme":      {"got Bearer " + bearer, "got [secret]"},
		"of a pair":            {"no session " + pair + " here", "no session [secret] here"},
		"escaped slash":        {`{"s":"0123456789\/abc"}`, `{"s":"[secret]"}`},
		"JSON":                 {string(quoted), `"[secret]"`},
		"JSON in JSON":         {string(twice), `"\"[secret]\""`},
		"percent":              {"?k=" + url.QueryEscape(odd) + "&", "?k=[secret]&"},
		"base64":               {base64.RawStdEncoding.EncodeToString([]byte("xyz" + bearer)), "eHl6[secret]"},
		"a password in base64": {"wrong password: " + basic, "wrong password: [secret]"},
		"across the cut":       {filler + "<" + bearer + "> and more", filler + "<[secret]>"},
		"over the whole cut":   {filler + "....  " + bearer + strings.Repeat("-", 5000), filler[:280]},
		"across what is read":  {strings.Repeat(bearer, 300), ""},
	} {
		e.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, c.answer)
		}
		r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k")
		if r.Status != tool.OK || !strings.HasPrefix(r.Text, c.want) || strings.Contains(r.Text, bearer[:8]) {
			t.Errorf("%s: %s %q, want %q", name, r.Status, r.Text, c.want)
		}
	}
}

// TestMaskedEnds: what is read ends within a value while all before it is masked, so
// that the text is far below its limit.
func TestMaskedEnds(t *testing.T) {
	e := newEnv(t)
	value := strings.Repeat("k", 8) + strings.Repeat("0123456789", 20)
	patch := e.patch(e.base+"/x/{id}?q={q}", "POST")
	patch.MaxBytes, patch.Headers = p(int64(300)), map[string]secret.Text{"X-Key": secret.FromString(value)}
	x := e.make("x", patch)
	for _, before := range []int{0, 1, 7, 8, 100, 207} {
		e.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, strings.Repeat(".", before)+strings.Repeat(value+",", 100))
		}
		if r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k"); r.Status != tool.OK || strings.Contains(r.Text, "kk") || !strings.Contains(r.Text, "the rest was cut off") {
			t.Errorf("%d before: %s %q", before, r.Status, r.Text)
		}
	}
}

// TestACallIsMadeOnce: where a kept connection breaks the request is not sent again.
func TestACallIsMadeOnce(t *testing.T) {
	e := newEnv(t)
	x := e.make("x", e.patch(e.base+"/x/{id}?q={q}", "POST"))
	for range 2 { // so that a connection is kept
		if r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k"); r.Status != tool.OK {
			t.Fatalf("%+v", r)
		}
	}
	e.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	if r := e.caller.Call(t.Context(), x, `{"id":"1","q":"x"}`, "k"); r.Status != tool.Unreachable || len(e.seen) != 3 {
		t.Fatalf("%+v, %d requests", r, len(e.seen))
	}
}

func TestIntegrity(t *testing.T) {
	for need, want := range map[channel.Integrity][3]bool{"": {true, true, true}, channel.Signed: {true, false, false}} {
		x := tool.Tool{Integrity: need}
		if got := [3]bool{x.Allows(channel.Signed), x.Allows(channel.ByChannel), x.Allows("")}; got != want {
			t.Errorf("%q: %v", need, got)
		}
	}
}
