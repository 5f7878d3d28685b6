// Package vendorapi makes one call to a messaging vendor's JSON API and says
// what is certain after a failure.
//
// A call is one attempt: nothing here repeats a request, because what the vendor
// may have posted must not be posted again. The answer is bounded and read
// strictly. Neither URL nor token nor the vendor's text is part of any result:
// the URLs of some vendors hold the token.
package vendorapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
)

// MaxReply bounds what is read of an answer.
const MaxReply = 256 << 10

// Retry delays: vendors name one; these bound it and stand in for it.
const (
	DefaultRetry = 30 * time.Second
	MaxRetry     = 15 * time.Minute
)

// Reply is a vendor's answer. Body is nil unless it is one JSON object; Problem
// then says why.
type Reply struct {
	Status  int
	Header  http.Header
	Body    channel.Object
	Problem string
}

// Token puts the token into a request and reports whether it can be sent.
type Token func(r *http.Request, token string) bool

// Bearer sends the token as such.
func Bearer(r *http.Request, token string) bool {
	r.Header.Set("Authorization", "Bearer "+token)
	return true
}

// Post sends body as JSON to c.BaseURL + path. A nil *Failure means that the
// vendor answered, whatever it said.
func Post(ctx context.Context, c channel.Call, path string, body any, put Token) (Reply, *channel.Failure) {
	payload, err := json.Marshal(body)
	if err != nil || ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, http.MethodPost, path, "application/json; charset=utf-8", payload, put)
}

// Patch sends body as JSON to c.BaseURL + path, to change what is there.
func Patch(ctx context.Context, c channel.Call, path string, body any, put Token) (Reply, *channel.Failure) {
	payload, err := json.Marshal(body)
	if err != nil || ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, http.MethodPatch, path, "application/json; charset=utf-8", payload, put)
}

// Put sends body as JSON to c.BaseURL + path, in the place of what is there.
func Put(ctx context.Context, c channel.Call, path string, body any, put Token) (Reply, *channel.Failure) {
	payload, err := json.Marshal(body)
	if err != nil || ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, http.MethodPut, path, "application/json; charset=utf-8", payload, put)
}

// PostForm sends a form to c.BaseURL + path.
func PostForm(ctx context.Context, c channel.Call, path string, form url.Values, put Token) (Reply, *channel.Failure) {
	if ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, http.MethodPost, path, "application/x-www-form-urlencoded", []byte(form.Encode()), put)
}

// Get asks for c.BaseURL + path, whose query is the caller's.
func Get(ctx context.Context, c channel.Call, path string, put Token) (Reply, *channel.Failure) {
	if ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, http.MethodGet, path, "", nil, put)
}

// Upload sends a multipart form to c.BaseURL + path.
func Upload(ctx context.Context, c channel.Call, path string, f Form, put Token) (Reply, *channel.Failure) {
	payload, contentType, err := f.encode()
	if err != nil || ctx.Err() != nil {
		return Reply{}, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	return send(ctx, c, cmp.Or(f.Method, http.MethodPost), path, contentType, payload, put)
}

func send(ctx context.Context, c channel.Call, method, path, contentType string, payload []byte, put Token) (Reply, *channel.Failure) {
	req, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path, bytes.NewReader(payload))
	if err != nil {
		return Reply{}, &channel.Failure{Certainty: channel.Refused, Code: "base_url"}
	}
	if method == http.MethodGet {
		req.Body, req.ContentLength = http.NoBody, 0
	} else {
		req.Header.Set("Content-Type", contentType)
	}
	// The transport must not repeat the request on its own.
	req.GetBody = nil
	if !authorize(req, c.Token, put) {
		return Reply{}, &channel.Failure{Certainty: channel.Refused, Code: "token_malformed", TokenRejected: true}
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return Reply{}, transportFailure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return read(resp), nil
}

func authorize(req *http.Request, token secret.Text, put Token) bool {
	ok := false
	_ = token.Use(func(b []byte) error {
		ok = len(b) > 0 && Printable(string(b)) && put(req, string(b))
		return nil
	})
	return ok
}

// transportFailure is ambiguous unless the connection was never made.
func transportFailure(err error) *channel.Failure {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	if errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) || errors.As(err, &cert) {
		return &channel.Failure{Certainty: channel.NotSent, Code: "connect"}
	}
	return &channel.Failure{Certainty: channel.Ambiguous, Code: "transport"}
}

func read(resp *http.Response) Reply {
	r := Reply{Status: resp.StatusCode, Header: resp.Header}
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
	if err != nil || len(b) > MaxReply {
		r.Problem = "answer_unreadable"
		return r
	}
	if r.Body, err = channel.StrictJSON(b); err != nil {
		r.Body, r.Problem = nil, "answer_malformed"
	}
	return r
}

// Failure is what an answer means whose vendor said nothing more precise: nil for
// a readable 200.
func (r Reply) Failure() *channel.Failure {
	code := "http_" + strconv.Itoa(r.Status)
	switch {
	case r.Status == http.StatusTooManyRequests:
		return r.RateLimited(0)
	case undecided(r.Status):
		return &channel.Failure{Certainty: channel.Ambiguous, Code: code}
	case r.Status >= 300 && r.Status < 500:
		return &channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: r.Status == http.StatusUnauthorized}
	case r.Status != http.StatusOK:
		return &channel.Failure{Certainty: channel.Ambiguous, Code: code}
	case r.Body == nil:
		return &channel.Failure{Certainty: channel.Ambiguous, Code: r.Problem}
	}
	return nil
}

// undecided reports a status below 500 that does not say that nothing was done
// (DESIGN 178). 303 leads to the outcome of what was asked (RFC 9110, 15.4.4), and of
// the others in its class only those that lead to the same elsewhere were not acted on
// here. 408 is written by whoever waited too long, which may be what stands before the
// API; 499 is how Google's APIs write CANCELLED (google/rpc/code.proto, read 2026-11),
// and proxies a caller that they lost. 425 is no such status: it refuses to begin
// (RFC 8470, 5.2).
func undecided(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return false
	case http.StatusRequestTimeout, statusCancelled:
		return true
	}
	return status >= 300 && status < 400
}

// statusCancelled has no name in the registry of statuses.
const statusCancelled = 499

// RateLimited is a refusal for now. seconds is what the vendor's answer says, 0
// for nothing; then the header counts.
func (r Reply) RateLimited(seconds int64) *channel.Failure {
	if seconds <= 0 {
		seconds = retryAfter(r.Header)
	}
	wait := DefaultRetry
	if seconds > 0 {
		wait = min(time.Duration(min(seconds, 86400))*time.Second, MaxRetry)
	}
	return &channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: wait}
}

// retryAfter is how many seconds a Retry-After asks for, which may be a date (RFC 9110,
// 10.2.3); that is compared with the answer's own Date, so that neither a clock of ours
// nor its error counts. 0 if it does not say.
func retryAfter(h http.Header) int64 {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
		return seconds
	}
	until, err1 := http.ParseTime(v)
	said, err2 := http.ParseTime(h.Get("Date"))
	if err1 != nil || err2 != nil {
		return 0
	}
	return int64(until.Sub(said) / time.Second)
}

// Printable is visible ASCII.
func Printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
