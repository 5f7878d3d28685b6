package front

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

// urlEvent is aws-lambda-go's type plus the three fields that function URLs send
// and the type does not have.
type urlEvent struct {
	events.LambdaFunctionURLRequest
	RouteKey       string     `json:"routeKey"`
	RequestContext urlContext `json:"requestContext"`
}

type urlContext struct {
	events.LambdaFunctionURLRequestContext
	RouteKey string `json:"routeKey"`
	Stage    string `json:"stage"`
}

func strict(t *testing.T, b []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(into), string(b))
}

// raw sends bytes as they stand, which net/http's client would tidy up.
func raw(t *testing.T, s *httptest.Server, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n"))
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return res
}

const rawHead = ` HTTP/1.1
Host: hooks.example:8787
User-Agent: Probe/1
Content-Type: application/json; charset=utf-8
X-Signature: v0=a
X-Signature: v0=b
x-lower: 1, 2
Cookie: a=1; b="2 3"
Cookie: c=3
Connection: keep-alive, X-Hop
X-Hop: gone
TE: trailers
X-Forwarded-For: 198.51.100.7
Content-Length: 13

{"k": "<é>"}`

func TestHTTPAPIEvent(t *testing.T) {
	host, c := &fakeHost{}, new(clock.Clock)
	c.SetOffset(240 * time.Hour)
	_, s := serve(t, Options{Host: host, Clock: c})
	before := c.Now().UnixMilli()
	res := raw(t, s, "POST /webhooks/sl%20ack/in%2Fst?b=2&a=%20x&b=3+4&flag&b="+rawHead)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "hook", host.name)
	var e events.APIGatewayV2HTTPRequest
	strict(t, host.last(t), &e)
	require.Equal(t, "2.0", e.Version)
	require.Equal(t, "POST /webhooks/{provider}/{install}", e.RouteKey)
	require.Equal(t, "/webhooks/sl ack/in/st", e.RawPath, "HTTP API decodes the path")
	require.Equal(t, "b=2&a=%20x&b=3+4&flag&b=", e.RawQueryString)
	require.Equal(t, map[string]string{"b": "2,3 4,", "a": " x", "flag": ""}, e.QueryStringParameters)
	require.Equal(t, map[string]string{"provider": "sl ack", "install": "in/st"}, e.PathParameters)
	require.Equal(t, []string{"a=1", `b="2 3"`, "c=3"}, e.Cookies)
	require.Equal(t, `{"k": "<é>"}`, e.Body)
	require.False(t, e.IsBase64Encoded)
	trace := e.Headers["x-amzn-trace-id"]
	require.Regexp(t, `^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$`, trace)
	require.Equal(t, map[string]string{
		"host": "hooks.example:8787", "user-agent": "Probe/1", "content-type": "application/json; charset=utf-8",
		"x-signature": "v0=a,v0=b", "x-lower": "1, 2", "content-length": "13", "x-amzn-trace-id": trace,
		"x-forwarded-for": "198.51.100.7, 127.0.0.1", "x-forwarded-port": "8787", "x-forwarded-proto": "http",
	}, e.Headers)
	rc := e.RequestContext
	require.Equal(t, "POST /webhooks/{provider}/{install}", rc.RouteKey)
	require.Equal(t, "$default", rc.Stage)
	require.Equal(t, "000000000000", rc.AccountID)
	require.Equal(t, "hooks.example", rc.DomainName)
	require.Equal(t, "hooks", rc.DomainPrefix)
	require.NotEmpty(t, rc.RequestID)
	require.Equal(t, events.APIGatewayV2HTTPRequestContextHTTPDescription{
		Method: "POST", Path: "/webhooks/sl ack/in/st", Protocol: "HTTP/1.1", SourceIP: "127.0.0.1", UserAgent: "Probe/1",
	}, rc.HTTP)
	require.GreaterOrEqual(t, rc.TimeEpoch, before, "timeEpoch follows the stack's clock")
	require.Less(t, rc.TimeEpoch, before+60_000)
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", rc.Time)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(rc.Time, " +0000"))
	require.Equal(t, rc.TimeEpoch/1000, at.Unix())
	require.Contains(t, string(host.last(t)), `{\"k\": \"<é>\"}`, "no HTML escapes")
}

func TestFunctionURLEvent(t *testing.T) {
	host := &fakeHost{}
	_, s := serve(t, Options{Host: host})
	res := raw(t, s, "POST /v1/chat%2Fcompletions/gem%3Agen?x=1"+rawHead)
	require.Equal(t, 200, res.StatusCode)
	var e urlEvent
	strict(t, host.last(t), &e)
	require.Equal(t, "invoke", host.name)
	require.Equal(t, "/v1/chat%2Fcompletions/gem%3Agen", e.RawPath, "a function URL does not decode it")
	require.Equal(t, e.RawPath, e.RequestContext.HTTP.Path)
	require.Equal(t, "$default", e.RouteKey)
	require.Equal(t, "$default", e.RequestContext.RouteKey)
	require.Equal(t, "$default", e.RequestContext.Stage)
	require.Equal(t, "anonymous", e.RequestContext.AccountID)
	require.Equal(t, "invoke", e.RequestContext.APIID)
	require.NotContains(t, string(host.last(t)), "pathParameters")
	require.Equal(t, []string{"a=1", `b="2 3"`, "c=3"}, e.Cookies)
	require.Equal(t, "v0=a,v0=b", e.Headers["x-signature"])
	require.Equal(t, `{"k": "<é>"}`, e.Body)
}

func TestWhichBodiesAreBase64(t *testing.T) {
	host := &fakeHost{}
	_, s := serve(t, Options{Host: host})
	for _, c := range []struct {
		contentType, encoding, body string
		base64                      bool
	}{
		{"application/json", "", "{}", false},
		{"Application/JSON;charset=UTF-8", "", "{}", false},
		{"text/plain", "", "x", false},
		{"text/csv; header=present", "", "é", false},
		{"application/xml", "", "<a/>", false},
		{"application/javascript", "", "x", false},
		{"application/x-www-form-urlencoded", "", "a=1", true},
		{"application/cloudevents+json", "", "{}", true},
		{"application/octet-stream", "", "x", true},
		{"multipart/form-data; boundary=x", "", "--x--", true},
		{"", "", "x", true},
		{"application/json", "gzip", "{}", true},
		{"application/json", "", "\xff\xfe", true},
		{"text/plain", "", "", false},
	} {
		for _, path := range []string{"/plain", "/plainurl"} {
			req, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(c.body))
			require.NoError(t, err)
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			if c.encoding != "" {
				req.Header.Set("Content-Encoding", c.encoding)
			}
			res, _ := do(t, req)
			require.Equal(t, 200, res.StatusCode)
			var e struct {
				Body            string
				IsBase64Encoded bool
			}
			require.NoError(t, json.Unmarshal(host.last(t), &e))
			require.Equal(t, c.base64, e.IsBase64Encoded, "%+v", c)
			if e.IsBase64Encoded {
				b, err := base64.StdEncoding.DecodeString(e.Body)
				require.NoError(t, err)
				e.Body = string(b)
			}
			require.Equal(t, c.body, e.Body)
		}
	}
}

func TestRoutePrecedence(t *testing.T) {
	routes, err := compile([]Route{
		{Method: "ANY", Path: "/{proxy+}", Function: "any-all", Kind: URL},
		{Method: "GET", Path: "/pets/{proxy+}", Function: "pets-rest", Kind: URL},
		{Method: "GET", Path: "/pets/dog/{id}", Function: "dog-id", Kind: URL},
		{Method: "GET", Path: "/pets/dog/1", Function: "dog-1", Kind: URL},
		{Method: "ANY", Path: "/pets/dog/1", Function: "dog-1-any", Kind: URL},
		{Method: "GET", Path: "/pets/{kind}", Function: "kind", Kind: URL},
		{Path: "/v1beta/models/{proxy+}", Function: "gemini", Kind: URL},
		{Path: "/", Function: "root", Kind: URL},
	})
	require.NoError(t, err)
	for _, c := range []struct{ method, path, function, params string }{
		{"GET", "/pets/dog/1", "dog-1", "map[]"},
		{"POST", "/pets/dog/1", "dog-1-any", "map[]"},
		{"GET", "/pets/dog/2", "dog-id", "map[id:2]"},
		{"GET", "/pets/d%6Fg/1", "dog-1", "map[]"},
		{"GET", "/pets/cat", "kind", "map[kind:cat]"},
		{"GET", "/pets/cat/3", "pets-rest", "map[proxy:cat/3]"},
		{"GET", "/pets/dog/1/", "pets-rest", "map[proxy:dog/1/]"},
		{"POST", "/pets/cat/3", "any-all", "map[proxy:pets/cat/3]"},
		{"GET", "/pets/", "any-all", "map[proxy:pets/]"},
		{"POST", "/v1beta/models/gemini-2%3Ax:generateContent", "gemini", "map[proxy:gemini-2:x:generateContent]"},
		{"GET", "/", "root", "map[]"},
	} {
		r, params := find(routes, c.method, c.path)
		require.NotNil(t, r, c.path)
		require.Equal(t, c.function, r.Function, c.method+" "+c.path)
		require.Equal(t, c.params, fmt.Sprint(params), c.path)
	}
	only, err := compile([]Route{{Method: "POST", Path: "/a/{b+}", Function: "f", Kind: URL}})
	require.NoError(t, err)
	for _, miss := range []string{"GET /a/b", "POST /a", "POST /a/", "POST /", "POST /A/b"} {
		method, path, _ := strings.Cut(miss, " ")
		r, _ := find(only, method, path)
		require.Nil(t, r, miss)
	}
}

func TestBadRoutes(t *testing.T) {
	for want, routes := range map[string][]Route{
		"given twice":           {{Path: "/a/{x}", Function: "f", Kind: URL}, {Path: "/a/{y}", Function: "g", Kind: URL}},
		"unknown kind":          {{Path: "/a", Function: "f", Kind: "x"}},
		"no function":           {{Path: "/a", Kind: URL}},
		"does not begin":        {{Path: "a", Function: "f", Kind: URL}},
		"capital":               {{Path: "/a", Function: "f", Kind: URL, Method: "get"}},
		"belong to the stack":   {{Path: "/_local/x", Function: "f", Kind: URL}},
		"only possible at the":  {{Path: "/{a+}/b", Function: "f", Kind: URL}},
		"bad or repeated":       {{Path: "/{a}/{a}", Function: "f", Kind: URL}},
		"a whole segment":       {{Path: "/x{a}", Function: "f", Kind: URL}},
		"bad or repeated param": {{Path: "/{a", Function: "f", Kind: URL}},
	} {
		_, err := compile(routes)
		require.ErrorContains(t, err, want)
	}
	_, err := New(Options{Clock: new(clock.Clock)})
	require.ErrorContains(t, err, "required")
}

// FuzzEvent: whatever net/http lets through becomes an event that decodes
// strictly and keeps the body.
func FuzzEvent(f *testing.F) {
	f.Add([]byte("POST /a%2Fb?x=1&x=%zz HTTP/1.1\r\nHost: h:1\r\nCookie: a=b; c\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("GET http://x/y HTTP/1.0\r\nConnection: a,b\r\nA: 1\r\n\r\n"))
	f.Add([]byte("POST /v1/x HTTP/1.1\r\nHost: [::1]:8\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n\xff"))
	routes, err := compile(allRoutes)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			return
		}
		path, _ := rawTarget(r)
		route, params := find(routes, r.Method, path)
		kind := URL
		if route != nil {
			kind = route.Kind
		}
		out, err := buildEvent(r, target{kind: kind, function: "f", routeKey: "$default", params: params}, body, time.Unix(0, 0), "id", "trace")
		if err != nil {
			t.Fatal(err)
		}
		var e events.APIGatewayV2HTTPRequest
		dec := json.NewDecoder(bytes.NewReader(out))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		got := []byte(e.Body)
		if e.IsBase64Encoded {
			if got, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, body) {
			t.Fatalf("body %q became %q", body, got)
		}
	})
}
