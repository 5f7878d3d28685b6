package mockvendor

import (
	"bytes"
	"slices"
)

// LimitEdits refuses the next n edits, whose vendors ask to come again in a second.
func (s *Server) LimitEdits(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = n
}

// edit replaces the text of a post and remembers the one before. It returns the
// error's word: keep's, or limited, message_not_found, cant_update_message and
// not_modified.
func (s *Server) edit(p Post) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limited > 0 {
		s.limited--
		return "limited"
	}
	if s.keys != nil && !s.keys[p.KeyHash] {
		return "invalid_auth"
	}
	if s.postErr != "" {
		return s.postErr
	}
	for i := range s.posts {
		switch old := &s.posts[i]; {
		case old.TS != p.TS || old.Channel != p.Channel:
		case old.KeyHash != p.KeyHash:
			return "cant_update_message"
		case old.Text == p.Text && bytes.Equal(old.Entities, p.Entities) && slices.Equal(old.Buttons, p.Buttons):
			return "not_modified"
		default:
			old.Before = append(old.Before, old.Text)
			old.Text, old.Entities, old.Buttons = p.Text, p.Entities, p.Buttons
			return ""
		}
	}
	return "message_not_found"
}

// buttons are those under a post.
func (s *Server) buttons(ts string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		if p.TS == ts {
			return p.Buttons
		}
	}
	return nil
}
