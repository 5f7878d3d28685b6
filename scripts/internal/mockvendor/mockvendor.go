// Package mockvendor simulates a model vendor and a channel vendor on this
// machine, for the demo, the tests and the benchmarks.
//
// It is our own idea of a vendor: it certifies nothing about real ones (the
// recorded transcripts and the independent simulator in the tests do that).
// What it is good for is what a foreign simulator cannot do: it keeps an exact
// journal of which key was used for which call and how far the call got, and it
// stops at scripted barriers, so that a process can be killed at a known point.
//
// It answers the OpenAI dialect below /v1 (chat completions with streams and
// tools, embeddings, transcriptions, speech, models, key checks) and, below a path for
// each, what the product uses of the channel vendors ([Environment]), with the files
// that people attach below /media. A channel vendor is one file: its routes and how it
// signs. Not imitated: moderation, rate limits unless scripted,
// tokenisation (a token is four bytes here), real speech.
package mockvendor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const maxBody = 32 << 20

// Point is where a call can be held.
type Point string

// Points in the order a call passes them.
const (
	BeforeHeaders Point = "before_headers"
	AfterChunk    Point = "after_chunk" // after the first content chunk
	BeforeUsage   Point = "before_usage"
	AfterLast     Point = "after_last"  // every byte was sent, the connection is still open
	AfterTrade    Point = "after_trade" // a code is used up, its token not yet told
)

// Call is one journalled request.
type Call struct {
	Path   string `json:"path"`
	Model  string `json:"model,omitempty"`
	Stream bool   `json:"stream,omitempty"`
	// KeyHash is the first 16 hex digits of the SHA-256 of the bearer key.
	KeyHash string `json:"key_hash,omitempty"`
	Prompt  string `json:"prompt,omitempty"` // last user text, or what was said or heard
	Chunks  int    `json:"chunks"`
	Done    bool   `json:"done"`
	Status  int    `json:"status"`
	// InputTokens and OutputTokens are what the answer declared.
	InputTokens  int `json:"input_tokens,omitempty"`
	OutputTokens int `json:"output_tokens,omitempty"`
}

// Post is one message sent through the channel API.
type Post struct {
	KeyHash  string          `json:"key_hash"`
	Channel  string          `json:"channel"`
	Text     string          `json:"text"`
	ThreadTS string          `json:"thread_ts,omitempty"`
	TS       string          `json:"ts"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	// Voice is how many bytes of speech went with it, or were it.
	Voice int `json:"voice,omitempty"`
	// Entities are a Telegram message's.
	Entities json.RawMessage `json:"entities,omitempty"`
	// Buttons are what those under it carry.
	Buttons []string `json:"buttons,omitempty"`
	// Before are the texts that were replaced by edits, oldest first.
	Before []string `json:"before,omitempty"`
}

// Sign is a sign that an answer is being made.
type Sign struct {
	KeyHash string `json:"key_hash"`
	Channel string `json:"channel"`
	Text    string `json:"text"`
	// Posts is how many messages had been posted before with the same key.
	Posts int `json:"posts"`
}

// Failure makes matching calls fail. Count 0 means until cleared.
type Failure struct {
	Status     int
	Body       string
	RetryAfter string
	Count      int
}

// Barrier holds every call that reaches its point.
type Barrier struct {
	point   Point
	reached chan struct{}
	release chan struct{}
	once    sync.Once
}

// Reached yields once per call that arrived at the barrier.
func (b *Barrier) Reached() <-chan struct{} { return b.reached }

// Release lets all held and later calls pass.
func (b *Barrier) Release() { b.once.Do(func() { close(b.release) }) }

// Server is the simulated vendor. Safe for concurrent use.
type Server struct {
	mux http.ServeMux

	mu      sync.Mutex
	tools   []ToolCall
	behind  map[string]*Barrier // by the tool whose call raises it
	keys    map[string]bool     // accepted key hashes; nil = any key
	calls   []*Call
	checks  []*Call
	posts   []Post
	limited int // edits to refuse
	signs   []Sign
	fail    *Failure
	failGet *Failure
	barrier *Barrier
	text    string
	chunks  int
	pause   time.Duration
	postErr string
	scripts map[string]Script
	files   map[string]File
	fetched map[string]int
	uploads map[string]upload
	apps    map[string]*consentApp // by client id
	// subscribed are the fields of Meta's pages.
	subscribed map[string]string
	respond    func([]Said) string

	// keysDown hides the published keys, keysAsked counts who asked for them.
	keysDown  bool
	keysAsked int
}

// New returns a vendor that accepts any key and answers every chat by repeating
// the last user text.
func New() *Server {
	s := &Server{}
	s.mux.HandleFunc("POST /v1/chat/completions", s.chat)
	s.mux.HandleFunc("POST /v1/embeddings", s.embed)
	s.mux.HandleFunc("GET /v1/models", s.models)
	s.mux.HandleFunc("GET /v1/key", s.account)
	s.mux.HandleFunc("POST /v1/audio/transcriptions", s.transcribe)
	s.mux.HandleFunc("POST /v1/audio/translations", s.transcribe)
	s.mux.HandleFunc("POST /v1/audio/speech", s.speak)
	s.mux.HandleFunc("/tool/{name}", s.tool)
	s.registerMedia()
	for _, v := range channelVendors() {
		v.serve(s)
	}
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// Hash is how the journal names a key.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// AcceptOnly makes the vendor refuse every other key with 401.
func (s *Server) AcceptOnly(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = map[string]bool{}
	for _, k := range keys {
		s.keys[Hash(k)] = true
	}
}

// AcceptAny ends AcceptOnly.
func (s *Server) AcceptAny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
}

// Script sets a fixed answer text (empty = repeat the user), how many chunks a
// stream has (0 = one per word) and the pause between them.
func (s *Server) Script(text string, chunks int, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.chunks, s.pause = text, chunks, pause
}

// Fail scripts failures of model calls; nil ends them.
func (s *Server) Fail(f *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// FailChecks scripts failures of what asks about models and keys; nil ends them.
func (s *Server) FailChecks(f *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failGet = f
}

// FailPosts makes chat.postMessage answer ok=false with this error; "" ends it.
func (s *Server) FailPosts(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postErr = code
}

// Hold installs a barrier at point and returns it. A former barrier is
// released.
func (s *Server) Hold(point Point) *Barrier {
	b := NewBarrier(point)
	s.mu.Lock()
	old := s.barrier
	s.barrier = b
	s.mu.Unlock()
	if old != nil {
		old.Release()
	}
	return b
}

// wait stops a call at point while a barrier stands there and the client is
// still connected.
func (s *Server) wait(r *http.Request, point Point) {
	s.mu.Lock()
	b := s.barrier
	s.mu.Unlock()
	if b != nil && b.point == point {
		b.hold(r)
	}
}

// Calls returns a copy of the journal of model and speech calls.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copied(s.calls)
}

// Checks returns a copy of the journal of what asked about models and keys; it
// is apart, because the system under test does so by itself at any time.
func (s *Server) Checks() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return copied(s.checks)
}

func copied(calls []*Call) []Call {
	out := make([]Call, len(calls))
	for i, c := range calls {
		out[i] = *c
	}
	return out
}

// Posts returns a copy of the sent channel messages.
func (s *Server) Posts() []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Post(nil), s.posts...)
}

// Signs returns a copy of the signs that were shown.
func (s *Server) Signs() []Sign {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sign(nil), s.signs...)
}

// Reset empties the journals and forgets the scripts of single calls.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.checks, s.posts, s.signs, s.scripts = nil, nil, nil, nil, nil
}

// begin journals a call and answers failures; ok is false if it was answered.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (c *Call, ok bool) {
	c = &Call{Path: r.URL.Path, Status: http.StatusOK}
	key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if bearer {
		c.KeyHash = Hash(key)
	}
	s.mu.Lock()
	script := &s.fail
	if r.Method == http.MethodGet {
		s.checks = append(s.checks, c)
		script = &s.failGet
	} else {
		s.calls = append(s.calls, c)
	}
	fail, refused := *script, s.keys != nil && !s.keys[c.KeyHash]
	if fail != nil && fail.Count > 0 {
		if fail.Count--; fail.Count == 0 {
			*script = nil
		}
	}
	s.mu.Unlock()
	if refused {
		s.note(c, func() { c.Status = http.StatusUnauthorized })
		// Real vendors echo the key; ours does too, so that a leak is found.
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{
			"message": "Incorrect API key provided: " + key, "type": "invalid_request_error", "code": "invalid_api_key"}})
		return c, false
	}
	if fail != nil {
		s.note(c, func() { c.Status = fail.Status })
		if fail.RetryAfter != "" {
			w.Header().Set("Retry-After", fail.RetryAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(fail.Status)
		_, _ = w.Write([]byte(fail.Body))
		return c, false
	}
	return c, true
}

// note changes a journal row under the lock.
func (s *Server) note(_ *Call, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *Server) script() (string, int, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, s.chunks, s.pause
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
