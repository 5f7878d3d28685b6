package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// serveEvents plays a streaming function: it sends three pieces, each after the
// gate has let it.
func serveEvents(gate string) {
	lambda.Start(func(_ context.Context, e *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLStreamingResponse, error) {
		if e.RawPath == "/fail" {
			return nil, errors.New("no")
		}
		r, w := io.Pipe()
		go func() {
			defer w.Close()
			for i := range 3 {
				if resp, err := http.Get(gate); err == nil {
					_ = resp.Body.Close()
				}
				fmt.Fprintf(w, "data: %d\n\n", i)
			}
			_, _ = io.WriteString(w, endMark)
		}()
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 201, Body: r, Headers: map[string]string{"a": "b"}}, nil
	})
}

// Pieces that arrive one by one are told one by one, without the prelude.
func TestFunctionIsHandedEvents(t *testing.T) {
	open := make(chan struct{}, 1)
	open <- struct{}{}
	gate := server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-open }))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := StartFunction(t.Context(), self, []string{"RIG_POLL=serve", "RIG_GATE=" + gate})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	if f.PID() == 0 || CPU(f.PID()) == 0 {
		t.Error("the process is not seen")
	}
	for range 2 {
		var pieces []string
		reply, body, err := f.Invoke(t.Context(), []byte(`{"rawPath":"/x"}`), "trace", func(b []byte) {
			pieces = append(pieces, string(b))
			select {
			case open <- struct{}{}:
			default:
			}
		})
		if err != nil || reply.Status != 201 || !reply.Ended || !reply.Done || reply.First == 0 || reply.First > reply.Total {
			t.Fatalf("%+v, %v", reply, err)
		}
		if got := strings.Join(pieces, "|"); !strings.HasPrefix(got, "data: 0\n\n|data: 1\n\n|data: 2\n\n") || string(body) != strings.Join(pieces, "") {
			t.Errorf("%q, %q", got, body)
		}
	}
	if _, _, err := f.Invoke(t.Context(), []byte(`{"rawPath":"/fail"}`), "trace", nil); err == nil {
		t.Error("a failed invocation was taken for an answer")
	}
}

func TestFunctionThatCannotStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartFunction(t.Context(), self, []string{"RIG_POLL=fail"}); err == nil || !strings.Contains(err.Error(), "missing: EVERYTHING") {
		t.Error(err)
	}
}
