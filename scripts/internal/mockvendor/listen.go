package mockvendor

import (
	"net"
	"net/http"
	"time"
)

// Listener is a vendor that listens on a free loopback port.
type Listener struct {
	URL string // without a path
	srv *http.Server
}

// Listen serves h on 127.0.0.1.
func Listen(h http.Handler) (*Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return &Listener{URL: "http://" + l.Addr().String(), srv: srv}, nil
}

// Close drops all connections.
func (l *Listener) Close() { _ = l.srv.Close() }
