package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// opened serves h and returns an Egress that may reach it.
func opened(t *testing.T, h http.HandlerFunc) (*Egress, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	e, err := New(Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	return e, srv.URL
}

func fetch(client *http.Client, url string) ([]byte, http.Header, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := Do(client, req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return b, resp.Header, err
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// wav is a file that begins like one and is n bytes long.
func wav(n int) []byte {
	b := make([]byte, n)
	copy(b, "RIFF\x24\x00\x00\x00WAVEfmt ")
	return b
}

// limited are clients of all kinds with one limit.
func limited(e *Egress, limit int64) map[string]*http.Client {
	clients := map[string]*http.Client{"vendor": e.Vendor(), "tenant": e.Tenant(), "media": e.Media(limit, "audio/*")}
	for _, c := range clients {
		c.Transport.(*guarded).maxBody = limit
	}
	return clients
}

func TestDecodedBytesAreBounded(t *testing.T) {
	const size = 1 << 20
	e, url := opened(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/zip" {
			if r.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped(wav(size)))
			return
		}
		_, _ = w.Write(wav(size))
	})
	for _, path := range []string{"/zip", "/plain"} {
		for limit, want := range map[int64]fault.Code{size: "", size - 1: fault.TooLarge, 100: fault.TooLarge} {
			for kind, client := range limited(e, limit) {
				b, h, err := fetch(client, url+path)
				if fault.CodeOf(err) != want || int64(len(b)) > limit || want == "" && len(b) != size || h.Get("Content-Encoding") != "" {
					t.Errorf("%s %s, limit %d: %d bytes, %v", kind, path, limit, len(b), err)
				}
			}
		}
	}
}

// A bomb of 8 MiB in 8 KiB is stopped by the decoded limit, one of members
// without content by the limit on the wire.
func TestCompressionBombs(t *testing.T) {
	bomb, empty := zipped(wav(8<<20)), zipped(nil)
	stopped := make(chan struct{}, 8)
	e, url := opened(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "GZIP")
		if r.URL.Path == "/bomb" {
			_, _ = w.Write(bomb)
			return
		}
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(zipped(wav(100)))
		many := bytes.Repeat(empty, 1000)
		for {
			if _, err := w.Write(many); err != nil {
				stopped <- struct{}{}
				return
			}
		}
	})
	for kind, client := range limited(e, 1<<17) {
		for _, path := range []string{"/bomb", "/empty"} {
			b, _, err := fetch(client, url+path)
			var cause *Error
			if fault.CodeOf(err) != fault.TooLarge || !errors.As(err, &cause) || cause.Reason != BodyTooLarge || len(b) > 1<<17 {
				t.Errorf("%s %s: %d bytes, %v", kind, path, len(b), err)
			}
		}
		<-stopped
	}
}

func TestOtherEncodingsAreRefused(t *testing.T) {
	for _, encoding := range []string{"br", "deflate", "zstd", "gzip, gzip", "gzip,br", "x"} {
		e, url := opened(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			_, _ = w.Write(wav(100))
		})
		for kind, client := range limited(e, 1<<20) {
			_, _, err := fetch(client, url)
			var cause *Error
			if !errors.As(err, &cause) || cause.Reason != Encoding || string(cause.Kind) != kind {
				t.Errorf("%s %s: %v", kind, encoding, err)
			}
		}
	}
	e, url := opened(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "identity")
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("a stream asked for %q", r.Header.Get("Accept-Encoding"))
		}
		_, _ = io.WriteString(w, "ok")
	})
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := Do(e.Vendor(), req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func TestDamagedCompressionIsMalformed(t *testing.T) {
	whole := zipped([]byte("sk-echoed-key in the answer"))
	for name, c := range map[string]struct {
		body []byte
		want Reason
	}{
		"no gzip": {[]byte("sk-echoed-key plain"), Malformed}, "cut": {whole[:len(whole)-4], Cut}, "cut header": {whole[:5], Cut},
		"sum": {append(append([]byte{}, whole[:len(whole)-8]...), 1, 2, 3, 4, 5, 6, 7, 8), Malformed},
	} {
		e, url := opened(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(c.body)
		})
		_, _, err := fetch(e.Tenant(), url)
		var cause *Error
		if !errors.As(err, &cause) || cause.Reason != c.want || strings.Contains(err.Error(), "sk-") {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, url := opened(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") })
	if b, _, err := fetch(e.Tenant(), url); err != nil || len(b) != 0 {
		t.Errorf("an empty answer: %q, %v", b, err)
	}
}

func TestMediaIsWhatItsBytesSay(t *testing.T) {
	files := map[string]string{
		"ogg": "OggS\x00\x02", "wav": "RIFF\x24\x00\x00\x00WAVEfmt ", "mp3": "\xff\xfb\x90\x64", "mp3 tag": "ID3\x04\x00", "aac": "\xff\xf1\x50\x80",
		"m4a": "\x00\x00\x00\x20ftypM4A \x00", "mp4": "\x00\x00\x00\x20ftypisom\x00", "3gp": "\x00\x00\x00\x18ftyp3gp4", "mov": "\x00\x00\x00\x14ftypqt  ",
		"webm": "\x1aE\xdf\xa3\x01", "flac": "fLaC\x00", "amr": "#!AMR\n", "jpeg": "\xff\xd8\xff\xe0", "png": "\x89PNG\r\n\x1a\n", "gif": "GIF89a", "webp": "RIFF\x00\x00\x00\x00WEBPVP8 ",
		"heic": "\x00\x00\x00\x18ftypheic", "pdf": "%PDF-1.7", "html": "<!doctype html><title>Sign in</title>", "json": `{"error":"sk-echo"}`, "empty": "", "text": "hello", "zip": "PK\x03\x04", "elf": "\x7fELF",
	}
	all := []string{"audio/*", "video/*", "image/*", "application/pdf"}
	for _, c := range []struct {
		file, declared string
		accept         []string
		want           string // "" = refused
	}{
		{"ogg", "audio/ogg; codecs=opus", all, "audio/ogg"}, {"ogg", "", all, "audio/ogg"}, {"ogg", "application/octet-stream", all, "audio/ogg"},
		{"ogg", "audio/opus", all, "audio/opus"}, {"ogg", "video/ogg", []string{"audio/*"}, ""}, {"ogg", "audio/mpeg", all, ""}, {"ogg", "text/html", all, ""},
		{"wav", "audio/x-wav", all, "audio/x-wav"}, {"wav", "image/webp", all, ""}, {"webp", "image/webp", all, "image/webp"}, {"webp", "audio/wav", all, ""},
		{"mp3", "audio/mpeg", all, "audio/mpeg"}, {"mp3 tag", "audio/mp3", all, "audio/mp3"}, {"mp3", "audio/aac", all, ""}, {"aac", "audio/aac", all, "audio/aac"}, {"aac", "audio/mpeg", all, ""},
		{"m4a", "", []string{"audio/*"}, "audio/mp4"}, {"m4a", "audio/x-m4a", all, "audio/x-m4a"}, {"mp4", "", []string{"audio/*"}, ""}, {"mp4", "audio/mp4", []string{"audio/*"}, "audio/mp4"},
		{"mp4", "video/mp4", all, "video/mp4"}, {"3gp", "audio/3gpp", all, "audio/3gpp"}, {"mov", "video/quicktime", all, "video/quicktime"},
		{"webm", "audio/webm;codecs=opus", all, "audio/webm"}, {"webm", "", []string{"video/webm"}, "video/webm"}, {"flac", "", all, "audio/flac"}, {"amr", "audio/amr", all, "audio/amr"},
		{"jpeg", "image/jpeg", all, "image/jpeg"}, {"jpeg", "image/png", all, ""}, {"png", "", []string{"image/png"}, "image/png"}, {"png", "", []string{"image/jpeg"}, ""}, {"gif", "IMAGE/GIF", all, "image/gif"},
		{"heic", "image/heic", all, "image/heic"}, {"pdf", "", all, "application/pdf"}, {"pdf", "application/pdf", []string{"audio/*", "image/*"}, ""},
		{"html", "text/html", all, ""}, {"html", "audio/ogg", all, ""}, {"html", "", all, ""}, {"json", "application/json", all, ""}, {"empty", "audio/ogg", all, ""},
		{"text", "text/plain", []string{"text/*", "text/plain"}, ""}, {"zip", "application/zip", []string{"application/zip"}, ""}, {"elf", "", all, ""},
		{"ogg", "audio/ogg", nil, ""}, {"ogg", "audio/ogg; ;;", all, ""},
	} {
		body := files[c.file]
		if body != "" && c.file != "empty" {
			body += strings.Repeat("x", 100)
		}
		e, url := opened(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil // net/http would sniff one itself
			if c.declared != "" {
				w.Header().Set("Content-Type", c.declared)
			}
			_, _ = io.WriteString(w, body)
		})
		b, h, err := fetch(e.Media(1<<20, c.accept...), url)
		if c.want == "" {
			var cause *Error
			if fault.CodeOf(err) != fault.UnsupportedMedia || !errors.As(err, &cause) || cause.Reason != NotMedia || len(b) != 0 {
				t.Errorf("%s as %q for %v: %q, %v", c.file, c.declared, c.accept, h.Get("Content-Type"), err)
			}
			continue
		}
		if err != nil || string(b) != body || h.Get("Content-Type") != c.want {
			t.Errorf("%s as %q for %v: %d bytes, %q, %v", c.file, c.declared, c.accept, len(b), h.Get("Content-Type"), err)
		}
	}
}

func TestMediaIsFetchedBare(t *testing.T) {
	e, url := opened(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.Error(w, "sk-echo", http.StatusNotFound)
			return
		}
		if r.URL.Path == "/part" {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(wav(100))
	})
	client := e.Media(1000, "audio/*")
	for _, h := range []string{"Authorization", "X-Api-Key", "Cookie", "Xi-Api-Key", "X-Goog-Api-Key", "Range", "Referer", "X-Amzn-Trace-Id"} {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		req.Header.Set(h, "x")
		if _, err := Do(client, req); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
			t.Errorf("%s: got %v", h, err)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPut} {
		req, _ := http.NewRequest(method, url, nil)
		if _, err := Do(client, req); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
			t.Errorf("%s: got %v", method, err)
		}
	}
	req, _ := http.NewRequest(http.MethodGet, url, strings.NewReader("x"))
	if _, err := Do(client, req); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
		t.Errorf("with a body: %v", err)
	}
	req, _ = http.NewRequest(http.MethodGet, url+"/missing", nil)
	req.Header.Set("Accept", "audio/*")
	resp, err := Do(client, req)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Fatalf("an answer that is no file is the caller's to refuse: %v", err)
	}
	_ = resp.Body.Close()
	if _, _, err := fetch(client, url+"/part"); fault.CodeOf(err) != fault.UnsupportedMedia {
		t.Errorf("a part nobody asked for: %v", err)
	}
	if _, _, err := fetch(e.Media(99, "audio/*"), url); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("declared longer than allowed: %v", err)
	}
}

const botToken = "123456:AAFj3kd-sdfKJHsdf7823hjkASDkjh23"

// raw serves one connection by hand.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestErrorsNameNothing breaks calls in every way and looks at everything that
// can be printed of the error.
func TestErrorsNameNothing(t *testing.T) {
	// A port that the system hands out to nobody, so that none of the servers below
	// can have it.
	const closed = "http://127.0.0.1:1"
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plainServer := httptest.NewServer(http.NotFoundHandler())
	defer plainServer.Close()
	dns := fakeDNS(t, func(name string) (string, []netip.Addr) {
		if name == "vendor.example.com" {
			return "", addrs(publicAddress)
		}
		return "", nil
	})
	for name, c := range map[string]struct {
		ctx     context.Context
		base    string
		reason  Reason
		notSent bool
		timeout bool
	}{
		"no such name":      {base: "https://nowhere.example.org", reason: NameNotFound, notSent: true},
		"unreachable":       {base: "https://vendor.example.com", reason: Unreachable, notSent: true},
		"refused":           {base: closed, reason: ConnectRefused, notSent: true},
		"unknown authority": {base: secure.URL, reason: Certificate, notSent: true},
		"no TLS":            {base: strings.Replace(plainServer.URL, "http", "https", 1), reason: Handshake},
		"not HTTP":          {base: raw(t, "SSH-2.0-"+botToken+"\r\n"), reason: Malformed},
		"bad status":        {base: raw(t, "HTTP/1.1 BANANA "+botToken+"\r\n\r\n"), reason: Malformed},
		"bad header":        {base: raw(t, "HTTP/1.1 200 OK\r\nno header "+botToken[:6]+"\r\n\r\n"), reason: Malformed},
		"large headers":     {base: raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat(botToken, 10_000)+"\r\n\r\n"), reason: HeadersTooLarge},
		"closed":            {base: raw(t, ""), reason: Cut},
		"cancelled":         {ctx: ended, base: plainServer.URL, reason: Cancelled},
		"late":              {ctx: late, base: plainServer.URL, reason: TimedOut, timeout: true},
	} {
		var d dialled
		e, err := New(Options{Resolver: dns, roots: x509.NewCertPool(), Allow: []string{host(closed), host(secure.URL), host(plainServer.URL), host(c.base) + map[bool]string{true: ":443"}[strings.Contains(c.base, "example")]}})
		if strings.Contains(c.base, "example") {
			e, err = New(Options{Resolver: dns, connect: d.connect})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/bot"+botToken+"/sendMessage?key="+botToken, nil)
		_, err = Do(e.Tenant(), req) //nolint:bodyclose // fails
		var cause *Error
		if !errors.As(err, &cause) || cause.Reason != c.reason || cause.Kind != KindTenant || cause.Timeout() != c.timeout {
			t.Errorf("%s: want %s, got %v", name, c.reason, err)
			continue
		}
		var op *net.OpError
		var lookup *net.DNSError
		var cert *tls.CertificateVerificationError
		if got := errors.As(err, &op) && op.Op == "dial" || errors.As(err, &lookup) || errors.As(err, &cert); got != c.notSent {
			t.Errorf("%s: certainly not sent: %v, want %v", name, got, c.notSent)
		}
		clean(t, name, err, c.base)
	}
}

func host(base string) string { _, h, _ := strings.Cut(base, "://"); return h }

// clean looks for what an error must not show, in it and in all it wraps.
func clean(t *testing.T, name string, err error, base string) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(verb, err)
			for _, part := range []string{botToken[:6], botToken[7:15], host(base), "127.0.0.1", "sendMessage", "http://", "https://", publicAddress, "BANANA", "SSH"} {
				if strings.Contains(text, part) {
					t.Errorf("%s, %s: %q shows %q", name, verb, text, part)
				}
			}
		}
	}
}

func TestABrokenBodyNamesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		reason Reason
	}{
		"short":     {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + botToken, Cut},
		"bad chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz" + botToken + "\r\n", Malformed},
	} {
		base := raw(t, c.answer)
		e, err := New(Options{Allow: []string{host(base)}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = fetch(e.Vendor(), base+"/bot"+botToken)
		var cause *Error
		if !errors.As(err, &cause) || cause.Reason != c.reason || cause.Kind != KindVendor || cause.Host != OpenedHost {
			t.Errorf("%s: %v", name, err)
		}
		clean(t, name, err, base)
	}
}

// What http.Client.Do returns holds the URL; this package's Do does not.
func TestDoTakesTheURLOutOfTheError(t *testing.T) {
	e, _ := New(Options{})
	req, _ := http.NewRequest(http.MethodGet, "https://other.example.org/bot"+botToken, nil)
	if _, err := e.Vendor("api.example.org").Do(req); !strings.Contains(err.Error(), botToken) { //nolint:bodyclose // refused
		t.Fatalf("net/http does not show the URL any more: %v", err)
	}
	_, err := Do(e.Vendor("api.example.org"), req) //nolint:bodyclose // refused
	if !errors.Is(err, ErrRefused) || fault.CodeOf(err) != fault.ProviderError {
		t.Fatal(err)
	}
	clean(t, "refused", err, "https://other.example.org")
	req.URL = nil
	if _, err := Do(e.Vendor("api.example.org"), req); err == nil || strings.Contains(err.Error(), botToken) { //nolint:bodyclose // refused
		t.Fatal(err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		e, err := New(Options{Allow: []string{host(srv.URL)}, roots: roots})
		if err != nil {
			t.Fatal(err)
		}
		for kind, client := range limited(e, 1<<20) {
			if kind == "media" {
				continue
			}
			_, _, err := fetch(client, srv.URL)
			var cause *Error
			if ok && err != nil || !ok && (!errors.As(err, &cause) || cause.Reason != Handshake) {
				t.Errorf("%s, %s: %v", tls.VersionName(version), kind, err)
			}
		}
		srv.Close()
	}
}

func TestLimitsOfConnections(t *testing.T) {
	e, _ := New(Options{})
	if e.strict.Control == nil || e.strict.Timeout != 3*time.Second || e.open.Timeout != 3*time.Second {
		t.Error("a connection is not bounded or not checked")
	}
	for _, tr := range []*http.Transport{e.vendor, e.tenant, e.media} {
		if tr.MaxResponseHeaderBytes != 256<<10 || tr.TLSHandshakeTimeout == 0 || tr.TLSClientConfig.MinVersion != tls.VersionTLS12 || tr.TLSClientConfig.InsecureSkipVerify {
			t.Errorf("%+v", tr)
		}
	}
}

// A vendor that echoes the key in a header: adapters keep request ids, and the
// ledger stores them. The body is the model's and stays.
func TestHeadersOfAnswersAreMasked(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("X-Request-Id", "req-"+botToken)
		w.Header().Add("X-Many", "clean")
		w.Header().Add("X-Many", botToken)
		_, _ = io.WriteString(w, "the model says "+botToken)
	}))
	defer srv.Close()
	e, err := New(Options{Allow: []string{host(srv.URL)}, Mask: func(s string) string { return strings.ReplaceAll(s, botToken, "[secret]") }})
	if err != nil {
		t.Fatal(err)
	}
	b, h, err := fetch(e.Tenant(), srv.URL)
	if err != nil || h.Get("X-Request-Id") != "req-[secret]" || strings.Join(h["X-Many"], ",") != "clean,[secret]" || string(b) != "the model says "+botToken {
		t.Errorf("%v %v %q", err, h, b)
	}
}

// FuzzMediaType: no bytes and no declared type make it fail, and what it accepts
// is of the family that the bytes are.
func FuzzMediaType(f *testing.F) {
	f.Add("audio/ogg; codecs=opus", []byte("OggS"))
	f.Add("", []byte("\xff\xfb\x90\x64"))
	f.Add("application/pdf", []byte("%PDF-1.7"))
	f.Fuzz(func(t *testing.T, declared string, first []byte) {
		name, ok := MediaType(declared, first)
		if !ok {
			return
		}
		if again, ok := MediaType(name, first); !ok || again != name {
			t.Fatalf("%q gives %q, which gives %q", declared, name, again)
		}
		if http.DetectContentType(first) == "text/html; charset=utf-8" {
			t.Fatalf("a page passes as %s: %q", name, first)
		}
	})
}
