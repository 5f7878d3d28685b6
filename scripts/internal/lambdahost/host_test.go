package lambdahost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

// built is where TestMain put the fixtures.
var built string

func TestMain(m *testing.M) {
	if os.Getenv("LAMBDAHOST_TEST_HELPER") != "" {
		helperProcess()
		return
	}
	dir, err := os.MkdirTemp("", "lambdahost")
	if err != nil {
		panic(err)
	}
	built = dir
	for _, name := range []string{"plain", "stream"} {
		cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, name), "./testdata/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience is how long a test waits for something that must happen; it is never
// the thing under test.
const patience = 20 * time.Second

type rig struct {
	*Host
	t      *testing.T
	stderr *lockedBuffer
	logDir string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, opts Options, specs ...Spec) *rig {
	t.Helper()
	r := &rig{t: t, stderr: &lockedBuffer{}, logDir: t.TempDir()}
	opts.LogDir, opts.Stderr = r.logDir, r.stderr
	h, err := New(opts)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	r.Host = h
	for _, s := range specs {
		if s.Timeout == 0 {
			s.Timeout = time.Minute
		}
		require.NoError(t, h.Register(s))
	}
	return r
}

func plain() Spec  { return Spec{Name: "plain", Binary: filepath.Join(built, "plain")} }
func stream() Spec { return Spec{Name: "stream", Binary: filepath.Join(built, "stream")} }

// only lets a function have one process, which serves all calls.
func only(s Spec) Spec {
	s.MaxEnvironments = 1
	return s
}

func (r *rig) invoke(event string) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.Invoke(ctx, "plain", []byte(event))
}

func (r *rig) stream(path string) (*Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rawPath, query, _ := strings.Cut(path, "?")
	event, err := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": rawPath, "rawQueryString": query, "headers": map[string]string{},
		"requestContext": map[string]any{"domainName": "test", "http": map[string]string{"method": "GET", "path": rawPath}},
	})
	require.NoError(r.t, err)
	return r.InvokeStream(ctx, "stream", event)
}

func (r *rig) environments(function string) []Environment {
	for _, f := range r.Functions() {
		if f.Name == function {
			return f.Environments
		}
	}
	r.t.Fatalf("function %s is not listed", function)
	return nil
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	eventually(r.t, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// barrier is an HTTP server at which a function stops until the test lets it go.
type barrier struct {
	*httptest.Server
	arrived chan string
	mu      sync.Mutex
	gates   map[string]chan struct{}
}

func newBarrier(t *testing.T) *barrier {
	b := &barrier{arrived: make(chan string, 64), gates: map[string]chan struct{}{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b.arrived <- r.URL.Path
		select {
		case <-b.gate(r.URL.Path):
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

func (b *barrier) gate(path string) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.gates[path]
	if g == nil {
		g = make(chan struct{})
		b.gates[path] = g
	}
	return g
}

func (b *barrier) open(path string) { close(b.gate(path)) }

func (b *barrier) await(t *testing.T, want string) string {
	t.Helper()
	select {
	case got := <-b.arrived:
		if want != "" {
			require.Equal(t, want, got)
		}
		return got
	case <-time.After(patience):
		t.Fatalf("the function never reached %q", want)
		return ""
	}
}

// alive reports whether a process runs (a zombie does not).
func alive(pid int) bool {
	if runtime.GOOS != "linux" {
		return syscall.Kill(pid, 0) == nil
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	return fields[0] != "Z" && fields[0] != "X"
}

type self struct {
	PID        int      `json:"pid"`
	Env        []string `json:"env"`
	ARN        string   `json:"arn"`
	RequestID  string   `json:"request_id"`
	DeadlineMS int64    `json:"deadline_ms"`
	Trace      string   `json:"trace"`
}

func (r *rig) self() self {
	r.t.Helper()
	res, err := r.invoke(`{"op":"self"}`)
	require.NoError(r.t, err)
	require.Empty(r.t, res.FunctionError, string(res.Payload))
	var s self
	require.NoError(r.t, json.Unmarshal(res.Payload, &s))
	require.Equal(r.t, res.RequestID, s.RequestID)
	return s
}

func TestInvokeHandsOverEventAndMetadata(t *testing.T) {
	shifted := new(clock.Clock)
	shifted.SetOffset(1000 * time.Hour)
	r := newRig(t, Options{Clock: shifted}, plain())

	res, err := r.invoke(`{"any":["thing",1.50]}`)
	require.NoError(t, err)
	require.Equal(t, `{"any":["thing",1.50]}`, string(res.Payload))

	before := time.Now()
	s := r.self()
	require.Equal(t, "arn:aws:lambda:us-east-1:000000000000:function:plain", s.ARN)
	require.Regexp(t, `^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`, s.Trace)
	seconds, err := strconv.ParseInt(s.Trace[7:15], 16, 64)
	require.NoError(t, err)
	require.Greater(t, seconds, before.Add(999*time.Hour).Unix(), "trace ids follow the stack's clock")
	require.Less(t, s.DeadlineMS, before.Add(2*time.Minute).UnixMilli(), "the deadline is in real time, or no call would ever time out")
	require.Greater(t, s.DeadlineMS, before.UnixMilli())

	ctx := WithTraceID(context.Background(), "Root=1-00000001-000000000000000000000002;Parent=0000000000000003;Sampled=0")
	res, err = r.Invoke(ctx, "plain", []byte(`{"op":"self"}`))
	require.NoError(t, err)
	require.Contains(t, string(res.Payload), "Root=1-00000001-000000000000000000000002")
}

func TestChildSeesOnlyWhatLambdaSets(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "developers-own")
	t.Setenv("LATCHKEY_FOREIGN", "leak")
	spec := plain()
	spec.Env = map[string]string{"TABLE": "ledger", "AWS_ACCESS_KEY_ID": "fake-of-plain"}
	r := newRig(t, Options{}, spec)
	var names []string
	values := map[string]string{}
	for _, kv := range r.self().Env {
		name, value, _ := strings.Cut(kv, "=")
		names = append(names, name)
		values[name] = value
	}
	sort.Strings(names)
	require.Equal(t, []string{
		"AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
		"AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
		"AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
		"LAMBDA_TASK_ROOT", "TABLE", "_HANDLER", "_X_AMZN_TRACE_ID", // the last one is set by aws-lambda-go itself
	}, names)
	require.Equal(t, "fake-of-plain", values["AWS_ACCESS_KEY_ID"])
	require.Equal(t, "128", values["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
}

func TestFunctionErrorAndPanic(t *testing.T) {
	spec := plain()
	spec.MaxEnvironments = 1
	r := newRig(t, Options{QueueWait: patience}, spec)
	first := r.self().PID
	res, err := r.invoke(`{"op":"error","text":"broken"}`)
	require.NoError(t, err)
	require.Equal(t, "Unhandled", res.FunctionError)
	require.JSONEq(t, `{"errorType":"errorString","errorMessage":"broken"}`, string(res.Payload))
	require.Equal(t, first, r.self().PID, "an error does not end the process")

	res, err = r.invoke(`{"op":"panic","text":"boom"}`)
	require.NoError(t, err)
	require.Equal(t, "Unhandled", res.FunctionError)
	require.Contains(t, string(res.Payload), `"errorMessage":"boom"`)
	require.NotEqual(t, first, r.self().PID, "a panic does")

	// What package boot returns for a panic: the library's own error type.
	second := r.self().PID
	res, err = r.invoke(`{"op":"typed","text":"masked"}`)
	require.NoError(t, err)
	require.Equal(t, "Unhandled", res.FunctionError)
	require.JSONEq(t, `{"errorType":"Fixture.Typed","errorMessage":"masked"}`, string(res.Payload))
	require.NotEqual(t, second, r.self().PID, "the error asked for the end of the process")

	_, err = r.InvokeStream(context.Background(), "plain", []byte(`{"op":"error","text":"broken"}`))
	require.ErrorIs(t, err, ErrFunction)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "errorString broken", e.Type+" "+e.Message)
}

func TestExitDuringCall(t *testing.T) {
	r := newRig(t, Options{}, plain())
	_, err := r.invoke(`{"op":"exit","code":7}`)
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorContains(t, err, "Runtime exited with error: exit status 7")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "Runtime.ExitError", e.Type)
	require.JSONEq(t, fmt.Sprintf(`{"errorType":"Runtime.ExitError","errorMessage":%q}`, e.Message), string(e.Payload()))
	r.eventually("the crash is shown", func() bool { return strings.Contains(r.stderr.String(), "exit status 7") })
	r.self()
}

func TestUnknownFunctionAndBadSpecs(t *testing.T) {
	r := newRig(t, Options{}, plain())
	_, err := r.Invoke(context.Background(), "nobody", nil)
	require.ErrorIs(t, err, ErrUnknownFunction)
	for name, change := range map[string]func(*Spec){
		"function name": func(s *Spec) { s.Name = "../x" },
		"twice":         func(*Spec) {},
		"timeout":       func(s *Spec) { s.Name, s.Timeout = "b", 16*time.Minute },
		"binary":        func(s *Spec) { s.Name, s.Binary = "b", s.Binary+"-absent" },
		"belongs to":    func(s *Spec) { s.Name, s.Env = "b", map[string]string{runtimeAPIVariable: "x"} },
		"invalid env":   func(s *Spec) { s.Name, s.Env = "b", map[string]string{"A=B": "x"} },
		"negative":      func(s *Spec) { s.Name, s.MaxEnvironments = "b", -1 },
	} {
		s := plain()
		s.Timeout = time.Second
		change(&s)
		require.ErrorContains(t, r.Register(s), name)
	}
}

func TestSizeLimits(t *testing.T) {
	r := newRig(t, Options{}, plain())
	_, err := r.Invoke(context.Background(), "plain", make([]byte, MaxRequestBytes+1))
	require.ErrorIs(t, err, ErrRequestTooLarge)
	// Two bytes are the quotes of the JSON string.
	res, err := r.invoke(fmt.Sprintf(`{"op":"huge","bytes":%d}`, MaxResponseBytes-2))
	require.NoError(t, err)
	require.Len(t, res.Payload, MaxResponseBytes)
	_, err = r.invoke(fmt.Sprintf(`{"op":"huge","bytes":%d}`, MaxResponseBytes-1))
	require.ErrorIs(t, err, ErrResponseTooLarge)
	r.self()
}

func TestStreamChunksArriveBeforeTheHandlerEnds(t *testing.T) {
	b := newBarrier(t)
	r := newRig(t, Options{}, stream())
	s, err := r.stream("/three?barrier=" + b.URL)
	require.NoError(t, err)
	require.True(t, s.Streamed)
	require.Equal(t, http.StatusAccepted, s.StatusCode)
	require.Equal(t, "text/event-stream", s.Headers["Content-Type"])
	require.Equal(t, "a,b", s.Headers["X-Many"])
	require.Equal(t, []string{"one=1; Path=/", "two=2"}, s.Cookies)
	buf := make([]byte, 64)
	for _, word := range []string{"one", "two", "three"} {
		// The function stands at the barrier behind this word: it has not ended.
		n, err := s.Body.Read(buf)
		require.NoError(t, err)
		require.Equal(t, word, string(buf[:n]))
		b.await(t, "/"+word)
		require.Equal(t, "busy", r.environments("stream")[0].State)
		require.Equal(t, s.RequestID, r.environments("stream")[0].RequestID)
		b.open("/" + word)
	}
	_, err = s.Body.Read(buf)
	require.Equal(t, io.EOF, err)
	r.eventually("the environment is idle", func() bool { return r.environments("stream")[0].State == "idle" })
}

func TestStreamErrors(t *testing.T) {
	spec := stream()
	spec.MaxEnvironments = 1
	r := newRig(t, Options{QueueWait: patience}, spec)
	_, err := r.stream("/early")
	require.ErrorIs(t, err, ErrFunction)
	require.ErrorContains(t, err, "no luck")
	pid := r.environments("stream")[0].PID

	s, err := r.stream("/midfail")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.StatusCode)
	got, err := io.ReadAll(s.Body)
	require.Equal(t, "one", string(got))
	require.ErrorIs(t, err, ErrFunction)
	require.ErrorContains(t, err, "upstream gone")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "errorString", e.Type)
	again, err := r.stream("/midfail")
	require.NoError(t, err)
	_ = again.Body.Close()
	require.Equal(t, pid, r.environments("stream")[0].PID, "the process survives all of it")
}

func TestCrashInTheMiddleOfAStream(t *testing.T) {
	b := newBarrier(t)
	r := newRig(t, Options{}, stream())
	for name, end := range map[string]func(pid int){
		"exit": func(int) { b.open("/wrote") },
		"kill": func(pid int) { require.NoError(t, syscall.Kill(pid, syscall.SIGKILL)) },
	} {
		s, err := r.stream("/exit?barrier=" + b.URL)
		require.NoError(t, err, name)
		buf := make([]byte, 3)
		_, err = io.ReadFull(s.Body, buf)
		require.NoError(t, err)
		require.Equal(t, "one", string(buf))
		b.await(t, "/wrote")
		pid, err := strconv.Atoi(s.Headers["X-Pid"])
		require.NoError(t, err)
		end(pid)
		n, err := s.Body.Read(buf)
		require.Zero(t, n)
		require.ErrorIs(t, err, ErrCrashed, name)
		r.eventually("the environment is removed", func() bool { return len(r.environments("stream")) == 0 })
		b.mu.Lock()
		delete(b.gates, "/wrote")
		b.mu.Unlock()
	}
}

func TestPlainAnswerOnAStreamedCall(t *testing.T) {
	r := newRig(t, Options{}, plain())
	s, err := r.InvokeStream(context.Background(), "plain", []byte(`{"op":"respond","response":{"statusCode":201,"headers":{"x-a":"b"},"cookies":["c=d"],"body":"aGk=","isBase64Encoded":true}}`))
	require.NoError(t, err)
	body, err := io.ReadAll(s.Body)
	require.NoError(t, err)
	require.Equal(t, "hi", string(body))
	require.Equal(t, 201, s.StatusCode)
	require.Equal(t, map[string]string{"x-a": "b", "content-type": "application/json"}, s.Headers)
	require.Equal(t, []string{"c=d"}, s.Cookies)
	require.False(t, s.Streamed)
	require.Equal(t, 2, s.Size)

	_, err = r.InvokeStream(context.Background(), "plain", []byte(`{"op":"raw","text":"not json"}`))
	require.ErrorIs(t, err, ErrBadResponse)
}

func TestConcurrencyStartsQueuesAndThrottles(t *testing.T) {
	b := newBarrier(t)
	spec := plain()
	spec.MaxEnvironments = 2
	r := newRig(t, Options{QueueWait: 50 * time.Millisecond}, spec)
	results := make(chan error, 2)
	for range 2 {
		go func() {
			// A start may take longer than this host's QueueWait on a busy machine.
			for {
				_, err := r.invoke(`{"op":"wait","url":"` + b.URL + `/hold"}`)
				if e, ok := err.(*Error); ok && e.Reason == ErrThrottled {
					continue
				}
				results <- err
				return
			}
		}()
	}
	b.await(t, "/hold")
	b.await(t, "/hold")
	for _, e := range r.environments("plain") {
		require.Equal(t, "busy", e.State)
		require.NotEmpty(t, e.RequestID)
	}
	_, err := r.invoke(`{}`)
	require.ErrorIs(t, err, ErrThrottled)
	require.Len(t, r.environments("plain"), 2)
	b.open("/hold")
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	require.Len(t, r.environments("plain"), 2)
}

func TestQueuedCallIsServedByTheFirstFreeEnvironment(t *testing.T) {
	b := newBarrier(t)
	spec := plain()
	spec.MaxEnvironments = 1
	r := newRig(t, Options{QueueWait: patience}, spec)
	first := make(chan string, 1)
	go func() {
		res, err := r.invoke(`{"op":"wait","url":"` + b.URL + `/a"}`)
		first <- fmt.Sprint(string(res.Payload), err)
	}()
	b.await(t, "/a")
	second := make(chan string, 1)
	go func() {
		res, err := r.invoke(`{"op":"wait","url":"` + b.URL + `/b"}`)
		second <- fmt.Sprint(string(res.Payload), err)
	}()
	p, err := r.pool("plain")
	require.NoError(t, err)
	r.eventually("the second call queues", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.queue) == 1
	})
	// A caller that leaves the queue takes nothing with it.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.Invoke(ctx, "plain", []byte(`{}`))
	require.ErrorIs(t, err, context.Canceled)
	b.open("/a")
	b.await(t, "/b")
	b.open("/b")
	require.Equal(t, <-first, <-second, "one process served both")
}

func TestWarmEnvironmentsAreReused(t *testing.T) {
	b := newBarrier(t)
	r := newRig(t, Options{}, plain())
	idle := func(n int) func() bool {
		return func() bool {
			count := 0
			for _, e := range r.environments("plain") {
				if e.State == "idle" {
					count++
				}
			}
			return count == n
		}
	}
	pid := r.self().PID
	for range 50 {
		// One that is slow to ask for its next event gets company.
		r.eventually("the process is idle", idle(1))
		require.Equal(t, pid, r.self().PID)
	}
	r.eventually("the process is idle", idle(1))
	require.Len(t, r.environments("plain"), 1)
	// Of two idle ones the one used last is taken.
	done := make(chan int, 2)
	for _, gate := range []string{"/a", "/b"} {
		go func() {
			res, _ := r.invoke(`{"op":"wait","url":"` + b.URL + gate + `"}`)
			n, _ := strconv.Atoi(string(res.Payload))
			done <- n
		}()
		b.await(t, gate)
	}
	b.open("/b")
	<-done
	r.eventually("one idle", idle(1))
	b.open("/a")
	last := <-done
	r.eventually("two idle", idle(2))
	require.Equal(t, last, r.self().PID)
}

func TestKillFromOutside(t *testing.T) {
	b := newBarrier(t)
	r := newRig(t, Options{}, plain())
	failed := make(chan error, 1)
	go func() {
		_, err := r.invoke(`{"op":"wait","url":"` + b.URL + `/x"}`)
		failed <- err
	}()
	b.await(t, "/x")
	busy := r.environments("plain")[0].PID
	require.NoError(t, syscall.Kill(busy, syscall.SIGKILL))
	err := <-failed
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorContains(t, err, "signal: killed")
	idle := r.self().PID
	require.NotEqual(t, busy, idle)
	require.NoError(t, syscall.Kill(idle, syscall.SIGKILL))
	r.eventually("the idle environment is removed", func() bool { return len(r.environments("plain")) == 0 })
	require.NotEqual(t, idle, r.self().PID)
}

func TestTimeoutKills(t *testing.T) {
	spec := plain()
	spec.Timeout = 400 * time.Millisecond
	r := newRig(t, Options{}, spec, stream())
	_, err := r.invoke(`{"op":"hang"}`)
	require.ErrorIs(t, err, ErrTimeout)
	require.ErrorContains(t, err, "Task timed out after 0.40 seconds")
	r.eventually("the process is gone", func() bool { return len(r.environments("plain")) == 0 })

	s, err := r.stream("/hang")
	require.NoError(t, err)
	got := make([]byte, 3)
	_, err = io.ReadFull(s.Body, got)
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	// The time is up when the body has begun, however slow the machine is.
	p, err := r.pool("stream")
	require.NoError(t, err)
	p.mu.Lock()
	e := p.envs[0]
	v := e.current
	p.mu.Unlock()
	e.deadlineReached(v)
	rest, err := io.ReadAll(s.Body)
	require.Empty(t, rest)
	require.ErrorIs(t, err, ErrTimeout)
}

func TestExtensionGetsSIGTERMFirst(t *testing.T) {
	b := newBarrier(t)
	spec := plain()
	spec.Timeout = 300 * time.Millisecond
	spec.Env = map[string]string{"FIXTURE_MODE": "sigterm:" + b.URL + "/terminating"}
	r := newRig(t, Options{}, spec)
	// As it is outside of tests it waits and then calls.
	later := make(chan time.Time, 1)
	began := time.Now()
	r.after(20*time.Millisecond, func() { later <- time.Now() })
	require.GreaterOrEqual(t, (<-later).Sub(began), 20*time.Millisecond)
	kill := make(chan func(), 1)
	r.after = func(d time.Duration, f func()) {
		if d == terminateGrace {
			kill <- f
		}
	}
	_, err := r.invoke(`{"op":"hang"}`)
	require.ErrorIs(t, err, ErrTimeout)
	b.await(t, "/terminating") // and held there: SIGKILL has to follow
	(<-kill)()
	r.eventually("the process is gone", func() bool { return len(r.environments("plain")) == 0 })
}

func TestFailedStartIsExplainedAndRetried(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	spec := plain()
	spec.Env = map[string]string{"FIXTURE_MODE": "fail-while:" + flag}
	r := newRig(t, Options{}, spec)
	began := time.Now()
	for range 2 {
		_, err := r.invoke(`{}`)
		require.ErrorIs(t, err, ErrInit)
		require.ErrorContains(t, err, "exit status 3; last output: configuration is missing: FIXTURE_TABLE")
	}
	require.Contains(t, r.stderr.String(), "function plain (pid ")
	require.Contains(t, r.stderr.String(), "failed to start: exit status 3; its last output:\n  first line\n  configuration is missing: FIXTURE_TABLE")
	p, err := r.pool("plain")
	require.NoError(t, err)
	p.mu.Lock()
	require.Equal(t, 2, p.startFailures)
	require.True(t, p.notBefore.After(began.Add(minBackoff)))
	p.mu.Unlock()
	require.NoError(t, os.Remove(flag))
	_, err = r.invoke(`{}`)
	require.NoError(t, err)
	p.mu.Lock()
	require.Zero(t, p.startFailures)
	p.mu.Unlock()
}

func TestInitErrorReport(t *testing.T) {
	spec := plain()
	spec.Env = map[string]string{"FIXTURE_MODE": "init-error"}
	r := newRig(t, Options{}, spec)
	_, err := r.invoke(`{}`)
	require.ErrorIs(t, err, ErrInit)
	require.ErrorContains(t, err, "Fixture.Bad: no table")
}

func TestBinaryThatCannotRun(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	require.NoError(t, os.WriteFile(junk, []byte("no program"), 0o700))
	r := newRig(t, Options{}, Spec{Name: "plain", Binary: junk})
	_, err := r.invoke(`{}`)
	require.ErrorIs(t, err, ErrInit)
	require.ErrorContains(t, err, "exec format error")
}

func TestCallerThatLeavesIsDrained(t *testing.T) {
	b := newBarrier(t)
	b.open("/wrote")
	r := newRig(t, Options{}, stream(), plain())
	s, err := r.stream("/drain?n=40&barrier=" + b.URL)
	require.NoError(t, err)
	require.NoError(t, s.Body.Close())
	b.await(t, "/wrote")
	// 40 writes of 64 KiB went through although nobody reads.
	b.await(t, "/drained-"+strconv.Itoa(40*64<<10))
	pid := r.environments("stream")[0].PID
	b.open("/drained-" + strconv.Itoa(40*64<<10))
	r.eventually("the same process is idle again", func() bool {
		e := r.environments("stream")
		return len(e) == 1 && e[0].PID == pid && e[0].State == "idle"
	})

	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := r.Invoke(ctx, "plain", []byte(`{"op":"wait","url":"`+b.URL+`/plain"}`))
		left <- err
	}()
	b.await(t, "/plain")
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Equal(t, "busy", r.environments("plain")[0].State, "the function runs on")
	b.open("/plain")
	r.eventually("idle again", func() bool { return r.environments("plain")[0].State == "idle" })
}

func TestCallerThatLeavesBeforeThePreludeIsDrained(t *testing.T) {
	b := newBarrier(t)
	r := newRig(t, Options{}, stream())
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := r.InvokeStream(ctx, "stream", []byte(`{"rawPath":"/late","rawQueryString":"n=40&barrier=`+b.URL+`","requestContext":{"domainName":"x","http":{"method":"GET"}}}`))
		left <- err
	}()
	b.await(t, "/begun")
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	pid := r.environments("stream")[0].PID
	b.open("/begun")
	r.eventually("the same process is idle again", func() bool {
		e := r.environments("stream")
		return len(e) == 1 && e[0].PID == pid && e[0].State == "idle"
	})
}

func TestWhatADeadProcessStartedDiesToo(t *testing.T) {
	r := newRig(t, Options{QueueWait: patience}, only(plain()))
	res, err := r.invoke(`{"op":"spawn"}`)
	require.NoError(t, err)
	grandchild, err := strconv.Atoi(string(res.Payload))
	require.NoError(t, err)
	t.Cleanup(func() {
		if alive(grandchild) {
			_ = syscall.Kill(grandchild, syscall.SIGKILL)
		}
	})
	_, err = r.invoke(`{"op":"exit","code":1}`)
	require.ErrorIs(t, err, ErrCrashed)
	r.eventually("the grandchild has ended", func() bool { return !alive(grandchild) })
}

func TestCallsLeaveNoGoroutines(t *testing.T) {
	// One environment each: a further one would bring its own goroutines.
	a, b := plain(), stream()
	a.MaxEnvironments, b.MaxEnvironments = 1, 1
	r := newRig(t, Options{QueueWait: patience}, a, b)
	round := func() {
		_, err := r.invoke(`{}`)
		require.NoError(t, err)
		s, err := r.stream("/lines?n=3")
		require.NoError(t, err)
		_, err = io.ReadAll(s.Body)
		require.NoError(t, err)
		s, err = r.stream("/lines?n=3")
		require.NoError(t, err)
		require.NoError(t, s.Body.Close())
	}
	round()
	before := runtime.NumGoroutine()
	for range 100 {
		round()
	}
	r.eventually("as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before+4 })
}

func TestLogsCarryThePid(t *testing.T) {
	r := newRig(t, Options{QueueWait: patience}, only(plain()))
	pid := r.self().PID
	_, err := r.invoke(`{"op":"log","text":"hello log\nsecond"}`)
	require.NoError(t, err)
	want := fmt.Sprintf("[%d] hello log\n[%d] second\n", pid, pid)
	r.eventually("the lines are written", func() bool {
		b, err := os.ReadFile(filepath.Join(r.logDir, "plain.log"))
		return err == nil && strings.Contains(string(b), want)
	})
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	b := newBarrier(t)
	r := newRig(t, Options{}, plain(), stream())
	res, err := r.invoke(`{"op":"spawn"}`)
	require.NoError(t, err)
	grandchild, err := strconv.Atoi(string(res.Payload))
	require.NoError(t, err)
	require.True(t, alive(grandchild))
	r.eventually("the process is idle", func() bool { return r.environments("plain")[0].State == "idle" })
	failed := make(chan error, 1)
	go func() {
		_, err := r.invoke(`{"op":"wait","url":"` + b.URL + `/x"}`)
		failed <- err
	}()
	b.await(t, "/x")
	s, err := r.stream("/three?barrier=" + b.URL)
	require.NoError(t, err)
	pids := []int{grandchild}
	for _, f := range r.Functions() {
		for _, e := range f.Environments {
			pids = append(pids, e.PID)
		}
	}
	require.Len(t, pids, 3)
	r.Close()
	for _, pid := range pids {
		eventually(t, "process has ended", func() bool { return !alive(pid) })
	}
	require.ErrorIs(t, <-failed, ErrClosed)
	_, err = io.ReadAll(s.Body)
	require.ErrorIs(t, err, ErrClosed)
	_, err = r.invoke(`{}`)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, r.Register(Spec{Name: "late", Binary: filepath.Join(built, "plain"), Timeout: time.Second}), ErrClosed)
	r.Close()
	b.CloseClientConnections()
	b.Close()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// TestKilledHostTakesItsChildrenAlong starts a host in a process of its own and
// kills that with SIGKILL.
func TestKilledHostTakesItsChildrenAlong(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no parent-death signal here")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAMBDAHOST_TEST_HELPER="+built, "LAMBDAHOST_TEST_LOGS="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var pids []int
	scan := bufio.NewScanner(out)
	for len(pids) < 3 && scan.Scan() {
		n, err := strconv.Atoi(scan.Text())
		require.NoError(t, err)
		require.True(t, alive(n))
		pids = append(pids, n)
	}
	require.Len(t, pids, 3)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	t.Cleanup(func() {
		for _, pid := range pids {
			if alive(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	for _, pid := range pids {
		eventually(t, "the child has ended", func() bool { return !alive(pid) })
	}
}

// TestChildrenOutliveTheThreadThatAskedForThem: the parent-death signal follows
// the creating thread, and threads of a Go program come and go.
func TestChildrenOutliveTheThreadThatAskedForThem(t *testing.T) {
	s := newSpawner()
	cmd := exec.Command(filepath.Join(built, "plain"))
	cmd.Env = []string{"FIXTURE_MODE=sleep"}
	cmd.SysProcAttr = processAttributes()
	threadEnded := make(chan struct{})
	go func() {
		defer close(threadEnded)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		require.NoError(t, s.start(cmd))
	}()
	<-threadEnded
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for range 100 { // a wrong signal comes within a millisecond
		select {
		case <-ended:
			t.Fatal("the child was killed with the thread")
		case <-time.After(time.Millisecond):
		}
	}
	s.stop()
	if runtime.GOOS == "linux" {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the child outlived the spawner")
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	require.ErrorIs(t, s.start(exec.Command("x")), os.ErrClosed)
}

func BenchmarkInvokeWarm(b *testing.B) {
	h, err := New(Options{LogDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	spec := plain()
	spec.Timeout = time.Minute
	if err := h.Register(spec); err != nil {
		b.Fatal(err)
	}
	event := []byte(`{"a":1}`)
	for b.Loop() {
		if _, err := h.Invoke(context.Background(), "plain", event); err != nil {
			b.Fatal(err)
		}
	}
}

func helperProcess() {
	h, err := New(Options{LogDir: os.Getenv("LAMBDAHOST_TEST_LOGS")})
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		err := h.Register(Spec{Name: name, Binary: filepath.Join(os.Getenv("LAMBDAHOST_TEST_HELPER"), "plain"), Timeout: time.Minute})
		if err != nil {
			panic(err)
		}
	}
	// Busy ones: an idle runtime notices a dead host by itself and leaves.
	for _, name := range []string{"a", "b", "c"} {
		go func() { _, _ = h.Invoke(context.Background(), name, []byte(`{"op":"hang"}`)) }()
	}
	for _, name := range []string{"a", "b", "c"} {
		p, err := h.pool(name)
		if err != nil {
			panic(err)
		}
		for s := p.status(); len(s.Environments) != 1 || s.Environments[0].State != "busy"; s = p.status() {
			time.Sleep(time.Millisecond)
		}
	}
	for _, f := range h.Functions() {
		fmt.Println(f.Environments[0].PID)
	}
	select {}
}
