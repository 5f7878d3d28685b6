package rig

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Upstream is a chat vendor that answers at once and keeps no record. Its plain
// answer has the size of a short paragraph; its stream has a fixed number of
// deltas with a pause before each but the first.
type Upstream struct {
	plain  []byte
	frames [][]byte
	pause  time.Duration
}

const (
	upstreamID  = `"id":"chatcmpl-bench","created":1763700000,"model":"sim-chat"`
	upstreamUse = `"usage":{"prompt_tokens":40,"completion_tokens":90,"total_tokens":130}`
	// maxUpstreamBody bounds what is read of a request.
	maxUpstreamBody = 1 << 20
)

// NewUpstream returns a vendor whose streams have this many deltas.
func NewUpstream(deltas int, pause time.Duration) *Upstream {
	text := bytes.Repeat([]byte("Measured words. "), 26)
	u := &Upstream{pause: pause}
	u.plain = fmt.Appendf(nil, `{%s,"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],%s}`,
		upstreamID, text, upstreamUse)
	frame := func(choices, more string) []byte {
		return fmt.Appendf(nil, "data: {%s,\"object\":\"chat.completion.chunk\",\"choices\":[%s]%s}\n\n", upstreamID, choices, more)
	}
	for i := range deltas {
		role := ""
		if i == 0 {
			role = `"role":"assistant",`
		}
		u.frames = append(u.frames, frame(fmt.Sprintf(`{"index":0,"delta":{%s"content":"word%d "},"finish_reason":null}`, role, i), ""))
	}
	last := frame(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	last = append(last, frame("", ","+upstreamUse)...)
	u.frames = append(u.frames, append(last, "data: [DONE]\n\n"...))
	return u
}

// ServeHTTP implements [http.Handler].
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxUpstreamBody))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(u.plain)))
		_, _ = w.Write(u.plain)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for i, frame := range u.frames {
		if i > 0 && u.pause > 0 {
			time.Sleep(u.pause)
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
		if flush.Flush() != nil {
			return
		}
	}
}
