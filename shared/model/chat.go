package model

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// Target is where one call goes and with which key. The caller has already
// decided that this key may be sent to this base URL.
type Target struct {
	// BaseURL has a scheme and host and no trailing slash, such as
	// "https://host/v1".
	BaseURL string
	// Key is empty for endpoints that need none.
	Key secret.Text
	// HTTP comes from package egress. It must not follow redirects.
	HTTP *http.Client
	// HeaderTimeout bounds the wait for the response headers, IdleTimeout the
	// wait for the next byte of the body. Zero means [DefaultHeaderTimeout]
	// and [DefaultIdleTimeout]. The context's deadline bounds the whole call.
	HeaderTimeout time.Duration
	IdleTimeout   time.Duration
	// MaxBytes bounds the decoded response body; zero means [DefaultMaxBytes].
	MaxBytes int64
	// RequestID is our own ID of the request, for logs. It is not sent.
	RequestID string
	// Now is the time of the request, for vendors whose requests are signed with
	// it; they refuse a zero time.
	Now time.Time
}

// Limits that hold when a [Target] does not say otherwise.
const (
	DefaultHeaderTimeout       = 30 * time.Second
	DefaultIdleTimeout         = 60 * time.Second
	DefaultMaxBytes      int64 = 64 << 20
)

// Call is one attempt at one request.
type Call struct {
	Target
	Request *Request
}

// Chat speaks one vendor's wire format. An implementation is stateless and safe
// for concurrent use.
//
// Both methods make exactly one HTTP request and fail with a *fault.Error whose
// code is one of provider_key_invalid, provider_quota_exhausted,
// provider_rate_limited (with RetryAfter when the vendor said so),
// provider_overloaded, provider_error, provider_timeout,
// context_length_exceeded, content_filtered, invalid_request, unsupported_media
// or too_large. The last five would fail everywhere; the others may succeed
// with another key, model or vendor. invalid_request and unsupported_media can
// be returned before anything is sent: what a vendor cannot take is refused,
// never dropped. When ctx is done the error wraps ctx.Err().
type Chat interface {
	Complete(ctx context.Context, call Call) (*Response, error)
	// Stream returns once the first content-bearing event has arrived, or with
	// the error that came instead. The caller closes the stream.
	Stream(ctx context.Context, call Call) (Stream, error)
}

// Carrier is implemented by adapters of chat that do not send everything they are
// given. Uncarried names what the model of that ID would not be sent of a
// request: unknown fields of another dialect, the end user's name where the vendor
// has no field for it, and sampling parameters that the model lacks. Names are
// those of [Request.Strip]. Sampling parameters must be taken out before the
// call, because adapters refuse what they cannot send; everything that is not
// named is sent or refused.
type Carrier interface {
	Uncarried(id string, r *Request) []string
}

// TokenCounter is implemented by adapters whose vendor counts the input tokens of
// a request without answering it. The count is the vendor's estimate. Errors are
// those of [Chat].
type TokenCounter interface {
	CountTokens(ctx context.Context, call Call) (int64, error)
}

// Stream is the answer as it arrives. It is not safe for concurrent use.
type Stream interface {
	// Next returns the next event, io.EOF after [EventEnd], or a *fault.Error
	// that ends the stream. After an error it keeps returning that error.
	Next() (Event, error)
	// Close cancels the call and frees its connection. It may be called more
	// than once, and from another goroutine to interrupt Next.
	Close() error
}

// EventKind says what an [Event] is.
type EventKind uint8

// Event kinds. Every stream is: start, then any number of content events, then
// either finish … end, or an error from Next. Tools do not interleave:
// tool_start(i), tool_args…, tool_end(i) with i counting from 0, and each tool
// has at least one tool_args ("{}" if the model sent none). Usage may come any
// number of times anywhere before end; its numbers are cumulative, the last one
// holds. Between finish and end only usage occurs.
const (
	EventStart EventKind = iota + 1
	EventText
	EventReasoning
	EventToolStart
	EventToolArgs
	EventToolEnd
	EventRefusal
	EventUsage
	EventFinish
	EventEnd
)

// String is the kind's word as golden files and logs use it.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

var eventNames = [...]string{"none", "start", "text", "reasoning", "tool_start", "tool_args", "tool_end",
	"refusal", "usage", "finish", "end"}

// MarshalText writes the word of [EventKind.String].
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is one step of a stream. It is a value; its strings stay valid.
type Event struct {
	Kind EventKind `json:"kind"`
	// Index counts tools from 0 for the tool kinds, reasoning blocks from 0 for
	// reasoning.
	Index int `json:"index,omitempty"`
	// ID is the response ID in start and the call ID in tool_start.
	ID string `json:"id,omitempty"`
	// Name is the model in start and the tool in tool_start.
	Name string `json:"name,omitempty"`
	// Text is the delta of text, refusal and tool_args, and the visible part
	// of reasoning.
	Text string `json:"text,omitempty"`
	// Reasoning carries the parts of a reasoning event beyond its Text:
	// signature, encrypted data, ID, format; nil when there are none. Its own
	// Text is empty.
	Reasoning *Reasoned `json:"reasoning,omitempty"`
	// Signature is the opaque value of a tool call, in tool_start or tool_end.
	Signature string `json:"signature,omitempty"`
	// Created is in Unix seconds, in start.
	Created int64 `json:"created,omitempty"`
	// Usage is set in usage.
	Usage *Usage `json:"usage,omitempty"`
	// Finish and Native are set in finish.
	Finish FinishReason `json:"finish,omitempty"`
	Native string       `json:"native,omitempty"`
	// Logprobs is the raw logprobs value that came with a text delta.
	Logprobs json.RawMessage `json:"logprobs,omitempty"`
	// RequestID is the vendor's ID for support questions, in start.
	RequestID string `json:"request_id,omitempty"`
}

// Collect reads a stream to its end and builds the response a non-streamed call
// would have given. On an error it returns what had arrived, so that it can be
// accounted for, together with the error. It does not close the stream.
func Collect(s Stream) (*Response, error) {
	var b Builder
	for {
		ev, err := s.Next()
		if err == io.EOF {
			return b.Response(), nil
		}
		if err != nil {
			return b.Response(), err
		}
		b.Add(ev)
	}
}
