package widget_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/widget"
)

// maxScript bounds what every page of every organisation loads.
const maxScript = 24 << 10

// TestScriptIsPlain: what a strict Content-Security-Policy forbids, and what would make
// HTML of a model's text, is not in it.
func TestScriptIsPlain(t *testing.T) {
	s := widget.Script()
	if len(s) > maxScript {
		t.Errorf("%d bytes, at most %d", len(s), maxScript)
	}
	for _, word := range []string{"eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment", "srcdoc", "javascript:",
		".onclick", "setTimeout(\"", "import(", "document.cookie", "credentials: \"include\"", "postMessage"} {
		if strings.Contains(s, word) {
			t.Errorf("the script holds %q", word)
		}
	}
	if hosts := regexp.MustCompile(`https?://[a-z]`).FindString(s); hosts != "" {
		t.Errorf("the script names a host: %s", hosts)
	}
	for _, word := range []string{`"use strict"`, `role: "log"`, `"aria-live": "polite"`, `"aria-expanded"`, `role: "dialog"`, "adoptedStyleSheets", `credentials: "omit"`} {
		if !strings.Contains(s, word) {
			t.Errorf("the script lacks %q", word)
		}
	}
}

func TestServe(t *testing.T) {
	tag := `"` + widget.Version() + `"`
	for name, c := range map[string]struct {
		method, query, match string
		status               int
		cache                string
	}{
		"plain":          {"GET", "", "", 200, "public, max-age=300"},
		"version":        {"GET", "v=" + widget.Version(), "", 200, "public, max-age=31536000, immutable"},
		"older version":  {"GET", "v=0123456789abcdef", "", 200, "public, max-age=300"},
		"known":          {"GET", "", tag, 304, "public, max-age=300"},
		"known weakly":   {"GET", "", "W/" + tag + `, "x"`, 304, "public, max-age=300"},
		"known as other": {"GET", "", `"x"`, 200, "public, max-age=300"},
		"post":           {"POST", "", "", 405, ""},
	} {
		r := widget.Serve(c.method, c.query, c.match)
		if r.Status != c.status || r.Header["cache-control"] != c.cache || (r.Body == widget.Script()) != (c.status == http.StatusOK) || c.status != 200 && r.Body != "" {
			t.Errorf("%s: %d %v", name, r.Status, r.Header)
		}
		if c.status == 200 && (r.Header["etag"] != tag || r.Header["x-content-type-options"] != "nosniff" || r.Header["access-control-allow-origin"] != "*") {
			t.Errorf("%s: %v", name, r.Header)
		}
	}
	if !strings.HasPrefix(widget.Integrity(), "sha256-") || len(widget.Version()) != 16 {
		t.Error(widget.Integrity(), widget.Version())
	}
}
