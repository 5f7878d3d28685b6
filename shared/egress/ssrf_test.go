package egress

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
)

// What a row of the table expects when a URL is saved. The words stand for the
// messages of savedMessages; hidden means that nothing about the URL tells, so
// that it may be saved and the call decides.
const (
	hidden   = ""
	literal  = "literal"
	shape    = "shape"
	plain    = "plain"
	port     = "port"
	userinfo = "userinfo"
	ascii    = "ascii"
	badName  = "name"
	private  = "private name"
	dot      = "dot"
	query    = "query"
)

var savedMessages = map[string]string{
	literal: "the endpoint must be a host name, not an IP address", shape: "the base URL must look like https://host/v1",
	plain: "the endpoint must use https", port: "the endpoint must use port 443", userinfo: "the endpoint must not contain a user name or password",
	ascii: "write the host name in its ASCII form (xn--…)", badName: "the endpoint has no usable host name",
	private: "the endpoint must be a public host name", dot: "the host name must not end with a dot",
	query: "the base URL must not have a query or a fragment",
}

// What a row expects of a call.
const (
	refused    = "refused"    // a refusal of this package
	unparsable = "unparsable" // net/url makes no request of it
	publicOnly = "public only"
)

const publicAddress = "93.184.216.34"

// ssrfTable lists the addresses and forms that have been used to reach internal
// services through a server. target is the address each of them means; names
// below .example.com resolve to it. {p} is the port in a call and empty when the
// URL is saved.
var ssrfTable = []struct{ form, target, save, call string }{
	// Address literals, in the spellings that one parser or another understands.
	{"https://127.0.0.1{p}/v1", "127.0.0.1", literal, refused},
	{"https://127.8.9.10{p}/v1", "127.8.9.10", literal, refused},
	{"https://10.0.0.1{p}/v1", "10.0.0.1", literal, refused},
	{"https://172.16.0.1{p}/v1", "172.16.0.1", literal, refused},
	{"https://192.168.1.1{p}/v1", "192.168.1.1", literal, refused},
	{"https://169.254.169.254{p}/latest/meta-data/", "169.254.169.254", literal, refused},
	{"https://169.254.170.2{p}/v2/credentials", "169.254.170.2", literal, refused},
	{"https://169.254.79.129{p}/", "169.254.79.129", literal, refused},
	{"https://100.100.100.200{p}/latest/meta-data", "100.100.100.200", literal, refused},
	{"https://168.63.129.16{p}/machine", "168.63.129.16", literal, refused},
	{"https://0.0.0.0{p}/", "0.0.0.0", literal, refused},
	{"https://255.255.255.255{p}/", "255.255.255.255", literal, refused},
	{"https://224.0.0.1{p}/", "224.0.0.1", literal, refused},
	{"https://2130706433{p}/", "127.0.0.1", literal, refused},
	{"https://017700000001{p}/", "127.0.0.1", literal, refused},
	{"https://0x7f000001{p}/", "127.0.0.1", literal, refused},
	{"https://0x7F.0x0.0x0.0x1{p}/", "127.0.0.1", literal, refused},
	{"https://0x7f.1{p}/", "127.0.0.1", literal, refused},
	{"https://0177.0.0.1{p}/", "127.0.0.1", literal, refused},
	{"https://127.1{p}/", "127.0.0.1", literal, refused},
	{"https://127.0.1{p}/", "127.0.0.1", literal, refused},
	{"https://0{p}/", "0.0.0.0", literal, refused},
	{"https://425.510.425.510{p}/", "169.254.169.254", literal, refused},
	{"https://[::1]{p}/", "::1", literal, refused},
	{"https://[::]{p}/", "::", literal, refused},
	{"https://[0:0:0:0:0:0:0:1]{p}/", "::1", literal, refused},
	{"https://[::ffff:127.0.0.1]{p}/", "127.0.0.1", literal, refused},
	{"https://[::ffff:7f00:1]{p}/", "127.0.0.1", literal, refused},
	{"https://[::ffff:169.254.169.254]{p}/", "169.254.169.254", literal, refused},
	{"https://[::127.0.0.1]{p}/", "::127.0.0.1", literal, refused},
	{"https://[::a9fe:a9fe]{p}/", "::a9fe:a9fe", literal, refused},
	{"https://[64:ff9b::7f00:1]{p}/", "64:ff9b::7f00:1", literal, refused},
	{"https://[64:ff9b:1::a9fe:a9fe]{p}/", "64:ff9b:1::a9fe:a9fe", literal, refused},
	{"https://[2002:7f00:1::1]{p}/", "2002:7f00:1::1", literal, refused},
	{"https://[2001::7f00:1]{p}/", "2001::7f00:1", literal, refused},
	{"https://[fd00:ec2::254]{p}/", "fd00:ec2::254", literal, refused},
	{"https://[fe80::1]{p}/", "fe80::1", literal, refused},
	{"https://[fe80::1%25eth0]{p}/", "fe80::1", literal, refused},
	{"https://[::1%25lo]{p}/", "::1", literal, refused},
	{"https://[fec0::1]{p}/", "fec0::1", literal, refused},
	{"https://[ff02::1]{p}/", "ff02::1", literal, refused},

	// Names that mean this machine or its network, whatever resolves them.
	{"https://localhost{p}/", "127.0.0.1", private, refused},
	{"https://LOCALHOST{p}/", "127.0.0.1", private, refused},
	{"https://LocalHost.LocalDomain{p}/", "127.0.0.1", private, refused},
	{"https://a.localhost{p}/", "127.0.0.1", private, refused},
	{"https://metadata.google.internal{p}/", "169.254.169.254", private, refused},
	{"https://printer.local{p}/", "192.168.1.1", private, refused},
	{"https://1.0.0.127.in-addr.arpa{p}/", "127.0.0.1", private, refused},
	{"https://intranet{p}/", "10.0.0.1", private, refused},
	{"https://localhost.{p}/", "127.0.0.1", dot, refused},
	{"https://127.0.0.1.{p}/", "127.0.0.1", dot, refused},
	{"https://loop.example.com.{p}/", "127.0.0.1", dot, refused},

	// Public names with addresses that are not.
	{"https://loop.example.com{p}/", "127.0.0.1", hidden, refused},
	{"https://loop6.example.com{p}/", "::1", hidden, refused},
	{"https://127.0.0.1.nip.io{p}/", "127.0.0.1", hidden, refused},
	{"https://localtest.me{p}/", "127.0.0.1", hidden, refused},
	{"https://zero.example.com{p}/", "0.0.0.0", hidden, refused},
	{"https://this.example.com{p}/", "0.1.2.3", hidden, refused},
	{"https://ten.example.com{p}/", "10.255.255.254", hidden, refused},
	{"https://twelve.example.com{p}/", "172.31.255.254", hidden, refused},
	{"https://private.example.com{p}/", "192.168.255.254", hidden, refused},
	{"https://cgn.example.com{p}/", "100.64.0.1", hidden, refused},
	{"https://alibaba.example.com{p}/", "100.100.100.200", hidden, refused},
	{"https://imds.example.com{p}/", "169.254.169.254", hidden, refused},
	{"https://ecs.example.com{p}/", "169.254.170.2", hidden, refused},
	{"https://xray.example.com{p}/", "169.254.79.129", hidden, refused},
	{"https://azure.example.com{p}/", "168.63.129.16", hidden, refused},
	{"https://protocol.example.com{p}/", "192.0.0.8", hidden, refused},
	{"https://oracle.example.com{p}/", "192.0.0.192", hidden, refused},
	{"https://testnet1.example.com{p}/", "192.0.2.1", hidden, refused},
	{"https://testnet2.example.com{p}/", "198.51.100.1", hidden, refused},
	{"https://testnet3.example.com{p}/", "203.0.113.1", hidden, refused},
	{"https://bench.example.com{p}/", "198.18.0.1", hidden, refused},
	{"https://bench2.example.com{p}/", "198.19.255.254", hidden, refused},
	{"https://relay.example.com{p}/", "192.88.99.1", hidden, refused},
	{"https://multi.example.com{p}/", "239.1.2.3", hidden, refused},
	{"https://future.example.com{p}/", "240.0.0.1", hidden, refused},
	{"https://cast.example.com{p}/", "255.255.255.255", hidden, refused},
	{"https://mapped.example.com{p}/", "::ffff:10.0.0.1", hidden, refused},
	{"https://compat.example.com{p}/", "::10.0.0.1", hidden, refused},
	{"https://nat64.example.com{p}/", "64:ff9b::a00:1", hidden, refused},
	{"https://nat64local.example.com{p}/", "64:ff9b:1::a00:1", hidden, refused},
	{"https://sixto4.example.com{p}/", "2002:a00:1::1", hidden, refused},
	{"https://teredo.example.com{p}/", "2001:0:a00:1::1", hidden, refused},
	{"https://doc6.example.com{p}/", "2001:db8::1", hidden, refused},
	{"https://ula.example.com{p}/", "fd12:3456::1", hidden, refused},
	{"https://imds6.example.com{p}/", "fd00:ec2::254", hidden, refused},
	{"https://link6.example.com{p}/", "fe80::1", hidden, refused},
	{"https://site6.example.com{p}/", "fec0::1", hidden, refused},
	{"https://multi6.example.com{p}/", "ff0e::1", hidden, refused},
	{"https://alias.example.com{p}/", "127.0.0.1", hidden, refused}, // an alias of loop.example.com
	{"https://xn--lcalhost-54a.example.com{p}/", "127.0.0.1", hidden, refused},

	// Answers that change or mix.
	{"https://rebind.example.com{p}/", "127.0.0.1", hidden, publicOnly},
	{"https://mixed.example.com{p}/", "127.0.0.1", hidden, publicOnly},
	{"https://mixed2.example.com{p}/", "10.0.0.1", hidden, publicOnly},

	// Other schemes, ports and parts.
	{"http://loop.example.com{p}/", "127.0.0.1", plain, refused},
	{"http://loop.example.com:443/", "127.0.0.1", plain, refused},
	{"HTTP://loop.example.com{p}/", "127.0.0.1", plain, refused},
	{"ftp://loop.example.com{p}/", "127.0.0.1", plain, refused},
	{"gopher://127.0.0.1{p}/_x", "127.0.0.1", plain, refused},
	{"ws://127.0.0.1{p}/", "127.0.0.1", plain, refused},
	{"unix://localhost/var/run/docker.sock", "127.0.0.1", plain, refused},
	{"file:///proc/self/environ", "", shape, refused},
	{"data:text/plain,x", "", shape, refused},
	{"javascript:alert(1)", "", shape, refused},
	{"https:127.0.0.1", "127.0.0.1", shape, refused},
	{"https:///v1", "", shape, refused},
	{"//127.0.0.1{p}/", "127.0.0.1", plain, refused},
	{"127.0.0.1{p}", "127.0.0.1", shape, refused},
	{"https://loop.example.com:9001/2018-06-01/runtime", "127.0.0.1", port, refused},
	{"https://loop.example.com:22/", "127.0.0.1", port, refused},
	{"https://loop.example.com:0443/", "127.0.0.1", port, refused},
	{"https://loop.example.com:+443/", "127.0.0.1", shape, unparsable},
	{"https://loop.example.com:443:80/", "127.0.0.1", shape, unparsable},
	{"https://user@loop.example.com{p}/", "127.0.0.1", userinfo, refused},
	{"https://user:pw@loop.example.com{p}/", "127.0.0.1", userinfo, refused},
	{"https://api.example.org@127.0.0.1{p}/", "127.0.0.1", userinfo, refused},
	{"https://api.example.org:443@loop.example.com{p}/", "127.0.0.1", userinfo, refused},
	{"https://loop.example.com{p}/?x=1", "127.0.0.1", query, refused},
	{"https://loop.example.com{p}/#@api.example.org/", "127.0.0.1", query, refused},

	// Spellings that parsers disagree about.
	{"https://１２７.０.０.１{p}/", "127.0.0.1", ascii, refused},
	{"https://①②⑦.⓪.⓪.①{p}/", "127.0.0.1", ascii, refused},
	{"https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ{p}/", "127.0.0.1", ascii, refused},
	{"https://loop。example。com{p}/", "127.0.0.1", ascii, refused},
	{"https://169。254。169。254{p}/", "169.254.169.254", ascii, refused},
	{"https://loop\u00ad.example.com{p}/", "127.0.0.1", ascii, refused},
	{"https://loop\u200b.example.com{p}/", "127.0.0.1", ascii, refused},
	{"https://%31%32%37.0.0.1{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1%2f.example.com{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1%00.example.com{p}/", "127.0.0.1", shape, unparsable},
	{"https://%6c%6f%6f%70.example.com{p}/", "127.0.0.1", shape, unparsable},
	{"https://%e2%93%9bocalhost{p}/", "127.0.0.1", ascii, refused},
	{"https://api.example.org\\@127.0.0.1{p}/", "127.0.0.1", shape, unparsable},
	{"https:\\\\127.0.0.1{p}/", "127.0.0.1", shape, refused},
	{"https://127.0.0.1\\.example.com{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1\t{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.\n0.1{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1\r\nHost: api.example.org{p}/", "127.0.0.1", shape, unparsable},
	{"\thttps://127.0.0.1{p}/", "127.0.0.1", shape, unparsable},
	{" https://127.0.0.1{p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1 {p}/", "127.0.0.1", shape, unparsable},
	{"https://127.0.0.1{p} @api.example.org/", "127.0.0.1", shape, unparsable},
	{"https://[::1{p}/", "::1", shape, unparsable},
	{"https://::1{p}/", "::1", shape, unparsable},
	{"https://[127.0.0.1]{p}/", "127.0.0.1", shape, unparsable},
	{"https://api.example.org,127.0.0.1{p}/", "127.0.0.1", badName, refused},
	{"https://*.example.com{p}/", "127.0.0.1", badName, refused},
	{"https://loop.example.com\x00.example.org{p}/", "127.0.0.1", shape, unparsable},
}

// answers is the resolver of the table.
func answers(t *testing.T) func(string) (string, []netip.Addr) {
	t.Helper()
	names := map[string][]netip.Addr{"mixed.example.com": addrs(publicAddress, "127.0.0.1", "::1"), "mixed2.example.com": addrs("10.0.0.1", publicAddress)}
	for _, row := range ssrfTable {
		u, err := url.Parse(strings.ReplaceAll(row.form, "{p}", ""))
		if err == nil && row.target != "" && names[strings.ToLower(u.Hostname())] == nil {
			names[strings.ToLower(u.Hostname())] = addrs(row.target)
		}
	}
	var rebound atomic.Int64
	return func(name string) (string, []netip.Addr) {
		switch name {
		case "alias.example.com":
			return "loop.example.com", names[name]
		case "rebind.example.com":
			// Each look-up asks twice, for both families.
			if rebound.Add(1) <= 2 {
				return "", addrs(publicAddress)
			}
			return "", addrs("127.0.0.1")
		}
		return "", names[name]
	}
}

// lenient lists every host of the table as a vendor's own, so that nothing but
// the address check stands between it and the vendor's client.
func lenient(e *Egress) *http.Client {
	hosts := []string{"openrouter.example"}
	for _, row := range ssrfTable {
		if u, err := url.Parse(strings.ReplaceAll(row.form, "{p}", "")); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	return e.Vendor(hosts...)
}

// TestSaving: what can be seen in a URL is refused when it is saved.
func TestSaving(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range ssrfTable {
		_, err := e.CheckTenantURL(strings.ReplaceAll(row.form, "{p}", ""))
		if row.save == hidden {
			if err != nil {
				t.Errorf("%q cannot be told from a public endpoint, but: %v", row.form, err)
			}
			continue
		}
		f := fault.As(err)
		if f == nil || f.Code != fault.InvalidRequest || f.Param != "base_url" || f.Message != savedMessages[row.save] {
			t.Errorf("%q: want %s, got %v", row.form, row.save, err)
		}
	}
}

// TestNothingIsDialled calls every row with every client. The recorder sits
// below the address check: what it does not see was not dialled.
func TestNothingIsDialled(t *testing.T) {
	if len(ssrfTable) < 60 {
		t.Fatalf("%d rows", len(ssrfTable))
	}
	for _, kind := range []Kind{KindTenant, KindMedia, KindVendor} {
		var d dialled
		e, err := New(Options{Resolver: fakeDNS(t, answers(t)), connect: d.connect})
		if err != nil {
			t.Fatal(err)
		}
		client := map[Kind]*http.Client{KindTenant: e.Tenant(), KindMedia: e.Media(1<<20, "audio/*"), KindVendor: lenient(e)}[kind]
		for _, row := range ssrfTable {
			calls := 1
			if row.call == publicOnly {
				calls = 3 // the third sees what the resolver says later
			}
			for range calls {
				outcome := callOnce(t, client, strings.ReplaceAll(row.form, "{p}", ""))
				if row.call == publicOnly {
					continue
				}
				if outcome != row.call && (kind != KindVendor || outcome == "reached") {
					t.Errorf("%s: %q (%s): want %s, got %s", kind, row.form, row.target, row.call, outcome)
				}
			}
			seen := d.take()
			if row.call == publicOnly {
				seen = slices.DeleteFunc(seen, func(a netip.Addr) bool { return a == netip.MustParseAddr(publicAddress) })
			}
			if len(seen) != 0 {
				t.Errorf("%s: %q: %v was dialled (it means %s)", kind, row.form, seen, row.target)
			}
		}
	}
}

// callOnce makes one call and says how it ended.
func callOnce(t *testing.T, client *http.Client, raw string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil)
	if err != nil {
		return unparsable
	}
	resp, err := Do(client, req)
	if err == nil {
		_ = resp.Body.Close()
		return "reached"
	}
	for _, part := range []string{"example", "127", "localhost", "10.0", "169", publicAddress} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("%q: the error shows where it went: %v", raw, err)
		}
	}
	var f *fault.Error
	if errors.Is(err, ErrRefused) && errors.As(err, &f) && f.Code == fault.ProviderError {
		return refused
	}
	return err.Error()
}

// TestAListenerOnThisMachineSeesNobody runs the table without the recorder, with
// the port rule open for a real listener.
func TestAListenerOnThisMachineSeesNobody(t *testing.T) {
	c := listenCounting(t)
	p := ":" + portString(c.port)
	e, err := New(Options{Resolver: fakeDNS(t, answers(t)), port: c.port})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []*http.Client{e.Tenant(), e.Media(1<<20, "audio/*"), lenient(e)} {
		for _, row := range ssrfTable {
			if row.call == publicOnly {
				continue // would leave the machine
			}
			if got := callOnce(t, client, strings.ReplaceAll(row.form, "{p}", p)); got == "reached" {
				t.Errorf("%q was reached", row.form)
			}
		}
	}
	if n := c.n.Load(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
}

// TestTheGuardIsWhatStopsIt opens the rows one by one: the same form then dials
// the address that the table says it means. Rows that name nothing, or that not
// even the local stage can open, are left out.
func TestTheGuardIsWhatStopsIt(t *testing.T) {
	proven := 0
	for _, row := range ssrfTable {
		raw := strings.ReplaceAll(row.form, "{p}", "")
		u, err := url.Parse(raw)
		if err != nil || row.target == "" || u.Host == "" || u.User != nil || (row.save != hidden && row.save != literal && row.save != private) {
			continue
		}
		literalAddress, err := netip.ParseAddr(u.Hostname())
		if row.save == literal && (err != nil || literalAddress.Zone() != "") {
			continue // decimal and hexadecimal spellings: Go's resolver knows none of them
		}
		var d dialled
		e, err := New(Options{Resolver: fakeDNS(t, answers(t)), connect: d.connect, Allow: []string{"[" + strings.Trim(u.Hostname(), "[]") + "]:443"}})
		if err != nil {
			t.Fatalf("%q: %v", row.form, err)
		}
		for range 3 {
			_ = callOnceQuiet(t, e.Tenant(), raw)
		}
		if seen := d.take(); !slices.Contains(seen, netip.MustParseAddr(row.target).Unmap()) {
			t.Errorf("%q: opened, it dialled %v and not %s", row.form, seen, row.target)
		}
		proven++
	}
	if proven < 60 {
		t.Errorf("only %d rows were proven", proven)
	}
}

func callOnceQuiet(t *testing.T, client *http.Client, raw string) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}
