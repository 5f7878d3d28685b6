package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

const (
	maxBodyBytes    = 10 * 1000 * 1000 // HTTP API's 10 MB, taken decimal: the stricter reading
	maxHeaderBytes  = 10240
	httpAPITimeout  = 30 * time.Second
	maxEventBytes   = lambdahost.MaxRequestBytes
	bodyReadTimeout = time.Minute
	copyBytes       = 32 * 1024
	drainBytes      = 64 * 1024 * 1024
)

// traceHeader is a complete trace header. A client that sends one decides about
// sampling, as it does on AWS (X-Ray developer guide, "Tracing header").
var traceHeader = regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]$`)

// Invoker is the part of the Lambda host that the front uses.
type Invoker interface {
	Invoke(ctx context.Context, name string, event []byte) (lambdahost.Result, error)
	InvokeStream(ctx context.Context, name string, event []byte) (*lambdahost.Stream, error)
	Functions() []lambdahost.FunctionStatus
}

// Options configure a Front.
type Options struct {
	Host   Invoker
	Clock  *clock.Clock // shared by the whole stack; POST /_local/clock shifts it
	Routes []Route

	// httpAPILimit replaces the 30 s of HTTP API in tests.
	httpAPILimit time.Duration
}

// Front is the stack's public listener as one http.Handler.
type Front struct {
	host   Invoker
	clock  *clock.Clock
	routes []compiledRoute
	local  *http.ServeMux
	limit  time.Duration
}

// New checks the routes: unknown kinds, malformed paths and duplicates are errors.
func New(opts Options) (*Front, error) {
	if opts.Host == nil || opts.Clock == nil {
		return nil, errors.New("front: Host and Clock are required")
	}
	routes, err := compile(opts.Routes)
	if err != nil {
		return nil, err
	}
	f := &Front{host: opts.Host, clock: opts.Clock, routes: routes, local: http.NewServeMux(), limit: httpAPITimeout}
	if opts.httpAPILimit > 0 {
		f.limit = opts.httpAPILimit
	}
	f.registerLocal()
	return f, nil
}

// ServeHTTP answers /_local/ and the routes; anything else is 404.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := rawTarget(r)
	if path == strings.TrimSuffix(localPrefix, "/") || strings.HasPrefix(path, localPrefix) {
		localOnly(f.local).ServeHTTP(w, r)
		return
	}
	route, params := find(f.routes, r.Method, path)
	if route == nil {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	if route.Kind == URL {
		f.serveURL(w, r, route.Function)
		return
	}
	f.serveHTTPAPI(w, r, target{kind: HTTPAPI, function: route.Function, routeKey: route.key, params: params})
}

// URLHandler is the function URL of one function, for a listener of its own.
func (f *Front) URLHandler(function string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serveURL(w, r, function) })
}

// message writes {"message":text}, the form of API Gateway's own answers.
func message(w http.ResponseWriter, status int, text string) {
	body := `{"message":` + strconv.Quote(text) + `}`
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// prepare reads the body and builds the event; false means that the request has
// been answered.
func (f *Front) prepare(w http.ResponseWriter, r *http.Request, t target, limit int64) (ctx context.Context, event []byte, ok bool) {
	// A client that sends half a body must not hold a connection for ever.
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	tooLarge := int64(len(body)) > limit
	if tooLarge {
		// A client that is still sending would see a reset instead of the answer.
		_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
	}
	_ = controller.SetReadDeadline(time.Time{})
	if tooLarge {
		message(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return nil, nil, false
	}
	if err != nil {
		message(w, http.StatusBadRequest, "Bad Request")
		return nil, nil, false
	}
	now := f.clock.Now()
	trace := lambdahost.NewTraceID(now)
	if own := r.Header.Get("X-Amzn-Trace-Id"); traceHeader.MatchString(own) {
		trace = own
	}
	root, _, _ := strings.Cut(trace, ";")
	requestID := lambdahost.NewRequestID()
	event, err = buildEvent(r, t, body, now, requestID, root)
	if err != nil {
		message(w, http.StatusBadRequest, "Bad Request")
		return nil, nil, false
	}
	if len(event) > maxEventBytes {
		message(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return nil, nil, false
	}
	return lambdahost.WithTraceID(r.Context(), trace), event, true
}

func (f *Front) serveHTTPAPI(w http.ResponseWriter, r *http.Request, t target) {
	if headerBytes(r) > maxHeaderBytes {
		message(w, http.StatusRequestHeaderFieldsTooLarge, "Request Header Fields Too Large")
		return
	}
	ctx, event, ok := f.prepare(w, r, t, maxBodyBytes)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	result, err := f.host.Invoke(ctx, t.function, event)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		message(w, http.StatusServiceUnavailable, "Service Unavailable")
		return
	case err != nil:
		refuse(w, err, http.StatusInternalServerError)
		return
	case result.FunctionError != "":
		message(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	answer, err := lambdahost.Infer(result.Payload)
	if err != nil {
		message(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	writeHead(w, answer.Headers, answer.Cookies)
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8") // HTTP API's default [MEM]
	}
	setLength(w, answer.StatusCode, len(answer.Body))
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(answer.Body)
}

func (f *Front) serveURL(w http.ResponseWriter, r *http.Request, function string) {
	t := target{kind: URL, function: function, routeKey: "$default"}
	ctx, event, ok := f.prepare(w, r, t, maxEventBytes)
	if !ok {
		return
	}
	stream, err := f.host.InvokeStream(ctx, function, event)
	if err != nil {
		refuse(w, err, http.StatusBadGateway)
		return
	}
	// Closing early is how the host learns that nobody reads any more: the
	// function runs on and its output is drained.
	defer func() { _ = stream.Body.Close() }()
	writeHead(w, stream.Headers, stream.Cookies)
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/octet-stream") // a stream's default [MEM]
	}
	if !stream.Streamed {
		setLength(w, stream.StatusCode, stream.Size)
	}
	w.WriteHeader(stream.StatusCode)
	copyStream(w, stream)
}

// copyStream flushes after every chunk, and the status before the first one. It
// panics with http.ErrAbortHandler when the stream breaks: that is how net/http
// is told to cut the connection instead of ending the body cleanly.
func copyStream(w http.ResponseWriter, stream *lambdahost.Stream) {
	controller := http.NewResponseController(w)
	if stream.Streamed && controller.Flush() != nil {
		return
	}
	buf := make([]byte, copyBytes)
	for {
		n, err := stream.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			if stream.Streamed && controller.Flush() != nil {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// refuse answers a call that has no result.
func refuse(w http.ResponseWriter, err error, failed int) {
	switch {
	case errors.Is(err, context.Canceled): // the client has left
		panic(http.ErrAbortHandler)
	case errors.Is(err, lambdahost.ErrThrottled):
		message(w, http.StatusTooManyRequests, "Too Many Requests")
	case errors.Is(err, lambdahost.ErrRequestTooLarge):
		message(w, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
	case errors.Is(err, lambdahost.ErrClosed):
		message(w, http.StatusServiceUnavailable, "Service Unavailable")
	default:
		message(w, failed, "Internal Server Error")
	}
}

// writeHead copies what a function may set; framing belongs to the server.
func writeHead(w http.ResponseWriter, headers map[string]string, cookies []string) {
	h := w.Header()
	for name, value := range headers {
		switch strings.ToLower(name) {
		case "connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade":
		default:
			h.Set(name, value)
		}
	}
	for _, c := range cookies {
		h.Add("Set-Cookie", c)
	}
}

func setLength(w http.ResponseWriter, status, n int) {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
}

// NewServer is an HTTP server with the time-outs the stack needs: none on
// writing, since streams last, and a bound on everything a client sends.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 * 1024}
}

// headerBytes is the size of request line and headers as they were sent.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Proto) + 4
	n += len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}
