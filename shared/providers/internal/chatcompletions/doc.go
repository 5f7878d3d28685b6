// Package chatcompletions speaks the OpenAI chat completions wire format, which
// most vendors serve with small differences. A vendor's folder is a [Config]
// over it: constants, a few quirks and an error table.
//
// Requests are written by hand into one buffer, so that the bytes of tool and
// output schemas reach the model exactly as the client wrote them. Usage is
// always asked for when streaming. What the vendor or the model cannot take
// (media, a reasoning budget, a parameter) is refused before anything is sent,
// never dropped; [Model] is the table that says so. Thinking that a request
// excludes is left out of the answer here if the vendor has no word for it.
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
	"slices"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// Config is a vendor's variant of the format. It is not changed once in use.
type Config struct {
	Vendor wire.Vendor
	// Path defaults to "/chat/completions".
	Path string
	// MaxTokensField is "max_tokens" unless set, SeedField "seed".
	MaxTokensField, SeedField string
	// NoUser leaves out the client's word for its end user, for vendors that
	// have no such field and refuse unknown ones. It never changes an answer.
	NoUser bool
	// RequiredChoice is the word for "must call a tool", "required" unless set.
	RequiredChoice string
	// NineCharIDs sends tool call IDs as exactly nine letters and digits, the
	// only form some vendors take. IDs of that form are left alone.
	NineCharIDs bool
	// NeedsParameters sends an empty schema for tools that have none.
	NeedsParameters bool
	// NoStreamOptions is for vendors that send usage unasked and refuse the
	// field.
	NoStreamOptions bool
	// TextRefusals sends earlier refusals as text, for vendors without the field.
	TextRefusals bool
	// ReasoningOutside says that completion_tokens does not hold the reasoning
	// tokens, unless total_tokens shows that it does.
	ReasoningOutside bool
	// CacheKey sends the key of the prompt cache (prompt_cache_key).
	CacheKey bool
	// CacheControl sends cache markers on parts (cache_control).
	CacheControl bool
	// DoneEnds accepts [DONE] without a finish reason as the end, for servers
	// that never send one.
	DoneEnds bool
	// Strict is sent with requests that ask for [model.Request.Strict]: a member of
	// the body that holds an object.
	Strict Field
	// RefuseExtra are fields of the same dialect that are refused, because they
	// would make the vendor call another model than the one that was planned.
	RefuseExtra []string
	// Models says what the vendor's models take; the first row that matches a
	// model holds. A model without a row takes text only.
	Models []Model
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
	if c.SeedField == "" {
		c.SeedField = "seed"
	}
	if c.RequiredChoice == "" {
		c.RequiredChoice = string(model.ChoiceRequired)
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
	if call.Request.Reasoning.Exclude {
		r.Message.Parts = slices.DeleteFunc(r.Message.Parts, func(p model.Part) bool { return p.Kind == model.PartReasoning })
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
	s.exclude = call.Request.Reasoning.Exclude
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
