package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/front"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
	"github.com/latchkey/latchkey/shared/topology"
)

// ending is what a malformed answer must come to.
type ending struct {
	// status is the HTTP status, code the error's; with status 200 the error stands in
	// the stream, and without a code the call succeeds.
	status int
	code   string
	charge charge
}

type charge string

const (
	nothing   charge = "nothing, released"
	reported  charge = "what the provider counted"
	estimated charge = "an estimate of what was delivered, at most the hold"
)

var (
	refusedAnswer = ending{http.StatusBadGateway, "provider_error", nothing}
	tookTooLong   = ending{http.StatusGatewayTimeout, "provider_timeout", nothing}
	brokenOff     = ending{http.StatusOK, "provider_error", estimated}
	stalled       = ending{http.StatusOK, "provider_timeout", estimated}
	answered      = ending{http.StatusOK, "", reported}
)

// badRow is one way to misbehave. The table in the README is made of these.
type badRow struct {
	kind, whole, stream string
	wantWhole           ending
	wantStream          ending
	// waits: only the deadline ends it. heavy: it must not fill the memory.
	waits, heavy bool
}

func badRows() []badRow {
	return []badRow{
		{kind: "cut", whole: "the body ends early", stream: "the stream ends inside an event", wantWhole: refusedAnswer, wantStream: brokenOff},
		{kind: "page", whole: "a web page, status 200", stream: "a web page, status 200", wantWhole: refusedAnswer, wantStream: refusedAnswer},
		{kind: "utf8", whole: "bytes that are no UTF-8 in a text", stream: "bytes that are no UTF-8 in a text", wantWhole: answered, wantStream: answered},
		{kind: "line", whole: "a header of 1 MiB", stream: "a line of 4 MiB", wantWhole: refusedAnswer, wantStream: brokenOff, heavy: true},
		{kind: "flood", whole: "a body without end, at full speed", stream: "events without end, at full speed", wantWhole: refusedAnswer, wantStream: brokenOff, heavy: true},
		{kind: "endless", whole: "a body without end, slowly", stream: "events without end, slowly", wantWhole: tookTooLong, wantStream: stalled, waits: true},
		{kind: "bomb", whole: "1 GiB in 1 MiB of gzip", stream: "1 GiB in 1 MiB of gzip", wantWhole: refusedAnswer, wantStream: refusedAnswer, heavy: true},
		{kind: "loris", whole: "a byte now and then", stream: "a byte of a comment now and then", wantWhole: tookTooLong, wantStream: stalled, waits: true},
		{kind: "silent", whole: "no answer at all", stream: "no answer at all", wantWhole: tookTooLong, wantStream: tookTooLong, waits: true},
		{kind: "type", whole: "an event stream nobody asked for", stream: "an image's content type", wantWhole: refusedAnswer, wantStream: refusedAnswer},
		{kind: "usage", whole: "the usage twice", stream: "the usage twice", wantWhole: answered, wantStream: answered},
		{kind: "failure", whole: "an error in an answer of status 200", stream: "an error after the first token", wantWhole: refusedAnswer, wantStream: brokenOff},
	}
}

// badHost is invoke in a host of its own, which reaches the bad vendor on platform
// credits.
type badHost struct {
	host *lambdahost.Host
	urls map[string]string
}

// The function's time is its only deadline that a test can afford. Five seconds
// before it ends a call is given up, so that it can be recorded.
const (
	shortTime = 15 * time.Second
	longTime  = 2 * time.Minute
)

func startBadHost(t *testing.T) *badHost {
	t.Helper()
	srv := httptest.NewServer(badVendor{})
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	env := world.Environment(topology.Invoke)
	for _, p := range []string{"OPENROUTER", "ANTHROPIC", "GEMINI"} {
		env["LATCHKEY_PLATFORM_"+p+"_KEY"] = platformKey
		env["LATCHKEY_PLATFORM_"+p+"_BASE_URL"] = srv.URL + "/v1"
	}
	host, err := lambdahost.New(lambdahost.Options{Clock: world.Clock, LogDir: filepath.Join(t.TempDir(), "logs"), QueueWait: time.Minute})
	must(t, err)
	t.Cleanup(host.Close)
	b := &badHost{host: host, urls: map[string]string{}}
	f, err := front.New(front.Options{Host: host, Clock: world.Clock})
	must(t, err)
	for name, limit := range map[string]time.Duration{"short": shortTime, "long": longTime} {
		must(t, host.Register(lambdahost.Spec{Name: name, Binary: world.Binary(topology.Invoke), Env: env, Timeout: limit, MemoryMB: 512}))
		s := httptest.NewServer(f.URLHandler(name))
		t.Cleanup(s.Close)
		b.urls[name] = s.URL
	}
	var rows []map[string]any
	for _, p := range []string{"anthropic", "gemini"} {
		for meter, rate := range map[string]int64{"input_text": 1_000_000, "output_text": 2_000_000} {
			rows = append(rows, map[string]any{"provider": p, "model": "sim-chat", "meter": meter, "rate_pico": rate, "source": "simulated vendor", "source_date": "2026-11-22"})
		}
	}
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/prices", map[string]any{"rows": rows, "activate": true}, nil))
	return b
}

// badClient is how one client asks, in its dialect, a vendor of another or the same.
type badClient struct {
	name string
	ask  func(text string, stream bool) (path string, body any)
}

func badClients() []badClient {
	turn := func(text string) []any { return []any{map[string]any{"role": "user", "content": text}} }
	return []badClient{
		{"chat", func(text string, stream bool) (string, any) {
			return "/v1/chat/completions", map[string]any{"model": "openrouter/sim-chat", "max_tokens": 1000, "messages": turn(text), "stream": stream}
		}},
		{"responses", func(text string, stream bool) (string, any) {
			return "/v1/responses", map[string]any{"model": "openrouter/sim-chat", "max_output_tokens": 1000, "input": text, "store": false, "stream": stream}
		}},
		{"messages", func(text string, stream bool) (string, any) {
			return "/v1/messages", map[string]any{"model": "anthropic/sim-chat", "max_tokens": 1000, "messages": turn(text), "stream": stream}
		}},
		{"gemini", func(text string, stream bool) (string, any) {
			method := ":generateContent"
			if stream {
				method = ":streamGenerateContent?alt=sse"
			}
			return "/v1beta/models/gemini/sim-chat" + method, map[string]any{"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]any{"text": text}}}},
				"generationConfig": map[string]any{"maxOutputTokens": 1000}}
		}},
	}
}

// TestMalformedUpstream: whatever a vendor sends ends in the documented way, in the
// client's dialect, within the deadline, with the hold released or settled and
// little memory used.
func TestMalformedUpstream(t *testing.T) {
	b := startBadHost(t)
	x := newTenant(t, "free", 100_000_000)
	var waiting sync.WaitGroup
	for _, r := range badRows() {
		for _, c := range badClients() {
			for _, stream := range []bool{false, true} {
				if r.waits {
					waiting.Go(func() { b.check(t, x, r, c, stream) })
				}
			}
		}
	}
	for _, r := range badRows() {
		for _, c := range badClients() {
			for _, stream := range []bool{false, true} {
				// The second dialect over one vendor needs no second flood.
				if !r.waits && (r.kind != "flood" || c.name != "responses") {
					b.check(t, x, r, c, stream)
				}
			}
		}
	}
	t.Run("SDKs", func(t *testing.T) { b.sdks(t, x) })
	waiting.Wait()
	x.consistent()
	if got := x.credits(); got.Held != 0 {
		t.Errorf("%+v", got)
	}
}

func (b *badHost) check(t *testing.T, x *tenant, r badRow, c badClient, stream bool) {
	want, url := r.wantWhole, b.urls["long"]
	if stream {
		want = r.wantStream
	}
	if r.waits {
		url = b.urls["short"]
	}
	name := fmt.Sprintf("%s, %s, stream %v", r.kind, c.name, stream)
	before := b.memory(t, r.heavy, true)
	path, body := c.ask("do:"+r.kind+"!", stream)
	a, err := tryPost(t.Context(), url+path, x.Key, body)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if used := b.memory(t, r.heavy, false) - before; used > maxGrowth {
		t.Errorf("%s: the function grew by %d KiB", name, used)
	}
	id := a.Header.Get("x-request-id")
	code, named := problem(a.Body)
	if a.Status != want.status || code != want.code || code != "" && named != id {
		t.Errorf("%s: %d %q of request %q, want %d %q of %q: %s", name, a.Status, code, named, want.status, want.code, id, tail(a.Body))
	}
	if bytes.Contains(a.Body, []byte("vendor's own words")) || !json.Valid(bytes.ToValidUTF8(a.Body, nil)) && a.Status != http.StatusOK {
		t.Errorf("%s: %s", name, tail(a.Body))
	}
	over := bytes.Contains(a.Body, []byte("[DONE]")) || bytes.Contains(a.Body, []byte("response.completed")) ||
		bytes.Contains(a.Body, []byte("message_stop")) || stream && bytes.Contains(a.Body, []byte("finishReason"))
	if stream && want.status == http.StatusOK && over != (want.code == "") {
		t.Errorf("%s: the stream looks complete: %v; %s", name, over, tail(a.Body))
	}
	x.charged(name, id, want.charge)
}

// charged checks how a request was accounted for.
func (x *tenant) charged(name, id string, want charge) {
	var r struct {
		State    string
		Cost     int64
		Attempts []struct {
			Hold      int64
			Estimated bool
		}
	}
	eventually(x.t, name+" settles", func() bool {
		err := x.admin.Call(x.t.Context(), http.MethodGet, "/api/orgs/"+x.ID+"/requests/"+id, nil, &r)
		return err == nil && (r.State == "RELEASED" || r.State == "SETTLED")
	})
	ok := len(r.Attempts) == 1
	switch want {
	case nothing:
		ok = ok && r.State == "RELEASED" && r.Cost == 0
	case reported:
		// 1,000 tokens at 1, 500 at 2.
		ok = ok && r.State == "SETTLED" && r.Cost == 2000 && !r.Attempts[0].Estimated
	case estimated:
		ok = ok && r.State == "SETTLED" && r.Attempts[0].Estimated && r.Cost > 0 && r.Cost <= r.Attempts[0].Hold
	}
	if !ok {
		x.t.Errorf("%s: want %s, got %+v", name, want, r)
	}
}

// problem is the code and the request id of the error in an answer or at the end of a
// stream, in any dialect; empty if there is none.
func problem(body []byte) (code, request string) {
	last := bytes.TrimSpace(body)
	if i := bytes.LastIndex(last, []byte("data: ")); i >= 0 {
		last = last[i+len("data: "):]
	}
	var e struct {
		RequestID string `json:"request_id"`
		Error     *struct {
			Type      string
			Code      json.RawMessage
			RequestID string `json:"request_id"`
			Details   []struct{ RequestID string }
		}
	}
	if json.Unmarshal(last, &e) != nil || e.Error == nil {
		return "", ""
	}
	if json.Unmarshal(e.Error.Code, &code) != nil {
		// Google's code is the status.
		code = e.Error.Type
		for _, d := range e.Error.Details {
			if d.RequestID != "" {
				return code, d.RequestID
			}
		}
		return code, ""
	}
	if e.Error.RequestID != "" {
		return code, e.Error.RequestID
	}
	return code, e.RequestID
}

func tail(b []byte) []byte { return b[max(0, len(b)-400):] }

// maxGrowth is what one answer may cost a function, in KiB: the largest answer that is
// taken, 64 MiB, in a buffer that doubles, and the garbage of doing so.
const maxGrowth = 256 << 10

// memory is the high-water mark of the functions' resident memory in KiB, the highest
// of all processes; reset starts it anew and returns what is resident.
func (b *badHost) memory(t *testing.T, wanted, reset bool) (most int) {
	if !wanted {
		return 0
	}
	field := "VmHWM:"
	if reset {
		field = "VmRSS:"
	}
	for _, f := range b.host.Functions() {
		for _, e := range f.Environments {
			if f.Name != "long" {
				continue
			}
			if reset {
				must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", e.PID), []byte("5"), 0))
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID))
			must(t, err)
			_, rest, _ := strings.Cut(string(status), field)
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
			most = max(most, n)
		}
	}
	return most
}

// sdks: what breaks off a stream is thrown by the official SDKs, after the text that
// had come, and the error names the request.
func (b *badHost) sdks(t *testing.T, x *tenant) {
	cmd := exec.CommandContext(t.Context(), "node", "../testdata/sdk/errors.mjs")
	cmd.Env = append(cmd.Environ(), "BASE_URL="+b.urls["long"], "API_KEY="+x.Key, "ASK=do:failure!")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var seen map[string]struct{ Text, Error string }
	must(t, json.Unmarshal(lines[len(lines)-1], &seen))
	if len(seen) != 8 {
		t.Errorf("%d clients", len(seen))
	}
	for name, s := range seen {
		if s.Text != "begun" || !strings.Contains(s.Error, "the provider failed to answer") {
			t.Errorf("%s: %+v", name, s)
		}
		// The AI SDK keeps the fields of an error that its schemas know, and no others.
		if strings.HasPrefix(name, "npm ai,") {
			continue
		}
		if id := requestIn(s.Error); id == "" || !strings.Contains(s.Error, "provider_error") {
			t.Errorf("%s names no request: %s", name, s.Error)
		} else {
			x.charged(name, id, estimated)
		}
	}
}

// requestIn finds the id of a request in what an SDK shows of an error.
func requestIn(text string) string {
	text = strings.ReplaceAll(text, `\`, "")
	for _, name := range []string{`"request_id":"`, `"requestId":"`, `"requestID":"`} {
		if _, rest, ok := strings.Cut(text, name); ok {
			id, _, _ := strings.Cut(rest, `"`)
			return id
		}
	}
	return ""
}

const (
	malformedBegin = "<!-- malformed: written by go test ./scripts/e2e -run TestMalformedIsDocumented -update -->\n"
	malformedEnd   = "<!-- end of malformed -->"
)

// TestMalformedIsDocumented: the README says what the test above demands.
func TestMalformedIsDocumented(t *testing.T) {
	say := func(e ending) string {
		switch {
		case e.code == "":
			return "answered"
		case e.status == http.StatusOK:
			return "`" + e.code + "` in the stream"
		}
		return fmt.Sprintf("%d `%s`", e.status, e.code)
	}
	var b strings.Builder
	b.WriteString("| the provider sends | result | charged |\n|---|---|---|\n")
	for _, r := range badRows() {
		if r.whole == r.stream && r.wantWhole == r.wantStream {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.whole, say(r.wantWhole), r.wantWhole.charge)
			continue
		}
		fmt.Fprintf(&b, "| whole: %s | %s | %s |\n", r.whole, say(r.wantWhole), r.wantWhole.charge)
		fmt.Fprintf(&b, "| stream: %s | %s | %s |\n", r.stream, say(r.wantStream), r.wantStream.charge)
	}
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	head, rest, ok := strings.Cut(string(readme), malformedBegin)
	old, after, ok2 := strings.Cut(rest, malformedEnd)
	if !ok || !ok2 {
		t.Fatal("the README has no place for the table")
	}
	if *update {
		must(t, os.WriteFile("../../README.md", []byte(head+malformedBegin+b.String()+malformedEnd+after), 0o644))
	} else if old != b.String() {
		t.Errorf("the README says something else; run this test with -update\n%s", b.String())
	}
}
