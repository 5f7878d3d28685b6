package trace

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-xray-sdk-go/v2/strategy/ctxmissing"
	"github.com/aws/aws-xray-sdk-go/v2/xray"
	"github.com/aws/aws-xray-sdk-go/v2/xraylog"

	"github.com/latchkey/latchkey/shared/fault"
)

// XRay returns a tracer that emits X-Ray subsegments under the segment that
// Lambda opened. Without a sampled trace in the context it emits nothing. It
// configures the SDK's process-wide settings, so it is called once, at start.
//
// The SDK is in maintenance; its end of support is 2027-02-25 (AWS, "X-Ray SDK
// and Daemon Support timeline", read 2026-11). This file is all that a
// replacement has to touch.
func XRay() (Tracer, error) {
	// The default strategies print to stdout when no segment is there, which is
	// normal outside Lambda and for unsampled requests.
	xray.SetLogger(xraylog.NullLogger)
	err := xray.Configure(xray.Config{ContextMissingStrategy: ctxmissing.NewDefaultIgnoreErrorStrategy()})
	if err != nil {
		return nil, errors.New("trace: configuring X-Ray failed")
	}
	return xrayTracer{}, nil
}

type xrayTracer struct{}

func (xrayTracer) Start(ctx context.Context, name string) (context.Context, Span) {
	if xray.GetSegment(ctx) == nil && xray.TraceID(ctx) == "" && ctx.Value(xray.LambdaTraceHeaderKey) == nil {
		return ctx, none{}
	}
	if unsampled(ctx) {
		return ctx, none{}
	}
	ctx, seg := xray.BeginSubsegment(ctx, name)
	if seg == nil {
		return ctx, none{}
	}
	return ctx, &xraySpan{seg: seg}
}

// unsampled says that Lambda decided not to record this request, as it does for
// most: the SDK would make segments for it and drop them at their end.
func unsampled(ctx context.Context) bool {
	header, ok := ctx.Value(xray.LambdaTraceHeaderKey).(string)
	if !ok {
		return false
	}
	for field := range strings.SplitSeq(header, ";") {
		if strings.TrimSpace(field) == "Sampled=0" {
			return true
		}
	}
	return false
}

type xraySpan struct {
	seg  *xray.Segment
	fail fault.Code
	done bool
}

func (s *xraySpan) Annotate(key Key, value string) {
	if !allowed(key) {
		return
	}
	_ = s.seg.AddAnnotation(string(key), value)
}

func (s *xraySpan) Fail(code fault.Code) {
	s.fail = code
	_ = s.seg.AddAnnotation(string(Outcome), string(code))
}

func (s *xraySpan) End() {
	if s.done {
		return
	}
	s.done = true
	// Close records the text of the error it is given, so it gets only the code.
	if s.fail != "" {
		s.seg.Close(errors.New(string(s.fail)))
		return
	}
	s.seg.Close(nil)
}
