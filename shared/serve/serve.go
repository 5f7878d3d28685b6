// Package serve is the HTTP face of the model and speech functions: it
// authenticates a request, bounds and reads its body, turns our headers into a
// gateway query, and writes answers' headers and errors in the dialect's
// envelope.
//
// The functions register handlers with [Server.Handle]; a handler gets an
// [Exchange] whose caller is authenticated, and either writes an answer or
// returns a *fault.Error before anything was written. Panics are recovered:
// outside a goroutine of the handler's own none reaches the Lambda runtime,
// which would answer 200 with an empty body. One log line per request, with
// fixed keys and no text of clients or vendors. A panic, or content that a vendor
// cuts off, behind the status breaks the answer off where the writer can ([Break]).
package serve

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// maxBody is the largest event a function URL delivers.
const maxBody = 6 << 20

// Server answers requests. Safe for concurrent use; all fields but Redact are
// required.
type Server struct {
	Gateway *gateway.Gateway
	// Observe sets the clock from the request; Now reads it.
	Observe func(*http.Request)
	Now     func() time.Time
	NewID   func(time.Time) string
	Log     *slog.Logger
	// EncodeError is the dialect's error envelope.
	EncodeError func(dst []byte, err error, requestID string) []byte
	// Redact gets the caller's key and masks error texts; nil masks nothing.
	Redact *redact.Set
}

// Exchange is one authenticated request.
type Exchange struct {
	W      http.ResponseWriter
	R      *http.Request
	Body   []byte
	Caller *gateway.Caller
	Query  gateway.Query

	server *Server
	info   gateway.Info
	wrote  bool
}

// Speaking returns a server that differs in the envelope of its errors.
func (s *Server) Speaking(encodeError func(dst []byte, err error, requestID string) []byte) *Server {
	other := *s
	other.EncodeError = encodeError
	return &other
}

// Handle builds the handler of one route.
func (s *Server) Handle(scope org.Scope, h func(*Exchange) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Observe(r)
		began := s.Now()
		x := &Exchange{W: w, R: r, server: s}
		x.Query.RequestID = s.NewID(began)
		x.identify(x.Query.RequestID)
		x.decided(gateway.Info{})
		w.Header().Set("Cache-Control", "no-store")
		err := s.guard(x, scope, h)
		if err != nil && !x.wrote {
			x.fail(err)
		}
		s.log(x, err, began)
	})
}

// guard runs the request and turns a panic into an error.
func (s *Server) guard(x *Exchange, scope org.Scope, h func(*Exchange) error) (err error) {
	defer func() {
		if recover() != nil {
			// The value could hold anything; the runtime's own trace is not wanted.
			if x.wrote {
				Break(x.W)
			}
			err = fault.New(fault.Internal, "serve.panic", "internal error, try again later")
		}
	}()
	if err := s.open(x, scope); err != nil {
		return err
	}
	err = h(x)
	if fault.CodeOf(err) == fault.IdempotencyCompleted && !x.wrote {
		return x.replay(err)
	}
	return err
}

// replay answers a repeated request with what the first one got.
func (x *Exchange) replay(cause error) error {
	kept, err := x.server.Gateway.Recall(x.R.Context(), x.Caller, x.Query, cause)
	if err != nil {
		return err
	}
	for name, value := range kept.Headers {
		x.W.Header().Set(name, value)
	}
	x.W.Header().Set("x-latchkey-replayed", "true")
	x.Begin(http.StatusOK, kept.Headers["Content-Type"])
	_, err = x.W.Write(kept.Body)
	return err
}

func (s *Server) open(x *Exchange, scope org.Scope) error {
	key, err := org.CredentialFromHeaders(func(name string) []string { return x.R.Header.Values(name) })
	if err != nil {
		return err
	}
	s.Redact.Add([]byte(key))
	if x.R.Header.Get("Content-Encoding") != "" {
		return fault.New(fault.InvalidRequest, "serve.open", "a compressed request body is not accepted; send it plain")
	}
	if x.Body, err = readBody(x.R); err != nil {
		return fault.Wrap(fault.InvalidRequest, "serve.open", "the request body could not be read", err)
	}
	if len(x.Body) > maxBody {
		return fault.New(fault.TooLarge, "serve.open", "the request body is larger than 6 MB")
	}
	if err := x.query(); err != nil {
		return err
	}
	x.Caller, err = s.Gateway.Authenticate(x.R.Context(), key, scope, s.Now)
	return err
}

// readBody reads a body, or so much of it that it is seen to be too large.
func readBody(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), maxBody)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	return b.Bytes(), err
}

// query reads our request headers.
func (x *Exchange) query() error {
	h := x.R.Header
	q := &x.Query
	q.Route, q.Body = x.R.Method+" "+x.R.URL.Path, x.Body
	q.IdempotencyKey = h.Get("Idempotency-Key")
	if v := h.Get("x-latchkey-billing"); v != "" {
		source, ok := taxonomy.ParseBillingSource(v)
		if !ok {
			return badHeader("x-latchkey-billing", "x-latchkey-billing must be platform, byok or private")
		}
		q.Forced = source
	}
	switch h.Get("x-latchkey-strict") {
	case "", "false":
	case "true":
		q.Strict = true
	default:
		return badHeader("x-latchkey-strict", "x-latchkey-strict must be true or false")
	}
	if v := h.Get("x-latchkey-intent"); v != "" {
		intent, ok := taxonomy.ParseIntent(v)
		if !ok {
			return badHeader("x-latchkey-intent", "x-latchkey-intent must be general, tooling, billing, support or content")
		}
		q.Intent = intent
	}
	q.Connection, q.Agent = h.Get("x-latchkey-connection"), h.Get("x-latchkey-agent")
	for name, id := range map[string]string{"x-latchkey-connection": q.Connection, "x-latchkey-agent": q.Agent} {
		if id != "" && !table.ValidID(id) {
			return badHeader(name, name+" must be an id")
		}
	}
	return nil
}

func badHeader(name, message string) error {
	return fault.New(fault.InvalidRequest, "serve.query", message).WithParam(name)
}

// Describe sets the response headers that say how the request was served. Call
// it before the first byte is written.
func (x *Exchange) Describe(i gateway.Info, streaming bool) {
	x.info = i
	h := x.W.Header()
	x.identify(i.RequestID)
	x.decided(i)
	if len(i.Dropped) > 0 {
		h.Set("x-latchkey-dropped", strings.Join(i.Dropped, ", "))
	}
	x.standing(requestsPer, i.RequestsLeft)
	x.standing(tokensPer, i.TokensLeft)
	if !streaming {
		h.Set("x-latchkey-overhead-ms", Milliseconds(i.Overhead))
	}
}

// decided sets what every answer says, also an error: the candidate it speaks of
// and who pays for it; empty where nothing was decided.
func (x *Exchange) decided(i gateway.Info) {
	h := x.W.Header()
	h.Set("x-latchkey-provider", string(i.Provider))
	h.Set("x-latchkey-model", headerText(i.Model))
	h.Set("x-latchkey-connection", i.Connection)
	h.Set("x-latchkey-billing-source", string(i.Source))
	h.Set("x-latchkey-billing-rule", i.Rule)
	h.Set("x-latchkey-fallback", headerText(i.FallbackHeader()))
	// No conformance evidence exists yet, so nothing may claim to be verified.
	h.Set("x-latchkey-model-status", "unverified")
}

// identify names the request in the headers that SDKs look for.
func (x *Exchange) identify(id string) {
	x.W.Header().Set("x-request-id", id)
	x.W.Header().Set("request-id", id)
}

// Milliseconds renders a duration with microsecond precision.
func Milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 3, 64)
}

// headerText keeps printable ASCII, because a model name comes from the client.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// Begin writes the status; nothing but the body may follow.
func (x *Exchange) Begin(status int, contentType string) {
	x.wrote = true
	x.W.Header().Set("Content-Type", contentType)
	x.W.WriteHeader(status)
}

// Break breaks off an answer whose status is out, so that its end cannot be taken
// for the end of the content. Nothing may be written after it.
func Break(w http.ResponseWriter) {
	if b, ok := w.(interface{ Break() }); ok {
		b.Break()
	}
}

// Reply writes a whole answer. That of a request with an idempotency key is kept
// first, so that a client that never got it can have it again.
func (x *Exchange) Reply(contentType string, body []byte) error {
	if x.info.RequestID != "" && x.Query.IdempotencyKey != "" {
		kept := gateway.Replayable{Headers: map[string]string{"Content-Type": contentType}, Body: body}
		for name, values := range x.W.Header() {
			if strings.HasPrefix(name, "X-") || name == "Request-Id" {
				kept.Headers[name] = values[0]
			}
		}
		if err := x.server.Gateway.Remember(x.R.Context(), x.Caller, x.Query, x.info.RequestID, kept); err != nil {
			x.server.Log.Warn("answer not kept", "request_id", x.info.RequestID, "code", string(fault.CodeOf(err)))
		}
	}
	x.Begin(http.StatusOK, contentType)
	_, err := x.W.Write(body)
	return err
}

// Public is err as it may be shown: handlers that put an error into a stream
// pass it through here.
func (x *Exchange) Public(err error) *fault.Error { return x.server.Redact.Fault(fault.As(err)) }

// fail writes an error answer.
func (x *Exchange) fail(err error) {
	f := x.Public(err)
	h := x.W.Header()
	told := (*gateway.Told)(nil)
	if errors.As(err, &told) && told.Info.RequestID != "" {
		// With an idempotency key the ledger knows the request by another name.
		x.Query.RequestID = told.Info.RequestID
		x.identify(told.Info.RequestID)
	}
	id := x.Query.RequestID
	switch {
	case f.Code == fault.GatewayAuth:
		// Every bad key gets the same bytes; the header alone names the request.
		id = ""
	case f.RequestID != "":
		id = f.RequestID
	}
	if f.RetryAfter > 0 {
		h.Set("retry-after", strconv.FormatInt(int64(math.Ceil(f.RetryAfter.Seconds())), 10))
	} else if f.Code == fault.IdempotencyInProgress {
		h.Set("retry-after", "1")
	}
	h.Set("x-should-retry", strconv.FormatBool(f.Retryable()))
	if told != nil {
		x.decided(told.Info)
	}
	if f.Provider != "" {
		h.Set("x-latchkey-provider", f.Provider)
	}
	x.refusal(f)
	x.Begin(f.Code.Status(), "application/json")
	_, _ = x.W.Write(x.server.EncodeError(nil, f, id))
}

func (s *Server) log(x *Exchange, err error, began time.Time) {
	orgID := ""
	if x.Caller != nil {
		orgID = x.Caller.Org
	}
	outcome := "ok"
	if err != nil {
		outcome = string(fault.CodeOf(err))
	}
	id := x.info.RequestID
	if id == "" {
		id = x.Query.RequestID
	}
	args := []any{"request_id", id, "org", orgID, "route", x.R.Method + " " + x.R.URL.Path, "provider", string(x.info.Provider),
		"model", headerText(x.info.Model), "billing_source", string(x.info.Source), "outcome", outcome, "ms", s.Now().Sub(began).Milliseconds()}
	if f := fault.As(err); f != nil && f.Op != "" {
		args = append(args, "op", f.Op)
	}
	s.Log.InfoContext(x.R.Context(), "request", args...)
}

// Now is the time of the server's clock.
func (x *Exchange) Now() time.Time { return x.server.Now() }

// Gateway makes the calls of the request.
func (x *Exchange) Gateway() *gateway.Gateway { return x.server.Gateway }

// NotFound answers every other path and method.
func (s *Server) NotFound() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Observe(r)
		x := &Exchange{W: w, R: r, server: s}
		x.Query.RequestID = s.NewID(s.Now())
		x.identify(x.Query.RequestID)
		x.decided(gateway.Info{})
		x.fail(fault.New(fault.NotFound, "serve.NotFound", "there is no such endpoint; see the list in the README"))
	})
}

// Owner is the provider part of a model name, or latchkey for an alias.
func Owner(name string) string {
	if p, _, ok := taxonomy.SplitModel(name); ok {
		return string(p)
	}
	return "latchkey"
}
