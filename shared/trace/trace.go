// Package trace records where the time of a request goes.
//
// A [Tracer] opens spans named by us: "ledger.reserve", or provider and
// operation ("openrouter.chat"), never a URL, because paths and queries can
// carry keys. Annotations are an allow-list ([Key]) of enumerations and numbers;
// errors are recorded by code only. Two tracers exist: X-Ray (xray.go, the only
// file that imports its SDK) and [None].
package trace

import (
	"context"

	"github.com/latchkey/latchkey/shared/fault"
)

// Key is an annotation key.
type Key string

// The allowed annotation keys.
const (
	Provider      Key = "provider"
	Model         Key = "model"
	BillingSource Key = "billing_source"
	Outcome       Key = "outcome"
)

// Tracer opens spans. Safe for concurrent use.
type Tracer interface {
	// Start opens a span under the one in ctx. The caller ends it.
	Start(ctx context.Context, name string) (context.Context, Span)
}

// Span is one timed piece of work. Used by one goroutine.
type Span interface {
	// Annotate sets an allow-listed annotation; other keys are ignored.
	Annotate(key Key, value string)
	// Fail marks the span as failed with a code, never with a text.
	Fail(code fault.Code)
	// End closes the span. Calls after the first do nothing.
	End()
}

// Masked passes every value that a span of t is annotated with through mask.
func Masked(t Tracer, mask func(string) string) Tracer { return masked{t, mask} }

type masked struct {
	t    Tracer
	mask func(string) string
}

func (m masked) Start(ctx context.Context, name string) (context.Context, Span) {
	ctx, s := m.t.Start(ctx, name)
	return ctx, maskedSpan{s, m.mask}
}

type maskedSpan struct {
	Span
	mask func(string) string
}

func (s maskedSpan) Annotate(key Key, value string) { s.Span.Annotate(key, s.mask(value)) }

// None returns a tracer that records nothing.
func None() Tracer { return none{} }

type none struct{}

func (none) Start(ctx context.Context, _ string) (context.Context, Span) { return ctx, none{} }
func (none) Annotate(Key, string)                                        {}
func (none) Fail(fault.Code)                                             {}
func (none) End()                                                        {}

func allowed(k Key) bool {
	switch k {
	case Provider, Model, BillingSource, Outcome:
		return true
	}
	return false
}
