// Package lambdahttp serves the events of a streaming function URL with an
// http.Handler.
//
// The handler runs as a coroutine of whoever reads the answer: it is resumed by a
// read and suspended by a write, so that one delta costs neither a pipe nor a
// wake-up of another thread, nothing is buffered, and a slow reader slows the
// handler down. Every write leaves as a piece of its own, the first one together
// with status and headers, which wait for it (or for Flush).
//
// A handler writes from the goroutine it was called on, as all of ours do; the
// runtime ends the process if another goroutine writes. An answer that cannot be
// brought to its end is broken off by the writer's method Break(): the client then
// sees a transfer that failed, not a short one. A panic of the handler breaks the
// answer off, too; its value is not looked at.
//
// What AWS documents of the wire (Lambda developer guide, "Using the Lambda runtime
// API for custom runtimes", read 2026-11): a streamed answer is a JSON prelude with
// statusCode, headers and cookies, eight NULs, and the body; an error behind the
// first byte is reported in trailers, which the Lambda library writes when the
// answer's reader fails.
package lambdahttp

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// contentType tells Lambda that a prelude comes first.
const contentType = "application/vnd.awslambda.http-integration-response"

// Wrap makes a handler of function URL events of h. The answer is a reader that
// belongs to one invocation; it is read by one goroutine, and closing it ends the
// handler.
func Wrap(h http.Handler) func(context.Context, *Request) (*Answer, error) {
	return func(ctx context.Context, event *Request) (*Answer, error) {
		if event == nil {
			return nil, errors.New("lambdahttp: the event is null")
		}
		a := &Answer{end: io.EOF}
		ctx, a.cancel = context.WithCancel(context.WithValue(ctx, eventKey{}, event))
		r, err := event.request(ctx)
		if err != nil {
			a.cancel()
			return nil, err
		}
		a.next, a.stop = iter.Pull(a.run(h, r))
		a.resume()
		return a, nil
	}
}

type eventKey struct{}

// TimeOf is when the platform took in the request of ctx; false if it does not
// say.
func TimeOf(ctx context.Context) (time.Time, bool) {
	event, ok := ctx.Value(eventKey{}).(*Request)
	if !ok || event.timeEpoch <= 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(event.timeEpoch), true
}

func (e *Request) request(ctx context.Context) (*http.Request, error) {
	body := e.body
	var broken error
	if e.base64 {
		plain, err := base64.StdEncoding.DecodeString(body)
		body, broken = string(plain), err
	}
	url := "https://" + e.domainName + e.rawPath
	if e.rawQuery != "" {
		url += "?" + e.rawQuery
	}
	r, err := http.NewRequestWithContext(ctx, e.method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if broken != nil {
		r.Body, r.ContentLength = io.NopCloser(failing{broken}), -1
	}
	r.RemoteAddr, r.Header = e.sourceIP, e.headers
	if r.Header == nil {
		r.Header = http.Header{}
	}
	return r, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Answer is what the Lambda library sends: prelude and body.
type Answer struct {
	mu     sync.Mutex // the library may close while its transport still reads
	next   func() (struct{}, bool)
	stop   func()
	cancel context.CancelFunc

	// The rest is written by the handler while it runs and read while it is
	// suspended.
	header  http.Header
	head    []byte // of the prelude, what was not read
	body    []byte // of the handler's last write, what was not read
	begun   bool   // there is a status
	started bool   // some of the answer was handed on
	broken  bool
	ended   bool
	end     error // of the body
}

// ContentType is asked for by the Lambda library.
func (a *Answer) ContentType() string { return contentType }

// Read returns the next piece, running the handler up to it. It never joins
// writes. The error of an answer that was broken off is not io.EOF.
func (a *Answer) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.head)+len(a.body) == 0 {
		if a.ended {
			return 0, a.end
		}
		a.resume()
	}
	a.started = true
	n := copy(p, a.head)
	a.head = a.head[n:]
	m := copy(p[n:], a.body)
	a.body = a.body[m:]
	return n + m, nil
}

// Close cancels the request's context and waits for the handler, whose writes
// fail from here on.
func (a *Answer) Close() error {
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop()
	a.ended = true
	return nil
}

// resume runs the handler until it writes or ends.
func (a *Answer) resume() {
	if _, more := a.next(); more {
		return
	}
	a.ended = true
	switch {
	case a.broken && !a.started:
		a.header.Del("Content-Type")
		a.head = prelude(http.StatusInternalServerError, a.header)
	case a.broken:
		a.end = messages.InvokeResponse_Error{Type: "Latchkey.BrokenAnswer", Message: "the answer was broken off"}
	}
}

// run is the coroutine.
func (a *Answer) run(h http.Handler, r *http.Request) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		a.header = make(http.Header, 24)
		w := &writer{answer: a, yield: yield}
		defer func() {
			if recover() != nil {
				a.broken = true
			}
			w.begin(http.StatusOK)
		}()
		h.ServeHTTP(w, r)
	}
}

type writer struct {
	answer *Answer
	yield  func(struct{}) bool
	left   bool // nobody reads any more
}

func (w *writer) Header() http.Header { return w.answer.header }

func (w *writer) WriteHeader(status int) { w.begin(status) }

func (w *writer) begin(status int) {
	if !w.answer.begun {
		w.answer.begun = true
		w.answer.head = prelude(status, w.answer.header)
	}
}

// Write hands p over and returns when it was taken.
func (w *writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	if len(p) == 0 {
		return 0, nil
	}
	w.answer.body = p
	if !w.handOver() {
		n := len(p) - len(w.answer.body)
		w.answer.body = nil
		return n, io.ErrClosedPipe
	}
	return len(p), nil
}

// Flush sends status and headers; writes need none.
func (w *writer) Flush() {
	w.begin(http.StatusOK)
	if len(w.answer.head) > 0 {
		w.handOver()
	}
}

func (w *writer) handOver() bool {
	w.left = w.left || !w.yield(struct{}{})
	return !w.left
}

// Break says that the answer is not whole: once the handler has returned, the
// transfer fails. If nothing was handed on, the answer becomes an empty 500.
func (w *writer) Break() { w.answer.broken = true }

// separator ends a prelude.
const separator = "\x00\x00\x00\x00\x00\x00\x00\x00"

func prelude(status int, h http.Header) []byte {
	b := append(make([]byte, 0, 1024), `{"statusCode":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	open := `,"headers":{`
	for name, values := range h {
		if name == "Set-Cookie" {
			continue
		}
		b = append(b, open...)
		open = ","
		b = append(jsonwire.AppendString(b, name), ':')
		value := ""
		if len(values) == 1 {
			value = values[0]
		} else {
			value = strings.Join(values, ",")
		}
		b = jsonwire.AppendString(b, value)
	}
	if open == "," {
		b = append(b, '}')
	}
	open = `,"cookies":[`
	for _, c := range h["Set-Cookie"] {
		b = append(b, open...)
		open = ","
		b = jsonwire.AppendString(b, c)
	}
	if open == "," {
		b = append(b, ']')
	}
	return append(append(b, '}'), separator...)
}
