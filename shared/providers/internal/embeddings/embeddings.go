// Package embeddings speaks the OpenAI embeddings wire format, POST
// /embeddings. A vendor's folder is a [Config] over it.
//
// Vectors are asked for as base64 where the vendor has it, which is a third of
// the size of decimal numbers and exact; both forms are read whatever was asked
// for, because compatible servers ignore the field. An answer is only accepted
// whole: one vector per input, each index once, equal lengths (the one asked
// for, if any), finite numbers.
//
// Source: openai-go v3.96.0, EmbeddingNewParams and CreateEmbeddingResponse,
// read 2026-11.
package embeddings

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

const op = "embeddings.Embed"

// maxDimensions bounds a vector; models have up to 8192.
const maxDimensions = 1 << 16

// Config is a vendor's variant of the format. It is not changed once in use.
type Config struct {
	Vendor wire.Vendor
	// DimensionsField is "dimensions" unless set.
	DimensionsField string
	// Base64 says that the vendor knows encoding_format base64.
	Base64 bool
	// NoUser leaves out the client's word for its end user.
	NoUser bool
}

// Embedder is the adapter. It is stateless and safe for concurrent use.
type Embedder struct{ c Config }

// New makes an adapter from a config.
func New(c Config) *Embedder {
	if c.DimensionsField == "" {
		c.DimensionsField = "dimensions"
	}
	return &Embedder{c}
}

// Embed implements [model.Embedder].
func (e *Embedder) Embed(ctx context.Context, call model.EmbedCall) (*model.EmbedResult, error) {
	body, err := e.encode(call.Request)
	if err != nil {
		return nil, err
	}
	ans, err := wire.Do(ctx, call.Target, &e.c.Vendor, wire.Request{Op: op, Method: http.MethodPost, Path: "/embeddings",
		ContentType: "application/json", Accept: "application/json", Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return nil, err
	}
	answer, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	r, err := e.decode(answer, call.Request, ans.Header)
	if err != nil {
		return nil, err
	}
	r.ProviderRequestID = ans.RequestID
	return r, nil
}

func (e *Embedder) refuse(param, message string) error {
	return e.c.Vendor.Refuse(op, fault.InvalidRequest, param, message)
}

func (e *Embedder) encode(r *model.EmbedRequest) ([]byte, error) {
	switch {
	case r.Model == "":
		return nil, e.refuse("model", "a model name is required")
	case len(r.Inputs) == 0:
		return nil, e.refuse("input", "the input is empty")
	case len(r.Inputs) > model.MaxEmbedInputs:
		return nil, e.refuse("input", "the input has more than 2048 texts, split it")
	case r.Dimensions < 0 || r.Dimensions > maxDimensions:
		return nil, e.refuse("dimensions", "the dimensions must be between 1 and 65536")
	}
	n := 256
	for _, s := range r.Inputs {
		n += len(s) + len(s)/16 + 4
	}
	o := jsonwire.Begin(make([]byte, 0, n))
	o.String("model", r.Model)
	o.Name("input")
	o.B = append(o.B, '[')
	for i, s := range r.Inputs {
		if s == "" {
			return nil, e.refuse("input", "the input holds an empty text")
		}
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = jsonwire.AppendString(o.B, s)
	}
	o.B = append(o.B, ']')
	if r.Dimensions > 0 {
		o.Int(e.c.DimensionsField, int64(r.Dimensions))
	}
	format := model.EmbedFloat
	if e.c.Base64 {
		format = model.EmbedBase64
	}
	o.String("encoding_format", string(format))
	if !e.c.NoUser {
		o.StringIf("user", r.User)
	}
	return o.End(), nil
}

type wireResponse struct {
	Model string `json:"model"`
	Data  []struct {
		Index     *int            `json:"index"`
		Embedding json.RawMessage `json:"embedding"`
	} `json:"data"`
	Usage struct {
		Prompt *json.Number `json:"prompt_tokens"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

func (e *Embedder) decode(body []byte, r *model.EmbedRequest, h http.Header) (*model.EmbedResult, error) {
	v := &e.c.Vendor
	var in wireResponse
	if json.Unmarshal(body, &in) != nil {
		return nil, v.Malformed(op)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return nil, v.DecideInBand(op, in.Error, h)
	}
	if len(in.Data) != len(r.Inputs) {
		return nil, v.Malformed(op)
	}
	out := &model.EmbedResult{Vectors: make([][]float32, len(in.Data)), Usage: model.Usage{Source: model.UsageNone}}
	if len(in.Model) <= 256 {
		out.Model = strings.ToValidUTF8(in.Model, "")
	}
	dimensions := r.Dimensions
	for i := range in.Data {
		at := i
		if in.Data[i].Index != nil {
			at = *in.Data[i].Index
		}
		vector, ok := floats(in.Data[i].Embedding)
		if dimensions == 0 {
			dimensions = len(vector)
		}
		if !ok || at < 0 || at >= len(out.Vectors) || out.Vectors[at] != nil || len(vector) != dimensions {
			return nil, v.Malformed(op)
		}
		out.Vectors[at] = vector
	}
	if in.Usage.Prompt != nil {
		n, err := in.Usage.Prompt.Int64()
		if err != nil {
			n = -1
		}
		out.Usage = model.Inclusive{Input: n}.Split()
	}
	return out, nil
}

// floats reads a vector in either form; ok is false unless it is whole.
func floats(raw json.RawMessage) (v []float32, ok bool) {
	if len(raw) > 0 && raw[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, false
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b)%4 != 0 || len(b) > 4*maxDimensions {
			return nil, false
		}
		v = make([]float32, len(b)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	} else if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	for _, f := range v {
		if f != f || math.IsInf(float64(f), 0) {
			return nil, false
		}
	}
	return v, len(v) > 0 && len(v) <= maxDimensions
}
