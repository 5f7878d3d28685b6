package mockvendor

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
)

// transcribe "recognises" audio: the text names its length, the duration comes
// from the WAV header when there is one.
func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) {
	c, ok := s.begin(w, r)
	if !ok {
		return
	}
	if err := r.ParseMultipartForm(maxBody); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "bad form", "type": "invalid_request_error"}})
		return
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "file is missing", "type": "invalid_request_error", "param": "file"}})
		return
	}
	defer f.Close()
	audio, err := io.ReadAll(f)
	if err != nil {
		return
	}
	s.note(c, func() { c.Model, c.Done = r.FormValue("model"), true })
	text, _, _ := s.script()
	if text == "" {
		text = fmt.Sprintf("hello from %d bytes of audio", len(audio))
	}
	s.note(c, func() { c.Prompt = text })
	s.wait(r, BeforeHeaders)
	seconds := wavSeconds(audio)
	switch r.FormValue("response_format") {
	case "text":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text+"\n")
	case "verbose_json":
		answer(w, http.StatusOK, map[string]any{"task": "transcribe", "language": "english", "duration": seconds, "text": text,
			"segments": []any{map[string]any{"id": 0, "start": 0, "end": seconds, "text": text}},
			"usage":    map[string]any{"type": "duration", "seconds": math.Ceil(seconds)}})
	default:
		answer(w, http.StatusOK, map[string]any{"text": text, "usage": map[string]any{"type": "duration", "seconds": math.Ceil(seconds)}})
	}
}

// wavSeconds reads the duration of a PCM WAV file, 1 for anything else.
func wavSeconds(b []byte) float64 {
	if len(b) < 44 || string(b[:4]) != "RIFF" {
		return 1
	}
	rate := binary.LittleEndian.Uint32(b[28:32])
	if rate == 0 {
		return 1
	}
	return float64(len(b)-44) / float64(rate)
}

const sampleRate = 24000

// speak answers a tone whose length follows the text, in chunks.
func (s *Server) speak(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model, Input, Voice string
		ResponseFormat      string `json:"response_format"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "bad JSON", "type": "invalid_request_error"}})
		return
	}
	c, ok := s.begin(w, r)
	s.note(c, func() { c.Model, c.Prompt = q.Model, q.Input })
	if !ok {
		return
	}
	s.wait(r, BeforeHeaders)
	pcm := Tone(len(q.Input) * 40)
	contentType := "audio/wav"
	if q.ResponseFormat == "pcm" {
		contentType, pcm = "audio/pcm", pcm[44:]
	}
	switch q.ResponseFormat {
	case "opus":
		contentType, pcm = "audio/ogg", Opus(max(len(q.Input)/15, 1), 20*len(q.Input))
	case "mp3":
		contentType, pcm = "audio/mpeg", append([]byte("ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00"), make([]byte, 20*len(q.Input))...)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(pcm)))
	for i := 0; i < len(pcm); i += 8192 {
		if _, err := w.Write(pcm[i:min(i+8192, len(pcm))]); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		s.note(c, func() { c.Chunks++ })
		if i == 0 {
			s.wait(r, AfterChunk)
		}
	}
	s.note(c, func() { c.Done = true })
}

// Tone is a WAV file: 24 kHz, 16 bit, mono, of the given length.
func Tone(milliseconds int) []byte {
	n := sampleRate * max(milliseconds, 100) / 1000
	b := make([]byte, 44, 44+2*n)
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*n))
	copy(b[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], 1)
	binary.LittleEndian.PutUint16(b[22:], 1)
	binary.LittleEndian.PutUint32(b[24:], sampleRate)
	binary.LittleEndian.PutUint32(b[28:], 2*sampleRate)
	binary.LittleEndian.PutUint16(b[32:], 2)
	binary.LittleEndian.PutUint16(b[34:], 16)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(2*n))
	for i := range n {
		v := int16(8000 * math.Sin(2*math.Pi*440*float64(i)/sampleRate))
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}
