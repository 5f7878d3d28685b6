package mockvendor

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// postMessage takes JSON or form bodies, as the real method does.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_post_type"})
		return
	}
	var p Post
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var q struct {
			Channel  string          `json:"channel"`
			Text     string          `json:"text"`
			ThreadTS string          `json:"thread_ts"`
			Metadata json.RawMessage `json:"metadata"`
		}
		if err := json.Unmarshal(body, &q); err != nil {
			answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_json"})
			return
		}
		p = Post{Channel: q.Channel, Text: q.Text, ThreadTS: q.ThreadTS, Metadata: q.Metadata}
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		p = Post{Channel: form.Get("channel"), Text: form.Get("text"), ThreadTS: form.Get("thread_ts")}
	}
	p.KeyHash = Hash(key)
	s.mu.Lock()
	failure := s.postErr
	if s.keys != nil && !s.keys[p.KeyHash] {
		failure = "invalid_auth"
	}
	if failure == "" {
		p.TS = fmt.Sprintf("1760000000.%06d", len(s.posts)+1)
		s.posts = append(s.posts, p)
	}
	s.mu.Unlock()
	if failure != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": failure})
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "channel": p.Channel, "ts": p.TS, "message": map[string]any{"text": p.Text, "ts": p.TS}})
}

func (s *Server) authTest(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"ok": true, "team_id": "T0SIM", "user_id": "U0SIM", "bot_id": "B0SIM", "team": "Simulated"})
}
