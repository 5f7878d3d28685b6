package mockvendor

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// File is what a channel vendor keeps of a person's attachment.
type File struct {
	Body []byte
	Type string
	// Status other than 0 answers a download with it; Redirect with a redirect there.
	Status   int
	Redirect string
	// URL is where the vendor says that the file lies; empty = with this server.
	URL string
}

// Put keeps a file under an id, for every vendor.
func (s *Server) Put(id string, f File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files, s.fetched, s.uploads = map[string]File{}, map[string]int{}, map[string]upload{}
	}
	s.files[id] = f
}

// Fetched is how often a file was downloaded.
func (s *Server) Fetched(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched[id]
}

// Opus is the frame of an Ogg Opus recording of so many seconds, with filler bytes.
func Opus(seconds, filler int) []byte {
	page := func(position uint64, payload string) []byte {
		b := append([]byte("OggS\x00\x02"), binary.LittleEndian.AppendUint64(nil, position)...)
		return append(append(b, make([]byte, 13)...), payload...)
	}
	head := page(0, "OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00"+strings.Repeat("x", filler))
	return append(head, page(uint64(seconds)*48000, "x")...)
}

type upload struct {
	keyHash string
	bytes   int
}

func (s *Server) file(id string) (File, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[id]
	return f, ok
}

// accepts reports whether a key is one that the vendor takes.
func (s *Server) accepts(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return key != "" && (s.keys == nil || s.keys[Hash(key)])
}

// download answers with a kept file.
func (s *Server) download(w http.ResponseWriter, r *http.Request, id string) {
	f, ok := s.file(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.fetched[id]++
	s.mu.Unlock()
	switch {
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect, http.StatusFound)
	case f.Status != 0:
		w.WriteHeader(f.Status)
	default:
		w.Header().Set("Content-Type", f.Type)
		w.Header().Set("Content-Length", strconv.Itoa(len(f.Body)))
		_, _ = w.Write(f.Body)
	}
}

// where is the address that a vendor names for a file.
func (f File) where(r *http.Request, path string) string {
	if f.URL != "" {
		return f.URL
	}
	return "http://" + r.Host + path
}

func bearer(r *http.Request) string {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}

// registerMedia adds what vendors do with files.
func (s *Server) registerMedia() {
	s.mux.HandleFunc("POST /telegram/{bot}/getFile", s.telegramFile)
	s.mux.HandleFunc("GET /telegram/file/{bot}/voice/{name}", s.telegramDownload)
	s.mux.HandleFunc("POST /telegram/{bot}/sendVoice", s.telegramVoice)
	s.mux.HandleFunc("GET /meta/{id}", s.metaFile)
	s.mux.HandleFunc("POST /meta/{number}/media", s.metaUpload)
	s.mux.HandleFunc("GET /api/files.info", s.slackFile)
	s.mux.HandleFunc("GET /api/files.getUploadURLExternal", s.slackUploadURL)
	s.mux.HandleFunc("POST /media/upload/{id}", s.slackUpload)
	s.mux.HandleFunc("POST /api/files.completeUploadExternal", s.slackComplete)
	s.mux.HandleFunc("GET /media/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !s.accepts(bearer(r)) {
			// As Slack does for who may not: a page, with status 200.
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<!DOCTYPE html><title>Sign in</title>")
			return
		}
		s.download(w, r, r.PathValue("id"))
	})
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

// part reads the one file of a multipart form.
func part(r *http.Request, field string) []byte {
	f, _, err := r.FormFile(field)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	return b
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

// kept stores an upload until it is posted.
func (s *Server) kept(key string, bytes int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads == nil {
		s.uploads = map[string]upload{}
	}
	id := fmt.Sprintf("FUP%06d", len(s.uploads)+1)
	s.uploads[id] = upload{Hash(key), bytes}
	return id
}

// uploaded is the size of an upload of the same key, 0 if there is none.
func (s *Server) uploaded(id, key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uploads[id]; u.keyHash == Hash(key) {
		return u.bytes
	}
	return 0
}

func (s *Server) metaUpload(w http.ResponseWriter, r *http.Request) {
	file := part(r, "file")
	if r.FormValue("messaging_product") != "whatsapp" || !strings.HasPrefix(string(file), "OggS") || r.FormValue("type") == "" {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": 100}})
		return
	}
	answer(w, http.StatusOK, map[string]any{"id": s.kept(bearer(r), len(file))})
}

func slackError(w http.ResponseWriter, code string) {
	answer(w, http.StatusOK, map[string]any{"ok": false, "error": code})
}

func (s *Server) slackFile(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("file")
	f, ok := s.file(id)
	switch {
	case !s.accepts(bearer(r)):
		slackError(w, "invalid_auth")
	case !ok:
		slackError(w, "file_not_found")
	default:
		answer(w, http.StatusOK, map[string]any{"ok": true, "file": map[string]any{"id": id, "mimetype": f.Type, "size": len(f.Body), "url_private_download": f.where(r, "/media/"+id)}})
	}
}

// slackUploadURL takes a form only, as the real method does.
func (s *Server) slackUploadURL(w http.ResponseWriter, r *http.Request) {
	length, err := strconv.Atoi(r.FormValue("length"))
	if err != nil || length < 1 || r.FormValue("filename") == "" {
		slackError(w, "invalid_arguments")
		return
	}
	id := s.kept(bearer(r), 0)
	answer(w, http.StatusOK, map[string]any{"ok": true, "file_id": id, "upload_url": "http://" + r.Host + "/media/upload/" + id})
}

func (s *Server) slackUpload(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uploads[r.PathValue("id")]
	if err != nil || !ok || r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	u.bytes = len(b)
	s.uploads[r.PathValue("id")] = u
	_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(b)))
}

func (s *Server) slackComplete(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Files   []struct{ ID string } `json:"files"`
		Channel string                `json:"channel_id"`
		Thread  string                `json:"thread_ts"`
		Comment string                `json:"initial_comment"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Files) != 1 || s.uploaded(q.Files[0].ID, bearer(r)) == 0 {
		slackError(w, "invalid_arguments")
		return
	}
	p := Post{Channel: q.Channel, Text: q.Comment, ThreadTS: q.Thread, KeyHash: Hash(bearer(r)), Voice: s.uploaded(q.Files[0].ID, bearer(r))}
	if failure := s.keep(&p, "1760000000.%06d"); failure != "" {
		slackError(w, failure)
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "files": []any{map[string]any{"id": q.Files[0].ID}}})
}
