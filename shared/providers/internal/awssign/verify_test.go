package awssign

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/secret"
)

// received is a request as a server sees it.
type received struct {
	method, uri string
	header      http.Header
	body        []byte
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func digest(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// escape is the URI encoding of the specification.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// signature computes what the specification asks for, from the bytes a server got
// and not from what the client meant to send. It follows the developer guide,
// "Create a signed AWS API request", in which all services but S3 encode each
// segment of the path as it stands on the wire a second time.
func (r *received) signature(t *testing.T) (want, got string) {
	t.Helper()
	m := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/([^/]+)/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`).
		FindStringSubmatch(r.header.Get("Authorization"))
	if m == nil {
		t.Fatalf("authorization %q", r.header.Get("Authorization"))
	}
	path, query, _ := strings.Cut(r.uri, "?")
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = escape(segments[i])
	}
	var pairs []string
	for _, p := range strings.Split(query, "&") {
		if name, value, _ := strings.Cut(p, "="); name != "" {
			n, _ := url.QueryUnescape(name)
			v, _ := url.QueryUnescape(value)
			pairs = append(pairs, escape(n)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	var headers string
	for _, name := range strings.Split(m[5], ";") {
		value := strings.Join(r.header.Values(name), ",")
		headers += name + ":" + strings.Join(strings.Fields(value), " ") + "\n"
	}
	canonical := r.method + "\n" + strings.Join(segments, "/") + "\n" + strings.Join(pairs, "&") + "\n" + headers + "\n" + m[5] + "\n" + digest(r.body)
	text := "AWS4-HMAC-SHA256\n" + r.header.Get("X-Amz-Date") + "\n" + m[2] + "/" + m[3] + "/" + m[4] + "/aws4_request\n" + digest([]byte(canonical))
	k := mac([]byte("AWS4"+hidden), m[2])
	k = mac(mac(mac(k, m[3]), m[4]), "aws4_request")
	return hex.EncodeToString(mac(k, text)), m[6]
}

// requests are sent to a server of the test; those with a body have it signed.
var requests = []struct{ method, path, body string }{
	{"POST", "/model/anthropic.claude-v2%3A1/converse", `{"messages":[{"role":"user","content":[{"text":"ü"}]}]}`},
	{"POST", "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-v1%3A0/converse-stream", "{}"},
	{"GET", "/foundation-models?byOutputModality=EMBEDDING", ""},
	{"GET", "/v1/voices?b=2&a=1%20x", ""},
	{"GET", "/", ""},
}

// send signs and sends a request and returns what arrived.
func send(t *testing.T, method, path, body string) received {
	t.Helper()
	var got received
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		if r.ContentLength > 0 {
			h.Set("Content-Length", r.Header.Get("Content-Length"))
		}
		got = received{r.Method, r.RequestURI, h, b}
	}))
	defer s.Close()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, rd)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "latchkey")
	now := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	if err := SignFor(&wire.Vendor{ID: "test"}, "test.Op", Service{Label: "bedrock-runtime", Name: "bedrock"}, target(now))(req, secret.FromString(good)); err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return got
}

// TestSignatureVerifies: a server that follows the specification computes the same
// signature from what arrived.
func TestSignatureVerifies(t *testing.T) {
	for _, r := range requests {
		got := send(t, r.method, r.path, r.body)
		if want, have := got.signature(t); want != have {
			t.Errorf("%s %s: signature %s, want %s", r.method, r.path, have, want)
		}
		if string(got.body) != r.body {
			t.Errorf("%s arrived as %q", r.path, got.body)
		}
		got.body = append(got.body, ' ')
		if want, have := got.signature(t); want == have {
			t.Error("another body has the same signature")
		}
	}
}

// script signs a request with botocore, AWS's own SDK for Python, with the same
// signed headers.
const script = `
import sys, json, datetime
import botocore.auth, botocore.awsrequest, botocore.credentials
i = json.load(sys.stdin)
botocore.auth.get_current_datetime = lambda: datetime.datetime(2026, 11, 22, 1, 2, 3)
r = botocore.awsrequest.AWSRequest(method=i["method"], url=i["url"], data=i["body"].encode(), headers=i["headers"])
botocore.auth.SigV4Auth(botocore.credentials.Credentials(i["id"], i["secret"]), "bedrock", "eu-west-1").add_auth(r)
print(r.headers["Authorization"])
`

// TestSignatureOfBotocore: AWS's SDK for Python makes the same signature.
// ./scripts/test installs it.
func TestSignatureOfBotocore(t *testing.T) {
	python, err := filepath.Abs("../../../../build/tools/python/bin/python3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Skip("botocore is not installed; ./scripts/test installs it")
	}
	for _, r := range requests {
		got := send(t, r.method, r.path, r.body)
		headers := map[string]string{}
		signed, _, _ := strings.Cut(strings.SplitN(got.header.Get("Authorization"), "SignedHeaders=", 2)[1], ",")
		for _, name := range strings.Split(signed, ";") {
			if name != "host" && name != "x-amz-date" {
				headers[name] = got.header.Get(name)
			}
		}
		in, err := json.Marshal(map[string]any{"method": r.method, "url": "http://" + got.header.Get("Host") + r.path, "body": r.body, "headers": headers, "id": keyID, "secret": hidden})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), python, "-c", script)
		cmd.Stdin = bytes.NewReader(in)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		if want := strings.TrimSpace(string(out)); want != got.header.Get("Authorization") {
			t.Errorf("%s %s: %s\nbotocore %s", r.method, r.path, got.header.Get("Authorization"), want)
		}
	}
}

func TestFormOf(t *testing.T) {
	for s, want := range map[string]Form{good: Credential, "ABSKabc": Bearer, "": Malformed, keyID + ":" + hidden: Malformed, good + ":token": Malformed,
		"bearer:x": Malformed, keyID + ":" + hidden + ":mars-1": Malformed} {
		if got := FormOf(secret.FromString(s)); got != want {
			t.Errorf("%q is %d, want %d", s, got, want)
		}
	}
}

// TestRegions: the list holds regions of the partition whose domain is used, by
// botocore's own list.
func TestRegions(t *testing.T) {
	found, _ := filepath.Glob("../../../../build/tools/python/lib/python3*/site-packages/botocore/data/partitions.json")
	if len(found) == 0 {
		t.Skip("botocore is not installed; ./scripts/test installs it")
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		Partitions []struct {
			ID      string
			Outputs struct{ DNSSuffix string }
			Regions map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &in); err != nil {
		t.Fatal(err)
	}
	for _, p := range in.Partitions {
		if p.ID != "aws" {
			continue
		}
		if "."+p.Outputs.DNSSuffix != domain {
			t.Errorf("domain %s", p.Outputs.DNSSuffix)
		}
		for _, r := range regions {
			if p.Regions[r] == nil {
				t.Errorf("%s is no region", r)
			}
		}
		return
	}
	t.Error("the partition is missing")
}
