// Package egress is the only place that builds HTTP clients, transports and
// dialers. Whatever the process sends to the outside passes through here.
//
// There are three kinds of clients. [Egress.Vendor] reaches an exact list of
// host names and nothing else. [Egress.Tenant] reaches endpoints that a
// customer named: public addresses only, never an IP literal. [Egress.Media]
// fetches files from such places without any credential and with a byte limit.
//
// For all of them: https on port 443, no user info, no redirects (a 3xx answer
// is handed back as it is; the caller treats it as an error), no proxy from the
// environment (a proxy would connect in our place and defeat the address check),
// and the address is checked when the connection is made, after resolution, so
// a name that changes its address between two look-ups gains nothing. Decoded
// bodies are bounded. Only the exact host:port pairs of [Options.Allow] escape
// the scheme, port and address rules; configuration fills them on a local stack
// and nowhere else.
//
// A refusal is a *fault.Error with code provider_error that wraps [ErrRefused];
// its message never holds the URL. One transport per kind is shared by all
// clients, so connections are pooled. There is no overall timeout: callers use
// contexts, because an answer may stream for minutes.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"code.dny.dev/ssrf"

	"github.com/latchkey/latchkey/shared/fault"
)

// ErrRefused is wrapped by every refusal.
var ErrRefused = errors.New("egress: destination refused")

// MaxBody bounds the decoded body of vendor and tenant answers, in bytes.
// Adapters use lower limits of their own.
const MaxBody = 256 << 20

const (
	connectTimeout   = 3 * time.Second
	handshakeTimeout = 5 * time.Second
	idleConnTimeout  = 90 * time.Second
	idlePerHost      = 64
	pingAfter        = 15 * time.Second
	pingTimeout      = 5 * time.Second
	maxHeaderBytes   = 256 << 10
)

// azureWireServer is a metadata endpoint in public address space, which the
// registry of special addresses therefore does not list (Azure documentation
// "What is IP address 168.63.129.16", read 2026-11).
const azureWireServer = "168.63.129.16/32"

// Options configure an [Egress]. The zero Options is the strict one.
type Options struct {
	// Allow lists exact "host:port" pairs that may be reached over http and at
	// private addresses, by every client. Local stacks only.
	Allow []string
	// Resolver replaces the system's name resolution; nil means the system's.
	Resolver *net.Resolver

	// port replaces 443 in tests, which cannot listen there.
	port uint16
}

// Egress makes clients. It is safe for concurrent use.
type Egress struct {
	allow                 map[string]bool
	port                  string
	vendor, tenant, media *http.Transport
}

// New checks the options. It fails with fault.InvalidRequest if an Allow entry
// is not "host:port".
func New(o Options) (*Egress, error) {
	e := &Egress{allow: make(map[string]bool, len(o.Allow)), port: "443"}
	if o.port == 0 {
		o.port = 443
	} else {
		e.port = netip.AddrPortFrom(netip.IPv4Unspecified(), o.port).String()[len("0.0.0.0:"):]
	}
	for _, a := range o.Allow {
		host, port, err := net.SplitHostPort(strings.TrimSpace(a))
		if err != nil || host == "" || port == "" || strings.ContainsAny(host, "/@*") {
			return nil, fault.New(fault.InvalidRequest, "egress.New", "each allowed endpoint must be an exact host:port")
		}
		e.allow[net.JoinHostPort(strings.ToLower(host), port)] = true
	}
	guard := ssrf.New(ssrf.WithPorts(o.port), ssrf.WithNetworks("tcp4", "tcp6"),
		ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix(azureWireServer)))
	e.vendor, e.tenant, e.media = e.transport(o, guard), e.transport(o, guard), e.transport(o, guard)
	return e, nil
}

func (e *Egress) transport(o Options, guard *ssrf.Guardian) *http.Transport {
	open := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver}
	strict := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver, Control: guard.Safe}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if e.allow[strings.ToLower(addr)] {
				return open.DialContext(ctx, network, addr)
			}
			c, err := strict.DialContext(ctx, network, addr)
			if errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedPort) ||
				errors.Is(err, ssrf.ErrProhibitedNetwork) || errors.Is(err, ssrf.ErrInvalidHostPort) {
				return nil, refuse("the endpoint resolves to an address that is not allowed")
			}
			return c, err
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConns:           idlePerHost * 4,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
	}
}

// Vendor returns a client for exactly these host names. Without any it reaches
// only the allowed pairs of [Options].
func (e *Egress) Vendor(hosts ...string) *http.Client {
	set := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		set[strings.ToLower(h)] = true
	}
	return e.client(&guarded{e: e, next: e.vendor, hosts: set, maxBody: MaxBody})
}

// Tenant returns a client for endpoints that customers named.
func (e *Egress) Tenant() *http.Client {
	return e.client(&guarded{e: e, next: e.tenant, maxBody: MaxBody})
}

// Media returns a client that fetches files of at most maxBytes decoded bytes.
// It refuses requests that carry anything but Accept, Range and User-Agent.
func (e *Egress) Media(maxBytes int64) *http.Client {
	return e.client(&guarded{e: e, next: e.media, maxBody: maxBytes, bare: true})
}

func (e *Egress) client(g *guarded) *http.Client {
	return &http.Client{
		Transport:     g,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CloseIdle closes pooled connections that are not in use.
func (e *Egress) CloseIdle() {
	e.vendor.CloseIdleConnections()
	e.tenant.CloseIdleConnections()
	e.media.CloseIdleConnections()
}

// CheckTenantURL checks a base URL when a customer saves it and returns its
// origin, "https://host". It fails with fault.InvalidRequest (param base_url)
// and a message that says what to change. Passing does not mean the address is
// allowed: that is decided at each connection.
func (e *Egress) CheckTenantURL(raw string) (origin string, err error) {
	bad := func(msg string) (string, error) {
		return "", fault.New(fault.InvalidRequest, "egress.CheckTenantURL", msg).WithParam("base_url")
	}
	if len(raw) > 2048 {
		return bad("the base URL is longer than 2048 characters")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return bad("the base URL must look like https://host/v1")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#") {
		return bad("the base URL must not have a query or a fragment")
	}
	if reason := e.check(u, nil, false); reason != "" {
		return bad(reason)
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host), nil
}

// guarded checks the URL of each request before the shared transport sees it.
type guarded struct {
	e       *Egress
	next    *http.Transport
	hosts   map[string]bool
	maxBody int64
	bare    bool
}

// RoundTrip implements [http.RoundTripper].
func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if reason := g.e.check(req.URL, g.hosts, g.hosts != nil); reason != "" {
		return nil, drop(req, reason)
	}
	// The Host header decides which tenant of a shared front end answers.
	if req.Host != "" && !strings.EqualFold(req.Host, req.URL.Host) {
		return nil, drop(req, "the request names another host than its URL")
	}
	if g.bare {
		for name := range req.Header {
			if name != "Accept" && name != "Range" && name != "User-Agent" {
				return nil, drop(req, "media is fetched without credentials")
			}
		}
	}
	if len(req.Header["X-Amzn-Trace-Id"]) > 0 {
		req = req.Clone(req.Context())
		req.Header.Del("X-Amzn-Trace-Id")
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, left: g.maxBody}
	return resp, nil
}

func drop(req *http.Request, reason string) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return refuse(reason)
}

func refuse(reason string) *fault.Error {
	return fault.Wrap(fault.ProviderError, "egress", reason, ErrRefused)
}

// check returns why a URL may not be used, or "".
func (e *Egress) check(u *url.URL, hosts map[string]bool, listed bool) string {
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "the endpoint must use https"
	}
	if u.User != nil {
		return "the endpoint must not contain a user name or password"
	}
	if port == "" {
		port = "443"
		if scheme == "http" {
			port = "80"
		}
	}
	if e.allow[net.JoinHostPort(host, port)] {
		return ""
	}
	switch {
	case scheme != "https":
		return "the endpoint must use https"
	case port != e.port:
		return "the endpoint must use port 443"
	case listed && !hosts[host]:
		return "the host is not one of the vendor's hosts"
	case !listed:
		return tenantHost(host)
	}
	return ""
}

// tenantHost returns why a host name may not be used by a customer, or "". It
// gives clear answers early; the dial check is what protects.
func tenantHost(host string) string {
	if host == "" || len(host) > 253 {
		return "the endpoint has no usable host name"
	}
	for i := 0; i < len(host); i++ {
		c := host[i]
		switch {
		case c == ':' || c == '%':
			return "the endpoint must be a host name, not an IP address"
		case c >= 0x80:
			return "write the host name in its ASCII form (xn--…)"
		case c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z'):
			return "the endpoint has no usable host name"
		}
	}
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	switch {
	case last == "":
		return "the host name must not end with a dot"
	case numeric(last):
		return "the endpoint must be a host name, not an IP address"
	case len(labels) == 1, last == "localhost", last == "local", last == "internal":
		return "the endpoint must be a public host name"
	}
	return ""
}

// numeric reports whether resolvers would read a name with this last label as
// an IPv4 address: 2130706433, 0177.0.0.1, 0x7f.1 and the like.
func numeric(label string) bool {
	if strings.HasPrefix(label, "0x") {
		return true
	}
	return strings.Trim(label, "0123456789") == ""
}

// cappedBody fails once more than left bytes were read.
type cappedBody struct {
	io.ReadCloser
	left int64
}

// Read implements [io.Reader].
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fault.New(fault.TooLarge, "egress", "the answer is larger than allowed")
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, fault.New(fault.TooLarge, "egress", "the answer is larger than allowed")
	}
	return n, err
}
