package trace

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-xray-sdk-go/v2/xray"

	"github.com/latchkey/latchkey/shared/fault"
)

const sampled = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

func TestXRayEmitsNamesAndAllowedAnnotationsOnly(t *testing.T) {
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	t.Setenv("LAMBDA_TASK_ROOT", t.TempDir())
	tracer, err := XRay()
	if err != nil {
		t.Fatal(err)
	}
	if err := xray.Configure(xray.Config{DaemonAddr: daemon.LocalAddr().String()}); err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1029 the key is the SDK's own
	ctx := context.WithValue(context.Background(), xray.LambdaTraceHeaderKey, sampled)
	_, span := tracer.Start(ctx, "openrouter.chat")
	span.Annotate(Model, "gpt-test")
	span.Annotate("note", "CANARY-annotation")
	span.Fail(fault.ProviderError)
	span.End()
	span.End()

	if err := daemon.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	n, _, err := daemon.ReadFrom(buf)
	if err != nil {
		t.Fatalf("no segment arrived: %v", err)
	}
	got := string(buf[:n])
	for _, want := range []string{"openrouter.chat", "gpt-test", string(fault.ProviderError)} {
		if !strings.Contains(got, want) {
			t.Errorf("segment lacks %q: %s", want, got)
		}
	}
	if strings.Contains(got, "CANARY") {
		t.Errorf("an annotation outside the allow-list was sent: %s", got)
	}
}

func TestWithoutASegmentNothingHappens(t *testing.T) {
	tracer, err := XRay()
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range []Tracer{tracer, None()} {
		ctx, span := tr.Start(context.Background(), "x")
		span.Annotate(Provider, "p")
		span.Fail(fault.Internal)
		span.End()
		if xray.GetSegment(ctx) != nil {
			t.Errorf("%T opened a segment without a parent", tr)
		}
	}
}

func TestRequestsThatAreNotSampledCostNothing(t *testing.T) {
	tracer, err := XRay()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAMBDA_TASK_ROOT", t.TempDir())
	for header, opened := range map[string]bool{
		sampled: true,
		strings.Replace(sampled, "Sampled=1", "Sampled=0", 1):             false,
		strings.Replace(sampled, "Sampled=1", "Sampled=0;Lineage=1:a", 1): false,
		strings.Replace(sampled, "Sampled=1", "XSampled=0;Sampled=1", 1):  true,
	} {
		//lint:ignore SA1029 the key is the SDK's own
		before := context.WithValue(context.Background(), xray.LambdaTraceHeaderKey, header)
		ctx, span := tracer.Start(before, "x")
		if got := xray.GetSegment(ctx) != nil; got != opened || !opened && ctx != before {
			t.Errorf("%s: a segment was opened: %v", header, got)
		}
		span.Annotate(Provider, "p")
		span.End()
	}
}

type recorded struct {
	none
	values map[Key]string
}

func (r recorded) Start(ctx context.Context, _ string) (context.Context, Span) { return ctx, r }
func (r recorded) Annotate(k Key, v string)                                    { r.values[k] = v }

func TestMaskedPassesValuesThroughTheMask(t *testing.T) {
	inner := recorded{values: map[Key]string{}}
	_, span := Masked(inner, func(s string) string { return strings.ReplaceAll(s, "CNRY", "[secret]") }).Start(context.Background(), "x")
	span.Annotate(Model, "openrouter/CNRY")
	span.End()
	if inner.values[Model] != "openrouter/[secret]" {
		t.Errorf("%v", inner.values)
	}
}
