// Package fault is the one error type that crosses package borders.
//
// A [Code] says what went wrong in a word that clients may branch on, [Error]
// carries it together with the operation, a message fit for strangers and the
// cause. Callers branch on [CodeOf], never on text. The message must never hold
// a secret, vendor text or an internal name; the cause may, and is therefore
// only logged, and only by its type and code.
//
// Codes are append-only: they are part of the HTTP surface.
package fault

import (
	"errors"
	"net/http"
	"time"
)

// Code is a stable, snake_case reason. It crosses the wire.
type Code string

// Codes of the model, speech, admin and webhook surfaces.
const (
	GatewayAuth            Code = "gateway_auth"
	ScopeMissing           Code = "scope_missing"
	InvalidRequest         Code = "invalid_request"
	ContextLengthExceeded  Code = "context_length_exceeded"
	UnsupportedMedia       Code = "unsupported_media"
	ContentFiltered        Code = "content_filtered"
	TooLarge               Code = "too_large"
	NotFound               Code = "not_found"
	MethodNotAllowed       Code = "method_not_allowed"
	Conflict               Code = "conflict"
	InsufficientCredits    Code = "insufficient_credits"
	BillingDenied          Code = "billing_denied"
	ModelNotEnabled        Code = "model_not_enabled"
	BYOKUnavailable        Code = "byok_unavailable"
	PriceMissing           Code = "price_missing"
	RateLimited            Code = "rate_limited"
	ProviderKeyInvalid     Code = "provider_key_invalid"
	ProviderQuotaExhausted Code = "provider_quota_exhausted"
	ProviderRateLimited    Code = "provider_rate_limited"
	ProviderOverloaded     Code = "provider_overloaded"
	ProviderError          Code = "provider_error"
	ProviderTimeout        Code = "provider_timeout"
	VaultUnavailable       Code = "vault_unavailable"
	LedgerUnavailable      Code = "ledger_unavailable"
	IdempotencyInProgress  Code = "idempotency_in_progress"
	IdempotencyConflict    Code = "idempotency_conflict"
	IdempotencyCompleted   Code = "idempotency_completed"
	WebhookUnauthorized    Code = "unauthorized"
	TenantMismatch         Code = "tenant_mismatch"
	Unavailable            Code = "unavailable"
	LegacyLedgerDisabled   Code = "legacy_token_ledger_disabled"
	Internal               Code = "internal"
)

// Error is a failure with a code. Message is shown to the client as it is, so
// it says what to do and holds nothing internal. Err is the cause for logs.
type Error struct {
	Code    Code
	Op      string // package.Operation that failed, for logs
	Message string
	// Param names the offending request field, empty if none.
	Param string
	// Provider is the provider ID that answered, empty if none was called.
	Provider string
	// RetryAfter is how long the client should wait; zero means not stated.
	RetryAfter time.Duration
	// RequestID names the finished or running request of an idempotency answer.
	RequestID string
	// Final says that waiting does not help, although errors of this code usually
	// may be retried.
	Final bool
	Err   error
}

// New makes an error without a cause.
func New(code Code, op, message string) *Error { return &Error{Code: code, Op: op, Message: message} }

// Wrap makes an error with a cause that is logged but never shown.
func Wrap(code Code, op, message string, err error) *Error {
	return &Error{Code: code, Op: op, Message: message, Err: err}
}

// Error gives code, operation and public message. The cause is deliberately
// left out: it may hold vendor text.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Op + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithParam returns a copy that names the offending request field.
func (e *Error) WithParam(param string) *Error { c := *e; c.Param = param; return &c }

// Retryable reports whether the same request may succeed later.
func (e *Error) Retryable() bool { return e.Code.Retryable() && !e.Final }

// As returns the first *Error in err's chain, or an [Internal] one made for it.
// It returns nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Wrap(Internal, "", "internal error, try again later", err)
}

// CodeOf returns the code of err, [Internal] for foreign errors, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return As(err).Code
}

type class struct {
	status    int
	retryable bool
}

// classes maps each code to its HTTP status and whether an unchanged retry can
// succeed. TestEveryCode fails for a code that is missing here.
var classes = map[Code]class{
	GatewayAuth:            {http.StatusUnauthorized, false},
	ScopeMissing:           {http.StatusForbidden, false},
	InvalidRequest:         {http.StatusBadRequest, false},
	ContextLengthExceeded:  {http.StatusBadRequest, false},
	UnsupportedMedia:       {http.StatusBadRequest, false},
	ContentFiltered:        {http.StatusBadRequest, false},
	TooLarge:               {http.StatusRequestEntityTooLarge, false},
	NotFound:               {http.StatusNotFound, false},
	MethodNotAllowed:       {http.StatusMethodNotAllowed, false},
	Conflict:               {http.StatusConflict, false},
	InsufficientCredits:    {http.StatusPaymentRequired, false},
	BillingDenied:          {http.StatusForbidden, false},
	ModelNotEnabled:        {http.StatusForbidden, false},
	BYOKUnavailable:        {http.StatusFailedDependency, false},
	PriceMissing:           {http.StatusServiceUnavailable, false},
	RateLimited:            {http.StatusTooManyRequests, true},
	ProviderKeyInvalid:     {http.StatusFailedDependency, false},
	ProviderQuotaExhausted: {http.StatusPaymentRequired, false},
	ProviderRateLimited:    {http.StatusTooManyRequests, true},
	ProviderOverloaded:     {http.StatusServiceUnavailable, true},
	ProviderError:          {http.StatusBadGateway, true},
	ProviderTimeout:        {http.StatusGatewayTimeout, true},
	VaultUnavailable:       {http.StatusServiceUnavailable, true},
	LedgerUnavailable:      {http.StatusServiceUnavailable, true},
	IdempotencyInProgress:  {http.StatusConflict, true},
	IdempotencyConflict:    {http.StatusConflict, false},
	IdempotencyCompleted:   {http.StatusConflict, false},
	WebhookUnauthorized:    {http.StatusUnauthorized, false},
	TenantMismatch:         {http.StatusForbidden, false},
	Unavailable:            {http.StatusServiceUnavailable, true},
	LegacyLedgerDisabled:   {http.StatusConflict, false},
	Internal:               {http.StatusInternalServerError, false},
}

// Codes lists every code, in no particular order.
func Codes() []Code {
	out := make([]Code, 0, len(classes))
	for c := range classes {
		out = append(out, c)
	}
	return out
}

// Status returns the HTTP status of the code, 500 for an unknown one.
func (c Code) Status() int {
	if k, ok := classes[c]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// Retryable reports whether the same request may succeed later.
func (c Code) Retryable() bool { return classes[c].retryable }
