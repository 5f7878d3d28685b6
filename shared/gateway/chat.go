package gateway

import (
	"context"
	"maps"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Answer is a whole chat answer. It is not recorded before Commit or Defer.
type Answer struct {
	Response *model.Response
	meter    *Meter
	outcome  Outcome
}

// Info describes how the request was served.
func (a *Answer) Info() Info { return a.meter.Info() }

// Commit records the usage; see [Meter.Finish].
func (a *Answer) Commit(ctx context.Context) error { return a.meter.Finish(ctx, a.outcome) }

// Defer hands the recording to the holder of the result; see [Gateway.Commit].
func (a *Answer) Defer() Pending { return a.meter.pending(a.outcome) }

// Complete makes a chat call that is answered whole. The caller must Commit or
// Defer the answer. Errors are those of the vendor's adapter, of the decision
// (billing_denied, byok_unavailable, insufficient_credits, price_missing,
// model_not_enabled), of the idempotency key, invalid_request, and
// ledger_unavailable or vault_unavailable.
func (g *Gateway) Complete(ctx context.Context, c *Caller, q Query, r *model.Request) (*Answer, error) {
	if err := checkMedia(r); err != nil {
		return nil, err
	}
	r = c.withDefaults(r)
	response, meter, err := run(ctx, g, c, q.strict(r), chatService(r, func(ctx context.Context, chat model.Chat, mc model.Call) (*model.Response, error) {
		return chat.Complete(ctx, mc)
	}))
	if err != nil {
		return nil, err
	}
	if response.Usage.Source == model.UsageNone || response.Usage.Source == "" {
		response.Usage = estimate(r, answerBytes(response))
	}
	usage := billable(response.Usage)
	usage.Images = kinds(r).images
	return &Answer{Response: response, meter: meter, outcome: Outcome{Usage: usage, ProviderRequestID: response.ProviderRequestID}}, nil
}

// Stream makes a chat call that is answered as it is produced. It returns once
// the first content has arrived; the caller must Close the stream. Errors as
// [Gateway.Complete].
func (g *Gateway) Stream(ctx context.Context, c *Caller, q Query, r *model.Request) (*ChatStream, error) {
	if err := checkMedia(r); err != nil {
		return nil, err
	}
	r = c.withDefaults(r)
	s, meter, err := run(ctx, g, c, q.strict(r), chatService(r, func(ctx context.Context, chat model.Chat, mc model.Call) (model.Stream, error) {
		return chat.Stream(ctx, mc)
	}))
	if err != nil {
		return nil, err
	}
	return &ChatStream{ctx: ctx, stream: s, meter: meter, request: r}, nil
}

func chatService[T any](r *model.Request, do func(context.Context, model.Chat, model.Call) (T, error)) service[T] {
	what := wants(r)
	return service[T]{
		name: "chat", model: what.model, needs: what.needs, modality: what.modality, whole: !r.Stream,
		// What was asked to be thought over may not be seen.
		inParts: r.Stream && r.Reasoning.IsZero(),
		has:     func(e *providers.Entry) bool { return e.NewChat != nil },
		expect:  expected(r),
		longer:  func(limit int64) bool { return longer(r, limit) },
		dropped: func(c *call) []string {
			c.chat = c.entry.NewChat()
			return chatDropped(r, c)
		},
		do: func(ctx context.Context, c call) (T, error) {
			return do(ctx, c.chat, model.Call{Target: c.target, Request: outgoing(r, &c)})
		},
	}
}

// wants is what a chat request asks of a model.
func wants(r *model.Request) asked {
	vision, audioIn, tools, structured := r.Needs()
	what := asked{model: r.Model, needs: []taxonomy.Capability{taxonomy.CapText}}
	for _, n := range []struct {
		needed bool
		cap    taxonomy.Capability
	}{{vision, taxonomy.CapVision}, {audioIn, taxonomy.CapAudioIn}, {tools, taxonomy.CapTools}, {structured, taxonomy.CapJSON}} {
		if n.needed {
			what.needs = append(what.needs, n.cap)
		}
	}
	what.modality = modalityOf(what.needs)
	return what
}

// outgoing is the request as this candidate gets it.
func outgoing(r *model.Request, c *call) *model.Request {
	out := *r
	out.Model, out.Strict = c.model, c.strict
	out.Strip(c.dropped)
	if c.platform {
		// The hold was sized for this much output.
		out.MaxOutputTokens = int(c.maxOutput)
		out.Extra = maps.Clone(out.Extra)
		separate(&out, c.org)
	}
	return &out
}

// bytesPerToken converts text to tokens where the vendor reported none; a hold
// assumes more tokens than an estimate does, so that it suffices.
const (
	bytesPerToken     = model.BytesPerToken
	holdBytesPerToken = 3
	// Media tokens per piece, above what current vendors count for a default
	// image (OpenAI 765 to 1,105 tokens, Anthropic up to 1,600; documentation read 2026-11).
	tokensPerMedia = 1600
	// Fields around a message.
	tokensPerMessage = model.TokensPerMessage
)

func estimate(r *model.Request, outputBytes int64) model.Usage {
	input := inputTokens(r, bytesPerToken)
	audio := min(kinds(r).audioTokens, input)
	return model.Usage{Input: input - audio, InputAudio: audio, Output: (outputBytes + bytesPerToken - 1) / bytesPerToken, Source: model.UsageEstimated}
}

func inputTokens(r *model.Request, perToken int64) int64 {
	var bytes, n int64
	for i := range r.Messages {
		n += tokensPerMessage
		b, media := partsSize(r.Messages[i].Parts)
		bytes, n = bytes+b, n+media
	}
	for i := range r.Tools {
		bytes += int64(len(r.Tools[i].Name) + len(r.Tools[i].Description) + len(r.Tools[i].Schema))
	}
	bytes += int64(len(r.Output.Schema))
	return n + (bytes+perToken-1)/perToken
}

func partsSize(parts []model.Part) (bytes, media int64) {
	for i := range parts {
		p := &parts[i]
		bytes += int64(len(p.Text))
		switch {
		case p.Media != nil:
			// A file's text counts by its size; other media by the piece.
			media += tokensPerMedia
			if p.Kind != model.PartImage {
				bytes += int64(len(p.Media.Base64)) / 8
			}
		case p.Call != nil:
			bytes += int64(len(p.Call.Name) + len(p.Call.Args))
		case p.Result != nil:
			b, m := partsSize(p.Result.Parts)
			bytes, media = bytes+b, media+m
		case p.Reasoning != nil:
			bytes += int64(len(p.Reasoning.Text) + len(p.Reasoning.Data))
		}
	}
	return bytes, media
}

func answerBytes(r *model.Response) int64 {
	n, _ := partsSize(r.Message.Parts)
	return n
}
