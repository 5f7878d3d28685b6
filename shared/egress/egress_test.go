package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
)

// counter accepts on loopback and counts connections.
type counter struct {
	port uint16
	n    atomic.Int64
}

func listenCounting(t *testing.T) *counter {
	t.Helper()
	c := &counter{}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	c.serve(t, l)
	if l6, err := net.Listen("tcp6", net.JoinHostPort("::1", portString(c.port))); err == nil {
		c.serve(t, l6)
	}
	return c
}

func portString(p uint16) string {
	return strings.TrimPrefix(netip.AddrPortFrom(netip.IPv4Unspecified(), p).String(), "0.0.0.0:")
}

func (c *counter) serve(t *testing.T, l net.Listener) {
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.n.Add(1)
			_ = conn.Close()
		}
	}()
}

// fakeDNS answers every A and AAAA question from a table.
func fakeDNS(t *testing.T, table map[string][]netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := dnsAnswer(buf[:n], table); out != nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", pc.LocalAddr().String())
	}}
}

func dnsAnswer(q []byte, table map[string][]netip.Addr) []byte {
	if len(q) < 17 {
		return nil
	}
	var labels []string
	i := 12
	for q[i] != 0 {
		l := int(q[i])
		labels = append(labels, string(q[i+1:i+1+l]))
		i += 1 + l
	}
	qtype := binary.BigEndian.Uint16(q[i+1:])
	end := i + 5
	var answers [][]byte
	for _, a := range table[strings.ToLower(strings.Join(labels, "."))] {
		if a.Is4() && qtype == 1 || a.Is6() && qtype == 28 {
			answers = append(answers, a.AsSlice())
		}
	}
	out := append([]byte{}, q[:end]...)
	out[2], out[3] = 0x81, 0x80
	binary.BigEndian.PutUint16(out[6:], uint16(len(answers)))
	clear(out[8:12])
	for _, a := range answers {
		out = append(out, 0xc0, 12, byte(qtype>>8), byte(qtype), 0, 1, 0, 0, 0, 0, 0, byte(len(a)))
		out = append(out, a...)
	}
	return out
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// TestNothingIsDialled sends every form of address that has been used to reach
// internal services, with the port check open for the counting listener, so
// that only the host and address rules stand in between.
func TestNothingIsDialled(t *testing.T) {
	c := listenCounting(t)
	p := ":" + portString(c.port)
	dns := fakeDNS(t, map[string][]netip.Addr{
		"loop.example.com":    addrs("127.0.0.1"),
		"loop6.example.com":   addrs("::1"),
		"mixed.example.com":   addrs("127.0.0.1", "::1", "10.0.0.1"),
		"meta.example.com":    addrs("169.254.169.254"),
		"xray.example.com":    addrs("169.254.79.129"),
		"ecs.example.com":     addrs("169.254.170.2"),
		"meta6.example.com":   addrs("fd00:ec2::254"),
		"nat64.example.com":   addrs("64:ff9b::7f00:1"),
		"sixto4.example.com":  addrs("2002:7f00:1::1"),
		"teredo.example.com":  addrs("2001::7f00:1"),
		"mapped.example.com":  addrs("::ffff:127.0.0.1"),
		"compat.example.com":  addrs("::127.0.0.1"),
		"site.example.com":    addrs("fec0::1"),
		"cgn.example.com":     addrs("100.64.0.1"),
		"bench.example.com":   addrs("198.18.0.1"),
		"zero.example.com":    addrs("0.0.0.0"),
		"cast.example.com":    addrs("255.255.255.255"),
		"azure.example.com":   addrs("168.63.129.16"),
		"private.example.com": addrs("192.168.1.1", "172.16.0.1"),
	})
	e, err := New(Options{Resolver: dns, port: c.port})
	if err != nil {
		t.Fatal(err)
	}
	urls := []string{
		"https://127.0.0.1" + p, "https://[::1]" + p, "https://[::ffff:127.0.0.1]" + p, "https://0.0.0.0" + p,
		"https://2130706433" + p, "https://0x7f000001" + p, "https://0x7f.1" + p, "https://0177.0.0.1" + p,
		"https://127.1" + p, "https://localhost" + p, "https://LOCALHOST" + p, "https://a.localhost" + p,
		"https://localhost." + p, "https://127.0.0.1." + p, "https://[::1%25lo]" + p, "https://ⓛocalhost" + p,
		"https://intranet" + p, "https://user@loop.example.com" + p, "https://user:pw@loop.example.com" + p,
		"http://loop.example.com" + p, "https://loop.example.com:1", "https://loop.example.com", "https:///path",
		"ftp://loop.example.com" + p, "file:///proc/self/environ", "gopher://127.0.0.1" + p,
		"https://loop.example.com" + p, "https://loop6.example.com" + p, "https://mixed.example.com" + p,
		"https://meta.example.com" + p, "https://xray.example.com" + p, "https://ecs.example.com" + p,
		"https://meta6.example.com" + p, "https://nat64.example.com" + p, "https://sixto4.example.com" + p,
		"https://teredo.example.com" + p, "https://mapped.example.com" + p, "https://compat.example.com" + p,
		"https://site.example.com" + p, "https://cgn.example.com" + p, "https://bench.example.com" + p,
		"https://zero.example.com" + p, "https://cast.example.com" + p, "https://azure.example.com" + p,
		"https://private.example.com" + p,
	}
	clients := map[string]*http.Client{
		"tenant": e.Tenant(), "media": e.Media(1 << 20),
		"vendor": e.Vendor("openrouter.example", "loop.example.com", "mixed.example.com", "127.0.0.1"),
	}
	for kind, client := range clients {
		for _, u := range urls {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
			if err != nil {
				continue
			}
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Errorf("%s: %s was reached", kind, u)
				continue
			}
			var f *fault.Error
			if !errors.Is(err, ErrRefused) || !errors.As(err, &f) || f.Code != fault.ProviderError {
				t.Errorf("%s: %s failed for another reason: %v", kind, u, err)
			} else if strings.Contains(f.Error(), "example") || strings.Contains(f.Error(), "127") {
				t.Errorf("%s: the refusal shows the address: %v", kind, f)
			}
		}
	}
	if n := c.n.Load(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
}

// TestGuardIsWhatStopsIt proves that the listener of the test above would have
// been reached: the same name on the allow list is dialled.
func TestGuardIsWhatStopsIt(t *testing.T) {
	c := listenCounting(t)
	dns := fakeDNS(t, map[string][]netip.Addr{"loop.example.com": addrs("127.0.0.1")})
	name := "loop.example.com:" + portString(c.port)
	e, err := New(Options{Resolver: dns, port: c.port, Allow: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Tenant().Get("https://" + name + "/") //nolint:bodyclose // the listener hangs up
	if err == nil || errors.Is(err, ErrRefused) {
		t.Fatalf("want a broken connection, got %v", err)
	}
	if c.n.Load() == 0 {
		t.Fatal("the listener was not reached")
	}
}

func TestAllowIsExact(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amzn-Trace-Id") != "" {
			t.Error("the trace header left the house")
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	e, err := New(Options{Allow: []string{" " + host + " "}})
	if err != nil {
		t.Fatal(err)
	}
	for kind, client := range map[string]*http.Client{"vendor": e.Vendor(), "tenant": e.Tenant()} {
		req, _ := http.NewRequest(http.MethodGet, srv.URL+"/x", nil)
		req.Header.Set("X-Amzn-Trace-Id", "Root=1")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		_ = resp.Body.Close()
	}
	// The same address under another name, and the same name at another port.
	_, port, _ := net.SplitHostPort(host)
	for _, u := range []string{"http://localhost:" + port, "http://127.0.0.1:1", "http://127.0.0.1"} {
		if _, err := e.Tenant().Get(u); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
			t.Errorf("%s: want a refusal, got %v", u, err)
		}
	}
	for _, bad := range []string{"host", "http://host:1", "*:80", "", "host:"} {
		if _, err := New(Options{Allow: []string{bad}}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("Allow %q: got %v", bad, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var second atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/second" {
			second.Add(1)
			return
		}
		http.Redirect(w, r, "/second", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	e, _ := New(Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	resp, err := e.Vendor().Post(srv.URL+"/first", "text/plain", strings.NewReader("key"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || second.Load() != 0 {
		t.Fatalf("status %d, followed %d times", resp.StatusCode, second.Load())
	}
}

func TestMediaIsBoundedAndBare(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(bytes.Repeat([]byte{0}, 1<<20))
		_ = z.Close()
	}))
	defer srv.Close()
	e, _ := New(Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	for limit, want := range map[int64]fault.Code{1 << 20: "", 1<<20 - 1: fault.TooLarge, 100: fault.TooLarge} {
		resp, err := e.Media(limit).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if fault.CodeOf(err) != want || int64(len(b)) != limit {
			t.Errorf("limit %d: read %d bytes, %v", limit, len(b), err)
		}
	}
	for _, h := range []string{"Authorization", "X-Api-Key", "Cookie", "Xi-Api-Key", "X-Goog-Api-Key"} {
		req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
		req.Header.Set(h, "x")
		if _, err := e.Media(10).Do(req); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
			t.Errorf("%s: got %v", h, err)
		}
	}
}

func TestHostHeaderMustMatch(t *testing.T) {
	e, _ := New(Options{})
	req, _ := http.NewRequest(http.MethodGet, "https://openrouter.example/", nil)
	req.Host = "other.example"
	if _, err := e.Vendor("openrouter.example").Do(req); !errors.Is(err, ErrRefused) { //nolint:bodyclose // refused
		t.Fatalf("got %v", err)
	}
}

func TestProxyEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	e, _ := New(Options{})
	for _, tr := range []*http.Transport{e.vendor, e.tenant, e.media} {
		if tr.Proxy != nil {
			t.Fatal("a proxy function is set")
		}
	}
}

func TestCheckTenantURL(t *testing.T) {
	e, _ := New(Options{Allow: []string{"127.0.0.1:8080"}})
	good := map[string]string{
		"https://API.Example.com/v1":     "https://api.example.com",
		"https://api.example.com:443/v1": "https://api.example.com:443",
		"http://127.0.0.1:8080/v1":       "http://127.0.0.1:8080",
	}
	for in, want := range good {
		if got, err := e.CheckTenantURL(in); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "api.example.com", "http://api.example.com", "https://api.example.com:8443",
		"https://10.0.0.1", "https://[::1]/", "https://u:p@api.example.com", "https://api.example.com/?a=1",
		"https://api.example.com/#x", "https://api.example.com?", "https://localhost", "https://x.internal",
		"https://0x7f.1", "https://exämple.com", "http://api.example.com:443", "mailto:a@b.c", "https://a.example.com./", "https://" + strings.Repeat("a", 3000),
		"https://api.example.com\x00", "https://127.0.0.1:8081", "https://a b.example.com"} {
		_, err := e.CheckTenantURL(in)
		f := fault.As(err)
		if f == nil || f.Code != fault.InvalidRequest || f.Param != "base_url" {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

func FuzzCheckTenantURL(f *testing.F) {
	f.Add("https://api.example.com/v1")
	f.Add("https://[::1%25lo]:443")
	f.Add("https://0x7f.1")
	e, _ := New(Options{})
	f.Fuzz(func(t *testing.T, raw string) {
		origin, err := e.CheckTenantURL(raw)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := e.CheckTenantURL(origin)
		if err != nil || again != origin || !strings.HasPrefix(origin, "https://") {
			t.Fatalf("%q gives %q, which gives %q, %v", raw, origin, again, err)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(origin, "https://"), ":443")
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			t.Fatalf("%q is an address", raw)
		}
	})
}
