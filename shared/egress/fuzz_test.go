package egress

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// special are the address blocks that are not the public internet, written down
// from IANA's special-purpose registries (read 2026-11) and not from the library
// that the guard uses.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", azureWireServer,
	"2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20",
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func publicInternet(a netip.Addr) bool {
	if a = a.Unmap(); a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// FuzzOnlyPublicAddressesAreDialled: no string, together with no answer of the
// resolver, makes a client dial an address that is not public.
func FuzzOnlyPublicAddressesAreDialled(f *testing.F) {
	for _, row := range ssrfTable {
		a := netip.IPv4Unspecified()
		if row.target != "" {
			a = netip.MustParseAddr(row.target)
		}
		f.Add(strings.ReplaceAll(row.form, "{p}", ""), a.AsSlice(), []byte{93, 184, 216, 34})
	}
	f.Add("https://api.example.org/v1", []byte{8, 8, 8, 8}, netip.MustParseAddr("2606:4700::1111").AsSlice())
	var now atomic.Pointer[[]netip.Addr]
	var d dialled
	e, err := New(Options{Resolver: fakeDNS(f, func(string) (string, []netip.Addr) { return "", *now.Load() }), connect: d.connect})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string, first, second []byte) {
		var resolved []netip.Addr
		for _, b := range [][]byte{first, second} {
			if a, ok := netip.AddrFromSlice(b); ok {
				resolved = append(resolved, a)
				checkGuard(t, e, a)
			}
		}
		d.take() // of the checks above
		now.Store(&resolved)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
		if err != nil {
			if _, saved := e.CheckTenantURL(raw); saved == nil {
				t.Fatalf("%q can be saved but not called", raw)
			}
			return
		}
		_, saved := e.CheckTenantURL(raw)
		for _, client := range []*http.Client{e.Tenant(), e.Media(1<<20, "audio/*"), e.Vendor(req.URL.Hostname())} {
			resp, err := Do(client, req)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatalf("%q was reached", raw)
			}
			checkError(t, err, req.URL)
			for _, a := range d.take() {
				if !publicInternet(a) {
					t.Fatalf("%q made it dial %s", raw, a)
				}
				if saved != nil && client.Transport.(*guarded).kind == KindTenant && req.URL.RawQuery == "" && !req.URL.ForceQuery && req.URL.Fragment == "" && !strings.HasSuffix(raw, "#") && len(raw) <= 2048 {
					t.Fatalf("%q cannot be saved but is called: %v", raw, saved)
				}
			}
		}
	})
}

// checkGuard compares the check with the list above for one address.
func checkGuard(t *testing.T, e *Egress, a netip.Addr) {
	network := "tcp4"
	if a.Unmap().Is6() {
		network = "tcp6"
	}
	// As the dialler spells it: mapped addresses are IPv4.
	err := e.strict.Control(network, net.JoinHostPort(a.Unmap().String(), "443"), nil)
	if allowed := err == nil || !strings.Contains(err.Error(), "not allowed"); allowed && !publicInternet(a) {
		t.Fatalf("%s passes the guard", a)
	}
}

func checkError(t *testing.T, err error, u *url.URL) {
	if h := u.Hostname(); len(h) > 8 && strings.Contains(h, ".") && strings.Contains(err.Error(), h) {
		t.Fatalf("the error of %q shows its host: %v", u, err)
	}
	if strings.HasPrefix(u.Path, "/") && len(u.Path) > 8 && strings.Contains(err.Error(), u.Path) {
		t.Fatalf("the error of %q shows its path: %v", u, err)
	}
}
