package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Function is a function's process with a Runtime API of its own, as small as the
// protocol allows: one invocation at a time, nothing between the event and the
// answer but one loopback connection. It is used by one goroutine.
type Function struct {
	cmd    *exec.Cmd
	srv    *http.Server
	log    *bounded
	exited chan struct{}
	next   chan *invocation
	done   chan struct{} // an answer has ended
	serial int

	mu   sync.Mutex
	open map[string]*invocation // by request id
}

type invocation struct {
	id, trace string
	event     []byte
	deadline  time.Time
	read      func([]byte)
	began     time.Time
	reply     Reply
	body      []byte
	err       error
}

const (
	invokeWait = 30 * time.Second
	// maxAnswer bounds what is kept of an answer.
	maxAnswer = 1 << 20
)

// StartFunction starts a binary and waits until it asks for its first event.
// environ is its whole environment besides the Runtime API's address. What it
// prints is read and dropped, but for the beginning, which is part of errors.
func StartFunction(ctx context.Context, binary string, environ []string) (*Function, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Function{log: &bounded{}, exited: make(chan struct{}), next: make(chan *invocation), done: make(chan struct{}, 1),
		open: map[string]*invocation{}}
	polled := make(chan struct{})
	var once sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(polled) })
		f.hand(w, r)
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { f.answered(w, r, nil) })
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		f.answered(w, r, errors.New("rig: the invocation failed"))
	})
	f.srv = &http.Server{Handler: mux, ReadHeaderTimeout: invokeWait}
	go func() { _ = f.srv.Serve(l) }()
	f.cmd = exec.Command(binary)
	f.cmd.Env = append(environ, "AWS_LAMBDA_RUNTIME_API="+l.Addr().String())
	f.cmd.Stdout, f.cmd.Stderr = f.log, f.log
	if err := f.cmd.Start(); err != nil {
		_ = f.srv.Close()
		return nil, err
	}
	go func() { _ = f.cmd.Wait(); close(f.exited) }()
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	select {
	case <-polled:
		return f, nil
	case <-f.exited:
		err = fmt.Errorf("rig: %s ended at start: %s", binary, f.log)
	case <-ctx.Done():
		err = fmt.Errorf("rig: %s did not ask for an event: %w", binary, ctx.Err())
	}
	f.Stop()
	return nil, err
}

// hand gives the next event to the function.
func (f *Function) hand(w http.ResponseWriter, r *http.Request) {
	var inv *invocation
	select {
	case inv = <-f.next:
	case <-r.Context().Done():
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
	h.Set("Lambda-Runtime-Trace-Id", inv.trace)
	h.Set("Content-Length", strconv.Itoa(len(inv.event)))
	f.mu.Lock()
	f.open[inv.id] = inv
	inv.began = time.Now()
	f.mu.Unlock()
	_, _ = w.Write(inv.event)
}

// prelude ends the head of a streamed answer.
const prelude = "\x00\x00\x00\x00\x00\x00\x00\x00"

// answered reads an answer as it arrives.
func (f *Function) answered(w http.ResponseWriter, r *http.Request, err error) {
	f.mu.Lock()
	inv := f.open[r.PathValue("id")]
	delete(f.open, r.PathValue("id"))
	f.mu.Unlock()
	if inv == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	inv.err = err
	head, buf := true, make([]byte, 32<<10)
	for {
		n, readErr := r.Body.Read(buf)
		got := buf[:n]
		if head && n > 0 {
			inv.body = append(inv.body, got...)
			at := bytes.Index(inv.body, []byte(prelude))
			if at < 0 {
				got = nil
			} else {
				head, got = false, bytes.Clone(inv.body[at+len(prelude):])
				inv.reply.Status, inv.body = status(inv.body[:at]), nil
			}
		}
		if !head && len(got) > 0 {
			if inv.reply.First == 0 {
				inv.reply.First = time.Since(inv.began)
			}
			inv.reply.Reads++
			if len(inv.body)+len(got) <= maxAnswer {
				inv.body = append(inv.body, got...)
			}
			if inv.read != nil {
				inv.read(got)
			}
		}
		if readErr != nil {
			if readErr != io.EOF {
				inv.err = readErr
			}
			break
		}
	}
	inv.reply.Total = time.Since(inv.began)
	inv.reply.Ended, inv.reply.Done = inv.err == nil, bytes.HasSuffix(inv.body, []byte(endMark))
	w.WriteHeader(http.StatusAccepted)
	f.done <- struct{}{}
}

// status takes the status out of a prelude.
func status(head []byte) int {
	_, rest, _ := bytes.Cut(head, []byte(`"statusCode":`))
	n := 0
	for _, c := range rest {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Invoke hands one event over and waits for the end of its answer, whose body it
// returns, at most 1 MiB of it. read, if set, is told of every piece of the body
// as it is read. trace is the X-Ray header.
func (f *Function) Invoke(ctx context.Context, event []byte, trace string, read func(piece []byte)) (Reply, []byte, error) {
	f.serial++
	inv := &invocation{id: fmt.Sprintf("%08d-0000-4000-8000-000000000000", f.serial), trace: trace, event: event, read: read,
		deadline: time.Now().Add(5 * time.Minute)}
	t := time.NewTimer(invokeWait)
	defer t.Stop()
	select {
	case f.next <- inv:
	case <-f.exited:
		return Reply{}, nil, fmt.Errorf("rig: the function ended: %s", f.log)
	case <-ctx.Done():
		return Reply{}, nil, ctx.Err()
	case <-t.C:
		return Reply{}, nil, errors.New("rig: the function did not ask for an event in time")
	}
	select {
	case <-f.done:
		return inv.reply, inv.body, inv.err
	case <-f.exited:
		return Reply{}, nil, fmt.Errorf("rig: the function ended: %s", f.log)
	case <-ctx.Done():
		return Reply{}, nil, ctx.Err()
	case <-t.C:
		return Reply{}, nil, errors.New("rig: the function did not answer in time")
	}
}

// PID of the process.
func (f *Function) PID() int { return f.cmd.Process.Pid }

// Stop ends the process. Lambda does not ask either.
func (f *Function) Stop() {
	_ = f.cmd.Process.Kill()
	<-f.exited
	_ = f.srv.Close()
}

// bounded keeps the beginning of what is written.
type bounded struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := 4096 - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(b.buf.String())
}
