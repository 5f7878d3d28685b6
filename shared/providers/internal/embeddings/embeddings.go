// Package embeddings speaks the OpenAI embeddings wire format, POST
// /embeddings. A vendor's folder is a [Config] over it.
//
// Vectors are asked for as base64 where the vendor has it, which is a third of
// the size of decimal numbers and exact; both forms are read whatever was asked
// for, because compatible servers ignore the field. An answer is only accepted
// whole: one vector per input, each index once, equal lengths (the one asked
// for, if any), finite numbers. Fields that the dialect's parser did not know go
// to the vendor as they are, unless this package writes them itself.
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
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

const op = "embeddings.Embed"

// Config is a vendor's variant of the format. It is not changed once in use.
type Config struct {
	Vendor wire.Vendor
	// DimensionsField is "dimensions" unless set.
	DimensionsField string
	// Base64 says that the vendor knows encoding_format base64.
	Base64 bool
	// NoUser leaves out the client's word for its end user.
	NoUser bool
	// Tokens says that the vendor takes arrays of token numbers; otherwise they are
	// refused.
	Tokens bool
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

// Uncarried implements [model.EmbedCarrier].
func (e *Embedder) Uncarried(r *model.EmbedRequest) []string {
	if e.c.NoUser && r.User != "" {
		return []string{"user"}
	}
	return nil
}

func (e *Embedder) refuse(param, message string) error {
	return e.c.Vendor.Refuse(op, fault.InvalidRequest, param, message)
}

func (e *Embedder) encode(r *model.EmbedRequest) ([]byte, error) {
	switch {
	case r.Model == "":
		return nil, e.refuse("model", "a model name is required")
	case r.Len() == 0 || len(r.Inputs) > 0 && len(r.Tokens) > 0:
		return nil, e.refuse("input", "the input is empty")
	case r.Len() > model.MaxEmbedInputs:
		return nil, e.refuse("input", "the input has more than 2048 texts, split it")
	case len(r.Tokens) > 0 && !e.c.Tokens:
		return nil, e.refuse("input", "this provider takes no token arrays, send the texts themselves")
	case r.Dimensions < 0 || r.Dimensions > model.MaxEmbedDimensions:
		return nil, e.refuse("dimensions", "the dimensions must be between 1 and 65536")
	}
	n := 256
	for _, s := range r.Inputs {
		n += len(s) + len(s)/16 + 4
	}
	for _, list := range r.Tokens {
		n += 7*len(list) + 4
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
	for i, list := range r.Tokens {
		if len(list) == 0 {
			return nil, e.refuse("input", "the input holds an empty text")
		}
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = appendTokens(o.B, list)
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
	e.extra(&o, r)
	return o.End(), nil
}

func appendTokens(b []byte, list []int64) []byte {
	b = append(b, '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return append(b, ']')
}

// owned are the fields this package writes itself. A second value for one of
// them would leave it to the vendor which holds.
var owned = map[string]bool{"model": true, "input": true, "encoding_format": true, "dimensions": true, "user": true}

// extra passes on fields we do not know, in the order of their names.
func (e *Embedder) extra(o *jsonwire.Object, r *model.EmbedRequest) {
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		if owned[name] || name == e.c.DimensionsField && r.Dimensions > 0 || !json.Valid(r.Extra[name]) {
			continue
		}
		o.B = append(o.B, ',')
		o.B = append(append(jsonwire.AppendString(o.B, name), ':'), r.Extra[name]...)
	}
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
	if len(in.Data) != r.Len() {
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
		vector, ok := Vector(in.Data[i].Embedding)
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

// Vector reads a vector, as an array of numbers or as base64 of float32 values in
// little endian; ok is false unless it is whole: some numbers, all finite.
func Vector(raw json.RawMessage) (v []float32, ok bool) {
	if len(raw) > 0 && raw[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, false
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b)%4 != 0 || len(b) > 4*model.MaxEmbedDimensions {
			return nil, false
		}
		v = make([]float32, len(b)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	} else if bytes.Contains(raw, []byte("null")) || json.Unmarshal(raw, &v) != nil {
		// The decoder would read null as 0.
		return nil, false
	}
	for _, f := range v {
		if f != f || math.IsInf(float64(f), 0) {
			return nil, false
		}
	}
	return v, len(v) > 0 && len(v) <= model.MaxEmbedDimensions
}
