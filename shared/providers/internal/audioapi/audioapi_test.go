package audioapi

import (
	"bytes"
	"io"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// FuzzDecode: whatever a vendor says of a recording, the counts are possible and
// the error is ours.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"text":"x","language":null,"segments":[{"text":"a","start":0,"end":1.5,"speaker_id":"s"}],"usage":{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":3264,"completion_tokens":635}}`))
	f.Add([]byte(`{"text":"x","duration":"3.5","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":40},"output_tokens":-1}}`))
	f.Add([]byte(`{"text":"","usage":{"prompt_tokens":9223372036854775807,"total_tokens":9223372036854775807,"completion_tokens":-9223372036854775808,"seconds":1e30}}`))
	v := &wire.Vendor{ID: "test"}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decode(v, body, nil)
		if err != nil {
			if fault.As(err).Provider != "test" {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		u := got.Usage
		if u.Tokens.Validate() != nil || u.AudioIn < 0 || got.Duration < 0 || u.AudioIn > 0 && u.AudioInSource != model.UsageProvider {
			t.Fatalf("%q: %+v", body, u)
		}
	})
}

// FuzzStream: a stream of transcribed text ends once, with an end or an error of ours.
func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"a\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14}}\n\n"))
	f.Add([]byte("data: {\"error\":{\"message\":\"x\"}}\n\n"))
	f.Add([]byte("data: {}\n\ndata: [DONE]\n\n"))
	v := &wire.Vendor{ID: "test"}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &textStream{v: v, ans: &wire.Answer{}, sse: sse.NewReader(bytes.NewReader(body))}
		for range len(body) + 2 {
			_, err := s.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				if fault.As(err).Provider != "test" {
					t.Fatalf("foreign error %v", err)
				}
				return
			}
		}
		t.Fatal("endless")
	})
}
