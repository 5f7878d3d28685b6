package front

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

// event is payload format 2.0 as HTTP API and function URLs send it. Fields that
// AWS sends as null when empty are left out, which decodes alike.
type event struct {
	Version               string            `json:"version"`
	RouteKey              string            `json:"routeKey"`
	RawPath               string            `json:"rawPath"`
	RawQueryString        string            `json:"rawQueryString"`
	Cookies               []string          `json:"cookies,omitempty"`
	Headers               map[string]string `json:"headers"`
	QueryStringParameters map[string]string `json:"queryStringParameters,omitempty"`
	PathParameters        map[string]string `json:"pathParameters,omitempty"`
	RequestContext        requestContext    `json:"requestContext"`
	Body                  *string           `json:"body,omitempty"`
	IsBase64Encoded       bool              `json:"isBase64Encoded"`
}

type requestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         httpContext `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

type httpContext struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// target is where an event goes.
type target struct {
	kind     Kind
	function string
	routeKey string
	params   map[string]string
}

// buildEvent translates a request whose body has been read.
func buildEvent(r *http.Request, t target, body []byte, now time.Time, requestID, trace string) ([]byte, error) {
	rawPath, query := rawTarget(r)
	host, port := splitHost(r.Host)
	sourceIP, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		sourceIP = r.RemoteAddr
	}
	e := event{
		Version: "2.0", RouteKey: t.routeKey, RawPath: rawPath, RawQueryString: query,
		Cookies: cookies(r.Header), Headers: headers(r, body, sourceIP, port, trace),
		QueryStringParameters: queryParameters(query), PathParameters: t.params,
		RequestContext: requestContext{
			AccountID: lambdahost.LocalAccountID, APIID: "local", DomainName: host, DomainPrefix: firstLabel(host),
			RequestID: requestID, RouteKey: t.routeKey, Stage: "$default",
			Time: now.Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
			HTTP: httpContext{Method: r.Method, Protocol: r.Proto, SourceIP: sourceIP, UserAgent: r.UserAgent()},
		},
	}
	if t.kind == HTTPAPI {
		e.RawPath = decoded(rawPath)
	} else {
		// What AWS sends for a function URL without authorizer.
		e.RequestContext.AccountID, e.RequestContext.APIID = "anonymous", t.function
	}
	e.RequestContext.HTTP.Path = e.RawPath
	if len(body) > 0 {
		text := string(body)
		if !isText(r.Header, body) {
			text, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
		}
		e.Body = &text
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // AWS does not, and the escapes would count towards the limit
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// headers are lower-cased and repeated ones joined by commas; cookies have their
// own field; what belongs to one connection only is dropped, as any proxy does.
func headers(r *http.Request, body []byte, sourceIP, port, trace string) map[string]string {
	drop := map[string]bool{
		"connection": true, "keep-alive": true, "proxy-authenticate": true, "proxy-authorization": true, "proxy-connection": true,
		"te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "expect": true, "cookie": true,
	}
	for _, v := range r.Header["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			drop[strings.ToLower(textproto.TrimString(name))] = true
		}
	}
	out := make(map[string]string, len(r.Header)+6)
	for name, values := range r.Header {
		if lower := strings.ToLower(name); !drop[lower] {
			out[lower] = strings.Join(values, ",")
		}
	}
	out["host"] = r.Host
	delete(out, "content-length")
	if len(body) > 0 || r.Header.Get("Content-Length") != "" {
		out["content-length"] = strconv.Itoa(len(body))
	}
	forwarded := sourceIP
	if before := out["x-forwarded-for"]; before != "" {
		forwarded = before + ", " + sourceIP
	}
	out["x-forwarded-for"] = forwarded
	out["x-forwarded-proto"] = "http"
	out["x-forwarded-port"] = port
	out["x-amzn-trace-id"] = trace
	return out
}

func cookies(h http.Header) []string {
	var out []string
	for _, line := range h["Cookie"] {
		for c := range strings.SplitSeq(line, ";") {
			if c = textproto.TrimString(c); c != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

// queryParameters decodes names and values and joins repeats by commas, in order.
func queryParameters(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	out := map[string]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = decodedQuery(name), decodedQuery(value)
		if before, repeated := out[name]; repeated {
			value = before + "," + value
		}
		out[name] = value
	}
	return out
}

func decodedQuery(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

// isText: see the package comment.
func isText(h http.Header, body []byte) bool {
	if h.Get("Content-Encoding") != "" || !utf8.Valid(body) {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && mediaType == "" {
		return false
	}
	switch mediaType {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(mediaType, "text/")
}

// splitHost keeps the brackets of an IPv6 address: domainName goes into URLs.
func splitHost(hostport string) (host, port string) {
	u := url.URL{Host: hostport}
	host, port = hostport, u.Port()
	if port != "" {
		host = strings.TrimSuffix(hostport, ":"+port)
	} else {
		port = "80"
	}
	return host, port
}

func firstLabel(host string) string {
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return host
	}
	label, _, _ := strings.Cut(host, ".")
	return label
}
