package gemini

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/embeddings"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const embedOp = "gemini.Embed"

// Embedder is the adapter of models/{model}:batchEmbedContents, which the
// vendor's own SDK uses for one text as well. It is stateless and safe for
// concurrent use.
//
// Vectors are the vendor's, in the order of the inputs: one that was shortened
// (dimensions) has not the length 1 unless the model gives it that. What a text
// is for is the vendor's own option (provider_options of the dialect):
// {"task_type", "title"}; it is never guessed. Without counterpart and left out:
// the end user's name, fields of the OpenAI dialect. Token arrays are refused.
//
// Sources: ai.google.dev/api/embeddings and @google/genai 2.32.0 (models
// batchEmbedContents, EmbedContentConfig); the task types also @ai-sdk/google
// 2.0; read 2026-11-22. Usage is documented for the cloud platform's form of the
// answer and is read where it is given.
type Embedder struct{ v wire.Vendor }

// NewEmbedder makes the adapter.
func NewEmbedder() *Embedder { return &Embedder{v: vendor()} }

// Uncarried implements [model.EmbedCarrier].
func (e *Embedder) Uncarried(r *model.EmbedRequest) []string {
	var out []string
	if r.User != "" {
		out = append(out, "user")
	}
	for name := range r.Extra {
		out = append(out, name)
	}
	return out
}

// Embed implements [model.Embedder].
func (e *Embedder) Embed(ctx context.Context, call model.EmbedCall) (*model.EmbedResult, error) {
	r := call.Request
	name, ok := modelName(r.Model)
	if !ok {
		return nil, e.refuse("model", "a model name of this provider is required, such as those that the list of models shows")
	}
	body, err := e.encode(r, name)
	if err != nil {
		return nil, err
	}
	ans, err := wire.Do(ctx, call.Target, &e.v, wire.Request{Op: embedOp, Method: http.MethodPost, Path: "/models/" + name + ":batchEmbedContents",
		ContentType: "application/json", Accept: "application/json", Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return nil, err
	}
	answer, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	out, err := e.decode(answer, r, ans.Header)
	if err != nil {
		return nil, err
	}
	out.ProviderRequestID = ans.RequestID
	return out, nil
}

func (e *Embedder) refuse(param, message string) error {
	return e.v.Refuse(embedOp, fault.InvalidRequest, param, message)
}

func (e *Embedder) encode(r *model.EmbedRequest, name string) ([]byte, error) {
	switch {
	case len(r.Tokens) > 0:
		return nil, e.refuse("input", "this provider takes no token arrays, send the texts themselves")
	case len(r.Inputs) == 0:
		return nil, e.refuse("input", "the input is empty")
	case len(r.Inputs) > model.MaxEmbedInputs:
		return nil, e.refuse("input", "the input has more than 2048 texts, split it")
	case r.Dimensions < 0 || r.Dimensions > model.MaxEmbedDimensions:
		return nil, e.refuse("dimensions", "the dimensions must be between 1 and 65536")
	}
	options, err := e.options(r.Options[taxonomy.Gemini])
	if err != nil {
		return nil, err
	}
	n := 64
	for _, s := range r.Inputs {
		n += len(s) + len(s)/16 + 192
	}
	b := append(make([]byte, 0, n), `{"requests":[`...)
	for i, s := range r.Inputs {
		if s == "" {
			return nil, e.refuse("input", "the input holds an empty text")
		}
		if i > 0 {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		o.String("model", "models/"+name)
		o.Name("content")
		o.B = append(o.B, `{"parts":[{"text":`...)
		o.B = append(jsonwire.AppendString(o.B, s), "}]}"...)
		o.StringIf("taskType", options.TaskType)
		o.StringIf("title", options.Title)
		if r.Dimensions > 0 {
			o.Int("outputDimensionality", int64(r.Dimensions))
		}
		b = o.End()
	}
	return append(b, "]}"...), nil
}

type embedOptions struct {
	TaskType string `json:"task_type"`
	Title    string `json:"title"`
}

// taskTypes are what a text can be embedded for.
func taskTypes() []string {
	return []string{"SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING", titled, "RETRIEVAL_QUERY", "QUESTION_ANSWERING",
		"FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY"}
}

const (
	// titled is the only task type that takes a title.
	titled   = "RETRIEVAL_DOCUMENT"
	maxTitle = 1024
)

// options reads the vendor's own settings strictly: a mistyped one would give
// vectors that fit no others.
func (e *Embedder) options(raw json.RawMessage) (o embedOptions, err error) {
	if len(raw) == 0 {
		return o, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	switch {
	case d.Decode(&o) != nil:
		return o, e.refuse("provider_options", "the options of this provider are task_type and title, both texts")
	case o.TaskType != "" && !slices.Contains(taskTypes(), o.TaskType):
		return o, e.refuse("provider_options", "task_type must be one of the provider's task types, such as RETRIEVAL_QUERY")
	case o.Title != "" && (o.TaskType != titled || len(o.Title) > maxTitle):
		return o, e.refuse("provider_options", "a title belongs to task_type RETRIEVAL_DOCUMENT and has at most 1024 bytes")
	}
	return o, nil
}

func (e *Embedder) decode(body []byte, r *model.EmbedRequest, h http.Header) (*model.EmbedResult, error) {
	var in struct {
		Embeddings []struct {
			Values json.RawMessage `json:"values"`
		} `json:"embeddings"`
		Usage *struct {
			Prompt *wire.Count `json:"promptTokenCount"`
		} `json:"usageMetadata"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &in) != nil {
		return nil, e.v.Malformed(embedOp)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return nil, e.v.DecideInBand(embedOp, in.Error, h)
	}
	if len(in.Embeddings) != len(r.Inputs) {
		return nil, e.v.Malformed(embedOp)
	}
	out := &model.EmbedResult{Vectors: make([][]float32, len(in.Embeddings)), Usage: model.Usage{Source: model.UsageNone}}
	dimensions := r.Dimensions
	for i := range in.Embeddings {
		v, ok := embeddings.Vector(in.Embeddings[i].Values)
		if dimensions == 0 {
			dimensions = len(v)
		}
		if !ok || len(v) != dimensions {
			return nil, e.v.Malformed(embedOp)
		}
		out.Vectors[i] = v
	}
	if in.Usage != nil && in.Usage.Prompt != nil {
		out.Usage = model.Inclusive{Input: int64(*in.Usage.Prompt)}.Split()
	}
	return out, nil
}
