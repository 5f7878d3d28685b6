// Command forward is the least function that does the job of a gateway: it hands
// the body of a streaming function URL to one address and what comes back to the
// caller. What a gateway costs beyond this is its own.
package main

import (
	"context"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	upstream := os.Getenv("UPSTREAM")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	lambda.Start(func(ctx context.Context, e *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLStreamingResponse, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, upstream+e.RawPath, strings.NewReader(e.Body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", e.Headers["content-type"])
		r.Header.Set("Authorization", e.Headers["authorization"])
		resp, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: resp.StatusCode, Body: resp.Body,
			Headers: map[string]string{"content-type": resp.Header.Get("Content-Type")}}, nil
	})
}
