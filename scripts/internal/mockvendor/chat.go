package mockvendor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type chatRequest struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	ResponseFormat struct {
		Type string `json:"type"`
	} `json:"response_format"`
	MaxTokens     int `json:"max_tokens"`
	MaxCompletion int `json:"max_completion_tokens"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// tokens counts a token per four bytes, at least one.
func tokens(s string) int { return max(1, (len(s)+3)/4) }

func (q *chatRequest) lastUser() string {
	for i := len(q.Messages) - 1; i >= 0; i-- {
		if q.Messages[i].Role != "user" {
			continue
		}
		if s, ok := plain(q.Messages[i].Content); ok {
			return s
		}
	}
	return ""
}

// plain is the text of a message's content.
func plain(content json.RawMessage) (s string, ok bool) {
	if json.Unmarshal(content, &s) == nil {
		return s, true
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return "", false
	}
	for _, p := range parts {
		s += p.Text
	}
	return s, true
}

// said lists the conversation.
func (q *chatRequest) said() []Said {
	out := make([]Said, len(q.Messages))
	for i, m := range q.Messages {
		text, _ := plain(m.Content)
		out[i] = Said{Role: m.Role, Text: text}
	}
	return out
}

func (q *chatRequest) promptTokens() int {
	n := 0
	for _, m := range q.Messages {
		n += tokens(string(m.Content))
	}
	return n
}

// callsTool is true when tools are offered, the request forces one or the user
// asks for one by writing "use tool", and no tool has answered yet.
func (q *chatRequest) callsTool() bool {
	if len(q.Tools) == 0 || len(q.Messages) == 0 || q.Messages[len(q.Messages)-1].Role == "tool" {
		return false
	}
	forced := len(q.ToolChoice) > 0 && (q.ToolChoice[0] == '{' || string(q.ToolChoice) == `"required"`)
	return forced || strings.Contains(q.lastUser(), "use tool")
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	var q chatRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "bad JSON", "type": "invalid_request_error"}})
		return
	}
	c, ok := s.begin(w, r)
	s.note(c, func() { c.Model, c.Stream, c.Prompt = q.Model, q.Stream, q.lastUser() })
	if !ok {
		return
	}
	_, _, pause := s.script()
	sc := s.scripted(q.lastUser())
	if sc.Status != 0 && (sc.Only == "" || sc.Only == c.KeyHash) {
		s.note(c, func() { c.Status = sc.Status })
		s.stop(r, &sc, BeforeHeaders, 0)
		sc.refuse(w)
		return
	}
	text := sc.Text
	if respond := s.responder(); text == "" && respond != nil {
		text = respond(q.said())
	}
	switch {
	case text != "":
	case q.ResponseFormat.Type == "json_schema":
		text = toolArguments
	default:
		text = "You said: " + q.lastUser()
	}
	in, out := sc.declares(q.promptTokens(), tokens(text))
	s.note(c, func() { c.InputTokens, c.OutputTokens = in, out })
	s.stop(r, &sc, BeforeHeaders, 0)
	if q.Stream {
		s.stream(w, r, c, &q, &sc, text, pause)
		return
	}
	message := map[string]any{"role": "assistant", "content": text}
	finish := "stop"
	if q.callsTool() {
		finish = "tool_calls"
		message = map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{toolCall(&q, 0)}}
	}
	s.stop(r, &sc, BeforeUsage, 0)
	whole := map[string]any{
		"id": "chatcmpl-sim", "object": "chat.completion", "created": 1_760_000_000, "model": q.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": finish}},
		"usage":   usage(in, out),
	}
	if sc.Usage == DeclareNone {
		delete(whole, "usage")
	}
	if sc.Cut > 0 {
		half(w, whole)
	}
	answer(w, http.StatusOK, whole)
	s.note(c, func() { c.Done = true })
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	s.stop(r, &sc, AfterLast, 0)
}

func usage(in, out int) map[string]any {
	return map[string]any{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out}
}

// toolArguments answer every tool, and every request for structured output.
const toolArguments = `{"value":"42"}`

// handoffArguments answer handoffTool, which gives a conversation to a person.
const (
	handoffTool      = "handoff"
	handoffArguments = `{"reason":"Asked for a person."}`
)

func toolCall(q *chatRequest, index int) map[string]any {
	name, arguments := q.Tools[0].Function.Name, toolArguments
	if name == handoffTool {
		arguments = handoffArguments
	}
	return map[string]any{"index": index, "id": "call_sim_1", "type": "function", "function": map[string]any{"name": name, "arguments": arguments}}
}

// pieces cuts text into n parts, or at spaces when n is 0.
func pieces(text string, n int) []string {
	if n <= 0 {
		return strings.SplitAfter(text, " ")
	}
	out := make([]string, 0, n)
	for i := range n {
		a, b := len(text)*i/n, len(text)*(i+1)/n
		if part := text[a:b]; part != "" {
			out = append(out, part)
		} else {
			out = append(out, ".")
		}
	}
	return out
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, c *Call, q *chatRequest, sc *Script, text string, pause time.Duration) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := func() {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	parts := pieces(text, sc.Chunks)
	send := func(delta map[string]any, finish any) {
		chunk := map[string]any{"id": "chatcmpl-sim", "object": "chat.completion.chunk",
			"created": 1_760_000_000, "model": q.Model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
		if sc.Usage == DeclareRunning {
			chunk["usage"] = usage(c.InputTokens, c.OutputTokens*c.Chunks/max(len(parts), 1))
		}
		b, _ := json.Marshal(chunk)
		fmt.Fprintf(w, "data: %s\n\n", b)
		flush()
	}
	send(map[string]any{"role": "assistant", "content": ""}, nil)
	finish := "stop"
	if q.callsTool() {
		finish = "tool_calls"
		send(map[string]any{"tool_calls": []any{toolCall(q, 0)}}, nil)
	} else {
		for i, part := range parts {
			if i > 0 && max(pause, sc.Pace) > 0 {
				time.Sleep(max(pause, sc.Pace))
			}
			if r.Context().Err() != nil {
				return
			}
			send(map[string]any{"content": part}, nil)
			s.note(c, func() { c.Chunks++ })
			s.stop(r, sc, AfterChunk, i+1)
			if sc.Cut == i+1 {
				panic(http.ErrAbortHandler)
			}
		}
	}
	send(map[string]any{}, finish)
	s.stop(r, sc, BeforeUsage, 0)
	for range sc.times(q.StreamOptions.IncludeUsage) {
		b, _ := json.Marshal(map[string]any{"id": "chatcmpl-sim", "object": "chat.completion.chunk", "created": 1_760_000_000,
			"model": q.Model, "choices": []any{}, "usage": usage(c.InputTokens, c.OutputTokens)})
		fmt.Fprintf(w, "data: %s\n\n", b)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
	flush()
	s.note(c, func() { c.Done = true })
	s.stop(r, sc, AfterLast, 0)
}

func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.begin(w, r); !ok {
		return
	}
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{
		map[string]any{"id": "sim-chat", "object": "model", "created": 1_760_000_000, "owned_by": "simulated"},
		map[string]any{"id": "sim-voice", "object": "model", "created": 1_760_000_000, "owned_by": "simulated"},
	}})
}

// account is how one vendor tells whether a key is good.
func (s *Server) account(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.begin(w, r); !ok {
		return
	}
	answer(w, http.StatusOK, map[string]any{"data": map[string]any{"label": "simulated", "usage": 0, "limit": nil}})
}
