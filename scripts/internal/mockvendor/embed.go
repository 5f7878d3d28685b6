package mockvendor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"strings"
)

// EmbedDimensions is the length of vectors that nobody asked for otherwise.
const EmbedDimensions = 8

// Embedding is the vector of a text, so that tests know what must come out: whole
// numbers that say nothing about the text but which one it is.
func Embedding(text string, dimensions int) []float32 {
	out := make([]float32, dimensions)
	sum := sha256.Sum256([]byte(text))
	for i := range out {
		out[i] = float32(sum[i%len(sum)]) - 128 + 0.5
	}
	return out
}

// embed answers embeddings. A token array stands for its own JSON text.
func (s *Server) embed(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Dimensions int             `json:"dimensions"`
		Format     string          `json:"encoding_format"`
	}
	var items []json.RawMessage
	if json.NewDecoder(r.Body).Decode(&q) != nil || json.Unmarshal(q.Input, &items) != nil || q.Dimensions < 0 || q.Dimensions > 1<<14 {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "bad JSON", "type": "invalid_request_error"}})
		return
	}
	c, ok := s.begin(w, r)
	texts, in := make([]string, len(items)), 0
	for i, item := range items {
		if json.Unmarshal(item, &texts[i]) != nil {
			texts[i] = string(item)
		}
		in += tokens(texts[i])
	}
	s.note(c, func() { c.Model, c.Prompt, c.InputTokens = q.Model, strings.Join(texts, "\n"), in })
	if !ok {
		return
	}
	s.wait(r, BeforeHeaders)
	if q.Dimensions == 0 {
		q.Dimensions = EmbedDimensions
	}
	data := make([]any, len(texts))
	for i, text := range texts {
		var v any = Embedding(text, q.Dimensions)
		if q.Format == "base64" {
			v = base64Vector(Embedding(text, q.Dimensions))
		}
		data[i] = map[string]any{"object": "embedding", "index": i, "embedding": v}
	}
	answer(w, http.StatusOK, map[string]any{"object": "list", "model": q.Model, "data": data,
		"usage": map[string]any{"prompt_tokens": in, "total_tokens": in}})
	s.note(c, func() { c.Done = true })
}

func base64Vector(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, f := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
