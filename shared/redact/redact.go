// Package redact removes secrets from text by their exact values.
//
// A [Set] holds the secrets that are in use: what the vault revealed, the
// caller's own key. Everything that leaves the process as log line, error text
// or trace annotation passes through it and comes out with [secret.Mask] in
// place of every occurrence, also of the encodings a secret turns up in when
// somebody echoes it: percent-encoded (query and path rules, both cases of the
// digits), base64 and base64url at each of the three alignments, hexadecimal in
// both cases, and JSON-escaped (plain, HTML-safe, with escaped slashes, ASCII
// only, and twice). Patterns of vendors' key shapes would miss half of them and
// hit what is none.
//
// Flow: [Set.Add] keeps a copy; the encodings are made when the first text is
// looked at, so that an invocation that writes nothing pays for a copy only. A
// text is scanned once from left to right whatever the number of secrets is: its
// every eight bytes are looked up among the first eight bytes of all encodings.
// With an empty set nothing is scanned. [Set.Clear] overwrites everything; it is
// called at the end of an invocation.
//
// It is a second net below the rule that vendor text is not passed on at all.
// What it cannot see: a part of a secret, secrets shorter than [MinLength],
// other encodings (compressed, reversed, wrapped base64), and a secret that two
// calls of Write share. A secret that is an ordinary word is masked in ordinary
// text, too. Beyond [MaxSecrets] the oldest are forgotten.
package redact

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// MinLength is the length in bytes below which a secret is not looked for:
// shorter values occur in text by chance.
const MinLength = 8

// MaxSecrets bounds a set. A job that opens one credential after another keeps
// the latest ones.
const MaxSecrets = 512

// Set is the secrets in use. The zero value is ready and a nil *Set holds
// nothing and stays empty, so that tests need none. Safe for concurrent use.
type Set struct {
	// size is the number of secrets, so that an empty set costs one load.
	size atomic.Int64

	mu      sync.Mutex
	kept    [][]byte // for the life of the process
	secrets [][]byte // of this invocation, oldest first
	indexed int      // how many of kept and then secrets are in index
	index   index
}

// Add puts a copy of b into the set until the next [Set.Clear].
func (s *Set) Add(b []byte) {
	if s == nil || len(b) < MinLength {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if contains(s.kept, b) || contains(s.secrets, b) {
		return
	}
	if len(s.secrets) >= MaxSecrets {
		for _, old := range s.secrets[:MaxSecrets/2] {
			clear(old)
		}
		s.secrets = append([][]byte(nil), s.secrets[MaxSecrets/2:]...)
		s.forgetIndex()
	}
	s.secrets = append(s.secrets, bytes.Clone(b))
	s.size.Store(int64(len(s.kept) + len(s.secrets)))
}

// Keep puts a copy of b into the set for good: for secrets that the process
// holds from its start to its end.
func (s *Set) Keep(b []byte) {
	if s == nil || len(b) < MinLength {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if contains(s.kept, b) {
		return
	}
	s.kept = append(s.kept, bytes.Clone(b))
	s.forgetIndex()
	s.size.Store(int64(len(s.kept) + len(s.secrets)))
}

// Clear overwrites and forgets what [Set.Add] put in.
func (s *Set) Clear() {
	if s == nil || s.size.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.secrets {
		clear(b)
	}
	if len(s.secrets) > 0 {
		s.secrets = nil
		s.forgetIndex()
	}
	s.size.Store(int64(len(s.kept)))
}

func contains(list [][]byte, b []byte) bool {
	for _, have := range list {
		if bytes.Equal(have, b) {
			return true
		}
	}
	return false
}

func (s *Set) forgetIndex() {
	s.index.wipe()
	s.indexed = 0
}

// Bytes returns b with every occurrence masked: b itself if there is none. It
// never writes to b.
func (s *Set) Bytes(b []byte) []byte {
	if s == nil || s.size.Load() == 0 || len(b) < MinLength {
		return b
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.indexed < len(s.kept)+len(s.secrets); s.indexed++ {
		if s.indexed < len(s.kept) {
			s.index.add(s.kept[s.indexed])
		} else {
			s.index.add(s.secrets[s.indexed-len(s.kept)])
		}
	}
	return s.index.mask(b)
}

// String is [Set.Bytes] for strings.
func (s *Set) String(text string) string {
	if s == nil || s.size.Load() == 0 || len(text) < MinLength {
		return text
	}
	in := []byte(text)
	if out := s.Bytes(in); len(out) != len(in) || &out[0] != &in[0] {
		return string(out)
	}
	return text
}

// Fault returns f with message and parameter masked: f itself if nothing was
// found. The cause is not touched, because it is never shown.
func (s *Set) Fault(f *fault.Error) *fault.Error {
	if s == nil || f == nil {
		return f
	}
	message, param := s.String(f.Message), s.String(f.Param)
	if message == f.Message && param == f.Param {
		return f
	}
	masked := *f
	masked.Message, masked.Param = message, param
	return &masked
}

// Writer returns a writer that masks what is written to w. Each call of Write
// must bring whole lines, as those of package log and the handlers of log/slog
// do.
func (s *Set) Writer(w io.Writer) io.Writer { return &writer{set: s, w: w} }

type writer struct {
	set *Set
	w   io.Writer
}

// Write implements [io.Writer]. The length it returns is that of p.
func (w *writer) Write(p []byte) (int, error) {
	if _, err := w.w.Write(w.set.Bytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// index finds encodings by their first eight bytes.
type index struct {
	// seen is a filter: most positions of a text are settled by one bit.
	seen [filterWords]uint64
	// last is the latest form with these eight bytes; the others hang on it.
	last  map[uint64]int
	forms []form
}

type form struct {
	text []byte
	next int // in forms, -1 for none
}

const (
	filterBits  = 13
	filterWords = 1 << filterBits / 64
	// spread is 2^64 divided by the golden ratio (Knuth's multiplicative hash).
	spread = 0x9E3779B97F4A7C15
)

func head(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func (x *index) add(plain []byte) {
	all := forms(plain)
	if x.last == nil {
		x.last, x.forms = make(map[uint64]int, 2*len(all)), make([]form, 0, 2*len(all))
	}
	for _, text := range all {
		h := head(text)
		bit := h * spread >> (64 - filterBits)
		x.seen[bit/64] |= 1 << (bit % 64)
		next, ok := x.last[h]
		if !ok {
			next = -1
		}
		x.last[h] = len(x.forms)
		x.forms = append(x.forms, form{text, next})
	}
}

func (x *index) wipe() {
	for _, f := range x.forms {
		clear(f.text)
	}
	*x = index{}
}

// match is the length of the longest encoding that b begins with, 0 for none.
func (x *index) match(b []byte) int {
	longest := 0
	i, ok := x.last[head(b)]
	for ok && i >= 0 {
		if f := x.forms[i].text; len(f) > longest && bytes.HasPrefix(b, f) {
			longest = len(f)
		}
		i = x.forms[i].next
	}
	return longest
}

// mask replaces every stretch that encodings cover, overlapping ones as one.
func (x *index) mask(b []byte) []byte {
	var out []byte
	done := 0 // up to here b is in out
	start, end := -1, 0
	for i := 0; i <= len(b)-MinLength; i++ {
		bit := head(b[i:]) * spread >> (64 - filterBits)
		if x.seen[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		n := x.match(b[i:])
		if n == 0 {
			continue
		}
		if start >= 0 && i >= end {
			out = append(append(out, b[done:start]...), secret.Mask...)
			done, start = end, -1
		}
		if start < 0 {
			start = i
		}
		end = max(end, i+n)
	}
	if start >= 0 {
		out = append(append(out, b[done:start]...), secret.Mask...)
		done = end
	}
	if done == 0 {
		return b
	}
	return append(out, b[done:]...)
}
