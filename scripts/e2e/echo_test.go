package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/front"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

// echoKey has characters that URLs and JSON escape, so that its forms differ. n
// makes it one connection's own.
func echoKey(n int) string { return fmt.Sprintf(`sk-echo/CNRYf1902b7a+"<&>'=%%\ECHO%02d`, n) }

// echoForms are the forms that the vendor writes the key in. They are made here,
// by the standard library, and not by the package that looks for them.
func echoForms(key string) map[string]string {
	quoted, _ := json.Marshal(key)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(key)
	out := map[string]string{
		"raw": key, "query": url.QueryEscape(key), "path": url.PathEscape(key), "hex": hex.EncodeToString([]byte(key)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(key))),
		"json": strings.Trim(string(quoted), `"`), "json without HTML": strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(plain.String()), `"`), `"`),
	}
	for shift := range 3 {
		out["base64/"+strconv.Itoa(shift)] = base64.StdEncoding.EncodeToString([]byte("ab"[:shift] + key))
		out["base64url/"+strconv.Itoa(shift)] = base64.RawURLEncoding.EncodeToString([]byte("ab"[:shift] + key))
	}
	return out
}

// echoed reports which forms of a key are in b: of base64 the part that does not
// depend on its neighbours.
func echoed(b []byte, key string) []string {
	var out []string
	for name, f := range echoForms(key) {
		if strings.HasPrefix(name, "base64") {
			f = f[4 : len(f)-4]
		}
		if bytes.Contains(b, []byte(f)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// withEcho answers below /echo/{mode} with every form of the caller's key, and
// leaves the rest to the simulated vendor.
func withEcho(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	withBedrock(mux)
	mux.HandleFunc("POST /echo/{mode}/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		var all []string
		for _, name := range slices.Sorted(maps.Keys(echoForms(key))) {
			all = append(all, echoForms(key)[name])
		}
		text := "Incorrect API key provided: " + strings.Join(all, " ")
		inJSON, _ := json.Marshal(text)
		for i, name := range []string{"X-Request-Id", "Request-Id", "X-Generation-Id", "Www-Authenticate", "X-Debug", "Server"} {
			w.Header().Set(name, all[i])
		}
		w.Header().Set("Set-Cookie", "session="+key)
		echoAnswer(w, r.PathValue("mode"), key, text, inJSON)
	})
	return mux
}

func echoAnswer(w http.ResponseWriter, mode, key, text string, inJSON []byte) {
	const head = `data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"Hello"}}]}` + "\n\n"
	flush := func() { w.(http.Flusher).Flush() }
	switch mode {
	case "malformed":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"choices":[{"message":{"content":%s}`, inJSON)
	case "html":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>"+text)
	case "inband":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"error":{"message":%s,"code":%s,"type":%s,"param":%s}}`, inJSON, inJSON, inJSON, inJSON)
	case "stream-error":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, head+"data: {\"error\":{\"message\":%s}}\n\n", inJSON)
	case "stream-broken":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, head+"event: "+text+"\ndata: {\"choices\":[{\"delta\":{\"content\":"+strings.ReplaceAll(text, "\n", " "))
		flush()
		panic(http.ErrAbortHandler)
	case "stream-cut":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, head+": "+text+"\n\n")
		flush()
		panic(http.ErrAbortHandler)
	case "speech-cut":
		w.Header().Set("Content-Type", "audio/mpeg")
		_, _ = io.WriteString(w, heardBeforeTheCut)
		flush()
		panic(http.ErrAbortHandler)
	case "redirect":
		w.Header().Set("Location", "http://127.0.0.1:1/"+url.QueryEscape(key))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "content":
		w.Header().Set("Content-Type", "application/json")
		quoted, _ := json.Marshal("your key is " + key)
		fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`, quoted)
	default:
		status, _ := strconv.Atoi(mode)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"message":%s,"code":%s,"type":"invalid_request_error","param":%s}}`, inJSON, inJSON, inJSON)
	}
}

// echoModes are what the vendor does with the key. code is what a client sees,
// in the answer or in the stream.
var echoModes = []struct {
	mode, path string
	stream     bool
	status     int
	code       string
}{
	{"400", "/v1/chat/completions", false, 400, "invalid_request"}, {"401", "/v1/chat/completions", false, 424, "provider_key_invalid"},
	{"402", "/v1/chat/completions", false, 402, "provider_quota_exhausted"}, {"403", "/v1/chat/completions", true, 424, "provider_key_invalid"},
	{"404", "/v1/chat/completions", false, 400, "invalid_request"}, {"429", "/v1/chat/completions", true, 429, "provider_rate_limited"},
	{"500", "/v1/chat/completions", false, 502, "provider_error"}, {"503", "/v1/chat/completions", true, 503, "provider_overloaded"},
	{"malformed", "/v1/chat/completions", false, 502, "provider_error"}, {"html", "/v1/chat/completions", false, 502, "provider_error"},
	{"inband", "/v1/chat/completions", false, 502, "provider_error"}, {"inband", "/v1/chat/completions", true, 502, "provider_error"},
	{"redirect", "/v1/chat/completions", false, 502, "provider_error"},
	{"stream-error", "/v1/chat/completions", true, 200, "provider_error"}, {"stream-broken", "/v1/chat/completions", true, 200, "provider_error"},
	{"stream-cut", "/v1/chat/completions", true, 200, "provider_error"},
	{"400", "/v1/audio/speech", false, 400, "invalid_request"}, {"500", "/v1/audio/speech", false, 502, "provider_error"},
	{"401", "/v1/embeddings", false, 424, "provider_key_invalid"}, {"html", "/v1/embeddings", false, 502, "provider_error"},
}

// echoTenant has a connection of its own, with a key of its own, per mode.
func echoTenant(t *testing.T) (x *tenant, connections []string) {
	t.Helper()
	x = newTenant(t, "enterprise", 0)
	for i, m := range echoModes {
		c := x.connect(echoKey(i), map[string]any{"label": fmt.Sprintf("echo %d", i), "base_url": vendorURL + "/echo/" + m.mode + "/v1"})
		connections = append(connections, c.ID)
	}
	return x, connections
}

func echoBody(path string, stream bool) any {
	if strings.HasSuffix(path, "/speech") {
		return map[string]any{"model": "openai_compatible/sim-voice", "input": "hello", "voice": "alloy"}
	}
	if strings.HasSuffix(path, "/embeddings") {
		return map[string]any{"model": "openai_compatible/own-model", "input": "hello"}
	}
	return chatBody("openai_compatible/own-model", "hello", stream)
}

// TestAVendorThatEchoesTheKey: no answer, log line or trace holds it in any form.
func TestAVendorThatEchoesTheKey(t *testing.T) {
	x, connections := echoTenant(t)
	var requests []string
	for i, m := range echoModes {
		a := post(t, world.BaseURL+m.path, x.Key, echoBody(m.path, m.stream), "x-latchkey-connection", connections[i])
		if a.Status != m.status || !strings.Contains(string(a.Body), `"code":"`+m.code+`"`) {
			t.Errorf("%s %s: %d %s", m.mode, m.path, a.Status, a.Body)
		}
		if m.status == http.StatusOK && !strings.Contains(string(a.Body), "Hello") {
			t.Errorf("%s: what came before the error is missing: %s", m.mode, a.Body)
		}
		if found := echoed(append([]byte(fmt.Sprint(a.Header)), a.Body...), echoKey(i)); len(found) > 0 {
			t.Errorf("%s %s: the answer holds the key: %v", m.mode, m.path, found)
		}
		requests = append(requests, a.Header.Get("x-request-id"))
	}
	logs := logsWith(t, world.LogDir, requests)
	tracesMu.Lock()
	seen := bytes.Clone(traces)
	tracesMu.Unlock()
	if !bytes.Contains(seen, []byte("openai_compatible.chat")) {
		t.Error("no trace of the calls")
	}
	for i := range echoModes {
		if found := echoed(logs, echoKey(i)); len(found) > 0 {
			t.Errorf("%s: the logs hold the key: %v", echoModes[i].mode, found)
		}
		if found := echoed(seen, echoKey(i)); len(found) > 0 {
			t.Errorf("%s: a trace holds the key: %v", echoModes[i].mode, found)
		}
	}
}

// TestWhatAModelSaysIsNotRewritten: a placeholder in an answer would change what
// the caller paid for, even if it is the caller's own key.
func TestWhatAModelSaysIsNotRewritten(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	key := echoKey(90)
	x.connect(key, map[string]any{"base_url": vendorURL + "/echo/content/v1"})
	// Not by post, which would report the key in the answer.
	status, body := plainPost(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/own-model", "hello", false))
	var got struct {
		Choices []struct{ Message struct{ Content string } }
	}
	must(t, json.Unmarshal(body, &got))
	if status != http.StatusOK || len(got.Choices) != 1 || got.Choices[0].Message.Content != "your key is "+key {
		t.Errorf("%d %s", status, body)
	}
}

func plainPost(t *testing.T, url, key string, body any, headers ...string) (int, []byte) {
	t.Helper()
	b, err := json.Marshal(body)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(b))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("X-Amzn-Trace-Id", sampledTrace)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, got
}

// logsWith waits until all requests were logged and returns every log.
func logsWith(t *testing.T, dir string, requests []string) []byte {
	t.Helper()
	var all []byte
	eventually(t, "the requests are in the logs", func() bool {
		all = nil
		files, err := filepath.Glob(filepath.Join(dir, "*.log"))
		must(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			must(t, err)
			all = append(all, b...)
		}
		for _, id := range requests {
			if !bytes.Contains(all, []byte(id)) {
				return false
			}
		}
		return true
	})
	return all
}

// planted are the leaks of the changed build: vendor text goes into the message
// of the fault, and from there into error body, log and trace.
var planted = []struct{ file, old, new string }{
	{"shared/providers/internal/wire/errors.go", "f := v.fault(code, op, messages[code], nil)", "f := v.fault(code, op, e.Message, nil)"},
	{"shared/serve/serve.go", `s.Log.InfoContext(x.R.Context(), "request", args...)`, `s.Log.InfoContext(x.R.Context(), "request", append(args, "leak", fault.As(err))...)`},
	{"shared/gateway/attempt.go", "span.Fail(fault.CodeOf(err))\n\t\tspan.End()\n\t\tmeter.refuse", "span.Annotate(\"model\", fault.As(err).Message)\n\t\tspan.Fail(fault.CodeOf(err))\n\t\tspan.End()\n\t\tmeter.refuse"},
}

// unmasked switches the redaction off.
var unmasked = []struct{ file, old, new string }{
	{"shared/redact/redact.go", "if s == nil || s.size.Load() == 0 || len(b) < MinLength {", "if true {"},
	{"shared/redact/redact.go", "if s == nil || s.size.Load() == 0 || len(text) < MinLength {", "if true {"},
}

// TestRedactionIsWhatStopsALeak runs builds of invoke that pass vendor text on.
// With redaction nothing is found, without it the key is found in every place:
// so the redaction works, and the search can fail.
func TestRedactionIsWhatStopsALeak(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	key := echoKey(91)
	x.connect(key, map[string]any{"base_url": vendorURL + "/echo/400/v1"})
	for _, masked := range []bool{true, false} {
		changes := planted
		if !masked {
			changes = append(slices.Clone(planted), unmasked...)
		}
		v := startVariant(t, changes)
		status, body := plainPost(t, v.url+"/v1/chat/completions", x.Key, chatBody("openai_compatible/own-model", "hello", false))
		if status != http.StatusBadRequest || !bytes.Contains(body, []byte("Incorrect API key provided")) {
			t.Fatalf("the leak is not there: %d %s", status, body)
		}
		var answer struct{ Error struct{ Message string } }
		must(t, json.Unmarshal(body, &answer))
		logs := logsWith(t, v.logs, []string{"Incorrect API key provided"})
		trace := v.trace(t, "Incorrect API key provided")
		for place, b := range map[string][]byte{"error body": body, "message": []byte(answer.Error.Message), "log": logs, "trace": trace} {
			found := echoed(b, key)
			if masked && (len(found) > 0 || !bytes.Contains(b, []byte("[secret]"))) {
				t.Errorf("%s: with redaction: %v in %s", place, found, b)
			}
			// The body and the trace are JSON, which escapes some forms once more.
			if !masked && len(found) < 9 {
				t.Errorf("%s: without redaction the search finds only %v", place, found)
			}
		}
	}
}

// variant is a changed build of invoke in a host, with logs and a trace daemon
// of its own, so that what it leaks stays apart.
type variant struct {
	url, logs string
	daemon    net.PacketConn
}

func startVariant(t *testing.T, changes []struct{ file, old, new string }) variant {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	must(t, err)
	sources := map[string]string{}
	for _, c := range changes {
		if sources[c.file] == "" {
			b, err := os.ReadFile(filepath.Join(root, c.file))
			must(t, err)
			sources[c.file] = string(b)
		}
		if strings.Count(sources[c.file], c.old) != 1 {
			t.Fatalf("%s has not exactly one %q: adapt this test", c.file, c.old)
		}
		sources[c.file] = strings.Replace(sources[c.file], c.old, c.new, 1)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for file, text := range sources {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		must(t, os.WriteFile(changed, []byte(text), 0o600))
		overlay["Replace"][filepath.Join(root, file)] = changed
	}
	b, err := json.Marshal(overlay)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
		"-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "invoke"), "./functions/invoke")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	v := variant{logs: filepath.Join(dir, "logs")}
	v.daemon, err = net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = v.daemon.Close() })
	host, err := lambdahost.New(lambdahost.Options{Clock: world.Clock, LogDir: v.logs})
	must(t, err)
	t.Cleanup(host.Close)
	env := world.Environment("invoke")
	env["AWS_XRAY_DAEMON_ADDRESS"] = v.daemon.LocalAddr().String()
	must(t, host.Register(lambdahost.Spec{Name: "invoke", Binary: filepath.Join(dir, "invoke"), Env: env, Timeout: time.Minute}))
	f, err := front.New(front.Options{Host: host, Clock: world.Clock})
	must(t, err)
	srv := httptest.NewServer(f.URLHandler("invoke"))
	t.Cleanup(srv.Close)
	v.url = srv.URL
	return v
}

// trace waits for the datagram that holds text.
func (v variant) trace(t *testing.T, text string) []byte {
	t.Helper()
	must(t, v.daemon.SetReadDeadline(time.Now().Add(90*time.Second)))
	buf := make([]byte, 1<<16)
	for {
		n, _, err := v.daemon.ReadFrom(buf)
		must(t, err)
		if bytes.Contains(buf[:n], []byte(text)) {
			return bytes.Clone(buf[:n])
		}
	}
}
