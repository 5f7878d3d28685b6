// Command stream is a streaming function. It is a fixture of the Lambda host's
// tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdaurl"
)

func call(url string) {
	res, err := http.Get(url)
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

func serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	barrier := q.Get("barrier")
	n, _ := strconv.Atoi(q.Get("n"))
	w.Header().Set("X-Pid", strconv.Itoa(os.Getpid()))
	switch r.URL.Path {
	case "/three":
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Add("X-Many", "a")
		w.Header().Add("X-Many", "b")
		w.Header().Add("Set-Cookie", "one=1; Path=/")
		w.Header().Add("Set-Cookie", "two=2")
		w.WriteHeader(http.StatusAccepted)
		for _, word := range []string{"one", "two", "three"} {
			_, _ = io.WriteString(w, word)
			call(barrier + "/" + word)
		}
	case "/exit":
		_, _ = io.WriteString(w, "one")
		call(barrier + "/wrote")
		os.Exit(4)
	case "/hang":
		_, _ = io.WriteString(w, "one")
		select {}
	case "/lines":
		for i := range n {
			fmt.Fprintf(w, "line %d\n", i)
		}
	case "/drain": // keeps writing after the caller left, then reports
		_, _ = io.WriteString(w, "one")
		call(barrier + "/wrote")
		written := 0
		for range n {
			m, err := io.WriteString(w, strings.Repeat("y", 64<<10))
			written += m
			if err != nil {
				break
			}
		}
		call(barrier + "/drained-" + strconv.Itoa(written))
	case "/late": // nothing is sent before the barrier opens
		call(barrier + "/begun")
		for range n {
			_, _ = io.WriteString(w, strings.Repeat("y", 64<<10))
		}
	case "/empty":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

type failing struct {
	first string
	err   error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.first == "" {
		return 0, f.err
	}
	n := copy(p, f.first)
	f.first = f.first[n:]
	return n, nil
}

func main() {
	wrapped := lambdaurl.Wrap(http.HandlerFunc(serve))
	lambda.Start(func(ctx context.Context, r *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLStreamingResponse, error) {
		switch r.RawPath {
		case "/early":
			return nil, errors.New("no luck")
		case "/midfail":
			return &events.LambdaFunctionURLStreamingResponse{Body: &failing{"one", errors.New("upstream gone")}}, nil
		}
		return wrapped(ctx, r)
	})
}
