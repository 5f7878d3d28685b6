package mockvendor

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// telegram is what the product uses of the Bot API, and its secret token.
func telegram() channelVendor {
	return channelVendor{id: "telegram", apis: map[string]string{"LATCHKEY_TELEGRAM_API_URL": "/telegram"},
		serve: func(s *Server) {
			s.mux.HandleFunc("POST /telegram/{bot}/sendMessage", s.telegramMessage)
			s.mux.HandleFunc("POST /telegram/{bot}/editMessageText", s.telegramEdit)
			s.mux.HandleFunc("POST /telegram/{bot}/sendChatAction", s.telegramAction)
			s.mux.HandleFunc("POST /telegram/{bot}/getFile", s.telegramFile)
			s.mux.HandleFunc("GET /telegram/file/{bot}/voice/{name}", s.telegramDownload)
			s.mux.HandleFunc("POST /telegram/{bot}/sendVoice", s.telegramVoice)
		},
		sign: func(r *http.Request, p Proof, _ []byte) { r.Header.Set("X-Telegram-Bot-Api-Secret-Token", p.Secret) },
	}
}

// telegramSaid is what the Bot API's sendMessage and editMessageText are given.
type telegramSaid struct {
	Chat     json.Number     `json:"chat_id"`
	Thread   json.Number     `json:"message_thread_id"`
	Message  json.Number     `json:"message_id"`
	Text     string          `json:"text"`
	Entities json.RawMessage `json:"entities"`
	Markup   json.RawMessage `json:"reply_markup"`
	token    string
	buttons  []string
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
	if q.buttons, ok = telegramButtons(q.Markup); !ok {
		telegramFault(w, http.StatusBadRequest, "Bad Request: BUTTON_DATA_INVALID")
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
	p := Post{Channel: q.Chat.String(), Text: q.Text, ThreadTS: q.Thread.String(), KeyHash: Hash(q.token), Entities: q.Entities, Buttons: q.buttons}
	switch s.keep(&p, "%d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"ok": true, "result": map[string]any{"message_id": json.Number(p.TS), "date": 1760000000}})
	case "invalid_auth":
		telegramFault(w, http.StatusUnauthorized, "Unauthorized")
	default:
		telegramFault(w, http.StatusForbidden, "Forbidden: bot was blocked by the user")
	}
}

// telegramEdit is the Bot API's editMessageText (core.telegram.org/bots/api#editmessagetext).
func (s *Server) telegramEdit(w http.ResponseWriter, r *http.Request) {
	q, ok := telegramSays(w, r)
	if !ok {
		return
	}
	id, _ := strconv.Atoi(q.Message.String())
	switch s.edit(Post{KeyHash: Hash(q.token), Channel: q.Chat.String(), TS: strconv.Itoa(id), Text: q.Text, Entities: q.Entities, Buttons: q.buttons}) {
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

// telegramText says what Telegram would refuse (core.telegram.org/bots/api#messageentity).
func telegramText(s string, raw json.RawMessage) string {
	if units(s) > 4096 {
		return "message is too long"
	}
	if len(raw) == 0 {
		return ""
	}
	var list []struct {
		Type, URL, Language string
		Offset, Length      int
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&list) != nil {
		return "can't parse entities"
	}
	text := utf16.Encode([]rune(s))
	low := func(at int) bool { return at < len(text) && text[at] >= 0xDC00 && text[at] < 0xE000 }
	addresses := 0
	for i, e := range list {
		if e.Offset < 0 || e.Length < 1 || e.Offset+e.Length > len(text) || low(e.Offset) || low(e.Offset+e.Length) {
			return "can't parse entities: out of the text"
		}
		if u, err := url.Parse(e.URL); e.Type == "text_link" && (err != nil || u.Host == "") {
			return "can't parse entities: no address"
		}
		addresses += len(e.URL)
		for _, o := range list[:i] {
			if apart := o.Offset+o.Length <= e.Offset || e.Offset+e.Length <= o.Offset; !apart && (e.Offset < o.Offset || e.Offset+e.Length > o.Offset+o.Length || o.Type == "pre" || o.Type == "code") {
				return "can't parse entities: overlap"
			}
		}
	}
	if len(list) > 100 || addresses+len(text) > 9500 {
		return "ENTITIES_TOO_LONG"
	}
	return ""
}

func (s *Server) telegramFile(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ID string `json:"file_id"`
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	f, ok := s.file(q.ID)
	if !ok {
		answer(w, http.StatusBadRequest, map[string]any{"ok": false, "error_code": 400, "description": "Bad Request: invalid file_id"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "result": map[string]any{"file_id": q.ID, "file_unique_id": "u" + q.ID, "file_size": len(f.Body), "file_path": "voice/" + q.ID + ".oga"}})
}

func (s *Server) telegramDownload(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.PathValue("bot"), "bot")
	if !ok || !s.accepts(token) {
		http.NotFound(w, r)
		return
	}
	s.download(w, r, strings.TrimSuffix(r.PathValue("name"), ".oga"))
}

func (s *Server) telegramVoice(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.PathValue("bot"), "bot")
	voice := part(r, "voice")
	if len(voice) == 0 || r.FormValue("chat_id") == "" || !strings.HasPrefix(string(voice), "OggS") {
		answer(w, http.StatusBadRequest, map[string]any{"ok": false, "error_code": 400, "description": "Bad Request: there is no voice in the request"})
		return
	}
	p := Post{Channel: r.FormValue("chat_id"), Text: r.FormValue("caption"), ThreadTS: r.FormValue("message_thread_id"), KeyHash: Hash(token), Voice: len(voice)}
	if s.keep(&p, "%d") != "" {
		answer(w, http.StatusForbidden, map[string]any{"ok": false, "error_code": 403, "description": "Forbidden"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "result": map[string]any{"message_id": json.Number(p.TS), "date": 1760000000}})
}
