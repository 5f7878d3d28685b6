// Package anthropic speaks the Anthropic Messages API: POST /v1/messages, whole
// and streamed, /v1/messages/count_tokens and /v1/models.
//
// What a model takes differs by version, so each request is encoded by the
// [profile] of its model: the API version that is sent, the forms of thinking,
// whether tools may be forced, sampling, prefill. What neither the API nor the
// model takes is refused before anything is sent. Translated rather than refused:
// the effort "minimal" is "low"; a temperature or top_p of 1 is the default and
// left out; arguments of an earlier call that are no JSON object go back as
// {"invalid_arguments": text}; call IDs are made to fit the API's alphabet; a JSON object
// without a schema is asked for by a forced tool, whose arguments become the
// text. Without counterpart and left out: names of messages, the detail of an
// image, thinking made by another vendor or without a signature, empty texts.
//
// The API wants max_tokens; where the client states none, the profile's default
// is sent. Usage buckets of the API are exclusive already. In a stream usage is
// cumulative: later values replace earlier ones. Redacted thinking and signatures
// are kept and sent back as they came, in their order.
//
// Sources: @anthropic-ai/sdk 1.12.0 types (2026-11-20) and
// platform.claude.com/docs: api/errors, api/versioning, api/migration-2026-10-21,
// build-with-claude/effort, models/opus-5-5/migration-guide; read 2026-11-22.
package anthropic

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL = "https://api.anthropic.com/v1"
	host    = "api.anthropic.com"
	op      = "anthropic.Chat"

	version2023 = "2023-06-01"
	version2026 = "2026-10-21"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "x-api-key", Prefix: "sk-ant-", MinLen: 16, MaxLen: 512}
}

func vendor(version string) wire.Vendor {
	return wire.Vendor{ID: taxonomy.Anthropic, Key: key(), Errors: errorTable(), Header: map[string]string{"anthropic-version": version}}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor(version2026)
	return providers.Entry{
		ID:             taxonomy.Anthropic,
		Title:          "Anthropic",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities:   []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		// "For supported providers, this immediately stops model processing and billing", Anthropic among
		// them (openrouter.ai/docs/api-reference/streaming, stream cancellation, read 2026-11-22).
		CancelStopsBilling: true,
		NewChat:            func() model.Chat { return New() },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return listModels(ctx, t, &v)
		},
		// The API refuses the list without a good key.
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "anthropic.CheckKey", "/models?limit=1")
		},
	}
}

// Chat is the adapter. It is stateless and safe for concurrent use. It
// implements [model.Chat] and [model.TokenCounter].
type Chat struct{ old, current wire.Vendor }

// New makes the adapter.
func New() *Chat { return &Chat{old: vendor(version2023), current: vendor(version2026)} }

// vendor is the vendor with the API version that a profile pins.
func (c *Chat) vendor(p *profile) *wire.Vendor {
	if p.version == version2023 {
		return &c.old
	}
	return &c.current
}

// Complete implements [model.Chat].
func (c *Chat) Complete(ctx context.Context, call model.Call) (*model.Response, error) {
	e, err := c.encode(call.Request, whole)
	if err != nil {
		return nil, err
	}
	ans, err := wire.Do(ctx, call.Target, e.vendor, e.request("/messages", "application/json"))
	if err != nil {
		return nil, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	r, err := decode(e.vendor, body, ans.Header, e.forced)
	if err != nil {
		return nil, err
	}
	r.ProviderRequestID = ans.RequestID
	return r, nil
}

// Stream implements [model.Chat].
func (c *Chat) Stream(ctx context.Context, call model.Call) (model.Stream, error) {
	e, err := c.encode(call.Request, streamed)
	if err != nil {
		return nil, err
	}
	return events.Open(ctx, call.Target, e.vendor, e.request("/messages", "text/event-stream"),
		func(ans *wire.Answer) events.Decoder {
			return &decoder{vendor: e.vendor, header: ans.Header, requestID: ans.RequestID, forced: e.forced, block: -1}
		},
		func(body []byte, ans *wire.Answer) error {
			_, err := decode(e.vendor, body, ans.Header, e.forced)
			return err
		})
}

// CountTokens implements [model.TokenCounter]: the input tokens the request
// would use, as the vendor estimates them. It costs nothing but has a rate limit
// of its own. Errors as [model.Chat].
func (c *Chat) CountTokens(ctx context.Context, call model.Call) (int64, error) {
	e, err := c.encode(call.Request, counted)
	if err != nil {
		return 0, err
	}
	ans, err := wire.Do(ctx, call.Target, e.vendor, e.request("/messages/count_tokens", "application/json"))
	if err != nil {
		return 0, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return 0, err
	}
	var in struct {
		Tokens *wire.Count `json:"input_tokens"`
	}
	if json.Unmarshal(body, &in) != nil || in.Tokens == nil || *in.Tokens < 0 || *in.Tokens > model.MaxTokens {
		return 0, e.vendor.Malformed(op)
	}
	return int64(*in.Tokens), nil
}

// request is the HTTP request for an encoded body.
func (e *encoded) request(path, accept string) wire.Request {
	return wire.Request{Op: op, Method: http.MethodPost, Path: path, ContentType: "application/json", Accept: accept,
		Body: bytes.NewReader(e.body), Size: int64(len(e.body)), Stream: accept != "application/json"}
}

func (e *encoded) refuse(param, message string) error {
	return e.vendor.Refuse(op, fault.InvalidRequest, param, message)
}

func (e *encoded) refuseMedia(message string) error {
	return e.vendor.Refuse(op, fault.UnsupportedMedia, "messages", message)
}
