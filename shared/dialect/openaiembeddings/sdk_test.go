package openaiembeddings

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// TestOpenAISDK: the official client reads what is written here, and what it
// sends is understood.
func TestOpenAISDK(t *testing.T) {
	var got *model.EmbedRequest
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, _ := io.ReadAll(req.Body)
		r, err := ParseRequest(text)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(fault.CodeOf(err).Status())
			_, _ = w.Write(openaichat.EncodeError(nil, err, "req_1"))
			return
		}
		got = r
		out := &model.EmbedResult{Usage: model.Usage{Input: 5, Source: model.UsageProvider}}
		for range r.Len() {
			out.Vectors = append(out.Vectors, []float32{0.25, -1})
		}
		_, _ = w.Write(EncodeResponse(nil, out, Shape{Model: r.Model, Encoding: r.Encoding}))
	}))
	defer srv.Close()
	client := openai.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey("lk_test"), option.WithMaxRetries(0))
	p := openai.EmbeddingNewParams{Model: "openai/m", Dimensions: openai.Int(2), User: openai.String("u"),
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}}
	r, err := client.Embeddings.New(t.Context(), p)
	if err != nil || len(r.Data) != 2 || !reflect.DeepEqual(r.Data[1].Embedding, []float64{0.25, -1}) || r.Data[1].Index != 1 || r.Usage.PromptTokens != 5 || r.Model != "openai/m" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got.Dimensions != 2 || got.User != "u" || len(got.Inputs) != 2 {
		t.Errorf("%+v", got)
	}
	for _, in := range []openai.EmbeddingNewParamsInputUnion{{OfString: openai.String("a")}, {OfArrayOfTokens: []int64{1, 2}}, {OfArrayOfTokenArrays: [][]int64{{1}}}} {
		p.Input = in
		if r, err = client.Embeddings.New(t.Context(), p); err != nil || len(r.Data) != 1 {
			t.Errorf("%+v: %v, %v", in, r, err)
		}
	}
	p.Dimensions = openai.Int(-1)
	var api *openai.Error
	if _, err = client.Embeddings.New(t.Context(), p); !errors.As(err, &api) || api.StatusCode != http.StatusBadRequest || api.Param != "dimensions" || api.Code != "invalid_request" {
		t.Errorf("%v", err)
	}
}
