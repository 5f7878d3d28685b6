package vendorapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/secret"
)

const recording = "OggS\x00\x02 a recording"

// TestDownloadBehind: the API gets the token, the place that it redirects to does not,
// and nothing is followed from there.
func TestDownloadBehind(t *testing.T) {
	var seen []http.Header
	var next http.HandlerFunc
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		next(w, r)
	}))
	defer cdn.Close()
	var to string
	status := http.StatusTemporaryRedirect
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		if to != "" {
			w.Header().Set("Location", to)
		}
		w.WriteHeader(status)
	}))
	defer api.Close()
	out, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(api.URL, "http://"), strings.TrimPrefix(cdn.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	c := channel.Call{HTTP: out.Vendor(), Media: out.Vendor("files.example"), BaseURL: api.URL, Token: secret.FromString("tok")}
	audio := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/ogg")
		_, _ = io.WriteString(w, recording)
	}
	refused := channel.MediaFailure{Code: channel.MediaRefused}
	for name, x := range map[string]struct {
		to   string
		next http.HandlerFunc
		want channel.MediaFailure
		hops int
	}{
		"file":           {cdn.URL + "/x?sig=1", audio, channel.MediaFailure{}, 2},
		"private":        {"https://169.254.169.254/latest", audio, refused, 1},
		"private, http":  {"http://127.0.0.1:1/x", audio, refused, 1},
		"another vendor": {"https://api.other.example/x", audio, refused, 1},
		"credentials":    {"https://u:p@files.example/x", audio, refused, 1},
		"file scheme":    {"file:///etc/passwd", audio, refused, 1},
		"no place":       {"", audio, refused, 1},
		"itself":         {"/login", audio, channel.MediaFailure{Code: channel.NotMedia}, 1},
		"on and on":      {cdn.URL + "/x", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, api.URL+"/x", http.StatusFound) }, refused, 2},
		"round":          {cdn.URL + "/x", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/y", http.StatusFound) }, channel.MediaFailure{Code: channel.NotMedia}, 2},
		"a page":         {cdn.URL + "/x", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html>") }, channel.MediaFailure{Code: channel.NotMedia}, 2},
		"no entry":       {cdn.URL + "/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, channel.MediaFailure{Code: channel.MediaGone}, 2},
		"expired":        {cdn.URL + "/x", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, channel.MediaFailure{Code: channel.MediaGone}, 2},
	} {
		seen, to, next = nil, x.to, x.next
		file, f := DownloadBehind(t.Context(), c, "/media", 1<<20, Bearer)
		if x.want.Code == "" {
			if f != nil || string(file.Bytes) != recording || file.MIME != "audio/ogg" {
				t.Errorf("%s: %+v %+v", name, file, f)
			}
		} else if f == nil || *f != x.want {
			t.Errorf("%s: %+v, want %+v", name, f, x.want)
		}
		if len(seen) != x.hops || seen[0].Get("Authorization") != "Bearer tok" || len(seen) > 1 && seen[1].Get("Authorization") != "" {
			t.Errorf("%s: %d requests: %v", name, len(seen), seen)
		}
	}
}
