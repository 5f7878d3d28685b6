package mockvendor

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// messenger is what the product uses of the Send API
// (developers.facebook.com/docs/messenger-platform/reference/send-api and
// .../instagram/features/send-message, read 2026-11), and the host of recordings. It
// does not imitate the limits of rate, templates, who may write to whom,
// attachments by address, and which accounts a page has.
func messenger() channelVendor {
	return channelVendor{id: "messenger", apis: whatsapp().apis, sign: signMeta, serve: func(s *Server) {
		(&metaLogin{s, map[string]Tenant{}}).routes()
		s.mux.HandleFunc("GET /metacdn/{id}", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				w.WriteHeader(http.StatusBadRequest) // nobody's token belongs there
				return
			}
			s.download(w, r, r.PathValue("id"))
		})
	}}
}

// instagram is the same for accounts whose ids begin as Instagram's do.
func instagram() channelVendor {
	return channelVendor{id: "instagram", apis: whatsapp().apis, sign: signMeta, serve: func(*Server) {}}
}

// Recording is the address that a person's recording is told by; base is this
// server's own.
func (s *Server) Recording(base, id string) string {
	f, _ := s.file(id)
	if f.URL != "" {
		return f.URL
	}
	return base + "/metacdn/" + id
}

// metaMessages serves the one path of the Graph API that takes the messages of all
// three products; only WhatsApp's name theirs.
func (s *Server) metaMessages(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	var q struct {
		Product string `json:"messaging_product"`
	}
	if err == nil && json.Unmarshal(b, &q) == nil && q.Product != "" {
		s.whatsappMessage(w, r)
		return
	}
	s.directMessage(w, r)
}

// direct is a request of the Send API.
type direct struct {
	Type      string              `json:"messaging_type"`
	Recipient struct{ ID string } `json:"recipient"`
	Action    string              `json:"sender_action"`
	Message   *directSaid         `json:"message"`
	voice     []byte
}

type directSaid struct {
	Text       string          `json:"text"`
	Metadata   json.RawMessage `json:"metadata"`
	Attachment *struct {
		Type    string
		Payload struct{ ID string }
	}
}

// readDirect reads JSON, or a form with a file.
func readDirect(r *http.Request) (q direct, ok bool) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return q, json.NewDecoder(r.Body).Decode(&q) == nil
	}
	q.voice, q.Type, q.Message = part(r, "filedata"), r.FormValue("messaging_type"), &directSaid{}
	return q, json.Unmarshal([]byte(r.FormValue("recipient")), &q.Recipient) == nil && json.Unmarshal([]byte(r.FormValue("message")), q.Message) == nil
}

// ofInstagram reports whether an account is one of Instagram, by how their ids begin;
// forInstagram whether a page speaks for one, which its id does not say in truth.
func ofInstagram(account string) bool { return strings.HasPrefix(account, "1784") }

func forInstagram(page string) bool { return strings.HasPrefix(page, "991784") }

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// refused reports what the API does not take.
func (q direct) refused(account string) bool {
	m := q.Message
	switch {
	case !isDigits(q.Recipient.ID):
		return true
	case q.Action != "":
		// A sign comes alone.
		return m != nil || q.Type != "" || q.Action != "typing_on" && q.Action != "typing_off" && q.Action != "mark_seen"
	case m == nil || (m.Text == "") == (m.Attachment == nil):
		return true
	case forInstagram(account) && m.Attachment != nil:
		return m.Attachment.Type != "MEDIA_SHARE" || len(q.voice) == 0
	case ofInstagram(account), forInstagram(account):
		return len(m.Text) > 1000 || m.Attachment != nil
	case q.Type != "RESPONSE" || len(m.Metadata) > 1000 || units(m.Text) > 2000:
		return true
	}
	return m.Attachment != nil && (m.Attachment.Type != "audio" || len(q.voice) == 0)
}

// directMessage is the Send API of a page or an account.
func (s *Server) directMessage(w http.ResponseWriter, r *http.Request) {
	fail := func(status, code, subcode int) {
		answer(w, status, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": code, "error_subcode": subcode, "fbtrace_id": "A"}})
	}
	q, ok := readDirect(r)
	account, key := r.PathValue("number"), bearer(r)
	if ok && q.Message != nil && q.Message.Attachment != nil && q.Message.Attachment.Payload.ID != "" {
		q.voice = make([]byte, s.uploaded("FUP"+q.Message.Attachment.Payload.ID, key))
	}
	if !ok || !isDigits(account) || q.refused(account) {
		fail(http.StatusBadRequest, 100, 0)
		return
	}
	if q.Action != "" {
		s.sign(Sign{KeyHash: Hash(key), Channel: q.Recipient.ID, Text: q.Action})
		answer(w, http.StatusOK, map[string]any{"recipient_id": q.Recipient.ID})
		return
	}
	p := Post{Channel: q.Recipient.ID, Text: q.Message.Text, ThreadTS: account, Metadata: q.Message.Metadata, KeyHash: Hash(key), Voice: len(q.voice)}
	switch s.keep(&p, "m_sim%d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"recipient_id": q.Recipient.ID, "message_id": p.TS})
	case "invalid_auth":
		fail(http.StatusBadRequest, 190, 463)
	default:
		if ofInstagram(account) {
			fail(http.StatusBadRequest, 10, 2534022)
			return
		}
		fail(http.StatusBadRequest, 10, 2018278)
	}
}

// metaAttachment takes a recording for a message of Instagram, from a page
// (developers.facebook.com/documentation/business-messaging/instagram-messaging/features/attachment-upload,
// read 2026-11): no MP3, at most 25 MB.
func (s *Server) metaAttachment(w http.ResponseWriter, r *http.Request) {
	key, file := bearer(r), part(r, "filedata")
	var m struct {
		Attachment struct {
			Type    string
			Payload struct {
				Reusable string `json:"is_reusable"`
			}
		}
	}
	fail := func(code int) {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": code, "fbtrace_id": "A"}})
	}
	switch err := json.Unmarshal([]byte(r.FormValue("message")), &m); {
	case !s.accepts(key):
		fail(190)
	case err != nil, !forInstagram(r.PathValue("number")), r.FormValue("platform") != "instagram", m.Attachment.Type != "audio", m.Attachment.Payload.Reusable != "true",
		!bytes.HasPrefix(file, []byte("RIFF")), len(file) > 25<<20:
		fail(100)
	default:
		answer(w, http.StatusOK, map[string]any{"attachment_id": strings.TrimPrefix(s.kept(key, len(file)), "FUP")})
	}
}
