package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The test binary plays the children.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "announce":
		if err := Announce(map[string]string{"word": os.Args[2]}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) == 2 && os.Args[1] == "silent":
		os.Exit(0)
	case os.Getenv("RIG_POLL") == "ask":
		_, _ = http.Get("http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/next")
		os.Exit(0)
	case os.Getenv("RIG_POLL") == "serve":
		serveEvents(os.Getenv("RIG_GATE"))
	case os.Getenv("RIG_POLL") == "fail":
		fmt.Println("missing: EVERYTHING")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func server(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func load(t *testing.T, url string, stream bool, calls, clients int) Result {
	t.Helper()
	addr := strings.TrimPrefix(url, "http://")
	body := []byte(fmt.Sprintf(`{"stream":%t}`, stream))
	r, err := Load(t.Context(), Spec{Addr: addr, Requests: [][]byte{Request(addr, "/v1/chat/completions", "k", body), Request(addr, "/v1/chat/completions", "", body, "X-A", "b")},
		Stream: stream, Clients: clients, MaxCalls: calls, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWholeReplies(t *testing.T) {
	up := server(t, NewUpstream(10, 0))
	floor, err := Floor(up)
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"direct": up, "floor": server(t, floor)} {
		for _, stream := range []bool{false, true} {
			r := load(t, url, stream, 60, 4)
			if r.Calls != 60 || len(r.Total) != 60 || len(r.First) != 60 || r.Failed() != 0 || r.Broken != 0 || len(r.Errors) != 0 {
				t.Errorf("%s, stream %t: %+v", name, stream, r.Errors)
			}
			if r.OK[0]+r.OK[1] != 60 || r.OK[0] == 0 || r.OK[1] == 0 || r.Reads < 60 {
				t.Errorf("%s, stream %t: %v, %d reads", name, stream, r.OK, r.Reads)
			}
		}
	}
}

func TestUpstreamSpeaksTheDialect(t *testing.T) {
	u := NewUpstream(3, 0)
	w := httptest.NewRecorder()
	u.ServeHTTP(w, httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(`{"stream":true}`)))
	got := w.Body.String()
	if strings.Count(got, "data: ") != 3+2+1 || !strings.HasSuffix(got, endMark) || strings.Count(got, `"usage"`) != 1 {
		t.Error(got)
	}
}

// A reply that begins and does not end as a stream must is broken, whether the
// connection was cut or the end mark left out.
func TestBrokenStreams(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("data: {}\n\n"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	unmarked := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data: {}\n\n")) }
	for name, h := range map[string]http.HandlerFunc{"cut": cut, "unmarked": unmarked} {
		r := load(t, server(t, h), true, 5, 1)
		if r.Broken != 5 || r.Errors["broken"] != 5 || len(r.Total) != 0 || r.Failed() != 5 {
			t.Errorf("%s: %d broken, %v", name, r.Broken, r.Errors)
		}
	}
	if r := load(t, server(t, http.HandlerFunc(unmarked)), false, 5, 1); r.Failed() != 0 {
		t.Errorf("a plain reply has no end mark: %v", r.Errors)
	}
}

func TestRefusalsByCode(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = w.Write([]byte(`{"error":{"code":"insufficient_credits"}}`))
	}
	r := load(t, server(t, http.HandlerFunc(h)), true, 6, 1)
	if r.Errors["402 insufficient_credits"] != 3 || r.Errors["502"] != 3 || r.Broken != 0 || r.Failed() != 6 {
		t.Errorf("%v", r.Errors)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	_ = l.Close()
	if r := load(t, gone, false, 2, 1); r.Errors["connection"] != 2 {
		t.Errorf("%v", r.Errors)
	}
}

func TestLoadNeedsBounds(t *testing.T) {
	ok := Spec{Addr: "x", Requests: [][]byte{{1}}, Clients: 1, MaxCalls: 1, Timeout: time.Second}
	for name, change := range map[string]func(*Spec){
		"no end": func(s *Spec) { s.MaxCalls = 0 }, "no clients": func(s *Spec) { s.Clients = 0 },
		"no requests": func(s *Spec) { s.Requests = nil }, "no timeout": func(s *Spec) { s.Timeout = 0 },
	} {
		s := ok
		change(&s)
		if _, err := Load(t.Context(), s); err == nil || !strings.Contains(err.Error(), "needs") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Load(ctx, ok); err != nil || r.Calls != 0 {
		t.Errorf("cancelled: %v, %d calls", err, r.Calls)
	}
}

func TestKeepEnd(t *testing.T) {
	text := strings.Repeat("0123456789", 5) + endMark
	for size := 1; size <= len(text); size++ {
		var tail []byte
		for at := 0; at < len(text); at += size {
			tail = keepEnd(tail, []byte(text[at:min(at+size, len(text))]))
		}
		if string(tail) != endMark {
			t.Errorf("pieces of %d: %q", size, tail)
		}
	}
}

func TestSpread(t *testing.T) {
	nan := Quantile(nil, 0.5)
	if got := SpreadOf([]float64{4, nan, 1, 3, 2, 5}); got != (Spread{3, 2, 4}) {
		t.Errorf("%+v", got)
	}
	if got := SpreadOf([]float64{1, 2}); got != (Spread{1.5, 1.25, 1.75}) {
		t.Errorf("%+v", got)
	}
	if got := SpreadOf(nil); got != (Spread{}) {
		t.Errorf("%+v", got)
	}
	if got := Quantile([]time.Duration{3 * time.Millisecond, time.Millisecond}, 1); got != 3 {
		t.Error(got)
	}
}

func TestChild(t *testing.T) {
	var got struct{ Word string }
	c, err := Spawn(t.Context(), os.Stderr, &got, "announce", "hello")
	if err != nil || got.Word != "hello" {
		t.Fatalf("%+v, %v", got, err)
	}
	pid := c.PID()
	if runtime.GOOS == "linux" {
		found := false
		for _, p := range Processes(os.Getpid()) {
			found = found || p.PID == pid && p.CPU > 0 && p.Name != ""
		}
		if !found || RSS(pid) == 0 || Busy() == 0 || LoadAverage() == "" || CPU(os.Getpid()) == 0 {
			t.Errorf("child %d is not accounted for", pid)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if CPU(pid) != 0 {
		t.Errorf("process %d is still there", pid)
	}
	if _, err := Spawn(t.Context(), os.Stderr, &got, "silent"); err == nil || !strings.Contains(err.Error(), "silent did not start") {
		t.Errorf("%v", err)
	}
}

func TestFirstPoll(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := FirstPoll(t.Context(), self, []string{"RIG_POLL=ask"})
	if err != nil || p.Wall <= 0 || runtime.GOOS == "linux" && (p.RSS == 0 || p.CPU == 0) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := FirstPoll(t.Context(), self, []string{"RIG_POLL=fail"}); err == nil || !strings.Contains(err.Error(), "missing: EVERYTHING") {
		t.Errorf("%v", err)
	}
	if _, err := FirstPoll(t.Context(), self+"-none", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
