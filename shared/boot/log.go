package boot

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/latchkey/latchkey/shared/redact"
)

// Variables that Lambda sets from a function's logging configuration.
const (
	logFormatVar = "AWS_LAMBDA_LOG_FORMAT"
	logLevelVar  = "AWS_LAMBDA_LOG_LEVEL"
)

// newLogger is lambdacontext.NewLogger with an output of our choice: that one is
// bound to the process's own, and what a line holds is known only once it is
// formatted.
func newLogger(out io.Writer, secrets *redact.Set, lookup func(string) (string, bool)) *slog.Logger {
	format, _ := lookup(logFormatVar)
	level, _ := lookup(logLevelVar)
	options := &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: lambdacontext.ReplaceAttr}
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelWarn, slog.LevelError} {
		if l.String() == level {
			options.Level = l
		}
	}
	if format == "JSON" {
		return slog.New(withRequest{slog.NewJSONHandler(secrets.Writer(out), options)})
	}
	return slog.New(withRequest{slog.NewTextHandler(secrets.Writer(out), options)})
}

// withRequest names the invocation in each line, under the key that Lambda's own
// lines have.
type withRequest struct{ slog.Handler }

func (h withRequest) Handle(ctx context.Context, r slog.Record) error {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		r.AddAttrs(slog.String("requestId", lc.AwsRequestID))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withRequest) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequest{h.Handler.WithAttrs(attrs)}
}

func (h withRequest) WithGroup(name string) slog.Handler {
	return withRequest{h.Handler.WithGroup(name)}
}

// captureStandardLog puts package log, which the Lambda library and net/http
// write to, behind the same net.
func captureStandardLog(out io.Writer, secrets *redact.Set) {
	log.SetOutput(standardLog{secrets.Writer(out)})
}

type standardLog struct{ out io.Writer }

// unsolicited is how net/http begins to quote bytes that a server sent on an
// idle connection. They may echo a key whose invocation is over, when no set
// knows it any more.
const unsolicited = "Unsolicited response received on idle HTTP channel"

func (s standardLog) Write(p []byte) (int, error) {
	line := p
	if i := bytes.Index(p, []byte(unsolicited)); i >= 0 {
		line = append(bytes.Clone(p[:i+len(unsolicited)]), '\n')
	}
	if _, err := s.out.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}
