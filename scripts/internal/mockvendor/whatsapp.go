package mockvendor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
)

// whatsapp is what the product uses of the Cloud API, and Meta's signature over the
// body.
func whatsapp() channelVendor {
	return channelVendor{id: "whatsapp", apis: map[string]string{"LATCHKEY_META_API_URL": "/meta"},
		serve: func(s *Server) {
			s.mux.HandleFunc("POST /meta/{number}/messages", s.metaMessages)
			s.mux.HandleFunc("GET /meta/{id}", s.metaFile)
			s.mux.HandleFunc("POST /meta/{number}/media", s.metaUpload)
			s.mux.HandleFunc("POST /meta/{number}/message_attachments", s.metaAttachment)
		},
		sign: signMeta,
	}
}

// signMeta is the signature of all of Meta's products.
func signMeta(r *http.Request, p Proof, body []byte) {
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac(p.Secret, "", body)))
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

func (s *Server) metaFile(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	f, ok := s.file(id)
	if !ok || !s.accepts(bearer(r)) {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "simulated", "type": "GraphMethodException", "code": 100}})
		return
	}
	sum := sha256.Sum256(f.Body)
	answer(w, http.StatusOK, map[string]any{"messaging_product": "whatsapp", "id": id, "url": f.where(r, "/media/"+id), "mime_type": f.Type,
		"sha256": hex.EncodeToString(sum[:]), "file_size": len(f.Body)})
}

func (s *Server) metaUpload(w http.ResponseWriter, r *http.Request) {
	file := part(r, "file")
	if r.FormValue("messaging_product") != "whatsapp" || !strings.HasPrefix(string(file), "OggS") || r.FormValue("type") == "" {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": 100}})
		return
	}
	answer(w, http.StatusOK, map[string]any{"id": s.kept(bearer(r), len(file))})
}
