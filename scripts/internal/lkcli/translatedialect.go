package lkcli

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/anthropicmessages"
	"github.com/latchkey/latchkey/shared/dialect/geminigenerate"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/dialect/openairesponses"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// shape is what a dialect needs besides a body.
type shape struct {
	name    string // provider/model
	vendors string // the vendor's id of the model
	created int64
	stream  bool
	// usage says that a stream shows its usage.
	usage bool
}

// encoder writes a stream in one dialect.
type encoder interface {
	Append(dst []byte, ev model.Event) []byte
	AppendError(dst []byte, err error, requestID string) []byte
}

// speaker writes answers.
type speaker struct {
	whole  func(*model.Response) ([]byte, error)
	stream func() encoder
}

// dialect is how a client speaks.
type dialect struct {
	name, client string
	request      string // as in model.Request.Dialect
	parse        func(body []byte, s shape) (*model.Request, speaker, error)
	// speaks makes a speaker without a request.
	speaks func(s shape) speaker
	fail   func(dst []byte, err error, requestID string) []byte
}

func dialects() []dialect {
	return []dialect{
		{name: "openai", client: "an OpenAI client", request: model.DialectChat, parse: parseChat, speaks: chatSpeaker, fail: openaichat.EncodeError},
		{name: "responses", client: "an OpenAI Responses client", parse: parseResponses, fail: openaichat.EncodeError,
			speaks: func(s shape) speaker { return responsesSpeaker(s, openairesponses.Meta{}) }},
		{name: "anthropic", client: "an Anthropic client", request: model.DialectMessages, fail: anthropicmessages.EncodeError, speaks: messagesSpeaker,
			parse: func(body []byte, s shape) (*model.Request, speaker, error) {
				r, err := anthropicmessages.ParseRequest(withModel(body, s.vendors), "")
				return r, messagesSpeaker(s), err
			}},
		{name: "gemini", client: "a Gemini client", request: model.DialectGemini, fail: geminigenerate.EncodeError, speaks: geminiSpeaker,
			parse: func(body []byte, s shape) (*model.Request, speaker, error) {
				r, err := geminigenerate.ParseRequest(s.vendors, s.stream, body)
				return r, geminiSpeaker(s), err
			}},
	}
}

// dialect finds the one of --dialect.
func (in *invocation) dialect() (*dialect, error) {
	word := in.text("dialect")
	if word == "" {
		word = "openai"
	}
	all := dialects()
	names := make([]string, len(all))
	for i := range all {
		if names[i] = all[i].name; names[i] == word {
			return &all[i], nil
		}
	}
	return nil, wrongCall("--dialect is one of %s", strings.Join(names, ", "))
}

func parseChat(body []byte, s shape) (*model.Request, speaker, error) {
	r, meta, err := openaichat.ParseRequest(withModel(body, s.vendors))
	s.usage = meta.IncludeUsage
	return r, chatSpeaker(s), err
}

func chatSpeaker(s shape) speaker {
	out := openaichat.Shape{Model: s.name, Created: s.created, IncludeUsage: s.usage}
	return speaker{
		whole:  func(r *model.Response) ([]byte, error) { return openaichat.EncodeResponse(nil, r, out), nil },
		stream: func() encoder { return openaichat.NewStreamEncoder(out) },
	}
}

func parseResponses(body []byte, s shape) (*model.Request, speaker, error) {
	r, meta, err := openairesponses.ParseRequest(withModel(body, s.vendors))
	return r, responsesSpeaker(s, meta), err
}

func responsesSpeaker(s shape, meta openairesponses.Meta) speaker {
	out := openairesponses.Shape{ID: "translated", Model: s.name, Created: s.created, Meta: meta}
	return speaker{
		whole:  func(r *model.Response) ([]byte, error) { return openairesponses.EncodeResponse(nil, r, out) },
		stream: func() encoder { return openairesponses.NewStreamEncoder(out) },
	}
}

func messagesSpeaker(s shape) speaker {
	out := anthropicmessages.Shape{Model: s.name}
	return speaker{
		whole:  func(r *model.Response) ([]byte, error) { return anthropicmessages.EncodeResponse(nil, r, out) },
		stream: func() encoder { return anthropicmessages.NewStreamEncoder(out) },
	}
}

func geminiSpeaker(s shape) speaker {
	out := geminigenerate.Shape{Model: s.name}
	return speaker{
		whole:  func(r *model.Response) ([]byte, error) { return geminigenerate.EncodeResponse(nil, r, out) },
		stream: func() encoder { return geminigenerate.NewStreamEncoder(out) },
	}
}

// placeholderKey has the form that the vendor's keys have, so that a request can
// be made, and signed where it is signed.
func placeholderKey(e *providers.Entry) string {
	if e.Key.Signed {
		return strings.Repeat("K", 20) + ":" + strings.Repeat("s", 40) + ":us-east-1"
	}
	return "placeholder-for-the-key-of-a-connection"
}

const masked = "***"

// mask takes the placeholder out, and a signature made with it.
func (s *sent) mask(e *providers.Entry, key string) {
	s.KeyIn = strings.TrimSuffix(e.Key.Header+": "+e.Key.Scheme, ": ")
	if e.Key.Signed {
		s.KeyIn = "the signature"
	}
	for i := range s.Headers {
		h := &s.Headers[i]
		if scheme, _, ok := strings.Cut(h[1], " "); ok && e.Key.Signed && strings.EqualFold(h[0], "Authorization") {
			h[1] = scheme + " " + masked
			continue
		}
		h[1] = strings.ReplaceAll(h[1], key, masked)
	}
}

// stripped is the request without what the adapter says it cannot send.
func stripped(chat model.Chat, r *model.Request) (*model.Request, []string) {
	carrier, ok := chat.(model.Carrier)
	if !ok {
		return r, nil
	}
	names := carrier.Uncarried(r.Model, r)
	slices.Sort(names)
	out := *r
	out.Strip(names)
	return &out, names
}

// dropped names what a request asks for and what makes no difference to the bytes
// that are sent: each is left out in turn, and the request made again. So it needs
// to know no vendor.
func dropped(ctx context.Context, chat model.Chat, call model.Call, body []byte) []string {
	var out []string
	for _, v := range optional(call.Request) {
		tap := &wiretap{}
		target := call.Target
		client := *call.HTTP
		client.Transport = tap
		target.HTTP = &client
		_ = (&translation{}).call(ctx, chat, model.Call{Target: target, Request: v.without}, speaker{})
		if tap.request != nil && bytes.Equal(tap.request.Body, body) {
			out = append(out, v.name)
		}
	}
	return out
}

// variant is a request without one thing that it has.
type variant struct {
	name    string
	without *model.Request
}

// optional lists what a request has that a vendor may have no place for.
func optional(r *model.Request) (out []variant) {
	add := func(name string, has bool, remove func(*model.Request)) {
		if has {
			c := *r
			remove(&c)
			out = append(out, variant{name, &c})
		}
	}
	s := &r.Sampling
	add("temperature", s.Temperature != nil, func(c *model.Request) { c.Sampling.Temperature = nil })
	add("top_p", s.TopP != nil, func(c *model.Request) { c.Sampling.TopP = nil })
	add("top_k", s.TopK != nil, func(c *model.Request) { c.Sampling.TopK = nil })
	add("frequency_penalty", s.FrequencyPenalty != nil, func(c *model.Request) { c.Sampling.FrequencyPenalty = nil })
	add("presence_penalty", s.PresencePenalty != nil, func(c *model.Request) { c.Sampling.PresencePenalty = nil })
	add("seed", s.Seed != nil, func(c *model.Request) { c.Sampling.Seed = nil })
	add("stop", len(r.Stop) > 0, func(c *model.Request) { c.Stop = nil })
	add("max_output_tokens", r.MaxOutputTokens != 0, func(c *model.Request) { c.MaxOutputTokens = 0 })
	add("parallel_tool_calls", r.Parallel != nil, func(c *model.Request) { c.Parallel = nil })
	add("tool_choice", r.ToolChoice.Mode != model.ChoiceDefault, func(c *model.Request) { c.ToolChoice = model.ToolChoice{} })
	add("reasoning", !r.Reasoning.IsZero(), func(c *model.Request) { c.Reasoning = model.Reasoning{} })
	add("user", r.User != "", func(c *model.Request) { c.User = "" })
	add("cache_key", r.CacheKey != "", func(c *model.Request) { c.CacheKey = "" })
	add("strict tools", slices.ContainsFunc(r.Tools, func(t model.Tool) bool { return t.Strict != nil }), func(c *model.Request) {
		c.Tools = slices.Clone(c.Tools)
		for i := range c.Tools {
			c.Tools[i].Strict = nil
		}
	})
	add("names of messages", slices.ContainsFunc(r.Messages, func(m model.Message) bool { return m.Name != "" }), func(c *model.Request) {
		c.Messages = slices.Clone(c.Messages)
		for i := range c.Messages {
			c.Messages[i].Name = ""
		}
	})
	return append(out, optionalParts(r)...)
}

func optionalParts(r *model.Request) (out []variant) {
	add := func(name string, is func(*model.Part) bool, remove func(p *model.Part) (keep bool)) {
		c, found := *r, false
		c.Messages = slices.Clone(r.Messages)
		for i := range c.Messages {
			var parts []model.Part
			for _, p := range c.Messages[i].Parts {
				if is(&p) {
					if found = true; !remove(&p) {
						continue
					}
				}
				parts = append(parts, p)
			}
			c.Messages[i].Parts = parts
		}
		if found {
			out = append(out, variant{name, &c})
		}
	}
	add("earlier thinking", func(p *model.Part) bool { return p.Kind == model.PartReasoning }, func(*model.Part) bool { return false })
	add("cache markers", func(p *model.Part) bool { return p.CacheTTL != "" }, func(p *model.Part) bool { p.CacheTTL = ""; return true })
	add("image detail", func(p *model.Part) bool { return p.Media != nil && p.Media.Detail != "" }, func(p *model.Part) bool {
		m := *p.Media
		m.Detail, p.Media = "", &m
		return true
	})
	names := make([]string, 0, len(r.Extra))
	for name := range r.Extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := *r
		c.Extra = nil
		for k, v := range r.Extra {
			if k != name {
				if c.Extra == nil {
					c.Extra = make(map[string]json.RawMessage, len(r.Extra))
				}
				c.Extra[k] = v
			}
		}
		out = append(out, variant{name, &c})
	}
	return out
}

// warnings says what the gateway and the registry know that the bytes do not show.
func warnings(e *providers.Entry, r *model.Request) (out []string) {
	row, known := registry.Lookup(e.ID, r.Model)
	if !known && !e.Tenant() {
		out = append(out, "nothing is documented here about "+r.Model+": limits and abilities are for the vendor to say (lk models curated)")
	}
	if row.Status == registry.Deprecated {
		out = append(out, "the vendor is retiring this model ("+row.Source+", "+row.SourceDate+")")
	}
	vision, audioIn, tools, structured := r.Needs()
	needs := []taxonomy.Capability{taxonomy.CapText}
	for _, n := range []struct {
		c    taxonomy.Capability
		used bool
	}{{taxonomy.CapVision, vision}, {taxonomy.CapAudioIn, audioIn}, {taxonomy.CapTools, tools}, {taxonomy.CapJSON, structured}} {
		if n.used {
			needs = append(needs, n.c)
		}
	}
	if c, lacks := row.Lacks(needs); lacks {
		out = append(out, "the model is documented to have no "+string(c)+" ("+row.Source+", "+row.SourceDate+"): the gateway refuses this request")
	}
	if limit := row.MaxOutputTokens; limit > 0 && int64(r.MaxOutputTokens) > limit {
		out = append(out, "the model is documented to write at most "+strconv.FormatInt(limit, 10)+" tokens")
	}
	if names := gateway.DroppedFields(r); len(names) > 0 {
		out = append(out, "on platform credits these fields are left out: "+strings.Join(names, ", "))
	}
	return out
}
