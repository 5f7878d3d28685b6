package mockvendor

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Declare says how a chat answer tells its usage.
type Declare string

// Ways of declaring usage. The zero value declares it once, at the end.
const (
	DeclareOnce Declare = ""
	DeclareNone Declare = "none"
	DeclareZero Declare = "zero"
	// DeclareTwice repeats the usage in a second event of a stream.
	DeclareTwice Declare = "twice"
	// DeclareRunning adds to every chunk of a stream what was used until then.
	DeclareRunning Declare = "running"
)

// Script is what one chat call does. It is found by the text of the call's last
// user message, so that calls that run at once can behave differently.
type Script struct {
	// Status other than 0 refuses the call with Body and Retry-After, with Only set
	// if it came with the key of that hash.
	Status     int
	Only       string
	Body       string
	RetryAfter string
	// Text is answered; empty repeats the user. A stream has Chunks parts, 0 = one
	// per word.
	Text   string
	Chunks int
	// Pace is the time between the parts of a stream.
	Pace time.Duration
	// Barrier holds the call, at AfterChunk after At chunks (1 if 0).
	Barrier *Barrier
	At      int
	// Cut drops the connection after so many chunks of a stream, or instead of the
	// second half of a whole answer; 0 = never.
	Cut    int
	Usage  Declare
	Input  int // declared instead of what was counted, 0 = counted
	Output int
}

// NewBarrier returns a barrier for [Script.Barrier].
func NewBarrier(p Point) *Barrier {
	return &Barrier{point: p, reached: make(chan struct{}, 1024), release: make(chan struct{})}
}

// Direct sets what chat calls with this last user text do.
func (s *Server) Direct(prompt string, sc Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scripts == nil {
		s.scripts = map[string]Script{}
	}
	s.scripts[prompt] = sc
}

// Said is one message of a conversation that a chat call asks with.
type Said struct{ Role, Text string }

// Respond makes f answer the chat calls that no script answers; nil, and an empty
// answer of f, repeat the user. It must be safe for concurrent use.
func (s *Server) Respond(f func(conversation []Said) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.respond = f
}

func (s *Server) responder() func([]Said) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.respond
}

// scripted returns the script of a chat call: its own, or the common one.
func (s *Server) scripted(prompt string) Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc, ok := s.scripts[prompt]; ok {
		return sc
	}
	return Script{Text: s.text, Chunks: s.chunks}
}

// declares returns what an answer says it used.
func (sc *Script) declares(in, out int) (int, int) {
	if sc.Input > 0 {
		in = sc.Input
	}
	if sc.Output > 0 {
		out = sc.Output
	}
	if sc.Usage == DeclareZero || sc.Usage == DeclareNone {
		return 0, 0
	}
	return in, out
}

// stop holds a call at a barrier of its script, and at the common one. chunk is
// the number of chunks sent.
func (s *Server) stop(r *http.Request, sc *Script, p Point, chunk int) {
	if b := sc.Barrier; b != nil && b.point == p && (p != AfterChunk || chunk == max(sc.At, 1)) {
		b.hold(r)
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // nobody is there to be answered
		}
	}
	if p != AfterChunk || chunk == 1 {
		s.wait(r, p)
	}
}

// hold stops a call until the barrier is released or the client leaves.
func (b *Barrier) hold(r *http.Request) {
	select {
	case b.reached <- struct{}{}:
	default:
	}
	select {
	case <-b.release:
	case <-r.Context().Done():
	}
}

// refuse answers a scripted failure.
func (sc *Script) refuse(w http.ResponseWriter) {
	if sc.RetryAfter != "" {
		w.Header().Set("Retry-After", sc.RetryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(sc.Status)
	_, _ = w.Write([]byte(sc.Body))
}

// times is how often a stream tells its usage.
func (sc *Script) times(wanted bool) int {
	switch {
	case !wanted || sc.Usage == DeclareNone:
		return 0
	case sc.Usage == DeclareTwice:
		return 2
	}
	return 1
}

// half sends the first half of a document and breaks off.
func half(w http.ResponseWriter, v any) {
	b, _ := json.Marshal(v)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b[:len(b)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// Asked returns a copy of the journal rows whose last user text begins with prefix.
func (s *Server) Asked(prefix string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if strings.HasPrefix(c.Prompt, prefix) {
			out = append(out, *c)
		}
	}
	return out
}
