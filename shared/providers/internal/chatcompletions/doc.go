// Package chatcompletions speaks the OpenAI chat completions wire format, which
// most vendors serve with small differences. A vendor's folder is a [Config]
// over it: constants, a few quirks and an error table.
//
// Requests are written by hand into one buffer, so that the bytes of tool and
// output schemas reach the model exactly as the client wrote them. Usage is
// always asked for when streaming. What the vendor cannot take (media, a
// reasoning budget) is refused before anything is sent, never dropped.
//
// Streams: role-only and empty chunks are held back; a tool call is closed when
// the next begins or the model finishes; a stream must reach a finish reason
// ([Config.DoneEnds] accepts the [DONE] line instead), else it is an error. A
// reported finish of "stop" with tool calls is tool_calls. Audio and images in
// streamed answers are not supported and are an error.
//
// Sources: OpenAI API reference, chat completions and streaming objects; the
// openai-go v3.96.0 types; both read 2026-11.
package chatcompletions

import (
	"bytes"
	"context"
	"mime"
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// ReasoningStyle is how a vendor is asked for thinking.
type ReasoningStyle uint8

// Reasoning styles. ReasoningNone refuses requests that ask for thinking.
const (
	ReasoningNone   ReasoningStyle = iota
	ReasoningEffort                // reasoning_effort: "low"
	ReasoningObject                // reasoning: {effort, max_tokens, exclude, enabled}
)

// ReplayStyle is how earlier thinking is sent back to a vendor.
type ReplayStyle uint8

// Replay styles. ReplayNone leaves earlier thinking out.
const (
	ReplayNone    ReplayStyle = iota
	ReplayDetails             // reasoning_details: [...], or reasoning when there is only text
	ReplayContent             // reasoning_content: "..."
)

// Config is a vendor's variant of the format. It is not changed once in use.
type Config struct {
	Vendor wire.Vendor
	// Path defaults to "/chat/completions".
	Path string
	// MaxTokensField is "max_tokens" unless set.
	MaxTokensField string
	Reasoning      ReasoningStyle
	Replay         ReplayStyle
	// CacheKey sends the key of the prompt cache (prompt_cache_key).
	CacheKey bool
	// CacheControl sends cache markers on parts (cache_control).
	CacheControl bool
	// TopK says that top_k is a known parameter.
	TopK bool
	// Vision, Audio and Files say which media the vendor takes.
	Vision, Audio, Files bool
	// ToolMedia says that tool results may hold images.
	ToolMedia bool
	// DoneEnds accepts [DONE] without a finish reason as the end, for servers
	// that never send one.
	DoneEnds bool
	// RefuseExtra are fields of the same dialect that are refused, because they
	// would make the vendor call another model than the one that was planned.
	RefuseExtra []string
}

// Chat is the adapter. It is stateless and safe for concurrent use.
type Chat struct{ c Config }

// New makes an adapter from a config.
func New(c Config) *Chat {
	if c.Path == "" {
		c.Path = "/chat/completions"
	}
	if c.MaxTokensField == "" {
		c.MaxTokensField = "max_tokens"
	}
	return &Chat{c: c}
}

const op = "chatcompletions.Chat"

// Complete implements [model.Chat].
func (c *Chat) Complete(ctx context.Context, call model.Call) (*model.Response, error) {
	ans, err := c.do(ctx, call, false)
	if err != nil {
		return nil, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	r, err := c.decode(body, ans.Header)
	if err != nil {
		return nil, err
	}
	r.ProviderRequestID = ans.RequestID
	return r, nil
}

// Stream implements [model.Chat].
func (c *Chat) Stream(ctx context.Context, call model.Call) (model.Stream, error) {
	ans, err := c.do(ctx, call, true)
	if err != nil {
		return nil, err
	}
	if mt, _, _ := mime.ParseMediaType(ans.Header.Get("Content-Type")); mt == "application/json" {
		return nil, c.notStreamed(ans)
	}
	s := newStream(&c.c, ans)
	if err := s.prime(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// notStreamed is the error for a plain JSON answer to a request for a stream:
// usually the vendor's error with status 200.
func (c *Chat) notStreamed(ans *wire.Answer) error {
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return err
	}
	if _, err := c.decode(body, ans.Header); err != nil {
		return err
	}
	return c.c.Vendor.Malformed(op)
}

func (c *Chat) do(ctx context.Context, call model.Call, stream bool) (*wire.Answer, error) {
	body, err := c.encode(call.Request, stream)
	if err != nil {
		return nil, err
	}
	accept := "application/json"
	if stream {
		accept = "text/event-stream"
	}
	return wire.Do(ctx, call.Target, &c.c.Vendor, wire.Request{
		Op: op, Method: http.MethodPost, Path: c.c.Path, ContentType: "application/json",
		Accept: accept, Body: bytes.NewReader(body), Size: int64(len(body)), Stream: stream,
	})
}

func (c *Chat) refuse(param, message string) error {
	return c.c.Vendor.Refuse(op, fault.InvalidRequest, param, message)
}

func (c *Chat) refuseMedia(message string) error {
	return c.c.Vendor.Refuse(op, fault.UnsupportedMedia, "messages", message)
}
