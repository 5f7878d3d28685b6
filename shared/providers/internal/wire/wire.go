// Package wire is what all vendor adapters share below their dialects: one HTTP
// request with its timeouts and byte limits, and the translation of everything
// that can go wrong into a *fault.Error with a fixed message.
//
// [Do] sends the request. A status outside 2xx, a redirect or an HTML page
// becomes an error through the vendor's [Errors] table; the vendor's text is
// read, matched and dropped. [Answer.Body] applies the idle timeout and the
// byte limit and turns a cut connection into an error as well.
package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// maxErrorBody bounds how much of an error answer is read.
const maxErrorBody = 64 << 10

// Vendor is what the adapters of one vendor have in common.
type Vendor struct {
	ID     taxonomy.Provider
	Key    providers.KeyField
	Errors Errors
	// Header holds fixed headers of the vendor.
	Header map[string]string
}

// Request is one HTTP request. Path is appended to the target's base URL.
type Request struct {
	Op          string
	Method      string
	Path        string
	ContentType string
	Accept      string
	// Body may be nil. Size is its length; -1 sends it chunked.
	Body io.Reader
	Size int64
	// Sign, if set, proves the key in another way than by sending it. It runs
	// last, and its error is returned as it is.
	Sign func(req *http.Request, key secret.Text) error
	// Stream asks the vendor not to compress: a compressed stream is held back
	// until a block is full.
	Stream bool
}

// Answer is a 2xx answer. The caller closes Body.
type Answer struct {
	Header http.Header
	Body   *Body
	// RequestID is the vendor's ID for support questions, sanitised.
	RequestID string
}

// Causes of timeouts and cuts, for [errors.Is] and logs.
var (
	ErrHeaderTimeout = errors.New("wire: no response headers in time")
	ErrIdle          = errors.New("wire: no bytes in time")
	ErrCut           = errors.New("wire: cut")
	ErrTooLarge      = errors.New("wire: answer too large")
	ErrTransport     = errors.New("wire: transport failed")
	ErrRedirect      = errors.New("wire: redirect")
	ErrContent       = errors.New("wire: unexpected content")
)

// Do sends r once. It fails with a *fault.Error as described in [model.Chat].
func Do(ctx context.Context, t model.Target, v *Vendor, r Request) (*Answer, error) {
	inner, cancel := context.WithCancelCause(ctx)
	b := &Body{outer: ctx, cancel: cancel, vendor: v, op: r.Op, idle: orDuration(t.IdleTimeout, model.DefaultIdleTimeout),
		left: t.MaxBytes}
	if b.left <= 0 {
		b.left = model.DefaultMaxBytes
	}
	req, err := build(inner, t, v, r)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	timer := time.AfterFunc(orDuration(t.HeaderTimeout, model.DefaultHeaderTimeout), func() { cancel(ErrHeaderTimeout) })
	resp, err := t.HTTP.Do(req)
	timer.Stop()
	if err != nil {
		f := b.fail(inner, err)
		cancel(nil)
		return nil, f
	}
	b.inner, b.rc = inner, resp.Body
	b.timer = time.AfterFunc(b.idle, func() { cancel(ErrIdle) })
	b.timer.Stop()
	if err := check(resp, b, r.Accept); err != nil {
		_ = b.Close()
		return nil, err
	}
	return &Answer{Header: resp.Header, Body: b, RequestID: requestID(resp.Header)}, nil
}

func build(ctx context.Context, t model.Target, v *Vendor, r Request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, t.BaseURL+r.Path, r.Body)
	if err != nil {
		// The error of the parser echoes its input.
		return nil, v.fault(fault.ProviderError, r.Op, "the connection's base URL is not usable, correct it", ErrTransport)
	}
	if r.Body != nil && r.Size != 0 {
		req.ContentLength = r.Size
	}
	h := req.Header
	h["User-Agent"] = userAgent
	if r.ContentType != "" {
		h["Content-Type"] = []string{r.ContentType}
	}
	if r.Accept != "" {
		h["Accept"] = []string{r.Accept}
	}
	if r.Stream {
		h["Accept-Encoding"] = identity
	}
	for k, val := range v.Header {
		h.Set(k, val)
	}
	if r.Sign != nil {
		return req, r.Sign(req, t.Key)
	}
	if err := v.Key.Set(h, t.Key); err != nil {
		return nil, v.fault(fault.ProviderKeyInvalid, r.Op, messages[fault.ProviderKeyInvalid], err)
	}
	return req, nil
}

var (
	userAgent = []string{"latchkey"}
	identity  = []string{"identity"}
)

func orDuration(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// check turns everything but a usable 2xx answer into an error.
func check(resp *http.Response, b *Body, accept string) error {
	v := b.vendor
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return v.fault(fault.ProviderError, b.op, "the provider answered with a redirect, which is not followed; correct the base URL", ErrRedirect)
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		body, err := io.ReadAll(io.LimitReader(b, maxErrorBody))
		if err != nil {
			// A refused key stays a refused key even if its explanation is cut.
			body = nil
		}
		return v.Decide(b.op, resp.StatusCode, resp.Header, body)
	}
	mt, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && mt == "text/html" {
		return v.fault(fault.ProviderError, b.op, "the provider answered with a web page, check the base URL", ErrContent)
	}
	// Endpoints mislabel JSON and events as text or bytes; nobody calls them a picture.
	if kind, _, _ := strings.Cut(mt, "/"); err == nil && !strings.HasPrefix(accept, "audio/") &&
		(kind == "image" || kind == "audio" || kind == "video" || kind == "font") {
		return v.Malformed(b.op)
	}
	return nil
}

// Body is the body of an answer under its limits. Read returns a *fault.Error
// for everything but io.EOF.
type Body struct {
	outer, inner context.Context
	cancel       context.CancelCauseFunc
	rc           io.ReadCloser
	timer        *time.Timer
	idle         time.Duration
	left         int64
	vendor       *Vendor
	op           string
	err          error
	once         sync.Once
}

// Read implements [io.Reader].
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	// Only the wait for the vendor counts, not what our own reader takes
	// between two reads.
	b.timer.Reset(b.idle)
	n, err := b.rc.Read(p)
	b.timer.Stop()
	if b.left -= int64(n); b.left < 0 {
		b.err = b.vendor.fault(fault.ProviderError, b.op, "the provider's answer is larger than allowed", ErrTooLarge)
		return n - 1, b.err
	}
	if err == io.EOF {
		return n, err
	}
	if err != nil {
		b.err = b.fail(b.inner, err)
		return n, b.err
	}
	return n, nil
}

// Close cancels the request. It may be called more than once and while a Read
// is waiting.
func (b *Body) Close() error {
	b.once.Do(func() {
		b.cancel(context.Canceled)
		_ = b.rc.Close()
		b.timer.Stop()
	})
	return nil
}

// fail translates an error of the HTTP client. The client's own error is
// dropped: it holds the URL.
func (b *Body) fail(inner context.Context, err error) error {
	v, op := b.vendor, b.op
	cause := context.Cause(inner)
	var f *fault.Error
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(b.outer.Err(), context.DeadlineExceeded):
		return v.fault(fault.ProviderTimeout, op, messages[fault.ProviderTimeout], context.DeadlineExceeded)
	case b.outer.Err() != nil:
		return v.fault(fault.ProviderError, op, "the request was cancelled", context.Canceled)
	case errors.Is(cause, ErrHeaderTimeout), errors.Is(cause, ErrIdle):
		return v.fault(fault.ProviderTimeout, op, messages[fault.ProviderTimeout], cause)
	case cause != nil:
		return v.fault(fault.ProviderError, op, "the request was cancelled", context.Canceled)
	case errors.As(err, &f):
		if f.Code == fault.TooLarge {
			return v.fault(fault.ProviderError, op, "the provider's answer is larger than allowed", ErrTooLarge)
		}
		return v.fault(f.Code, op, f.Message, f.Err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return v.fault(fault.ProviderTimeout, op, messages[fault.ProviderTimeout], ErrTransport)
	case b.rc != nil:
		return v.Cut(op)
	}
	return v.fault(fault.ProviderError, op, "the provider could not be reached", ErrTransport)
}

// Cut is the error for an answer that ended before its end.
func (v *Vendor) Cut(op string) error {
	return v.fault(fault.ProviderError, op, "the provider cut its answer short", ErrCut)
}

// Malformed is the error for an answer we cannot read.
func (v *Vendor) Malformed(op string) error {
	return v.fault(fault.ProviderError, op, "the provider sent an answer that could not be read", ErrContent)
}

// Refuse is the error for a request the vendor cannot take, found before it was
// sent. code is invalid_request or unsupported_media.
func (v *Vendor) Refuse(op string, code fault.Code, param, message string) error {
	f := fault.New(code, op, message)
	f.Provider, f.Param = string(v.ID), param
	return f
}

func (v *Vendor) fault(code fault.Code, op, message string, cause error) *fault.Error {
	f := fault.Wrap(code, op, message, cause)
	f.Provider = string(v.ID)
	return f
}

// ReadAll reads a whole answer and closes it.
func (b *Body) ReadAll(size int64) ([]byte, error) {
	defer func() { _ = b.Close() }()
	var buf bytes.Buffer
	if size > 0 && size < 1<<20 {
		buf.Grow(int(size) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(b)
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// requestID picks the vendor's request ID. It goes to logs and answers, so only
// harmless characters pass.
func requestID(h http.Header) string {
	for _, name := range [...]string{"X-Request-Id", "Request-Id", "X-Generation-Id", "X-Amzn-Requestid"} {
		if id := h.Get(name); CleanID(id) {
			return id
		}
	}
	return ""
}

// CleanID reports whether an ID a vendor made is short and harmless enough to be
// shown and logged.
func CleanID(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, idChars) == ""
}

const idChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
