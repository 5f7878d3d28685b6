// Package openaiembeddings is the OpenAI embeddings dialect: [ParseRequest] turns
// the body of POST /v1/embeddings into a [model.EmbedRequest], [EncodeResponse]
// turns vectors into what the SDKs read. Errors have the envelope of package
// openaichat.
//
// Parsing is strict: one JSON value, no equal keys, whole numbers for counts,
// token arrays of token numbers only. Every refusal is fault.InvalidRequest and
// names the field in Param. Top-level fields that are not known are kept in
// [model.EmbedRequest.Extra] for vendors of the same dialect. One field is ours:
// provider_options, an object of settings by provider, of which a vendor is given
// its own ({"gemini": {"task_type": "RETRIEVAL_QUERY"}}).
//
// The package does no I/O and keeps no clock.
package openaiembeddings

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const op = "openaiembeddings.ParseRequest"

func bad(param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

// ParseRequest reads a body. It fails with fault.InvalidRequest.
func ParseRequest(text []byte) (*model.EmbedRequest, error) {
	f, err := body.Parse(op, text)
	if err != nil {
		return nil, err
	}
	r := &model.EmbedRequest{}
	if r.Model, err = f.String("model"); err != nil {
		return nil, err
	}
	if r.Model == "" || len(r.Model) > body.MaxName {
		return nil, bad("model", "model is required, for example \"openai/text-embedding-3-small\"")
	}
	if r.Inputs, r.Tokens, err = model.ParseEmbedInput(f.Take("input")); err != nil {
		return nil, err
	}
	format, err := f.String("encoding_format")
	if err != nil {
		return nil, err
	}
	switch r.Encoding = model.EmbedEncoding(format); r.Encoding {
	case "":
		r.Encoding = model.EmbedFloat
	case model.EmbedFloat, model.EmbedBase64:
	default:
		return nil, bad("encoding_format", "encoding_format must be float or base64")
	}
	dimensions, err := f.Int("dimensions", 1, model.MaxEmbedDimensions)
	if err != nil {
		return nil, err
	}
	if dimensions != nil {
		r.Dimensions = int(*dimensions)
	}
	if r.User, err = f.String("user"); err != nil {
		return nil, err
	}
	if len(r.User) > body.MaxName {
		return nil, bad("user", "user is longer than 256 characters")
	}
	if r.Options, err = options(f.Take("provider_options")); err != nil {
		return nil, err
	}
	if r.Extra, err = f.Rest(); err != nil {
		return nil, err
	}
	return r, nil
}

// options reads provider_options; what is inside a provider's object is for its
// adapter to judge.
func options(v json.RawMessage) (map[taxonomy.Provider]json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	var in map[string]json.RawMessage
	if json.Unmarshal(v, &in) != nil {
		return nil, bad("provider_options", "provider_options must be an object of objects by provider, such as {\"gemini\": {…}}")
	}
	out := make(map[taxonomy.Provider]json.RawMessage, len(in))
	for name, settings := range in {
		p, ok := taxonomy.ParseProvider(name)
		if !ok || settings[0] != '{' {
			return nil, bad("provider_options", "provider_options must be an object of objects by provider, such as {\"gemini\": {…}}")
		}
		if out[p] != nil {
			return nil, bad("provider_options", "provider_options names a provider twice")
		}
		out[p] = settings
	}
	return out, nil
}

// Shape is what an answer needs beside the vectors.
type Shape struct {
	// Model is the model as the client knows it.
	Model string
	// Encoding is how vectors are written; "" is [model.EmbedFloat].
	Encoding model.EmbedEncoding
	// BillingSource is put into usage as billing_source, if set.
	BillingSource string
}

// EncodeResponse appends a list of embedding objects. Numbers are written with
// the fewest digits that read back as the same float32.
func EncodeResponse(dst []byte, r *model.EmbedResult, s Shape) []byte {
	o := jsonwire.Begin(dst)
	o.String("object", "list")
	o.Name("data")
	o.B = append(o.B, '[')
	for i, v := range r.Vectors {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		d := jsonwire.Begin(o.B)
		d.String("object", "embedding")
		d.Int("index", int64(i))
		d.Name("embedding")
		if s.Encoding == model.EmbedBase64 {
			d.B = appendBase64(d.B, v)
		} else {
			d.B = appendFloats(d.B, v)
		}
		o.B = d.End()
	}
	o.B = append(o.B, ']')
	o.String("model", s.Model)
	o.Name("usage")
	u := jsonwire.Begin(o.B)
	u.Int("prompt_tokens", r.Usage.InputTotal())
	u.Int("total_tokens", r.Usage.InputTotal())
	u.StringIf("billing_source", s.BillingSource)
	if r.Usage.Source == model.UsageEstimated {
		u.Bool("estimated", true)
	}
	o.B = u.End()
	return o.End()
}

func appendFloats(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, f := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(f), 'g', -1, 32)
	}
	return append(b, ']')
}

func appendBase64(b []byte, v []float32) []byte {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"')
}
