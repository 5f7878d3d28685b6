package lambdahost

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	streamContentType = "application/vnd.awslambda.http-integration-response"
	trailerErrorType  = "Lambda-Runtime-Function-Error-Type"
	trailerErrorBody  = "Lambda-Runtime-Function-Error-Body"
	maxErrorBytes     = 256 * 1024 // of an error document
)

// runtimeAPI serves the Runtime API (2018-06-01) and the part of the Extensions
// API (2020-01-01) that aws-lambda-go uses.
func (e *environment) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", e.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", e.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", e.serveInitError)
	mux.HandleFunc("POST /2020-01-01/extension/register", e.serveRegister)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", e.serveExtensionNext)
	return mux
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	answer(w, status, `{"errorType":"`+kind+`","errorMessage":"`+message+`"}`)
}

func (e *environment) serveNext(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	select {
	// A process can ask before the one that started it has run on: whoever sees its
	// call must find it in the list of processes.
	case <-e.known:
	case <-ctx.Done():
		return
	}
	if !e.ready(cancel) {
		refuse(w, http.StatusGone, "Local.Ending", "this environment is being ended")
		return
	}
	select {
	case v := <-e.work:
		if ctx.Err() != nil || e.hasExited() {
			e.pool.takeBack(e, v)
			return
		}
		e.deliver(w, v)
	case <-ctx.Done():
	case <-e.exited:
	}
}

func (e *environment) hasExited() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

// ready records that the process asks for an event: the start or the previous
// invocation is over. It reports false when the environment is being ended.
func (e *environment) ready(cancel context.CancelFunc) bool {
	p := e.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.dying {
		return false
	}
	if e.dropNext != nil {
		e.dropNext()
	}
	e.dropNext = cancel
	switch {
	case e.state == stateStarting:
		p.starting--
		p.startFailures = 0
	case e.state == stateBusy && e.delivered:
		if e.answered.IsZero() {
			e.current.fail(newError(ErrBadResponse, p.spec.Name, e.current.id, "Runtime.NoResponse",
				"Runtime asked for the next event without answering this one"))
		}
	default: // waiting already, or its event has not been fetched yet
		return true
	}
	e.stopTimer()
	e.state, e.current = stateIdle, nil
	p.idle = append(p.idle, e)
	p.pump()
	return true
}

func (e *environment) deliver(w http.ResponseWriter, v *invocation) {
	e.pool.mu.Lock()
	if e.dying || e.current != v {
		e.pool.mu.Unlock()
		refuse(w, http.StatusGone, "Local.Ending", "this environment is being ended")
		return
	}
	e.delivered = true
	e.pool.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(v.event)))
	h.Set("Lambda-Runtime-Aws-Request-Id", v.id)
	// The real clock: the runtime makes a context deadline of it.
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(v.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", functionARN(e.pool.host.opts.Region, v.function))
	h.Set("Lambda-Runtime-Trace-Id", v.trace)
	_, _ = w.Write(v.event) // a dead process is noticed by its exit
}

// claim returns the invocation a POST is for, once.
func (e *environment) claim(id string) *invocation {
	p := e.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v := e.current
	if v == nil || v.id != id || !e.delivered || e.claimed || e.ended {
		return nil
	}
	e.claimed = true
	e.posts.Add(1)
	return v
}

// markAnswered comes before the outcome is handed out, so that a caller who
// asks again at once finds this environment about to be free.
func (e *environment) markAnswered() {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	e.answered = time.Now()
}

func (e *environment) serveResponse(w http.ResponseWriter, r *http.Request) {
	v := e.claim(r.PathValue("id"))
	if v == nil {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	defer e.posts.Done()
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if v.stream && strings.EqualFold(strings.TrimSpace(mediaType), streamContentType) {
		e.streamResponse(w, r, v)
		return
	}
	payload, tooLarge, err := readBounded(r.Body, MaxResponseBytes)
	if err != nil {
		e.brokenPost(v)
		return
	}
	e.markAnswered()
	if tooLarge {
		v.fail(newError(ErrResponseTooLarge, v.function, v.id, "Function.ResponseSizeTooLarge",
			"Response payload size exceeded maximum allowed payload size ("+strconv.Itoa(MaxResponseBytes)+" bytes)."))
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Response payload too large")
		return
	}
	if err := trailerError(v, r.Trailer); err != nil {
		v.settle(outcome{result: Result{RequestID: v.id, Payload: err.Payload(), FunctionError: "Unhandled"}})
	} else {
		v.settle(outcome{result: Result{RequestID: v.id, Payload: payload}})
	}
	answer(w, http.StatusAccepted, `{"status":"OK"}`)
}

func (e *environment) serveError(w http.ResponseWriter, r *http.Request) {
	v := e.claim(r.PathValue("id"))
	if v == nil {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	defer e.posts.Done()
	payload, _, err := readBounded(r.Body, maxErrorBytes)
	if err != nil {
		e.brokenPost(v)
		return
	}
	e.markAnswered()
	v.settle(outcome{result: Result{RequestID: v.id, Payload: payload, FunctionError: "Unhandled"}})
	answer(w, http.StatusAccepted, `{"status":"OK"}`)
}

func (e *environment) serveInitError(w http.ResponseWriter, r *http.Request) {
	payload, _, _ := readBounded(r.Body, maxErrorBytes)
	report := functionError(e.pool.spec.Name, "", payload)
	e.pool.mu.Lock()
	starting := e.state == stateStarting
	if starting {
		e.initReport = report.Type + ": " + report.Message
	}
	e.pool.mu.Unlock()
	if !starting {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the environment is initialised")
		return
	}
	answer(w, http.StatusAccepted, `{"status":"OK"}`)
	time.AfterFunc(terminateGrace, e.kill) // one that reports and stays is of no use
}

func (e *environment) serveRegister(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxErrorBytes))
	if r.Header.Get("Lambda-Extension-Name") == "" {
		refuse(w, http.StatusBadRequest, "Extension.InvalidHeader", "Lambda-Extension-Name is required")
		return
	}
	e.pool.mu.Lock()
	e.extension = true
	e.pool.mu.Unlock()
	w.Header().Set("Lambda-Extension-Identifier", NewRequestID())
	answer(w, http.StatusOK, `{"functionName":"`+e.pool.spec.Name+`","functionVersion":"$LATEST","handler":"bootstrap"}`)
}

func (e *environment) serveExtensionNext(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Lambda-Extension-Identifier") == "" {
		refuse(w, http.StatusForbidden, "Extension.MissingIdentifier", "Lambda-Extension-Identifier is required")
		return
	}
	select {
	case <-r.Context().Done():
	case <-e.exited:
	}
}

// brokenPost handles a response that broke off. Nearly always the process is
// dying: the text of its exit makes the better error.
func (e *environment) brokenPost(v *invocation) {
	select {
	case <-e.exited:
		v.fail(e.crashError(v))
	case <-time.After(brokenPostWait):
		v.fail(newError(ErrCrashed, v.function, v.id, "Runtime.TruncatedResponse", "Runtime broke off its response"))
	}
}

// trailerError is the error that a runtime announced behind the body.
func trailerError(v *invocation, trailer http.Header) *Error {
	kind := trailer.Get(trailerErrorType)
	if kind == "" {
		return nil
	}
	doc, err := base64.StdEncoding.DecodeString(trailer.Get(trailerErrorBody))
	if err != nil {
		doc = nil
	}
	out := functionError(v.function, v.id, doc)
	out.Type = kind
	return out
}

// readBounded reads all of r, keeping at most limit bytes. The rest is drained:
// a runtime whose POST is cut off would take it for a broken Runtime API.
func readBounded(r io.Reader, limit int) (data []byte, tooLarge bool, err error) {
	data, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, false, err
	}
	if len(data) <= limit {
		return data, false, nil
	}
	_, err = io.Copy(io.Discard, r)
	return nil, true, err
}
