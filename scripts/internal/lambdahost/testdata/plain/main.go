// Command plain is a buffered function whose event says what it does. It is a
// fixture of the Lambda host's tests.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type command struct {
	Op       string          `json:"op"`
	URL      string          `json:"url"`
	Bytes    int             `json:"bytes"`
	Code     int             `json:"code"`
	Text     string          `json:"text"`
	Response json.RawMessage `json:"response"`
}

type envelope struct {
	command
	Body            string `json:"body"`
	IsBase64Encoded bool   `json:"isBase64Encoded"`
}

func call(url string) {
	res, err := http.Get(url)
	if err != nil {
		panic(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// parse finds the command in the event itself or, in an HTTP event, in its body.
func parse(event json.RawMessage) command {
	var e envelope
	if json.Unmarshal(event, &e) != nil {
		return command{}
	}
	if e.Op != "" || e.Body == "" {
		return e.command
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		body, _ = base64.StdEncoding.DecodeString(e.Body)
	}
	var c command
	_ = json.Unmarshal(body, &c)
	return c
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	c := parse(event)
	switch c.Op {
	case "self":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"pid": os.Getpid(), "env": os.Environ(), "arn": lc.InvokedFunctionArn, "request_id": lc.AwsRequestID,
			"deadline_ms": deadline.UnixMilli(), "trace": os.Getenv("_X_AMZN_TRACE_ID"),
		}, nil
	case "error":
		return nil, errors.New(c.Text)
	case "typed":
		return nil, messages.InvokeResponse_Error{Type: "Fixture.Typed", Message: c.Text, ShouldExit: true}
	case "panic":
		panic(c.Text)
	case "exit":
		fmt.Fprintln(os.Stderr, "leaving on purpose")
		os.Exit(c.Code)
	case "wait":
		call(c.URL)
		return os.Getpid(), nil
	case "hang":
		select {}
	case "huge":
		return strings.Repeat("x", c.Bytes), nil
	case "raw":
		return strings.NewReader(c.Text), nil
	case "respond":
		return c.Response, nil
	case "log":
		fmt.Println(c.Text)
		return nil, nil
	case "spawn":
		child := exec.Command(os.Args[0])
		child.Env = []string{"FIXTURE_MODE=sleep"}
		if err := child.Start(); err != nil {
			return nil, err
		}
		return child.Process.Pid, nil
	}
	return event, nil
}

func main() {
	switch mode, arg, _ := strings.Cut(os.Getenv("FIXTURE_MODE"), ":"); mode {
	case "sleep":
		time.Sleep(time.Hour)
	case "fail-while": // fails to start as long as the file exists
		if _, err := os.Stat(arg); err == nil {
			fmt.Fprintln(os.Stderr, "first line")
			fmt.Fprintln(os.Stderr, "configuration is missing: FIXTURE_TABLE")
			os.Exit(3)
		}
	case "init-error":
		res, err := http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/init/error", "application/json",
			strings.NewReader(`{"errorType":"Fixture.Bad","errorMessage":"no table"}`))
		if err != nil || res.StatusCode != http.StatusAccepted {
			os.Exit(9)
		}
		time.Sleep(time.Hour) // the host has to end a process that reported and stays
	case "sigterm":
		lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() { call(arg) }))
		return
	}
	lambda.Start(handle)
}
