// Package gemini speaks the Gemini API: models/{model}:generateContent, its
// streamed form with alt=sse, countTokens, embeddings ([Embedder]) and the list of
// models, at version v1beta. The key
// travels in the x-goog-api-key header, never in the URL, where proxies and logs
// would keep it.
//
// What a model takes differs by version, so each request is encoded by the
// [profile] of its model: the form of thinking, JSON together with tools, media in
// tool results. What neither the API nor the model takes is refused before
// anything is sent. Translated rather than refused: a system message inside the
// conversation becomes text of the user's turn; the effort "minimal" is "low"
// where there is none lower; strict tools become mode VALIDATED; results of tools
// are matched to their calls by ID and sent with the function's name; arguments
// of an earlier call that are no JSON object go back as {"invalid_arguments":
// text}. Without counterpart and left out: names of messages, the detail of an
// image, the end user's name, cache marks (caching is automatic), empty texts and
// thinking made by another vendor.
//
// Thought signatures are kept and sent back where they stood: on a function call,
// or in an empty text part after the text they belong to, as the API itself
// streams them. A model of version 3 refuses a function call without one, so the
// documented placeholder stands in for a signature that a client dropped.
//
// A stream is complete once it has a finish reason. A blocked prompt is
// content_filtered; a call that the model wrote wrongly (MALFORMED_FUNCTION_CALL
// and the like) is provider_error, so that another candidate can be tried.
//
// Sources: @google/genai 2.32.0 types and ai.google.dev/gemini-api/docs
// (generate-content, function-calling, thinking, thought-signatures, file-input-methods,
// troubleshooting); read 2026-11-22.
package gemini

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL = "https://generativelanguage.googleapis.com/v1beta"
	host    = "generativelanguage.googleapis.com"
	op      = "gemini.Chat"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "x-goog-api-key", Prefix: "AIza", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Gemini, Key: key(), Errors: errorTable()}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.Gemini,
		Title:          "Google Gemini",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn, taxonomy.CapTools,
			taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		NewChat:        func() model.Chat { return New() },
		NewEmbedder:    func() model.Embedder { return NewEmbedder() },
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return listModels(ctx, t, &v)
		},
		// The API refuses the list without a good key.
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "gemini.CheckKey", "/models?pageSize=1")
		},
	}
}

// Chat is the adapter. It is stateless and safe for concurrent use.
type Chat struct{ v wire.Vendor }

// New makes the adapter.
func New() *Chat { return &Chat{v: vendor()} }

// Complete implements [model.Chat].
func (c *Chat) Complete(ctx context.Context, call model.Call) (*model.Response, error) {
	r, err := c.request(call.Request, ":generateContent", "application/json")
	if err != nil {
		return nil, err
	}
	ans, err := wire.Do(ctx, call.Target, &c.v, r)
	if err != nil {
		return nil, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	out, err := decode(&c.v, body, ans.Header)
	if err != nil {
		return nil, err
	}
	out.ProviderRequestID = ans.RequestID
	return out, nil
}

// Stream implements [model.Chat].
func (c *Chat) Stream(ctx context.Context, call model.Call) (model.Stream, error) {
	r, err := c.request(call.Request, ":streamGenerateContent?alt=sse", "text/event-stream")
	if err != nil {
		return nil, err
	}
	return events.Open(ctx, call.Target, &c.v, r,
		func(ans *wire.Answer) events.Decoder {
			return &decoder{vendor: &c.v, header: ans.Header, requestID: ans.RequestID}
		},
		func(body []byte, ans *wire.Answer) error {
			_, err := decode(&c.v, body, ans.Header)
			return err
		})
}

func (c *Chat) request(r *model.Request, method, accept string) (wire.Request, error) {
	name, ok := modelName(r.Model)
	if !ok {
		return wire.Request{}, c.refuse("model", "a model name of this provider is required, such as those that the list of models shows")
	}
	body, err := c.encode(r)
	if err != nil {
		return wire.Request{}, err
	}
	return wire.Request{Op: op, Method: http.MethodPost, Path: "/models/" + name + method, ContentType: "application/json",
		Accept: accept, Body: bytes.NewReader(body), Size: int64(len(body)), Stream: accept != "application/json"}, nil
}

// modelName is the model as it may stand in a path: nothing in it can lead to
// another method or resource.
func modelName(id string) (string, bool) {
	id = strings.TrimPrefix(id, "models/")
	ok := id != "" && len(id) <= 128 && strings.Trim(id, nameChars) == "" && !strings.Contains(id, "..")
	return id, ok
}

const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

func (c *Chat) refuse(param, message string) error {
	return c.v.Refuse(op, fault.InvalidRequest, param, message)
}

func (c *Chat) refuseMedia(message string) error {
	return c.v.Refuse(op, fault.UnsupportedMedia, "messages", message)
}
