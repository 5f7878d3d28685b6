package mockvendor

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// line is the Messaging API of LINE (developers.line.biz/en/reference/messaging-api,
// read 2026-11), and its signature over the body.
func line() channelVendor {
	return channelVendor{id: "line", apis: map[string]string{"LATCHKEY_LINE_API_URL": "/line", "LATCHKEY_LINE_DATA_API_URL": "/linedata"},
		serve: func(s *Server) {
			l := &lineAPI{Server: s, used: map[string]bool{}, pushed: map[string]string{}}
			s.mux.HandleFunc("POST /line/v2/bot/message/reply", l.reply)
			s.mux.HandleFunc("POST /line/v2/bot/message/push", l.push)
			s.mux.HandleFunc("POST /line/v2/bot/chat/loading/start", l.loading)
			s.mux.HandleFunc("GET /linedata/v2/bot/message/{id}/content", l.content)
		},
		sign: func(r *http.Request, p Proof, body []byte) {
			r.Header.Set("X-Line-Signature", base64.StdEncoding.EncodeToString(mac(p.Secret, "", body)))
		},
	}
}

// lineAPI remembers, under the server's lock, the reply tokens that it has taken, and,
// under its own, what was pushed with which retry key
// (developers.line.biz/en/docs/messaging-api/retrying-api-request, read 2026-11-22).
type lineAPI struct {
	*Server
	used    map[string]bool
	pushing sync.Mutex
	pushed  map[string]string
}

func (s *lineAPI) content(w http.ResponseWriter, r *http.Request) {
	if !s.accepts(bearer(r)) {
		lineUnauthorized(w)
		return
	}
	s.download(w, r, r.PathValue("id"))
}

var (
	lineChat = regexp.MustCompile(`^[UCR][0-9a-f]{32}$`)
	lineKey  = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func lineFault(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"message": message})
}

func lineUnauthorized(w http.ResponseWriter) {
	lineFault(w, http.StatusUnauthorized, "Authentication failed. Confirm that the access token in the authorization header is valid.")
}

// lineBody is what a call that posts says: to is a chat or a reply token.
func lineBody(r *http.Request, to string) (where, text string, ok bool) {
	var q map[string]json.RawMessage
	var messages []struct{ Type, Text string }
	if json.NewDecoder(r.Body).Decode(&q) != nil || json.Unmarshal(q[to], &where) != nil || json.Unmarshal(q["messages"], &messages) != nil || len(messages) != 1 {
		return "", "", false
	}
	m := messages[0]
	return where, m.Text, where != "" && m.Type == "text" && strings.TrimSpace(m.Text) != "" && units(m.Text) <= 5000
}

// reply takes a reply token once. The chat stands in the token, behind a dash,
// so that the journal can tell it; the vendor's own tokens say nothing.
func (s *lineAPI) reply(w http.ResponseWriter, r *http.Request) {
	token, text, ok := lineBody(r, "replyToken")
	if !ok {
		lineFault(w, http.StatusBadRequest, "The request body has 1 error(s)")
		return
	}
	s.mu.Lock()
	_, chat, known := strings.Cut(token, "-")
	if known = known && !s.used[token]; known && s.keyOf(r) {
		s.used[token] = true
	}
	s.mu.Unlock()
	if !known {
		lineFault(w, http.StatusBadRequest, "Invalid reply token")
		return
	}
	s.post(w, r, Post{Channel: chat, Text: text, ThreadTS: token})
}

// push takes each retry key once: one whose message was refused is not used up.
func (s *lineAPI) push(w http.ResponseWriter, r *http.Request) {
	chat, text, ok := lineBody(r, "to")
	key := r.Header.Get("X-Line-Retry-Key")
	if !ok || !lineChat.MatchString(chat) || key != "" && !lineKey.MatchString(key) {
		lineFault(w, http.StatusBadRequest, "The request body has 1 error(s)")
		return
	}
	// What two requests with one key do at once is decided here: the second waits.
	s.pushing.Lock()
	defer s.pushing.Unlock()
	if id := s.pushed[key]; key != "" && id != "" {
		w.Header().Set("X-Line-Accepted-Request-Id", "simulated")
		answer(w, http.StatusConflict, map[string]any{"message": "The retry key is already accepted", "sentMessages": lineSent(id)})
		return
	}
	if id := s.post(w, r, Post{Channel: chat, Text: text}); id != "" && key != "" {
		s.pushed[key] = id
	}
}

func lineSent(id string) []any { return []any{map[string]any{"id": id, "quoteToken": "q" + id}} }

// keyOf reports whether a request's key is taken; s.mu is held.
func (s *lineAPI) keyOf(r *http.Request) bool { return s.keys == nil || s.keys[Hash(bearer(r))] }

// post posts, and returns the message's id, or none.
func (s *lineAPI) post(w http.ResponseWriter, r *http.Request, p Post) (id string) {
	p.KeyHash = Hash(bearer(r))
	switch s.keep(&p, "4612309668420%05d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"sentMessages": lineSent(p.TS)})
		return p.TS
	case "invalid_auth":
		lineUnauthorized(w)
	default:
		lineFault(w, http.StatusBadRequest, "Failed to send messages")
	}
	return ""
}

// loading shows the sign in a conversation with one person only.
func (s *lineAPI) loading(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Chat    string `json:"chatId"`
		Seconds int    `json:"loadingSeconds"`
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || !strings.HasPrefix(q.Chat, "U") || !lineChat.MatchString(q.Chat) || q.Seconds < 5 || q.Seconds > 60 || q.Seconds%5 != 0 {
		lineFault(w, http.StatusBadRequest, "The request body has 1 error(s)")
		return
	}
	if !s.accepts(bearer(r)) {
		lineUnauthorized(w)
		return
	}
	s.sign(Sign{KeyHash: Hash(bearer(r)), Channel: q.Chat, Text: "loading"})
	answer(w, http.StatusAccepted, map[string]any{})
}
