package egress

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
)

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
		req.Header["x-AMZN-trace-id"] = []string{"Root=1"}
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

// TestRedirectsAreNotFollowed: a redirect is handed back, whatever it says and
// wherever it points, and the place it points to sees nobody.
func TestRedirectsAreNotFollowed(t *testing.T) {
	inside := listenCounting(t)
	var second atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/second" {
			second.Add(1)
			return
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		http.Redirect(w, r, r.URL.Query().Get("to"), status)
	}))
	defer srv.Close()
	e, _ := New(Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://"), "127.0.0.1:" + portString(inside.port)}})
	for _, client := range []*http.Client{e.Vendor(), e.Tenant(), e.Media(1<<20, "audio/*")} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{"/second", srv.URL + "/second", "http://127.0.0.1:" + portString(inside.port) + "/latest/meta-data/",
				"https://169.254.169.254/", "//[::1]:" + portString(inside.port) + "/"} {
				resp, err := client.Get(srv.URL + "/first?" + url.Values{"status": {strconv.Itoa(status)}, "to": {to}}.Encode())
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != status {
					t.Errorf("%d to %s: %d", status, to, resp.StatusCode)
				}
			}
		}
	}
	if second.Load() != 0 || inside.n.Load() != 0 {
		t.Fatalf("followed %d times, %d connections inside", second.Load(), inside.n.Load())
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
