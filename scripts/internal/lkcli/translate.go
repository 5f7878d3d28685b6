package lkcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// placeholderURL stands for an endpoint that the call does not name.
const placeholderURL = "https://your-endpoint.example/v1"

// sent is a request as the vendor would get it, its key masked.
type sent struct {
	Method  string          `json:"method"`
	URL     string          `json:"url"`
	Path    string          `json:"path"`
	Headers [][2]string     `json:"headers"`
	KeyIn   string          `json:"key_in"`
	Body    json.RawMessage `json:"body"`
}

// translation is the whole output.
type translation struct {
	Dialect string `json:"dialect"`
	Request *sent  `json:"request,omitempty"`
	// Dropped are fields of the request that make no difference to what is sent,
	// Warnings what else whoever sends it should know.
	Dropped  []string `json:"dropped,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Response and Client are a whole answer in our form and in the client's.
	Response *model.Response `json:"response,omitempty"`
	Client   json.RawMessage `json:"client,omitempty"`
	// Events and Frames are a stream in the same two forms.
	Events []model.Event   `json:"events,omitempty"`
	Frames []string        `json:"frames,omitempty"`
	Error  json.RawMessage `json:"error,omitempty"`

	dialect *dialect
}

var errNotSent = errors.New("lkcli: nothing is sent")

// wiretap takes a request instead of sending it, and answers with recorded bytes
// if there are any.
type wiretap struct {
	request *sent
	answer  []byte
	status  int
}

// RoundTrip implements [http.RoundTripper].
func (w *wiretap) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	s := &sent{Method: req.Method, URL: req.URL.String(), Path: req.URL.RequestURI(), Body: body}
	for name, values := range req.Header {
		for _, v := range values {
			s.Headers = append(s.Headers, [2]string{name, v})
		}
	}
	slices.SortFunc(s.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	w.request = s
	if w.answer == nil {
		return nil, errNotSent
	}
	return &http.Response{StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {mediaType(w.answer)}},
		Body: io.NopCloser(bytes.NewReader(w.answer)), ContentLength: int64(len(w.answer)), Request: req}, nil
}

// mediaType tells the forms of answers apart. Frames of AWS event streams begin
// with their length, of which the first byte is 0 below 16 MiB.
func mediaType(answer []byte) string {
	switch {
	case json.Valid(answer):
		return "application/json"
	case len(answer) > 0 && answer[0] == 0:
		return "application/vnd.amazon.eventstream"
	}
	return "text/event-stream"
}

// translate is lk translate.
func translate(ctx context.Context, in *invocation) error {
	entry, err := vendor(in.text("provider"))
	if err != nil {
		return err
	}
	d, err := in.dialect()
	if err != nil {
		return err
	}
	tap := &wiretap{status: http.StatusOK}
	if err := in.recordedAnswer(tap); err != nil {
		return err
	}
	req, speaks, asked, err := in.clientRequest(d, entry)
	if err != nil {
		return err
	}
	base, err := in.endpoint(entry)
	if err != nil {
		return err
	}
	key := placeholderKey(&entry)
	call := model.Call{Target: model.Target{BaseURL: base, Key: secret.FromString(key), Now: in.Now(), HTTP: &http.Client{Transport: tap,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, Request: req}
	t := &translation{Dialect: d.name, dialect: d}
	chat := entry.NewChat()
	failure := t.call(ctx, chat, call, speaks)
	var lacks []string
	if tap.request == nil && failure != nil {
		// What the model lacks the gateway takes out before the call.
		if call.Request, lacks = stripped(chat, req); len(lacks) > 0 {
			failure = t.call(ctx, chat, call, speaks)
		}
	}
	if tap.request == nil && failure != nil {
		return refused(failure)
	}
	if tap.answer == nil {
		failure = nil
	}
	if asked && tap.request != nil {
		t.Request = tap.request
		t.Request.mask(&entry, key)
		t.Dropped = append(lacks, dropped(ctx, chat, call, t.Request.Body)...)
		t.Warnings = warnings(&entry, req)
	}
	return t.show(in, failure)
}

func (t *translation) call(ctx context.Context, chat model.Chat, call model.Call, speaks speaker) error {
	if call.Request.Stream {
		return t.stream(ctx, chat, call, speaks)
	}
	return t.complete(ctx, chat, call, speaks)
}

// vendor finds a provider that has chat.
func vendor(word string) (providers.Entry, error) {
	var have []string
	for _, e := range catalog.Entries() {
		if e.NewChat != nil {
			have = append(have, string(e.ID))
		}
	}
	id, known := taxonomy.ParseProvider(word)
	if !known {
		near := nearest(word, have)
		if near != "" {
			return providers.Entry{}, wrongCall("--provider is no vendor; did you mean %s?", near)
		}
		return providers.Entry{}, wrongCall("--provider is no vendor; there are %s", strings.Join(have, ", "))
	}
	entry, ok := catalog.Lookup(id)
	if !ok || entry.NewChat == nil {
		return entry, failed("provider_not_available", "this build has no chat adapter for "+string(id)+"; it has "+strings.Join(have, ", "))
	}
	return entry, nil
}

func (in *invocation) recordedAnswer(tap *wiretap) (err error) {
	if in.has("status") {
		if !in.has("response") {
			return wrongCall("--status belongs to --response")
		}
		if tap.status, err = strconv.Atoi(in.text("status")); err != nil || tap.status < 200 || tap.status > 599 {
			return wrongCall("--status is an HTTP status from 200 to 599")
		}
	}
	if !in.has("response") {
		return nil
	}
	tap.answer, err = in.file(in.text("response"), "--response", maxInput)
	if tap.answer == nil {
		tap.answer = []byte{}
	}
	return err
}

// clientRequest reads the request. Decoding an answer needs none, so that a
// recording can be looked at alone; asked says whether there was one.
func (in *invocation) clientRequest(d *dialect, entry providers.Entry) (req *model.Request, speaks speaker, asked bool, err error) {
	name := in.text("model")
	shown := string(entry.ID) + "/" + name
	stream := in.has("stream") && in.text("stream") != "false"
	asked = in.has("file") || !in.has("response")
	if !asked {
		req = &model.Request{Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("-")}}}, Dialect: d.request}
		speaks = d.speaks(shape{name: shown, created: in.Now().Unix(), usage: true})
	} else {
		file := in.text("file")
		if file == "" {
			file = "-"
		}
		body, err := in.file(file, "the request", maxInput)
		if err != nil {
			return nil, speaks, asked, err
		}
		if req, speaks, err = d.parse(body, shape{name: shown, vendors: name, created: in.Now().Unix(), stream: stream}); err != nil {
			return nil, speaks, asked, refused(err)
		}
	}
	req.Model = name
	req.Stream = req.Stream || stream
	return req, speaks, asked, nil
}

// withModel adds the model to a request that names none, because --model does.
// It leaves all other bytes alone: models see the order of a schema's keys.
func withModel(body []byte, name string) []byte {
	var fields map[string]json.RawMessage
	if jsonwire.Check(body) != nil || json.Unmarshal(body, &fields) != nil || fields["model"] != nil || len(fields) == 0 {
		return body
	}
	head, rest, _ := bytes.Cut(body, []byte("{"))
	out := append(bytes.Clone(head), `{"model":`...)
	out = append(jsonwire.AppendString(out, name), ',')
	return append(out, rest...)
}

func (in *invocation) endpoint(entry providers.Entry) (string, error) {
	base := strings.TrimRight(in.text("base-url"), "/")
	if base == "" {
		base = entry.DefaultBaseURL
	}
	if base == "" {
		base = placeholderURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil {
		return "", wrongCall("--base-url must be like https://host/v1")
	}
	return base, nil
}

// refused turns an error of the product's own packages into the tool's.
func refused(err error) error {
	f := fault.As(err)
	return &failure{Message: f.Message, Type: "translation_error", Code: string(f.Code), Param: f.Param, Retryable: f.Code.Retryable(),
		RetryAfter: int64((f.RetryAfter + 999_999_999) / 1_000_000_000)}
}

func (t *translation) complete(ctx context.Context, chat model.Chat, call model.Call, speaks speaker) error {
	resp, err := chat.Complete(ctx, call)
	if err != nil {
		return err
	}
	t.Response = resp
	t.Client, err = speaks.whole(resp)
	return err
}

func (t *translation) stream(ctx context.Context, chat model.Chat, call model.Call, speaks speaker) error {
	s, err := chat.Stream(ctx, call)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	frames := speaks.stream()
	for {
		ev, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			t.Frames = append(t.Frames, string(frames.AppendError(nil, err, "")))
			return err
		}
		t.Events = append(t.Events, ev)
		if b := frames.Append(nil, ev); len(b) > 0 {
			t.Frames = append(t.Frames, string(b))
		}
	}
}

// show prints what there is. An error of the vendor's answer is part of the
// result and makes the exit code 1.
func (t *translation) show(in *invocation, err error) error {
	var f *failure
	if err != nil {
		errors.As(refused(err), &f)
		f.answered = true
		var doc struct {
			Error json.RawMessage `json:"error"`
		}
		_ = json.Unmarshal(t.dialect.fail(nil, err, ""), &doc)
		t.Error = doc.Error
	}
	if in.json {
		in.out.Write(encode(t))
	} else {
		t.print(&in.out)
	}
	if f != nil {
		return f
	}
	return nil
}

func (t *translation) print(out *bytes.Buffer) {
	if r := t.Request; r != nil {
		fmt.Fprintf(out, "%s %s\n", r.Method, clean(r.URL))
		for _, h := range r.Headers {
			fmt.Fprintf(out, "%s: %s\n", h[0], clean(h[1]))
		}
		fmt.Fprintf(out, "(the connection's key goes into %s)\n\n", r.KeyIn)
		indented(out, r.Body)
		for _, d := range t.Dropped {
			fmt.Fprintf(out, "dropped: %s\n", clean(d))
		}
		for _, w := range t.Warnings {
			fmt.Fprintf(out, "warning: %s\n", clean(w))
		}
	}
	to := "to " + t.dialect.client
	if t.Response != nil {
		out.WriteString("# normalised\n")
		indented(out, encode(t.Response))
		if t.Client != nil {
			out.WriteString("\n# " + to + "\n")
			indented(out, t.Client)
		}
	}
	if len(t.Events) > 0 || len(t.Frames) > 0 {
		out.WriteString("# events\n")
		for _, ev := range t.Events {
			out.WriteString(clean(strings.TrimRight(string(encode(ev)), "\n")) + "\n")
		}
		out.WriteString("\n# " + to + "\n")
		for _, frame := range t.Frames {
			for line := range strings.SplitSeq(frame, "\n") {
				out.WriteString(clean(line) + "\n")
			}
		}
	}
	if t.Error != nil {
		out.WriteString("# error " + to + "\n")
		indented(out, t.Error)
	}
}

// indented prints JSON for people, keeping the order of its keys.
func indented(out *bytes.Buffer, raw []byte) {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		b.Reset()
		b.Write(raw)
	}
	for line := range strings.SplitSeq(strings.TrimRight(b.String(), "\n"), "\n") {
		out.WriteString(clean(line) + "\n")
	}
}
