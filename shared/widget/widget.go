// Package widget serves the script that shows the web chat on an organisation's pages.
//
// The script is one file without dependencies. It holds no secret and differs for
// nobody: which install it is for, and who the visitor is, stands in the page. Under its
// own version it may be kept for ever, under its plain address for five minutes.
package widget

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

//go:embed widget.js
var script string

// Path is where the script is served.
const Path = "/widget.js"

// Script returns the script.
func Script() string { return script }

// Version names the script's content: what ?v= holds.
func Version() string {
	sum := sha256.Sum256([]byte(script))
	return hex.EncodeToString(sum[:8])
}

// Integrity is the value of a page's integrity attribute for this version
// (www.w3.org/TR/SRI, read 2026-11).
func Integrity() string {
	sum := sha256.Sum256([]byte(script))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Response is the answer to a request for the script.
type Response struct {
	Status int
	Header map[string]string
	Body   string
}

// Serve answers a request for the script: query is the raw query, match the header
// If-None-Match. Pages of any origin may load it.
func Serve(method, query, match string) Response {
	tag := `"` + Version() + `"`
	h := map[string]string{
		"content-type": "text/javascript; charset=utf-8", "x-content-type-options": "nosniff", "etag": tag,
		"cache-control": "public, max-age=300", "access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin",
	}
	if query == "v="+Version() {
		h["cache-control"] = "public, max-age=31536000, immutable"
	}
	switch {
	case method != http.MethodGet:
		return Response{Status: http.StatusMethodNotAllowed, Header: map[string]string{"allow": http.MethodGet, "content-type": "text/plain; charset=utf-8"}}
	case strings.Contains(match, tag):
		return Response{Status: http.StatusNotModified, Header: h}
	}
	return Response{Status: http.StatusOK, Header: h, Body: script}
}
