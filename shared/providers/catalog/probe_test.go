package catalog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/secret"
)

// probes are what a connection's test calls, by the name of their sections in
// testdata/probe.txtar of the vendor's folder. A section NAME.reply holds one
// canned answer per request, divided by lines of "===="; the golden section
// NAME.got holds what was sent and what came of it. -update rewrites it.
var probes = map[string]func(context.Context, *providers.Entry, model.Target) (any, error){
	"check": func(ctx context.Context, e *providers.Entry, t model.Target) (any, error) {
		return "the key is good", e.CheckKey(ctx, t)
	},
	"models": func(ctx context.Context, e *providers.Entry, t model.Target) (any, error) {
		if e.ListModels == nil {
			return nil, nil
		}
		list, err := e.ListModels(ctx, t)
		return list, err
	},
	"voices": func(ctx context.Context, e *providers.Entry, t model.Target) (any, error) {
		if e.ListVoices == nil {
			return nil, nil
		}
		list, err := e.ListVoices(ctx, t)
		return list, err
	},
}

// wireLog answers requests from canned replies and keeps them, without the key.
type wireLog struct {
	key     string
	replies [][]byte
	sent    bytes.Buffer
}

// RoundTrip implements [http.RoundTripper].
func (w *wireLog) RoundTrip(req *http.Request) (*http.Response, error) {
	fmt.Fprintf(&w.sent, "%s %s\n", req.Method, req.URL)
	var names []string
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&w.sent, "%s: %s\n", name, strings.ReplaceAll(req.Header.Get(name), w.key, "{key}"))
	}
	if req.Body != nil {
		_, _ = w.sent.ReadFrom(req.Body)
		w.sent.WriteString("\n")
	}
	w.sent.WriteString("\n")
	if len(w.replies) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	raw := w.replies[0]
	w.replies = w.replies[1:]
	head, body, _ := bytes.Cut(raw, []byte("\n\n"))
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.ReplaceAll(string(head), "\n", "\r\n")+"\r\n\r\n")), req)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// planted is a key of the vendor's form.
func planted(e *providers.Entry) string {
	if e.Key.Signed {
		return "AKIDEXAMPLEEXAMPLE12:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:us-east-1"
	}
	return "sk-planted-0123456789abcdefghijklmnopqrstuvwxyz"
}

func (w *wireLog) target(e *providers.Entry) model.Target {
	w.key = planted(e)
	return model.Target{BaseURL: e.DefaultBaseURL, Key: secret.FromString(w.key), HTTP: &http.Client{Transport: w},
		Now: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)}
}

func folder(e *providers.Entry) string { return "../" + strings.ReplaceAll(string(e.ID), "_", "") }

// TestProbes: entries that can only be connected have a recording of each probe.
func TestProbes(t *testing.T) {
	for _, e := range Entries() {
		if e.Served() {
			continue
		}
		t.Run(string(e.ID), func(t *testing.T) {
			path := folder(&e) + "/testdata/probe.txtar"
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file := txtar.Parse(data)
			tr := map[string][]byte{}
			for _, f := range file.Files {
				tr[f.Name] = f.Data
			}
			var meta replay.Meta
			if json.Unmarshal(tr["meta.json"], &meta) != nil || meta.Source != "documented" && meta.Source != "recorded" || meta.URL == "" || meta.Date == "" {
				t.Errorf("meta %+v", meta)
			}
			if (tr["voices.reply"] != nil) != (e.ListVoices != nil) || (tr["models.reply"] != nil) != (e.ListModels != nil) || tr["check.reply"] == nil {
				t.Fatal("the recordings do not fit the entry")
			}
			for name, probe := range probes {
				if tr[name+".reply"] == nil {
					continue
				}
				w := &wireLog{replies: bytes.Split(tr[name+".reply"], []byte("====\n"))}
				got, err := probe(t.Context(), &e, w.target(&e))
				if err != nil || len(w.replies) > 0 {
					t.Errorf("%s: %v, %d answers left", name, err, len(w.replies))
				}
				out := append(w.sent.Bytes(), replay.Pretty(got)...)
				if bytes.Contains(out, []byte(w.key)) || strings.Contains(w.key, ":") && bytes.Contains(out, []byte(strings.Split(w.key, ":")[1])) {
					t.Errorf("%s shows the key", name)
				}
				if replay.Update() {
					i := slices.IndexFunc(file.Files, func(f txtar.File) bool { return f.Name == name+".got" })
					if i < 0 {
						i = slices.IndexFunc(file.Files, func(f txtar.File) bool { return f.Name == name+".reply" }) + 1
						file.Files = slices.Insert(file.Files, i, txtar.File{Name: name + ".got"})
					}
					file.Files[i].Data = out
				} else if !bytes.Equal(out, tr[name+".got"]) {
					t.Errorf("%s differs\n--- want\n%s\n--- got\n%s", name, tr[name+".got"], out)
				}
			}
			if replay.Update() {
				if err := os.WriteFile(path, txtar.Format(file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestProbeFailures: every probe of every vendor says the same about the same
// failure, and nothing of the vendor's text or the key.
func TestProbeFailures(t *testing.T) {
	for _, e := range Entries() {
		if e.Tenant() {
			continue
		}
		for name, probe := range probes {
			for reply, want := range map[string]fault.Code{
				"HTTP/1.1 401 Unauthorized\nContent-Type: application/json\n\n{\"error\":{\"message\":\"vendor says no\"}}": fault.ProviderKeyInvalid,
				"HTTP/1.1 429 Too Many Requests\nRetry-After: 7\n\nvendor says no":                                          fault.ProviderRateLimited,
				"HTTP/1.1 500 Internal Server Error\n\nvendor says no":                                                      fault.ProviderError,
				"HTTP/1.1 503 Service Unavailable\nContent-Type: text/html\n\n<html>vendor says no":                         fault.ProviderOverloaded,
				"HTTP/1.1 302 Found\nLocation: https://elsewhere.invalid/\n\n":                                              fault.ProviderError,
				"HTTP/1.1 200 OK\nContent-Type: text/html\n\n<html>vendor says no":                                          fault.ProviderError,
				"HTTP/1.1 200 OK\n\n{\"vendor says\"":                                                                       fault.ProviderError,
				"HTTP/1.1 200 OK\n\n{\"a\":\"" + strings.Repeat("x", 2<<20) + "\"}":                                         fault.ProviderError,
			} {
				w := &wireLog{replies: [][]byte{[]byte(reply)}}
				target := w.target(&e)
				target.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				target.MaxBytes = 1 << 20
				// A list may be fixed, and a key check may go by the status alone.
				if got, err := probe(t.Context(), &e, target); err == nil && (got == nil || w.sent.Len() == 0 || name == "check" && strings.HasPrefix(reply, "HTTP/1.1 200")) {
					continue
				} else if f := fault.As(err); f == nil || f.Code != want || f.Provider != string(e.ID) || want == fault.ProviderRateLimited && f.RetryAfter != 7*time.Second ||
					strings.Contains(f.Error(), "vendor says") || strings.Contains(fmt.Sprintf("%+v", err), w.key) {
					t.Errorf("%s %s: %.60q gives %v", e.ID, name, reply, err)
				}
			}
		}
	}
}

// TestSigningNeedsTime: a signed request without a time is a mistake of ours, not
// of the key.
func TestSigningNeedsTime(t *testing.T) {
	n := 0
	for _, e := range Entries() {
		if !e.Key.Signed {
			continue
		}
		n++
		w := &wireLog{}
		target := w.target(&e)
		target.Now = time.Time{}
		if err := e.CheckKey(t.Context(), target); fault.CodeOf(err) != fault.Internal || w.sent.Len() > 0 {
			t.Errorf("%s: %v", e.ID, err)
		}
	}
	if n != 2 {
		t.Errorf("%d vendors with signed requests", n)
	}
}

// FuzzLists: no list makes a vendor's parser fail, and what comes out can be
// shown.
func FuzzLists(f *testing.F) {
	for _, e := range Entries() {
		data, _ := os.ReadFile(folder(&e) + "/testdata/probe.txtar")
		for _, file := range txtar.Parse(data).Files {
			if strings.HasSuffix(file.Name, ".reply") {
				_, body, _ := bytes.Cut(file.Data, []byte("\n\n"))
				f.Add(body)
			}
		}
	}
	entries := Entries()
	f.Fuzz(func(t *testing.T, body []byte) {
		for i := range entries {
			e := &entries[i]
			if e.Tenant() {
				continue
			}
			reply := append([]byte("HTTP/1.1 200 OK\nContent-Type: application/json\n\n"), body...)
			if e.ListModels != nil {
				w := &wireLog{replies: [][]byte{reply, reply, reply}}
				list, err := e.ListModels(t.Context(), w.target(e))
				for _, m := range list {
					if m.ID == "" || !utf8.ValidString(m.ID+m.Name) || strings.ContainsAny(m.ID+m.Name, "\n\x00\x1b") || m.ContextTokens < 0 {
						t.Fatalf("%s: %+v", e.ID, m)
					}
				}
				foreign(t, e, err)
			}
			if e.ListVoices != nil {
				w := &wireLog{replies: [][]byte{reply, reply, reply}}
				list, err := e.ListVoices(t.Context(), w.target(e))
				for _, v := range list {
					if v.ID == "" || !utf8.ValidString(v.Name) || strings.ContainsAny(v.ID+v.Name+v.Language, "\n\x00\x1b") {
						t.Fatalf("%s: %+v", e.ID, v)
					}
				}
				foreign(t, e, err)
			}
		}
	})
}

func foreign(t *testing.T, e *providers.Entry, err error) {
	t.Helper()
	if f := fault.As(err); f != nil && f.Provider != string(e.ID) {
		t.Fatalf("%s: foreign error %v", e.ID, err)
	}
}
