package mockvendor

import (
	"fmt"
	"unicode/utf16"
)

func units(s string) int { return len(utf16.Encode([]rune(s))) }

// keep stores a post unless the vendor is told to fail or the key is refused;
// it returns the error's word. A post that has no name yet gets one.
func (s *Server) keep(p *Post, id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys != nil && !s.keys[p.KeyHash] {
		return "invalid_auth"
	}
	if s.postErr != "" {
		return s.postErr
	}
	if p.TS == "" {
		p.TS = fmt.Sprintf(id, len(s.posts)+1)
	}
	s.posts = append(s.posts, *p)
	return ""
}

// sign keeps a sign and how many messages there were before it.
func (s *Server) sign(one Sign) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		if p.KeyHash == one.KeyHash {
			one.Posts++
		}
	}
	s.signs = append(s.signs, one)
}
