package front

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

const (
	localPrefix    = "/_local/"
	maxLocalBytes  = 64 * 1024
	maxClockOffset = 100 * 365 * 24 * 3600 // seconds, either way
)

// HandleLocal registers a handler of the dev stack's own, such as
// "GET /_local/queues". The pattern is that of http.ServeMux; it panics, as
// ServeMux does, on one that is registered twice or lies outside /_local/.
// Register before serving.
func (f *Front) HandleLocal(pattern string, h http.Handler) {
	path := pattern
	if _, after, found := strings.Cut(pattern, " "); found {
		path = strings.TrimLeft(after, " ")
	}
	if !strings.HasPrefix(path, localPrefix) {
		panic("front: pattern " + pattern + " is not below " + localPrefix)
	}
	f.local.Handle(pattern, h)
}

func (f *Front) registerLocal() {
	f.HandleLocal("POST /_local/invoke/{function}", http.HandlerFunc(f.localInvoke))
	f.HandleLocal("GET /_local/functions", http.HandlerFunc(f.localFunctions))
	f.HandleLocal("GET /_local/clock", http.HandlerFunc(f.localClock))
	f.HandleLocal("POST /_local/clock", http.HandlerFunc(f.localSetClock))
	f.local.HandleFunc(localPrefix, func(w http.ResponseWriter, _ *http.Request) {
		localError(w, http.StatusNotFound, "not_found", "there is no such local endpoint")
	})
}

// localOnly protects endpoints that control the stack. A web page may send
// requests to loopback addresses, by a form, a script or a rebound DNS name; a
// tunnel opened for webhooks forwards every path. Browsers say where a request
// comes from, rebound names show in Host, tunnels add their headers.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Cf-Connecting-Ip"} {
			if len(r.Header[name]) > 0 {
				localError(w, http.StatusForbidden, "forbidden", "local endpoints do not answer through a proxy or tunnel")
				return
			}
		}
		if !loopbackName(r.Host) {
			localError(w, http.StatusForbidden, "forbidden", "local endpoints answer only at 127.0.0.1, [::1] and localhost")
			return
		}
		if !sameOrigin(r) {
			localError(w, http.StatusForbidden, "forbidden", "local endpoints do not answer web pages of another origin")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackName(hostport string) bool {
	host, _ := splitHost(hostport)
	return host == "127.0.0.1" || host == "[::1]" || strings.EqualFold(host, "localhost")
}

func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// localError writes the stack's error document.
func localError(w http.ResponseWriter, status int, code, text string) {
	kind := "invalid_request_error"
	if status >= http.StatusInternalServerError {
		kind = "api_error"
	}
	writeJSON(w, status, map[string]any{"error": map[string]any{"message": text, "type": kind, "code": code, "param": nil, "retryable": false}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// localInvoke passes the raw event in and the raw result out.
func (f *Front) localInvoke(w http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEventBytes))
	if err != nil {
		localError(w, http.StatusRequestEntityTooLarge, "too_large", "the event is larger than 6 MB")
		return
	}
	if !json.Valid(event) {
		localError(w, http.StatusBadRequest, "invalid_request", "the event is not JSON")
		return
	}
	result, err := f.host.Invoke(r.Context(), r.PathValue("function"), event)
	var failure *lambdahost.Error
	switch {
	case errors.As(err, &failure):
		writeRaw(w, localStatus(failure), failure.Payload())
	case err != nil: // the client has left
		panic(http.ErrAbortHandler)
	case result.FunctionError != "":
		writeRaw(w, http.StatusBadGateway, result.Payload)
	default:
		writeRaw(w, http.StatusOK, result.Payload)
	}
}

func localStatus(e *lambdahost.Error) int {
	switch e.Reason {
	case lambdahost.ErrUnknownFunction:
		return http.StatusNotFound
	case lambdahost.ErrThrottled:
		return http.StatusTooManyRequests
	case lambdahost.ErrRequestTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadGateway
}

func writeRaw(w http.ResponseWriter, status int, payload []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(payload)
}

func (f *Front) localFunctions(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, f.host.Functions())
}

func (f *Front) localClock(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"offset_seconds": int64(f.clock.Offset() / time.Second), "now": f.clock.Now().Format(time.RFC3339Nano),
	})
}

// localSetClock replaces the offset (it does not add to it).
func (f *Front) localSetClock(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OffsetSeconds *int64 `json:"offset_seconds"`
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLocalBytes))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil && dec.Decode(&struct{}{}) != io.EOF {
		err = errors.New("more than one document")
	}
	if err != nil || in.OffsetSeconds == nil || *in.OffsetSeconds > maxClockOffset || *in.OffsetSeconds < -maxClockOffset {
		localError(w, http.StatusBadRequest, "invalid_request", `send {"offset_seconds": N}, a whole number of at most 100 years`)
		return
	}
	f.clock.SetOffset(time.Duration(*in.OffsetSeconds) * time.Second)
	f.localClock(w, r)
}

// Listen opens a TCP listener on a loopback address and refuses any other. The
// address is host:port with host 127.0.0.1 or [::1]; port 0 picks a free one.
func Listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "127.0.0.1" && host != "::1" {
		return nil, errors.New("front: refusing to listen on " + address + ": the local stack has no access control and serves 127.0.0.1 or [::1] only")
	}
	return net.Listen("tcp", address)
}
