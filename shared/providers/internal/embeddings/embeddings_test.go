package embeddings

import (
	"math"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// FuzzDecode: an answer is either refused or whole.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"data":[{"index":1,"embedding":[1,2]},{"index":0,"embedding":"AACAPwAAAEA="}],"usage":{"prompt_tokens":3},"model":"m"}`), 0)
	f.Add([]byte(`{"data":[{"embedding":[1e38]},{"embedding":[-0.5]}],"usage":{"prompt_tokens":1.5}}`), 1)
	f.Add([]byte(`{"data":[{"index":0,"embedding":"AADAfw=="},{"index":1,"embedding":[1]}]}`), 0)
	f.Add([]byte(`{"error":{"code":429},"data":null}`), 0)
	e := New(Config{Vendor: wire.Vendor{ID: "test"}})
	f.Fuzz(func(t *testing.T, body []byte, dimensions int) {
		r := &model.EmbedRequest{Inputs: []string{"a", "b"}, Dimensions: max(dimensions, 0)}
		got, err := e.decode(body, r, nil)
		if err != nil {
			if fault.As(err).Provider != "test" {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		if len(got.Vectors) != 2 || len(got.Vectors[0]) == 0 || len(got.Vectors[0]) != len(got.Vectors[1]) || got.Usage.Validate() != nil ||
			r.Dimensions > 0 && len(got.Vectors[0]) != r.Dimensions {
			t.Fatalf("%q: %+v", body, got)
		}
		for _, v := range got.Vectors {
			for _, n := range v {
				if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
					t.Fatalf("%q: %v", body, v)
				}
			}
		}
	})
}
