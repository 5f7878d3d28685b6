package mockvendor

import (
	"encoding/binary"
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
