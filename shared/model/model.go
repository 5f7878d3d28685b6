package model

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Role says who speaks in a [Message].
type Role string

// Roles. A developer message of the OpenAI dialects becomes RoleSystem.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one turn. A tool message holds only [PartToolResult] parts, and
// only an assistant message holds tool calls, reasoning and refusals.
type Message struct {
	Role  Role   `json:"role"`
	Name  string `json:"name,omitempty"`
	Parts []Part `json:"parts"`
}

// PartKind says which field of a [Part] is set.
type PartKind string

// Part kinds.
const (
	PartText       PartKind = "text"
	PartRefusal    PartKind = "refusal"
	PartImage      PartKind = "image"
	PartAudio      PartKind = "audio"
	PartFile       PartKind = "file"
	PartToolCall   PartKind = "tool_call"
	PartToolResult PartKind = "tool_result"
	PartReasoning  PartKind = "reasoning"
)

// Part is one piece of a message. Kind decides which other field is set; the
// order of parts in a message is the order the model produced or must see.
type Part struct {
	Kind PartKind `json:"kind"`
	// Text is set for text and refusal.
	Text string `json:"text,omitempty"`
	// Media is set for image, audio and file.
	Media *Media `json:"media,omitempty"`
	// Call is set for tool_call.
	Call *ToolCall `json:"call,omitempty"`
	// Result is set for tool_result.
	Result *ToolResult `json:"result,omitempty"`
	// Reasoning is set for reasoning.
	Reasoning *Reasoned `json:"reasoning,omitempty"`
	// CacheTTL asks the vendor to cache the prompt up to and including this
	// part: "" no, "5m" or "1h". Vendors without the feature ignore it.
	CacheTTL string `json:"cache_ttl,omitempty"`
}

// Text makes a text part.
func Text(s string) Part { return Part{Kind: PartText, Text: s} }

// Media is an image, a sound or a file. Exactly one of URL, Base64 and FileID
// is set.
type Media struct {
	URL string `json:"url,omitempty"`
	// Base64 is standard base64 with padding; parsers have checked it.
	Base64 string `json:"base64,omitempty"`
	FileID string `json:"file_id,omitempty"`
	// MIME is the media type, "" if the client did not say.
	MIME string `json:"mime,omitempty"`
	// Format is the short audio format word of the OpenAI dialect: wav, mp3 …
	Format string `json:"format,omitempty"`
	Name   string `json:"name,omitempty"`
	// Detail is the OpenAI image detail: low, high, auto or "".
	Detail string `json:"detail,omitempty"`
	// ID names audio the vendor made in an earlier turn.
	ID string `json:"id,omitempty"`
	// Transcript is the text of audio the vendor made.
	Transcript string `json:"transcript,omitempty"`
}

// Bytes decodes Base64.
func (m *Media) Bytes() ([]byte, error) { return base64.StdEncoding.DecodeString(m.Base64) }

// DataURL is the media as a data: URL, or URL if that is what is held.
func (m *Media) DataURL() string {
	if m.Base64 == "" {
		return m.URL
	}
	return "data:" + m.MIME + ";base64," + m.Base64
}

// ToolCall is a function the model wants to be run.
type ToolCall struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Args is the JSON text of the arguments as the model wrote it. It is "{}"
	// rather than empty, and may be invalid JSON: models do that.
	Args string `json:"args"`
	// Signature is an opaque vendor value that must go back with the call.
	Signature string `json:"signature,omitempty"`
}

// ToolResult answers a [ToolCall] by its ID.
type ToolResult struct {
	CallID string `json:"call_id"`
	// Parts are text, image or file parts.
	Parts   []Part `json:"parts"`
	IsError bool   `json:"is_error,omitempty"`
}

// Text joins the text parts of the result.
func (r *ToolResult) Text() string { return joinText(r.Parts, PartText) }

// Reasoned is thinking the model showed, or hid, and wants back unchanged.
type Reasoned struct {
	Text string `json:"text,omitempty"`
	// Summary marks Text as a vendor-made summary of the thinking.
	Summary bool `json:"summary,omitempty"`
	// Signature proves Text to the vendor that made it.
	Signature string `json:"signature,omitempty"`
	// Data is encrypted or redacted thinking.
	Data string `json:"data,omitempty"`
	ID   string `json:"id,omitempty"`
	// Format is the vendor's name for the shape of Signature and Data. A value
	// made by one vendor must not be sent to another.
	Format string `json:"format,omitempty"`
}

// Tool is a function offered to the model.
type Tool struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Schema is the JSON schema of the arguments, byte for byte as the client
	// wrote it: models read keys in order. Empty means no arguments.
	Schema json.RawMessage `json:"schema,omitempty"`
	Strict *bool           `json:"strict,omitempty"`
	// CacheTTL is as in [Part].
	CacheTTL string `json:"cache_ttl,omitempty"`
}

// ChoiceMode says whether the model must call tools.
type ChoiceMode string

// Choice modes. ChoiceDefault leaves it to the vendor.
const (
	ChoiceDefault  ChoiceMode = ""
	ChoiceNone     ChoiceMode = "none"
	ChoiceAuto     ChoiceMode = "auto"
	ChoiceRequired ChoiceMode = "required"
	ChoiceNamed    ChoiceMode = "named"
)

// ToolChoice is the tool policy of a request. Name is set for ChoiceNamed only.
type ToolChoice struct {
	Mode ChoiceMode `json:"mode,omitempty"`
	Name string     `json:"name,omitempty"`
}

// OutputKind is the form of the answer.
type OutputKind string

// Output kinds. OutputText is the default.
const (
	OutputText       OutputKind = ""
	OutputJSONObject OutputKind = "json_object"
	OutputJSONSchema OutputKind = "json_schema"
)

// Output says which form the answer must have. Name, Description, Schema and
// Strict belong to OutputJSONSchema; Schema keeps the client's bytes.
type Output struct {
	Kind        OutputKind      `json:"kind,omitempty"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

// Sampling are the generation knobs; nil means the vendor's default.
type Sampling struct {
	Temperature      *float64 `json:"temperature,omitempty"`
	TopP             *float64 `json:"top_p,omitempty"`
	TopK             *int     `json:"top_k,omitempty"`
	FrequencyPenalty *float64 `json:"frequency_penalty,omitempty"`
	PresencePenalty  *float64 `json:"presence_penalty,omitempty"`
	Seed             *int64   `json:"seed,omitempty"`
}

// Reasoning asks for thinking. Zero means the vendor's default.
type Reasoning struct {
	// Effort is none, minimal, low, medium, high, xhigh, max or "".
	Effort string `json:"effort,omitempty"`
	// MaxTokens bounds the thinking; 0 means not stated.
	MaxTokens int `json:"max_tokens,omitempty"`
	// Exclude asks for thinking that is not returned.
	Exclude bool `json:"exclude,omitempty"`
	// Enabled forces thinking on or off; nil leaves it to Effort.
	Enabled *bool `json:"enabled,omitempty"`
}

// IsZero reports whether nothing was asked for.
func (r Reasoning) IsZero() bool { return r == Reasoning{} }

// Request is a model call in no vendor's dialect. A parsed Request is not
// changed any more; adapters read it concurrently with others.
type Request struct {
	// Model is the vendor's own model ID, without our provider prefix. The
	// dialect parser leaves the client's word here; the gateway replaces it.
	Model      string     `json:"model"`
	Messages   []Message  `json:"messages"`
	Tools      []Tool     `json:"tools,omitempty"`
	ToolChoice ToolChoice `json:"tool_choice,omitzero"`
	// Parallel allows or forbids several tool calls in one turn.
	Parallel *bool  `json:"parallel,omitempty"`
	Output   Output `json:"output,omitzero"`
	// MaxOutputTokens bounds the answer; 0 means not stated.
	MaxOutputTokens int       `json:"max_output_tokens,omitempty"`
	Sampling        Sampling  `json:"sampling,omitzero"`
	Stop            []string  `json:"stop,omitempty"`
	Reasoning       Reasoning `json:"reasoning,omitzero"`
	Stream          bool      `json:"stream,omitempty"`
	// User is the client's word for its end user, sent to the vendor.
	User string `json:"user,omitempty"`
	// CacheKey groups requests that may share a prompt cache. It is sent to
	// vendors that have a field for it.
	CacheKey string `json:"cache_key,omitempty"`
	// Extra holds top-level fields the parser did not know. Dialect names the
	// dialect they belong to; adapters of another dialect drop them.
	Extra   map[string]json.RawMessage `json:"extra,omitempty"`
	Dialect string                     `json:"dialect,omitempty"`
	// Strict asks that nothing of the request is left out. It is for the gateway;
	// a vendor that passes requests on to others is told, if it has a word for it.
	Strict bool `json:"strict,omitempty"`
}

// Values of [Request.Dialect]: OpenAI chat completions, OpenAI Responses,
// Anthropic Messages and Gemini generateContent.
const (
	DialectChat      = "chat_completions"
	DialectResponses = "responses"
	DialectMessages  = "messages"
	DialectGemini    = "generate_content"
)

// Needs reports which optional abilities the request uses.
func (r *Request) Needs() (vision, audioIn, tools, structured bool) {
	tools = len(r.Tools) > 0
	structured = r.Output.Kind != OutputText
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			p := &r.Messages[i].Parts[j]
			vision = vision || p.Kind == PartImage
			audioIn = audioIn || p.Kind == PartAudio && r.Messages[i].Role == RoleUser
			tools = tools || p.Kind == PartToolCall || p.Kind == PartToolResult
			if p.Kind == PartToolResult {
				for k := range p.Result.Parts {
					vision = vision || p.Result.Parts[k].Kind == PartImage
				}
			}
		}
	}
	return vision, audioIn, tools, structured
}

// FinishReason is why the model stopped, in one vocabulary for all vendors.
type FinishReason string

// Finish reasons.
const (
	FinishStop          FinishReason = "stop"
	FinishToolCalls     FinishReason = "tool_calls"
	FinishLength        FinishReason = "length"
	FinishContentFilter FinishReason = "content_filter"
	FinishError         FinishReason = "error"
	// FinishCreditExhausted is ours: the answer was stopped where the organisation
	// had no more credits for it.
	FinishCreditExhausted FinishReason = "credit_exhausted"
)

// Response is a whole answer.
type Response struct {
	// ID is the vendor's response ID, "" if it gave none.
	ID string `json:"id,omitempty"`
	// Model is what the vendor says has answered.
	Model string `json:"model,omitempty"`
	// Created is in Unix seconds, 0 if the vendor did not say.
	Created int64 `json:"created,omitempty"`
	// Message is the answer with its parts in order; its role is assistant, so
	// it can be appended to the conversation as it is.
	Message Message      `json:"message"`
	Finish  FinishReason `json:"finish"`
	// NativeFinish is the vendor's own word.
	NativeFinish string `json:"native_finish,omitempty"`
	Usage        Usage  `json:"usage"`
	// Logprobs is the raw logprobs value of a chat completion, if asked for.
	Logprobs json.RawMessage `json:"logprobs,omitempty"`
	// Extra are top-level response fields of the vendor that we do not know,
	// kept for a client of the same dialect. They are data, not for logs.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
	// ProviderRequestID is the vendor's ID for support questions.
	ProviderRequestID string `json:"provider_request_id,omitempty"`
}

// Text joins the text parts of the answer.
func (r *Response) Text() string { return joinText(r.Message.Parts, PartText) }

// Refusal joins the refusal parts of the answer.
func (r *Response) Refusal() string { return joinText(r.Message.Parts, PartRefusal) }

// ToolCalls are the calls the model made, in order.
func (r *Response) ToolCalls() []ToolCall {
	var out []ToolCall
	for i := range r.Message.Parts {
		if c := r.Message.Parts[i].Call; c != nil {
			out = append(out, *c)
		}
	}
	return out
}

func joinText(parts []Part, kind PartKind) string {
	n, last := 0, ""
	for i := range parts {
		if parts[i].Kind == kind {
			n, last = n+1, parts[i].Text
		}
	}
	if n < 2 {
		return last
	}
	var b strings.Builder
	for i := range parts {
		if parts[i].Kind == kind {
			b.WriteString(parts[i].Text)
		}
	}
	return b.String()
}

// Listed is a model as a vendor's list shows it.
type Listed struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// ContextTokens is 0 if the vendor does not say.
	ContextTokens   int `json:"context_tokens,omitempty"`
	MaxOutputTokens int `json:"max_output_tokens,omitempty"`
	// Inputs and Outputs are modality words such as text, image, audio; nil if
	// the vendor does not say.
	Inputs  []string `json:"inputs,omitempty"`
	Outputs []string `json:"outputs,omitempty"`
	// Parameters are request parameters the vendor says the model takes.
	Parameters []string `json:"parameters,omitempty"`
}
