package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

// outcome is what one call gave.
type outcome struct {
	events   []model.Event
	response *model.Response
	err      error
	sent     []byte
	calls    int
	// opened says that Stream returned a stream, whatever Next gave later.
	opened bool
}

func (s *Scenario) try(entry providers.Entry, x *replay.Exchange) outcome {
	chat := entry.NewChat()
	var o outcome
	if !s.Request.Stream {
		o.response, o.err = chat.Complete(context.Background(), call(s.Request, x))
	} else {
		o = collect(chat, call(s.Request, x))
	}
	o.sent, o.calls = x.Sent, x.Calls
	return o
}

func collect(chat model.Chat, c model.Call) (o outcome) {
	st, err := chat.Stream(context.Background(), c)
	if err != nil {
		return outcome{err: err}
	}
	defer func() { _ = st.Close() }()
	o.opened = true
	var b model.Builder
	for {
		ev, err := st.Next()
		if err == io.EOF {
			o.response = b.Response()
			return o
		}
		if err != nil {
			if _, again := st.Next(); again != err {
				o.err = fmt.Errorf("the error %w is not repeated, but %w", err, again)
				return o
			}
			o.err = err
			return o
		}
		b.Add(ev)
		o.events = append(o.events, ev)
	}
}

func (s *Scenario) run(t *testing.T, entry providers.Entry) {
	o := s.try(entry, &replay.Exchange{Reply: s.Reply})
	if o.calls > 1 {
		t.Fatalf("%d requests were sent", o.calls)
	}
	if strings.HasPrefix(s.Name, "error_") != (o.err != nil) {
		t.Fatalf("error %v", o.err)
	}
	s.Compare(t, "wire-request.http", o.sent)
	s.Compare(t, "events.jsonl", eventLines(o.events))
	if o.err != nil {
		s.Compare(t, "error.json", s.CheckError(t, string(entry.ID), o.err))
		s.Compare(t, "response.json", nil)
	} else {
		s.Compare(t, "response.json", replay.Pretty(o.response))
		checkResponse(t, o.response)
	}
	s.Save(t)
	checkOrder(t, o)
	checkHeld(t, o)
	if s.Section("wire-response.sse") != nil || s.Framed() {
		s.recut(t, entry, o)
		s.truncate(t, entry, o)
	}
}

func eventLines(events []model.Event) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, ev := range events {
		_ = enc.Encode(ev)
	}
	return b.Bytes()
}

func checkResponse(t *testing.T, r *model.Response) {
	t.Helper()
	if err := r.Usage.Validate(); err != nil {
		t.Error(err)
	}
	if r.Message.Role != model.RoleAssistant || r.Finish == "" {
		t.Errorf("role %q, finish %q", r.Message.Role, r.Finish)
	}
	for _, c := range r.ToolCalls() {
		if c.ID == "" || c.Name == "" || c.Args == "" {
			t.Errorf("incomplete tool call %+v", c)
		}
	}
}

// checkOrder verifies the grammar of [model.EventKind].
func checkOrder(t *testing.T, o outcome) {
	t.Helper()
	tool, open, args, finished, ended := -1, false, false, false, false
	for i, ev := range o.events {
		bad := ended || (i == 0) != (ev.Kind == model.EventStart)
		switch ev.Kind {
		case model.EventToolStart:
			bad = bad || open || ev.Index != tool+1 || ev.ID == "" || ev.Name == ""
			tool, open, args = ev.Index, true, false
		case model.EventToolArgs:
			bad = bad || !open || ev.Index != tool || ev.Text == ""
			args = true
		case model.EventToolEnd:
			bad = bad || !open || ev.Index != tool || !args
			open = false
		case model.EventFinish:
			bad = bad || finished || open || ev.Finish == ""
			finished = true
		case model.EventEnd:
			bad = bad || !finished
			ended = true
		case model.EventUsage:
			bad = bad || ev.Usage == nil
		default:
			bad = bad || finished
		}
		if bad {
			t.Errorf("event %d (%s) is out of order", i, ev.Kind)
		}
	}
	if len(o.events) > 0 && o.err == nil && !ended {
		t.Error("the stream has no end")
	}
}

// checkHeld verifies that a stream was only handed out with content in it: a
// failure before that can still be answered by another vendor.
func checkHeld(t *testing.T, o outcome) {
	t.Helper()
	for _, ev := range o.events {
		if ev.Kind != model.EventStart && ev.Kind != model.EventUsage {
			return
		}
	}
	if o.opened {
		t.Fatalf("a stream without content was handed out; it then failed with %v", o.err)
	}
}

// recut reads the same stream in every way a network can deliver it.
func (s *Scenario) recut(t *testing.T, entry providers.Entry, want outcome) {
	same := func(how string, got outcome) {
		t.Helper()
		if !reflect.DeepEqual(got.events, want.events) || fault.CodeOf(got.err) != fault.CodeOf(want.err) {
			t.Fatalf("%s: got %d events, error %v; want %d, %v", how, len(got.events), got.err, len(want.events), want.err)
		}
	}
	body := s.Reply.Body
	for i := 1; i < len(body); i++ {
		same(fmt.Sprintf("cut at %d", i), s.try(entry, &replay.Exchange{Reply: s.Reply, Pieces: [][]byte{body[:i:i], body[i:]}}))
	}
	var bytewise [][]byte
	for i := range body {
		bytewise = append(bytewise, body[i:i+1])
	}
	same("byte by byte", s.try(entry, &replay.Exchange{Reply: s.Reply, Pieces: bytewise}))
	if s.Framed() {
		return
	}
	for name, end := range map[string]string{"CRLF": "\r\n", "CR": "\r"} {
		body := bytes.ReplaceAll(body, []byte("\n"), []byte(end))
		same(name, s.try(entry, &replay.Exchange{Reply: s.Reply, Pieces: [][]byte{body}}))
		// Between other bytes it was cut above.
		for i := 1; i < len(body); i++ {
			if body[i-1] == '\r' || body[i] == '\r' {
				same(fmt.Sprintf("%s cut at %d", name, i), s.try(entry, &replay.Exchange{Reply: s.Reply, Pieces: [][]byte{body[:i:i], body[i:]}}))
			}
		}
	}
}

// truncate ends the stream after every byte, cleanly and with a broken
// connection. Nothing may be made up: the events are a beginning of the true
// ones, and without the finish event there must be an error.
func (s *Scenario) truncate(t *testing.T, entry providers.Entry, want outcome) {
	body := s.Reply.Body
	for i := range body {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
			// Inside a line both ends mean the same.
			if end != io.EOF && i > 0 && body[i-1] != '\n' && !s.Framed() {
				continue
			}
			got := s.try(entry, &replay.Exchange{Reply: s.Reply, Pieces: [][]byte{body[:i:i]}, End: end})
			checkHeld(t, got)
			finished, n := false, 0
			for _, ev := range got.events {
				if ev.Kind == model.EventEnd {
					continue
				}
				finished = finished || ev.Kind == model.EventFinish
				if n >= len(want.events) || !reflect.DeepEqual(ev, want.events[n]) {
					t.Fatalf("ended at %d: event %d was made up: %+v", i, n, ev)
				}
				n++
			}
			if got.err == nil && (!finished || end != io.EOF) && !complete(body[:i]) {
				t.Fatalf("ended at %d with %v: no error", i, end)
			}
			if c := fault.CodeOf(got.err); got.err != nil && c != fault.ProviderError && c != fault.CodeOf(want.err) {
				t.Fatalf("ended at %d: %v", i, got.err)
			}
		}
	}
}

// complete reports whether the terminal line of the format has been received;
// what follows it does not matter.
func complete(body []byte) bool {
	return bytes.Contains(body, []byte("data: [DONE]\n")) || bytes.Contains(body, []byte(`"message_stop"`)) ||
		bytes.Contains(body, []byte("event: response.completed\n")) && bytes.HasSuffix(body, []byte("}\n"))
}

// runLimits checks what has nothing to do with a vendor's format: sizes, time
// and cancellation.
func runLimits(t *testing.T, entry providers.Entry) {
	r := &model.Request{Model: "m", Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("hi")}}}}
	huge := bytes.Repeat([]byte("x"), 2<<20)
	t.Run("frame", func(t *testing.T) {
		x := &replay.Exchange{Reply: replay.SSE(append([]byte("data: "), huge...))}
		_, err := entry.NewChat().Stream(t.Context(), call(r, x))
		wantCode(t, err, fault.ProviderError)
	})
	t.Run("body", func(t *testing.T) {
		x := &replay.Exchange{Reply: replay.Reply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: huge}}
		c := call(r, x)
		c.MaxBytes = 1 << 20
		_, err := entry.NewChat().Complete(t.Context(), c)
		wantCode(t, err, fault.ProviderError)
	})
	t.Run("error body", func(t *testing.T) {
		x := &replay.Exchange{Reply: replay.Reply{Status: 401, Header: http.Header{}, Body: huge}}
		_, err := entry.NewChat().Complete(t.Context(), call(r, x))
		wantCode(t, err, fault.ProviderKeyInvalid)
	})
	t.Run("unreachable", func(t *testing.T) {
		c := model.Call{Target: replay.Target(refusing{}), Request: r}
		_, err := entry.NewChat().Complete(t.Context(), c)
		wantCode(t, err, fault.ProviderError)
		(&replay.Transcript{}).CheckError(t, string(entry.ID), err)
	})
	t.Run("silence", func(t *testing.T) { silent(t, entry, r) })
	t.Run("no model", func(t *testing.T) {
		_, err := entry.NewChat().Complete(t.Context(), call(&model.Request{Messages: r.Messages}, &replay.Exchange{}))
		wantCode(t, err, fault.InvalidRequest)
	})
	t.Run("no messages", func(t *testing.T) {
		_, err := entry.NewChat().Complete(t.Context(), call(&model.Request{Model: "m"}, &replay.Exchange{}))
		wantCode(t, err, fault.InvalidRequest)
	})
}

// refusing is a transport whose error tells everything it knows, as the real one
// does.
type refusing struct{}

// RoundTrip implements [http.RoundTripper].
func (refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial %s with %s: refused", req.URL, req.Header.Get("Authorization"))
}

// stalled is a transport that says nothing until the request is cancelled, in
// the headers or in the body.
type stalled struct{ body bool }

// RoundTrip implements [http.RoundTripper].
func (s stalled) RoundTrip(req *http.Request) (*http.Response, error) {
	if !s.body {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {req.Header.Get("Accept")}}, Request: req,
		Body: stalledBody{req.Context()}}, nil
}

type stalledBody struct{ ctx context.Context }

// Read implements [io.Reader].
func (b stalledBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, b.ctx.Err() }

// Close implements [io.Closer].
func (b stalledBody) Close() error { return nil }

func silent(t *testing.T, entry providers.Entry, r *model.Request) {
	for _, inBody := range []bool{false, true} {
		c := model.Call{Target: replay.Target(stalled{body: inBody}), Request: r}
		c.HeaderTimeout, c.IdleTimeout = time.Millisecond, time.Millisecond
		_, err := entry.NewChat().Stream(context.Background(), c)
		wantCode(t, err, fault.ProviderTimeout)

		c.HeaderTimeout, c.IdleTimeout = time.Hour, time.Hour
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err = entry.NewChat().Stream(ctx, c)
		cancel()
		wantCode(t, err, fault.ProviderTimeout)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not wrap the deadline", err)
		}

		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		_, err = entry.NewChat().Stream(ctx, c)
		if !errors.Is(err, context.Canceled) || fault.CodeOf(err) != fault.ProviderError {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func call(r *model.Request, x *replay.Exchange) model.Call {
	return model.Call{Target: replay.Target(x), Request: r}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}
