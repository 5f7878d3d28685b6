package boot

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/latchkey/latchkey/shared/boot/lambdahttp"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/serve"
)

// Start hands events to h until the environment ends; it does not return. An
// invocation ends with an empty set of secrets. A returned error is masked, and a
// panic is reported by its type: the Lambda library would print the text of both.
func Start[In, Out any](env *Env, h func(context.Context, In) (Out, error)) {
	lambda.StartHandlerFunc(invocation(env.Secrets, env.Log, h))
}

// StartHTTP is [Start] for a streaming function URL.
func StartHTTP(s *serve.Server, h http.Handler) {
	lambda.StartHandlerFunc(lambdahttp.Wrap(request(s.Redact, s.Log, h)))
}

func invocation[In, Out any](secrets *redact.Set, log *slog.Logger, h func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (out Out, err error) {
		defer secrets.Clear()
		defer func() {
			if v := recover(); v != nil {
				logPanic(ctx, log, v)
				err = messages.InvokeResponse_Error{Type: fmt.Sprintf("%T", v), Message: "the function panicked", ShouldExit: true}
			}
		}()
		out, err = h(ctx, in)
		return out, maskedError(secrets, err)
	}
}

// maskedError keeps an error that holds no secret as it is.
func maskedError(secrets *redact.Set, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	masked := secrets.String(text)
	if masked == text {
		return err
	}
	return messages.InvokeResponse_Error{Type: fmt.Sprintf("%T", err), Message: masked}
}

func request(secrets *redact.Set, log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The library ends the answer after this returns, and asks for the next
		// event after the end of the answer.
		defer secrets.Clear()
		defer func() {
			if v := recover(); v != nil {
				logPanic(r.Context(), log, v)
				w.WriteHeader(http.StatusInternalServerError)
				serve.Break(w)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// logPanic names the functions on the way to the panic. The runtime's own trace
// is not used: it shows the value and the arguments' words.
func logPanic(ctx context.Context, log *slog.Logger, v any) {
	const skip = 4 // runtime.Callers, logPanic, the deferred function, runtime.gopanic
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip, pcs[:])])
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, path.Base(f.Function)+":"+strconv.Itoa(f.Line))
		if !more {
			break
		}
	}
	log.ErrorContext(ctx, "panic", "type", fmt.Sprintf("%T", v), "at", at)
}
