package egress

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// counter accepts on loopback and counts connections.
type counter struct {
	port uint16
	n    atomic.Int64
}

func listenCounting(t testing.TB) *counter {
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

func (c *counter) serve(t testing.TB, l net.Listener) {
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

// fakeDNS answers every A and AAAA question with what answer returns for the
// name. A name in the answer is an alias that is given together with its
// addresses.
func fakeDNS(t testing.TB, answer func(name string) (alias string, addresses []netip.Addr)) *net.Resolver {
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
			if out := dnsAnswer(buf[:n], answer); out != nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", pc.LocalAddr().String())
	}}
}

func dnsAnswer(q []byte, answer func(string) (string, []netip.Addr)) []byte {
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
	out := append([]byte{}, q[:end]...)
	out[2], out[3] = 0x81, 0x80
	clear(out[6:12])
	count := uint16(0)
	record := func(kind uint16, data []byte) {
		out = append(out, 0xc0, 12)
		if kind != 5 && count > 0 && out[end+2] == 0 && out[end+3] == 5 {
			// The owner of an address after an alias is the alias's target.
			binary.BigEndian.PutUint16(out[len(out)-2:], 0xc000|uint16(end+12))
		}
		out = append(out, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0, byte(len(data)>>8), byte(len(data)))
		out = append(out, data...)
		count++
	}
	alias, addresses := answer(strings.ToLower(strings.Join(labels, ".")))
	if alias != "" {
		var name []byte
		for _, l := range strings.Split(alias, ".") {
			name = append(append(name, byte(len(l))), l...)
		}
		record(5, append(name, 0))
	}
	for _, a := range addresses {
		if a.Is4() && qtype == 1 || a.Is6() && qtype == 28 {
			record(qtype, a.AsSlice())
		}
	}
	binary.BigEndian.PutUint16(out[6:], count)
	if alias == "" && len(addresses) == 0 {
		out[3] |= 3 // no such name
	}
	return out
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// dialled records what the guard let through, and forbids it, so that nothing is
// ever sent to a public address.
type dialled struct {
	mu        sync.Mutex
	addresses []netip.Addr
}

func (d *dialled) connect(_, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses = append(d.addresses, ap.Addr().Unmap())
	return &net.AddrError{Err: "the test connects to nothing", Addr: address}
}

// take returns and forgets what was recorded.
func (d *dialled) take() []netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.addresses
	d.addresses = nil
	return out
}
