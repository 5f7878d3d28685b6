// Package egress is the only place that builds HTTP clients, transports and
// dialers. Whatever the process sends to the outside passes through here.
//
// There are three kinds of clients. [Egress.Vendor] reaches an exact list of
// host names and nothing else. [Egress.Tenant] reaches endpoints that a
// customer named: public addresses only, never an IP literal. [Egress.Media]
// fetches files from such places without any credential and with a byte limit.
//
// For all of them: https on port 443, TLS 1.2 or newer, no user info, no
// redirects (a 3xx answer is handed back as it is; the caller treats it as an
// error), no proxy from the environment (a proxy would connect in our place and
// defeat the address check), and the address is checked when the connection is
// made, after resolution, so a name that changes its address between two look-ups
// gains nothing. The URL that was checked is the one that is dialled: nothing is
// parsed twice. Answers are bounded in headers, on the wire and decoded; only
// gzip is decoded. The trace header stays in the house. Only the exact host:port
// pairs of [Options.Allow] escape the scheme, port and address rules;
// configuration fills them on a local stack and nowhere else.
//
// A refusal is a *fault.Error with code provider_error that wraps [ErrRefused];
// every other failure is an *[Error]. Neither ever holds a URL, a name, an
// address or bytes of the answer. net/http puts a *url.Error around both, which
// does hold the URL: use [Do], or take the error out with errors.As; never print
// what http.Client.Do returned. One transport per kind is shared by all clients,
// so connections are pooled. A connection gets 3 s for look-up and connect; there
// is no overall timeout: callers use contexts, because an answer may stream for
// minutes.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/latchkey/latchkey/shared/fault"
)

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
	// Mask is applied to every header value of an answer: adapters keep some (a
	// vendor's request id), and a vendor may echo the key there. nil = none. Bodies
	// are not touched: what a model says is the caller's.
	Mask func(string) string

	// port replaces 443 in tests, which cannot listen there.
	port uint16
	// connect is told of every address that passed the guard, just before the
	// connection is made, and may forbid it. For tests: what it is not told of was
	// not dialled.
	connect func(network, address string) error
	// roots replaces the system's certificate authorities in tests.
	roots *x509.CertPool
}

// Egress makes clients. It is safe for concurrent use.
type Egress struct {
	allow                 map[string]bool
	port                  string
	open, strict          *net.Dialer
	mask                  func(string) string
	vendor, tenant, media *http.Transport
}

// New checks the options. It fails with fault.InvalidRequest if an Allow entry
// is not "host:port".
func New(o Options) (*Egress, error) {
	e := &Egress{allow: make(map[string]bool, len(o.Allow)), port: "443", mask: o.Mask}
	if o.port == 0 {
		o.port = 443
	} else {
		e.port = netip.AddrPortFrom(netip.IPv4Unspecified(), o.port).String()[len("0.0.0.0:"):]
	}
	if o.connect == nil {
		o.connect = func(string, string) error { return nil }
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
	e.open, e.strict = dialer(o), dialer(o)
	e.open.Control = func(network, address string, _ syscall.RawConn) error { return o.connect(network, address) }
	e.strict.Control = func(network, address string, c syscall.RawConn) error {
		if guard.Safe(network, address, c) != nil {
			return refuse("the endpoint resolves to an address that is not allowed")
		}
		return o.connect(network, address)
	}
	e.vendor, e.tenant, e.media = e.transport(o), e.transport(o), e.transport(o)
	return e, nil
}

func dialer(o Options) *net.Dialer {
	return &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver}
}

func (e *Egress) transport(o Options) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if e.allow[strings.ToLower(addr)] {
				return e.open.DialContext(ctx, network, addr)
			}
			return e.strict.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // see body
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
	return e.client(&guarded{e: e, kind: KindVendor, next: e.vendor, hosts: set, maxBody: MaxBody})
}

// Tenant returns a client for endpoints that customers named.
func (e *Egress) Tenant() *http.Client {
	return e.client(&guarded{e: e, kind: KindTenant, next: e.tenant, maxBody: MaxBody})
}

// Media returns a client that fetches files of at most maxBytes decoded bytes
// and of the given types, "audio/ogg" or "audio/*"; without any it fetches
// nothing. The type is told from the bytes, and a declared type that contradicts
// them is refused with code unsupported_media; the answer's Content-Type then
// names what the bytes are. It refuses requests that are not a GET or carry
// anything but Accept and User-Agent. An answer that is not 2xx is handed back
// bounded but not looked at.
func (e *Egress) Media(maxBytes int64, types ...string) *http.Client {
	return e.client(&guarded{e: e, kind: KindMedia, next: e.media, maxBody: maxBytes, types: types})
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

// guarded checks the URL of each request before the shared transport sees it.
type guarded struct {
	e       *Egress
	kind    Kind
	next    *http.Transport
	hosts   map[string]bool // of a vendor
	maxBody int64
	types   []string // of media
}

// RoundTrip implements [http.RoundTripper].
func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	host, reason := g.e.check(req.URL, g.hosts, g.kind == KindVendor)
	if reason == "" {
		reason = g.checkRequest(req)
	}
	if reason != "" {
		return nil, drop(req, reason)
	}
	ctx := req.Context()
	resp, err := g.next.RoundTrip(outgoing(req))
	if err != nil {
		return nil, rebuild(ctx, g.kind, host, err)
	}
	if g.e.mask != nil {
		for _, values := range resp.Header {
			for i, v := range values {
				values[i] = g.e.mask(v)
			}
		}
	}
	if err := g.wrap(ctx, host, resp); err != nil {
		return nil, err
	}
	if g.kind == KindMedia {
		if err := g.sniff(host, resp); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	return resp, nil
}

// checkRequest returns why a request may not be sent, or "".
func (g *guarded) checkRequest(req *http.Request) string {
	// The Host header decides which tenant of a shared front end answers.
	if req.Host != "" && !strings.EqualFold(req.Host, req.URL.Host) {
		return "the request names another host than its URL"
	}
	if g.kind != KindMedia {
		return ""
	}
	if req.Method != "" && req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody {
		return "media is fetched with GET"
	}
	for name := range req.Header {
		if !strings.EqualFold(name, "Accept") && !strings.EqualFold(name, "User-Agent") {
			return "media is fetched without credentials"
		}
	}
	return ""
}

// outgoing is the request as it leaves: without our trace header, and asking for
// the encoding that [body] decodes where the caller asks for none.
func outgoing(req *http.Request) *http.Request {
	out := req.WithContext(req.Context())
	out.Header = make(http.Header, len(req.Header)+1)
	asks := req.Method == http.MethodHead
	for name, values := range req.Header {
		switch {
		case strings.EqualFold(name, "X-Amzn-Trace-Id"):
			continue
		case strings.EqualFold(name, "Accept-Encoding"), strings.EqualFold(name, "Range"):
			asks = true
		}
		out.Header[name] = values
	}
	if !asks {
		out.Header["Accept-Encoding"] = []string{"gzip"}
	}
	return out
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
