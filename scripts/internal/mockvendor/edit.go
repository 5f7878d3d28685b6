package mockvendor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// LimitEdits refuses the next n edits, whose vendors ask to come again in a second.
func (s *Server) LimitEdits(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = n
}

// edit replaces the text of a post and remembers the one before. It returns the
// error's word: keep's, or limited, message_not_found, cant_update_message and
// not_modified.
func (s *Server) edit(p Post) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limited > 0 {
		s.limited--
		return "limited"
	}
	if s.keys != nil && !s.keys[p.KeyHash] {
		return "invalid_auth"
	}
	if s.postErr != "" {
		return s.postErr
	}
	for i := range s.posts {
		switch old := &s.posts[i]; {
		case old.TS != p.TS || old.Channel != p.Channel:
		case old.KeyHash != p.KeyHash:
			return "cant_update_message"
		case old.Text == p.Text && bytes.Equal(old.Entities, p.Entities):
			return "not_modified"
		default:
			old.Before = append(old.Before, old.Text)
			old.Text, old.Entities = p.Text, p.Entities
			return ""
		}
	}
	return "message_not_found"
}

// slackUpdate is chat.update (docs.slack.dev/reference/methods/chat.update).
func (s *Server) slackUpdate(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var q struct{ Channel, TS, Text string }
	fail := func(word string) { answer(w, http.StatusOK, map[string]any{"ok": false, "error": word}) }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		fail("invalid_json")
		return
	}
	if fault := slackText(q.Text); fault != "" {
		fail(fault)
		return
	}
	if units(q.Text) > 4000 {
		fail("msg_too_long")
		return
	}
	switch word := s.edit(Post{KeyHash: Hash(key), Channel: q.Channel, TS: q.TS, Text: q.Text}); word {
	case "", "not_modified": // Slack takes the same text again
		answer(w, http.StatusOK, map[string]any{"ok": true, "channel": q.Channel, "ts": q.TS, "text": q.Text})
	case "limited":
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": "ratelimited"})
	default:
		fail(word)
	}
}

// telegramEdit is the Bot API's editMessageText (core.telegram.org/bots/api#editmessagetext).
func (s *Server) telegramEdit(w http.ResponseWriter, r *http.Request) {
	q, ok := telegramSays(w, r)
	if !ok {
		return
	}
	id, _ := strconv.Atoi(q.Message.String())
	switch s.edit(Post{KeyHash: Hash(q.token), Channel: q.Chat.String(), TS: strconv.Itoa(id), Text: q.Text, Entities: q.Entities}) {
	case "":
		answer(w, http.StatusOK, map[string]any{"ok": true, "result": map[string]any{"message_id": id, "edit_date": 1760000001}})
	case "not_modified":
		telegramFault(w, http.StatusBadRequest, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message")
	case "message_not_found":
		telegramFault(w, http.StatusBadRequest, "Bad Request: message to edit not found")
	case "cant_update_message":
		telegramFault(w, http.StatusBadRequest, "Bad Request: message can't be edited")
	case "limited":
		answer(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 1", "parameters": map[string]any{"retry_after": 1}})
	case "invalid_auth":
		telegramFault(w, http.StatusUnauthorized, "Unauthorized")
	default:
		telegramFault(w, http.StatusForbidden, "Forbidden: bot was blocked by the user")
	}
}
