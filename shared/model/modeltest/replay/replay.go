// Package replay is what the conformance suites of chat and speech adapters share:
// transcripts in txtar files with golden sections, an HTTP transport that
// answers from them, and the check that an error shows nothing of the vendor.
// Nothing is dialled.
package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/secret"
)

var update = flag.Bool("update", false, "rewrite the golden sections of transcripts")

// Update reports whether golden sections are being rewritten.
func Update() bool { return *update }

// PlantedKey must never be seen in an error.
const PlantedKey = "sk-planted-0123456789abcdefghijklmnopqrstuvwxyz"

// baseURL is where requests seem to go.
const baseURL = "https://vendor.invalid/v1"

// Meta says where a transcript comes from.
type Meta struct {
	Source string `json:"source"`
	URL    string `json:"url,omitempty"`
	Date   string `json:"date"`
	Model  string `json:"model"`
}

// Transcript is one txtar file.
type Transcript struct {
	Name  string
	Meta  Meta
	Reply Reply
	path  string
	file  *txtar.Archive
}

// Load reads all transcripts of a folder, sorted by name.
func Load(t *testing.T, dir string) []*Transcript {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s (%v)", dir, err)
	}
	slices.Sort(files)
	var out []*Transcript
	for _, f := range files {
		out = append(out, load(t, f))
	}
	return out
}

func load(t *testing.T, path string) *Transcript {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Transcript{Name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, file: txtar.Parse(data)}
	s.Strict(t, "meta.json", &s.Meta)
	if s.Meta.Source != "recorded" && s.Meta.Source != "documented" {
		t.Fatalf("%s: source %q is neither recorded nor documented", path, s.Meta.Source)
	}
	if s.Meta.Date == "" || s.Meta.Source == "documented" && s.Meta.URL == "" {
		t.Fatalf("%s: a transcript needs a date, and the URL of the documentation it follows", path)
	}
	if body := s.Section("wire-response.sse"); body != nil {
		s.Reply = SSE(body)
	} else if lines := s.Section("wire-response.frames"); lines != nil {
		s.Reply = Frames(t, path, lines)
	} else {
		s.Reply = parseReply(t, path, s.Section("wire-response.http"))
	}
	return s
}

// Strict decodes a section and refuses unknown fields.
func (s *Transcript) Strict(t *testing.T, section string, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(s.Section(section)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %s: %v", s.path, section, err)
	}
}

// Section returns a section's bytes, nil if it is missing.
func (s *Transcript) Section(name string) []byte {
	for _, f := range s.file.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// Compare compares a golden section with what was got, or rewrites it. Nothing
// got means that the section must not exist.
func (s *Transcript) Compare(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		s.set(name, got)
		return
	}
	if want := s.Section(name); !bytes.Equal(want, got) {
		t.Errorf("%s differs\n--- want\n%s\n--- got\n%s", name, want, got)
	}
}

func (s *Transcript) set(name string, data []byte) {
	i := slices.IndexFunc(s.file.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case i >= 0 && len(data) == 0:
		s.file.Files = slices.Delete(s.file.Files, i, i+1)
	case i >= 0:
		s.file.Files[i].Data = data
	case len(data) > 0:
		s.file.Files = append(s.file.Files, txtar.File{Name: name, Data: data})
	}
}

// Save writes the file if golden sections are being rewritten.
func (s *Transcript) Save(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	if err := os.WriteFile(s.path, txtar.Format(s.file), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Pretty renders a value as golden files have it.
func Pretty(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return []byte(err.Error())
	}
	return b.Bytes()
}

// Reply is a canned answer.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// SSE is a 200 answer with an event stream.
func SSE(body []byte) Reply {
	return Reply{Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body}
}

func parseReply(t *testing.T, path string, raw []byte) Reply {
	t.Helper()
	if raw == nil {
		t.Fatalf("%s: no wire-response", path)
	}
	head, body, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		head, body = raw, nil
	}
	text := strings.ReplaceAll(string(head), "\n", "\r\n") + "\r\n\r\n"
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%s: wire-response.http: %v", path, err)
	}
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: body}
}

// Exchange is a transport that answers once with a reply, handing the body out
// in the given pieces, and keeps what was sent.
type Exchange struct {
	Reply Reply
	// Pieces replace the body of Reply, if not nil.
	Pieces [][]byte
	// End is returned after the last piece, io.EOF if nil.
	End error

	// Sent is the last request as golden files have it, Calls counts them.
	Sent  []byte
	Calls int

	mu sync.Mutex
}

// RoundTrip implements [http.RoundTripper].
func (x *Exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.Calls++
	x.Sent = dump(req)
	pieces := x.Pieces
	if pieces == nil {
		pieces = [][]byte{x.Reply.Body}
	}
	end := x.End
	if end == nil {
		end = io.EOF
	}
	return &http.Response{StatusCode: x.Reply.Status, Header: x.Reply.Header.Clone(), Request: req, ProtoMajor: 1, ProtoMinor: 1,
		Body: &pieceReader{pieces: pieces, end: end}}, nil
}

// dump renders a request as the golden file has it: headers sorted, the key
// replaced. The body ends the section as it is.
func dump(req *http.Request) []byte {
	var b bytes.Buffer
	b.WriteString(req.Method + " " + req.URL.RequestURI() + "\n")
	var lines []string
	for name, values := range req.Header {
		lines = append(lines, name+": "+strings.ReplaceAll(strings.Join(values, ", "), PlantedKey, "{key}"))
	}
	sort.Strings(lines)
	b.WriteString(strings.Join(lines, "\n") + "\n\n")
	if req.Body != nil {
		_, _ = b.ReadFrom(req.Body)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

type pieceReader struct {
	pieces [][]byte
	end    error
}

// Read implements [io.Reader].
func (r *pieceReader) Read(p []byte) (int, error) {
	for len(r.pieces) > 0 && len(r.pieces[0]) == 0 {
		r.pieces = r.pieces[1:]
	}
	if len(r.pieces) == 0 {
		return 0, r.end
	}
	n := copy(p, r.pieces[0])
	r.pieces[0] = r.pieces[0][n:]
	return n, nil
}

// Close implements [io.Closer].
func (r *pieceReader) Close() error { return nil }

// Target is a target that reaches x and nothing else, with the planted key. The
// client is the one that production uses, redirect rule included.
func Target(x http.RoundTripper) model.Target {
	guard, err := egress.New(egress.Options{})
	if err != nil {
		panic(err)
	}
	client := guard.Vendor()
	client.Transport = x
	return model.Target{BaseURL: baseURL, Key: secret.FromString(PlantedKey), RequestID: "req_test", HTTP: client}
}

// CheckError verifies that an error is what callers and clients may see, and
// renders it for the golden section.
func (s *Transcript) CheckError(t *testing.T, provider string, err error) []byte {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("%v is no *fault.Error", err)
	}
	if f.Provider != provider || f.Message == "" || f.Op == "" {
		t.Errorf("provider %q, op %q, message %q", f.Provider, f.Op, f.Message)
	}
	var all strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(&all, "%v %+v %#v %T\n", e, e, e, e)
	}
	text := all.String()
	for _, bad := range append(vendorTexts(s.Reply.Body), PlantedKey, "vendor.invalid", "*url.Error") {
		if strings.Contains(text, bad) {
			t.Errorf("the error shows %q", bad)
		}
	}
	return Pretty(map[string]any{"code": f.Code, "message": f.Message, "param": f.Param, "retry_after_ms": f.RetryAfter.Milliseconds(),
		"status": f.Code.Status(), "retryable": f.Code.Retryable()})
}

// vendorTexts are the sentences in a vendor's answer: strings with a space.
func vendorTexts(body []byte) (out []string) {
	for _, piece := range strings.Split(string(body), `"`) {
		if len(piece) > 12 && strings.Contains(piece, " ") && !strings.Contains(piece, "\n") {
			out = append(out, piece)
		}
	}
	return out
}
