package rig

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// pollWait bounds the start of a function, as Lambda does.
const pollWait = 10 * time.Second

// Poll is the start of a function.
type Poll struct {
	// Wall is from before the process is made to its first request for an event.
	Wall time.Duration
	CPU  time.Duration
	RSS  int64 // bytes
}

// FirstPoll starts a function's binary, waits until it asks for its first event
// and ends it. environ is the whole environment besides the Runtime API's
// address.
func FirstPoll(ctx context.Context, binary string, environ []string) (Poll, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Poll{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	polled := make(chan time.Time, 1)
	var once sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { polled <- time.Now() })
		<-r.Context().Done()
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: pollWait}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env = append(environ, "AWS_LAMBDA_RUNTIME_API="+l.Addr().String())
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Poll{}, err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	defer func() {
		_ = cmd.Process.Kill()
		<-exited
	}()
	select {
	case at := <-polled:
		return Poll{Wall: at.Sub(began), CPU: CPU(cmd.Process.Pid), RSS: RSS(cmd.Process.Pid)}, nil
	case <-exited:
		return Poll{}, fmt.Errorf("rig: %s ended at start: %s", binary, strings.TrimSpace(stderr.String()))
	case <-ctx.Done():
		return Poll{}, fmt.Errorf("rig: %s did not ask for an event: %w", binary, ctx.Err())
	}
}
