package openaiembeddings

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]model.EmbedRequest{
		`{"model":"openai/m","input":"a"}`: {Model: "openai/m", Inputs: []string{"a"}, Encoding: model.EmbedFloat},
		`{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":256,"user":"u","provider_options":{"google":{"task_type":"X"}},"input_type":"query"}`: {
			Model: "m", Inputs: []string{"a", "b"}, Encoding: model.EmbedBase64, Dimensions: 256, User: "u",
			Options: map[taxonomy.Provider]json.RawMessage{taxonomy.Gemini: json.RawMessage(`{"task_type":"X"}`)},
			Extra:   map[string]json.RawMessage{"input_type": json.RawMessage(`"query"`)}},
		`{"model":"m","input":[1,2]}`:     {Model: "m", Tokens: [][]int64{{1, 2}}, Encoding: model.EmbedFloat},
		`{"model":"m","input":[[1],[2]]}`: {Model: "m", Tokens: [][]int64{{1}, {2}}, Encoding: model.EmbedFloat},
		`{"model":"m","input":"a","encoding_format":null,"dimensions":null,"user":null,"provider_options":null}`: {
			Model: "m", Inputs: []string{"a"}, Encoding: model.EmbedFloat},
	} {
		got, err := ParseRequest([]byte(text))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	with := func(rest string) string { return `{"model":"m","input":"a",` + rest + `}` }
	for text, param := range map[string]string{
		``: "", `[]`: "", `{"model":"m","input":"a"`: "", `{"model":"m","input":"a"} {}`: "", with(`"user":"a","user":"b"`): "",
		`{"input":"a"}`: "model", `{"model":1,"input":"a"}`: "model", `{"model":"` + strings.Repeat("m", 257) + `","input":"a"}`: "model",
		`{"model":"m"}`: "input", `{"model":"m","input":null}`: "input", `{"model":"m","input":{}}`: "input", `{"model":"m","input":["a",1]}`: "input", `{"model":"m","input":""}`: "input",
		with(`"encoding_format":"hex"`): "encoding_format", with(`"encoding_format":1`): "encoding_format",
		with(`"dimensions":0`): "dimensions", with(`"dimensions":65537`): "dimensions", with(`"dimensions":1.5`): "dimensions", with(`"dimensions":"2"`): "dimensions",
		with(`"user":1`): "user", with(`"user":"` + strings.Repeat("u", 257) + `"`): "user",
		with(`"provider_options":[]`): "provider_options", with(`"provider_options":{"nobody":{}}`): "provider_options", with(`"provider_options":{"gemini":1}`): "provider_options",
		with(`"provider_options":{"gemini":{},"google":{}}`): "provider_options",
	} {
		got, err := ParseRequest([]byte(text))
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != param || f.Message == "" || got != nil {
			t.Errorf("%.60s: %+v, %v; want param %q", text, got, err, param)
		}
	}
	many := make([]string, 65)
	for i := range many {
		many[i] = `"x` + string(rune('A'+i)) + `":1`
	}
	if _, err := ParseRequest([]byte(with(strings.Join(many, ",")))); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("65 unknown fields: %v", err)
	}
}

func TestEncode(t *testing.T) {
	r := &model.EmbedResult{Vectors: [][]float32{{0.1, -0.5}, {1e-30, 3}}, Usage: model.Usage{Input: 7, Source: model.UsageProvider}}
	got := string(EncodeResponse(nil, r, Shape{Model: "openai/m", BillingSource: "byok"}))
	if want := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-0.5]},{"object":"embedding","index":1,"embedding":[1e-30,3]}],` +
		`"model":"openai/m","usage":{"prompt_tokens":7,"total_tokens":7,"billing_source":"byok"}}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	r.Usage.Source = model.UsageEstimated
	got = string(EncodeResponse(nil, r, Shape{Model: "m", Encoding: model.EmbedBase64}))
	if want := `{"object":"list","data":[{"object":"embedding","index":0,"embedding":"zczMPQAAAL8="},{"object":"embedding","index":1,"embedding":"YEKiDQAAQEA="}],` +
		`"model":"m","usage":{"prompt_tokens":7,"total_tokens":7,"estimated":true}}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// FuzzEncode: both forms read back as exactly the numbers that went in.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v []float32
		for ; len(raw) >= 4; raw = raw[4:] {
			if n := math.Float32frombits(binary.LittleEndian.Uint32(raw)); n == n && !math.IsInf(float64(n), 0) {
				v = append(v, n)
			}
		}
		r := &model.EmbedResult{Vectors: [][]float32{v}}
		var floats struct {
			Data []struct{ Embedding []float32 }
		}
		var text struct{ Data []struct{ Embedding string } }
		if err := json.Unmarshal(EncodeResponse(nil, r, Shape{}), &floats); err != nil || !slices.Equal(floats.Data[0].Embedding, v) {
			t.Fatalf("%v: %v, %v", v, floats, err)
		}
		if err := json.Unmarshal(EncodeResponse(nil, r, Shape{Encoding: model.EmbedBase64}), &text); err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(text.Data[0].Embedding)
		if err != nil || len(b) != 4*len(v) {
			t.Fatalf("%v: %d bytes, %v", v, len(b), err)
		}
		for i := range v {
			if math.Float32bits(v[i]) != binary.LittleEndian.Uint32(b[4*i:]) {
				t.Fatalf("number %d of %v", i, v)
			}
		}
	})
}

// FuzzParseRequest: what is accepted is within the bounds and of one kind.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":3,"x":1}`))
	f.Add([]byte(`{"model":"m","input":[[1,2],[3]],"user":"u","provider_options":{"gemini":{}}}`))
	f.Add([]byte(`{"model":"m","input":[1,2]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRequest(text)
		if err != nil {
			if f := fault.As(err); f.Code != fault.InvalidRequest || r != nil {
				t.Fatalf("%q: %v with %+v", text, err, r)
			}
			return
		}
		if r.Model == "" || r.Len() == 0 || r.Len() > model.MaxEmbedInputs || len(r.Inputs) > 0 && len(r.Tokens) > 0 || r.Dimensions < 0 ||
			r.Dimensions > model.MaxEmbedDimensions || len(r.Extra) > 64 || r.Encoding != model.EmbedFloat && r.Encoding != model.EmbedBase64 {
			t.Fatalf("%q: %+v", text, r)
		}
		for _, known := range []string{"model", "input", "dimensions", "encoding_format", "user", "provider_options"} {
			if r.Extra[known] != nil {
				t.Fatalf("%q: %s is among the unknown fields", text, known)
			}
		}
	})
}
