package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/latchkey/latchkey/scripts/internal/front"
	"github.com/latchkey/latchkey/shared/topology"
)

// listenFront takes the port first, because functions are told the public URL.
func (s *Stack) listenFront() error {
	l, err := front.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(s.opts.Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d is in use: stop the other program, or choose another port with --port (0 = any free one)", s.opts.Port)
	}
	if err != nil {
		return err
	}
	s.listener = l
	s.BaseURL = "http://" + l.Addr().String()
	return nil
}

// startFront serves the topology's routes: HTTP API routes buffered, function
// URL paths streamed, and every function URL on a listener of its own.
func (s *Stack) startFront() error {
	var routes []front.Route
	for _, f := range topology.Functions() {
		for _, r := range f.Routes {
			method, path, _ := strings.Cut(r, " ")
			routes = append(routes, front.Route{Method: method, Path: path, Function: f.Name, Kind: front.HTTPAPI})
		}
		for _, p := range f.Paths {
			routes = append(routes, front.Route{Method: "ANY", Path: p, Function: f.Name, Kind: front.URL})
		}
	}
	f, err := front.New(front.Options{Host: s.Host, Clock: s.Clock, Routes: routes})
	if err != nil {
		return err
	}
	s.localEndpoints(f)
	for _, fn := range topology.Functions() {
		if len(fn.Paths) == 0 {
			continue
		}
		if s.FunctionURLs[fn.Name], err = s.endpoints.serve(f.URLHandler(fn.Name), 0); err != nil {
			return err
		}
	}
	s.endpoints.serveOn(s.listener, f)
	return nil
}

// Functions lists the names of the functions that have a URL.
func (s *Stack) Functions() []string {
	var names []string
	for n := range s.FunctionURLs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
