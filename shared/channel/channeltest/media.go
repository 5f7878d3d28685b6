package channeltest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Recording is what the simulated vendor's file holds.
const Recording = "OggS\x00\x02 a recording"

// Media describes how an adapter fetches files and posts speech.
type Media struct {
	Entry  channel.Entry
	Config webhook.Config
	// Attachment is of a file of the vendor. Its ID may be the file's address, in which
	// %s is the vendor's own.
	Attachment channel.Attachment
	// Open says that the address is permission enough: the token is not sent there.
	Open bool
	// Describe is the vendor's answer to the question where the file lies, empty where
	// nobody has to ask; an address in it, where the vendor names one, is the verb's.
	// Where is the path of the file.
	Describe string
	Where    string
	// Named says that the vendor's answer names an address and not a path.
	Named bool
	// Refused is an answer to that question that says no, and its code.
	Refused, Code string
	// Status of that answer, 0 = 200.
	Status int
	// Steps are the paths that posting speech asks for, in order, with their answers
	// (%s is the vendor's own address), To whom and the id of the message; none for a
	// vendor that takes no speech.
	Steps  []Step
	To, ID string
}

// Step is one request of a send and its answer.
type Step struct{ Path, Answer string }

// fetcher and speaker are what a turn asks for.
type fetcher interface {
	Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure)
}

type speaker interface {
	VoiceForm(c webhook.Config) channel.VoiceForm
}

// RunMedia runs the part of the suite for vendors that carry voice notes.
func RunMedia(t *testing.T, m Media) {
	t.Helper()
	t.Run("fetch", func(t *testing.T) { m.fetch(t) })
	t.Run("fetch refused", func(t *testing.T) { m.refused(t) })
	t.Run("speak", func(t *testing.T) { m.speak(t) })
}

// vendor is a simulated one, with what it was asked for.
type vendor struct {
	*httptest.Server
	describe string
	status   int
	file     http.HandlerFunc
	steps    []Step
	// fail answers the nth step with 502.
	fail  int
	asked []string
	heads []http.Header
	m     Media
}

func (m Media) serve(t *testing.T) (*vendor, channel.Call) {
	t.Helper()
	v := &vendor{m: m, describe: m.Describe, file: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/ogg")
		_, _ = io.WriteString(w, Recording)
	}}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	out, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(v.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	return v, channel.Call{HTTP: out.Vendor(), Media: out.Vendor(m.Entry.MediaHosts...), BaseURL: v.URL, DataURL: v.URL, Token: secret.FromString(token), Config: m.Config}
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	v.asked, v.heads = append(v.asked, r.URL.Path), append(v.heads, r.Header)
	if n := len(v.asked); len(v.steps) > 0 {
		if n == v.fail || n > len(v.steps) || r.URL.Path != strings.ReplaceAll(v.steps[n-1].Path, "{token}", token) {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(v.steps[n-1].Answer, "%s", v.URL))
		return
	}
	if r.URL.Path == strings.ReplaceAll(v.m.Where, "{token}", token) {
		v.file(w, r)
		return
	}
	w.WriteHeader(max(v.status, http.StatusOK))
	_, _ = io.WriteString(w, strings.ReplaceAll(v.describe, "%s", v.URL))
}

func (m Media) fetch(t *testing.T) {
	f, ok := m.Entry.Adapter.(fetcher)
	if !ok {
		t.Fatal("the adapter fetches nothing")
	}
	v, c := m.serve(t)
	file, failure := f.Fetch(t.Context(), c, m.at(v.URL))
	steps := 1
	if m.Describe != "" {
		steps = 2
	}
	if failure != nil || string(file.Bytes) != Recording || file.MIME != "audio/ogg" || len(v.asked) != steps {
		t.Fatalf("%q %s %+v after %q", file.Bytes, file.MIME, failure, v.asked)
	}
	if sent := v.heads[steps-1].Get("Authorization") != ""; m.Open && sent {
		t.Error("the token was sent to an open address")
	}
	answer := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
	}
	for name, x := range map[string]struct {
		file http.HandlerFunc
		want channel.MediaFailure
	}{
		"login page":        {answer("text/html", "<!doctype html>"), channel.MediaFailure{Code: channel.NotMedia}},
		"page called audio": {answer("audio/ogg", "<!doctype html>"), channel.MediaFailure{Code: channel.NotMedia}},
		"audio called page": {answer("text/html", Recording), channel.MediaFailure{Code: channel.NotMedia}},
		"empty":             {answer("audio/ogg", ""), channel.MediaFailure{Code: channel.NotMedia}},
		"too large":         {answer("audio/ogg", Recording+strings.Repeat("x", channel.MaxMedia)), channel.MediaFailure{Code: channel.MediaTooLarge}},
		"in preparation":    {status(202), channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true}},
		"late":              {status(408), channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true, RetryAfter: 30e9}},
		"not found":         {status(404), channel.MediaFailure{Code: channel.MediaGone}},
		"token":             {status(401), channel.MediaFailure{Code: channel.MediaGone, TokenRejected: !m.Open}},
		"their fault": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "9"); w.WriteHeader(503) },
			channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true, RetryAfter: 9e9}},
		"redirect away": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusFound)
		},
			channel.MediaFailure{Code: channel.MediaRefused}},
		"redirect here": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
			channel.MediaFailure{Code: channel.NotMedia}},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, Recording)
		}, channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true}},
	} {
		v, c := m.serve(t)
		v.file = x.file
		file, failure := f.Fetch(t.Context(), c, m.at(v.URL))
		if failure == nil || *failure != x.want || file.Bytes != nil {
			t.Errorf("%s: %+v, want %+v", name, failure, x.want)
		}
		if n := len(v.asked); n != steps {
			t.Errorf("%s: %d requests, want %d: nothing is followed or repeated", name, n, steps)
		}
	}
}

// at is the attachment as the vendor at this address names it.
func (m Media) at(vendor string) channel.Attachment {
	a := m.Attachment
	a.ID = strings.ReplaceAll(a.ID, "%s", vendor)
	return a
}

// elsewhere are addresses that no vendor's files have.
func (m Media) elsewhere() []string {
	host := m.Entry.MediaHosts[0]
	return []string{"http://169.254.169.254/x", "https://127.0.0.1/x", "https://example.com/x", "file:///etc/passwd", "https://user:pw@" + host + "/x",
		"http://" + host + "/x", "https://" + host + ":8443/x", "//x", "", "\x01"}
}

func (m Media) refused(t *testing.T) {
	f, _ := m.Entry.Adapter.(fetcher)
	if m.Attachment.ID != m.at("x").ID {
		for _, address := range m.elsewhere() {
			v, c := m.serve(t)
			a := m.Attachment
			a.ID = address
			if _, failure := f.Fetch(t.Context(), c, a); failure == nil || *failure != (channel.MediaFailure{Code: channel.MediaRefused}) || len(v.asked) != 0 {
				t.Errorf("%q: %+v after %q", address, failure, v.asked)
			}
		}
	}
	if m.Describe == "" {
		return
	}
	v, c := m.serve(t)
	v.describe, v.status = m.Refused, m.Status
	if _, failure := f.Fetch(t.Context(), c, m.Attachment); failure == nil || failure.Code != channel.MediaGone || failure.Detail != m.Code || len(v.asked) != 1 {
		t.Errorf("%+v after %q", failure, v.asked)
	}
	if !m.Named {
		return
	}
	for _, address := range m.elsewhere() {
		v, c := m.serve(t)
		v.describe = strings.ReplaceAll(m.Describe, "%s"+m.Where, strings.ReplaceAll(address, "\x01", "\\u0001"))
		if _, failure := f.Fetch(t.Context(), c, m.Attachment); failure == nil || *failure != (channel.MediaFailure{Code: channel.MediaRefused}) || len(v.asked) != 1 {
			t.Errorf("%q: %+v after %q", address, failure, v.asked)
		}
	}
}

func (m Media) speak(t *testing.T) {
	s, ok := m.Entry.Adapter.(speaker)
	form := channel.VoiceForm{}
	if ok {
		form = s.VoiceForm(m.Config)
	}
	if m.Steps == nil && form.Format == "" {
		return
	}
	if form.Format == "" || form.MaxBytes < 1<<20 {
		t.Fatal("the adapter does not say how it takes speech")
	}
	out := channel.Outgoing{To: m.To, Text: "said", TurnID: "t1", Part: 1, Voice: []byte(Recording)}
	v, c := m.serve(t)
	v.steps = m.Steps
	id, f := m.Entry.Adapter.Send(t.Context(), c, out)
	if f != nil || id != m.ID || len(v.asked) != len(m.Steps) {
		t.Fatalf("%q %+v after %q", id, f, v.asked)
	}
	// Nothing is posted before the last step: only that may be ambiguous.
	for n := range m.Steps {
		v, c := m.serve(t)
		v.steps, v.fail = m.Steps, n+1
		want := channel.Refused
		if n == len(m.Steps)-1 {
			want = channel.Ambiguous
		}
		id, f := m.Entry.Adapter.Send(t.Context(), c, out)
		if f == nil || f.Certainty != want || id != "" || len(v.asked) != n+1 {
			t.Errorf("step %d fails: %q %+v after %q", n+1, id, f, v.asked)
		}
		if strings.Contains(fmt.Sprintf("%+v", f), token) {
			t.Errorf("the failure holds the token: %+v", f)
		}
	}
	// An address that the vendor names gets the speech, and not the token.
	for i, path := range v.asked {
		if authorized := v.heads[i].Get("Authorization") != ""; slices.Contains([]string{"/upload"}, path) && authorized {
			t.Errorf("%s got the token", path)
		}
	}
}

// FetchOnce fetches the attachment and returns why it failed, nil if it did not.
func FetchOnce(t *testing.T, m Media) *channel.MediaFailure {
	t.Helper()
	_, c := m.serve(t)
	f, _ := m.Entry.Adapter.(fetcher)
	_, failure := f.Fetch(t.Context(), c, m.Attachment)
	return failure
}

// Bounded reports whether an envelope's attachments are within their bounds, and its
// names such as a binding can have.
func Bounded(e channel.Envelope) bool {
	if len(e.Media) > channel.MaxAttachments {
		return false
	}
	for _, name := range e.Addressed {
		if !channel.ValidAddressee(name) || name != strings.ToLower(name) {
			return false
		}
	}
	for _, a := range e.Media {
		if a.ID == "" || len(a.ID) > 2048 || len(a.MIME) > 128 || len(a.Name) > 255 || !utf8.ValidString(a.Name) || strings.ContainsAny(a.ID+a.MIME, "\r\n\x00") ||
			a.Size < 0 || a.Millis < 0 || a.Kind != channel.VoiceNote && a.Kind != channel.AudioFile || a.SHA256 != "" && len(a.SHA256) != 64 {
			return false
		}
	}
	return true
}
