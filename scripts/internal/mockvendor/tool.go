package mockvendor

import (
	"io"
	"net/http"
)

// ToolCall is one call of the simulated HTTP tool.
type ToolCall struct {
	Tool, Key, KeyHash, Query, Body string
}

// tool answers an organisation's HTTP tool and keeps what it was called with. Key
// is the idempotency key, KeyHash as in [Call] of the header X-Api-Key.
func (s *Server) tool(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.tools = append(s.tools, ToolCall{r.PathValue("name"), r.Header.Get("Idempotency-Key"), Hash(r.Header.Get("X-Api-Key")), r.URL.RawQuery, string(b)})
	if b := s.behind[r.PathValue("name")]; b != nil {
		s.barrier = b
	}
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"tool": r.PathValue("name"), "result": "42 pieces"})
}

// HoldBehindTool holds model calls before their headers once the tool of this name
// has been called.
func (s *Server) HoldBehindTool(name string) *Barrier {
	b := NewBarrier(BeforeHeaders)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = map[string]*Barrier{name: b}
	return b
}

// ToolCalls returns a copy of the calls of the tool of this name.
func (s *Server) ToolCalls(name string) []ToolCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ToolCall
	for _, c := range s.tools {
		if c.Tool == name {
			out = append(out, c)
		}
	}
	return out
}
