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
	if fault := slackText(p.Text); fault != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": fault})
		return
	}
	if failure := s.keep(&p, "1760000000.%06d"); failure != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": failure})
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "channel": p.Channel, "ts": p.TS, "message": map[string]any{"text": p.Text, "ts": p.TS}})
}

// keep stores a post unless the vendor is told to fail or the key is refused;
// it returns the error's word.
func (s *Server) keep(p *Post, id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys != nil && !s.keys[p.KeyHash] {
		return "invalid_auth"
	}
	if s.postErr != "" {
		return s.postErr
	}
	p.TS = fmt.Sprintf(id, len(s.posts)+1)
	s.posts = append(s.posts, *p)
	return ""
}

// telegramSaid is what the Bot API's sendMessage and editMessageText are given.
type telegramSaid struct {
	Chat     json.Number     `json:"chat_id"`
	Thread   json.Number     `json:"message_thread_id"`
	Message  json.Number     `json:"message_id"`
	Text     string          `json:"text"`
	Entities json.RawMessage `json:"entities"`
	token    string
}

func telegramFault(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]any{"ok": false, "error_code": status, "description": text})
}

// telegramSays reads it; the token is in the path. If the vendor refuses it, ok is
// false and the refusal is written.
func telegramSays(w http.ResponseWriter, r *http.Request) (q telegramSaid, ok bool) {
	q.token, ok = strings.CutPrefix(r.PathValue("bot"), "bot")
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || !ok || q.Text == "" {
		telegramFault(w, http.StatusBadRequest, "Bad Request: message text is empty")
		return q, false
	}
	if fault := telegramText(q.Text, q.Entities); fault != "" {
		telegramFault(w, http.StatusBadRequest, "Bad Request: "+fault)
		return q, false
	}
	return q, true
}

// telegramMessage is the Bot API's sendMessage.
func (s *Server) telegramMessage(w http.ResponseWriter, r *http.Request) {
	q, ok := telegramSays(w, r)
	if !ok {
		return
	}
	p := Post{Channel: q.Chat.String(), Text: q.Text, ThreadTS: q.Thread.String(), KeyHash: Hash(q.token), Entities: q.Entities}
	switch s.keep(&p, "%d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"ok": true, "result": map[string]any{"message_id": json.Number(p.TS), "date": 1760000000}})
	case "invalid_auth":
		telegramFault(w, http.StatusUnauthorized, "Unauthorized")
	default:
		telegramFault(w, http.StatusForbidden, "Forbidden: bot was blocked by the user")
	}
}

// whatsappMessage is the Cloud API's messages.
func (s *Server) whatsappMessage(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var q struct {
		Product   string `json:"messaging_product"`
		To        string `json:"to"`
		Recipient string `json:"recipient"`
		Type      string `json:"type"`
		Text      struct{ Body string }
		Audio     struct {
			ID    string
			Voice bool
		}
		Data    json.RawMessage       `json:"biz_opaque_callback_data"`
		Status  string                `json:"status"`
		Message string                `json:"message_id"`
		Typing  struct{ Type string } `json:"typing_indicator"`
	}
	fail := func(status, code int) {
		answer(w, status, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": code}})
	}
	err := json.NewDecoder(r.Body).Decode(&q)
	if err == nil && q.Status == "read" && q.Message != "" {
		s.sign(Sign{KeyHash: Hash(key), Channel: q.Message, Text: q.Typing.Type})
		answer(w, http.StatusOK, map[string]any{"success": true})
		return
	}
	if err != nil || q.Product != "whatsapp" || q.Type != "audio" && (q.Text.Body == "" || units(q.Text.Body) > 4096) || q.To+q.Recipient == "" ||
		q.Type == "audio" && (s.uploaded(q.Audio.ID, key) == 0 || !q.Audio.Voice) {
		fail(http.StatusBadRequest, 100)
		return
	}
	to := q.To
	if to == "" {
		to = q.Recipient
	}
	p := Post{Channel: to, Text: q.Text.Body, ThreadTS: r.PathValue("number"), Metadata: q.Data, KeyHash: Hash(key), Voice: s.uploaded(q.Audio.ID, key)}
	switch s.keep(&p, "wamid.sim%d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"messaging_product": "whatsapp", "messages": []any{map[string]any{"id": p.TS}}})
	case "invalid_auth":
		fail(http.StatusUnauthorized, 190)
	default:
		fail(http.StatusBadRequest, 131047)
	}
}

// sign keeps a sign and how many messages there were before it.
func (s *Server) sign(one Sign) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		if p.KeyHash == one.KeyHash {
			one.Posts++
		}
	}
	s.signs = append(s.signs, one)
}

// slackStatus is assistant.threads.setStatus.
func (s *Server) slackStatus(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var q struct {
		Channel string `json:"channel_id"`
		Thread  string `json:"thread_ts"`
		Status  string `json:"status"`
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || q.Channel == "" || q.Thread == "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_arguments"})
		return
	}
	s.sign(Sign{KeyHash: Hash(key), Channel: q.Channel + ":" + q.Thread, Text: q.Status})
	answer(w, http.StatusOK, map[string]any{"ok": true})
}

// telegramAction is the Bot API's sendChatAction.
func (s *Server) telegramAction(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.PathValue("bot"), "bot")
	var q struct {
		Chat   json.Number `json:"chat_id"`
		Action string      `json:"action"`
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || q.Chat == "" || q.Action == "" {
		answer(w, http.StatusBadRequest, map[string]any{"ok": false, "error_code": 400, "description": "Bad Request: wrong parameter action in request"})
		return
	}
	s.sign(Sign{KeyHash: Hash(token), Channel: q.Chat.String(), Text: q.Action})
	answer(w, http.StatusOK, map[string]any{"ok": true, "result": true})
}
