package lambdahost

import (
	"context"
	"io"
	"strconv"
	"time"
)

// Result is the answer of a buffered call.
type Result struct {
	RequestID string
	Payload   []byte // the handler's answer, or its error document
	// FunctionError is "" or "Unhandled": the handler returned an error or
	// panicked, and Payload is {"errorType","errorMessage",…}.
	FunctionError string
}

// Stream is the answer of a streamed call.
type Stream struct {
	RequestID  string
	StatusCode int
	Headers    map[string]string
	Cookies    []string // values of Set-Cookie headers
	// Body delivers chunks as the function writes them. Its error is io.EOF only
	// when the function finished; otherwise an [*Error]. Closing it early lets
	// the function run on with its output discarded. Never nil.
	Body io.ReadCloser
	// Streamed is false when the answer was inferred from a plain payload, so
	// that its whole length is known: Size bytes.
	Streamed bool
	Size     int
}

// Invoke calls a function and waits for its whole answer. A handler's error is a
// Result with FunctionError; everything else that goes wrong is an [*Error]. The
// answer of a streaming handler is returned as it stands on the wire (prelude,
// NULs, body). When ctx ends first its error is returned; a call that had begun
// runs on and is drained.
func (h *Host) Invoke(ctx context.Context, name string, event []byte) (Result, error) {
	o, err := h.call(ctx, name, event, false)
	if err != nil {
		return Result{}, err
	}
	return o.result, nil
}

// InvokeStream calls a function as its function URL would. It returns as soon as
// status and headers are known. A plain payload is read by the function-URL
// rules ([Infer]). A handler's error before the prelude is an [*Error] with
// reason ErrFunction. ctx counts until InvokeStream returns; from then on
// closing the body is the way to leave.
func (h *Host) InvokeStream(ctx context.Context, name string, event []byte) (*Stream, error) {
	o, err := h.call(ctx, name, event, true)
	if err != nil {
		return nil, err
	}
	if o.stream != nil {
		return o.stream, nil
	}
	if o.result.FunctionError != "" {
		return nil, functionError(name, o.result.RequestID, o.result.Payload)
	}
	answer, err := Infer(o.result.Payload)
	if err != nil {
		return nil, newError(ErrBadResponse, name, o.result.RequestID, "Runtime.InvalidResponse", err.Error())
	}
	return answer.stream(o.result.RequestID), nil
}

func (h *Host) call(ctx context.Context, name string, event []byte, stream bool) (outcome, error) {
	p, err := h.pool(name)
	if err != nil {
		return outcome{}, err
	}
	if len(event) > MaxRequestBytes {
		return outcome{}, &Error{Reason: ErrRequestTooLarge, Function: name, Type: "RequestTooLargeException",
			Message: "Request must be smaller than " + strconv.Itoa(MaxRequestBytes) + " bytes for the InvokeFunction operation"}
	}
	trace, ok := ctx.Value(traceKey{}).(string)
	if !ok {
		trace = NewTraceID(h.opts.Clock.Now())
	}
	inv := newInvocation(name, trace, event, stream)
	if err := p.enqueue(inv); err != nil {
		return outcome{}, err
	}
	wait := time.NewTimer(h.opts.QueueWait)
	defer wait.Stop()
	for {
		select {
		case o := <-inv.outcome:
			return o, o.err
		case <-ctx.Done():
			if !p.withdraw(inv) {
				inv.abandon()
			}
			return outcome{}, ctx.Err()
		case <-wait.C:
			if p.withdraw(inv) {
				return outcome{}, p.throttled()
			}
		}
	}
}
