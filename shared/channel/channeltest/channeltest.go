// Package channeltest is the suite that every channel adapter runs.
//
// A vendor's test fills a [Harness] with its bodies and answers and calls
// [Run]. The suite holds what all vendors share: what is refused as a payload,
// that each kind is told apart, that foreign identities do not match, that a
// send is one attempt, and that its failures are classified so that a message
// which may have been posted is never sent again.
package channeltest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Event is a body with what it must parse to.
type Event struct {
	Body   string
	Kind   channel.Kind
	Reason webhook.Reason
}

// Answer is a vendor's answer to a send with what it must mean.
type Answer struct {
	Status  int
	Header  map[string]string
	Body    string
	Failure channel.Failure
}

// Harness describes the adapter under test.
type Harness struct {
	Entry channel.Entry
	// Config is an install's; Foreign is another tenant's.
	Config, Foreign webhook.Config
	Events          map[string]Event
	// Header is that of the events, where an adapter reads it.
	Header webhook.Header
	// NoEdits says that the vendor tells of no edits, NoRemovals that it does not
	// tell when the app is removed.
	NoEdits, NoRemovals bool
	// SameMarks says that the vendor's own marks are those that models write.
	SameMarks bool
	// Malformed are bodies beyond the common list that must be refused.
	Malformed map[string]string
	// To is an address that the vendor takes, and Thread one of its threads.
	To, Thread string
	// Posted is the answer to a successful send and PostedID the id in it.
	Posted   string
	PostedID string
	Answers  map[string]Answer
	// Sign is the body, SignPath the path and SignAnswer the answer of the request
	// that shows that an answer is being made to Seen.
	Seen       channel.Envelope
	Sign       string
	SignPath   string
	SignAnswer string
}

// token is easy to find should it ever leak.
const token = "canary-token-0123456789"

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	t.Run("parse", func(t *testing.T) { parse(t, h) })
	t.Run("malformed", func(t *testing.T) { malformed(t, h) })
	if h.Entry.Kept {
		t.Run("kept", func(t *testing.T) { kept(t, h) })
	} else {
		t.Run("send", func(t *testing.T) { send(t, h) })
		t.Run("connection", func(t *testing.T) { connection(t, h) })
	}
	t.Run("typing", func(t *testing.T) { typing(t, h) })
	t.Run("split", func(t *testing.T) { split(t, h) })
}

func parse(t *testing.T, h Harness) {
	kinds, removed := map[channel.Kind]bool{}, false
	for name, e := range h.Events {
		all, err := h.Entry.Adapter.Parse(webhook.Input{Body: []byte(e.Body), Header: h.Header, Config: h.Config})
		if err != nil || len(all) != 1 {
			t.Errorf("%s: %d events, %v", name, len(all), err)
			continue
		}
		in := all[0]
		if in.Kind != e.Kind || in.Reason != e.Reason {
			t.Errorf("%s: kind %q reason %q", name, in.Kind, in.Reason)
			continue
		}
		kinds[in.Kind] = true
		removed = removed || in.Reason == channel.RevokedByVendor
		if in.Kind == channel.Handshake {
			continue
		}
		if !h.Entry.SameTenant(h.Config, in.Identity) {
			t.Errorf("%s: identity %v does not match its own install", name, in.Identity)
		}
		if len(h.Entry.Identity) > 0 && h.Entry.SameTenant(h.Foreign, in.Identity) {
			t.Errorf("%s: identity %v matches another tenant", name, in.Identity)
		}
		if e := in.Envelope; in.Kind == channel.Message && (e.EventID == "" || e.Space == "" || e.Actor == "" || e.Empty() || e.IsBot || e.SelfAuthored) {
			t.Errorf("%s: incomplete envelope %+v", name, e)
		}
		if !Bounded(in.Envelope) {
			t.Errorf("%s: out of bounds or without a name that a binding can have: %+v", name, in.Envelope)
		}
	}
	for _, k := range []channel.Kind{channel.Message, channel.Ignored, channel.Edited} {
		if !kinds[k] && !h.NoEdits {
			t.Errorf("no event of kind %q in the harness", k)
		}
	}
	if !removed && !h.NoRemovals {
		t.Error("no event in the harness says that the vendor removed the app")
	}
}

func malformed(t *testing.T, h Harness) {
	bodies := map[string]string{
		"empty": "", "array": "[]", "cut": `{"type":`, "trailing": `{"type":"x"} {}`, "duplicate key": `{"type":"x","type":"y"}`,
		"duplicate key below": `{"type":"x","e":{"a":1,"a":2}}`, "invalid utf-8": "{\"type\":\"\xff\"}", "form": "payload=%7B%7D",
		"deep": `{"type":"x","a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + "}",
	}
	for name, b := range h.Malformed {
		bodies[name] = b
	}
	for name, b := range bodies {
		if _, err := h.Entry.Adapter.Parse(webhook.Input{Body: []byte(b), Header: h.Header, Config: h.Config}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serve starts a vendor that gives one answer and counts requests.
func serve(t *testing.T, a Answer) (channel.Call, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		for k, v := range a.Header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(a.Status)
		_, _ = io.WriteString(w, a.Body)
	}))
	t.Cleanup(s.Close)
	// Package egress follows nothing, so neither does this.
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString(token)}, &n
}

func (h Harness) message() channel.Outgoing {
	return channel.Outgoing{To: h.To, Thread: h.Thread, Text: "hello", TurnID: "t1", Part: 1}
}

func (h Harness) call(c channel.Call) channel.Call {
	c.Config = h.Config
	return c
}

func send(t *testing.T, h Harness) {
	c, n := serve(t, Answer{Status: 200, Body: h.Posted})
	if id, f := h.Entry.Adapter.Send(t.Context(), h.call(c), h.message()); f != nil || id != h.PostedID || n.Load() != 1 {
		t.Errorf("posted: id %q failure %+v after %d requests", id, f, n.Load())
	}
	answers := map[string]Answer{
		"500":      {Status: 500, Body: "x", Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		"503":      {Status: 503, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_503"}},
		"not json": {Status: 200, Body: "<html>login</html>", Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}},
		"endless":  {Status: 200, Body: strings.Repeat(" ", 1<<20), Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_unreadable"}},
		"429":      {Status: 429, Header: map[string]string{"Retry-After": "7"}, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 7 * time.Second}},
		"408":      {Status: 408, Body: "{}", Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_408"}},
		"499":      {Status: 499, Body: `{"error":{"status":"CANCELLED"}}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_499"}},
		"303":      {Status: 303, Header: map[string]string{"Location": "/done"}, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_303"}},
		"425":      {Status: 425, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_425"}},
		"429 dated": {Status: 429, Header: map[string]string{"Date": "Wed, 04 Mar 2026 05:06:07 GMT", "Retry-After": "Wed, 04 Mar 2026 05:07:07 GMT"},
			Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: time.Minute}},
		"429 blank": {Status: 429, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 30 * time.Second}},
	}
	for name, a := range h.Answers {
		answers[name] = a
	}
	for name, a := range answers {
		c, n := serve(t, a)
		id, f := h.Entry.Adapter.Send(t.Context(), h.call(c), h.message())
		if f == nil || *f != a.Failure || id != "" || n.Load() != 1 {
			t.Errorf("%s: id %q failure %+v after %d requests, want %+v after one", name, id, f, n.Load(), a.Failure)
		}
		if strings.Contains(fmt.Sprintf("%+v", f), token) {
			t.Errorf("%s: the failure holds the token", name)
		}
	}
}

// kept holds that what has no vendor calls nobody.
func kept(t *testing.T, h Harness) {
	c, n := serve(t, Answer{Status: 200, Body: "{}"})
	if id, f := h.Entry.Adapter.Send(t.Context(), h.call(c), h.message()); f == nil || f.Certainty != channel.Refused || f.TokenRejected || id != "" || n.Load() != 0 {
		t.Errorf("id %q failure %+v after %d requests", id, f, n.Load())
	}
}

func connection(t *testing.T, h Harness) {
	a := h.Entry.Adapter
	const url = "http://127.0.0.1:1" // a port that the system hands out to nobody
	client := &http.Client{}
	if _, f := a.Send(t.Context(), h.call(channel.Call{HTTP: client, BaseURL: url, Token: secret.FromString(token)}), h.message()); f == nil || f.Certainty != channel.NotSent {
		t.Errorf("nobody listens: %+v", f)
	}
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	if _, f := a.Send(t.Context(), h.call(channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString(token)}), h.message()); f == nil || f.Certainty != channel.Ambiguous || n.Load() != 1 {
		t.Errorf("connection cut after the request: %+v after %d requests", f, n.Load())
	}
	for name, tok := range map[string]string{"empty": "", "with a line break": "a\r\nX: y"} {
		_, f := a.Send(t.Context(), h.call(channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString(tok)}), h.message())
		if f == nil || f.Certainty != channel.Refused || !f.TokenRejected || n.Load() != 1 {
			t.Errorf("token %s: %+v", name, f)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, f := a.Send(ctx, h.call(channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString(token)}), h.message()); f == nil || f.Certainty != channel.NotSent || n.Load() != 1 {
		t.Errorf("ended context: %+v", f)
	}
}

// typing holds that showing that an answer is being made is one request without
// consequences.
func typing(t *testing.T, h Harness) {
	p, ok := h.Entry.Adapter.(interface {
		Typing(context.Context, channel.Call, channel.Envelope) (time.Duration, bool)
	})
	if !ok {
		if h.Sign != "" {
			t.Error("the harness has a sign, the adapter has none")
		}
		return
	}
	var got, path string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, path = got+string(b), r.URL.Path
		_, _ = io.WriteString(w, h.SignAnswer)
	}))
	t.Cleanup(s.Close)
	c := h.call(channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString(token)})
	if again, ok := p.Typing(t.Context(), c, h.Seen); !ok || again < 0 || again > 30*time.Second || got != h.Sign || path != h.SignPath {
		t.Errorf("%v %v: %s %s", again, ok, path, got)
	}
	for _, a := range []Answer{{Status: 500}, {Status: 429}, {Status: 401, Body: "{}"}, {Status: 200, Body: "<html>"}} {
		c, n := serve(t, a)
		if _, ok := p.Typing(t.Context(), h.call(c), h.Seen); ok || n.Load() != 1 {
			t.Errorf("%d: %v after %d requests", a.Status, ok, n.Load())
		}
	}
}

// split holds that a vendor's form is a whole one: an answer's text survives, in
// messages that are not empty.
func split(t *testing.T, h Harness) {
	a := h.Entry.Adapter
	if got := a.Split("short"); len(got) != 1 || got[0].Text != "short" {
		t.Errorf("short text: %q", got)
	}
	for _, blank := range []string{"", " \n", "\t", "\x00"} {
		if got := a.Split(blank); len(got) != 0 {
			t.Errorf("blank text: %q", got)
		}
	}
	long := strings.Repeat("word größer 😀 ", 5_000)
	var got strings.Builder
	for _, p := range a.Split(long) {
		if p.Text == "" || len(p.Format) > channel.MaxFormat {
			t.Errorf("a message of %d bytes with a note of %d", len(p.Text), len(p.Format))
		}
		got.WriteString(p.Text + " ")
	}
	if strings.Join(strings.Fields(got.String()), "") != strings.Join(strings.Fields(long), "") {
		t.Error("splitting lost text")
	}
	// One line per word, so that every vendor may cut anywhere between them.
	const lines = 1000
	source := "# Title\n\n" + strings.Repeat("- **word** and `code`\n", lines) + "\n```go\n" + strings.Repeat("x := 1\n", lines) + "```\n"
	words, codes := 0, 0
	for _, p := range a.Split(source) {
		words += strings.Count(p.Text, "word")
		codes += strings.Count(p.Text, "x := 1")
		if !h.SameMarks && strings.Contains(p.Text, "**") || strings.Contains(p.Text, "```go") {
			t.Fatalf("markup of the model's in a message: %.200q", p.Text)
		}
	}
	if words != lines || codes != lines {
		t.Errorf("%d words and %d lines of code of %d", words, codes, lines)
	}
}
