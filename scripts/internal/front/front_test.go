package front

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

var built string // where TestMain put the fixtures

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "front")
	if err != nil {
		panic(err)
	}
	built = dir
	for _, name := range []string{"plain", "stream"} {
		cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, name), "../lambdahost/testdata/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const patience = 20 * time.Second

// fakeHost stands for the Lambda host where a test is about HTTP alone.
type fakeHost struct {
	mu     sync.Mutex
	event  []byte
	name   string
	invoke func(ctx context.Context) (lambdahost.Result, error)
	stream func(ctx context.Context) (*lambdahost.Stream, error)
}

func (h *fakeHost) note(name string, event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.name, h.event = name, event
}

func (h *fakeHost) Invoke(ctx context.Context, name string, event []byte) (lambdahost.Result, error) {
	h.note(name, event)
	if h.invoke == nil {
		return lambdahost.Result{Payload: []byte(`{}`)}, nil
	}
	return h.invoke(ctx)
}

func (h *fakeHost) InvokeStream(ctx context.Context, name string, event []byte) (*lambdahost.Stream, error) {
	h.note(name, event)
	if h.stream == nil {
		return &lambdahost.Stream{StatusCode: 200, Body: http.NoBody}, nil
	}
	return h.stream(ctx)
}

func (h *fakeHost) Functions() []lambdahost.FunctionStatus {
	return []lambdahost.FunctionStatus{{Name: "fn", Environments: []lambdahost.Environment{{PID: 7, State: "busy", RequestID: "r"}}}}
}

func (h *fakeHost) last(t *testing.T) []byte {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NotNil(t, h.event, "nothing was forwarded")
	return h.event
}

var allRoutes = []Route{
	{Method: "POST", Path: "/webhooks/{provider}/{install}", Function: "hook", Kind: HTTPAPI},
	{Method: "ANY", Path: "/api/{proxy+}", Function: "console", Kind: HTTPAPI},
	{Method: "POST", Path: "/v1/{proxy+}", Function: "invoke", Kind: URL},
	{Method: "POST", Path: "/plain", Function: "plain", Kind: HTTPAPI},
	{Method: "POST", Path: "/plainurl", Function: "plain", Kind: URL},
	{Method: "GET", Path: "/{proxy+}", Function: "stream", Kind: URL},
}

func serve(t *testing.T, opts Options) (*Front, *httptest.Server) {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = new(clock.Clock)
	}
	if opts.Routes == nil {
		opts.Routes = allRoutes
	}
	f, err := New(opts)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(f)
	s.Config = NewServer(f)
	s.Start()
	t.Cleanup(s.Close)
	return f, s
}

func realHost(t *testing.T, change func(*lambdahost.Options, *lambdahost.Spec)) *lambdahost.Host {
	t.Helper()
	opts := lambdahost.Options{LogDir: t.TempDir()}
	var specs []lambdahost.Spec
	for _, name := range []string{"plain", "stream"} {
		s := lambdahost.Spec{Name: name, Binary: filepath.Join(built, name), Timeout: time.Minute}
		if change != nil {
			change(&opts, &s)
		}
		specs = append(specs, s)
	}
	h, err := lambdahost.New(opts)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	for _, s := range specs {
		require.NoError(t, h.Register(s))
	}
	return h
}

func do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(b)
}

func post(t *testing.T, url, contentType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	return do(t, req)
}

// gate is a server at which a function reports and waits.
func gate(t *testing.T) (url string, arrived chan string, open chan struct{}) {
	arrived, open = make(chan string, 16), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		select {
		case <-open:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL, arrived, open
}

func await(t *testing.T, ch chan string, want string) {
	t.Helper()
	select {
	case got := <-ch:
		require.Equal(t, want, got)
	case <-time.After(patience):
		t.Fatalf("never arrived: %s", want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestStreamOverHTTP(t *testing.T) {
	url, arrived, open := gate(t)
	_, s := serve(t, Options{Host: realHost(t, nil)})
	res, err := http.Get(s.URL + "/three?barrier=" + url)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusAccepted, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(t, []string{"one=1; Path=/", "two=2"}, res.Header["Set-Cookie"])
	require.Equal(t, []string{"chunked"}, res.TransferEncoding)
	buf := make([]byte, 16)
	for _, word := range []string{"one", "two", "three"} {
		n, err := res.Body.Read(buf) // the function is waiting behind this word
		require.NoError(t, err)
		require.Equal(t, word, string(buf[:n]))
		await(t, arrived, "/"+word)
		open <- struct{}{}
	}
	rest, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Empty(t, rest)
	// Status and headers do not wait for the first byte of the body.
	require.Equal(t, http.StatusNoContent, statusOf(t, s.URL+"/empty"))
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	res, _ := do(t, req)
	return res.StatusCode
}

func TestBrokenStreamIsNotACleanEnd(t *testing.T) {
	url, arrived, _ := gate(t)
	_, s := serve(t, Options{Host: realHost(t, nil)})
	res, err := http.Get(s.URL + "/exit?barrier=" + url)
	require.NoError(t, err)
	await(t, arrived, "/wrote")
	// What it wrote may still be in the process: it dies when the bytes are here.
	got := make([]byte, 3)
	_, err = io.ReadFull(res.Body, got)
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	pid, err := strconv.Atoi(res.Header.Get("X-Pid"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	got, err = io.ReadAll(res.Body)
	_ = res.Body.Close()
	require.Empty(t, got)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	res, err = http.Get(s.URL + "/midfail")
	require.NoError(t, err)
	got, err = io.ReadAll(res.Body)
	_ = res.Body.Close()
	require.Equal(t, "one", string(got))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestFailuresBeforeTheAnswer(t *testing.T) {
	_, s := serve(t, Options{Host: realHost(t, nil)})
	for _, c := range []struct {
		path, body, want string
		status           int
	}{
		{"/plain", `{"op":"exit","code":1}`, `{"message":"Internal Server Error"}`, 500},
		{"/plain", `{"op":"error","text":"secret detail"}`, `{"message":"Internal Server Error"}`, 500},
		{"/plain", `{"op":"panic","text":"secret detail"}`, `{"message":"Internal Server Error"}`, 500},
		{"/plain", `{"op":"raw","text":"<html>"}`, `{"message":"Internal Server Error"}`, 500},
		{"/plain", fmt.Sprintf(`{"op":"huge","bytes":%d}`, lambdahost.MaxResponseBytes), `{"message":"Internal Server Error"}`, 500},
		{"/plainurl", `{"op":"exit","code":1}`, `{"message":"Internal Server Error"}`, 502},
		{"/plainurl", `{"op":"error","text":"secret detail"}`, `{"message":"Internal Server Error"}`, 502},
		{"/plainurl", `{"op":"raw","text":"<html>"}`, `{"message":"Internal Server Error"}`, 502},
		{"/nothing", `{}`, `{"message":"Not Found"}`, 404},
	} {
		res, body := post(t, s.URL+c.path, "application/json", c.body)
		require.Equal(t, c.status, res.StatusCode, c.body)
		require.Equal(t, c.want, body)
		require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	}
	req, err := http.NewRequest(http.MethodGet, s.URL+"/early", nil)
	require.NoError(t, err)
	res, body := do(t, req)
	require.Equal(t, 502, res.StatusCode)
	require.Equal(t, `{"message":"Internal Server Error"}`, body)
}

func TestAnswersAreInferred(t *testing.T) {
	_, s := serve(t, Options{Host: realHost(t, nil)})
	for _, path := range []string{"/plain", "/plainurl"} {
		res, body := post(t, s.URL+path, "application/json", `{"op":"respond","response":{"hello":"<world>"}}`)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "application/json", res.Header.Get("Content-Type"))
		require.Equal(t, `{"hello":"<world>"}`, body)
		require.Equal(t, int64(len(body)), res.ContentLength)

		png := base64.StdEncoding.EncodeToString([]byte{0x89, 'P', 0xff})
		res, body = post(t, s.URL+path, "application/json", `{"op":"respond","response":{"statusCode":418,"headers":{"Content-Type":"image/png","Connection":"close","Content-Length":"999"},"cookies":["a=1","b=2"],"body":"`+png+`","isBase64Encoded":true}}`)
		require.Equal(t, 418, res.StatusCode)
		require.Equal(t, "image/png", res.Header.Get("Content-Type"))
		require.Equal(t, []string{"a=1", "b=2"}, res.Header["Set-Cookie"])
		require.Equal(t, "\x89P\xff", body)
		require.False(t, res.Close)

		res, _ = post(t, s.URL+path, "application/json", `{"op":"respond","response":{"statusCode":204}}`)
		require.Equal(t, 204, res.StatusCode)
	}
	res, _ := post(t, s.URL+"/plain", "application/json", `{"op":"respond","response":{"statusCode":200,"body":"x"}}`)
	require.Equal(t, "text/plain;charset=UTF-8", res.Header.Get("Content-Type"))
}

func TestThrottledIs429(t *testing.T) {
	for _, kind := range []string{"/plain", "/plainurl"} {
		host := &fakeHost{
			invoke: func(context.Context) (lambdahost.Result, error) {
				return lambdahost.Result{}, &lambdahost.Error{Reason: lambdahost.ErrThrottled}
			},
			stream: func(context.Context) (*lambdahost.Stream, error) {
				return nil, &lambdahost.Error{Reason: lambdahost.ErrThrottled}
			},
		}
		_, s := serve(t, Options{Host: host})
		res, body := post(t, s.URL+kind, "application/json", "{}")
		require.Equal(t, 429, res.StatusCode)
		require.Equal(t, `{"message":"Too Many Requests"}`, body)
	}
}

func TestBodyBounds(t *testing.T) {
	host := &fakeHost{}
	_, s := serve(t, Options{Host: host})
	tooLarge := func(path, contentType string, size int) {
		t.Helper()
		host.event = nil
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if chunked {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequest(http.MethodPost, s.URL+path, body)
			require.NoError(t, err)
			req.Header.Set("Content-Type", contentType)
			res, text := do(t, req)
			require.Equal(t, 413, res.StatusCode)
			require.Equal(t, `{"message":"Request Entity Too Large"}`, text)
			require.Nil(t, host.event, "nothing is forwarded")
		}
	}
	const mb = 1024 * 1024
	tooLarge("/plain", "text/plain", 10_000_001)
	tooLarge("/plain", "text/plain", 6*mb)
	tooLarge("/plain", "image/png", 6*mb*3/4)
	tooLarge("/plainurl", "text/plain", 6*mb)
	tooLarge("/plainurl", "image/png", 6*mb*3/4)
	tooLarge("/plainurl", "application/octet-stream", 20*mb)
	for _, path := range []string{"/plain", "/plainurl"} {
		res, _ := post(t, s.URL+path, "text/plain", strings.Repeat("x", 6*mb-4096))
		require.Equal(t, 200, res.StatusCode)
		res, _ = post(t, s.URL+path, "image/png", strings.Repeat("x", 6*mb*3/4-4096))
		require.Equal(t, 200, res.StatusCode)
	}
}

func TestHeaderLimitOfHTTPAPI(t *testing.T) {
	host := &fakeHost{}
	_, s := serve(t, Options{Host: host})
	send := func(path string, size int) int {
		req, err := http.NewRequest(http.MethodPost, s.URL+path, nil)
		require.NoError(t, err)
		req.Header.Set("X-Long", strings.Repeat("a", size))
		res, _ := do(t, req)
		return res.StatusCode
	}
	require.Equal(t, 200, send("/plain", 9900))
	require.Equal(t, 431, send("/plain", 10240))
	require.Equal(t, 200, send("/plainurl", 10240))
}

func TestHTTPAPIStopsWaiting(t *testing.T) {
	host := &fakeHost{invoke: func(ctx context.Context) (lambdahost.Result, error) {
		<-ctx.Done()
		return lambdahost.Result{}, ctx.Err()
	}}
	f, s := serve(t, Options{Host: host, httpAPILimit: time.Millisecond})
	res, body := post(t, s.URL+"/plain", "text/plain", "x")
	require.Equal(t, 503, res.StatusCode)
	require.Equal(t, `{"message":"Service Unavailable"}`, body)
	require.Equal(t, time.Millisecond, f.limit)
	g, err := New(Options{Host: host, Clock: new(clock.Clock)})
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, g.limit)
}

func TestClientThatLeavesIsDrained(t *testing.T) {
	url, arrived, open := gate(t)
	host := realHost(t, nil)
	_, s := serve(t, Options{Host: host})
	res, err := http.Get(s.URL + "/drain?n=40&barrier=" + url)
	require.NoError(t, err)
	await(t, arrived, "/wrote")
	require.NoError(t, res.Body.Close())
	open <- struct{}{}
	await(t, arrived, "/drained-"+strconv.Itoa(40*64<<10))
	open <- struct{}{}

	// One that leaves before any answer.
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/plain", strings.NewReader(`{"op":"wait","url":"`+url+`/held"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	failed := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(req)
		failed <- err
	}()
	await(t, arrived, "/held")
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	open <- struct{}{}
	eventually(t, "both functions are idle, their processes alive", func() bool {
		for _, f := range host.Functions() {
			if len(f.Environments) != 1 || f.Environments[0].State != "idle" {
				return false
			}
		}
		return true
	})
}

func TestURLHandlerServesEveryPath(t *testing.T) {
	host := &fakeHost{}
	f, _ := serve(t, Options{Host: host})
	s := httptest.NewServer(f.URLHandler("invoke"))
	defer s.Close()
	res, _ := post(t, s.URL+"/_local/functions", "text/plain", "x")
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "invoke", host.name)
	require.Contains(t, string(host.last(t)), `"rawPath":"/_local/functions"`)
}

func TestFiveHundredStreamsNoneBroken(t *testing.T) {
	host := realHost(t, func(_ *lambdahost.Options, s *lambdahost.Spec) { s.MaxEnvironments = 16 })
	_, s := serve(t, Options{Host: host})
	var want bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	jobs := make(chan int)
	broken := make(chan string, 500)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range jobs {
				// A body as well: an inbound body still open is what breaks proxied streams.
				req, _ := http.NewRequest(http.MethodGet, s.URL+"/lines?n=50", strings.NewReader(strings.Repeat("b", 1000+i)))
				res, err := client.Do(req)
				if err != nil {
					broken <- err.Error()
					continue
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != 200 || !bytes.Equal(b, want.Bytes()) {
					broken <- fmt.Sprint(res.StatusCode, err, len(b))
				}
			}
		})
	}
	for i := range 500 {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	close(broken)
	for b := range broken {
		t.Error(b)
	}
}

func TestLocalEndpoints(t *testing.T) {
	host := realHost(t, nil)
	c := new(clock.Clock)
	f, s := serve(t, Options{Host: host, Clock: c})
	f.HandleLocal("GET /_local/queues", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, []int{1}) }))

	res, body := post(t, s.URL+"/_local/invoke/plain", "", `{"any":1}`)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, `{"any":1}`, body)
	for event, want := range map[string]string{
		`{"op":"error","text":"x"}`: `{"errorMessage":"x","errorType":"errorString"}`,
		`{"op":"exit","code":3}`:    `exit status 3`,
	} {
		res, body = post(t, s.URL+"/_local/invoke/plain", "", event)
		require.Equal(t, 502, res.StatusCode)
		require.Contains(t, body, want)
		var doc struct {
			ErrorType, ErrorMessage string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &doc))
		require.NotEmpty(t, doc.ErrorType)
	}
	res, _ = post(t, s.URL+"/_local/invoke/nobody", "", `{}`)
	require.Equal(t, 404, res.StatusCode)
	res, _ = post(t, s.URL+"/_local/invoke/plain", "", `{`)
	require.Equal(t, 400, res.StatusCode)
	res, _ = post(t, s.URL+"/_local/invoke/plain", "", strings.Repeat(" ", maxEventBytes+1))
	require.Equal(t, 413, res.StatusCode)

	res, body = post(t, s.URL+"/_local/clock", "", `{"offset_seconds": 86400}`)
	require.Equal(t, 200, res.StatusCode, body)
	require.Equal(t, 24*time.Hour, c.Offset())
	for _, bad := range []string{``, `{}`, `{"offset_seconds":null}`, `{"offset_seconds":1.5}`, `{"offset_seconds":"1"}`, `{"offset_seconds":1,"x":2}`, `{"offset_seconds":1}{}`, `{"offset_seconds":4000000000}`, `[1]`} {
		res, body = post(t, s.URL+"/_local/clock", "", bad)
		require.Equal(t, 400, res.StatusCode, bad)
		require.Contains(t, body, `"code":"invalid_request"`)
		require.Equal(t, 24*time.Hour, c.Offset())
	}
	get := func(path string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		require.NoError(t, err)
		res, body := do(t, req)
		return res.StatusCode, body
	}
	status, body := get("/_local/queues")
	require.Equal(t, "200 [1]\n", fmt.Sprint(status, " ", body))
	_, body = get("/_local/functions")
	var list []lambdahost.FunctionStatus
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	require.Equal(t, []string{"plain", "stream"}, []string{list[0].Name, list[1].Name})
	require.Contains(t, body, `{"name":"stream","environments":[]}`)
	status, _ = get("/_local/nothing")
	require.Equal(t, 404, status)
	require.PanicsWithValue(t, "front: pattern GET /other is not below /_local/", func() { f.HandleLocal("GET /other", http.NotFoundHandler()) })
}

func TestLocalEndpointsAnswerOnlyTheMachineItself(t *testing.T) {
	host := &fakeHost{}
	_, s := serve(t, Options{Host: host})
	api := httptest.NewServer(InvokeAPI(host, nil))
	defer api.Close()
	for name, change := range map[string]func(*http.Request){
		"proxy or tunnel":   func(r *http.Request) { r.Header.Set("X-Forwarded-For", "203.0.113.9") },
		"only at 127.0.0.1": func(r *http.Request) { r.Host = "evil.example" },
		"another origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"of another origin": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"web pages":         func(r *http.Request) { r.Header.Set("Origin", "null") },
	} {
		for _, url := range []string{s.URL + "/_local/invoke/fn", s.URL + "/_local/clock", api.URL + "/2015-03-31/functions/fn/invocations"} {
			req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"offset_seconds":1}`))
			require.NoError(t, err)
			change(req)
			res, body := do(t, req)
			require.Equal(t, 403, res.StatusCode, name)
			require.Contains(t, body, name)
			require.Nil(t, host.event)
		}
	}
	req, err := http.NewRequest(http.MethodGet, s.URL+"/_local/functions", nil)
	require.NoError(t, err)
	req.Host = "localhost:8787"
	req.Header.Set("Origin", "http://localhost:8787")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, body := do(t, req)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, `[{"name":"fn","environments":[{"pid":7,"state":"busy","request_id":"r"}]}]`+"\n", body)
}

func TestListenIsLoopbackOnly(t *testing.T) {
	for _, bad := range []string{":0", "0.0.0.0:0", "[::]:0", "localhost:0", "192.0.2.1:0", "127.0.0.2:0", "127.0.0.1"} {
		ln, err := Listen(bad)
		require.Error(t, err, bad)
		require.Nil(t, ln)
	}
	ln, err := Listen("127.0.0.1:0")
	require.NoError(t, err)
	require.True(t, ln.Addr().(*net.TCPAddr).IP.IsLoopback())
	require.NoError(t, ln.Close())
}

func benchmark(b *testing.B, method, path, body string) {
	opts := lambdahost.Options{LogDir: b.TempDir()}
	h, err := lambdahost.New(opts)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for _, name := range []string{"plain", "stream"} {
		if err := h.Register(lambdahost.Spec{Name: name, Binary: filepath.Join(built, name), Timeout: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
	f, err := New(Options{Host: h, Clock: new(clock.Clock), Routes: allRoutes})
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(f)
	defer s.Close()
	for b.Loop() {
		req, _ := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
			b.Fatal(res.StatusCode, err)
		}
		_ = res.Body.Close()
	}
}

// BenchmarkFloor is one plain net/http round trip on the same machine at the
// same moment: the others mean something only next to it.
func BenchmarkFloor(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer s.Close()
	for b.Loop() {
		res, err := http.Post(s.URL, "application/json", strings.NewReader(`{"a":1}`))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

func BenchmarkHTTPAPI(b *testing.B)     { benchmark(b, "POST", "/plain", `{"a":1}`) }
func BenchmarkURLPlain(b *testing.B)    { benchmark(b, "POST", "/plainurl", `{"a":1}`) }
func BenchmarkURL10Chunks(b *testing.B) { benchmark(b, "GET", "/lines?n=10", "") }
