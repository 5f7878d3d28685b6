package model

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"slices"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Bounds of one [EmbedRequest]: OpenAI's limits of an array and of the tokens of
// all its inputs together (openai-go v3.96.0, EmbeddingNewParams, read 2026-11),
// and more numbers than any model's vectors have.
const (
	MaxEmbedInputs     = 2048
	MaxEmbedTokens     = 300_000
	MaxEmbedDimensions = 1 << 16
)

// EmbedEncoding is how vectors are written on the wire of the OpenAI dialect.
type EmbedEncoding string

// Encodings. EmbedBase64 is the vector's float32 values, little endian.
const (
	EmbedFloat  EmbedEncoding = "float"
	EmbedBase64 EmbedEncoding = "base64"
)

// EmbedRequest asks for one vector per input. A parsed request is not changed any
// more.
type EmbedRequest struct {
	// Model is the vendor's own model ID. The parser leaves the client's word here;
	// the gateway replaces it.
	Model string `json:"model"`
	// Exactly one of Inputs and Tokens is set. Tokens are texts that the client cut
	// into the numbers of the model's own tokeniser; a vendor without that form
	// refuses them.
	Inputs []string  `json:"inputs,omitempty"`
	Tokens [][]int64 `json:"tokens,omitempty"`
	// Dimensions is the wanted length of the vectors; 0 leaves it to the model.
	Dimensions int `json:"dimensions,omitempty"`
	// Encoding is what the client reads; "" is float. An adapter may ask the
	// vendor for the other one: [EmbedResult] holds numbers in any case.
	Encoding EmbedEncoding `json:"encoding,omitempty"`
	// User is the client's word for its end user.
	User string `json:"user,omitempty"`
	// Options are settings for one vendor each; a vendor reads its own and nothing
	// else.
	Options map[taxonomy.Provider]json.RawMessage `json:"options,omitempty"`
	// Extra holds top-level fields of the OpenAI dialect that the parser did not
	// know; adapters of another dialect leave them out.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`
}

// Len is the number of inputs, and so of vectors.
func (r *EmbedRequest) Len() int { return len(r.Inputs) + len(r.Tokens) }

// EmbedCall is one attempt at one request.
type EmbedCall struct {
	Target
	Request *EmbedRequest
}

// EmbedResult has one vector for each input, in the order of the inputs. All
// vectors have the same length, which is the one asked for, and are finite.
type EmbedResult struct {
	// Model is what the vendor says has answered.
	Model   string      `json:"model,omitempty"`
	Vectors [][]float32 `json:"vectors"`
	// Usage has input tokens only.
	Usage             Usage  `json:"usage"`
	ProviderRequestID string `json:"provider_request_id,omitempty"`
}

// Embedder turns texts into vectors. Implementations are stateless and safe for
// concurrent use, make at most one HTTP request per call and fail with the codes
// of [Chat].
type Embedder interface {
	Embed(ctx context.Context, call EmbedCall) (*EmbedResult, error)
}

// EmbedCarrier is implemented by adapters of embeddings that leave something out.
// Uncarried names the fields of a request that this vendor would not be sent, as
// clients of the OpenAI dialect write them; the others are sent or refused.
type EmbedCarrier interface {
	Uncarried(r *EmbedRequest) []string
}

// ParseEmbedInput reads the input field of the OpenAI dialect: a text, or an
// array of up to [MaxEmbedInputs] texts, or one such text as an array of token
// numbers, or an array of those; none of them empty. It fails with
// fault.InvalidRequest and param input.
func ParseEmbedInput(raw json.RawMessage) (texts []string, tokens [][]int64, err error) {
	// Not bytes.TrimSpace: JSON has four kinds of space, not seven.
	raw = bytes.Trim(raw, " \t\r\n")
	if len(raw) == 0 || raw[0] != '"' && raw[0] != '[' {
		return nil, nil, badInput("the input must be a text or an array of texts")
	}
	if raw[0] == '"' {
		texts = make([]string, 1)
		if json.Unmarshal(raw, &texts[0]) != nil {
			return nil, nil, badInput("the input is not valid JSON")
		}
		if err := filled(texts); err != nil {
			return nil, nil, err
		}
		return texts, nil, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, nil, badInput("the input is not valid JSON")
	}
	switch {
	case len(items) == 0:
		return nil, nil, badInput("the input is empty")
	case items[0][0] == '[' && len(items) <= MaxEmbedInputs:
		tokens, err = tokenLists(items)
	case isDigit(items[0][0]):
		tokens, err = tokenLists([]json.RawMessage{raw})
	case len(items) > MaxEmbedInputs:
		err = badInput("the input has more than 2048 texts, split it")
	default:
		texts = make([]string, len(items))
		for i, item := range items {
			if item[0] != '"' || json.Unmarshal(item, &texts[i]) != nil {
				return nil, nil, badInput("the input must be a text or an array of texts, or token numbers throughout")
			}
		}
		err = filled(texts)
	}
	if err != nil {
		return nil, nil, err
	}
	return texts, tokens, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func filled(texts []string) error {
	for _, s := range texts {
		if s == "" {
			return badInput("the input holds an empty text")
		}
	}
	return nil
}

// tokenLists reads arrays of token numbers.
func tokenLists(items []json.RawMessage) ([][]int64, error) {
	out, left := make([][]int64, len(items)), MaxEmbedTokens
	for i, item := range items {
		if item[0] != '[' || json.Unmarshal(item, &out[i]) != nil || slices.ContainsFunc(out[i], func(n int64) bool { return n < 0 || n > math.MaxInt32 }) {
			return nil, badInput("token arrays must hold whole numbers of a tokeniser and nothing else")
		}
		if len(out[i]) == 0 {
			return nil, badInput("the input holds an empty text")
		}
		if left -= len(out[i]); left < 0 {
			return nil, badInput("the input has more than 300000 tokens, split it")
		}
	}
	return out, nil
}

func badInput(message string) error {
	return fault.New(fault.InvalidRequest, "model.ParseEmbedInput", message).WithParam("input")
}
