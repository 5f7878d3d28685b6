package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdaurl"
)

// sample is an event as AWS sends it.
func sample() events.LambdaFunctionURLRequest {
	e := events.LambdaFunctionURLRequest{
		Version: "2.0", RawPath: "/v1/a%20b/c", RawQueryString: "x=1&y=%C3%A4", Cookies: []string{"a=b"},
		Headers: map[string]string{"content-type": "application/json", "x-many": "a,b", "host": "id.lambda-url", "x-uml": "ä\"\\"},
		Body:    "{\"q\":\"ü\\n\"}",
	}
	e.RequestContext.DomainName, e.RequestContext.TimeEpoch = "id.lambda-url.eu-central-1.on.aws", 1700000000123
	e.RequestContext.HTTP = events.LambdaFunctionURLRequestContextHTTPDescription{Method: "PUT", Path: "/v1/a b/c", SourceIP: "192.0.2.7"}
	return e
}

func decode(t testing.TB, event any) *Request {
	t.Helper()
	b, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	var r Request
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return &r
}

type answered struct {
	status  int
	headers map[string]string
	cookies []string
	body    string
	err     error
}

// taken splits what an answer sends.
func taken(t *testing.T, r io.Reader) answered {
	t.Helper()
	b, err := io.ReadAll(r)
	head, body, found := bytes.Cut(b, []byte(separator))
	if !found {
		t.Fatalf("no prelude: %q", b)
	}
	var p struct {
		StatusCode int
		Headers    map[string]string
		Cookies    []string
	}
	if err := json.Unmarshal(head, &p); err != nil {
		t.Fatalf("%s: %v", head, err)
	}
	return answered{p.StatusCode, p.Headers, p.Cookies, string(body), err}
}

// TestAsTheLibraryDoes holds the adapter against the one of the Lambda library.
func TestAsTheLibraryDoes(t *testing.T) {
	type seen struct{ method, url, host, remote, body, header string }
	handlers := map[string]http.HandlerFunc{
		"whole": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/x")
			w.Header().Add("X-Many", "a")
			w.Header().Add("X-Many", "b \"ä\"")
			w.Header().Add("Set-Cookie", "one=1; Path=/")
			w.Header().Add("Set-Cookie", "two=2")
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "one")
			_, _ = io.WriteString(w, "two")
		},
		"default status": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"no body":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	}
	based := sample()
	based.Body, based.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte("\x00\xffbytes")), true
	cut := sample()
	cut.Body, cut.IsBase64Encoded = "AAA", true
	bare := sample()
	bare.RawQueryString, bare.Headers, bare.Body = "", nil, ""
	for name, h := range handlers {
		for kind, event := range map[string]events.LambdaFunctionURLRequest{"text": sample(), "base64": based, "bad base64": cut, "bare": bare} {
			var got [2]seen
			look := func(i int) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						body = []byte("failed")
					}
					var header bytes.Buffer
					for _, k := range slices.Sorted(maps.Keys(r.Header)) {
						header.WriteString(k + "=" + strings.Join(r.Header[k], "|") + "\n")
					}
					got[i] = seen{r.Method, r.URL.String(), r.Host, r.RemoteAddr, string(body), header.String()}
					h(w, r)
				})
			}
			theirs, err := lambdaurl.Wrap(look(0))(t.Context(), &event)
			if err != nil {
				t.Fatal(err)
			}
			want := taken(t, theirs)
			ours, err := Wrap(look(1))(t.Context(), decode(t, event))
			if err != nil {
				t.Fatal(err)
			}
			have := taken(t, ours)
			if got[0] != got[1] {
				t.Errorf("%s, %s: request\n%+v, want\n%+v", name, kind, got[1], got[0])
			}
			if have.status != want.status || have.body != want.body || !maps.Equal(have.headers, want.headers) ||
				!slices.Equal(have.cookies, want.cookies) || have.err != nil {
				t.Errorf("%s, %s: answer %+v, want %+v", name, kind, have, want)
			}
		}
	}
}

func TestThroughTheLibrarysHandler(t *testing.T) {
	h := lambda.NewHandler(Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })))
	b, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Invoke(t.Context(), b)
	if err != nil || string(out) != `{"statusCode":200}`+separator+"/v1/a b/c" {
		t.Errorf("%q %v", out, err)
	}
	if _, err := h.Invoke(t.Context(), []byte("null")); err == nil || !strings.Contains(err.Error(), "the event is null") {
		t.Errorf("null: %v", err)
	}
	var a any = new(Answer)
	if a.(interface{ ContentType() string }).ContentType() != "application/vnd.awslambda.http-integration-response" {
		t.Error("not a streamed answer")
	}
}

// TestWritesLeaveSingly reads while the handler stands behind the write.
func TestWritesLeaveSingly(t *testing.T) {
	var did []string
	a, err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, word := range []string{"one", "", "two", "three"} {
			_, _ = io.WriteString(w, word)
			did = append(did, word)
		}
	}))(t.Context(), decode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if len(did) != 0 {
		t.Errorf("ran ahead: %q", did)
	}
	buf := make([]byte, 256)
	for i, want := range []string{`{"statusCode":200}` + separator + "one", "two", "three"} {
		n, err := a.Read(buf)
		if string(buf[:n]) != want || err != nil || len(did) != []int{0, 2, 3}[i] {
			t.Fatalf("%q %v, done %q", buf[:n], err, did)
		}
	}
	if n, err := a.Read(buf); n != 0 || err != io.EOF {
		t.Errorf("%d %v", n, err)
	}
}

func TestSmallReads(t *testing.T) {
	a, err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("ab", 100))
		_, _ = io.WriteString(w, "c")
	}))(t.Context(), decode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for one := make([]byte, 1); ; {
		n, err := a.Read(one)
		out = append(out, one[:n]...)
		if err == io.EOF {
			break
		}
	}
	if want := `{"statusCode":200}` + separator + strings.Repeat("ab", 100) + "c"; string(out) != want {
		t.Errorf("%q", out)
	}
}

func TestFlushSendsTheStatus(t *testing.T) {
	flushed := false
	a, err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Too-Late", "x")
		_ = http.NewResponseController(w).Flush()
		flushed = true
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "x")
	}))(t.Context(), decode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	for _, want := range []string{`{"statusCode":202}` + separator, "x"} {
		n, err := a.Read(buf)
		if string(buf[:n]) != want || err != nil || flushed != (want == "x") {
			t.Errorf("%q %v", buf[:n], err)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		status int
		body   string
		broken bool
	}{
		"after a write": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "one")
			w.(interface{ Break() }).Break()
		}, 200, "one", true},
		"writes after it": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "one")
			w.(interface{ Break() }).Break()
			_, _ = io.WriteString(w, "two")
		}, 200, "onetwo", true},
		"before all": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "audio/mpeg")
			w.Header().Set("X-Request-Id", "r")
			w.WriteHeader(http.StatusOK)
			w.(interface{ Break() }).Break()
		}, 500, "", false},
		"panic after a write": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one"); panic("CNRY") }, 200, "one", true},
		"panic before all":    {func(http.ResponseWriter, *http.Request) { panic("CNRY") }, 500, "", false},
	} {
		a, err := Wrap(c.h)(t.Context(), decode(t, sample()))
		if err != nil {
			t.Fatal(err)
		}
		got := taken(t, a)
		var told messages.InvokeResponse_Error
		if got.status != c.status || got.body != c.body || errors.As(got.err, &told) != c.broken {
			t.Errorf("%s: %+v", name, got)
		}
		if c.broken && (told.Type != "Latchkey.BrokenAnswer" || told.Message != "the answer was broken off") {
			t.Errorf("%s: %+v", name, told)
		}
		if got.headers["Content-Type"] != "" || name == "before all" && got.headers["X-Request-Id"] != "r" {
			t.Errorf("%s: %v", name, got.headers)
		}
	}
}

func TestCloseEndsTheHandler(t *testing.T) {
	var wrote []error
	ended := false
	a, err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			n, err := io.WriteString(w, "one")
			if err != nil && n != 0 {
				t.Errorf("%d bytes written", n)
			}
			wrote = append(wrote, err)
		}
		<-r.Context().Done()
		ended = true
	}))(t.Context(), decode(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || !ended || len(wrote) != 3 || wrote[0] != io.ErrClosedPipe || wrote[2] != io.ErrClosedPipe {
		t.Errorf("%v %v %v", err, ended, wrote)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseDuringARead: the library closes when the Runtime API has answered, and
// its transport may still read then.
func TestCloseDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "one")
			<-r.Context().Done()
		}))(t.Context(), decode(t, sample()))
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, a)
			read <- err
		}()
		synctest.Wait()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

func TestTimeAndDeadlineReachTheHandler(t *testing.T) {
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	a, err := Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		at, ok := TimeOf(r.Context())
		if d, _ := r.Context().Deadline(); !ok || !at.Equal(time.UnixMilli(1700000000123)) || !d.Equal(deadline) {
			t.Errorf("%v %v %v", at, ok, d)
		}
	}))(ctx, decode(t, sample()))
	if err != nil || taken(t, a).status != 200 {
		t.Error(err)
	}
	if _, ok := TimeOf(t.Context()); ok {
		t.Error("a time from nowhere")
	}
}

func TestBadEvents(t *testing.T) {
	for _, text := range []string{`[]`, `"x"`, `{"rawPath":1}`, `{"headers":[]}`, `{"headers":{"a":1}}`, `{"isBase64Encoded":"true"}`,
		`{"requestContext":{"timeEpoch":1.5}}`, `{"requestContext":{"http":{"method":{}}}}`} {
		var r Request
		if err := json.Unmarshal([]byte(text), &r); !errors.Is(err, errEvent) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var r Request
	if err := json.Unmarshal([]byte(` { "x" : [ {"a":[1,"]"]} , null ] , "headers" : {"A":"1","a":"2"}, "body" : null, "rawPath":"/p" } `), &r); err != nil ||
		r.rawPath != "/p" || !slices.Equal(r.headers["A"], []string{"1", "2"}) {
		t.Errorf("%+v %v", r, err)
	}
}

// FuzzEvent: text of any kind is read as the library's own type reads it, or
// refused, and does not panic.
func FuzzEvent(f *testing.F) {
	b, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "v")
	f.Add([]byte(`{"rawPath":"/\ud800","headers":null,"requestContext":null}`), "\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, raw []byte, value string) {
		var r Request
		_ = r.UnmarshalJSON(raw)
		_ = json.Unmarshal(raw, &r)
		e := sample()
		e.RawPath, e.Body, e.Headers = value, value, map[string]string{value: value}
		got := decode(t, e)
		var want events.LambdaFunctionURLRequest
		again, _ := json.Marshal(e)
		if err := json.Unmarshal(again, &want); err != nil {
			t.Fatal(err)
		}
		if got.rawPath != want.RawPath || got.body != want.Body || got.method != "PUT" || len(got.headers) != 1 {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
