package lambdahost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeProcess speaks the Runtime API from inside the test, so that a runtime
// can misbehave in ways aws-lambda-go never would.
type fakeProcess struct {
	t   *testing.T
	env *environment
	url string
	rig *rig
}

func newFakeProcess(t *testing.T) *fakeProcess {
	t.Helper()
	f := newUnknownProcess(t)
	f.known()
	return f
}

// newUnknownProcess is one that runs already while its host does not know its pid.
func newUnknownProcess(t *testing.T) *fakeProcess {
	t.Helper()
	spec := plain()
	spec.MaxEnvironments = 1
	r := newRig(t, Options{}, spec)
	p, err := r.pool("plain")
	require.NoError(t, err)
	e := newEnvironment(p)
	p.mu.Lock()
	p.envs, p.starting = append(p.envs, e), 1
	p.mu.Unlock()
	api := httptest.NewServer(e.runtimeAPI())
	t.Cleanup(func() {
		p.mu.Lock()
		p.envs = slices.DeleteFunc(p.envs, func(x *environment) bool { return x == e })
		p.mu.Unlock()
		api.CloseClientConnections()
		api.Close()
	})
	return &fakeProcess{t: t, env: e, url: api.URL, rig: r}
}

func (f *fakeProcess) known() {
	p := f.env.pool
	p.mu.Lock()
	f.env.pid = 1
	p.mu.Unlock()
	close(f.env.known)
}

func (f *fakeProcess) next() (id, event string) {
	f.t.Helper()
	res, err := http.Get(f.url + "/2018-06-01/runtime/invocation/next")
	require.NoError(f.t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(f.t, http.StatusOK, res.StatusCode)
	b, err := io.ReadAll(res.Body)
	require.NoError(f.t, err)
	return res.Header.Get("Lambda-Runtime-Aws-Request-Id"), string(b)
}

func (f *fakeProcess) post(id, verb, contentType, body string) int {
	f.t.Helper()
	res, err := http.Post(f.url+"/2018-06-01/runtime/invocation/"+id+"/"+verb, contentType, strings.NewReader(body))
	require.NoError(f.t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

func (f *fakeProcess) call(event string) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := f.rig.invoke(event)
		done <- err
	}()
	return done
}

func TestProtocolRefusesWrongAndSecondAnswers(t *testing.T) {
	f := newFakeProcess(t)
	first := f.call(`1`)
	id, event := f.next()
	require.Equal(t, `1`, event)
	require.Equal(t, http.StatusBadRequest, f.post("another", "response", "application/json", `1`))
	require.Equal(t, http.StatusAccepted, f.post(id, "response", "application/json", `1`))
	require.Equal(t, http.StatusBadRequest, f.post(id, "response", "application/json", `2`))
	require.Equal(t, http.StatusBadRequest, f.post(id, "error", "application/json", `{}`))
	require.NoError(t, <-first)
	second := f.call(`2`)
	secondID, event := f.next()
	require.Equal(t, `2`, event)
	require.NotEqual(t, id, secondID)
	require.Equal(t, http.StatusBadRequest, f.post(id, "response", "application/json", `late`), "an answer to the past")
	require.Equal(t, http.StatusAccepted, f.post(secondID, "error", "application/json", `not json`))
	require.NoError(t, <-second)
}

func TestProtocolNextWithoutAnswer(t *testing.T) {
	f := newFakeProcess(t)
	done := f.call(`1`)
	f.next()
	waiting := make(chan string, 1)
	go func() {
		res, err := http.Get(f.url + "/2018-06-01/runtime/invocation/next")
		if err != nil {
			return
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		waiting <- string(b)
	}()
	err := <-done
	require.ErrorIs(t, err, ErrBadResponse)
	require.ErrorContains(t, err, "without answering")
	again := f.call(`2`)
	require.Equal(t, `2`, <-waiting)
	f.env.pool.mu.Lock()
	id := f.env.current.id
	f.env.pool.mu.Unlock()
	require.Equal(t, http.StatusAccepted, f.post(id, "response", "text/plain", `2`))
	require.NoError(t, <-again)
}

func TestProtocolResponseThatBreaksOff(t *testing.T) {
	f := newFakeProcess(t)
	done := f.call(`1`)
	id, _ := f.next()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	require.NoError(t, err)
	_, err = io.WriteString(conn, "POST /2018-06-01/runtime/invocation/"+id+"/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	err = <-done // the process lives on, so the reason cannot be its exit
	require.ErrorIs(t, err, ErrCrashed)
	require.ErrorContains(t, err, "broke off")
}

// TestUndeliveredEventGoesToAnotherEnvironment: the process dies between the
// assignment and its next question.
func TestUndeliveredEventGoesToAnotherEnvironment(t *testing.T) {
	f := newFakeProcess(t)
	p := f.env.pool
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/2018-06-01/runtime/invocation/next", nil)
	require.NoError(t, err)
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		_, _ = http.DefaultClient.Do(req)
	}()
	f.rig.eventually("idle", func() bool { return f.rig.environments("plain")[0].State == "idle" })
	cancel()
	<-dropped
	f.env.exitText = "signal: killed"
	close(f.env.exited) // the process is dead, the pool does not know yet
	done := f.call(`{"op":"echo"}`)
	f.rig.eventually("assigned", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return f.env.current != nil
	})
	f.env.afterExit()
	require.NoError(t, <-done, "a real process has answered")
	require.NotEqual(t, 1, f.rig.environments("plain")[0].PID)
}

func TestExtensionEndpoints(t *testing.T) {
	f := newFakeProcess(t)
	post := func(name string) *http.Response {
		req, err := http.NewRequest(http.MethodPost, f.url+"/2020-01-01/extension/register", strings.NewReader(`{"events":[]}`))
		require.NoError(t, err)
		if name != "" {
			req.Header.Set("Lambda-Extension-Name", name)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = res.Body.Close()
		return res
	}
	require.Equal(t, http.StatusBadRequest, post("").StatusCode)
	require.False(t, f.env.extension)
	res := post("x")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Lambda-Extension-Identifier"))
	require.True(t, f.env.extension)
	res, err := http.Get(f.url + "/2020-01-01/extension/event/next")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Equal(t, http.StatusForbidden, f.initError(), "after the first next")
}

func (f *fakeProcess) initError() int {
	done := f.call(`1`)
	id, _ := f.next()
	res, err := http.Post(f.url+"/2018-06-01/runtime/init/error", "application/json", strings.NewReader(`{}`))
	require.NoError(f.t, err)
	_ = res.Body.Close()
	f.post(id, "response", "", "1")
	require.NoError(f.t, <-done)
	return res.StatusCode
}

func TestInfer(t *testing.T) {
	jsonHeaders := map[string]string{"content-type": "application/json"}
	for payload, want := range map[string]Answer{
		`{"a":1}`:                      {StatusCode: 200, Headers: jsonHeaders, Body: []byte(`{"a":1}`), Inferred: true},
		`"text"`:                       {StatusCode: 200, Headers: jsonHeaders, Body: []byte(`text`), Inferred: true},
		` [1] `:                        {StatusCode: 200, Headers: jsonHeaders, Body: []byte(`[1]`), Inferred: true},
		`null`:                         {StatusCode: 200, Headers: jsonHeaders, Body: []byte(`null`), Inferred: true},
		`{"statusCode":204}`:           {StatusCode: 204, Headers: map[string]string{}},
		`{"statusCode":"404"}`:         {StatusCode: 404, Headers: map[string]string{}},
		`{"statusCode":200,"body":""}`: {StatusCode: 200, Headers: map[string]string{}, Body: []byte{}},
		`{"statusCode":200,"headers":{"a":1,"b":true,"c":null,"d":"x"},"multiValueHeaders":null,"cookies":["k=v"],"body":"é"}`: {
			StatusCode: 200, Headers: map[string]string{"a": "1", "b": "true", "d": "x"}, Cookies: []string{"k=v"}, Body: []byte("é")},
	} {
		got, err := Infer([]byte(payload))
		require.NoError(t, err, payload)
		require.Equal(t, want, got, payload)
	}
	for payload, want := range map[string]string{
		``:                                      "not JSON",
		`{`:                                     "not JSON",
		`{"statusCode":99}`:                     "not within 200 to 599",
		`{"statusCode":101}`:                    "not within 200 to 599",
		`{"statusCode":null}`:                   "not within 200 to 599",
		`{"statusCode":200,"body":{}}`:          "wrong type",
		`{"statusCode":200,"headers":[]}`:       "wrong type",
		`{"statusCode":200,"cookies":"a"}`:      "wrong type",
		`{"statusCode":200,"headers":{"a":[]}}`: "not a string",
		`{"statusCode":200,"body":"*","isBase64Encoded":true}`:     "not base64",
		`{"statusCode":200,"body":"aGk=","isBase64Encoded":"yes"}`: "wrong type",
	} {
		_, err := Infer([]byte(payload))
		require.ErrorContains(t, err, want, payload)
	}
}

func TestReadPreludeInAnyPortions(t *testing.T) {
	whole := `{"statusCode":200}` + "\x00\x00\x00\x00\x00\x00\x00\x00body\x00\x00\x00\x00\x00\x00\x00\x00more"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(whole), "bytewise": iotest.OneByteReader(strings.NewReader(whole)), "half": iotest.HalfReader(strings.NewReader(whole)),
		"with error": iotest.DataErrReader(strings.NewReader(whole)),
	} {
		prelude, rest, err := readPrelude(r)
		require.NoError(t, err, name)
		require.Equal(t, `{"statusCode":200}`, string(prelude), name)
		tail, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "body\x00\x00\x00\x00\x00\x00\x00\x00more", string(rest)+string(tail), name)
	}
	_, _, err := readPrelude(strings.NewReader(`{"statusCode":200}` + "\x00\x00\x00"))
	require.ErrorContains(t, err, "ended before the eight NULs")
	_, _, err = readPrelude(iotest.ErrReader(errors.New("reset")))
	require.ErrorIs(t, err, errBrokenPrelude)
	_, _, err = readPrelude(io.LimitReader(neverNUL{}, 1<<30))
	require.ErrorContains(t, err, "more than 131072 bytes")
}

type neverNUL struct{}

func (neverNUL) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestRequestIDsAreUUIDs(t *testing.T) {
	a, b := NewRequestID(), NewRequestID()
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a)
	require.NotEqual(t, a, b)
	require.Equal(t, "Root=1-00000e10-", NewTraceID(time.Unix(3600, 0))[:16])
}

func FuzzInfer(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":"b"},"body":"x"}`))
	f.Add([]byte(`"x"`))
	f.Add([]byte(`{"statusCode":200,"isBase64Encoded":true,"body":"aGk="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Infer(b)
		if err == nil && (a.StatusCode < 200 || a.StatusCode > 599 || a.Headers == nil) {
			t.Fatalf("unusable answer %+v", a)
		}
	})
}

func FuzzPrelude(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":"b"},"cookies":["c"]}` + "\x00\x00\x00\x00\x00\x00\x00\x00body"))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		prelude, rest, err := readPrelude(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, append(append([]byte{}, prelude...), 0, 0, 0, 0, 0, 0, 0, 0)) || bytes.Contains(prelude, make([]byte, 8)) {
			t.Fatalf("wrong split %q / %q", prelude, rest)
		}
		if s, err := parsePrelude(prelude); err == nil && (s.StatusCode < 200 || s.StatusCode > 599) {
			t.Fatalf("status %d", s.StatusCode)
		}
	})
}

func TestNoEventBeforeThePidIsKnown(t *testing.T) {
	f := newUnknownProcess(t)
	asked := make(chan string, 1)
	go func() {
		id, _ := f.next()
		asked <- id
	}()
	go func() { _, _ = f.rig.Invoke(t.Context(), "plain", []byte(`{}`)) }()
	select {
	case <-asked:
		t.Fatal("an event was handed to a process that the host does not list")
	case <-time.After(100 * time.Millisecond):
	}
	f.known()
	select {
	case id := <-asked:
		require.NotEmpty(t, id)
	case <-time.After(patience):
		t.Fatal("the event never came")
	}
	require.Equal(t, 1, f.rig.environments("plain")[0].PID)
}
