// Package responsesapi speaks the OpenAI Responses wire format, POST /responses,
// for models that chat completions do not serve.
//
// It is used without state: nothing is stored at the vendor (store is false) and
// the whole conversation is sent each time. Thinking is encrypted; it is asked
// for, kept in [model.Reasoned.Data] with [Format], and goes back with the next
// turn. What the format does not have is refused before anything is sent: stop
// sequences, a seed, penalties, top_k, audio, names of speakers. Unknown fields of
// this dialect are passed on, and those of the chat dialect that mean the same.
//
// Streams: one item is written after the other. A tool call ends with its item;
// response.completed, response.incomplete and response.failed end the answer,
// and a stream without one of them is an error.
//
// Source: openai-go v3.96.0, package responses, read 2026-11.
package responsesapi

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

// Format marks thinking that this format encrypted. It is the word that
// OpenRouter uses for the same thing.
const Format = "openai-responses-v1"

const op = "responsesapi.Chat"

// Config is a vendor's variant of the format. It is not changed once in use.
type Config struct {
	Vendor wire.Vendor
	// ImageTypes are the media types of image bytes, none means all.
	ImageTypes []string
}

// Chat is the adapter. It is stateless and safe for concurrent use.
type Chat struct{ c Config }

// New makes an adapter from a config.
func New(c Config) *Chat { return &Chat{c} }

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
		body, err := ans.Body.ReadAll(0)
		if err != nil {
			return nil, err
		}
		if _, err := c.decode(body, ans.Header); err != nil {
			return nil, err
		}
		return nil, c.c.Vendor.Malformed(op)
	}
	s := newStream(&c.c, ans, call.Request.Reasoning.Exclude)
	if err := s.prime(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
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
	return wire.Do(ctx, call.Target, &c.c.Vendor, wire.Request{Op: op, Method: http.MethodPost, Path: "/responses",
		ContentType: "application/json", Accept: accept, Body: bytes.NewReader(body), Size: int64(len(body)), Stream: stream})
}

func (c *Chat) refuse(param, message string) error {
	return c.c.Vendor.Refuse(op, fault.InvalidRequest, param, message)
}

func (c *Chat) refuseMedia(message string) error {
	return c.c.Vendor.Refuse(op, fault.UnsupportedMedia, "messages", message)
}
