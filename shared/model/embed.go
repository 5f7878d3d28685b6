package model

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/latchkey/latchkey/shared/fault"
)

// MaxEmbedInputs bounds the inputs of one [EmbedRequest]: OpenAI's limit of an
// array (openai-go v3.96.0, EmbeddingNewParams, read 2026-11).
const MaxEmbedInputs = 2048

// EmbedEncoding is how vectors are written on the wire of the OpenAI dialect.
type EmbedEncoding string

// Encodings. EmbedBase64 is the vector's float32 values, little endian.
const (
	EmbedFloat  EmbedEncoding = "float"
	EmbedBase64 EmbedEncoding = "base64"
)

// EmbedRequest asks for one vector per input.
type EmbedRequest struct {
	// Model is the vendor's own model ID.
	Model  string   `json:"model"`
	Inputs []string `json:"inputs"`
	// Dimensions is the wanted length of the vectors; 0 leaves it to the model.
	Dimensions int `json:"dimensions,omitempty"`
	// Encoding is what the client reads; "" is float. An adapter may ask the
	// vendor for the other one: [EmbedResult] holds numbers in any case.
	Encoding EmbedEncoding `json:"encoding,omitempty"`
	// User is the client's word for its end user.
	User string `json:"user,omitempty"`
}

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

// ParseEmbedInput reads the input field of the OpenAI dialect: a text, or an
// array of up to [MaxEmbedInputs] texts, none of them empty. Arrays of token
// numbers are refused: what they mean depends on the model's own tokeniser. It
// fails with fault.InvalidRequest and param input.
func ParseEmbedInput(raw json.RawMessage) ([]string, error) {
	// Not bytes.TrimSpace: JSON has four kinds of space, not seven.
	raw = bytes.Trim(raw, " \t\r\n")
	var list []string
	switch {
	case len(raw) > 0 && raw[0] == '"':
		list = make([]string, 1)
		if json.Unmarshal(raw, &list[0]) != nil {
			return nil, badInput("the input is not valid JSON")
		}
	case len(raw) > 0 && raw[0] == '[':
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return nil, badInput("the input is not valid JSON")
		}
		if len(items) > MaxEmbedInputs {
			return nil, badInput("the input has more than 2048 texts, split it")
		}
		list = make([]string, len(items))
		for i, item := range items {
			if item[0] == '[' || item[0] == '-' || item[0] >= '0' && item[0] <= '9' {
				return nil, badInput("token arrays are not accepted, send the texts themselves")
			}
			if item[0] != '"' || json.Unmarshal(item, &list[i]) != nil {
				return nil, badInput("the input must be a text or an array of texts")
			}
		}
	default:
		return nil, badInput("the input must be a text or an array of texts")
	}
	if len(list) == 0 {
		return nil, badInput("the input is empty")
	}
	for _, s := range list {
		if s == "" {
			return nil, badInput("the input holds an empty text")
		}
	}
	return list, nil
}

func badInput(message string) error {
	return fault.New(fault.InvalidRequest, "model.ParseEmbedInput", message).WithParam("input")
}
