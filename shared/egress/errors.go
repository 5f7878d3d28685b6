package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/latchkey/latchkey/shared/fault"
)

// ErrRefused is wrapped by every refusal.
var ErrRefused = errors.New("egress: destination refused")

// Kind is which client made a call.
type Kind string

// The kinds of clients.
const (
	KindVendor Kind = "vendor"
	KindTenant Kind = "tenant"
	KindMedia  Kind = "media"
)

// Host is what kind of destination it was: all that an error says of it.
type Host string

// Classes of destinations.
const (
	ListedHost Host = "listed host"    // one of a vendor's
	PublicHost Host = "public host"    // named by a customer or a message
	OpenedHost Host = "opened address" // an entry of [Options].Allow
)

// Reason is why a call failed, in a word of ours.
type Reason string

// Reasons.
const (
	NameNotFound    Reason = "name_not_found"
	NameUnavailable Reason = "name_lookup_failed"
	ConnectRefused  Reason = "connect_refused"
	ConnectTimeout  Reason = "connect_timeout"
	Unreachable     Reason = "unreachable"
	Certificate     Reason = "certificate_refused"
	Handshake       Reason = "tls_failed"
	HeadersTooLarge Reason = "headers_too_large"
	BodyTooLarge    Reason = "body_too_large"
	Encoding        Reason = "content_encoding_refused"
	NotMedia        Reason = "not_media"
	TimedOut        Reason = "timeout"
	Cancelled       Reason = "cancelled"
	Cut             Reason = "cut"
	Malformed       Reason = "malformed_answer"
)

// Error is a call that failed on its way. Its text is made of these three words
// only: the errors of net/http hold URLs, addresses, certificates and bytes of
// the answer, and a vendor's token may be part of the path. What it unwraps to
// has been emptied in the same way, but keeps its type: a *net.OpError that did
// not dial, a *net.DNSError and a *tls.CertificateVerificationError all say that
// no byte of the request was sent.
type Error struct {
	Kind   Kind
	Host   Host
	Reason Reason
	cause  error
}

// Error implements error.
func (e *Error) Error() string {
	return "egress: " + string(e.Kind) + " call to a " + string(e.Host) + ": " + string(e.Reason)
}

// Unwrap returns the emptied cause.
func (e *Error) Unwrap() error { return e.cause }

// Timeout implements [net.Error]'s method.
func (e *Error) Timeout() bool {
	var dns *net.DNSError
	return e.Reason == TimedOut || e.Reason == ConnectTimeout || errors.As(e.cause, &dns) && dns.IsTimeout
}

// Do sends req with one of this package's clients and returns the error without
// the *url.Error that net/http puts around it, which holds the whole URL.
func Do(c *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := c.Do(req) //nolint:bodyclose // the caller's
	var f *fault.Error
	var e *Error
	switch {
	case err == nil:
		return resp, nil
	case errors.As(err, &f):
		return nil, f
	case errors.As(err, &e):
		return nil, e
	}
	// Only what net/http itself refuses before it asks the transport.
	return nil, &Error{Reason: Malformed}
}

// rebuild makes the error of a call from what the transport returned.
func rebuild(ctx context.Context, kind Kind, host Host, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	e := &Error{Kind: kind, Host: host}
	if errors.Is(err, errTooLarge) {
		e.Reason = BodyTooLarge
		return fault.Wrap(fault.TooLarge, "egress", "the answer is larger than allowed", e)
	}
	switch ctx.Err() {
	case context.Canceled:
		e.Reason, e.cause = Cancelled, context.Canceled
	case context.DeadlineExceeded:
		e.Reason, e.cause = TimedOut, context.DeadlineExceeded
	default:
		e.Reason, e.cause = classify(err)
	}
	return e
}

func dialError(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

// classify names an error and returns an emptied one of its type.
func classify(err error) (Reason, error) {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }
	late := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case errors.As(err, &dns):
		emptied := &net.DNSError{Err: "lookup failed", IsTimeout: dns.IsTimeout, IsNotFound: dns.IsNotFound, IsTemporary: dns.IsTemporary}
		if dns.IsNotFound {
			return NameNotFound, emptied
		}
		return NameUnavailable, emptied
	case errors.As(err, &op) && op.Op == "dial":
		return connectReason(err, late)
	case errors.As(err, &cert):
		return Certificate, &tls.CertificateVerificationError{Err: errors.New("refused")}
	case late:
		return TimedOut, nil
	case tlsFailure(err):
		return Handshake, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op), errors.Is(err, net.ErrClosed):
		return Cut, io.ErrUnexpectedEOF
	}
	return byText(err.Error()), nil
}

func connectReason(err error, late bool) (Reason, error) {
	var code syscall.Errno
	switch {
	case late:
		return ConnectTimeout, dialError(syscall.ETIMEDOUT)
	case errors.As(err, &code) && code == syscall.ECONNREFUSED:
		return ConnectRefused, dialError(code)
	}
	return Unreachable, dialError(syscall.EHOSTUNREACH)
}

func tlsFailure(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &record) || errors.As(err, &alert) || strings.Contains(err.Error(), "tls: ")
}

// byText tells errors apart that net/http gives no type.
func byText(text string) Reason {
	switch {
	case strings.Contains(text, "headers exceeded"), strings.Contains(text, "header list larger"):
		return HeadersTooLarge
	case strings.Contains(text, "server closed"), strings.Contains(text, "stream error"),
		strings.Contains(text, "connection lost"), strings.Contains(text, "GOAWAY"):
		return Cut
	}
	return Malformed
}
